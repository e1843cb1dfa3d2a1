//! What an attempt emitted that was not the last: kept, and marked as abandoned.

use crate::{Seen, TASK, good, in_time, items, memory, next, on, some, whole};
use outlive::{Ctx, HandlerError, OnConflict, Reply, RetryPolicy, StreamEvent, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::gate::Gate;
use std::sync::Arc;
use std::time::Duration;

/// Emits 1 and 2, and fails up to the attempt its input says.
async fn failing(ctx: Ctx<u32>, until: u32) -> Result<u32, HandlerError> {
    for n in 1..=2 {
        ctx.emit(n).await?;
    }
    if ctx.attempt() <= until && ctx.run() == 1 {
        return Err("not yet".into());
    }
    Ok(until)
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_attempt_a_reader_can_tell_what_was_abandoned() {
    let engine = on(&memory()).task(TASK, failing).open().await.unwrap();
    let run = engine.start(TASK, "a", &2).await.unwrap();
    let mut present = run.stream(0);
    run.result().await.unwrap();
    let mut seen = items(1, [1, 2]);
    seen.push(Seen::Reset(3));
    seen.extend(items(4, [1, 2]));
    seen.push(Seen::Reset(6));
    seen.extend(items(7, [1, 2]));
    seen.push(Seen::End(8));
    assert_eq!(whole(&mut present).await, seen);
    assert_eq!(whole(&mut run.stream(0)).await, seen);
    let mut from_the_reset = run.stream(5);
    let reset = good(in_time(from_the_reset.next()).await);
    let StreamEvent::Reset {
        run, turn, attempt, ..
    } = reset
    else {
        panic!("{reset:?}");
    };
    assert_eq!((run, turn, attempt), (1, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_the_end_abandons_the_run_before() {
    const ONCE: TaskDef<u32, u32, u32> = TASK.retry(RetryPolicy::none());
    let engine = on(&memory()).task(ONCE, failing).open().await.unwrap();
    engine.run(ONCE, "a", &1).await.unwrap_err();
    let retried = engine.retry(ONCE, "a").await.unwrap();
    retried.result().await.unwrap();
    let mut seen = items(1, [1, 2]);
    seen.push(Seen::Reset(3));
    seen.extend(items(4, [1, 2]));
    seen.push(Seen::End(5));
    assert_eq!(whole(&mut retried.stream(0)).await, seen);
}

#[tokio::test(start_paused = true)]
async fn another_input_abandons_nothing() {
    let handler = |ctx: Ctx<u32>, n: u32| async move {
        ctx.emit(n).await?;
        if n == 9 {
            return Ok(Reply::output(n));
        }
        Ok::<_, HandlerError>(Reply::suspend(n, "more"))
    };
    let engine = on(&memory()).task(TASK, handler).open().await.unwrap();
    for n in [1, 9] {
        engine.run(TASK, "a", &n).await.unwrap();
    }
    let restart = engine.start(TASK, "a", &9).on_conflict(OnConflict::Restart);
    let run = restart.await.unwrap();
    run.result().await.unwrap();
    let mut seen = items(1, [1, 9, 9]);
    seen.push(Seen::End(3));
    assert_eq!(whole(&mut run.stream(0)).await, seen);
}

/// Emits 1, comes to the gate, emits 2.
fn held(gate: &Gate) -> impl Fn(Ctx<u32>, u32) -> Held + Send + Sync + 'static + use<> {
    let gate = gate.clone();
    move |ctx, _| {
        let gate = gate.clone();
        Box::pin(async move {
            ctx.emit(1).await?;
            gate.pass().await;
            ctx.emit(2).await?;
            Ok(0)
        })
    }
}

type Held = std::pin::Pin<Box<dyn Future<Output = Result<u32, HandlerError>> + Send>>;

async fn life(store: &Arc<MemStore>, gate: &Gate) -> outlive::Engine {
    on(store).task(TASK, held(gate)).open().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_reader_goes_on_and_can_tell_what_was_abandoned() {
    let (store, gate) = (memory(), Gate::closed());
    let engine = life(&store, &gate).await;
    let run = engine.start(TASK, "a", &0).await.unwrap();
    gate.came(1).await;
    let mut stream = run.stream(0);
    assert_eq!(next(&mut stream).await, Seen::Item(1, 1));
    engine.shutdown(Duration::ZERO).await;
    let stopped = in_time(stream.next()).await;
    assert!(
        matches!(stopped, Some(Err(outlive::StreamError::ShuttingDown))),
        "{stopped:?}"
    );
    assert!(in_time(stream.next()).await.is_none());

    let engine = life(&store, &gate).await;
    gate.came(1).await;
    let mut stream = engine.stream(TASK, "a", stream.position()).await.unwrap();
    assert_eq!(
        some(&mut stream, 2).await,
        [Seen::Reset(2), Seen::Item(3, 1)]
    );
    gate.let_through(1);
    assert_eq!(whole(&mut stream).await, [Seen::Item(4, 2), Seen::End(4)]);
}

/// Nothing was emitted, so nothing is abandoned; and an attempt that emits nothing still says what is.
#[tokio::test(start_paused = true)]
async fn only_what_was_emitted_is_abandoned() {
    let handler = |ctx: Ctx<u32>, _| async move {
        match ctx.attempt() {
            1 => Err("no".into()),
            2 => {
                ctx.emit(2).await?;
                Err("no".into())
            }
            _ => Ok::<u32, HandlerError>(0),
        }
    };
    let engine = on(&memory()).task(TASK, handler).open().await.unwrap();
    let run = engine.start(TASK, "a", &0).await.unwrap();
    run.result().await.unwrap();
    let seen = [Seen::Item(1, 2), Seen::Reset(2), Seen::End(2)];
    assert_eq!(whole(&mut run.stream(0)).await, seen);
}
