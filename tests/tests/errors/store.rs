//! What callers learn when the store fails.

use crate::{TASK, with_task};
use outlive::{Accepted, Engine, GetError, OpenError, ResultError, StartError, StoreError};
use outlive_storage::MemStore;
use outlive_tests::faulty::{Faulty, failure};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

async fn on(store: &Arc<Faulty>) -> Engine {
    let builder = Engine::on_store(Arc::<Faulty>::clone(store)).store_patience(Duration::ZERO);
    let engine = with_task(builder);
    let engine = engine.open().await.unwrap();
    engine.recovery().await;
    engine
}

fn set(flag: &AtomicBool) {
    flag.store(true, Ordering::SeqCst);
}

/// A start whose commit fails is neither done nor undone; asked again with its ids it happens once.
async fn settles(switch: fn(&Faulty) -> &AtomicBool, kept: bool) {
    let inner = Arc::new(MemStore::new());
    let faulty = Faulty::on(&inner);
    let engine = on(&faulty).await;
    set(switch(&faulty));
    let unknown = engine.start(TASK, "a", &1).input_id("one").await;
    let Err(StartError::Unknown {
        task_id,
        input_id,
        cause,
    }) = unknown
    else {
        panic!("{unknown:?}");
    };
    assert_eq!((task_id.as_str(), input_id.as_str()), ("a", "one"));
    assert_eq!(cause, failure());
    // The first failure is told to all who come later; nothing of theirs was written.
    let later = engine.start(TASK, "b", &1).await;
    assert!(matches!(later, Err(StartError::Store(cause)) if cause == failure()));
    engine.shutdown(Duration::ZERO).await;

    let engine = on(&Faulty::on(&inner)).await;
    assert!(engine.get("b").await.unwrap().is_none());
    let again = engine.start(TASK, "a", &1).input_id("one").await.unwrap();
    let expected = if kept {
        Accepted::Attached
    } else {
        Accepted::Started
    };
    assert_eq!(again.accepted(), Some(expected));
    assert_eq!(again.result().await.unwrap(), 1);
    assert_eq!(engine.list_all().limit(10).await.unwrap().tasks.len(), 1);
}

#[tokio::test]
async fn a_start_whose_commit_was_lost_is_unknown_and_starts_when_asked_again() {
    settles(|faulty| &faulty.fail_before_commit, false).await;
}

#[tokio::test]
async fn a_start_whose_commit_was_kept_is_unknown_and_attaches_when_asked_again() {
    settles(|faulty| &faulty.fail_after_commit, true).await;
}

#[tokio::test]
async fn who_waits_when_the_store_fails_learns_why() {
    let faulty = Faulty::on(&Arc::new(MemStore::new()));
    let engine = on(&faulty).await;
    set(&faulty.fail_before_commit);
    let started = engine.start(TASK, "a", &1).await;
    assert!(matches!(started, Err(StartError::Unknown { .. })));
    let faulty = Faulty::on(&Arc::new(MemStore::new()));
    let engine = on(&faulty).await;
    let run = engine.start(TASK, "a", &1).await.unwrap();
    set(&faulty.fail_before_commit);
    // Its end cannot be committed, or could before: then there is an output.
    match run.result().await {
        Ok(output) => assert_eq!(output, 1),
        Err(error) => assert!(matches!(error, ResultError::Store(cause) if cause == failure())),
    }
}

#[tokio::test]
async fn a_read_that_fails_is_an_error_and_never_a_missing_task() {
    let faulty = Faulty::on(&Arc::new(MemStore::new()));
    let engine = on(&faulty).await;
    let run = engine.start(TASK, "a", &1).await.unwrap();
    run.result().await.unwrap();
    set(&faulty.fail_reads);
    assert!(matches!(
        engine.get("a").await,
        Err(GetError::Store(StoreError::Failed { .. }))
    ));
    assert!(matches!(
        engine.list_all().limit(1).await,
        Err(GetError::Store(_))
    ));
    assert!(matches!(run.result().await, Err(ResultError::Store(_))));
    let attach = engine.attach(TASK, "a").await;
    assert!(matches!(
        attach,
        Err(outlive::AttachError::Get(GetError::Store(_)))
    ));
    let start = engine.start(TASK, "a", &1).await;
    assert!(matches!(start, Err(StartError::Store(_))));
}

#[tokio::test]
async fn a_task_that_was_removed_is_not_found() {
    let faulty = Faulty::on(&Arc::new(MemStore::new()));
    let engine = on(&faulty).await;
    let run = engine.start(TASK, "a", &1).await.unwrap();
    run.result().await.unwrap();
    set(&faulty.forget_rows);
    assert!(matches!(run.result().await, Err(ResultError::NotFound { id }) if id.as_str() == "a"));
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_not_opened() {
    let faulty = Faulty::on(&Arc::new(MemStore::new()));
    set(&faulty.fail_reads);
    let builder = Engine::on_store(faulty).store_patience(Duration::ZERO);
    let opened = with_task(builder).open().await;
    assert!(matches!(opened, Err(OpenError::Store(error)) if error == failure()));
}
