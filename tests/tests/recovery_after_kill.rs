//! What a killed process was doing is entered again, all of it, and soon.

use outlive::{Ctx, Engine, Entry, HandlerError, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::latch::Latch;
use outlive_tests::process::{self, Other};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const HOLD: TaskDef<u32, u32> = TaskDef::new("hold");
const BLOCKING: TaskDef<u32, u32> = TaskDef::new("blocking");
const TASKS: u32 = 1000;
/// Far beyond what is promised: the figure is printed, and only a hang is refused here.
const PATIENCE: Duration = Duration::from_secs(10);

type Entries = Arc<Mutex<BTreeMap<String, Vec<Entry>>>>;

/// Opens an engine whose handlers note why they were entered, and never end.
async fn open(path: &Path, entries: &Entries, came: &Arc<Semaphore>) -> Engine {
    let (entries, came) = (Arc::clone(entries), Arc::clone(came));
    let builder = Engine::builder(path).task(HOLD, move |ctx: Ctx, _| {
        let mut entries = entries.lock();
        entries
            .entry(ctx.id().to_string())
            .or_default()
            .push(ctx.entry());
        came.add_permits(1);
        pending::<Result<u32, HandlerError>>()
    });
    builder.open().await.unwrap()
}

/// Not a test of its own: the process that is killed while a thousand of its handlers run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let came = Arc::new(Semaphore::new(0));
    let engine = open(&path, &Entries::default(), &came).await;
    let runs = engine
        .start_many(HOLD, (0..TASKS).map(|n| (format!("t{n}"), n)))
        .await;
    assert!(runs.iter().all(Result::is_ok));
    came.acquire_many(TASKS).await.unwrap().forget();
    process::say("running");
    process::wait_for_end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ran_when_a_process_was_killed_is_entered_again_each_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let mut killed = Other::test("child", &path);
    assert_eq!(killed.word().as_deref(), Some("running"));
    killed.kill();

    let (entries, came) = (Entries::default(), Arc::new(Semaphore::new(0)));
    let began = Instant::now();
    let engine = open(&path, &entries, &came).await;
    let all = tokio::time::timeout(PATIENCE, came.acquire_many(TASKS)).await;
    let took = began.elapsed();
    assert!(
        all.is_ok_and(|all| all.is_ok()),
        "{} came",
        came.available_permits()
    );
    println!("kill -9, open to the last of {TASKS} re-entered handlers: {took:?}");

    let report = engine.recovery().await;
    assert_eq!(
        (report.found, report.dispatched),
        (u64::from(TASKS), u64::from(TASKS))
    );
    let entries = entries.lock().clone();
    assert_eq!(entries.len(), TASKS as usize);
    let once = [Entry::Recovered { crashes: 1 }];
    assert!(entries.values().all(|entries| *entries == once));
}

/// The scan stopped at the first task without a slot, so that one kind of handler held up the other for as long as
/// its own took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_lane_does_not_hold_up_the_recovery_of_the_other() {
    let store = Arc::new(MemStore::new());
    let (latch, _opens) = Latch::closed();
    let open = async |max_blocking| {
        let held = latch.clone();
        let builder = Engine::on_store(Arc::<MemStore>::clone(&store))
            .max_blocking(max_blocking)
            .blocking(BLOCKING, move |_: Ctx, n| {
                held.wait();
                Ok::<_, HandlerError>(n)
            })
            .task(HOLD, |ctx: Ctx, n| async move {
                if ctx.entry() == Entry::Fresh && n == 0 {
                    pending::<()>().await;
                }
                Ok::<_, HandlerError>(n)
            });
        builder.open().await.unwrap()
    };
    let engine = open(2).await;
    engine.recovery().await;
    for n in 0..2 {
        engine.start(BLOCKING, format!("b{n}"), &n).await.unwrap();
    }
    latch.waited_for_by(2);
    engine.start(HOLD, "t0", &0).await.unwrap();
    engine.shutdown(Duration::ZERO).await;

    // Two are found where one may run.
    let engine = open(1).await;
    let found = async {
        let run = engine.attach(HOLD, "t0").await.unwrap();
        assert_eq!(run.result().await.unwrap(), 0);
        assert_eq!(engine.run(HOLD, "new", &7).await.unwrap(), 7);
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    assert!(
        found.is_ok(),
        "async work waits for a slot of a blocking handler"
    );
}
