//! Whole worlds by seed: the real engine on a store that fails at any write, loses answers and dies, with callers and
//! handlers who do anything at any moment. Nothing acknowledged is missing, nothing happens twice, everything comes to its
//! end.
//!
//! `OUTLIVE_SEED=n` plays the world of one seed and prints its story; `OUTLIVE_SEEDS=n` plays so many (500).

use outlive_tests::world::{Counts, play};
use std::time::Instant;

/// Worlds unless told otherwise.
const SEEDS: u64 = 500;
/// Worlds that are played twice.
const TWICE: u64 = 24;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_world_loses_or_doubles_anything_and_each_comes_to_its_end() {
    if let Some(seed) = variable("OUTLIVE_SEED") {
        let report = play(seed, true);
        println!("{}", report.text);
        assert_eq!(report.broken, None);
        return;
    }
    let began = Instant::now();
    let seeds = variable("OUTLIVE_SEEDS").unwrap_or(SEEDS);
    let mut counts = Counts::default();
    for seed in 0..seeds {
        let report = play(seed, false);
        assert_eq!(report.broken, None, "OUTLIVE_SEED={seed} tells the story");
        counts = counts.and(report.counts);
    }
    // A campaign without faults, or without answers to lose, would prove nothing.
    assert!(
        counts.refused > seeds / 8 && counts.lost > seeds / 8,
        "{counts:?}"
    );
    assert!(
        counts.crashes > seeds && counts.resolved > seeds / 4,
        "{counts:?}"
    );
    println!(
        "{seeds} seeds in {:.1} s: {counts:?}",
        began.elapsed().as_secs_f64()
    );
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in 0..TWICE {
        let (once, again) = (play(seed, false), play(seed, false));
        assert!(once.lines > 20, "seed {seed} tells a story");
        assert_eq!(
            (once.lines, once.digest),
            (again.lines, again.digest),
            "seed {seed}"
        );
        assert_eq!(once.counts, again.counts, "seed {seed}");
    }
}

#[test]
fn another_seed_tells_another_story() {
    let mut digests: Vec<_> = (0..TWICE).map(|seed| play(seed, false).digest).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len() as u64, TWICE);
}
