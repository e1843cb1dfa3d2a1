//! The whole rule, life after life: what is poisonous is found in few deaths, what is not runs on.

use crate::simulated::{Dice, Does, LONG, Life, World, ids};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What is promised about one poisonous turn among so many that run.
fn deaths_max(running: u64) -> u32 {
    5 + (2.0 * (running as f64).log2()).floor() as u32
}

/// Every task but those that are poisonous runs, and these are held.
async fn judged(life: &Life, count: u64, poisons: &[u64]) {
    for (n, id) in (0..).zip(ids(count)) {
        let snapshot = life.get(&id).await;
        let as_it_should = if poisons.contains(&n) {
            life.is_quarantined(&id).await
        } else {
            life.runs(&id).await
        };
        assert!(as_it_should, "{id}, {poisons:?} of {count}: {snapshot:?}");
    }
}

/// Tasks of which these kill the process, and the rest runs for ever.
fn tasks(count: u64, poisons: &[u64], kills_after: Duration) -> Vec<(String, Does)> {
    let kills = Does::KillsAfterMs(kills_after.as_millis() as u64);
    let does = |n| {
        if poisons.contains(&n) {
            kills
        } else {
            Does::RunsForEver
        }
    };
    ids(count).zip((0..).map(does)).collect()
}

/// `OUTLIVE_POISON_SEEDS` says how many worlds are tried (20).
#[tokio::test(start_paused = true)]
async fn a_poisonous_turn_is_found_in_few_deaths_and_no_innocent_with_it() {
    let seeds = std::env::var("OUTLIVE_POISON_SEEDS").map_or(20, |seeds| seeds.parse().unwrap());
    let mut most = 0;
    for seed in 0..seeds {
        let mut dice = Dice::seeded(seed);
        let running = [1, 2, 3, 12, 100][dice.below(5) as usize];
        let poison = dice.below(running);
        // As fast as an abort, or slower than the shortest probation.
        let slow = dice.below(2) == 1;
        let kills_after = if slow {
            dice.between(8 * SECOND, 12 * SECOND)
        } else {
            dice.between(Duration::ZERO, 4 * SECOND)
        };

        let mut world = World::new();
        let first = world.open().await;
        first.start(tasks(running, &[poison], kills_after)).await;
        assert!(first.dies_within(LONG).await);
        world.dies(first).await;
        let life = world.until_one_lives(deaths_max(running)).await;
        judged(&life, running, &[poison]).await;
        life.stop().await;
        println!(
            "{running} running, killed after {kills_after:?}: {} deaths",
            world.deaths
        );
        most = most.max(world.deaths);
    }
    println!("most deaths to a quarantine: {most}");
}

#[tokio::test(start_paused = true)]
async fn two_poisonous_turns_are_both_found_and_no_innocent_with_them() {
    for seed in 0..10 {
        let mut dice = Dice::seeded(seed);
        let poisons = [dice.below(20), 20 + dice.below(20)];
        let mut world = World::new();
        let first = world.open().await;
        let kills_after = dice.between(Duration::ZERO, 4 * SECOND);
        first.start(tasks(40, &poisons, kills_after)).await;
        let life = {
            assert!(first.dies_within(LONG).await);
            world.dies(first).await;
            world.until_one_lives(2 * deaths_max(40)).await
        };
        judged(&life, 40, &poisons).await;
        life.stop().await;
        println!("two among 40: {} deaths", world.deaths);
    }
}

/// Kills one life after the other, and requires that everybody runs in the end.
async fn kills(seed: u64, running: u64, count: u32, (from, to): (Duration, Duration)) {
    let mut dice = Dice::seeded(seed);
    let mut world = World::new();
    let first = world.open().await;
    first.start(tasks(running, &[], SECOND)).await;
    world.dies(first).await;
    for _ in 1..count {
        world.killed_after(dice.between(from, to)).await;
    }
    let life = world.open().await;
    life.until(LONG).await;
    judged(&life, running, &[]).await;
    life.stop().await;
    assert_eq!(world.deaths, count);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_kills_from_outside_quarantine_nobody() {
    for (seed, running) in [(1, 1), (2, 12), (3, 50)] {
        kills(seed, running, 1000, (20 * MS, 220 * MS)).await;
    }
}

/// Kills that come about as far apart as the guard watches somebody once took one death for a suspect's after the other.
#[tokio::test(start_paused = true)]
async fn kills_from_outside_that_outlast_a_control_start_quarantine_nobody() {
    for (seed, running) in [(1, 1), (2, 12), (3, 50)] {
        kills(seed, running, 300, (SECOND, 10 * SECOND)).await;
        kills(seed, running, 300, (SECOND, 60 * SECOND)).await;
    }
}
