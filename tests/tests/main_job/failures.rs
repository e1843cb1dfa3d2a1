//! A handler that breaks fails its own task, and nobody else's.

use crate::{ECHO, echo};
use outlive::{
    Builder, Ctx, Engine, Failure, FailureKind, HandlerError, ResultError, RetryPolicy, RunError,
    TaskDef,
};
use outlive_storage::MemStore;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const BROKEN: TaskDef<(), ()> = TaskDef::new("broken").retry(RetryPolicy::none());

/// A task that nobody works on any more would be waited for until the next open.
const PATIENCE: Duration = Duration::from_secs(5);

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Opens an engine and returns the failure of its broken task, after healthy ones have run beside it.
async fn failure(builder: Builder) -> Failure {
    let engine = builder.task(ECHO, echo).open().await.unwrap();
    let healthy: Vec<_> = (0..50).map(|n| (format!("h{n}"), "x".to_owned())).collect();
    let healthy = engine.start_many(ECHO, healthy).await;
    let failed = engine.run(BROKEN, "a", &());
    let failed = tokio::time::timeout(PATIENCE, failed).await;
    let failed = failed.expect("the task ends, whatever its handler does");
    for run in healthy {
        assert_eq!(run.unwrap().result().await.unwrap(), "x");
    }
    match failed {
        Err(RunError::Result(ResultError::Failed(failure))) => failure,
        other => panic!("{other:?}"),
    }
}

fn engine() -> Builder {
    Engine::on_store(Arc::new(MemStore::new()))
}

#[tokio::test]
async fn a_panic_fails_its_task_alone() {
    let builder = engine().task(BROKEN, |_: Ctx, ()| async {
        if true {
            panic!("broken");
        }
        Ok::<_, HandlerError>(())
    });
    let failure = failure(builder).await;
    assert_eq!(failure.kind, FailureKind::Panic);
    assert_eq!(&*failure.message, "broken");
}

#[tokio::test]
async fn a_panic_before_the_first_await_fails_its_task_alone() {
    let builder = engine().task(BROKEN, |_: Ctx, ()| {
        if true {
            panic!("broken");
        }
        std::future::ready(Ok::<_, HandlerError>(()))
    });
    assert_eq!(failure(builder).await.kind, FailureKind::Panic);
}

#[tokio::test]
async fn a_panic_on_a_thread_fails_its_task_alone() {
    let builder = engine().blocking(BROKEN, |_: Ctx, ()| -> Result<(), HandlerError> {
        panic!("broken");
    });
    assert_eq!(failure(builder).await.kind, FailureKind::Panic);
}

#[tokio::test]
async fn a_panic_in_the_drop_of_a_future_fails_its_task_alone() {
    /// Ends well, and panics when it is dropped.
    struct Future(#[allow(dead_code)] Bomb);
    impl std::future::Future for Future {
        type Output = Result<(), HandlerError>;
        fn poll(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Self::Output> {
            std::task::Poll::Ready(Ok(()))
        }
    }
    let builder = engine().task(BROKEN, |_: Ctx, ()| Future(Bomb));
    assert_eq!(failure(builder).await.kind, FailureKind::Panic);
}

/// The payload's own panic left the task in progress, with nobody working on it, until the next open.
#[tokio::test]
async fn a_panic_whose_payload_panics_fails_its_task_alone() {
    let builder = engine().task(BROKEN, |_: Ctx, ()| async {
        if true {
            std::panic::panic_any(Bomb);
        }
        Ok::<_, HandlerError>(())
    });
    assert_eq!(failure(builder).await.kind, FailureKind::Panic);
}

/// The text of an error is the user's code as well: its panic left the task in progress until the next open.
#[tokio::test]
async fn an_error_whose_text_panics_fails_its_task_alone() {
    #[derive(Debug)]
    struct Mute;
    impl fmt::Display for Mute {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no text");
        }
    }
    impl std::error::Error for Mute {}
    let builder = engine().task(BROKEN, |_: Ctx, ()| async {
        Err::<(), HandlerError>(Mute.into())
    });
    assert_eq!(failure(builder).await.kind, FailureKind::Panic);
}

#[tokio::test]
async fn an_error_is_kept_with_its_sources() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);
    let builder = engine().task(BROKEN, |_: Ctx, ()| async {
        let inner = "x".parse::<u8>().map_err(Outer);
        Err::<(), HandlerError>(inner.unwrap_err().into())
    });
    let failure = failure(builder).await;
    assert_eq!(
        (failure.kind, &*failure.message),
        (FailureKind::Error, "outer")
    );
    assert_eq!((failure.chain.len(), failure.attempts), (1, 1));
}

#[tokio::test]
async fn a_message_of_megabytes_is_cut() {
    let builder = engine().task(BROKEN, |_: Ctx, ()| async {
        Err::<(), HandlerError>("é".repeat(1_000_000).into())
    });
    let failure = failure(builder).await;
    assert_eq!(failure.message.len(), Failure::MESSAGE_MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_panicking_tasks_hurt_no_healthy_one() {
    let builder = engine()
        .max_running(8)
        .task(ECHO, echo)
        .task(BROKEN, |_: Ctx, ()| async {
            // Quietly: a thousand reports on the terminal tell nothing.
            if true {
                std::panic::resume_unwind(Box::new("broken"));
            }
            Ok::<_, HandlerError>(())
        });
    let engine = builder.open().await.unwrap();
    let broken = engine
        .start_many(BROKEN, (0..1000).map(|n| (format!("b{n}"), ())))
        .await;
    let healthy = (0..1000).map(|n| (format!("h{n}"), "x".to_owned()));
    let healthy = engine.start_many(ECHO, healthy).await;
    for run in broken {
        assert!(matches!(
            run.unwrap().result().await,
            Err(ResultError::Failed(_))
        ));
    }
    for run in healthy {
        assert_eq!(run.unwrap().result().await.unwrap(), "x");
    }
}
