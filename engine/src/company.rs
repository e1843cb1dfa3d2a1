//! How long a batch waits for company.
//!
//! Who was answered comes back at once, as a rule: a handler that was entered ends, a caller starts its next task. A batch
//! that does not wait for them leaves them to the one after it, and two half batches take turns, each with a sync of its
//! own. So a batch of several pauses a moment before it closes. Where nobody comes in that moment, the next ones do not
//! pause; an event that is alone never does.

use crate::env;
use std::time::Duration;

/// The pause. A thread that sleeps is woken late by about as much again, and a sync takes longer than both.
const PAUSE: Duration = Duration::from_micros(50);
/// A pause was worth it if it brought one more for so many that waited.
const WORTH: usize = 4;
/// Most batches without a pause after one that was not worth it.
const REST_MAX: u32 = 64;

/// Takes what waits, with at most one pause for each batch.
#[derive(Default)]
pub(crate) struct Company {
    /// What the batch has taken so far.
    taken: usize,
    /// What it had when it paused.
    paused_with: Option<usize>,
    /// Batches that will not pause.
    rest: u32,
    /// How many that were after the last pause that was not worth it.
    rested: u32,
}

impl Company {
    /// The next of what waits for the batch at hand.
    pub(crate) fn next<T>(&mut self, mut waiting: impl FnMut() -> Option<T>) -> Option<T> {
        if let Some(next) = waiting() {
            self.taken += 1;
            return Some(next);
        }
        if !self.pauses() {
            return None;
        }
        self.paused_with = Some(self.taken);
        env::pause(PAUSE);
        let next = waiting();
        self.taken += usize::from(next.is_some());
        next
    }

    /// Beside the first of a batch there is another one, and pauses bring more.
    fn pauses(&self) -> bool {
        self.taken > 0 && self.paused_with.is_none() && self.rest == 0
    }

    /// The batch is done with.
    pub(crate) fn part(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.rest = self.rest.saturating_sub(1);
        let Some(before) = self.paused_with.take() else {
            return;
        };
        if (taken - before) * WORTH >= before {
            self.rested = 0;
            return;
        }
        self.rested = (2 * self.rested).clamp(1, REST_MAX);
        self.rest = self.rested;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much a batch took, and whether it paused.
    fn batch(company: &mut Company, waiting: usize) -> (usize, bool) {
        let mut events = 0..waiting;
        let taken = std::iter::from_fn(|| company.next(|| events.next())).count();
        let paused = company.paused_with.is_some();
        company.part();
        (taken, paused)
    }

    #[test]
    fn an_event_that_is_alone_does_not_pause() {
        assert_eq!(batch(&mut Company::default(), 0), (0, false));
    }

    #[test]
    fn who_waits_in_vain_pauses_ever_more_rarely() {
        let mut company = Company::default();
        let mut paused = Vec::new();
        for number in 0..200 {
            let (taken, pauses) = batch(&mut company, 8);
            assert_eq!(taken, 8);
            if pauses {
                paused.push(number);
            }
        }
        assert_eq!(paused, [0, 2, 5, 10, 19, 36, 69, 134, 199]);
    }

    #[test]
    fn a_pause_that_brings_others_is_made_again() {
        let mut company = Company::default();
        for _ in 0..3 {
            company.taken = 4;
            assert!(company.pauses());
            company.paused_with = Some(4);
            company.taken = 5;
            company.part();
        }
    }
}
