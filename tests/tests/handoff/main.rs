//! Who sends to the writer while it stops, fails or dies is answered exactly once, and rightly: as a model whose threads
//! run in every order that some thousands of schedules come to, and with the real writer under threads of the system.
//!
//! `OUTLIVE_SCHEDULES` and `OUTLIVE_ROUNDS` say how many of each, `OUTLIVE_SEED` begins with another seed.

mod channel;
mod model;
mod real;

use model::{Bug, Fault, life};
use shuttle::scheduler::PctScheduler;
use shuttle::{Config, Runner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Threads beside the writer.
const SENDERS: u32 = 3;
/// Most places at which a schedule changes its mind.
const DEPTH: usize = 3;
/// The seed of all schedules, unless `OUTLIVE_SEED` is another one.
const SEED: u64 = 0x5eed;

/// A wrong protocol is found by so many schedules of one of its lives.
const FOUND_WITHIN: usize = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs so many schedules of a life; how many there were, or which of them found something.
fn schedules(most: usize, fault: Fault, until: u32, bug: Bug) -> Result<usize, usize> {
    let seed = number("OUTLIVE_SEED").unwrap_or(SEED);
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let mut config = Config::new();
    config.failure_persistence = shuttle::FailurePersistence::None;
    let runner = Runner::new(PctScheduler::new_from_seed(seed, DEPTH, most), config);
    let run = AssertUnwindSafe(move || {
        runner.run(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            life(SENDERS, fault, until, bug);
        })
    });
    let count = catch_unwind(run).is_ok();
    let begun = begun.load(Ordering::SeqCst);
    if count { Ok(begun) } else { Err(begun) }
}

/// The commits at which something goes wrong.
const UNTIL: [u32; 3] = [0, 1, 2];

#[test]
fn who_sends_while_the_writer_stops_fails_or_dies_is_answered_once() {
    let most = number("OUTLIVE_SCHEDULES").unwrap_or(10_000) as usize;
    let lives = Fault::ALL.len() * UNTIL.len();
    let mut total = 0;
    for fault in Fault::ALL {
        for until in UNTIL {
            match schedules(most / lives + 1, fault, until, Bug::None) {
                Ok(count) => total += count,
                Err(at) => panic!("schedule {at} of {fault:?} at commit {until}"),
            }
        }
    }
    println!("the door of the writer: {total} schedules of {lives} lives, 0 findings");
}

/// What the model is there for, it finds.
#[test]
fn a_wrong_door_is_found_within_some_schedules() {
    for bug in [
        Bug::AckBeforeCommit,
        Bug::CloseAfterDrain,
        Bug::DeathWithoutReplies,
        Bug::UnknownAsRefused,
        Bug::StopForgetsHeld,
        Bug::StashForgotten,
        Bug::SleepUnseen,
    ] {
        let lives = Fault::ALL
            .iter()
            .flat_map(|fault| UNTIL.map(|until| (*fault, until)));
        let found = { lives }.find_map(|(fault, until)| {
            let at = schedules(FOUND_WITHIN, fault, until, bug).err()?;
            Some((at, fault, until))
        });
        let (at, fault, until) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?}: found by schedule {at} of {fault:?} at commit {until}");
    }
}
