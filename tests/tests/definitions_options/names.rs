//! The name of a definition is the anchor of its tasks: its form, its uniqueness, and that nothing else matters.

use crate::{NO_GRACE, in_time, on, opened, task};
use outlive::{
    AttachError, Ctx, Engine, HandlerError, InvalidRetry, OpenError, ReenterError, RetryPolicy,
    StartError, Status, TaskDef, TaskOptions, WaitReason,
};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const TASK: TaskDef<u32, u32> = TaskDef::new("task");

async fn echo(_: Ctx, n: u32) -> Result<u32, HandlerError> {
    Ok(n)
}

#[test]
fn a_name_is_1_to_128_characters_of_its_alphabet() {
    let longest: &'static str = "n".repeat(128).leak();
    let too_long: &'static str = "n".repeat(129).leak();
    for name in ["a", "A-z_0.9:x", "...", longest] {
        assert_eq!(
            TaskDef::<u8, u8>::try_new(name)
                .map(|def| def.name())
                .unwrap(),
            name
        );
    }
    for name in ["", ".", "..", "a b", "a/b", "é", "a\n", too_long] {
        assert!(TaskDef::<u8, u8>::try_new(name).is_err(), "{name:?}");
        let made = std::panic::catch_unwind(|| TaskDef::<u8, u8>::new(name));
        assert!(made.is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn a_name_is_registered_once() {
    const SAME: TaskDef<String, ()> = TaskDef::new("task");
    let builder = Engine::in_memory().task(TASK, echo);
    let opened = builder
        .blocking(SAME, |_: Ctx, _| Ok::<_, HandlerError>(()))
        .open()
        .await;
    assert!(
        matches!(opened, Err(OpenError::Duplicate { name: "task" })),
        "{opened:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_without_a_registered_handler_is_refused() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
    let engine = opened(builder).await;
    let refused = engine.start(TASK, "a", &1).await;
    assert!(
        matches!(refused, Err(StartError::NoHandler { name: "task" })),
        "{refused:?}"
    );
    assert_eq!(
        store.commits.load(Ordering::SeqCst),
        0,
        "nothing was written"
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_handler_waits_for_a_program_that_has_one() {
    let store = Arc::new(MemStore::new());
    let pending = |_: Ctx, _| std::future::pending::<Result<u32, HandlerError>>();
    let engine = opened(on(&store).task(TASK, pending)).await;
    engine.start(TASK, "ran", &1).await.unwrap();
    engine
        .start(TASK, "delayed", &1)
        .start_in(Duration::from_millis(1))
        .await
        .unwrap();
    engine.shutdown(NO_GRACE).await;

    let engine = opened(on(&store)).await;
    assert_eq!(engine.recovery().await.waiting_handler, 1);
    tokio::time::sleep(Duration::from_secs(100)).await;
    for id in ["ran", "delayed"] {
        let task = task(&engine, id).await;
        assert_eq!(
            (task.status, task.name.as_str()),
            (Status::Pending, "task"),
            "{id}"
        );
        assert_eq!(task.wait, Some(WaitReason::WaitingHandler), "{id}");
    }
    engine.shutdown(NO_GRACE).await;

    let engine = opened(on(&store).task(TASK, echo)).await;
    for id in ["ran", "delayed"] {
        let run = engine.attach(TASK, id).await.unwrap();
        assert_eq!(in_time(run.result()).await.unwrap(), 1, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_belongs_to_its_definition_alone() {
    const OTHER: TaskDef<u32, u32> = TaskDef::new("other");
    let engine = opened(Engine::in_memory().task(TASK, echo).task(OTHER, echo)).await;
    in_time(engine.run(TASK, "a", &1)).await.unwrap();
    let before = task(&engine, "a").await;
    let start = engine.start(OTHER, "a", &1).await;
    assert!(matches!(start, Err(StartError::OtherDefinition { name, .. }) if name == "task"));
    let attach = engine.attach(OTHER, "a").await;
    assert!(matches!(attach, Err(AttachError::OtherDefinition { name, .. }) if name == "task"));
    for refused in [
        engine.resume(OTHER, "a").await,
        engine.retry(OTHER, "a").await,
    ] {
        assert!(
            matches!(refused, Err(ReenterError::OtherDefinition { name, .. }) if name == "task")
        );
    }
    assert_eq!(task(&engine, "a").await, before);
}

const SHRINKING: RetryPolicy = RetryPolicy::exponential().coefficient(0.5);

#[tokio::test]
async fn a_definition_that_contradicts_itself_opens_no_engine() {
    let contradictions = [
        (RetryPolicy::fixed().attempts(0), InvalidRetry::NoAttempt),
        (SHRINKING, InvalidRetry::Coefficient(0.5)),
        (
            RetryPolicy::linear()
                .initial(Duration::from_secs(2))
                .max(Duration::from_secs(1)),
            InvalidRetry::MaxBelowInitial {
                initial: Duration::from_secs(2),
                max: Duration::from_secs(1),
            },
        ),
    ];
    for (policy, expected) in contradictions {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tasks.redb");
        let opened = Engine::builder(&path)
            .task(TASK.retry(policy), echo)
            .open()
            .await;
        match opened {
            Err(OpenError::InvalidRetry {
                name: "task",
                error,
            }) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "told before any file was touched");
        assert_eq!(TaskOptions::new().retry(policy).validate(), Err(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_variant_or_a_call_that_contradicts_itself_is_refused_and_writes_nothing() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let builder = Engine::on_store(Arc::<Faulty>::clone(&store)).inline();
    let engine = opened(builder.task(TASK, echo)).await;
    let refused = [
        engine.start(TASK.retry(SHRINKING), "a", &1).await,
        engine.start(TASK, "a", &1).retry(SHRINKING).await,
        engine
            .start(TASK, "a", &1)
            .options(TaskOptions::new().retry(SHRINKING))
            .await,
    ];
    for refused in refused {
        assert!(matches!(
            refused,
            Err(StartError::InvalidRetry(InvalidRetry::Coefficient(_)))
        ));
    }
    assert_eq!(store.commits.load(Ordering::SeqCst), 0);
    // Said again, it is corrected.
    let corrected = engine
        .start(TASK.retry(SHRINKING), "a", &1)
        .retry(RetryPolicy::none());
    assert_eq!(in_time(corrected.await.unwrap().result()).await.unwrap(), 1);
}
