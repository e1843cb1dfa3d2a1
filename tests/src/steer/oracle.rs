//! The oracle: knows from the outside log which inputs were accepted, and counts what the file says otherwise.

use super::log::{Key, What, parse};
use std::collections::BTreeMap;

/// Violations that are printed; further ones are only counted.
const SHOWN_MAX: u64 = 20;

/// What the log says of an input.
#[derive(Debug, Clone, Copy, Default)]
struct Input {
    accepted: bool,
    /// Its caller was about to take it back.
    taking_back: bool,
    taken_back: bool,
    kept: bool,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Inputs that were acknowledged.
    pub accepted: u64,
    /// Of these, consumed as a turn's own.
    pub own: u64,
    /// Of these, taken by a turn at a boundary.
    pub taken: u64,
    /// Of these, withdrawn.
    pub withdrawn: u64,
    /// Told of, without an answer, and in the file nevertheless.
    pub unanswered_kept: u64,
    /// Acknowledged, and neither consumed nor withdrawn.
    pub lost: u64,
    /// Consumed by two turns, or twice by one, or withdrawn and consumed.
    pub doubled: u64,
    /// Consumed before an input that was accepted before it.
    pub disordered: u64,
    /// Answered with something else than the turn that consumed it.
    pub wrong: u64,
}

impl Counts {
    /// Everything that must not be.
    pub fn violations(&self) -> u64 {
        self.lost + self.doubled + self.disordered + self.wrong
    }
}

/// Where an input was consumed: the turn, and its place in it, 0 for the turn's own.
type Place = (u64, u64);

/// Remembers everything that was accepted.
#[derive(Debug, Default)]
pub struct Oracle {
    inputs: BTreeMap<Key, Input>,
    /// What was counted so far.
    pub counts: Counts,
}

impl Oracle {
    /// Takes what the log says of a life, or of a part of it.
    pub fn read(&mut self, text: &str) {
        for line in text.lines() {
            let Some((what, key)) = parse(line) else {
                self.wrong(&format!("the log says {line:?}"));
                continue;
            };
            let input = self.inputs.entry(key).or_default();
            match what {
                What::Told => {}
                What::Accepted => {
                    self.counts.accepted += u64::from(!input.accepted);
                    input.accepted = true;
                }
                What::TakingBack => input.taking_back = true,
                What::TakenBack => input.taken_back = true,
                What::Kept => input.kept = true,
            }
        }
    }

    /// Takes what the last process tells of each input.
    pub fn finished(&mut self, lines: &[String]) {
        let mut consumed: BTreeMap<Key, Place> = BTreeMap::new();
        let mut turns: BTreeMap<(usize, u64), String> = BTreeMap::new();
        let mut seen = 0;
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let [Ok(task), Ok(number)] = [
                words.first().unwrap_or(&"").parse::<u64>(),
                words.get(1).unwrap_or(&"").parse::<u64>(),
            ] else {
                self.wrong(&format!("the last process says {line:?}"));
                continue;
            };
            let key = (task as usize, number);
            seen += 1;
            match words[2..] {
                ["absent"] => self.absent(key),
                ["withdrawn"] => self.withdrawn(key),
                ["consumed", turn, boundary, answered, numbers] => {
                    let turn: u64 = turn.parse().unwrap_or(0);
                    let place = boundary.parse::<u64>().map_or(0, |boundary| boundary + 1);
                    consumed.insert(key, (turn, place));
                    self.consumed(key, place > 0);
                    if answered.parse() != Ok(turn) {
                        self.wrong(&format!(
                            "{key:?} is answered by turn {answered}, not {turn}"
                        ));
                    }
                    let known = turns
                        .entry((key.0, turn))
                        .or_insert_with(|| numbers.to_owned());
                    if known != numbers {
                        self.wrong(&format!("{key:?}: turn {turn} has two outputs"));
                    }
                }
                _ => self.lost(&format!("{key:?} is left: {line}")),
            }
        }
        if seen != self.inputs.len() {
            self.lost(&format!(
                "{} inputs were told of, {seen} are known",
                self.inputs.len()
            ));
        }
        self.in_order(&consumed);
        self.as_the_handlers_say(&consumed, &turns);
    }

    fn absent(&mut self, key: Key) {
        if self.inputs.get(&key).is_some_and(|input| input.accepted) {
            self.lost(&format!("{key:?} was accepted and is not there"));
        }
    }

    fn withdrawn(&mut self, key: Key) {
        self.counts.withdrawn += 1;
        let input = self.inputs.get(&key).copied().unwrap_or_default();
        if !input.taking_back || input.kept {
            self.lost(&format!("{key:?} is withdrawn, which nobody was told"));
        }
    }

    fn consumed(&mut self, key: Key, taken: bool) {
        let input = self.inputs.get(&key).copied().unwrap_or_default();
        self.counts.unanswered_kept += u64::from(!input.accepted);
        self.counts.taken += u64::from(taken);
        self.counts.own += u64::from(!taken);
        if input.taken_back {
            self.doubled(&format!("{key:?} was withdrawn and is consumed"));
        }
    }

    /// Each input is consumed after those that were accepted before it.
    fn in_order(&mut self, consumed: &BTreeMap<Key, Place>) {
        let mut last: Option<(Key, Place)> = None;
        for (key, place) in consumed {
            if let Some((before, at)) = last
                && before.0 == key.0
                && at >= *place
            {
                let what = format!("{before:?} at {at:?}, then {key:?} at {place:?}");
                self.counts.disordered += 1;
                self.show("order", &what);
            }
            last = Some((*key, *place));
        }
    }

    /// What the handler of each turn worked on is what the file says the turn consumed, no more and no less.
    fn as_the_handlers_say(
        &mut self,
        consumed: &BTreeMap<Key, Place>,
        turns: &BTreeMap<(usize, u64), String>,
    ) {
        let mut by_turn: BTreeMap<(usize, u64), Vec<u64>> = BTreeMap::new();
        for ((task, number), (turn, _)) in consumed {
            by_turn.entry((*task, *turn)).or_default().push(*number);
        }
        for (turn, numbers) in turns {
            let file: Vec<String> = by_turn[turn].iter().map(u64::to_string).collect();
            if file.join(",") != *numbers {
                let what = format!("turn {turn:?} worked on {numbers}, the file says {file:?}");
                self.doubled(&what);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two inputs of one task, both accepted.
    fn told() -> Oracle {
        let mut oracle = Oracle::default();
        oracle.read("T 0 0\nA 0 0\nT 0 1\nA 0 1\n");
        oracle
    }

    fn after(lines: &[&str]) -> Counts {
        let mut oracle = told();
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        oracle.finished(&lines);
        oracle.counts
    }

    #[test]
    fn a_file_that_says_the_same_is_no_violation() {
        let counts = after(&["0 0 consumed 1 - 1 0,1", "0 1 consumed 1 0 1 0,1"]);
        assert_eq!((counts.violations(), counts.own, counts.taken), (0, 1, 1));
    }

    #[test]
    fn each_kind_of_violation_is_found() {
        let lost = ["0 0 consumed 1 - 1 0", "0 1 absent"];
        assert_eq!(after(&lost).lost, 1);
        let left = ["0 0 consumed 1 - 1 0", "0 1 left Queued"];
        assert_eq!(after(&left).lost, 1);
        let unasked = ["0 0 consumed 1 - 1 0", "0 1 withdrawn"];
        assert_eq!(after(&unasked).lost, 1);
        let twice = ["0 0 consumed 1 - 1 0,1", "0 1 consumed 2 - 2 1"];
        assert_eq!(after(&twice).doubled, 1);
        let disordered = ["0 0 consumed 2 - 2 0", "0 1 consumed 1 - 1 1"];
        assert_eq!(after(&disordered).disordered, 1);
        let another = ["0 0 consumed 1 - 1 0", "0 1 consumed 2 - 1 1"];
        assert_eq!(after(&another).wrong, 1);
        assert_eq!(
            after(&["0 0 consumed 1 - 1 0"]).lost,
            1,
            "one is not told of"
        );
    }
}
