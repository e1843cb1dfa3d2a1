//! What has ended is kept by the wall clock, and a clock that jumped far ahead is not believed at once.

use super::{DAY, HOUR, TEN_YEARS, WAKE, World, close};
use outlive::{Engine, LogItem};
use std::time::Duration;

/// What is due is gone after this at the latest: a look comes once a minute.
const SOON: Duration = Duration::from_secs(90);

async fn is_kept(engine: &Engine, id: &str) -> bool {
    engine.get(id).await.expect("the store answers").is_some()
}

/// An engine on which one task has ended that is kept for two days.
async fn after_one(world: &World) -> Engine {
    let engine = world.open().await;
    let short = WAKE.keep_for(2 * DAY);
    engine.run(short, "a", &0).await.unwrap();
    tokio::time::sleep(SOON).await;
    engine
}

#[tokio::test(start_paused = true)]
async fn an_ended_task_goes_when_the_wall_clock_shows_its_time() {
    let world = World::new();
    let engine = after_one(&world).await;
    world.wall.jump_ahead(DAY);
    tokio::time::sleep(HOUR).await;
    assert!(is_kept(&engine, "a").await);
    world.wall.jump_ahead(DAY);
    tokio::time::sleep(SOON).await;
    assert!(!is_kept(&engine, "a").await);
}

#[tokio::test(start_paused = true)]
async fn an_ended_task_stays_while_the_wall_clock_is_set_back() {
    let world = World::new();
    let engine = after_one(&world).await;
    world.wall.jump_back(DAY);
    tokio::time::sleep(2 * DAY + HOUR).await;
    assert!(is_kept(&engine, "a").await);
    tokio::time::sleep(DAY).await;
    assert!(!is_kept(&engine, "a").await);
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_in_the_first_hour_after_a_jump_of_more_than_thirty_days() {
    for jump in [31 * DAY, TEN_YEARS] {
        let world = World::new();
        let engine = after_one(&world).await;
        let oldest = engine.events(None).next().await.unwrap();
        assert!(matches!(oldest, LogItem::Event(_)), "{oldest:?}");
        world.wall.jump_ahead(jump);
        tokio::time::sleep(HOUR - SOON).await;
        assert!(is_kept(&engine, "a").await, "{jump:?}");
        let still = engine.events(None).next().await.unwrap();
        assert_eq!(still.etag(), oldest.etag(), "nor is the log trimmed");
        tokio::time::sleep(2 * SOON + SOON).await;
        assert!(!is_kept(&engine, "a").await, "{jump:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_that_is_taken_back_within_the_hour_removes_nothing() {
    let world = World::new();
    let engine = after_one(&world).await;
    world.wall.jump_ahead(TEN_YEARS);
    tokio::time::sleep(HOUR / 2).await;
    world.wall.jump_back(TEN_YEARS);
    tokio::time::sleep(DAY).await;
    assert!(is_kept(&engine, "a").await);
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_less_holds_nothing_back() {
    let world = World::new();
    let engine = after_one(&world).await;
    world.wall.jump_ahead(29 * DAY);
    tokio::time::sleep(SOON).await;
    assert!(!is_kept(&engine, "a").await);
}

#[tokio::test(start_paused = true)]
async fn a_jump_between_two_lives_is_not_believed_at_once_either() {
    let world = World::new();
    let engine = after_one(&world).await;
    close(engine).await;
    world.wall.jump_ahead(TEN_YEARS);
    let engine = world.open().await;
    tokio::time::sleep(HOUR - SOON).await;
    assert!(is_kept(&engine, "a").await);
    tokio::time::sleep(2 * SOON).await;
    assert!(!is_kept(&engine, "a").await);
}
