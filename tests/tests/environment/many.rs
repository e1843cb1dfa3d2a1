//! A runtime that goes while thousands of handlers live on it.

use outlive::{Ctx, Engine, Entry, HandlerError, Status, TaskDef};
use parking_lot::Mutex;
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

const TASK: TaskDef<u32, u32> = TaskDef::new("task");

fn workers(count: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(count).enable_time().build().unwrap()
}

/// `OUTLIVE_HANDLERS` says how many (1,500).
fn handlers() -> u32 {
    std::env::var("OUTLIVE_HANDLERS").map_or(1500, |count| count.parse().unwrap())
}

/// So many handlers that wait for ever, on a runtime of theirs.
async fn waiting(path: &Path, handlers: &Runtime, count: u32) -> Engine {
    let came = Arc::new(Semaphore::new(0));
    let comes = Arc::clone(&came);
    let builder = Engine::builder(path)
        .max_running(count as usize)
        .runtime(handlers.handle().clone())
        .task(TASK, move |_: Ctx, _| {
            comes.add_permits(1);
            pending::<Result<u32, HandlerError>>()
        });
    let engine = builder.open().await.unwrap();
    for started in engine
        .start_many(TASK, (0..count).map(|n| (format!("t{n}"), n)))
        .await
    {
        started.unwrap();
    }
    came.acquire_many(count).await.unwrap().forget();
    engine
}

#[test]
fn a_runtime_that_goes_with_all_its_handlers_leaves_every_task_in_the_file_to_the_next_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (callers, runtime, count) = (workers(1), workers(2), handlers());
    let engine = callers.block_on(waiting(&path, &runtime, count));
    let began = Instant::now();
    drop(runtime);
    let gone = began.elapsed();
    callers.block_on(async {
        let task = engine.get("t7").await.unwrap().unwrap();
        assert_eq!(task.status, Status::InProgress, "nothing has failed");
        let left = engine.shutdown(Duration::from_millis(100)).await;
        assert_eq!(left.still_running, 0);
    });
    drop(engine);
    let stopped = began.elapsed();

    let entries = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&entries);
    let builder =
        Engine::builder(&path)
            .max_running(count as usize)
            .task(TASK, move |ctx: Ctx, n| {
                noted.lock().push((ctx.entry(), ctx.attempt()));
                std::future::ready(Ok::<_, HandlerError>(n))
            });
    let began = Instant::now();
    let recovered = callers.block_on(async {
        let engine = builder.open().await.unwrap();
        engine.recovery().await;
        let recovered = began.elapsed();
        for n in 0..count {
            let run = engine.attach(TASK, format!("t{n}")).await.unwrap();
            assert_eq!(run.result().await.unwrap(), n);
        }
        engine.shutdown(Duration::ZERO).await;
        recovered
    });
    let entries = entries.lock();
    assert_eq!(entries.len(), count as usize);
    let is_recovered = |entry: &(Entry, u32)| *entry == (Entry::Recovered { crashes: 0 }, 1);
    assert!(entries.iter().all(is_recovered));
    println!(
        "{count} live handlers: their runtime gone in {gone:?}, the engine stopped after {stopped:?}, all entered again {recovered:?} after the next open began"
    );
}
