//! Moments that a caller named: the wall clock decides, as it is read.

use super::{HOUR, LATE_MAX, TEN_YEARS, WAKE, World, assert_after};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_clock_set_forward_past_a_moment_wakes_it_within_a_second_and_once() {
    for (wait, jump) in [(HOUR, HOUR), (HOUR, TEN_YEARS), (TEN_YEARS, TEN_YEARS)] {
        let world = World::new();
        let engine = world.open().await;
        let due = world.wall.now() + wait;
        engine.start(WAKE, "a", &0).start_at(due).await.unwrap();
        assert_eq!(world.pass(HOUR / 2).await, []);
        world.wall.jump_ahead(jump);
        let jumped = Instant::now();
        let woken = world.pass(LATE_MAX).await;
        world.wakes("a", &woken, due);
        assert_after(woken[0].at, jumped, Duration::ZERO);
        world.wall.jump_back(jump);
        assert_eq!(world.pass(3 * HOUR).await, [], "never twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_lets_a_moment_wait_until_it_is_shown_again() {
    for jump in [HOUR, TEN_YEARS] {
        let world = World::new();
        let engine = world.open().await;
        let due = world.wall.now() + HOUR;
        engine.start(WAKE, "a", &0).start_at(due).await.unwrap();
        world.wall.jump_back(jump);
        assert_eq!(world.pass(HOUR + HOUR / 2).await, [], "never early");
        // It is set right again, half an hour late for the moment.
        world.wall.jump_ahead(jump);
        let jumped = Instant::now();
        let woken = world.pass(LATE_MAX).await;
        world.wakes("a", &woken, due);
        assert_after(woken[0].at, jumped, Duration::ZERO);
    }
}

/// The wall clock goes on while a machine is suspended, the monotonic clock does not.
#[tokio::test(start_paused = true)]
async fn a_moment_in_a_suspend_comes_at_the_resume_and_a_duration_goes_on() {
    let world = World::new();
    let engine = world.open().await;
    let (began, due) = (Instant::now(), world.wall.now() + 3 * HOUR);
    engine.start(WAKE, "at", &0).start_at(due).await.unwrap();
    let later = engine.start(WAKE, "in", &0).start_in(3 * HOUR);
    later.await.unwrap();
    assert_eq!(world.pass(HOUR).await, []);
    world.wall.jump_ahead(8 * HOUR);
    let resumed = Instant::now();
    let woken = world.pass(LATE_MAX).await;
    world.wakes("at", &woken, due);
    assert_after(woken[0].at, resumed, Duration::ZERO);
    let woken = world.pass(3 * HOUR).await;
    world.wakes("in", &woken, due);
    assert_after(woken[0].at, began, 3 * HOUR);
}

/// At 01:00 UTC of 29 March 2026 the clocks of central Europe are set forward. The moment below is half past three there,
/// an hour and a half after half past one: no clock of ours jumps, and the wait is an hour.
#[tokio::test(start_paused = true)]
async fn a_change_to_daylight_saving_time_is_no_event_at_all() {
    let world = World::new();
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_774_744_200);
    let half_past_three = before + HOUR;
    let now = world.wall.now();
    match before.duration_since(now) {
        Ok(ahead) => world.wall.jump_ahead(ahead),
        Err(behind) => world.wall.jump_back(behind.duration()),
    }
    let engine = world.open().await;
    let began = Instant::now();
    let start = engine.start(WAKE, "a", &0).start_at(half_past_three);
    start.await.unwrap();
    let woken = world.pass(2 * HOUR).await;
    world.wakes("a", &woken, half_past_three);
    assert_after(woken[0].at, began, HOUR);
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_an_earlier_clock_showed_is_not_past_under_the_present_one() {
    let world = World::new();
    let engine = world.open().await;
    let noon = world.wall.now();
    world.wall.jump_back(HOUR);
    engine.start(WAKE, "a", &0).start_at(noon).await.unwrap();
    let began = Instant::now();
    let woken = world.pass(2 * HOUR).await;
    world.wakes("a", &woken, noon);
    assert_after(woken[0].at, began, HOUR);
}

/// Whoever asks is told what the clock will show, and not what it would have shown.
#[tokio::test(start_paused = true)]
async fn an_explanation_goes_by_the_clock_as_it_is_now() {
    use outlive::WaitsFor;
    let world = World::new();
    let engine = world.open().await;
    let (at, in_us) = (world.wall.now() + HOUR, 3_600_000_000);
    engine.start(WAKE, "at", &0).start_at(at).await.unwrap();
    let later = engine.start(WAKE, "in", &0).start_in(HOUR);
    later.await.unwrap();
    world.wall.jump_back(TEN_YEARS);
    let why = async |id| engine.explain(id).await.unwrap().expect("it is there");
    let (moment, duration) = (why("at").await, why("in").await);
    let at_us = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let due_us = u64::try_from(at_us.as_micros()).unwrap();
    assert_eq!(moment.waits_for, WaitsFor::Time { due_us });
    let due_us = duration.at_us + in_us;
    assert_eq!(duration.waits_for, WaitsFor::Time { due_us });
}
