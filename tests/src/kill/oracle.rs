//! The oracle: knows from the outside log what the file must say, and counts every contradiction.

use super::log::{Key, Line};
use super::marks::{Marks, Wrong};
use super::work::{hash, output};
use std::collections::{HashMap, HashSet};

/// Violations that are printed; further ones are only counted.
const SHOWN_MAX: u64 = 20;

#[derive(Debug, Default)]
struct Input {
    acknowledged: bool,
    refused: bool,
    returned: bool,
    /// Told of in the present life, and not answered yet.
    open: bool,
}

#[derive(Debug, Default)]
struct Task {
    generation: u64,
    /// Listed as ended in an earlier life.
    ended: bool,
    /// The claim of the handler that runs in this life.
    live: Option<u64>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Processes killed.
    pub kills: u64,
    /// Of these, with a handler running.
    pub with_handler: u64,
    /// Of these, between the call of a start and its answer.
    pub between: u64,
    /// Starts that were acknowledged.
    pub acknowledged: u64,
    /// Handlers entered because their process had died.
    pub recovered: u64,
    /// Starts that no answer had come for, and that were in the file nevertheless.
    pub unanswered_kept: u64,
    /// Starts that no answer had come for.
    pub unanswered: u64,
    /// Acknowledged, and not there.
    pub lost: u64,
    /// Run again although it was over, or run twice at once, or run although it was refused.
    pub doubled: u64,
    /// Generations given twice, or not grown.
    pub reused: u64,
    /// Outputs that are not what the input asked for.
    pub wrong: u64,
    /// Tasks that were taken for what kills its process.
    pub quarantined: u64,
    /// Tasks listed as held back, until it is known whether they kill their process; each counts in each listing.
    pub isolated: u64,
    /// Starts of which nobody could say whether they had happened.
    pub unknown: u64,
    /// Refused, and there all the same.
    pub present: u64,
}

impl Counts {
    /// Everything that must not be.
    pub fn violations(&self) -> u64 {
        self.lost + self.doubled + self.reused + self.wrong + self.quarantined + self.present
    }
}

/// Remembers everything that was acknowledged.
#[derive(Debug, Default)]
pub struct Oracle {
    inputs: HashMap<Key, Input>,
    tasks: HashMap<String, Task>,
    /// Every claim, and whose it was.
    claims: HashMap<u64, String>,
    /// Told of and not answered when their process was killed.
    unanswered: HashSet<Key>,
    /// Listed as ended in the present life, which may have entered and ended them before it listed them.
    ended: HashSet<String>,
    /// What handlers left behind.
    pub marks: Marks,
    /// What was counted so far.
    pub counts: Counts,
}

impl Oracle {
    /// Takes what the log says of a life, or of a part of it.
    pub fn read(&mut self, text: &str) {
        for line in text.lines() {
            match Line::parse(line) {
                Some(line) => self.take(line),
                None => self.wrong(&format!("the log says {line:?}")),
            }
        }
    }

    /// Another file, on which nothing is known.
    pub fn begins_anew(&mut self) {
        let (counts, marks) = (self.counts, std::mem::take(&mut self.marks));
        *self = Oracle {
            counts,
            marks: marks.begins_anew(),
            ..Oracle::default()
        };
    }

    fn take(&mut self, line: Line) {
        if let Some(wrong) = self.marks.take(&line) {
            self.tell(&wrong);
        }
        match line {
            Line::Began(_)
            | Line::Ran { .. }
            | Line::Recorded { .. }
            | Line::Emitted { .. }
            | Line::Child { .. }
            | Line::ChildEnded { .. }
            | Line::Answered { .. }
            | Line::Heard { .. } => {}
            // It stays open: the next process is asked.
            Line::Unknown(_) => self.counts.unknown += 1,
            Line::Told(key) => self.inputs.entry(key).or_default().open = true,
            Line::Acknowledged(key) => {
                let input = self.inputs.entry(key).or_default();
                (input.acknowledged, input.open) = (true, false);
                self.counts.acknowledged += 1;
            }
            Line::Refused(key) => {
                let input = self.inputs.entry(key).or_default();
                (input.refused, input.open) = (true, false);
            }
            Line::Entered {
                key,
                generation,
                entry,
            } => self.entered(key, generation, &entry),
            Line::Left { generation } => {
                if let Some(id) = self.claims.get(&generation)
                    && let Some(task) = self.tasks.get_mut(id)
                    && task.live == Some(generation)
                {
                    task.live = None;
                }
            }
            Line::Returned { key, output } => self.returned(key, output),
        }
    }

    fn entered(&mut self, key: Key, generation: u64, entry: &str) {
        self.counts.recovered += u64::from(entry == "recovered");
        if let Some(other) = self.claims.insert(generation, key.id.clone()) {
            self.reused(&format!(
                "generation {generation} of {other} was given to {} as well",
                key.id
            ));
        }
        let task = self.tasks.entry(key.id.clone()).or_default();
        let (before, live, ended) = (task.generation, task.live, task.ended);
        (task.generation, task.live) = (before.max(generation), Some(generation));
        if generation <= before {
            self.reused(&format!(
                "{} went from generation {before} to {generation}",
                key.id
            ));
        }
        if let Some(live) = live {
            self.doubled(&format!(
                "{} runs under {live} and {generation} at once",
                key.id
            ));
        }
        let input = self.inputs.entry(key.clone()).or_default();
        if input.returned || input.refused || ended {
            let why = format!(
                "{key:?} was entered again ({entry}): returned {}, refused {}, ended {ended}",
                input.returned, input.refused
            );
            self.doubled(&why);
        }
    }

    fn returned(&mut self, key: Key, found: u64) {
        if found != hash(output(&key).as_bytes()) {
            self.wrong(&format!("{key:?} returned another output"));
        }
        self.inputs.entry(key).or_default().returned = true;
    }

    /// The process was killed: counts what it was doing.
    pub fn killed(&mut self) {
        self.counts.kills += 1;
        self.counts.with_handler += u64::from(self.tasks.values().any(|task| task.live.is_some()));
        let mut between = false;
        for (key, input) in &mut self.inputs {
            if std::mem::take(&mut input.open) {
                between = true;
                self.unanswered.insert(key.clone());
            }
        }
        self.counts.between += u64::from(between);
        for task in self.tasks.values_mut() {
            task.live = None;
        }
        for id in self.ended.drain() {
            self.tasks.entry(id).or_default().ended = true;
        }
    }

    /// Takes what a new process found in the file, as `L id generation ended` lines, before it started anything.
    pub fn listed(&mut self, lines: &[String]) {
        let mut found = HashMap::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let ["L", id, generation, ended] = words[..] else {
                continue;
            };
            self.counts.isolated += u64::from(ended == "isolated");
            if ended == "quarantined" {
                self.counts.quarantined += 1;
                self.show("quarantined", id);
            }
            found.insert(id, (generation.parse().unwrap_or(0), ended == "1"));
        }
        let acknowledged = self.inputs.iter().filter(|(_, input)| input.acknowledged);
        let acknowledged = acknowledged.map(|(key, _)| key.id.clone());
        let acknowledged: HashSet<String> =
            acknowledged.chain(self.marks.children().cloned()).collect();
        for id in acknowledged {
            let Some((generation, ended)) = found.get(id.as_str()).copied() else {
                self.lost(&format!("{id} was acknowledged and is not in the file"));
                continue;
            };
            let task = self.tasks.entry(id.clone()).or_default();
            let (before, was_ended) = (task.generation, task.ended);
            if ended {
                self.ended.insert(id.clone());
            }
            if generation < before {
                self.reused(&format!("{id} is listed with {generation} after {before}"));
            }
            if was_ended && !ended {
                self.doubled(&format!("{id} had ended and runs again"));
            }
        }
    }

    /// Takes what the last process got for each input, as `F id input how output` lines, and whether it found those that
    /// were refused, as `P id input present` lines.
    pub fn finished(&mut self, lines: &[String]) {
        let mut answers = HashMap::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let key = |id: &str, input: &str| Key {
                id: id.to_owned(),
                input: input.to_owned(),
            };
            match words[..] {
                ["F", id, input, how, output] => {
                    let output = output.parse().unwrap_or(0);
                    answers.insert(key(id, input), (how, output));
                }
                ["P", id, input, "present"] => {
                    self.counts.present += 1;
                    self.show("present", &format!("{id} {input} was refused"));
                }
                _ => {}
            }
        }
        let acknowledged: Vec<Key> = self
            .inputs
            .iter()
            .filter(|(_, input)| input.acknowledged)
            .map(|(key, _)| key.clone())
            .collect();
        for key in acknowledged {
            match answers.get(&key) {
                Some(("attached", found)) if *found == hash(output(&key).as_bytes()) => {}
                Some(("attached", _)) => self.wrong(&format!("{key:?} ended with another output")),
                Some((how, _)) => self.lost(&format!(
                    "{key:?} was acknowledged, and the same start is now {how}"
                )),
                None => self.lost(&format!("{key:?} was acknowledged and has no end")),
            }
        }
        for wrong in self.marks.streams(lines) {
            self.tell(&wrong);
        }
        for key in std::mem::take(&mut self.unanswered) {
            self.settled(&key, answers.get(&key).copied());
        }
    }

    /// What the last process was told of a start that no answer had come for: it happens now, or had happened.
    fn settled(&mut self, key: &Key, answer: Option<(&str, u64)>) {
        self.counts.unanswered += 1;
        match answer {
            // A steered task may have ended in the meantime.
            Some(("refused", _)) => {}
            Some((how, found)) if found == hash(output(key).as_bytes()) => {
                self.counts.unanswered_kept += u64::from(how == "attached");
            }
            other => self.wrong(&format!(
                "{key:?} is not settled by asking again: {other:?}"
            )),
        }
    }

    /// What the last process lists at its end: everything has ended.
    pub fn ended(&mut self, lines: &[String]) {
        for line in lines {
            if line.starts_with("L ") && !line.ends_with(" 1") {
                self.lost(&format!("not ended: {line}"));
            }
        }
    }

    fn tell(&mut self, wrong: &Wrong) {
        match wrong {
            Wrong::Lost(what) => self.lost(what),
            Wrong::Doubled(what) => self.doubled(what),
            Wrong::Other(what) => self.wrong(what),
        }
    }

    fn lost(&mut self, what: &str) {
        self.counts.lost += 1;
        self.show("lost", what);
    }

    fn doubled(&mut self, what: &str) {
        self.counts.doubled += 1;
        self.show("doubled", what);
    }

    fn reused(&mut self, what: &str) {
        self.counts.reused += 1;
        self.show("generation", what);
    }

    /// Counts something that fits nowhere else.
    pub fn wrong(&mut self, what: &str) {
        self.counts.wrong += 1;
        self.show("wrong", what);
    }

    fn show(&self, kind: &str, what: &str) {
        if self.counts.violations() <= SHOWN_MAX {
            println!("VIOLATION {kind}: {what}");
        }
    }
}
