//! An engine on threads of its own, in real time: the same clock, read from the system.

use super::{HOUR, WAKE, World, close};
use outlive::{Engine, Status};
use std::time::Duration;

/// Real time, on a machine that may be busy: the bounds are those of the paused clock's tests.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_engine_on_threads_follows_a_wall_clock_that_jumps() {
    let (world, directory) = (World::new(), tempfile::tempdir().unwrap());
    let path = directory.path().join("tasks.redb");
    let open = async || world.with(Engine::builder(&path)).open().await.unwrap();
    let engine = open().await;
    let later = world.wall.now() + HOUR;
    let moment = engine.start(WAKE, "at", &0).start_at(later);
    let moment = moment.await.unwrap();
    let delay = engine.start(WAKE, "in", &0).start_in(HOUR).await.unwrap();
    world.wall.jump_ahead(HOUR);
    let woken = tokio::time::timeout(PATIENCE, moment.result()).await;
    woken.expect("it wakes").unwrap();
    let waits = delay.refresh().await.unwrap();
    assert_eq!(waits.status, Status::Pending, "a duration goes on");
    close(engine).await;

    // Its wall deadline is past.
    let engine = open().await;
    let delay = engine.attach(WAKE, "in").await.unwrap();
    let woken = tokio::time::timeout(PATIENCE, delay.result()).await;
    woken.expect("it wakes").unwrap();
    let ids: Vec<String> = world
        .woken
        .take()
        .into_iter()
        .map(|woken| woken.id)
        .collect();
    assert_eq!(ids, ["at", "in"]);
    close(engine).await;
}
