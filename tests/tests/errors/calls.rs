//! What callers may get wrong.

use crate::{TASK, with_task};
use outlive::{
    AttachError, Ctx, Engine, GetError, HandlerError, InvalidId, InvalidRetry, ResultError,
    RetryPolicy, RunError, StartError, Status, TaskDef, TaskId, WaitReason,
};
use std::future::pending;
use std::time::Duration;

async fn engine() -> Engine {
    with_task(Engine::in_memory()).open().await.unwrap()
}

/// Each bad id with what is wrong about it.
fn bad_ids() -> Vec<(String, InvalidId)> {
    let character = |found, at| InvalidId::Character { found, at };
    vec![
        (String::new(), InvalidId::Empty),
        ("x".repeat(257), InvalidId::TooLong { len: 257, max: 256 }),
        ("é".repeat(200), InvalidId::TooLong { len: 400, max: 256 }),
        (".".to_owned(), InvalidId::Dots),
        ("..".to_owned(), InvalidId::Dots),
        ("../x".to_owned(), character('/', 2)),
        ("a b".to_owned(), character(' ', 1)),
        ("a\0".to_owned(), character('\0', 1)),
        ("é".to_owned(), character('é', 0)),
        ("a\r\n".to_owned(), character('\r', 1)),
        ("a\u{202e}b".to_owned(), character('\u{202e}', 1)),
        ("\u{1b}[31m".to_owned(), character('\u{1b}', 0)),
    ]
}

#[tokio::test]
async fn a_bad_id_is_refused_by_every_call_and_nothing_is_started() {
    let engine = engine().await;
    for (id, expected) in bad_ids() {
        let start = engine.start(TASK, id.as_str(), &1).await;
        assert!(matches!(start, Err(StartError::InvalidId(found)) if found == expected));
        let input = engine.start(TASK, "a", &1).input_id(id.as_str()).await;
        assert!(matches!(input, Err(StartError::InvalidId(found)) if found == expected));
        let run = engine.run(TASK, id.as_str(), &1).await;
        let run_refused =
            matches!(run, Err(RunError::Start(StartError::InvalidId(found))) if found == expected);
        assert!(run_refused);
        let get = engine.get(&id).await;
        assert!(matches!(get, Err(GetError::InvalidId(found)) if found == expected));
        let attach = engine.attach(TASK, &id).await;
        let attach_refused = matches!(attach, Err(AttachError::Get(GetError::InvalidId(found))) if found == expected);
        assert!(attach_refused);
        assert_eq!(TaskId::new(&id), Err(expected));
    }
    assert!(engine.list_all().limit(10).await.unwrap().tasks.is_empty());
}

#[tokio::test]
async fn the_longest_and_oddest_good_ids_are_accepted() {
    let engine = engine().await;
    for id in ["x".repeat(256).as_str(), "...", "-", ":", "_", "a.b:c-d_E9"] {
        assert_eq!(engine.run(TASK, id, &1).await.unwrap(), 1);
        assert_eq!(engine.get(id).await.unwrap().unwrap().id.as_str(), id);
    }
}

#[test]
fn a_bad_name_is_an_error() {
    type Def = TaskDef<(), ()>;
    assert!(matches!(Def::try_new(""), Err(InvalidId::Empty)));
    assert!(matches!(Def::try_new(".."), Err(InvalidId::Dots)));
    assert!(matches!(
        Def::try_new("a b"),
        Err(InvalidId::Character { found: ' ', at: 1 })
    ));
    let long: &'static str = "x".repeat(129).leak();
    assert!(matches!(
        Def::try_new(long),
        Err(InvalidId::TooLong { len: 129, max: 128 })
    ));
    assert!(Def::try_new(&long[1..]).is_ok());
}

fn bad_policies() -> [(RetryPolicy, InvalidRetry); 4] {
    let short = Duration::from_millis(1);
    let (initial, max) = (Duration::from_secs(1), short);
    [
        (RetryPolicy::fixed().attempts(0), InvalidRetry::NoAttempt),
        (
            RetryPolicy::exponential().coefficient(0.5),
            InvalidRetry::Coefficient(0.5),
        ),
        (
            RetryPolicy::exponential().coefficient(1e9),
            InvalidRetry::Coefficient(1e9),
        ),
        (
            RetryPolicy::linear().max(short),
            InvalidRetry::MaxBelowInitial { initial, max },
        ),
    ]
}

#[tokio::test]
async fn a_bad_retry_policy_is_refused_at_the_call() {
    let engine = engine().await;
    for (policy, expected) in bad_policies() {
        assert_eq!(policy.validate(), Err(expected));
        let start = engine.start(TASK, "a", &1).retry(policy).await;
        assert!(matches!(start, Err(StartError::InvalidRetry(found)) if found == expected));
    }
    let not_a_number = RetryPolicy::exponential().coefficient(f64::NAN).validate();
    assert!(matches!(not_a_number, Err(InvalidRetry::Coefficient(_))));
    assert!(engine.get("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_bad_retry_policy_is_refused_at_the_open() {
    for (policy, expected) in bad_policies() {
        let builder = Engine::in_memory().task(TASK.retry(policy), |_: Ctx, n| async move {
            Ok::<_, HandlerError>(n)
        });
        let opened = builder.open().await;
        assert!(matches!(
            opened,
            Err(outlive::OpenError::InvalidRetry { name: "task", error }) if error == expected
        ));
    }
}

#[tokio::test]
async fn a_definition_without_a_handler_is_refused() {
    const OTHER: TaskDef<u32, u32> = TaskDef::new("other");
    let engine = engine().await;
    let start = engine.start(OTHER, "a", &1).await;
    assert!(matches!(
        start,
        Err(StartError::NoHandler { name: "other" })
    ));
    assert!(engine.list(OTHER).limit(10).await.unwrap().tasks.is_empty());
    assert!(engine.get("a").await.unwrap().is_none());
}

#[tokio::test]
async fn an_id_of_another_definition_is_refused() {
    const OTHER: TaskDef<u32, u32> = TaskDef::new("other");
    let builder = with_task(Engine::in_memory());
    let engine = builder
        .task(OTHER, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) })
        .open()
        .await
        .unwrap();
    engine.run(TASK, "a", &1).await.unwrap();
    let start = engine.start(OTHER, "a", &1).await;
    assert!(matches!(start, Err(StartError::OtherDefinition { name, .. }) if name == "task"));
    let attach = engine.attach(OTHER, "a").await;
    assert!(matches!(attach, Err(AttachError::OtherDefinition { name, .. }) if name == "task"));
    let missing = engine.attach(TASK, "b").await;
    assert!(matches!(missing, Err(AttachError::NotFound(id)) if id.as_str() == "b"));
}

/// Suspended is in `main_job`, with what suspends a task.
#[tokio::test]
async fn another_input_is_a_conflict_that_tells_how_the_task_stands() {
    const HOLDS: TaskDef<u32, u32> = TaskDef::new("holds");
    let engine = with_task(Engine::in_memory())
        .max_running(1)
        .task(HOLDS, |_: Ctx, _| pending::<Result<u32, HandlerError>>())
        .open()
        .await
        .unwrap();
    engine.run(TASK, "ended", &1).await.unwrap();
    engine.start(HOLDS, "runs", &1).await.unwrap();
    while engine.get("runs").await.unwrap().unwrap().status != Status::InProgress {
        tokio::task::yield_now().await;
    }
    engine.start(TASK, "waits", &1).await.unwrap();
    let ended = engine.start(TASK, "ended", &2).await;
    let runs = engine.start(HOLDS, "runs", &2).await;
    let waits = engine.start(TASK, "waits", &2).await;
    let expected = [
        (ended.err(), Status::Completed, None),
        (runs.err(), Status::InProgress, None),
        (waits.err(), Status::Pending, Some(WaitReason::Slot)),
    ];
    for (found, status, reason) in expected {
        let Some(StartError::Conflict {
            status: found,
            reason: why,
            ..
        }) = found
        else {
            panic!("{found:?} instead of a conflict with {status}");
        };
        assert_eq!((found, why), (status, reason));
    }
}

#[tokio::test]
async fn a_failed_task_gives_its_failure_to_every_asker() {
    const FAILS: TaskDef<(), ()> = TaskDef::new("fails");
    let engine = Engine::in_memory()
        .task(FAILS, |_: Ctx, ()| async {
            Err::<(), _>(HandlerError::terminal("no"))
        })
        .open()
        .await
        .unwrap();
    let run = engine.run(FAILS, "a", &()).await;
    assert!(matches!(run, Err(RunError::Result(ResultError::Failed(_)))));
    let again = engine.attach(FAILS, "a").await.unwrap().result().await;
    assert!(matches!(again, Err(ResultError::Failed(failure)) if &*failure.message == "no"));
}
