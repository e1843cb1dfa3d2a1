//! A store that has no room: what is refused never happens, nothing stops, and work goes on when there is room.

use crate::{HELD, PATIENCE, TASK, on, set};
use outlive::{
    Accepted, ControlError, Ctx, Engine, GetError, HandlerError, RetryPolicy, StartError,
    StoreError, TaskDef,
};
use outlive_storage::row::GuardPhase;
use outlive_storage::{MemStore, Store};
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A disk without room, and a caller whose start shares its commit with a step.
async fn with_a_start_in_doubt() -> (Arc<Faulty>, Gate, Engine) {
    let (store, gate) = (Faulty::on(&Arc::new(MemStore::new())), Gate::closed());
    let (engine, _) = on(&store, &gate).await;
    engine.start(HELD, "running", &1).await.unwrap();
    set(&store.full, true);
    gate.let_through(1);
    let unknown = engine.start(TASK, "a", &7).input_id("one").await;
    assert!(
        matches!(&unknown, Err(StartError::Unknown { cause, .. }) if *cause == StoreError::Full),
        "{unknown:?}"
    );
    (store, gate, engine)
}

/// Who asked again with the same ids, as told, was told that nothing happens. And then it happened.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_that_nothing_happens_of_what_may_happen_yet() {
    let (store, gate, engine) = with_a_start_in_doubt().await;
    let began = Instant::now();
    let again = engine.start(TASK, "a", &7).input_id("one").await;
    assert!(
        matches!(&again, Err(StartError::Unknown { cause, .. }) if *cause == StoreError::Full),
        "{again:?}"
    );
    let order = engine.cancel("a", "no").await;
    assert!(
        matches!(order, Err(ControlError::Unknown { .. })),
        "{order:?}"
    );
    let other = engine.start(TASK, "b", &7).input_id("one").await;
    assert!(
        matches!(other, Err(StartError::Store(StoreError::Full))),
        "{other:?}"
    );
    assert_eq!(began.elapsed(), Duration::ZERO);

    set(&store.full, false);
    tokio::time::sleep(SECOND).await;
    let again = engine.start(TASK, "a", &7).input_id("one").await.unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Attached));
    assert_eq!(again.result().await.unwrap(), 7);
    assert!(engine.get("b").await.unwrap().is_none());
    engine.start(HELD, "again", &1).await.unwrap();
    set(&store.full, true);
    gate.let_through(1);
    tokio::time::sleep(SECOND).await;
    let refused = engine.start(TASK, "a", &7).input_id("two").await;
    assert!(
        matches!(refused, Err(StartError::Store(StoreError::Full))),
        "nothing is in doubt any more: {refused:?}"
    );
}

/// An engine that has failed with it takes nothing any more, and does not know either.
#[tokio::test(start_paused = true)]
async fn who_asks_a_failed_engine_for_what_may_be_there_is_not_told_that_it_is_not() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let (engine, _) = on(&store, &Gate::closed()).await;
    set(&store.fail_after_commit, true);
    for id in ["a", "a", "b"] {
        let told = engine.start(TASK, id, &1).input_id("one").await;
        match id {
            "a" => assert!(matches!(told, Err(StartError::Unknown { .. })), "{told:?}"),
            _ => assert!(matches!(told, Err(StartError::Store(_))), "{told:?}"),
        }
    }
}

/// Polls for the first time: what it asks for is sent.
fn sent<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending), "it is under way");
    future
}

/// Who came while a commit was under way that found no room was not answered until there was some.
#[tokio::test(start_paused = true)]
async fn a_caller_who_came_during_a_commit_without_room_is_refused_at_once() {
    let (store, gate) = (Faulty::on(&Arc::new(MemStore::new())), Gate::closed());
    let (engine, _) = on(&store, &gate).await;
    let running = engine.start(HELD, "running", &1).await.unwrap();
    set(&store.full, true);
    let late = engine.start(TASK, "late", &1).into_future();
    let (tell, told) = tokio::sync::oneshot::channel();
    store.before_commit.set(move || drop(tell.send(sent(late))));
    gate.let_through(1);
    let late = told.await.expect("the step is committed");
    let late = tokio::time::timeout(PATIENCE / 2, late).await;
    assert!(
        matches!(late, Ok(Err(StartError::Store(StoreError::Full)))),
        "{late:?}"
    );
    set(&store.full, false);
    assert_eq!(running.result().await.unwrap(), 2);
    assert!(engine.get("late").await.unwrap().is_none());
}

/// Where a store must have room to be opened again, the first look at it on a full disk stopped the engine.
#[tokio::test(start_paused = true)]
async fn a_full_disk_that_cannot_even_be_read_stops_no_engine() {
    let (store, gate) = (Faulty::on(&Arc::new(MemStore::new())), Gate::closed());
    let (engine, entered) = on(&store, &gate).await;
    let running = engine.start(HELD, "running", &1).await.unwrap();
    let waiting = engine.start(TASK, "waiting", &5).start_in(SECOND);
    let waiting = waiting.await.unwrap();
    set(&store.full, true);
    set(&store.shut, true);
    let looked = engine.get("running").await;
    assert!(
        matches!(looked, Err(GetError::Store(StoreError::Full))),
        "{looked:?}"
    );
    // The task that is due, too, is looked at by the engine.
    tokio::time::sleep(2 * SECOND).await;
    let began = Instant::now();
    for id in ["a", "b"] {
        let refused = engine.start(TASK, id, &1).await;
        assert!(
            matches!(refused, Err(StartError::Store(StoreError::Full))),
            "{refused:?}"
        );
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    gate.let_through(1);
    tokio::time::sleep(100 * PATIENCE).await;
    set(&store.full, false);
    assert_eq!(running.result().await.unwrap(), 2);
    assert_eq!(waiting.result().await.unwrap(), 5);
    assert!(engine.get("a").await.unwrap().is_none());
    assert_eq!(engine.run(TASK, "later", &3).await.unwrap(), 3);
    assert_eq!(entered.take(), [1, 5, 3], "each once");
}

/// What a handler cannot go on without is read when there is room, and nothing is held against its task.
#[tokio::test(start_paused = true)]
async fn a_turn_that_cannot_be_read_for_want_of_room_is_entered_when_there_is_some() {
    const POLICY: RetryPolicy = RetryPolicy::fixed().initial(SECOND).attempts(3);
    const TWICE: TaskDef<u32, u32> = TaskDef::new("twice").retry(POLICY.jitter(false));
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
    let twice = |ctx: Ctx, n| async move {
        let paid = ctx.step("pay", || async { Ok::<_, HandlerError>(n) });
        let paid = paid.await?;
        if ctx.attempt() == 1 {
            return Err(HandlerError::from("once more"));
        }
        Ok(paid)
    };
    let engine = builder.task(TWICE, twice).open().await.unwrap();
    let run = engine.start(TWICE, "a", &4).await.unwrap();
    tokio::time::sleep(SECOND / 2).await;
    // Its next attempt is claimed, and then the disk is full.
    let disk = Arc::clone(&store);
    store.after_write.set(move || {
        set(&disk.full, true);
        set(&disk.shut, true);
    });
    tokio::time::sleep(10 * PATIENCE).await;
    assert!(store.shut.load(Ordering::SeqCst), "it was claimed");
    set(&store.full, false);
    assert_eq!(run.result().await.unwrap(), 4);
}

/// The poison guard is through and cannot put that down: it does so when there is room.
#[tokio::test(start_paused = true)]
async fn a_phase_for_which_there_is_no_room_is_entered_later() {
    let truth = Arc::new(MemStore::new());
    for stops in [false, true] {
        let store = Faulty::on(&truth);
        set(&store.lists_suspect, true);
        let disk = Arc::clone(&store);
        store.after_write.set(move || set(&disk.full, true));
        let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
        let task = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
        let engine = builder.task(TASK, task).open().await.unwrap();
        let phase = || truth.lives().unwrap()[0].phase;
        tokio::time::sleep(10 * PATIENCE).await;
        assert_eq!(phase(), GuardPhase::Control);
        if stops {
            let began = Instant::now();
            engine.shutdown(Duration::ZERO).await;
            assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
            return;
        }
        set(&store.full, false);
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(phase(), GuardPhase::Calm);
        assert_eq!(engine.run(TASK, "a", &3).await.unwrap(), 3);
        engine.shutdown(Duration::ZERO).await;
    }
}
