//! Recorded steps of handlers that block: with the guarantees of all others, on the handler's own thread.

use super::{ID, NO_GRACE, TASK, World, until};
use outlive::{
    Builder, Ctx, Engine, HandlerError, Reconciled, Resolution, RetryPolicy, StepError,
    StepOptions, WaitReason,
};
use outlive_storage::Store;
use outlive_tests::faulty::Faulty;
use outlive_tests::latch::Latch;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const ONCE: StepOptions = StepOptions::new().once();
const STEPS: u32 = 4;

type Called = Result<String, HandlerError>;

/// An engine on threads of its own whose handler is this.
async fn open(
    world: &World,
    handler: impl Fn(World, Ctx, u32) -> Called + Send + Sync + 'static,
) -> Engine {
    let builder = Engine::on_store(Arc::clone(&world.store) as Arc<dyn Store>);
    let engine = blocking(builder, world, handler).open().await.unwrap();
    engine.recovery().await;
    engine
}

fn blocking(
    builder: Builder,
    world: &World,
    handler: impl Fn(World, Ctx, u32) -> Called + Send + Sync + 'static,
) -> Builder {
    let world = world.clone();
    builder.blocking(TASK, move |ctx, n| handler(world.clone(), ctx, n))
}

/// Each step builds on the ones before it.
fn pipeline(world: World, ctx: Ctx, fails: u32) -> Called {
    let mut text = String::new();
    for stage in 0..STEPS {
        text = ctx.step_blocking(("stage", stage), || {
            world.ran.add(format!("{stage}"));
            Ok::<_, std::io::Error>(format!("{text}{stage}"))
        })?;
        if ctx.attempt() <= fails && stage == 1 {
            return Err(HandlerError::from("once more").retry_after(Duration::ZERO));
        }
    }
    Ok(text)
}

#[tokio::test]
async fn a_recorded_step_of_a_blocking_handler_never_runs_again() {
    let world = World::new();
    let engine = open(&world, pipeline).await;
    let run = engine.start(TASK, ID, &2).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "0123");
    assert_eq!(world.ran.take(), ["0", "1", "2", "3"], "in three attempts");
    let steps = engine.steps(ID).await.unwrap();
    assert_eq!(steps[3].result.as_deref(), Some("\"0123\""));
}

/// A death before or after each commit of a task of blocking steps.
#[tokio::test]
async fn a_death_at_any_commit_of_a_blocking_handler_runs_no_recorded_step_again() {
    let mut deaths = 0;
    for (answer_lost, commit) in [false, true]
        .into_iter()
        .flat_map(|lost| (1..9).map(move |n| (lost, n)))
    {
        let world = World::new();
        let faulty = Faulty::on(&world.store);
        faulty.broken_from.store(commit, Ordering::SeqCst);
        faulty.answer_lost.store(answer_lost, Ordering::SeqCst);
        let builder = Engine::on_store(faulty).store_patience(Duration::ZERO);
        let engine = blocking(builder, &world, pipeline).open().await.unwrap();
        let died = match engine.start(TASK, ID, &0).input_id("one").await {
            Ok(run) => run.result().await.is_err(),
            Err(_) => true,
        };
        engine.shutdown(NO_GRACE).await;
        deaths += u32::from(died);
        let engine = open(&world, pipeline).await;
        let run = engine.start(TASK, ID, &0).input_id("one").await.unwrap();
        assert_eq!(run.result().await.unwrap(), "0123", "commit {commit}");
        let twice = world.ran.take().len() - STEPS as usize;
        assert!(
            twice <= usize::from(died && !answer_lost),
            "commit {commit}: {twice}"
        );
        engine.shutdown(NO_GRACE).await;
    }
    assert!(deaths > 2 * STEPS, "{deaths} deaths");
}

#[tokio::test]
async fn a_key_used_twice_puts_a_blocking_turn_aside_and_the_call_returns() {
    let world = World::new();
    let engine = open(&world, |world, ctx, _| {
        ctx.step_blocking("same", || Ok::<_, std::io::Error>(1))?;
        let again = ctx.step_blocking("same", || Ok::<_, std::io::Error>(2));
        world.ran.add(format!("{again:?}"));
        Ok(format!("{}", again?))
    });
    let engine = engine.await;
    engine.start(TASK, ID, &0).await.unwrap();
    let seen = until(&engine, |task| task.wait.is_some()).await;
    assert!(matches!(&seen.wait, Some(WaitReason::DuplicateStep { key }) if &**key == "same"));
    assert_eq!(world.ran.some().await, ["Err(TurnOver)"]);
}

#[tokio::test]
async fn a_recorded_result_of_another_type_puts_a_blocking_turn_aside() {
    let world = World::new();
    let (latch, opens) = Latch::closed();
    let held = latch.clone();
    let engine = open(&world, move |_, ctx, _| {
        ctx.step_blocking("a", || Ok::<_, std::io::Error>(1_u32))?;
        held.wait();
        Ok(String::new())
    });
    let engine = engine.await;
    engine.start(TASK, ID, &0).await.unwrap();
    came(&latch).await;
    engine.shutdown(NO_GRACE).await;
    drop(opens);
    engine.abandon();
    let engine = open(&world, |_, ctx, _| {
        Ok(ctx.step_blocking("a", || Ok::<_, std::io::Error>(String::new()))?)
    });
    let engine = engine.await;
    let seen = until(&engine, |task| task.wait.is_some()).await;
    assert!(
        matches!(&seen.wait, Some(WaitReason::Undecodable { what, .. }) if &**what == "step a")
    );
}

/// Waits until a handler waits, without holding up the runtime.
async fn came(latch: &Latch) {
    let latch = latch.clone();
    let waited = tokio::task::spawn_blocking(move || latch.waited_for_by(1));
    waited.await.unwrap();
}

/// Pays, and is interrupted in its first life.
fn interrupted_payment(latch: Latch) -> impl Fn(World, Ctx, u32) -> Called + Send + Sync {
    move |world, ctx, _| {
        let paid = ctx.step_blocking_with("pay", ONCE, |s| {
            world.ran.add(s.effect_id());
            latch.wait();
            Ok::<_, std::io::Error>("paid".to_owned())
        });
        Ok(paid?)
    }
}

/// The task after its engine was given up in the middle of the payment.
async fn interrupted(world: &World) {
    let (latch, _opens) = Latch::closed();
    let engine = open(world, interrupted_payment(latch.clone())).await;
    engine.start(TASK, ID, &0).await.unwrap();
    came(&latch).await;
    engine.shutdown(NO_GRACE).await;
    engine.abandon();
}

#[tokio::test]
async fn an_interrupted_blocking_step_that_may_run_once_waits_for_somebody_who_knows() {
    let world = World::new();
    interrupted(&world).await;
    // Opened at once.
    let (latch, _) = Latch::closed();
    let engine = open(&world, interrupted_payment(latch)).await;
    let seen = until(&engine, |task| task.wait.is_some()).await;
    assert!(matches!(&seen.wait, Some(WaitReason::UnknownOutcome { step }) if &**step == "pay"));
    assert_eq!(world.ran.len(), 1, "it was paid once, or not at all");
    let run = engine.attach(TASK, ID).await.unwrap();
    let done = Resolution::done(&"paid by hand");
    engine.resolve(ID, "pay", done).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "paid by hand");
}

#[tokio::test]
async fn a_blocking_program_that_can_ask_the_outside_world_goes_on_by_itself() {
    for (known, result, payments) in [
        (Reconciled::Done("paid before".to_owned()), "paid before", 1),
        (Reconciled::NotDone, "paid", 2),
    ] {
        let world = World::new();
        interrupted(&world).await;
        let engine = open(&world, move |world, ctx, _| {
            let run = |s: outlive::StepCtx| {
                world.ran.add(s.effect_id());
                Ok::<_, std::io::Error>("paid".to_owned())
            };
            Ok(ctx.step_blocking_reconciled("pay", ONCE, run, |_| Ok(known.clone()))?)
        });
        let engine = engine.await;
        let run = engine.attach(TASK, ID).await.unwrap();
        assert_eq!(run.result().await.unwrap(), result);
        assert_eq!(world.ran.len(), payments, "{result}");
    }
}

#[tokio::test]
async fn a_failed_blocking_step_is_tried_again_and_an_error_of_one_that_may_run_once_is_known() {
    let world = World::new();
    let engine = open(&world, |world, ctx, _| {
        let retry = RetryPolicy::fixed()
            .attempts(3)
            .initial(Duration::from_millis(1));
        let retried = ONCE.retry(retry);
        let third = ctx.step_blocking_with("third", retried, |s| match s.attempt() {
            3 => Ok(3),
            n => {
                world.ran.add(format!("{n}"));
                Err("not yet")
            }
        });
        let failed = ctx.step_blocking_with("never", retried, |_| Err::<u32, _>("never"));
        assert!(matches!(
            failed,
            Err(StepError::Failed {
                error: "never",
                attempts: 3
            })
        ));
        Ok(format!("{}", third.map_err(|error| error.to_string())?))
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "3");
    assert_eq!(world.ran.take(), ["1", "2"]);
    assert_eq!(
        engine.steps(ID).await.unwrap().len(),
        1,
        "nothing is left of the failed one"
    );
}

/// What a step calls may wait for the engine itself, or record steps of its own.
#[tokio::test]
async fn a_blocking_step_may_wait_for_the_engine_and_its_threads_may_record() {
    let world = World::new();
    let engine = open(&world, |world, ctx, _| {
        let outer = ctx.step_blocking("outer", || {
            let inner = ctx.step_blocking("inner", || Ok::<_, std::io::Error>(1));
            inner.map_err(|error| error.to_string())
        })?;
        let ctx = ctx.clone();
        let thread =
            std::thread::spawn(move || ctx.step_blocking("beside", || Ok::<_, std::io::Error>(2)));
        let beside = thread.join().map_err(|_| "it panicked")??;
        world.ran.add(format!("{outer}{beside}"));
        Ok(String::new())
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    run.result().await.unwrap();
    assert_eq!(world.ran.take(), ["12"]);
    assert_eq!(engine.steps(ID).await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_step_in_an_async_handler_is_refused_and_runs_nothing() {
    let world = World::new();
    let engine = world.open(async |world: World, ctx: Ctx, _| {
        let refused = ctx.step_blocking("a", || {
            world.ran.add("ran".to_owned());
            Ok::<_, std::io::Error>(1)
        });
        assert!(matches!(refused, Err(StepError::InsideRuntime)));
        Ok(ctx.step("a", || world.work("awaited")).await?)
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "awaited");
    assert_eq!(world.ran.take(), ["awaited"]);
}
