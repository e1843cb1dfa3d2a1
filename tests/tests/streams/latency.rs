//! How far readers are behind: 5 ms and a commit at most, and no longer than anything else takes that is committed.

use crate::{Seen, TASK, memory, next, on};
use outlive::{Ctx, Engine, HandlerError};
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// How a handler emits its one item.
#[derive(Debug, Clone, Copy)]
enum How {
    Plain,
    Durable,
}

/// An engine whose handler comes to the gate, emits and never ends.
async fn emitting(store: &Arc<Faulty>, gate: &Gate, how: How) -> Engine {
    let gate = gate.clone();
    let handler = move |ctx: Ctx<u32>, n: u32| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            match how {
                How::Plain => ctx.emit(n).await?,
                How::Durable => ctx.emit_durable(n).await?,
            };
            gate.arrive();
            std::future::pending::<Result<u32, HandlerError>>().await
        }
    };
    on(store).task(TASK, handler).open().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_item_is_shown_at_most_5_ms_later() {
    let (store, gate) = (Faulty::on(&memory()), Gate::closed());
    let engine = emitting(&store, &gate, How::Plain).await;
    let run = engine.start(TASK, "a", &7).await.unwrap();
    gate.came(1).await;
    let mut stream = run.stream(0);
    let (commits, began) = (store.commits.load(Ordering::SeqCst), Instant::now());
    gate.let_through(1);
    assert_eq!(next(&mut stream).await, Seen::Item(1, 7));
    assert_eq!(began.elapsed(), Duration::from_millis(5));
    assert_eq!(store.commits.load(Ordering::SeqCst), commits + 1);
}

#[tokio::test(start_paused = true)]
async fn a_durable_item_waits_for_nobody() {
    let (store, gate) = (Faulty::on(&memory()), Gate::closed());
    let engine = emitting(&store, &gate, How::Durable).await;
    let run = engine.start(TASK, "a", &7).await.unwrap();
    gate.came(1).await;
    let mut stream = run.stream(0);
    let began = Instant::now();
    gate.let_through(1);
    assert_eq!(next(&mut stream).await, Seen::Item(1, 7));
    gate.came(1).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_item_rides_along_with_whatever_is_committed_first() {
    let (store, gate) = (Faulty::on(&memory()), Gate::closed());
    let engine = emitting(&store, &gate, How::Plain).await;
    let run = engine.start(TASK, "a", &7).await.unwrap();
    gate.came(1).await;
    let mut stream = run.stream(0);
    gate.let_through(1);
    gate.came(1).await;
    let (commits, began) = (store.commits.load(Ordering::SeqCst), Instant::now());
    engine.start(TASK, "b", &8).await.unwrap();
    assert_eq!(next(&mut stream).await, Seen::Item(1, 7));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(store.commits.load(Ordering::SeqCst), commits + 1);
}

#[tokio::test(start_paused = true)]
async fn many_items_at_once_wait_for_nobody() {
    let handler = |ctx: Ctx<String>, _: u32| async move {
        // More than may linger, less than a turn may buffer.
        for _ in 0..100 {
            ctx.emit("x".repeat(1000)).await?;
        }
        std::future::pending::<Result<u32, HandlerError>>().await
    };
    const TEXT: outlive::TaskDef<u32, u32, String> = outlive::TaskDef::new("task");
    let engine = on(&memory()).task(TEXT, handler).open().await.unwrap();
    let began = Instant::now();
    let mut stream = engine.start(TEXT, "a", &7).await.unwrap().stream(0);
    next(&mut stream).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// A task that emits all the time costs one commit for each 5 ms, not one for each item.
#[tokio::test(start_paused = true)]
async fn items_share_commits() {
    let handler = |ctx: Ctx<u32>, count: u32| async move {
        for n in 0..count {
            ctx.emit(n).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, HandlerError>(count)
    };
    let store = Faulty::on(&memory());
    let engine = on(&store).task(TASK, handler).open().await.unwrap();
    let commits = store.commits.load(Ordering::SeqCst);
    engine.run(TASK, "a", &1000).await.unwrap();
    let took = store.commits.load(Ordering::SeqCst) - commits;
    assert!((150..=210).contains(&took), "{took} commits");
}
