//! Durations over a restart: what counts is the wall clock, as it would have been.

use super::{
    DAY, HOUR, LATE_MAX, LIMIT, PAUSE, STAY, TEN_YEARS, WAKE, World, assert_after, close, crash,
    settle,
};
use outlive::Status;
use std::time::Duration;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_delay_comes_at_its_wall_deadline_after_a_restart() {
    // How far the clock is moved while nobody runs, and what is left of an hour after ten minutes.
    let moved = [
        (Duration::ZERO, 50 * MINUTE),
        (30 * MINUTE, 20 * MINUTE),
        (DAY, Duration::ZERO),
        (TEN_YEARS, Duration::ZERO),
    ];
    for (moved, left) in moved {
        let world = World::new();
        let engine = world.open().await;
        let start = engine.start(WAKE, "a", &0).start_in(HOUR);
        start.await.unwrap();
        assert_eq!(world.pass(10 * MINUTE).await, []);
        close(engine).await;
        world.wall.jump_ahead(moved);
        let _engine = world.open().await;
        let opened = Instant::now();
        let woken = world.pass(2 * HOUR).await;
        assert_eq!(woken.len(), 1);
        assert_after(woken[0].at, opened, left);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_waits_longer_when_the_clock_was_set_back_between_two_lives() {
    let world = World::new();
    let engine = world.open().await;
    let start = engine.start(WAKE, "a", &0).start_in(HOUR);
    start.await.unwrap();
    close(engine).await;
    world.wall.jump_back(20 * MINUTE);
    let _engine = world.open().await;
    let opened = Instant::now();
    let woken = world.pass(2 * HOUR).await;
    assert_eq!(woken.len(), 1);
    assert_after(woken[0].at, opened, 80 * MINUTE);
}

/// The engine's own time had parted from the wall clock by eight hours, and so would the delay after the restart.
#[tokio::test(start_paused = true)]
async fn a_delay_that_began_after_a_jump_comes_in_its_time_after_a_crash() {
    for ahead in [true, false] {
        let world = World::new();
        let engine = world.open().await;
        match ahead {
            true => world.wall.jump_ahead(8 * HOUR),
            false => world.wall.jump_back(8 * HOUR),
        }
        let start = engine.start(WAKE, "a", &0).start_in(HOUR);
        start.await.unwrap();
        let began = Instant::now();
        crash(engine).await;
        let engine = world.open().await;
        assert_eq!(world.pass(HOUR / 2).await, [], "ahead: {ahead}");
        // And once more, by a process that knows nothing of that jump.
        crash(engine).await;
        let _engine = world.open().await;
        let woken = world.pass(2 * HOUR).await;
        assert_eq!(woken.len(), 1, "ahead: {ahead}");
        assert_after(woken[0].at, began, HOUR);
    }
}

/// Two lives that jumped by the same have lines of their own.
#[tokio::test(start_paused = true)]
async fn a_line_of_an_earlier_life_is_not_taken_for_one_of_this() {
    let world = World::new();
    let engine = world.open().await;
    world.wall.jump_ahead(8 * HOUR);
    let start = engine.start(WAKE, "a", &0).start_in(4 * HOUR);
    start.await.unwrap();
    let began = Instant::now();
    crash(engine).await;
    let engine = world.open().await;
    world.wall.jump_ahead(8 * HOUR);
    let start = engine.start(WAKE, "b", &0).start_in(2 * HOUR);
    start.await.unwrap();
    let woken = world.pass(5 * HOUR).await;
    let ids: Vec<&str> = woken.iter().map(|woken| &*woken.id).collect();
    assert_eq!(ids, ["b", "a"]);
    assert_after(woken[0].at, began, 2 * HOUR);
    assert_after(woken[1].at, began, 4 * HOUR);
}

#[tokio::test(start_paused = true)]
async fn a_crash_right_after_a_jump_loses_nothing_and_wakes_nobody_twice() {
    let world = World::new();
    let engine = world.open().await;
    let due = world.wall.now() + HOUR;
    engine.start(WAKE, "at", &0).start_at(due).await.unwrap();
    let start = engine.start(WAKE, "in", &0).start_in(HOUR);
    start.await.unwrap();
    world.wall.jump_ahead(8 * HOUR);
    crash(engine).await;
    let engine = world.open().await;
    let opened = Instant::now();
    let woken = world.pass(LATE_MAX).await;
    assert_eq!(woken.len(), 2, "both wall deadlines are past: {woken:?}");
    woken
        .iter()
        .for_each(|woken| assert_after(woken.at, opened, Duration::ZERO));
    close(engine).await;
    world.wall.jump_back(8 * HOUR);
    let _engine = world.open().await;
    assert_eq!(world.pass(2 * HOUR).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_back_off_after_a_jump_comes_in_its_time_after_a_crash() {
    let world = World::new();
    let engine = world.open().await;
    world.wall.jump_ahead(8 * HOUR);
    engine.start(WAKE, "a", &1).await.unwrap();
    let failed = world.woken.some().await;
    settle().await;
    crash(engine).await;
    let _engine = world.open().await;
    let woken = world.pass(PAUSE + LATE_MAX).await;
    assert_eq!(woken.len(), 1);
    assert_after(woken[0].at, failed[0].at, PAUSE);
}

/// The remainder goes by the wall clock, and is between nothing and a whole time-out.
#[tokio::test(start_paused = true)]
async fn the_rest_of_a_turns_time_is_by_the_wall_clock_after_a_restart() {
    type Moves = fn(&World);
    let moves: [(Moves, Duration); 4] = [
        (|_| {}, LIMIT / 3 * 2),
        (|world| world.wall.jump_ahead(LIMIT / 3), LIMIT / 3),
        (|world| world.wall.jump_back(TEN_YEARS), LIMIT),
        (|world| world.wall.jump_ahead(TEN_YEARS), Duration::ZERO),
    ];
    for (moves, left) in moves {
        let world = World::new();
        let engine = world.open().await;
        // A jump before the turn began is none of its business.
        world.wall.jump_ahead(DAY);
        engine.start(STAY, "a", &()).await.unwrap();
        tokio::time::sleep(LIMIT / 3).await;
        close(engine).await;
        moves(&world);
        let _engine = world.open().await;
        let opened = Instant::now();
        tokio::time::sleep(LIMIT + LATE_MAX).await;
        let told = world.told.take();
        // The first one is told of the shutdown by being dropped, which is no word.
        assert_eq!(told.len(), 1);
        assert_after(told[0].at, opened, left);
    }
}

/// What only waits for a slot waits for no clock. It was listed under the moment at which it came, and a clock that was
/// set back between two lives let it wait for that moment to come again.
#[tokio::test(start_paused = true)]
async fn what_waits_for_a_slot_is_due_after_the_clock_was_set_back() {
    let world = World::new();
    let engine = world.builder().max_running(1).open().await.unwrap();
    engine.start(STAY, "runs", &()).await.unwrap();
    engine.start(WAKE, "waits", &0).await.unwrap();
    settle().await;
    close(engine).await;
    assert_eq!(world.woken.take(), []);
    world.wall.jump_back(DAY);
    let engine = world.open().await;
    let opened = Instant::now();
    let woken = world.pass(LATE_MAX).await;
    assert_eq!(woken.len(), 1);
    assert_after(woken[0].at, opened, Duration::ZERO);
    let task = engine.get("waits").await.unwrap().expect("it is kept");
    assert_eq!(task.status, Status::Completed);
}
