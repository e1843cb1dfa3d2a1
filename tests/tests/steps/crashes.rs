//! A death at every commit of a task of many steps: nothing recorded runs again, and the end is the same.

use super::{ID, TASK, World};
use outlive::{Ctx, Engine, HandlerError};
use outlive_storage::{MemStore, Store};
use outlive_tests::faulty::Faulty;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const STEPS: u32 = 6;

/// Each step builds on the ones before it.
async fn pipeline(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    let mut text = String::new();
    for stage in 0..STEPS {
        let so_far = text.clone();
        text = ctx
            .step(("stage", stage), || async {
                world.ran.add(format!("{stage}"));
                Ok::<_, std::io::Error>(format!("{so_far}{stage}"))
            })
            .await?;
        ctx.metadata().increment("stages", 1)?;
    }
    Ok(text)
}

/// Runs the task to its end, with a death at the commit of this number: before it, or after it when its answer is lost.
/// Answers whether the commit came at all, and what ran.
async fn with_death_at(commit: u64, answer_lost: bool) -> (bool, Vec<String>, String) {
    let world = World::new();
    let faulty = Faulty::on(&world.store);
    faulty.broken_from.store(commit, Ordering::SeqCst);
    faulty.answer_lost.store(answer_lost, Ordering::SeqCst);
    let (first, second) = (world.clone(), world.clone());
    let builder = Engine::on_store(Arc::clone(&faulty) as Arc<dyn Store>).inline();
    let builder = builder.store_patience(Duration::ZERO);
    let engine = builder.task(TASK, move |ctx, n| pipeline(first.clone(), ctx, n));
    let engine = engine.open().await.unwrap();
    let run = match engine.start(TASK, ID, &0).input_id("one").await {
        Ok(run) => run.result().await.ok(),
        Err(_) => None,
    };
    let died = run.is_none();
    drop(engine);
    tokio::task::yield_now().await;

    let builder = Engine::on_store(Arc::<MemStore>::clone(&world.store)).inline();
    let engine = builder.task(TASK, move |ctx, n| pipeline(second.clone(), ctx, n));
    let engine = engine.open().await.unwrap();
    let run = engine.start(TASK, ID, &0).input_id("one").await.unwrap();
    let result = run.result().await.unwrap();
    (died, world.ran.take(), result)
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_commit_runs_no_recorded_step_again_and_ends_the_same() {
    let mut deaths = 0;
    for answer_lost in [false, true] {
        for commit in 1.. {
            let (died, ran, result) = with_death_at(commit, answer_lost).await;
            assert_eq!(result, "012345", "commit {commit}");
            // The step whose record did not come to the store, or whose answer was lost, is the only one that may run
            // twice; one whose answer was lost is recorded.
            let twice = ran.len() - STEPS as usize;
            assert!(
                twice <= usize::from(!answer_lost),
                "commit {commit}: {ran:?}"
            );
            if !died {
                assert_eq!(twice, 0);
                break;
            }
            deaths += 1;
        }
    }
    assert!(deaths > 2 * STEPS, "{deaths} deaths");
}
