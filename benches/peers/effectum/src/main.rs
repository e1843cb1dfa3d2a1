//! effectum, with one worker that takes as many jobs at once as there are callers, and more.
//!
//! It has no call that waits for a job, so the handler itself completes the job, which is answered after the commit,
//! and then wakes its caller: nothing is polled.

use effectum::{Error, Job, JobRunner, Queue, RunningJob, Worker};
use outlive_benches::Failed;
use outlive_peers::{Case, Peer, Waiting, measure};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Jobs its worker runs at once, at most.
const AT_ONCE: u16 = 1024;

#[derive(Clone)]
struct Effectum {
    queue: Arc<Queue>,
    waiting: Waiting<u64>,
    numbers: Arc<AtomicU64>,
    path: PathBuf,
    _worker: Arc<Worker>,
}

async fn no_op(job: RunningJob, waiting: Waiting<u64>) -> Result<(), Error> {
    let number = job.json_payload()?;
    job.complete(()).await?;
    waiting.completed(&number);
    Ok(())
}

impl Peer for Effectum {
    async fn open(case: &Case) -> Result<Self, Failed> {
        let path = case.directory.join("effectum.db");
        let queue = Queue::new(&path).await?;
        let waiting = Waiting::default();
        let worker = Worker::builder(&queue, waiting.clone())
            .max_concurrency(AT_ONCE)
            .jobs([JobRunner::builder("no_op", no_op).build()])
            .build()
            .await?;
        Ok(Self {
            queue: Arc::new(queue),
            waiting,
            numbers: Arc::default(),
            path,
            _worker: Arc::new(worker),
        })
    }

    async fn one(&self, _caller: usize) -> Result<(), Failed> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let completed = self.waiting.put(number);
        let job = Job::builder("no_op").json_payload(&number)?;
        job.add_to(&self.queue).await?;
        completed.await?;
        Ok(())
    }

    async fn settings(&self) -> Result<String, Failed> {
        // Its own connection cannot be asked; the journal is the file's, the level of sync is the connection's.
        let file = Connection::open(&self.path)?;
        let journal: String = file.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        Ok(format!(
            "SQLite {}, journal {journal} (read), synchronous NORMAL (its source), {AT_ONCE} jobs at once",
            rusqlite::version(),
        ))
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let case = Case::from_arguments()?.ok_or("it is run by `peers`")?;
    print!("{}", measure::<Effectum>(&case).await?);
    Ok(())
}
