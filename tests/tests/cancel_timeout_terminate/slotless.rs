//! What ends without a slot: a turn that waits for one need not get it to come to its end.

use crate::{NEVER, NO_GRACE, TICK, in_time, known, on, opened, secs};
use outlive::{
    Builder, Ctx, Ended, Engine, HandlerError, ResultError, RetryPolicy, Status, TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::Gate;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// Fails once, then would wait for ever; its time is up 10 s after it began.
const FAILING: TaskDef<u32, u32> = TaskDef::new("failing")
    .timeout(secs(10))
    .grace(secs(3))
    .retry(
        RetryPolicy::fixed()
            .attempts(2)
            .initial(secs(5))
            .jitter(false),
    );
const HELD: TaskDef<u32, u32> = TaskDef::new("held");

/// Handlers that come to the gate and never end, and one that fails at its first attempt.
fn handlers(builder: Builder, gate: &Gate) -> Builder {
    let builder = builder.task(FAILING, |ctx: Ctx, _| async move {
        if ctx.attempt() == 1 {
            return Err("no".into());
        }
        std::future::pending::<Result<u32, HandlerError>>().await
    });
    let gate = gate.clone();
    builder.task(HELD, move |_: Ctx, _| {
        let gate = gate.clone();
        async move {
            gate.arrive();
            std::future::pending::<Result<u32, HandlerError>>().await
        }
    })
}

/// A turn in back-off whose slot somebody else had taken meanwhile was stopped only when that one ended, days later.
#[tokio::test(start_paused = true)]
async fn a_time_out_that_comes_while_its_turn_waits_for_a_slot_is_told_in_time() {
    let gate = Gate::closed();
    let engine = opened(handlers(Engine::in_memory(), &gate).max_running(1)).await;
    let began = Instant::now();
    let run = engine.start(FAILING, "a", &1).await.unwrap();
    outlive_tests::gate::until(async || known(engine.get("a").await).status == Status::Pending)
        .await;
    engine.start(HELD, "b", &1).await.unwrap();
    in_time(gate.came(1)).await;
    let told = in_time(run.result()).await;
    assert!(
        matches!(
            told,
            Err(ResultError::Terminated {
                timed_out: true,
                ..
            })
        ),
        "{told:?}"
    );
    let late = began.elapsed().saturating_sub(secs(10));
    assert!(late <= secs(1) + TICK, "{late:?} after its time was up");
    assert_eq!(known(engine.get("b").await).status, Status::InProgress);
}

/// As long as its definition's own limit holds it up, too.
#[tokio::test(start_paused = true)]
async fn a_time_out_is_told_in_time_where_a_definition_allows_itself_too_few() {
    const ONE: TaskDef<u32, u32> = FAILING.concurrency(1);
    let engine = Engine::in_memory().task(ONE, |ctx: Ctx, n| async move {
        if n == 1 && ctx.attempt() == 1 {
            return Err("no".into());
        }
        std::future::pending::<Result<u32, HandlerError>>().await
    });
    let engine = opened(engine).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    outlive_tests::gate::until(async || known(engine.get("a").await).status == Status::Pending)
        .await;
    engine.start(ONE, "b", &2).timeout(NEVER).await.unwrap();
    in_time(run.result()).await.unwrap_err();
    assert_eq!(known(engine.get("b").await).status, Status::InProgress);
}

/// What the process left running at its death waits for a slot after the open; a cancel of it waited for one as well.
#[tokio::test(start_paused = true)]
async fn a_cancel_of_what_waits_to_be_entered_again_takes_effect_at_once() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = opened(handlers(on(&store), &gate)).await;
    for id in ["a", "b"] {
        engine.start(HELD, id, &1).await.unwrap();
    }
    in_time(gate.came(2)).await;
    engine.shutdown(NO_GRACE).await;

    let engine = handlers(on(&store), &gate).max_running(1);
    let engine = engine.open().await.unwrap();
    in_time(gate.came(1)).await;
    assert_eq!(known(engine.get("b").await).status, Status::InProgress);
    let run = engine.attach(HELD, "b").await.unwrap();
    engine.cancel("b", "enough").await.unwrap();
    let task = known(engine.get("b").await);
    assert_eq!(task.status, Status::Completed);
    assert!(matches!(task.ended, Some(Ended::Cancelled { .. })));
    let told = in_time(run.result()).await;
    assert!(
        matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
    engine.terminate("a", "make room").await.unwrap();
    engine.recovery().await;
    assert_eq!(gate.uncounted(), 0, "nobody entered it");
}

/// Where nobody of a definition is entered, what was read of those that wait still holds: each look read up to 256 rows
/// again, however little had changed.
#[tokio::test(start_paused = true)]
async fn waiting_tasks_are_read_once_while_none_of_their_definition_is_entered() {
    const ONE: TaskDef<u32, u32> = HELD.concurrency(1);
    const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    const WAITING: u64 = 50;
    let faulty = Faulty::on(&Arc::new(MemStore::new()));
    let builder = Engine::on_store(Arc::<Faulty>::clone(&faulty)).inline();
    let engine = builder
        .task(ONE, |_: Ctx, _| {
            std::future::pending::<Result<u32, HandlerError>>()
        })
        .task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
    let engine = opened(engine).await;
    for n in 0..=WAITING {
        engine.start(ONE, format!("t{n}"), &1).await.unwrap();
    }
    let before = faulty.gets.load(Ordering::SeqCst);
    // Each of these wakes the loop, which looks for time-outs once a second.
    for n in 0..100 {
        tokio::time::sleep(secs(2)).await;
        let echo = engine.start(ECHO, format!("e{n}"), &n).start_in(secs(1));
        in_time(echo.await.unwrap().result()).await.unwrap();
    }
    let read = faulty.gets.load(Ordering::SeqCst) - before;
    assert!(read < 10 * WAITING, "{read} rows were read");
}

/// A waiting task has no time-out before its first claim; it has one when it waits again.
#[tokio::test(start_paused = true)]
async fn a_time_out_that_began_after_its_task_was_looked_at_is_told_in_time() {
    const FIRST: TaskDef<u32, u32> = TaskDef::new("first");
    let gate = Gate::closed();
    let opens = gate.clone();
    let builder = handlers(Engine::in_memory(), &gate).task(FIRST, move |_: Ctx, _| {
        let gate = opens.clone();
        async move {
            gate.pass().await;
            Ok::<u32, HandlerError>(0)
        }
    });
    let engine = opened(builder.max_running(1)).await;
    engine.start(FIRST, "first", &1).await.unwrap();
    in_time(gate.came(1)).await;
    let run = engine.start(FAILING, "a", &1).await.unwrap();
    // It is looked at while it waits for its first claim; then it fails, and somebody else has the slot.
    tokio::time::sleep(secs(5)).await;
    engine.start(HELD, "b", &1).await.unwrap();
    gate.let_through(1);
    in_time(gate.came(1)).await;
    let began = Instant::now();
    in_time(run.result()).await.unwrap_err();
    assert!(began.elapsed() <= secs(12), "{:?}", began.elapsed());
    assert_eq!(known(engine.get("b").await).status, Status::InProgress);
}
