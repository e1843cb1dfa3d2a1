//! The engine goes on while handlers hold every worker of their runtime.

use outlive::{Accepted, Ctx, Engine, HandlerError, RetryPolicy, Status, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::latch::Latch;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

const HOLDS: TaskDef<u32, u32> = TaskDef::new("holds");
const FAILS: TaskDef<u32, u32> = TaskDef::new("fails");
/// Long enough for every worker to be held before it is over.
const BACK_OFF: Duration = Duration::from_millis(500);

fn workers(count: usize) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(count).enable_time().build().unwrap()
}

/// Waits until the task's status is this, after one failed attempt.
async fn until(engine: &Engine, id: &str, status: Status) {
    loop {
        let task = engine.get(id).await.unwrap().unwrap();
        if task.status == status && task.last_failure.is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn starts_are_committed_and_due_tasks_claimed_while_every_worker_is_held() {
    let (handlers, callers) = (workers(2), workers(1));
    // Opened before the runtimes go, which wait for their workers.
    let (latch, _opens) = Latch::closed();
    let held = latch.clone();
    let retry = RetryPolicy::fixed()
        .attempts(2)
        .initial(BACK_OFF)
        .jitter(false);
    let builder = Engine::on_store(Arc::new(MemStore::new()))
        .runtime(handlers.handle().clone())
        .task(FAILS.retry(retry), |_: Ctx, _| async {
            Err::<u32, HandlerError>("no".into())
        })
        .task(HOLDS, move |_: Ctx, n| {
            let latch = held.clone();
            async move {
                latch.wait();
                Ok::<_, HandlerError>(n)
            }
        });
    let waits = async {
        let engine = builder.open().await.unwrap();
        engine.start(FAILS, "due", &1).await.unwrap();
        until(&engine, "due", Status::Pending).await;
        for n in 0..2 {
            engine.start(HOLDS, format!("h{n}"), &n).await.unwrap();
        }
        latch.waited_for_by(2);
        assert_eq!(
            engine.get("due").await.unwrap().unwrap().status,
            Status::Pending
        );

        let run = engine.start(HOLDS, "more", &3).await.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Started));
        until(&engine, "due", Status::InProgress).await;
        let due = engine.get("due").await.unwrap().unwrap();
        assert_eq!(due.attempt, 2, "claimed by a timer that no worker drives");
        assert_eq!(engine.list_all().limit(10).await.unwrap().tasks.len(), 4);
    };
    callers
        .block_on(async { tokio::time::timeout(Duration::from_secs(20), waits).await })
        .unwrap();
}

#[test]
fn a_runtime_without_a_clock_is_enough_for_handlers() {
    let bare = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let retry = RetryPolicy::fixed().initial(Duration::from_millis(5));
    let builder = Engine::on_store(Arc::new(MemStore::new())).task(
        FAILS.retry(retry),
        |ctx: Ctx, n| async move {
            if ctx.attempt() == 1 {
                return Err("the first attempt fails".into());
            }
            Ok::<_, HandlerError>(n)
        },
    );
    bare.block_on(async {
        let engine = builder.open().await.unwrap();
        assert_eq!(engine.run(FAILS, "a", &1).await.unwrap(), 1);
        engine.shutdown(Duration::from_secs(1)).await;
    });
}
