//! What an open does with the work of a process that is gone, and what that costs.

use outlive::{Builder, Ctx, Engine, Entry, HandlerError, TaskDef};
use outlive_storage::RedbStore;
use outlive_storage::redb::RedbOptions;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const WAIT: TaskDef<u64, u64> = TaskDef::new("wait");
const NO_OP: TaskDef<u64, u64> = TaskDef::new("no-op");
static INSTANCES: AtomicU64 = AtomicU64::new(1);

fn store(path: &Path) -> Arc<RedbStore> {
    let instance = u128::from(INSTANCES.fetch_add(1, Ordering::Relaxed));
    let opened = RedbStore::open(path, RedbOptions::default(), instance, 1);
    Arc::new(opened.expect("the store opens"))
}

/// Counts entries, and tells when as many as hoped for have come.
#[derive(Clone)]
struct Entries {
    entered: Arc<AtomicUsize>,
    recovered: Arc<AtomicUsize>,
    enough: Arc<Notify>,
    hoped: usize,
}

impl Entries {
    fn hoping_for(hoped: usize) -> Entries {
        Entries {
            entered: Arc::default(),
            recovered: Arc::default(),
            enough: Arc::default(),
            hoped,
        }
    }

    fn count(&self, ctx: &Ctx) {
        let recovered = ctx.entry() == Entry::Recovered { crashes: 0 } && ctx.attempt() == 1;
        self.recovered
            .fetch_add(usize::from(recovered), Ordering::SeqCst);
        if self.entered.fetch_add(1, Ordering::SeqCst) + 1 == self.hoped {
            self.enough.notify_one();
        }
    }
}

fn builder(store: Arc<RedbStore>, entries: &Entries) -> Builder {
    let entries = entries.clone();
    let wait = move |ctx: Ctx, _input: u64| {
        entries.count(&ctx);
        std::future::pending::<Result<u64, HandlerError>>()
    };
    let no_op = |_: Ctx, input: u64| async move { Ok::<_, HandlerError>(input) };
    Engine::on_store(store).task(WAIT, wait).task(NO_OP, no_op)
}

async fn open(store: Arc<RedbStore>, entries: &Entries) -> Engine {
    let builder = builder(store, entries);
    builder.open().await.expect("the engine opens")
}

/// Leaves `running` tasks in progress in the file: their handlers are dropped, as by a stop without grace.
async fn leave_running(path: &Path, running: usize, finished: u64) {
    let entries = Entries::hoping_for(running);
    let engine = open(store(path), &entries).await;
    let done = engine.start_many(NO_OP, (0..finished).map(|n| (format!("done-{n}"), n)));
    for run in done.await {
        run.expect("it starts").result().await.expect("it ends");
    }
    let tasks = (0..running).map(|n| (format!("task-{n}"), n as u64));
    let runs = engine.start_many(WAIT, tasks).await;
    assert!(runs.iter().all(Result::is_ok));
    entries.enough.notified().await;
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_running_tasks_are_entered_again_each_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tasks.redb");
    leave_running(&path, 1000, 0).await;

    let entries = Entries::hoping_for(1000);
    let began = Instant::now();
    let engine = open(store(&path), &entries).await;
    entries.enough.notified().await;
    println!(
        "open to the last of 1000 re-entered handlers: {:?}",
        began.elapsed()
    );

    let report = engine.recovery().await;
    assert_eq!((report.found, report.dispatched), (1000, 1000));
    engine.shutdown(Duration::ZERO).await;
    assert_eq!(entries.recovered.load(Ordering::SeqCst), 1000);
}

// redb reads a whole file at open in debug builds, to check itself, so only a release build can tell this cost.
#[cfg(not(debug_assertions))]
#[tokio::test(flavor = "multi_thread")]
async fn what_an_open_reads_until_the_first_re_entry_does_not_grow_with_finished_tasks() {
    let dir = tempfile::tempdir().expect("a directory");
    for (running, deeper) in [(1000, 0.0), (1, 12.0)] {
        let mut reads = Vec::new();
        for finished in [0, 100_000] {
            let path = dir.path().join(format!("{running}-{finished}.redb"));
            leave_running(&path, running, finished).await;
            let store = store(&path);
            let entries = Entries::hoping_for(1);
            let engine = open(Arc::clone(&store), &entries).await;
            entries.enough.notified().await;
            reads.push(store.io().reads);
            engine.shutdown(Duration::ZERO).await;
        }
        println!("{running} running, reads with 0 and 100,000 finished tasks: {reads:?}");
        // With one running task the whole difference is the depth of trees of 100,000 rows: some three pages for each of
        // the task, the log, and what the sweep looks at, which may come before the entry or after it.
        assert!(
            reads[1] as f64 <= reads[0] as f64 * 1.1 + deeper,
            "{running} running: {reads:?}"
        );
    }
}

/// Waits until the engine claims starts at once, which it does when the start-up scan is through.
async fn until_idle(engine: &Engine) {
    engine.recovery().await;
    engine.run(NO_OP, "first", &0).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_takes_four_b_tree_writes_and_a_completion_three_and_the_log_one_each() {
    for logged in [0, 1] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = store(&dir.path().join("tasks.redb"));
        let entries = Entries::hoping_for(usize::MAX);
        let builder = builder(Arc::clone(&store), &entries).log_events(logged == 1);
        let engine = builder.open().await.expect("it opens");
        until_idle(&engine).await;

        let before = store.btree_writes();
        let waiting = engine.start(WAIT, "running", &1).await;
        waiting.expect("it starts");
        assert_eq!(store.btree_writes() - before, 4 + logged);

        let before = store.btree_writes();
        let hour = Duration::from_secs(3_600);
        let delayed = engine.start(NO_OP, "delayed", &1).start_in(hour).await;
        delayed.expect("it starts");
        assert_eq!(store.btree_writes() - before, 4 + logged);

        let before = store.btree_writes();
        engine.cancel("delayed", "no more").await.expect("it ends");
        assert_eq!(store.btree_writes() - before, 3 + logged);

        // Where nobody looks in between, it is written as it ended.
        let before = store.btree_writes();
        engine.run(NO_OP, "done", &1).await.expect("it ends");
        let cost = store.btree_writes() - before;
        assert!((4..=4 + 3).contains(&(cost - 2 * logged)), "{cost}");
        engine.shutdown(Duration::ZERO).await;
    }
}
