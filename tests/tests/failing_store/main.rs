//! A store that fails: what is waited for, what is told, and what goes on by itself.

mod room;
mod threads;

use outlive::{
    Accepted, Ctx, Engine, GetError, HandlerError, Reply, ResultError, StartError, StoreError,
    TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::faulty::{Faulty, failure};
use outlive_tests::gate::{Gate, Notes};
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const TASK: TaskDef<u32, u32> = TaskDef::new("task");
const HELD: TaskDef<u32, u32> = TaskDef::new("held").steerable(2);
/// How long an engine bears a store that fails.
const PATIENCE: Duration = Duration::from_secs(10);

fn set(flag: &AtomicBool, on: bool) {
    flag.store(on, Ordering::SeqCst);
}

/// An engine on a store, with a handler that answers at once and one that waits at the gate. Both note their entries.
async fn on(store: &Arc<Faulty>, gate: &Gate) -> (Engine, Notes<u32>) {
    let entered = Notes::default();
    let (noted, noted_too) = (entered.clone(), entered.clone());
    let gate = gate.clone();
    let engine = Engine::on_store(Arc::<Faulty>::clone(store))
        .inline()
        .task(TASK, move |_: Ctx, n| {
            noted.add(n);
            async move { Ok::<_, HandlerError>(n) }
        })
        .task(HELD, move |ctx: Ctx, n| {
            noted_too.add(n);
            let gate = gate.clone();
            async move {
                gate.pass().await;
                let told = ctx.step("told", || async { Ok::<_, HandlerError>(n) });
                Ok::<_, HandlerError>(told.await? + 1)
            }
        });
    let engine = engine.open().await.unwrap();
    engine.recovery().await;
    (engine, entered)
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_a_moment_is_waited_for() {
    for is_there in [false, true] {
        let store = Faulty::on(&Arc::new(MemStore::new()));
        let (engine, entered) = on(&store, &Gate::closed()).await;
        set(&store.heals, true);
        let kind = if is_there {
            &store.fail_after_commit
        } else {
            &store.fail_before_commit
        };
        set(kind, true);
        let run = engine.start(TASK, "a", &7).await.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Started));
        assert_eq!(run.result().await.unwrap(), 7);
        assert!(store.reopens.load(Ordering::SeqCst) >= 1);
        assert_eq!(entered.take(), [7], "once");
        assert_eq!(engine.list_all().limit(10).await.unwrap().tasks.len(), 1);
    }
}

/// What a handler brings while the store fails is kept in memory until it can be written.
#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_while_the_store_fails_runs_once() {
    let (store, gate) = (Faulty::on(&Arc::new(MemStore::new())), Gate::closed());
    let (engine, entered) = on(&store, &gate).await;
    let run = engine.start(HELD, "a", &1).await.unwrap();
    set(&store.fail_before_commit, true);
    gate.let_through(9);
    let mender = async {
        tokio::time::sleep(PATIENCE / 2).await;
        set(&store.fail_before_commit, false);
    };
    let (result, ()) = tokio::join!(run.result(), mender);
    assert_eq!(result.unwrap(), 2);
    assert_eq!(entered.take(), [1], "once");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_for_a_moment_is_made_again() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let (engine, _) = on(&store, &Gate::closed()).await;
    engine.run(TASK, "a", &1).await.unwrap();
    set(&store.heals, true);
    set(&store.fail_reads, true);
    assert_eq!(engine.get("a").await.unwrap().unwrap().id.as_str(), "a");
    engine.run(TASK, "b", &1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_on_is_given_up_in_time() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let (engine, _) = on(&store, &Gate::closed()).await;
    let waiting = engine.start(HELD, "held", &1);
    let waiting = waiting.await.unwrap();
    set(&store.fail_before_commit, true);
    let began = Instant::now();
    let unknown = engine.start(TASK, "a", &1).into_future();
    let unknown = tokio::time::timeout(3 * PATIENCE, unknown).await;
    let unknown = unknown.expect("it is given up");
    assert!(matches!(&unknown, Err(StartError::Unknown { cause, .. }) if *cause == failure()));
    let took = began.elapsed();
    assert!(took >= PATIENCE && took < 2 * PATIENCE, "{took:?}");
    let ended = waiting.result().await;
    assert!(matches!(ended, Err(ResultError::Store(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_callers_and_work_goes_on_when_there_is_room() {
    let (store, gate) = (Faulty::on(&Arc::new(MemStore::new())), Gate::closed());
    let (engine, entered) = on(&store, &gate).await;
    let running = engine.start(HELD, "running", &1).await.unwrap();
    set(&store.full, true);
    gate.let_through(9);

    // The step is under way and waits. Who comes now is refused at once, and nothing of it is ever there.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    let late = engine.start(TASK, "late", &1).into_future();
    let refused = tokio::time::timeout(PATIENCE, late).await;
    assert!(
        matches!(refused, Ok(Err(StartError::Store(StoreError::Full)))),
        "{refused:?}"
    );
    assert_eq!(began.elapsed(), Duration::ZERO);
    let task = engine.get("running").await.unwrap();
    assert!(task.is_some(), "reads go on");

    // However long it takes.
    tokio::time::sleep(100 * PATIENCE).await;
    set(&store.full, false);
    assert_eq!(running.result().await.unwrap(), 2);
    assert!(engine.get("late").await.unwrap().is_none());
    assert_eq!(engine.run(TASK, "later", &3).await.unwrap(), 3);
    assert_eq!(entered.take(), [1, 3], "each once");
}

#[tokio::test(start_paused = true)]
async fn a_call_for_which_there_is_no_room_is_refused_and_holds_up_nobody() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let (engine, entered) = on(&store, &Gate::closed()).await;
    engine.run(TASK, "old", &1).await.unwrap();
    set(&store.full, true);
    let began = Instant::now();
    for _ in 0..2 {
        let refused = engine.start(TASK, "a", &2).input_id("one").await;
        assert!(
            matches!(refused, Err(StartError::Store(StoreError::Full))),
            "{refused:?}"
        );
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(engine.get("a").await.unwrap().is_none());
    set(&store.full, false);
    let later = engine.start(TASK, "a", &2).input_id("one").await.unwrap();
    assert_eq!(later.accepted(), Some(Accepted::Started));
    assert_eq!(later.result().await.unwrap(), 2);
    assert_eq!(entered.take(), [1, 2], "each once");
}

/// A caller that shares a commit with a handler need not wait for somebody to make room.
#[tokio::test(start_paused = true)]
async fn who_waits_for_room_is_told_that_the_outcome_is_unknown() {
    let (store, gate) = (Faulty::on(&Arc::new(MemStore::new())), Gate::closed());
    let (engine, entered) = on(&store, &gate).await;
    let running = engine.start(HELD, "running", &1).await.unwrap();
    set(&store.full, true);
    let began = Instant::now();
    // The handler comes to its step in the same moment.
    gate.let_through(1);
    let unknown = engine.start(TASK, "a", &1).input_id("one").await;
    let Err(StartError::Unknown {
        cause: StoreError::Full,
        ..
    }) = unknown
    else {
        panic!("{unknown:?}");
    };
    let took = began.elapsed();
    assert!(took >= PATIENCE && took < 2 * PATIENCE, "{took:?}");
    set(&store.full, false);
    assert_eq!(running.result().await.unwrap(), 2);
    let again = engine.start(TASK, "a", &1).input_id("one").await.unwrap();
    assert_eq!(
        again.accepted(),
        Some(Accepted::Attached),
        "it was still tried"
    );
    assert_eq!(again.result().await.unwrap(), 1);
    assert_eq!(entered.take(), [1, 1], "each once");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_does_not_wait_for_room() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let gate = Gate::closed();
    let (engine, _) = on(&store, &gate).await;
    engine.start(HELD, "running", &1).await.unwrap();
    set(&store.full, true);
    gate.let_through(1);
    let start = engine.start(TASK, "a", &1);
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        engine.shutdown(Duration::from_secs(1)).await;
    };
    let began = Instant::now();
    let (unknown, ()) = tokio::join!(start.into_future(), stop);
    assert!(
        matches!(unknown, Err(StartError::Unknown { .. })),
        "{unknown:?}"
    );
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(matches!(engine.get("a").await, Err(GetError::ShuttingDown)));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_want_of_room_is_not_remembered() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let (engine, _) = on(&store, &Gate::closed()).await;
    engine.start(HELD, "running", &1).await.unwrap();
    set(&store.full, true);
    let refused = engine.start(HELD, "running", &2).await;
    assert!(matches!(refused, Err(StartError::Store(StoreError::Full))));
    set(&store.full, false);
    let queued = engine.start(HELD, "running", &2).await.unwrap();
    assert_eq!(queued.accepted(), Some(Accepted::Queued));
    let task = engine.get("running").await.unwrap().unwrap();
    assert_eq!(task.inputs_waiting, 1);
}

/// A start and a removal of one task in one batch are two commits. Without the log, that the task was not there after a
/// failure was taken for their trace: the whole batch was told as done, and nothing of it had been written.
#[tokio::test(start_paused = true)]
async fn a_start_beside_one_that_is_removed_at_once_is_there_when_it_is_acknowledged() {
    for (log, full) in [(true, false), (false, false), (true, true), (false, true)] {
        let store = Faulty::on(&Arc::new(MemStore::new()));
        let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
        let builder = builder
            .log_events(log)
            .task(TASK, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
        let engine = builder.open().await.unwrap();
        engine.recovery().await;
        set(&store.heals, true);
        let fails = match full {
            true => &store.full,
            false => &store.fail_before_commit,
        };
        set(fails, true);
        let start = |id| engine.start(TASK, id, &7).into_future();
        let remove = engine.delete("a").force().into_future();
        let (beside, begun, removed) = tokio::join!(start("b"), start("a"), remove);
        let is_there = engine.get("b").await.unwrap().is_some();
        assert_eq!(beside.is_ok(), is_there, "log {log}: {beside:?}");
        assert_eq!(beside.is_ok(), !full, "log {log}: {beside:?}");
        assert_eq!(begun.is_ok(), !full, "{begun:?}");
        assert_eq!(removed.is_ok(), !full, "{removed:?}");
        assert!(engine.get("a").await.unwrap().is_none());
    }
}

/// A row and what is kept of its turn that are not of one moment were read again and again, on a thread of the engine.
#[tokio::test(start_paused = true)]
async fn a_turn_that_is_not_its_rows_is_damage_and_not_waited_for() {
    const CHAT: TaskDef<u32, u32> = TaskDef::new("chat");
    for off in [-1, 1] {
        let store = Faulty::on(&Arc::new(MemStore::new()));
        let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
        let chat = |_: Ctx, n| async move { Ok::<_, HandlerError>(Reply::suspend(n, "more")) };
        let engine = builder.task(CHAT, chat).open().await.unwrap();
        let run = engine.start(CHAT, "a", &3).await.unwrap();
        assert_eq!(run.result().await.unwrap(), 3);
        store.turn_off.store(off, Ordering::SeqCst);
        let most = store.gets.load(Ordering::SeqCst) + 20;
        store.gets_max.store(most, Ordering::SeqCst);
        let run = engine.attach(CHAT, "a").await.unwrap();
        let told = run.result().await;
        let Err(ResultError::Store(StoreError::Corrupt { table, .. })) = told else {
            panic!("{off}: {told:?}");
        };
        assert_eq!(table, "turns");
        // It is of one task: the engine goes on.
        store.turn_off.store(0, Ordering::SeqCst);
        assert_eq!(run.result().await.unwrap(), 3);
    }
}

/// Of a store that cannot be read every event of a batch waited for the whole patience, one after the other.
#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_be_read_is_given_up_with_its_first_event() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let (engine, _) = on(&store, &Gate::closed()).await;
    engine.run(TASK, "old", &1).await.unwrap();
    set(&store.fail_reads, true);
    let before = store.reopens.load(Ordering::SeqCst);
    let ids = (0..20).map(|n| (format!("t{n}"), n));
    for told in engine.start_many(TASK, ids).await {
        assert!(matches!(told, Err(StartError::Unknown { .. })), "{told:?}");
    }
    // Each try opens it again, and whoever else reads makes one.
    let tries = store.reopens.load(Ordering::SeqCst) - before;
    assert!((1..5).contains(&tries), "{tries}");
}
