//! Handlers that leak, leave work behind, or take values that nest too deep: it stays their own matter.

use outlive::{
    Ask, AskError, ChildStartError, Ctx, EmitError, Engine, FailureKind, FlushError, HandlerError,
    ResultError, RunError, SleepError, StartError, StepError, TaskDef, VALUE_DEPTH_MAX, ValueError,
};
use outlive_storage::RedbStore;
use outlive_storage::redb::RedbOptions;
use parking_lot::Mutex;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

const TASK: TaskDef<u32, u32, u32> = TaskDef::new("task");
const ECHO: TaskDef<Value, Value> = TaskDef::new("echo");
const DEEPENS: TaskDef<usize, Value, Value> = TaskDef::new("deepens");

/// A context that was never dropped once could have kept the file locked until the process ended.
#[tokio::test]
async fn a_handler_that_leaks_its_context_does_not_keep_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let leaks = |ctx: Ctx<u32>, n| async move {
        std::mem::forget(ctx.clone());
        std::mem::forget(ctx.metadata());
        std::mem::forget(ctx.inbox());
        Ok::<_, HandlerError>(n)
    };
    let engine = Engine::builder(&path)
        .task(TASK, leaks)
        .open()
        .await
        .unwrap();
    for n in 0..100 {
        assert_eq!(engine.run(TASK, format!("t{n}"), &n).await.unwrap(), n);
    }
    let stopped = engine.shutdown(Duration::from_secs(1)).await;
    assert_eq!(stopped.still_running, 0);
    drop(engine);
    let store = RedbStore::open(&path, RedbOptions::default(), 1, 1);
    assert!(store.is_ok(), "{store:?}");
}

/// Does everything a context can do, after its turn is over; what was not refused.
async fn everything(ctx: Ctx<u32>) -> Vec<&'static str> {
    let mut done = Vec::new();
    let mut note = |what, refused: bool| {
        if !refused {
            done.push(what);
        }
    };
    let step = ctx.step("late", || async { Ok::<_, Infallible>(1) }).await;
    note("a step", matches!(step, Err(StepError::TurnOver)));
    let emitted = ctx.emit_durable(1).await;
    note("an item", matches!(emitted, Err(EmitError::TurnOver)));
    // Metadata is set in memory, and is not kept.
    let _ = ctx.metadata().set("late", 1);
    let flushed = ctx.flush_metadata().await;
    note("metadata", matches!(flushed, Err(FlushError::TurnOver)));
    let slept = ctx.sleep("late sleep", Duration::from_millis(1)).await;
    note("a sleep", matches!(slept, Err(SleepError::TurnOver)));
    let asked = ctx.ask::<u32>("late ask", Ask::new("?")).await;
    note("a question", matches!(asked, Err(AskError::TurnOver)));
    let child = ctx.start("late child", TASK, &1).await;
    note("a child", matches!(child, Err(ChildStartError::TurnOver)));
    done
}

#[tokio::test]
async fn what_a_handler_had_spawned_and_forgotten_changes_nothing_once_its_turn_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let (over, is_over) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let once = Arc::new(Mutex::new(Some((is_over, tell))));
    let spawns = move |ctx: Ctx<u32>, n| {
        let once = once.lock().take();
        async move {
            if let Some((is_over, tell)) = once {
                tokio::spawn(async move {
                    let _ = is_over.await;
                    let _ = tell.send(everything(ctx).await);
                });
            }
            Ok::<_, HandlerError>(n)
        }
    };
    let builder = Engine::builder(directory.path().join("tasks.redb")).task(TASK, spawns);
    let engine = builder.open().await.unwrap();
    assert_eq!(engine.run(TASK, "a", &1).await.unwrap(), 1);
    let before = engine.get("a").await.unwrap();
    over.send(()).unwrap();
    let everything = tokio::time::timeout(Duration::from_secs(20), told);
    let done = everything.await.expect("nothing hangs").unwrap();
    assert_eq!(done, [""; 0]);
    assert_eq!(engine.get("a").await.unwrap(), before);
    assert_eq!(engine.list_all().await.unwrap().tasks.len(), 1);
    assert_eq!(engine.asks().await.unwrap().asks.len(), 0);
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

/// An input that nests deeper than JSON is read again was once accepted, and parked its task; one of some thousands was
/// written down until the stack was used up.
#[tokio::test]
async fn a_value_that_nests_too_deep_to_be_read_again_is_refused_where_it_is_given() {
    let echo = |_: Ctx, value| async move { Ok::<Value, HandlerError>(value) };
    let deepens = |ctx: Ctx<Value>, depth: usize| async move {
        let emitted = ctx.emit(nested(depth)).await;
        let is_refused = matches!(emitted, Err(EmitError::TooDeep { .. }));
        assert_eq!(is_refused, depth > VALUE_DEPTH_MAX, "{depth}");
        Ok::<Value, HandlerError>(nested(depth))
    };
    let builder = Engine::in_memory().task(ECHO, echo).task(DEEPENS, deepens);
    let engine = builder.open().await.unwrap();
    for depth in [1, VALUE_DEPTH_MAX] {
        let id = format!("d{depth}");
        let output = engine.run(ECHO, &id, &nested(depth)).await.unwrap();
        assert_eq!(output, nested(depth));
        let output = engine.run(DEEPENS, format!("o{depth}"), &depth).await;
        assert_eq!(output.unwrap(), nested(depth));
    }
    for depth in [VALUE_DEPTH_MAX + 1, 5000] {
        let refused = engine.run(ECHO, "a", &nested(depth)).await;
        let Err(RunError::Start(StartError::Input(ValueError::TooDeep { limit, .. }))) = refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!(limit, VALUE_DEPTH_MAX);
        let output = engine.run(DEEPENS, format!("o{depth}"), &depth).await;
        let Err(RunError::Result(ResultError::Failed(failure))) = output else {
            panic!("{output:?}");
        };
        assert_eq!(failure.kind, FailureKind::Output);
    }
    assert!(engine.get("a").await.unwrap().is_none());
}
