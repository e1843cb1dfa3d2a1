//! Durations: begun in a life, they are moved by no jump of the wall clock while it lasts.

use super::{
    HOUR, LATE_MAX, LIMIT, PAUSE, SECOND, STAY, TEN_YEARS, WAKE, World, assert_after, settle,
};
use outlive::testing::WallClock;
use outlive::{ResultError, TaskOptions};
use std::time::Duration;
use tokio::time::Instant;

/// Everything a wall clock may do at once.
const JUMPS: [fn(&WallClock); 4] = [
    |wall| wall.jump_ahead(TEN_YEARS),
    |wall| wall.jump_back(TEN_YEARS),
    |wall| wall.jump_ahead(8 * HOUR),
    |wall| wall.jump_back(2 * SECOND),
];

#[tokio::test(start_paused = true)]
async fn a_delay_is_moved_by_no_jump() {
    for jump in JUMPS {
        let world = World::new();
        let engine = world.open().await;
        let began = Instant::now();
        let start = engine.start(WAKE, "a", &0).start_in(HOUR);
        start.await.unwrap();
        assert_eq!(world.pass(HOUR / 2).await, []);
        jump(&world.wall);
        let woken = world.pass(HOUR).await;
        assert_eq!(woken.len(), 1);
        assert_after(woken[0].at, began, HOUR);
        assert_eq!(world.pass(HOUR).await, [], "never twice");
    }
}

/// Each delay has a line of its own, and the jump after it moves neither.
#[tokio::test(start_paused = true)]
async fn a_delay_that_begins_after_a_jump_is_not_moved_by_the_next() {
    for first in JUMPS {
        for second in JUMPS {
            let world = World::new();
            let engine = world.open().await;
            first(&world.wall);
            settle().await;
            let began = Instant::now();
            let start = engine.start(WAKE, "a", &0).start_in(HOUR);
            start.await.unwrap();
            second(&world.wall);
            let woken = world.pass(2 * HOUR).await;
            assert_eq!(woken.len(), 1);
            assert_after(woken[0].at, began, HOUR);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_off_is_moved_by_no_jump() {
    for jump in JUMPS {
        let world = World::new();
        let engine = world.open().await;
        engine.start(WAKE, "a", &2).await.unwrap();
        let failed = world.woken.some().await;
        jump(&world.wall);
        let woken = world.pass(PAUSE + LATE_MAX).await;
        assert_eq!(woken.len(), 1);
        assert_after(woken[0].at, failed[0].at, PAUSE);
        // This one began under the clock as it is now.
        jump(&world.wall);
        let again = world.pass(PAUSE + LATE_MAX).await;
        assert_eq!(again.len(), 1);
        assert_after(again[0].at, woken[0].at, PAUSE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_moved_by_no_jump() {
    for jump in JUMPS {
        let world = World::new();
        let engine = world.open().await;
        let began = Instant::now();
        engine.start(STAY, "a", &()).await.unwrap();
        tokio::time::sleep(LIMIT / 2).await;
        jump(&world.wall);
        tokio::time::sleep(LIMIT).await;
        let told = world.told.take();
        assert_eq!(told.len(), 1);
        assert_after(told[0].at, began, LIMIT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_out_that_begins_after_a_jump_is_not_moved_by_the_next() {
    for first in JUMPS {
        for second in JUMPS {
            let world = World::new();
            let engine = world.open().await;
            first(&world.wall);
            let began = Instant::now();
            engine.start(STAY, "a", &()).await.unwrap();
            tokio::time::sleep(LIMIT / 2).await;
            second(&world.wall);
            tokio::time::sleep(LIMIT).await;
            let told = world.told.take();
            assert_eq!(told.len(), 1);
            assert_after(told[0].at, began, LIMIT);
        }
    }
}

/// A stubborn handler is stopped when its grace is over, by the same clock.
#[tokio::test(start_paused = true)]
async fn a_grace_is_moved_by_no_jump() {
    const GRACE: Duration = Duration::from_secs(60);
    for jump in JUMPS {
        let world = World::new();
        let stubborn = STAY.with(TaskOptions::new().timeout(LIMIT).grace(GRACE));
        let handler = |_, ()| std::future::pending::<Result<u32, outlive::HandlerError>>();
        let builder = outlive::Engine::in_memory().wall_clock(&world.wall);
        let engine = builder.task(stubborn, handler).open().await.unwrap();
        let began = Instant::now();
        let run = engine.start(stubborn, "a", &()).await.unwrap();
        tokio::time::sleep(LIMIT + GRACE / 2).await;
        jump(&world.wall);
        let ended = run.result().await;
        assert!(
            matches!(ended, Err(ResultError::Terminated { .. })),
            "{ended:?}"
        );
        assert_after(Instant::now(), began, LIMIT + GRACE);
    }
}
