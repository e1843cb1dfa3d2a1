//! What happens to suspects within one life: held back, entered apart, acquitted, quarantined, released.

use crate::simulated::{Does, LONG, Life, TURN, World, ids};
use outlive::{EventKind, Status};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// What the guard watches at the least.
const WATCH: Duration = Duration::from_secs(5);

/// A world in which so many tasks ran at each of three deaths, soon after each open.
async fn suspected(count: u64, does: Does) -> World {
    let mut world = World::new();
    let first = world.open().await;
    first.start(ids(count).map(|id| (id, does))).await;
    world.dies(first).await;
    for _ in 0..2 {
        world.killed_after(100 * MS).await;
    }
    world
}

async fn all_run(life: &Life, count: u64) -> bool {
    for id in ids(count) {
        if !life.runs(&id).await {
            return false;
        }
    }
    true
}

#[tokio::test(start_paused = true)]
async fn up_to_two_deaths_a_turn_is_entered_with_everybody_else() {
    let mut world = World::new();
    let first = world.open().await;
    first.start(ids(3).map(|id| (id, Does::RunsForEver))).await;
    world.dies(first).await;
    for deaths in 1..=2 {
        let life = world.open().await;
        let report = life.engine.recovery().await;
        assert_eq!(
            (report.found, report.dispatched, report.isolated),
            (3, 3, 0)
        );
        assert_eq!(life.get("t0").await.crashes, deaths);
        life.until(100 * MS).await;
        assert!(all_run(&life, 3).await);
        world.dies(life).await;
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_third_death_a_turn_is_held_back_while_everything_else_runs() {
    let world = suspected(3, Does::RunsForEver).await;
    let life = world.open().await;
    let report = life.engine.recovery().await;
    assert_eq!(
        (report.found, report.dispatched, report.isolated),
        (3, 0, 3)
    );
    life.start([("new".to_owned(), Does::RunsForEver)]).await;
    life.until(WATCH - MS).await;
    assert!(life.runs("new").await);
    for id in ids(3) {
        assert!(life.is_isolated(&id).await);
        assert_eq!(life.get(&id).await.status, Status::Pending);
        assert_eq!(life.entries(&id), []);
    }
}

/// Who had no handlers put a turn back as if nothing were said of its deaths, and whoever claims one does not ask: a look
/// after each death, and a turn killed its process for ever.
#[tokio::test(start_paused = true)]
async fn a_look_without_handlers_holds_back_whom_a_death_makes_a_suspect() {
    let mut world = World::new();
    let first = world.open().await;
    first.start(ids(3).map(|id| (id, Does::RunsForEver))).await;
    world.dies(first).await;
    for _ in 0..2 {
        world.looked().await;
        world.killed_after(100 * MS).await;
    }
    world.looked().await;
    let life = world.open().await;
    life.until(WATCH - MS).await;
    for id in ids(3) {
        assert!(life.is_isolated(&id).await);
        assert_eq!(life.get(&id).await.crashes, 3);
    }
}

/// A process that dies with the suspects held back disproves the suspicion; a look came between the two, and it stayed.
#[tokio::test(start_paused = true)]
async fn a_look_without_handlers_keeps_what_a_death_has_disproved() {
    let mut world = suspected(3, Does::RunsForEver).await;
    world.killed_after(100 * MS).await;
    world.looked().await;
    let life = world.open().await;
    life.until(100 * MS).await;
    assert!(all_run(&life, 3).await);
}

#[tokio::test(start_paused = true)]
async fn suspects_are_entered_in_halves_and_each_half_is_watched() {
    let world = suspected(8, Does::RunsForEver).await;
    let life = world.open().await;
    let running = async |life: &Life| {
        let mut running = 0;
        for id in ids(8) {
            running += usize::from(life.runs(&id).await);
        }
        running
    };
    // Half of them, half of the rest; then one by one, but not before the process has lived for long.
    for (age, expected) in [(1, 0), (6, 4), (11, 6), (19, 6), (21, 7), (26, 8)] {
        life.until(age * SECOND).await;
        assert_eq!(running(&life).await, expected, "after {age} s");
    }
    life.until(60 * SECOND).await;
    assert!(all_run(&life, 8).await);
    for id in ids(8) {
        let timeline = life.get(&id).await.timeline;
        let last = timeline.iter().map(|entry| entry.what).collect::<Vec<_>>();
        let [.., isolated, probed, acquitted] = last[..] else {
            panic!("{last:?}");
        };
        assert_eq!(isolated, EventKind::Isolated);
        assert_eq!(probed, EventKind::Probed);
        assert_eq!(acquitted, EventKind::Acquitted);
        assert_eq!(life.entries(&id).len(), 1);
    }
}

/// A turn whose death decides is entered only when the process has lived without it for much longer.
#[tokio::test(start_paused = true)]
async fn a_suspect_is_entered_alone_after_four_times_as_long() {
    let world = suspected(1, Does::RunsForEver).await;
    let life = world.open().await;
    life.until(4 * WATCH - 10 * MS).await;
    assert!(life.is_isolated("t0").await);
    life.until(4 * WATCH + 10 * MS).await;
    assert!(life.runs("t0").await);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_watched_twice_as_long_as_it_took_its_process_to_die() {
    let mut world = World::new();
    let first = world.open().await;
    first.start(ids(2).map(|id| (id, Does::RunsForEver))).await;
    world.dies(first).await;
    world.killed_after(9 * SECOND).await;
    world.killed_after(20 * SECOND).await;
    let life = world.open().await;
    life.until(4 * 40 * SECOND - SECOND).await;
    assert!(life.is_isolated("t0").await);
    life.until(4 * 40 * SECOND + SECOND).await;
    assert!(life.runs("t0").await);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_watched_for_longer_than_ten_minutes() {
    let mut world = World::new();
    let first = world.open().await;
    first.start(ids(2).map(|id| (id, Does::RunsForEver))).await;
    world.dies(first).await;
    world.killed_after(24 * 3600 * SECOND).await;
    world.killed_after(24 * 3600 * SECOND).await;
    let life = world.open().await;
    life.until(599 * SECOND).await;
    assert!(life.is_isolated("t0").await);
    life.until(601 * SECOND).await;
    assert!(life.runs("t0").await);
    life.until(1201 * SECOND).await;
    assert!(all_run(&life, 2).await);
}

#[tokio::test(start_paused = true)]
async fn a_death_without_suspects_drops_every_suspicion() {
    let mut world = suspected(3, Does::RunsForEver).await;
    world.killed_after(SECOND).await;
    // The counts begin anew: again two deaths do not make a suspect.
    for _ in 0..3 {
        let life = world.open().await;
        life.until(100 * MS).await;
        assert!(all_run(&life, 3).await);
        world.dies(life).await;
    }
    let life = world.open().await;
    life.until(100 * MS).await;
    assert!(life.is_isolated("t0").await);
}

#[tokio::test(start_paused = true)]
async fn a_death_without_suspects_is_not_counted_against_what_ran() {
    let mut world = suspected(2, Does::RunsForEver).await;
    // This one runs in two control starts and in two lives between: two deaths in a row at the most.
    let life = world.open().await;
    life.start([("other".to_owned(), Does::RunsForEver)]).await;
    world.dies(life).await;
    for _ in 0..3 {
        world.killed_after(100 * MS).await;
    }
    let life = world.open().await;
    life.until(100 * MS).await;
    assert!(
        life.is_isolated("other").await,
        "three deaths with everybody count"
    );
    world.dies(life).await;
    let life = world.open().await;
    life.until(100 * MS).await;
    assert!(life.runs("other").await);
    assert!(all_run(&life, 2).await);
}

/// Whoever ran beside the suspects once became one in the lives it took to find the one.
#[tokio::test(start_paused = true)]
async fn what_runs_beside_suspects_on_probation_is_not_suspected() {
    let mut world = World::new();
    let first = world.open().await;
    let poison = ("poison".to_owned(), Does::KillsAfterMs(50));
    let others = ids(8).map(|id| (id, Does::RunsForEver));
    first.start([poison].into_iter().chain(others)).await;
    assert!(first.dies_within(SECOND).await);
    world.dies(first).await;
    for _ in 0..2 {
        world.killed_after(SECOND).await;
    }
    let life = world.open().await;
    life.start([("bystander".to_owned(), Does::RunsForEver)])
        .await;
    assert!(life.dies_within(LONG).await);
    world.dies(life).await;
    let mut lives = 0;
    loop {
        let life = world.open().await;
        life.engine.recovery().await;
        assert!(life.runs("bystander").await, "in life {lives}");
        lives += 1;
        if !life.dies_within(LONG).await {
            break;
        }
        world.dies(life).await;
    }
    assert!(lives > 3, "more than it takes to become a suspect");
}

#[tokio::test(start_paused = true)]
async fn a_suspect_that_ends_makes_room_for_the_next_within_a_second() {
    let world = suspected(8, Does::EndsAfterMs(500)).await;
    let life = world.open().await;
    life.until(WATCH + 2 * SECOND).await;
    let mut ended = 0;
    for id in ids(8) {
        ended += usize::from(life.get(&id).await.status == Status::Completed);
    }
    assert_eq!(ended, 6, "all but those that are entered alone");
    life.until(4 * WATCH + 2 * SECOND).await;
    for id in ids(8) {
        assert_eq!(life.get(&id).await.status, Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_wait_for_slots_before_what_is_due() {
    let mut world = suspected(4, Does::EndsAfterMs(500)).await;
    world.max_running = 1;
    let life = world.open().await;
    let backlog = (0..40).map(|n| (format!("due{n}"), Does::EndsAfterMs(500)));
    life.start(backlog).await;
    // Two suspects are on probation as slots come free, then one, then the last one alone.
    life.until(WATCH + 2 * SECOND).await;
    for id in ["t0", "t1"] {
        assert_eq!(life.get(id).await.status, Status::Completed);
    }
    assert!(life.get("due39").await.status == Status::Pending);
    life.until(4 * WATCH + 10 * SECOND).await;
    for id in ids(4) {
        assert_eq!(life.get(&id).await.status, Status::Completed);
    }
}

/// One that is poisonous, quarantined after as many deaths as it takes.
async fn quarantined() -> (World, Life) {
    let mut world = World::new();
    let first = world.open().await;
    first
        .start([("poison".to_owned(), Does::KillsAfterMs(50))])
        .await;
    assert!(first.dies_within(SECOND).await);
    world.dies(first).await;
    let life = world.until_one_lives(5).await;
    (world, life)
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_dies_alone_twice_is_quarantined_where_everybody_sees_it() {
    let (world, life) = quarantined().await;
    assert_eq!(world.deaths, 5);
    let report = life.engine.recovery().await;
    assert_eq!((report.found, report.quarantined), (1, 1));
    let snapshot = life.get("poison").await;
    assert_eq!(snapshot.status, Status::Suspended);
    assert!(life.is_quarantined("poison").await);
    let listed = life
        .engine
        .list(TURN)
        .status(Status::Suspended)
        .await
        .unwrap();
    assert_eq!(listed.tasks.len(), 1);
    assert_eq!(listed.tasks[0].wait, snapshot.wait);
    assert_eq!(life.entries("poison"), []);
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_turn_stays_so_until_it_is_released() {
    let (world, life) = quarantined().await;
    world.cure();
    life.stop().await;
    let life = world.open().await;
    life.until(LONG).await;
    assert!(life.is_quarantined("poison").await);
    let run = life.engine.retry(TURN, "poison").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 7);
    assert_eq!(life.get("poison").await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_can_be_released_before_it_is_its_turn() {
    let world = suspected(3, Does::RunsForEver).await;
    let life = world.open().await;
    life.engine.recovery().await;
    life.engine.retry(TURN, "t1").await.unwrap();
    life.until(SECOND).await;
    assert!(life.runs("t1").await);
    assert!(life.is_isolated("t0").await);
}

#[tokio::test(start_paused = true)]
async fn without_the_guard_deaths_decide_nothing_and_what_was_held_back_runs() {
    let mut world = suspected(3, Does::RunsForEver).await;
    let life = world.open().await;
    life.until(SECOND).await;
    assert!(life.is_isolated("t0").await);
    life.stop().await;
    world.guard = false;
    for _ in 0..6 {
        let life = world.open().await;
        life.until(100 * MS).await;
        assert!(all_run(&life, 3).await);
        world.dies(life).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_order_is_no_death_and_clears_the_counts() {
    let mut world = World::new();
    let first = world.open().await;
    first.start(ids(3).map(|id| (id, Does::RunsForEver))).await;
    first.stop().await;
    for _ in 0..5 {
        let life = world.open().await;
        life.until(100 * MS).await;
        assert!(all_run(&life, 3).await);
        let snapshot = life.get("t0").await;
        assert_eq!((snapshot.crashes, snapshot.attempt), (0, 1));
        life.stop().await;
    }
    // Two deaths, a stop, two deaths: never three in a row.
    for stops in [false, false, true, false, false] {
        let life = world.open().await;
        life.until(100 * MS).await;
        assert!(all_run(&life, 3).await);
        if stops {
            life.stop().await;
        } else {
            world.dies(life).await;
        }
    }
    let life = world.open().await;
    life.until(100 * MS).await;
    assert!(all_run(&life, 3).await);
    assert_eq!(life.get("t0").await.crashes, 4);
    let run = life.engine.attach(TURN, "t0").await.unwrap();
    assert_eq!(run.refresh().await.unwrap().attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_note_on_an_earlier_process_keeps_nobody_from_the_tasks() {
    let mut world = World::new();
    let first = world.open().await;
    first.start(ids(3).map(|id| (id, Does::RunsForEver))).await;
    first.stop().await;
    world.damaged_lives = true;
    let life = world.open().await;
    life.until(100 * MS).await;
    assert!(all_run(&life, 3).await);
    assert_eq!(life.get("t0").await.crashes, 1, "one nobody remembers died");
}

/// The guard writes a phase, then what is done in it: a process may die between any two of these writes.
#[tokio::test(start_paused = true)]
async fn a_death_at_any_commit_of_the_guard_loses_nobody() {
    let mut deepest = 0;
    for (commit, written) in (1..=10).flat_map(|commit| [(commit, false), (commit, true)]) {
        let mut world = suspected(4, Does::RunsForEver).await;
        world.broken_from = (commit, written);
        let life = world.open().await;
        life.until(60 * SECOND).await;
        deepest = deepest.max(life.commits());
        world.dies(life).await;
        world.broken_from = (0, false);

        let life = world.open().await;
        life.until(LONG).await;
        assert!(
            all_run(&life, 4).await,
            "dead from commit {commit} on, {written}"
        );
        life.stop().await;
    }
    // One isolates, then each group is entered and acquitted.
    assert_eq!(deepest, 7);
}
