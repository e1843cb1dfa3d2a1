//! Histories of operations on one id, from threads and from lives with a store that fails: each must be explained by
//! one operation after another on a register with an etag and a lease.
//!
//! `OUTLIVE_SEED` runs one seed; `OUTLIVE_HISTORIES` so many times the histories of a usual run.

mod calls;
mod leases;
mod outages;
mod register;
mod swaps;

use outlive_tests::history::{History, Tally};
use outlive_tests::linear::{Thing, linearize};
use std::ops::Range;

/// Callers at once.
const THREADS: usize = 8;
/// Ids they share.
const KEYS: usize = 3;

/// The histories of one test, and the line about them.
struct Campaign {
    what: &'static str,
    tally: Tally,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl Campaign {
    fn of(what: &'static str) -> Campaign {
        Campaign {
            what,
            tally: Tally::default(),
        }
    }

    /// The seeds of so many histories, or the one asked for.
    fn seeds(&self, usual: u64) -> Range<u64> {
        match number("OUTLIVE_SEED") {
            Some(seed) => seed..seed + 1,
            None => 1..1 + usual * number("OUTLIVE_HISTORIES").unwrap_or(1),
        }
    }

    /// Requires an order for the history of each thing.
    #[track_caller]
    fn check<T: Thing>(
        &mut self,
        seed: u64,
        begins: &T::State,
        history: &History<T::Asked, T::Answer>,
        refused: impl Fn(&T::Answer) -> bool,
    ) {
        for operations in history.by_thing() {
            self.tally.count(&operations, &refused);
            if let Err(not) = linearize::<T>(begins.clone(), &operations) {
                panic!("{}, OUTLIVE_SEED={seed}: {not}", self.what);
            }
        }
    }

    /// Says what was checked, and requires that it could have failed.
    fn ends(self) {
        let tally = &self.tally;
        assert!(tally.operations > 0 && tally.refused > 0, "{tally:?}");
        println!("{}", tally.line(self.what));
    }
}
