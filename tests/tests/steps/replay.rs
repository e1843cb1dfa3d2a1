//! What a later attempt finds of the earlier ones.

use super::{ID, NO_GRACE, TASK, World, task, until};
use outlive::{
    Ctx, HandlerError, ResultError, RetryPolicy, StepError, StepOptions, TaskDef, WaitReason,
};
use std::sync::Arc;
use std::time::Duration;

/// Two steps, of which the second is followed by an error in the first `input` attempts.
async fn two(world: World, ctx: Ctx, failures: u32) -> Result<String, HandlerError> {
    let one = ctx.step("one", || world.work("one")).await?;
    let two = ctx.step("two", || world.work("two")).await?;
    if ctx.attempt() <= failures {
        return Err("not yet".into());
    }
    Ok(format!("{one}, {two}"))
}

#[tokio::test(start_paused = true)]
async fn a_recorded_step_never_runs_again() {
    let world = World::new();
    let engine = world.open(two).await;
    let run = engine.start(TASK, ID, &2).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "one, two");
    assert_eq!(task(&engine).await.attempt, 3);
    assert_eq!(world.ran.take(), ["one", "two"]);
    let steps = engine.steps(ID).await.unwrap();
    let keys: Vec<&str> = steps.iter().map(|step| &*step.key).collect();
    assert_eq!(keys, ["one", "two"]);
    assert_eq!(steps[1].result.as_deref(), Some("\"two\""));
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_is_not_recorded_and_runs_again_in_the_next_attempt() {
    let world = World::new();
    let engine = world.open(async |world: World, ctx: Ctx, failures| {
        let run = || async {
            world.ran.add(format!("try {}", ctx.attempt()));
            match ctx.attempt() <= failures {
                true => Err("not yet"),
                false => Ok("done".to_owned()),
            }
        };
        Ok(ctx.step("step", run).await?)
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &1).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "done");
    assert_eq!(world.ran.take(), ["try 1", "try 2"]);
}

/// Numbering steps by their order gave items of a changed list the results of others.
#[tokio::test(start_paused = true)]
async fn steps_beside_each_other_never_get_the_result_of_another_item() {
    let world = World::new();
    let items = |attempt: u32| match attempt {
        1 => vec![1, 2, 3, 4],
        // Reordered, one gone, one new.
        _ => vec![4, 5, 2, 1],
    };
    let engine = world.open(move |world, ctx, _| async move {
        let steps = items(ctx.attempt()).into_iter().map(|item: u32| {
            let (world, ctx) = (world.clone(), ctx.clone());
            async move {
                let name = item.to_string();
                let result = ctx.step(("item", item), || world.work(&name)).await?;
                Ok::<_, HandlerError>((name, result))
            }
        });
        let mut results = Vec::new();
        for result in futures_of(steps).await {
            results.push(result?);
        }
        assert!(results.iter().all(|(item, result)| item == result));
        if ctx.attempt() == 1 {
            return Err("again".into());
        }
        Ok(results.len().to_string())
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "4");
    let mut ran = world.ran.take();
    ran.sort();
    assert_eq!(ran, ["1", "2", "3", "4", "5"], "each once");
}

/// All of them at once.
async fn futures_of<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    let mut set: Vec<_> = futures.map(|future| tokio::spawn(future)).collect();
    let mut outputs = Vec::new();
    for task in &mut set {
        outputs.push(task.await.unwrap());
    }
    outputs
}

#[tokio::test(start_paused = true)]
async fn a_key_used_twice_puts_the_task_aside_until_the_program_is_corrected() {
    let world = World::new();
    let engine = world.open(async |world: World, ctx: Ctx, _| {
        let (one, two) = tokio::join!(
            ctx.step("same", || world.work("first")),
            ctx.step("same", || world.work("second")),
        );
        Ok(format!("{} {}", one?, two?))
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    let seen = until(&engine, |task| task.wait.is_some()).await;
    assert_eq!(
        seen.wait,
        Some(WaitReason::DuplicateStep { key: "same".into() })
    );
    assert_eq!(seen.attempt, 0, "it is nobody's failure");
    assert_eq!(world.ran.take(), ["first"], "and what ran is recorded");
    engine.shutdown(NO_GRACE).await;
    drop(run);

    let corrected = world.open(async |world: World, ctx: Ctx, _| {
        let one = ctx.step("same", || world.work("first")).await?;
        let two = ctx.step("other", || world.work("second")).await?;
        Ok(format!("{one} {two}"))
    });
    let corrected = corrected.await;
    let run = corrected.retry(TASK, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "first second");
    assert_eq!(world.ran.take(), ["second"]);
}

/// A step under way beside the one that parks its task was dropped, and ran again.
#[tokio::test(start_paused = true)]
async fn a_task_is_put_aside_when_the_steps_under_way_are_recorded() {
    let world = World::new();
    let engine = world.open(async |world: World, ctx: Ctx, _| {
        ctx.step("same", || world.work("same")).await?;
        let slow = || async {
            world.gate.pass().await;
            world.work("slow").await
        };
        let (slow, _) = tokio::join!(
            ctx.step("slow", slow),
            ctx.step("same", || world.work("same again")),
        );
        Ok(slow?)
    });
    let engine = engine.await;
    engine.start(TASK, ID, &0).await.unwrap();
    world.gate.came(1).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(task(&engine).await.wait, None, "it waits for the slow one");
    world.gate.let_through(1);
    until(&engine, |task| task.wait.is_some()).await;
    let steps = engine.steps(ID).await.unwrap();
    let keys: Vec<&str> = steps.iter().map(|step| &*step.key).collect();
    assert_eq!(keys, ["same", "slow"]);
}

#[tokio::test(start_paused = true)]
async fn a_recorded_result_of_another_type_parks_the_task_and_names_both_types() {
    let world = World::new();
    let engine = world.open(two).await;
    engine.start(TASK, ID, &9).await.unwrap();
    until(&engine, |task| task.attempt == 1 && task.wait.is_some()).await;
    engine.shutdown(NO_GRACE).await;

    let changed = world.open(async |_, ctx: Ctx, _| {
        let number: u64 = ctx
            .step("one", || async { Ok::<_, std::io::Error>(7) })
            .await?;
        Ok(number.to_string())
    });
    let changed = changed.await;
    let run = changed.attach(TASK, ID).await.unwrap();
    let told = run.result().await;
    let Err(ResultError::Undecodable { what, expected, .. }) = told else {
        panic!("{told:?}");
    };
    assert_eq!(&*what, "step one");
    assert!(expected.starts_with("u64"), "{expected}");
    assert!(expected.contains(std::any::type_name::<String>()));
    assert_eq!(world.ran.take(), ["one", "two"], "nothing ran again");
    changed.shutdown(NO_GRACE).await;

    let mended = world.open(two).await;
    let steps = mended.steps(ID).await.unwrap();
    assert_eq!(steps.len(), 2, "and nothing was lost");
}

#[tokio::test(start_paused = true)]
async fn a_step_is_tried_as_often_and_as_long_as_it_says() {
    let world = World::new();
    let engine = world.open(async |world: World, ctx: Ctx, _| {
        let retried = StepOptions::new().timeout(Duration::from_secs(2)).retry(
            RetryPolicy::fixed()
                .attempts(3)
                .initial(Duration::from_secs(5))
                .jitter(false),
        );
        let result = ctx.step_with("slow", retried, |s| {
            let world = world.clone();
            async move {
                world.ran.add(format!("{} {}", s.key(), s.attempt()));
                match s.attempt() {
                    1 => Err("no"),
                    2 => std::future::pending().await,
                    _ => Ok("late".to_owned()),
                }
            }
        });
        let began = tokio::time::Instant::now();
        let result = result.await?;
        Ok(format!("{result} after {} s", began.elapsed().as_secs()))
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "late after 12 s");
    assert_eq!(world.ran.take(), ["slow 1", "slow 2", "slow 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_step_fails_with_is_told_as_it_is() {
    let world = World::new();
    let engine = world.open(async |_, ctx: Ctx, _| {
        let twice = StepOptions::new().retry(RetryPolicy::fixed().attempts(2));
        let failed = ctx
            .step_with("fails", twice, |_| async { Err::<u32, _>("broken") })
            .await;
        assert!(matches!(
            failed,
            Err(StepError::Failed {
                error: "broken",
                attempts: 2
            })
        ));
        let limit = Duration::from_secs(1);
        let timed = ctx
            .step_with("slow", StepOptions::new().timeout(limit), |_| {
                std::future::pending::<Result<u32, &str>>()
            })
            .await;
        assert!(matches!(timed, Err(StepError::TimedOut { limit: told }) if told == limit));
        let large = ctx
            .step("large", || async {
                Ok::<_, &str>("x".repeat(11 * 1024 * 1024))
            })
            .await;
        assert!(matches!(large, Err(StepError::Result(_))));
        Ok("told".to_owned())
    });
    let engine = engine.await;
    let run = engine.start(TASK, ID, &0).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "told");
    assert_eq!(engine.steps(ID).await.unwrap(), [], "none is recorded");
}

#[tokio::test(start_paused = true)]
async fn a_context_kept_beyond_its_turn_records_nothing() {
    let world = World::new();
    let kept = Arc::new(parking_lot::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let engine = world.open(move |_, ctx, _| {
        let keep = Arc::clone(&keep);
        async move {
            *keep.lock() = Some(ctx);
            Ok("over".to_owned())
        }
    });
    let engine = engine.await;
    engine
        .start(TASK, ID, &0)
        .await
        .unwrap()
        .result()
        .await
        .unwrap();
    let ctx: Ctx = kept.lock().take().unwrap();
    let late = ctx.step("late", || world.work("late")).await;
    assert!(matches!(late, Err(StepError::TurnOver)));
    assert!(world.ran.is_empty());
}

/// A turn of its own has steps of its own; a retry after an end keeps those of the run before, unless told otherwise.
#[tokio::test(start_paused = true)]
async fn a_retry_after_an_end_keeps_the_steps_and_from_start_drops_them() {
    const ONCE: TaskDef<u32, String> = TASK.retry(RetryPolicy::none());
    let world = World::new();
    let engine = world.open(two).await;
    let start = engine.start(ONCE, ID, &1).retry(RetryPolicy::none());
    start.await.unwrap().result().await.unwrap_err();
    assert_eq!(world.ran.take(), ["one", "two"]);
    let again = engine.retry(ONCE, ID).await.unwrap();
    again.result().await.unwrap_err();
    assert!(world.ran.is_empty(), "both are recorded");
    let anew = engine.retry(ONCE, ID).from_start().await.unwrap();
    anew.result().await.unwrap_err();
    assert_eq!(world.ran.take(), ["one", "two"]);
}
