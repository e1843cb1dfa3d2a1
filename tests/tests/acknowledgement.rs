//! Persist, then act: nobody is answered and nothing is done before the commit is durable.

use outlive::{Ctx, Engine, HandlerError, StartError, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const COUNT: TaskDef<u32, u32> = TaskDef::new("count");

async fn open(store: Arc<Faulty>, entered: &Arc<AtomicUsize>) -> Engine {
    let entered = Arc::clone(entered);
    let count = move |_: Ctx, input: u32| {
        entered.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, HandlerError>(input) }
    };
    let builder = Engine::on_store(store).task(COUNT, count).inline();
    let engine = builder.open().await.expect("the engine opens");
    // From here on a start claims in its own commit, so entering the handler is an effect of that commit.
    engine.recovery().await;
    let first = engine.start(COUNT, "first", &0).input_id("once").await;
    let output = first.expect("it starts").result().await;
    assert_eq!(output.expect("it ends"), 0);
    engine
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_commit_fails_is_unknown_and_enters_no_handler() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let entered = Arc::new(AtomicUsize::new(0));
    let engine = open(Arc::clone(&store), &entered).await;

    store.fail_before_commit.store(true, Ordering::SeqCst);
    let started = engine.start(COUNT, "second", &1).input_id("once").await;

    let ids = match &started {
        Err(StartError::Unknown {
            task_id, input_id, ..
        }) => (task_id.as_str(), input_id.as_str()),
        other => panic!("{other:?}"),
    };
    assert_eq!(ids, ("second", "once"));
    engine.shutdown(Duration::from_secs(1)).await;
    assert_eq!(
        entered.load(Ordering::SeqCst),
        1,
        "only the first task was entered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_answered_as_unknown_is_found_again_by_its_ids() {
    let truth = Arc::new(MemStore::new());
    let store = Faulty::on(&truth);
    let entered = Arc::new(AtomicUsize::new(0));
    let engine = open(Arc::clone(&store), &entered).await;
    store.fail_after_commit.store(true, Ordering::SeqCst);
    let started = engine.start(COUNT, "second", &1).input_id("once").await;
    assert!(matches!(started, Err(StartError::Unknown { .. })));
    engine.shutdown(Duration::from_secs(1)).await;

    let engine = open(Faulty::on(&truth), &entered).await;
    let again = engine.start(COUNT, "second", &1).input_id("once").await;

    let run = again.expect("it attaches");
    assert_eq!(run.accepted(), Some(outlive::Accepted::Attached));
    assert_eq!(run.result().await.expect("it ends"), 1);
}
