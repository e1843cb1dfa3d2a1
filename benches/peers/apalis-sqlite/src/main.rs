//! apalis-sqlite, told to sync each commit: its setup sets `synchronous` OFF on the one connection that runs it.
//!
//! Its own call that waits for a task looks each half second, so one loop here asks for all tasks that are waited for, every
//! millisecond. Its strategy that looks for work at an interval stops for good when a look takes longer than that, because
//! it then sets a new timer without asking to be woken by it; so there is one here that asks.

use apalis_core::backend::ext::BackendExt;
use apalis_core::backend::ext::poll_strategy::{PollSnapshot, PollStrategy};
use apalis_core::backend::{TaskResult, TaskSink, WaitForCompletion};
use apalis_core::error::BoxDynError;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteStorage};
use outlive_benches::Failed;
use outlive_peers::{Case, Peer, Pragmas, Waiting, measure};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};
use ulid::Ulid;

const CONNECTIONS: u32 = 5;
/// Tasks that its worker takes at once, at most; its default is 10.
const AT_ONCE: usize = 512;
/// How often its worker looks for work, and the loop here for what is complete.
const LOOK: Duration = Duration::from_millis(1);

/// Looks for work at an interval, however long a look takes.
struct Each(Interval);

impl PollStrategy for Each {
    fn poll_drive(&mut self, cx: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        let mut due = Poll::Pending;
        // Only an interval that is not due yet will wake the worker.
        while self.0.poll_tick(cx).is_ready() {
            due = Poll::Ready(Some(()));
        }
        due
    }
}

fn each_look() -> Interval {
    let mut each = interval(LOOK);
    each.set_missed_tick_behavior(MissedTickBehavior::Delay);
    each
}

#[derive(Clone)]
struct Apalis {
    storage: SqliteStorage<u32>,
    waiting: Waiting<TaskId>,
}

async fn no_op(_: u32) -> Result<(), BoxDynError> {
    Ok(())
}

/// Sets each connection of the pool to sync each commit, and reads back what is in force.
async fn sync_each_commit(pool: &SqlitePool) -> Result<String, Failed> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(pool.acquire().await?);
    }
    let mut told = Vec::new();
    for connection in &mut connections {
        let full = sqlx::query("PRAGMA synchronous = FULL").execute(&mut **connection);
        full.await?;
        let journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection);
        let journal = journal.await?;
        let level = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection);
        told.push(Pragmas::new(journal, level.await?));
    }
    Ok(Pragmas::of_pool(&told))
}

/// Wakes the callers whose task is complete, for as long as the process runs.
async fn wake(mut storage: SqliteStorage<u32>, waiting: Waiting<TaskId>) -> Result<(), Failed> {
    let mut each = each_look();
    loop {
        each.tick().await;
        let tasks = waiting.tasks();
        if tasks.is_empty() {
            continue;
        }
        let complete: Vec<TaskResult<()>> = storage.check_status(tasks).await?;
        for task in complete {
            task.result?;
            waiting.completed(&task.task_id);
        }
    }
}

/// A part of the peer that has failed leaves callers without an answer: the process ends with it.
fn end_with(part: &str, ended: Result<(), impl std::fmt::Display>) {
    if let Err(failed) = ended {
        eprintln!("{part}: {failed}");
        std::process::exit(1);
    }
}

impl Peer for Apalis {
    async fn open(case: &Case) -> Result<Self, Failed> {
        let options = SqliteConnectOptions::new()
            .filename(case.directory.join("apalis.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await?;
        SqliteStorage::setup(&pool).await?;
        sync_each_commit(&pool).await?;
        // A task is claimed when it is fetched; locking it would tell no more than when its handler was entered.
        let config = Config::default()
            .queue("no_op")
            .batch_size(AT_ONCE)
            .lock_tasks(false);
        let storage = SqliteStorage::new(&pool).with_config(config);
        let worker = WorkerBuilder::new("no_op")
            .backend(storage.clone().poll_with_strategy(Each(each_look())))
            .build(no_op);
        tokio::spawn(async move { end_with("its worker", worker.run().await) });
        let waiting = Waiting::default();
        let (looking, waited) = (storage.clone(), waiting.clone());
        tokio::spawn(async move { end_with("the loop", wake(looking, waited).await) });
        Ok(Self { storage, waiting })
    }

    async fn one(&self, caller: usize) -> Result<(), Failed> {
        let task = TaskId::from_ulid(Ulid::generate());
        let completed = self.waiting.put(task.clone());
        let pushed = TaskBuilder::new(caller as u32).task_id(task).build();
        self.storage.clone().push_task(pushed).await?;
        completed.await?;
        Ok(())
    }

    async fn settings(&self) -> Result<String, Failed> {
        let pool = self.storage.pool();
        let pragmas = sync_each_commit(pool).await?;
        let version = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(pool);
        let version: String = version.await?;
        Ok(format!(
            "SQLite {version}, {pragmas}, {AT_ONCE} tasks at once, looks for work every {LOOK:?}"
        ))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let case = Case::from_arguments()?.ok_or("it is run by `peers`")?;
    print!("{}", measure::<Apalis>(&case).await?);
    Ok(())
}
