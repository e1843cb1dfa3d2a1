//! What fails stops visibly, what is full holds up nothing else, and what is parked says so.

use outlive::{Ctx, Engine, GetError, HandlerError, ResultError, RunError, TaskDef};
use outlive_storage::row::State;
use outlive_storage::{MemStore, Scan, Store};
use outlive_tests::faulty::Faulty;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const NUMBER: TaskDef<f64, f64> = TaskDef::new("number");
const WAITS: TaskDef<u32, u32> = TaskDef::new("waits");
const BLOCKS: TaskDef<u32, u32> = TaskDef::new("blocks");

async fn until_shutdown(ctx: Ctx, input: u32) -> Result<u32, HandlerError> {
    ctx.shutdown().await;
    Ok(input)
}

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

/// A shutdown once claimed its whole backlog: each claim was not entered, and so gave its slot back at once.
#[tokio::test(start_paused = true)]
async fn a_shutdown_claims_nothing_more() {
    let store = Arc::new(MemStore::new());
    let builder = Engine::on_store(Arc::<MemStore>::clone(&store)).inline();
    let builder = builder.task(WAITS, until_shutdown).max_running(1);
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    let tasks = (0..50).map(|n| (format!("t{n}"), n));
    let started = engine.start_many(WAITS, tasks).await;
    assert!(started.iter().all(Result::is_ok));
    engine.shutdown(Duration::from_secs(5)).await;
    let rows = store.scan(Scan::All, None, 100).unwrap().rows;
    let rows: Vec<_> = rows.into_iter().map(|found| found.row.unwrap()).collect();
    let untouched = |attempt, state: &State| attempt == 0 && matches!(state, State::Pending { .. });
    let waiting = rows.iter().filter(|row| untouched(row.attempt, &row.state));
    assert_eq!(waiting.count(), 49);
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
