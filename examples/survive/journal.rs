//! What the working processes say, kept where no kill reaches it, and checked against what they said before.
//!
//! A line of standard output is one write to a pipe: after a kill the parent still reads all that was said.

use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Write as _;

/// One line of a working process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The engine has entered again what was running at the kill.
    Recovered {
        found: u64,
        dispatched: u64,
        took_us: u64,
    },
    /// The first thing a handler does.
    Entered {
        id: String,
        generation: u64,
        crashes: u32,
        recovered: bool,
        /// It has waited for others since its turn began, maybe in an earlier entry, and says this only now.
        waited: bool,
    },
    /// A handler that will wait was entered again after a kill.
    EnteredAgain,
    /// The last thing a handler does; its result is not durable yet.
    Left { id: String },
    /// A result was given out, so it must last.
    Acknowledged { id: String },
    /// One record of the store.
    Ended(Ended),
    /// All records of ended tasks were told.
    EndedTold,
}

/// The record of an ended task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) succeeded: bool,
    pub(crate) etag: u64,
    pub(crate) generation: u64,
    pub(crate) crashes: u32,
    pub(crate) run: u32,
    pub(crate) turn: u32,
    pub(crate) attempt: u32,
}

impl Ended {
    /// A child is told when its parent's turn is over, and its row gets another etag with that. Nothing else of it changes.
    fn is_same_end(&self, later: &Ended) -> bool {
        let before = Ended {
            etag: later.etag,
            ..self.clone()
        };
        before == *later && self.etag <= later.etag
    }
}

/// Says a message. A parent that is gone ends this process: nobody else would.
pub(crate) fn say(message: &Message) {
    let line = serde_json::to_string(message).map(|line| line + "\n");
    let said = line
        .map_err(std::io::Error::from)
        .and_then(|line| std::io::stdout().lock().write_all(line.as_bytes()));
    if said.is_err() {
        std::process::exit(1);
    }
}

/// A rule that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    EnteredAfterEnd,
    GenerationShared,
    GenerationOld,
    EnteredTwice,
    ToldNew,
    CrashesContradict,
    CrashesTooFew,
    FoundNotEntered,
    Failed,
    RecordChanged,
    RecordOfAnotherEntry,
    EndedUnreturned,
    EndedMoreThanOnce,
    ListedTwice,
    Lost,
    NoResult,
    Unknown,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broken::EnteredAfterEnd => "entered after its end",
            Broken::GenerationShared => "entered with the generation of another",
            Broken::GenerationOld => "entered with an old generation",
            Broken::EnteredTwice => "entered twice by one process",
            Broken::ToldNew => "entered again, and told it is new",
            Broken::CrashesContradict => "crashes and entry contradict",
            Broken::CrashesTooFew => "told too few crashes",
            Broken::FoundNotEntered => "found after a kill and not entered again",
            Broken::Failed => "failed",
            Broken::RecordChanged => "its record changed after its end",
            Broken::RecordOfAnotherEntry => "its record is not from its last entry",
            Broken::EndedUnreturned => "ended without its handler's return",
            Broken::EndedMoreThanOnce => "ended more than once",
            Broken::ListedTwice => "listed twice",
            Broken::Lost => "told to have ended, and lost",
            Broken::NoResult => "has no result",
            Broken::Unknown => "nobody started it",
        })
    }
}

/// Which rule was broken, by what.
#[derive(Debug)]
pub(crate) struct Violation {
    broken: Broken,
    /// Counts the processes, from 1.
    life: u32,
    /// The task, or what was counted.
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { broken, life, what } = self;
        write!(f, "process {life}: {what}: {broken}")
    }
}

/// What was said of one task.
#[derive(Debug, Default)]
struct Trace {
    entries: u32,
    /// Of the last entry, as `crashes` and `life`.
    generation: u64,
    crashes: u32,
    life: u32,
    running: bool,
    left: bool,
    acknowledged: bool,
    ended: Option<Ended>,
    /// The last list of records that named it.
    listed: u32,
}

/// Everything said, by task, and what was wrong about it.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    traces: HashMap<String, Trace>,
    generations: HashSet<u64>,
    /// Counts the processes.
    life: u32,
    /// Lists of records, among them the one under way.
    lists: u32,
    /// Of this process: turns found, handlers entered, among them recovered ones.
    found: u64,
    entries: u64,
    recovered: u64,
    /// Tasks whose handlers returned when they were entered last.
    left: u64,
    violations: Vec<Violation>,
}

impl Journal {
    /// A new process begins to work.
    pub(crate) fn begin_life(&mut self) {
        self.life += 1;
        self.lists += 1;
        self.found = 0;
        self.entries = 0;
        self.recovered = 0;
    }

    /// The process is gone, and all it said was taken. Gives back the tasks whose handlers were running.
    pub(crate) fn end_life(&mut self) -> Vec<String> {
        let cut_off = self.traces.iter_mut().filter(|(_, trace)| trace.running);
        let mut ids = Vec::new();
        for (id, trace) in cut_off {
            trace.running = false;
            ids.push(id.clone());
        }
        ids.sort_unstable();
        ids
    }

    /// Counts the processes, from 1.
    pub(crate) fn life(&self) -> u32 {
        self.life
    }

    /// Handlers entered by the present process.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether a handler runs, as far as was said.
    pub(crate) fn handler_runs(&self) -> bool {
        self.traces.values().any(|trace| trace.running)
    }

    /// Tasks whose handlers returned when they were entered last.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Tasks whose records say that they ended.
    pub(crate) fn ended(&self) -> u64 {
        let ended = self.traces.values().filter(|trace| trace.ended.is_some());
        ended.count() as u64
    }

    /// Entries of handlers that had been entered before.
    pub(crate) fn ran_again(&self) -> u64 {
        let again = |trace: &Trace| u64::from(trace.entries.saturating_sub(1));
        self.traces.values().map(again).sum()
    }

    pub(crate) fn take(&mut self, message: &Message) {
        match message {
            Message::Recovered {
                found, dispatched, ..
            } => {
                self.found = *found;
                if found != dispatched {
                    self.blame(
                        Broken::FoundNotEntered,
                        format!("{found} found, {dispatched} entered"),
                    );
                }
            }
            Message::Entered {
                id,
                generation,
                crashes,
                recovered,
                waited,
            } => self.entered(id, (*generation, *crashes), *recovered, *waited),
            Message::EnteredAgain => self.recovered += 1,
            Message::Left { id } => {
                let trace = self.trace(id);
                trace.running = false;
                trace.left = true;
                self.left += 1;
            }
            Message::Acknowledged { id } => self.trace(id).acknowledged = true,
            Message::Ended(record) => self.ended_as(record),
            Message::EndedTold => self.list_told(),
        }
    }

    fn entered(
        &mut self,
        id: &str,
        (generation, crashes): (u64, u32),
        recovered: bool,
        waited: bool,
    ) {
        let life = self.life;
        let fresh_generation = self.generations.insert(generation);
        let trace = self.trace(id);
        let again = trace.entries > 0;
        let rules = [
            (
                !trace.acknowledged && trace.ended.is_none(),
                Broken::EnteredAfterEnd,
            ),
            (fresh_generation, Broken::GenerationShared),
            (generation > trace.generation, Broken::GenerationOld),
            (trace.life < life, Broken::EnteredTwice),
            (recovered || !again, Broken::ToldNew),
            (
                waited || recovered == (crashes > 0),
                Broken::CrashesContradict,
            ),
            // A claim may be cut off before its handler was entered, so there can be more.
            (crashes >= trace.entries, Broken::CrashesTooFew),
        ];
        trace.entries += 1;
        trace.generation = generation;
        trace.crashes = crashes;
        trace.life = life;
        trace.running = true;
        let left = std::mem::take(&mut trace.left);
        self.left -= u64::from(left);
        self.entries += 1;
        self.recovered += u64::from(recovered && !waited);
        for (kept, broken) in rules {
            if !kept {
                self.blame(broken, id.to_owned());
            }
        }
    }

    fn ended_as(&mut self, record: &Ended) {
        let list = self.lists;
        let trace = self.trace(&record.id);
        let first = trace.ended.is_none();
        let rules = [
            (record.succeeded, Broken::Failed),
            (
                (trace.ended.as_ref()).is_none_or(|before| before.is_same_end(record)),
                Broken::RecordChanged,
            ),
            (trace.listed < list, Broken::ListedTwice),
            (trace.left, Broken::EndedUnreturned),
            (
                !first || (record.generation, record.crashes) == (trace.generation, trace.crashes),
                Broken::RecordOfAnotherEntry,
            ),
            (
                (record.run, record.turn, record.attempt) == (1, 1, 1),
                Broken::EndedMoreThanOnce,
            ),
        ];
        trace.ended = Some(record.clone());
        trace.listed = list;
        for (kept, broken) in rules {
            if !kept {
                self.blame(broken, format!("{record:?}"));
            }
        }
    }

    /// What was acknowledged or listed before must be in each later list.
    fn list_told(&mut self) {
        let list = self.lists;
        self.lists += 1;
        let lost =
            |trace: &Trace| (trace.acknowledged || trace.ended.is_some()) && trace.listed < list;
        let lost = self.traces.iter().filter(|(_, trace)| lost(trace));
        let lost: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.blame(Broken::Lost, id);
        }
    }

    /// The last process has ended by itself, and these tasks are all there should be.
    pub(crate) fn finish(mut self, expected: &HashSet<String>) -> Vec<Violation> {
        let (found, recovered) = (self.found, self.recovered);
        if found != recovered {
            let what = format!("{found} found, {recovered} entered");
            self.blame(Broken::FoundNotEntered, what);
        }
        for id in expected {
            let trace = self.trace(id);
            if !trace.acknowledged || trace.ended.is_none() {
                self.blame(Broken::NoResult, id.clone());
            }
        }
        let unknown = self.traces.keys().filter(|id| !expected.contains(*id));
        let unknown: Vec<String> = unknown.cloned().collect();
        for id in unknown {
            self.blame(Broken::Unknown, id);
        }
        self.violations
    }

    fn trace(&mut self, id: &str) -> &mut Trace {
        self.traces.entry(id.to_owned()).or_default()
    }

    fn blame(&mut self, broken: Broken, what: String) {
        let life = self.life;
        self.violations.push(Violation { broken, life, what });
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
