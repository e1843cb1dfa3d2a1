//! What meets in one batch of the writer: it is decided in order, and each is answered for itself.

use outlive::{ControlError, Ctx, Engine, HandlerError, StartError, Status, TaskDef};

const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");

async fn engine() -> Engine {
    let echo = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
    let builder = Engine::in_memory().task(ECHO, echo);
    builder.open().await.expect("it opens")
}

/// A start and a removal of the same task in one batch were one commit that no store accepts, and the whole batch
/// failed with it.
#[tokio::test(start_paused = true)]
async fn a_task_may_be_started_and_removed_and_started_again_in_one_batch() {
    let engine = engine().await;
    let start = |n: u32| std::future::IntoFuture::into_future(engine.start(ECHO, "a", &n));
    let remove = std::future::IntoFuture::into_future(engine.delete("a").force());
    let other = std::future::IntoFuture::into_future(engine.start(ECHO, "b", &7));
    let (first, removed, second, other) = tokio::join!(start(1), remove, start(2), other);
    assert!(removed.expect("it is removed"));
    let first = first.expect("it starts").result().await;
    assert!(first.is_err(), "its task is gone: {first:?}");
    assert_eq!(
        second
            .expect("it starts anew")
            .result()
            .await
            .expect("it ends"),
        2
    );
    assert_eq!(
        other.expect("it starts").result().await.expect("it ends"),
        7
    );
    assert_eq!(engine.list_all().await.expect("a page").tasks.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_in_the_batch_of_a_start_finds_the_task() {
    let engine = engine().await;
    let start = std::future::IntoFuture::into_future(engine.start(ECHO, "a", &1));
    let cancel = std::future::IntoFuture::into_future(engine.cancel("a", "no"));
    let nobody = std::future::IntoFuture::into_future(engine.cancel("b", "no"));
    let (run, cancelled, nobody) = tokio::join!(start, cancel, nobody);
    cancelled.expect("it is on record");
    assert!(
        matches!(nobody, Err(ControlError::NotFound(_))),
        "{nobody:?}"
    );
    let run = run.expect("it starts");
    // The handler had begun and its own reply counts, or it had not and the task is cancelled.
    let _ = run.result().await;
    assert_eq!(run.status().await.expect("it is there"), Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn two_starts_of_one_id_in_one_batch_make_one_task() {
    let engine = engine().await;
    let start = |n: u32| std::future::IntoFuture::into_future(engine.start(ECHO, "a", &n));
    let (one, other) = tokio::join!(start(1), start(2));
    one.expect("it starts");
    assert!(
        matches!(other, Err(StartError::Conflict { .. })),
        "{other:?}"
    );
}
