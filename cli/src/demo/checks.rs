//! What the demonstration claims, each held against what happened.

use super::part::Told;
use super::{DIES_AT, STAGES, Story, WORD};
use std::ops::RangeInclusive;

/// A claim.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) claim: String,
    pub(super) holds: bool,
}

/// Holds everything that is claimed against what both processes said and what the stages wrote down.
pub(super) fn checks(story: &Story, effects: &str) -> Vec<Check> {
    let check = |claim: String, holds| Check { claim, holds };
    let (before, after) = (DIES_AT - 1, DIES_AT + 1);
    let ms = story.back_after.as_millis();
    vec![
        check(
            format!("the first process died in stage {DIES_AT}, and did not end the task"),
            story.died() && count(effects, ("done", DIES_AT)) == 1,
        ),
        check(
            format!("the task went on by itself, {ms} ms after the second process was started"),
            story.second.contains(&Told::Entered { again: true }),
        ),
        check(
            format!("stages 1 to {before} ran once in all: what they returned was found again"),
            all(effects, 1..=before, 1) && story.found_again().eq(1..=before),
        ),
        check(
            format!("stage {DIES_AT} was begun twice and done once: nothing of it was recorded"),
            all(effects, DIES_AT..=DIES_AT, 2),
        ),
        check(
            format!("stages {after} to {STAGES} ran once"),
            all(effects, after..=STAGES, 1),
        ),
        check(
            format!("the word {WORD:?} was taken once, and is in the result"),
            story.words() == [WORD] && story.result().is_some_and(|text| text.contains(WORD)),
        ),
        check(
            format!("the stream has {STAGES} items, in order, none twice, none missing"),
            story.items_are_in_order(),
        ),
    ]
}

/// How often the stages wrote so of one of them.
fn count(effects: &str, (what, n): (&str, u32)) -> usize {
    let start = format!("{what} {n} ");
    let lines = effects.lines();
    lines.filter(|line| line.starts_with(&start)).count()
}

/// Whether each of some stages was begun so often, and done once.
fn all(effects: &str, mut stages: RangeInclusive<u32>, begun: usize) -> bool {
    stages.all(|n| count(effects, ("begun", n)) == begun && count(effects, ("done", n)) == 1)
}

impl Story {
    fn died(&self) -> bool {
        let ended = |told: &Told| matches!(told, Told::Done { .. });
        !self.first.is_empty() && !self.first.iter().any(ended)
    }

    fn found_again(&self) -> impl Iterator<Item = u32> {
        self.second.iter().filter_map(|told| match told {
            Told::Stage { n, ran: false, .. } => Some(*n),
            _ => None,
        })
    }

    fn words(&self) -> Vec<&str> {
        let words = self.second.iter().filter_map(|told| match told {
            Told::Taken { word, .. } => Some(word.as_str()),
            _ => None,
        });
        words.collect()
    }

    fn result(&self) -> Option<&str> {
        self.second.iter().find_map(|told| match told {
            Told::Done { output } => Some(output.as_str()),
            _ => None,
        })
    }

    fn items_are_in_order(&self) -> bool {
        let items = self.second.iter().filter_map(|told| match told {
            Told::Item { text } => Some(text.as_str()),
            _ => None,
        });
        let items: Vec<&str> = items.collect();
        let in_order = |(text, n): (&&str, u32)| text.starts_with(&format!("stage {n}: "));
        items.len() == STAGES as usize && items.iter().zip(1..).all(in_order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_not_claimed() {
        let found = checks(&Story::default(), "");
        let held: Vec<&str> = found
            .iter()
            .filter(|check| check.holds)
            .map(|check| check.claim.as_str())
            .collect();
        assert!(held.is_empty(), "{held:?}");
    }
}
