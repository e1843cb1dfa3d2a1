//! What fails stops visibly, what is full holds up nothing else, and what is parked says so.

use outlive::{Ctx, Engine, GetError, HandlerError, ResultError, RunError, TaskDef};
use outlive_storage::redb::RedbOptions;
use outlive_storage::{MemStore, RedbStore, Scan, Store};
use outlive_tests::faulty::Faulty;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const NUMBER: TaskDef<f64, f64> = TaskDef::new("number");
const WAITS: TaskDef<u32, u32> = TaskDef::new("waits");
const BLOCKS: TaskDef<u32, u32> = TaskDef::new("blocks");

async fn for_ever(_: Ctx, _: u32) -> Result<u32, HandlerError> {
    std::future::pending().await
}

/// The clock is paused, so an hour is nothing to who is answered, and the end of who is not.
async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let hour = Duration::from_secs(3600);
    tokio::time::timeout(hour, waiting)
        .await
        .expect("an answer")
}

/// A caller once waited for ever on a task whose input, a number that JSON does not know, could not be read back.
#[tokio::test(start_paused = true)]
async fn a_parked_task_tells_those_who_wait_what_could_not_be_read() {
    let echo = |_: Ctx, n: f64| async move { Ok::<_, HandlerError>(n) };
    let engine = Engine::in_memory().task(NUMBER, echo).open().await.unwrap();
    let parked = in_time(engine.run(NUMBER, "a", &f64::NAN)).await;
    let Err(RunError::Result(ResultError::Undecodable { what, .. })) = parked else {
        panic!("{parked:?}");
    };
    assert_eq!(&*what, "input");
    let later = engine.attach(NUMBER, "a").await.unwrap().result().await;
    assert!(matches!(later, Err(ResultError::Undecodable { .. })));
}

/// A failed read once left an engine that took no work and told nobody.
#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_a_read_stops_the_engine_with_its_cause() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
    let engine = builder.task(WAITS, for_ever).open().await.unwrap();
    engine.recovery().await;
    let run = engine.start(WAITS, "a", &1).await.unwrap();
    let waiting = tokio::spawn(async move { run.result().await });
    tokio::task::yield_now().await;
    store.fail_reads.store(true, Ordering::SeqCst);
    assert!(matches!(engine.get("a").await, Err(GetError::Store(_))));
    assert!(matches!(
        in_time(waiting).await.unwrap(),
        Err(ResultError::Store(_))
    ));
}

/// How many tasks a shutdown leaves in progress, when it comes while a slot hands on a backlog of short tasks and
/// another is held until the grace is over.
async fn left_in_progress_by_a_shutdown(path: &Path) -> usize {
    let handler = |ctx: Ctx, input| async move {
        if input == 0 {
            for_ever(ctx, input).await
        } else {
            Ok(input)
        }
    };
    let builder = Engine::builder(path).task(WAITS, handler).max_running(2);
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    let tasks = (0..400).map(|n| (format!("t{n}"), n));
    let started = engine.start_many(WAITS, tasks).await;
    assert!(started.iter().all(Result::is_ok));
    engine.shutdown(Duration::from_millis(100)).await;
    drop(engine);
    let store = RedbStore::open(path, RedbOptions::default(), 1, 1).unwrap();
    let rows = store.scan(Scan::Running, None, 1000).unwrap().rows;
    rows.len()
}

/// A shutdown once claimed its whole backlog: each claim was not entered, and so gave its slot back at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_claims_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let path = directory.path().join(format!("{round}.redb"));
        let left = left_in_progress_by_a_shutdown(&path).await;
        assert!(
            left <= 2,
            "round {round}: {left} tasks are in progress on two slots"
        );
    }
}

/// Blocking turns for which no slot was free once held up the recovery of all async ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_of_blocking_handlers_holds_up_no_async_recovery() {
    let store = Arc::new(MemStore::new());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let open = async |max_blocking, ends: bool| {
        let released = Arc::clone(&released);
        let blocks = move |_: Ctx, input: u32| {
            let _ = released.lock().recv();
            Ok::<_, HandlerError>(input)
        };
        let builder = Engine::on_store(Arc::<MemStore>::clone(&store)).max_blocking(max_blocking);
        let waits = move |ctx, input| async move {
            if ends {
                Ok(input)
            } else {
                for_ever(ctx, input).await
            }
        };
        let builder = builder.task(WAITS, waits).blocking(BLOCKS, blocks);
        builder.open().await.unwrap()
    };
    let engine = open(8, false).await;
    engine.recovery().await;
    for n in 0..3 {
        engine.start(BLOCKS, format!("b{n}"), &n).await.unwrap();
    }
    engine.start(WAITS, "a", &7).await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    // The calls of the first engine end; their turns were given up.
    (0..3).for_each(|_| release.send(()).unwrap());

    let engine = open(1, true).await;
    let run = engine.attach(WAITS, "a").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 7);
    (0..3).for_each(|_| release.send(()).unwrap());
    assert_eq!(engine.recovery().await.found, 4);
}

/// Until the start-up scan is through, a slot is free for what ran and what waited, not for what comes.
#[tokio::test(start_paused = true)]
async fn a_start_does_not_pass_what_waited_before_the_open() {
    let store = Arc::new(MemStore::new());
    let order = Arc::new(Mutex::new(Vec::new()));
    let open = async |ends: bool| {
        let order = Arc::clone(&order);
        let builder = Engine::on_store(Arc::<MemStore>::clone(&store)).inline();
        let handler = move |ctx: Ctx, input: u32| {
            order.lock().push(input);
            async move {
                if ends {
                    Ok(input)
                } else {
                    for_ever(ctx, input).await
                }
            }
        };
        let builder = builder.task(WAITS, handler).max_running(1);
        builder.open().await.unwrap()
    };
    let engine = open(false).await;
    engine.recovery().await;
    engine.start(WAITS, "ran", &1).await.unwrap();
    engine.start(WAITS, "waited", &2).await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    order.lock().clear();

    let engine = open(true).await;
    let came = engine.start(WAITS, "came", &3).await.unwrap();
    in_time(came.result()).await.unwrap();
    assert_eq!(*order.lock(), [1, 2, 3]);
}
