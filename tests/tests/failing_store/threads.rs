//! As an engine has it that is on threads of its own, where whoever calls the store may wait.

use crate::{TASK, set};
use outlive::{Builder, Ctx, Engine, GetError, HandlerError, StartError, StoreError, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use std::future::{IntoFuture, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

fn on(store: &Arc<Faulty>) -> Builder {
    let task = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
    Engine::on_store(Arc::<Faulty>::clone(store)).task(TASK, task)
}

/// How often the store was opened again: each try does so.
fn tries(store: &Faulty) -> u64 {
    store.reopens.load(Ordering::SeqCst)
}

/// A stop with nothing under way waited for a store that failed, for all of the patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_asks_a_store_that_fails_once_more_and_not_for_all_of_the_patience() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let builder = on(&store).store_patience(Duration::from_secs(2));
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine.run(TASK, "a", &1).await.unwrap();
    set(&store.fail_before_commit, true);
    let before = tries(&store);
    engine.shutdown(Duration::ZERO).await;
    assert_eq!(tries(&store) - before, 1);
}

/// Reads of a store that failed waited for all of the patience, two at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_wait_behind_one_that_gave_up_wait_no_longer() {
    const READS: usize = 40;
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let builder = on(&store).store_patience(Duration::from_millis(300));
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine.run(TASK, "a", &1).await.unwrap();
    set(&store.fail_reads, true);
    let before = tries(&store);
    let read = |_| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.get("a").await })
    };
    for read in (0..READS).map(read).collect::<Vec<_>>() {
        let told = read.await.expect("it is answered");
        let is_failure = matches!(told, Err(GetError::Store(_) | GetError::ShuttingDown));
        assert!(is_failure, "{told:?}");
    }
    // Whoever waits makes up to six tries in so long, on a slow machine two: here two readers, the writer and the loop.
    let made = tries(&store) - before;
    assert!(made <= READS as u64 + 30, "{made}");
}

/// As on one thread: who comes during a commit without room does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_comes_during_a_commit_without_room_is_refused() {
    const HELD: TaskDef<u32, u32> = TaskDef::new("held");
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let gate = Gate::closed();
    let passing = gate.clone();
    let held = move |_: Ctx, n| {
        let gate = passing.clone();
        async move {
            gate.pass().await;
            Ok::<_, HandlerError>(n)
        }
    };
    let engine = on(&store).task(HELD, held).open().await.unwrap();
    engine.recovery().await;
    let running = engine.start(HELD, "running", &1).await.unwrap();
    gate.came(1).await;
    let (came, comes) = tokio::sync::oneshot::channel();
    let (go, goes) = mpsc::channel::<()>();
    store.before_commit.set(move || {
        let _ = came.send(());
        let _ = goes.recv_timeout(BOUND);
    });
    set(&store.full, true);
    gate.let_through(1);
    comes.await.expect("the end is committed");
    let mut late = Box::pin(engine.start(TASK, "late", &1).into_future());
    let sent = poll_fn(|context| Poll::Ready(late.as_mut().poll(context).is_pending()));
    assert!(sent.await, "the commit is under way");
    go.send(()).expect("it waits");
    let late = tokio::time::timeout(BOUND, late).await;
    assert!(
        matches!(late, Ok(Err(StartError::Store(StoreError::Full)))),
        "{late:?}"
    );
    set(&store.full, false);
    assert_eq!(running.result().await.unwrap(), 1);
}
