//! What two things at once could make of a task: answers that move while they are read, ids and slots whose former
//! handler runs on.

use outlive::{Ctx, Engine, HandlerError, Reply, ResultError, STEERABLE_MAX, Status, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use outlive_tests::latch::Latch;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Its outputs lie beside their rows, and each takes the place of the one before.
const CHAIN: TaskDef<String, String> = TaskDef::new("chain").keep_turns(1);
const STEERED: TaskDef<String, String> = TaskDef::new("steered")
    .keep_turns(1)
    .steerable(STEERABLE_MAX);
const BLOCKS: TaskDef<u32, u32> = TaskDef::new("blocks");
const ONE_BLOCKS: TaskDef<u32, u32> = TaskDef::new("one-blocks").concurrency(1);

/// An output too large for its row, made of the input.
fn large(text: &str) -> String {
    text.repeat(2000 / text.len())
}

async fn chained(store: Arc<Faulty>) -> Engine {
    let chain = |_: Ctx, text: String| async move {
        Ok::<_, HandlerError>(Reply::suspend(large(&text), "more"))
    };
    let steered = |_: Ctx, text: String| async move { Ok::<_, HandlerError>(large(&text)) };
    let builder = Engine::on_store(store)
        .task(CHAIN, chain)
        .task(STEERED, steered);
    builder.open().await.expect("it opens")
}

/// A reader that had found a turn, and then read its large output, was given that of the turn that had taken its place
/// in between: another caller's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_output_is_never_that_of_a_later_turn() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let engine = chained(Arc::clone(&store)).await;
    let first = engine.start(CHAIN, "a", &"1".to_owned()).await.unwrap();
    assert_eq!(first.result().await.unwrap(), large("1"));

    let (reads, being_read) = tokio::sync::oneshot::channel();
    let (went_on, has_gone_on) = std::sync::mpsc::channel();
    store.before_value.set(move || {
        reads.send(()).expect("the test waits");
        has_gone_on.recv().expect("the task went on");
    });
    let asked = tokio::spawn(async move { first.result().await });
    being_read.await.expect("it is read");
    let second = engine.start(CHAIN, "a", &"2".to_owned()).await.unwrap();
    assert_eq!(second.result().await.unwrap(), large("2"));
    went_on.send(()).expect("the reader waits");
    let answered = asked.await.unwrap();
    assert!(
        matches!(answered, Err(ResultError::Gone { turn: 1 })),
        "{answered:?}"
    );
}

/// Who waits is told with the output itself: looked for later, it could be gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_gets_a_large_output_that_is_not_kept() {
    let engine = chained(Faulty::on(&Arc::new(MemStore::new()))).await;
    for round in 0..20 {
        let task = format!("task-{round}");
        let mut waiting = Vec::new();
        for n in 0..50 {
            let input = format!("{n}.");
            let run = engine.start(STEERED, &task, &input).await;
            // The task may have ended between two inputs; then it takes no more.
            let Ok(run) = run else { break };
            let answer = tokio::spawn(async move { run.result().await });
            waiting.push((input, answer));
        }
        for (input, answer) in waiting {
            match answer.await.unwrap() {
                Ok(output) => assert_eq!(output, large(&input)),
                // It came to wait after its turn had ended, and another one has ended since.
                Err(ResultError::Gone { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

/// A large answer of a task that would be gone with its end, but was not yet, was handed out without its output for
/// ever.
#[tokio::test]
async fn an_ephemeral_task_that_is_suspended_gives_its_large_output() {
    const BRIEF: TaskDef<String, String> = TaskDef::new("brief").ephemeral();
    let brief = |_: Ctx, text: String| async move {
        Ok::<_, HandlerError>(Reply::suspend(large(&text), "more"))
    };
    let engine = Engine::in_memory().task(BRIEF, brief).open().await.unwrap();
    let input = "1".to_owned();
    assert_eq!(engine.run(BRIEF, "a", &input).await.unwrap(), large("1"));
}

/// An engine whose blocking handlers wait for a latch, and how many have entered.
async fn blocking(latch: &Latch) -> (Engine, Arc<AtomicUsize>) {
    let entered = Arc::new(AtomicUsize::new(0));
    let wait = |latch: &Latch| {
        let (latch, entered) = (latch.clone(), Arc::clone(&entered));
        move |_: Ctx, n| {
            entered.fetch_add(1, Ordering::SeqCst);
            latch.wait();
            Ok::<_, HandlerError>(n)
        }
    };
    let builder = Engine::on_store(Arc::new(MemStore::new()))
        .blocking(BLOCKS, wait(latch))
        .blocking(ONE_BLOCKS, wait(latch));
    (builder.open().await.expect("it opens"), entered)
}

/// The next task of an id has another number; its handler was entered beside the one the removed task had left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_task_of_an_id_waits_for_the_thread_of_a_removed_one() {
    let (latch, opens) = Latch::closed();
    let (engine, entered) = blocking(&latch).await;
    engine.start(BLOCKS, "a", &1).await.unwrap();
    latch.waited_for_by(1);
    assert!(engine.delete("a").force().await.unwrap());
    let next = engine.start(BLOCKS, "a", &2).await.unwrap();
    // Another task's whole life in between: an entry that was due would have happened.
    let other = engine.start(BLOCKS, "b", &3).await.unwrap();
    latch.waited_for_by(2);
    assert_eq!(entered.load(Ordering::SeqCst), 2, "a's first and b's");
    drop(opens);
    assert_eq!(next.result().await.unwrap(), 2);
    assert_eq!(other.result().await.unwrap(), 3);
    assert_eq!(entered.load(Ordering::SeqCst), 3);
}

/// The slot of a turn that was stopped went while its thread ran on, and a definition's limit was no limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_whose_turn_was_stopped_keeps_its_slot() {
    let (latch, opens) = Latch::closed();
    let (engine, entered) = blocking(&latch).await;
    engine.start(ONE_BLOCKS, "a", &1).await.unwrap();
    latch.waited_for_by(1);
    engine.terminate("a", "too slow").await.unwrap();
    let next = engine.start(ONE_BLOCKS, "b", &2).await.unwrap();
    let other = engine.start(BLOCKS, "c", &3).await.unwrap();
    latch.waited_for_by(2);
    assert_eq!(next.status().await.unwrap(), Status::Pending);
    assert_eq!(entered.load(Ordering::SeqCst), 2, "a and c");
    drop(opens);
    assert_eq!(next.result().await.unwrap(), 2);
    assert_eq!(other.result().await.unwrap(), 3);
}
