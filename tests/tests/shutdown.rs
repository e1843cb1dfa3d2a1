//! A shutdown ends in time, whatever handlers do, and leaves their work to the next open.

use outlive::{
    AttachError, Ctx, Engine, Entry, GetError, HandlerError, OpenError, ResultError,
    ShutdownReport, StartError, Status, TaskDef,
};
use outlive_storage::redb::RedbOptions;
use outlive_storage::{MemStore, RedbStore};
use outlive_tests::latch::Latch;
use parking_lot::Mutex;
use std::future::pending;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

const TASK: TaskDef<u32, u32> = TaskDef::new("task");
const BLOCKING: TaskDef<u32, u32> = TaskDef::new("blocking");

const GRACE: Duration = Duration::from_millis(100);
/// The guarantee is 0.1 s after the grace; a busy machine gets the rest.
const SLACK: Duration = Duration::from_secs(2);
/// A shutdown that takes longer does not end.
const NEVER: Duration = Duration::from_secs(10);

fn workers(count: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(count).enable_time().build().unwrap()
}

/// Shuts down within a runtime, and ends although the shutdown does not.
#[track_caller]
fn shut_down(runtime: &Runtime, engine: &Engine) -> ShutdownReport {
    let (ended, report) = mpsc::channel();
    let (engine, handle) = (engine.clone(), runtime.handle().clone());
    let began = Instant::now();
    let by = move || handle.block_on(async move { engine.shutdown(GRACE).await });
    thread::spawn(move || ended.send(by()));
    let report = report.recv_timeout(NEVER).expect("the shutdown ends");
    assert!(began.elapsed() < GRACE + SLACK, "{:?}", began.elapsed());
    report
}

/// How handlers hold up a worker of their runtime.
#[derive(Debug, Clone, Copy)]
enum Holds {
    Waits,
    Spins,
}

/// Two workers, both held by a handler each.
fn every_worker_is_held(by: Holds) {
    let runtime = workers(2);
    // Opened before the runtime goes, which waits for its workers.
    let (latch, _opens) = Latch::closed();
    let (came, at) = mpsc::channel();
    let held = latch.clone();
    let builder = Engine::on_store(Arc::new(MemStore::new())).task(TASK, move |_: Ctx, n| {
        let (latch, came) = (held.clone(), came.clone());
        async move {
            let _ = came.send(());
            match by {
                Holds::Waits => latch.wait(),
                Holds::Spins => {
                    while !latch.is_open() {
                        std::hint::spin_loop();
                    }
                }
            }
            Ok::<_, HandlerError>(n)
        }
    });
    let engine = runtime.block_on(async {
        let engine = builder.open().await.unwrap();
        for n in 0..2 {
            engine.start(TASK, format!("t{n}"), &n).await.unwrap();
        }
        engine
    });
    at.recv().unwrap();
    at.recv().unwrap();
    assert_eq!(shut_down(&runtime, &engine).still_running, 2);
}

/// The timer of the caller's runtime does not run while its workers are held.
#[test]
fn a_shutdown_ends_in_time_although_handlers_block_every_worker() {
    every_worker_is_held(Holds::Waits);
}

#[test]
fn a_shutdown_ends_in_time_although_handlers_spin_on_every_worker() {
    every_worker_is_held(Holds::Spins);
}

#[test]
fn handlers_that_ignore_the_shutdown_are_dropped() {
    let runtime = workers(2);
    let store = Arc::new(MemStore::new());
    let (engine, came) = runtime.block_on(pending_tasks(&store, 50));
    runtime.block_on(async { came.acquire_many(50).await.unwrap().forget() });
    assert_eq!(shut_down(&runtime, &engine).still_running, 0);
    let engine = runtime.block_on(pending_tasks(&store, 0)).0;
    let report = runtime.block_on(engine.recovery());
    assert_eq!((report.found, report.dispatched), (50, 50));
}

/// Starts tasks that never end; the semaphore counts those that were entered, and as what.
async fn pending_tasks(store: &Arc<MemStore>, count: u32) -> (Engine, Arc<Semaphore>) {
    let came = Arc::new(Semaphore::new(0));
    let comes = Arc::clone(&came);
    let builder = Engine::on_store(Arc::<MemStore>::clone(store)).task(TASK, move |_: Ctx, _| {
        comes.add_permits(1);
        pending::<Result<u32, HandlerError>>()
    });
    let engine = builder.open().await.unwrap();
    let runs = engine
        .start_many(TASK, (0..count).map(|n| (format!("t{n}"), n)))
        .await;
    assert!(runs.iter().all(Result::is_ok));
    (engine, came)
}

#[tokio::test]
async fn handlers_that_heed_the_shutdown_end_their_turns() {
    let came = Arc::new(Semaphore::new(0));
    let comes = Arc::clone(&came);
    let builder = Engine::on_store(Arc::new(MemStore::new())).task(TASK, move |ctx: Ctx, n| {
        comes.add_permits(1);
        async move {
            ctx.shutdown().await;
            assert!(ctx.is_shutting_down());
            Ok::<_, HandlerError>(n + 1)
        }
    });
    let engine = builder.open().await.unwrap();
    let run = engine.start(TASK, "a", &1).await.unwrap();
    came.acquire().await.unwrap().forget();
    let (result, report) = tokio::join!(run.result(), engine.shutdown(NEVER));
    assert_eq!(report.still_running, 0);
    assert_eq!(result.unwrap(), 2);
}

#[test]
fn every_kind_of_handler_that_goes_on_is_counted() {
    let runtime = workers(2);
    let (latch, _opens) = Latch::closed();
    let (in_async, in_blocking) = (latch.clone(), latch.clone());
    let builder = Engine::on_store(Arc::new(MemStore::new()))
        .task(TASK, move |_: Ctx, n| {
            let latch = in_async.clone();
            async move {
                latch.wait();
                Ok::<_, HandlerError>(n)
            }
        })
        .blocking(BLOCKING, move |_: Ctx, n| {
            in_blocking.wait();
            Ok::<_, HandlerError>(n)
        });
    let engine = runtime.block_on(async {
        let engine = builder.open().await.unwrap();
        engine.start(TASK, "a", &1).await.unwrap();
        for n in 0..3 {
            engine.start(BLOCKING, format!("b{n}"), &n).await.unwrap();
        }
        engine
    });
    latch.waited_for_by(4);
    assert_eq!(shut_down(&runtime, &engine).still_running, 4);
}

type Entries = Arc<Mutex<Vec<(Entry, u32)>>>;

/// An engine on a file whose blocking handler waits for a latch.
async fn on_file(path: &Path, latch: &Latch, entries: &Entries) -> Result<Engine, OpenError> {
    let (latch, entries) = (latch.clone(), Arc::clone(entries));
    let blocking = move |ctx: Ctx, n| {
        entries.lock().push((ctx.entry(), ctx.attempt()));
        latch.wait();
        Ok::<_, HandlerError>(n + 1)
    };
    let builder = Engine::builder(path).blocking(BLOCKING, blocking);
    builder.open().await
}

#[track_caller]
fn assert_locked(opened: &Result<Engine, OpenError>) {
    let Err(OpenError::AlreadyRunning { pid, .. }) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(*pid, Some(std::process::id()));
}

/// Opens once the file is free, which it is very soon after its last handler has ended.
async fn opened(path: &Path, latch: &Latch, entries: &Entries) -> Engine {
    let began = Instant::now();
    loop {
        let opened = on_file(path, latch, entries).await;
        if let Ok(engine) = opened {
            return engine;
        }
        assert_locked(&opened);
        assert!(began.elapsed() < NEVER, "the file is never let go of");
        tokio::task::yield_now().await;
    }
}

/// What follows a shutdown, or a drop, that left a blocking handler behind.
async fn left_behind(leave: impl AsyncFnOnce(Engine)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (latch, opens) = Latch::closed();
    let entries = Entries::default();
    let engine = on_file(&path, &latch, &entries).await.unwrap();
    engine.start(BLOCKING, "a", &1).await.unwrap();
    latch.waited_for_by(1);
    leave(engine).await;
    for _ in 0..3 {
        assert_locked(&on_file(&path, &latch, &entries).await);
    }
    drop(opens);
    let engine = opened(&path, &latch, &entries).await;
    let run = engine.attach(BLOCKING, "a").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 2);
    let expected = [(Entry::Fresh, 1), (Entry::Recovered { crashes: 0 }, 1)];
    assert_eq!(
        *entries.lock(),
        expected,
        "its first end came too late, and cost no attempt"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_stays_locked_until_the_last_handler_has_ended() {
    left_behind(async |engine| {
        assert_eq!(engine.shutdown(GRACE).await.still_running, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_engine_keeps_its_file_until_the_last_handler_has_ended() {
    left_behind(async |engine| drop(engine)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_given_up_is_free_although_a_handler_runs_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (latch, opens) = Latch::closed();
    let entries = Entries::default();
    let first = on_file(&path, &latch, &entries).await.unwrap();
    first.start(BLOCKING, "a", &1).await.unwrap();
    latch.waited_for_by(1);
    first.abandon();
    assert_eq!(first.shutdown(GRACE).await.still_running, 1);

    let refused = on_file(&path, &latch, &entries).await;
    let Err(OpenError::AlreadyRunning { still_running, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(still_running, Some(1), "who comes second learns why");

    first.abandon();
    let second = on_file(&path, &latch, &entries).await.unwrap();
    latch.waited_for_by(2);
    drop(opens);
    let run = second.attach(BLOCKING, "a").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 2);
    let task = second.get("a").await.unwrap().unwrap();
    assert_eq!((task.attempt, task.crashes, task.turn), (1, 0, 1));
}

#[test]
fn a_runtime_that_goes_with_a_thousand_handlers_leaves_them_to_the_next_open() {
    const COUNT: u32 = 1000;
    let (callers, handlers) = (workers(1), workers(2));
    let store = Arc::new(MemStore::new());
    let came = Arc::new(Semaphore::new(0));
    let comes = Arc::clone(&came);
    let builder = Engine::on_store(Arc::<MemStore>::clone(&store))
        .runtime(handlers.handle().clone())
        .task(TASK, move |_: Ctx, _| {
            comes.add_permits(1);
            pending::<Result<u32, HandlerError>>()
        });
    let engine = callers.block_on(async {
        let engine = builder.open().await.unwrap();
        engine
            .start_many(TASK, (0..COUNT).map(|n| (format!("t{n}"), n)))
            .await;
        came.acquire_many(COUNT).await.unwrap().forget();
        engine
    });
    drop(handlers);
    callers.block_on(async {
        let task = engine.get("t7").await.unwrap().unwrap();
        assert_eq!(task.status, Status::InProgress, "nothing has failed");
    });
    assert_eq!(shut_down(&callers, &engine).still_running, 0);
    let (entries, ended) = (Entries::default(), workers(2));
    let noted = Arc::clone(&entries);
    let builder = Engine::on_store(store).task(TASK, move |ctx: Ctx, n| {
        noted.lock().push((ctx.entry(), ctx.attempt()));
        std::future::ready(Ok::<_, HandlerError>(n))
    });
    ended.block_on(async {
        let engine = builder.open().await.unwrap();
        for n in 0..COUNT {
            let run = engine.attach(TASK, format!("t{n}")).await.unwrap();
            assert_eq!(run.result().await.unwrap(), n);
        }
    });
    let entries = entries.lock();
    assert_eq!(entries.len(), COUNT as usize);
    assert!(
        entries
            .iter()
            .all(|entry| *entry == (Entry::Recovered { crashes: 0 }, 1))
    );
}

#[tokio::test]
async fn after_a_shutdown_every_call_says_so_and_nothing_hangs() {
    let store = Arc::new(MemStore::new());
    let (engine, came) = pending_tasks(&store, 1).await;
    came.acquire().await.unwrap().forget();
    let run = engine.attach(TASK, "t0").await.unwrap();
    let late = engine.start(TASK, "late", &1).into_future();
    let waiting = tokio::spawn(async move { (run.result().await, run) });
    tokio::task::yield_now().await;
    engine.shutdown(GRACE).await;
    let (waited, run) = waiting.await.unwrap();
    assert!(matches!(waited, Err(ResultError::ShuttingDown)));
    assert!(matches!(run.result().await, Err(ResultError::ShuttingDown)));
    assert!(matches!(late.await, Err(StartError::ShuttingDown)));
    let start = engine.start(TASK, "b", &1).await;
    assert!(matches!(start, Err(StartError::ShuttingDown)));
    let many = engine.start_many(TASK, [("c", 1)]).await;
    assert!(matches!(many[..], [Err(StartError::ShuttingDown)]));
    assert!(matches!(
        engine.get("t0").await,
        Err(GetError::ShuttingDown)
    ));
    assert!(matches!(
        engine.list_all().limit(1).await,
        Err(GetError::ShuttingDown)
    ));
    assert!(matches!(
        engine.list(TASK).limit(1).await,
        Err(GetError::ShuttingDown)
    ));
    let attach = engine.attach(TASK, "t0").await;
    assert!(matches!(
        attach,
        Err(AttachError::Get(GetError::ShuttingDown))
    ));
    assert_eq!(engine.shutdown(GRACE).await.still_running, 0);
}

#[tokio::test]
async fn a_hundred_stops_and_starts_burn_no_attempt() {
    let store = Arc::new(MemStore::new());
    for round in 0..100_u32 {
        let (engine, came) = pending_tasks(&store, u32::from(round == 0)).await;
        came.acquire().await.unwrap().forget();
        let task = engine.get("t0").await.unwrap().unwrap();
        assert_eq!((task.attempt, task.crashes), (1, 0), "round {round}");
        engine.shutdown(Duration::ZERO).await;
    }
}

/// The task of the runtime in which a handler had run kept the file until it was polled once more, which a runtime of
/// one thread did only when its user gave it a chance to.
#[tokio::test]
async fn the_file_is_free_when_a_shutdown_has_left_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (latch, opens) = Latch::closed();
    drop(opens);
    for round in 0..10 {
        let builder =
            Engine::builder(&path).task(TASK, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
        let engine = builder.open().await.unwrap();
        engine.run(TASK, format!("a{round}"), &1).await.unwrap();
        assert_eq!(engine.shutdown(NEVER).await.still_running, 0);
        let engine = on_file(&path, &latch, &Entries::default()).await;
        let engine = engine.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        engine.run(BLOCKING, format!("b{round}"), &1).await.unwrap();
        assert_eq!(engine.shutdown(NEVER).await.still_running, 0);
        let free = RedbStore::open(&path, RedbOptions::default(), 1, 1);
        assert!(free.is_ok(), "round {round}: {free:?}");
    }
}

/// A handle or a start in hand is no reason to keep the file.
#[tokio::test]
async fn handles_that_are_left_do_not_hold_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (latch, opens) = Latch::closed();
    drop(opens);
    let entries = Entries::default();
    let engine = on_file(&path, &latch, &entries).await.unwrap();
    let run = engine.start(BLOCKING, "a", &1).await.unwrap();
    run.result().await.unwrap();
    engine.shutdown(NEVER).await;
    let again = on_file(&path, &latch, &entries).await.unwrap();
    assert_eq!(
        again
            .attach(BLOCKING, "a")
            .await
            .unwrap()
            .result()
            .await
            .unwrap(),
        2
    );
    drop((run, engine));
}
