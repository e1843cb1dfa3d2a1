//! Turns that are put aside while steps of theirs do not come to an end.

use super::{ID, TASK, World, task, until};
use outlive::{Builder, Ctx, Engine, HandlerError, RetryPolicy, StepOptions, WaitReason};
use outlive_tests::faulty::Faulty;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The task is put aside for its step "same" within a minute.
async fn is_put_aside<F, Fut>(handler: F)
where
    F: Fn(World, Ctx, u32) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
{
    let engine = World::new().open(handler).await;
    engine.start(TASK, ID, &0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let task = task(&engine).await;
    assert!(
        matches!(&task.wait, Some(WaitReason::DuplicateStep { key }) if &**key == "same"),
        "{task:?}"
    );
}

/// The inner step waited for the end of the turn, which waited for the outer one.
#[tokio::test(start_paused = true)]
async fn a_turn_is_put_aside_for_a_step_within_a_step() {
    is_put_aside(async |world: World, ctx: Ctx, _| {
        ctx.step("same", || world.work("same")).await?;
        let outer = ctx.step("outer", || async {
            let inner = ctx.step("same", || world.work("again")).await;
            inner.map_err(|error| error.to_string())
        });
        Ok(outer.await?)
    })
    .await;
}

/// A step that nobody polls any more never ends.
#[tokio::test(start_paused = true)]
async fn a_turn_is_put_aside_over_a_step_that_is_not_polled_any_more() {
    is_put_aside(async |world: World, ctx: Ctx, _| {
        ctx.step("same", || world.work("same")).await?;
        let slow = ctx.step("slow", || async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            world.work("slow").await
        });
        tokio::pin!(slow);
        tokio::select! {
            slow = &mut slow => return Ok(slow?),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        ctx.step("same", || world.work("again")).await?;
        Ok(slow.await?)
    })
    .await;
}

/// A step between two tries has nothing that could be lost.
#[tokio::test(start_paused = true)]
async fn a_turn_is_put_aside_over_a_step_that_backs_off() {
    is_put_aside(async |world: World, ctx: Ctx, _| {
        let ever = RetryPolicy::fixed()
            .initial(Duration::from_secs(3))
            .attempts(1000);
        let ever = StepOptions::new().retry(ever);
        let fails = ctx.step_with("fails", ever, |_| async { Err::<u32, _>("not yet") });
        ctx.step("same", || world.work("same")).await?;
        let twice = ctx.step("same", || world.work("again"));
        let (_, twice) = tokio::join!(fails, twice);
        Ok(twice?)
    })
    .await;
}

/// It waited for the end of its turn, and its turn for it.
#[tokio::test(start_paused = true)]
async fn a_step_on_a_damaged_row_frees_its_slot() {
    let faulty = Arc::new(Faulty::default());
    let damages = Arc::clone(&faulty);
    let builder: Builder = Engine::on_store(Arc::<Faulty>::clone(&faulty)).inline();
    let handler = move |ctx: Ctx, damaged: u32| {
        let damages = Arc::clone(&damages);
        async move {
            damages.damaged_rows.store(damaged > 0, Ordering::SeqCst);
            let result = ctx.step("a", async || Ok::<_, HandlerError>("done".to_owned()));
            Ok(result.await?)
        }
    };
    let engine = builder
        .max_running(1)
        .task(TASK, handler)
        .open()
        .await
        .unwrap();
    engine.start(TASK, ID, &1).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    faulty.damaged_rows.store(false, Ordering::SeqCst);
    let run = engine.start(TASK, "b", &0).await.unwrap();
    let result = tokio::time::timeout(Duration::from_secs(60), run.result()).await;
    assert_eq!(result.expect("a slot is free").unwrap(), "done");
}

/// A future that is not polled any more kept all later steps from being sent.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_not_polled_any_more_holds_up_no_other() {
    // Somewhere among these the first poll of the step ends right before it is sent.
    for used in 100..140 {
        let world = World::new();
        let engine = world.open(async |world: World, ctx: Ctx, used| {
            ctx.metadata().set("used", used)?;
            let left = ctx.step("left", || async {
                for _ in 0..used {
                    tokio::task::coop::consume_budget().await;
                }
                world.work("left").await
            });
            tokio::pin!(left);
            tokio::select! {
                biased;
                _ = &mut left => {}
                () = std::future::ready(()) => {}
            }
            Ok(ctx.step("next", || world.work("next")).await?)
        });
        let engine = engine.await;
        engine.start(TASK, ID, &used).await.unwrap();
        until(&engine, |task| task.ended.is_some()).await;
    }
}
