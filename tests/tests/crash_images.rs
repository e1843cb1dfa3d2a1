//! A crash after every call of the disk: nothing that was acknowledged is lost, and the engine goes on.
//!
//! The campaign is `crash_sim`; this is as much of it as a build without optimization does in a few seconds.

use outlive_tests::simdisk::run::{Counts, Share, history};

/// Histories of a run; `OUTLIVE_SEED` tries that one alone.
const SEEDS: std::ops::Range<u64> = 1..2;

fn share() -> Share {
    Share {
        images: 250,
        torn: 1,
        settle: 15,
        second: 100,
        second_lines: 40,
        second_images: 6,
        groups: 5,
        lives: 2,
        only: std::env::var("OUTLIVE_POINT").ok(),
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_after_any_call_of_the_disk() {
    let seed = std::env::var("OUTLIVE_SEED").ok();
    let seeds = match seed.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => SEEDS,
    };
    let share = share();
    let mut counts = Counts::default();
    for seed in seeds {
        println!("OUTLIVE_SEED={seed}");
        counts.add(history(seed, &share));
    }
    println!("{counts}");
    assert_eq!(counts.violations, 0, "{:#?}", counts.shown);
    let tried = (counts.images, counts.second, counts.settled);
    assert!(
        share.only.is_some() || tried.0 > 200 && tried.1 > 5 && tried.2 > 5,
        "{tried:?} images, those in recoveries, and those worked to the end prove nothing"
    );
}
