//! Steps that may run only once: begun first, and never again by themselves.

use super::{ID, NO_GRACE, TASK, World, task, until};
use outlive::{
    ControlError, Ctx, Engine, HandlerError, Reconciled, Release, Resolution, ResolveError,
    ResultError, RetryPolicy, StepOptions, WaitReason, WaitsFor,
};
use outlive_tests::faulty::Faulty;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const ONCE: StepOptions = StepOptions::new().once();

/// Pays, and is interrupted at the gate in its first life.
async fn pay(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    let paid = ctx.step_with("pay", ONCE, |s| {
        let world = world.clone();
        async move {
            world.ran.add(s.effect_id());
            world.gate.pass().await;
            Ok::<_, std::io::Error>("paid".to_owned())
        }
    });
    Ok(paid.await?)
}

/// The task after its process went away in the middle of the payment.
async fn interrupted(world: &World) {
    let engine = world.open(pay).await;
    engine.start(TASK, ID, &0).await.unwrap();
    world.gate.came(1).await;
    engine.shutdown(NO_GRACE).await;
}

fn unknown() -> Option<WaitReason> {
    Some(WaitReason::UnknownOutcome { step: "pay".into() })
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_step_is_not_run_again_and_waits_for_somebody_who_knows() {
    let world = World::new();
    interrupted(&world).await;
    let engine = world.open(pay).await;
    let seen = until(&engine, |task| task.wait.is_some()).await;
    assert_eq!(seen.wait, unknown());
    assert_eq!(world.ran.len(), 1, "it was paid once, or not at all");
    let why = engine.explain(ID).await.unwrap().unwrap();
    assert_eq!(why.waits_for, WaitsFor::StepOutcome { step: "pay".into() });
    assert_eq!(why.release, Release::Resolve);
    let steps = engine.steps(ID).await.unwrap();
    assert_eq!((steps.len(), &steps[0].result), (1, &None));

    let run = engine.attach(TASK, ID).await.unwrap();
    let done = Resolution::done(&"paid by hand");
    engine.resolve(ID, "pay", done).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "paid by hand");
    assert_eq!(world.ran.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_happen_runs_and_what_is_given_up_fails_the_task() {
    let world = World::new();
    interrupted(&world).await;
    let engine = world.open(pay).await;
    until(&engine, |task| task.wait == unknown()).await;
    engine
        .resolve(ID, "pay", Resolution::not_done())
        .await
        .unwrap();
    world.gate.came(1).await;
    world.gate.let_through(1);
    let run = engine.attach(TASK, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "paid");
    let effects = world.ran.take();
    assert_eq!(effects[0], effects[1], "under one idempotency key");

    let other = World::new();
    interrupted(&other).await;
    let engine = other.open(pay).await;
    until(&engine, |task| task.wait == unknown()).await;
    let run = engine.attach(TASK, ID).await.unwrap();
    let failed = Resolution::failed("the bank does not answer");
    engine.resolve(ID, "pay", failed).await.unwrap();
    let told = run.result().await;
    assert!(
        matches!(&told, Err(ResultError::Failed(failure)) if failure.message.contains("bank")),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_step_that_is_waited_for_is_resolved() {
    let world = World::new();
    interrupted(&world).await;
    let engine = world.open(pay).await;
    let before = until(&engine, |task| task.wait == unknown()).await;
    let other = engine.resolve(ID, "other", Resolution::not_done()).await;
    assert!(matches!(
        other,
        Err(ResolveError::Control(ControlError::Conflict { .. }))
    ));
    let stale = engine.resolve(ID, "pay", Resolution::not_done());
    let stale = stale.if_etag(before.etag - 1).await;
    assert!(matches!(
        stale,
        Err(ResolveError::Control(
            ControlError::PreconditionFailed { .. }
        ))
    ));
    assert_eq!(task(&engine).await, before);
    assert!(engine.retry(TASK, ID).await.is_err(), "nor by a retry");
    assert_eq!(task(&engine).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_can_ask_the_outside_world_goes_on_by_itself() {
    for (known, result, payments) in [
        (Reconciled::Done("paid before".to_owned()), "paid before", 1),
        (Reconciled::NotDone, "paid", 2),
    ] {
        let world = World::new();
        interrupted(&world).await;
        world.gate.let_through(1);
        let engine = world.open(move |world, ctx: Ctx, _| {
            let known = known.clone();
            async move {
                let run = |s: outlive::StepCtx| {
                    let world = world.clone();
                    async move {
                        world.ran.add(s.effect_id());
                        Ok::<_, std::io::Error>("paid".to_owned())
                    }
                };
                let ask = |_| async { Ok(known) };
                Ok(ctx.step_reconciled("pay", ONCE, run, ask).await?)
            }
        });
        let engine = engine.await;
        let run = engine.attach(TASK, ID).await.unwrap();
        assert_eq!(run.result().await.unwrap(), result);
        assert_eq!(world.ran.len(), payments, "{result}");
    }
}

/// That it begins is on disk already: it was put down once more, in a commit of its own.
#[tokio::test(start_paused = true)]
async fn a_step_that_did_not_happen_runs_without_a_further_commit() {
    let world = World::new();
    interrupted(&world).await;
    let faulty = Faulty::on(&world.store);
    let (commits, ran) = (Arc::clone(&faulty), world.ran.clone());
    let count = move |what: &str| {
        let count = commits.commits.load(Ordering::SeqCst);
        ran.add(format!("{what} {count}"));
    };
    world.ran.take();
    let handler = move |ctx: Ctx, _| {
        let count = count.clone();
        async move {
            let ask = async |_| {
                count("asked");
                Ok::<_, std::io::Error>(Reconciled::NotDone)
            };
            let run = |_| {
                count("ran");
                std::future::ready(Ok::<_, std::io::Error>("paid".to_owned()))
            };
            Ok::<_, HandlerError>(ctx.step_reconciled("pay", ONCE, run, ask).await?)
        }
    };
    let builder = Engine::on_store(faulty).inline().task(TASK, handler);
    let engine = builder.open().await.unwrap();
    let run = engine.attach(TASK, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "paid");
    let seen = world.ran.take();
    let asked = seen[0].strip_prefix("asked ").unwrap();
    assert_eq!(seen[1], format!("ran {asked}"));
}

/// An error means that it did not happen; a time-out, a panic and a dropped future mean that nobody knows.
#[tokio::test(start_paused = true)]
async fn an_error_is_known_and_everything_else_is_not() {
    let world = World::new();
    let engine = world.open(async |world: World, ctx: Ctx, how| {
        let limited = ONCE.timeout(Duration::from_secs(1));
        let step = ctx.step_with("pay", limited, |_| {
            let world = world.clone();
            async move {
                world.ran.add("paid".to_owned());
                match how {
                    0 => Err("declined"),
                    1 => std::future::pending().await,
                    2 => panic!("broken"),
                    _ => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        Ok(())
                    }
                }
            }
        });
        if how == 3 {
            tokio::select! {
                _ = step => {}
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
            return Err("dropped".into());
        }
        step.await?;
        Ok("paid".to_owned())
    });
    let engine = engine.await;
    for (how, tries) in [(0, 9), (1, 1), (2, 1), (3, 1)] {
        let id = format!("task-{how}");
        engine.start(TASK, &id, &how).await.unwrap();
        outlive_tests::gate::until(async || {
            let task = engine.get(&id).await.unwrap().unwrap();
            task.wait == unknown() || task.ended.is_some()
        })
        .await;
        let task = engine.get(&id).await.unwrap().unwrap();
        assert_eq!(task.wait == unknown(), how > 0, "{how}");
        assert_eq!(world.ran.take().len(), tries, "{how}");
    }
}

/// It waited for somebody, although the program could have asked.
#[tokio::test(start_paused = true)]
async fn a_step_that_takes_too_long_is_asked_about_at_once() {
    let world = World::new();
    let engine = world.open(async |world: World, ctx: Ctx, _| {
        let limited = ONCE.timeout(Duration::from_secs(1));
        let paid = ctx.step_reconciled(
            "pay",
            limited,
            |_| std::future::pending::<Result<String, std::io::Error>>(),
            |_| async { Ok(Reconciled::Done("paid, says the bank".to_owned())) },
        );
        let paid = paid.await?;
        let twice = limited.retry(RetryPolicy::fixed().attempts(2));
        let other = ctx.step_reconciled(
            "other",
            twice,
            |s| {
                let world = world.clone();
                async move {
                    match s.attempt() {
                        1 => std::future::pending().await,
                        _ => world.work("other").await,
                    }
                }
            },
            |_| async { Ok(Reconciled::NotDone) },
        );
        Ok(format!("{paid}; {}", other.await?))
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    let result = tokio::time::timeout(Duration::from_secs(60), run.result()).await;
    let result = result.expect("nobody is waited for").unwrap();
    assert_eq!(result, "paid, says the bank; other");
}

/// What had failed before was unknown after the death, although its function had said that it did not happen.
#[tokio::test(start_paused = true)]
async fn a_death_between_two_tries_leaves_nothing_unknown() {
    async fn tries(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let hourly = RetryPolicy::fixed()
            .attempts(9)
            .initial(Duration::from_secs(3600));
        let paid = ctx.step_with("pay", ONCE.retry(hourly), |_| {
            let world = world.clone();
            async move {
                world.work("pay").await.unwrap();
                match world.ran.len() {
                    1 => Err("declined"),
                    _ => Ok("paid".to_owned()),
                }
            }
        });
        Ok(paid.await?)
    }
    let world = World::new();
    let engine = world.open(tries).await;
    engine.start(TASK, ID, &0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    engine.shutdown(NO_GRACE).await;

    let engine = world.open(tries).await;
    let run = engine.attach(TASK, ID).await.unwrap();
    let result = tokio::time::timeout(Duration::from_secs(60), run.result()).await;
    assert_eq!(result.expect("nobody is waited for").unwrap(), "paid");
}
