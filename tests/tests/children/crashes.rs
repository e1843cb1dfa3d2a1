//! A parent with children, killed at each of its commits.

use outlive::testing::{CrashTest, Effects};
use outlive::{Ctx, HandlerError, TaskDef};

const PARENT: TaskDef<u32, String> = TaskDef::new("parent");
const CHILD: TaskDef<String, String> = TaskDef::new("child");

async fn child(ctx: Ctx, input: String, world: Effects) -> Result<String, HandlerError> {
    let work = ctx.step_with("work", outlive::StepOptions::new(), |step| {
        world.record_once(step.effect_id(), "work");
        async { Ok::<_, std::io::Error>(()) }
    });
    work.await?;
    Ok(input)
}

async fn parent(ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    let first = ctx.start("first", CHILD, &"a".to_owned()).await?;
    let others = [("b", "b".to_owned()), ("c", "c".to_owned())];
    let others = ctx.start_many("others", CHILD, others).await?;
    let mut text = ctx.outcome("first ended", &first).await?;
    for other in ctx.all("others ended", &others).await? {
        text += &other?;
    }
    Ok(text)
}

/// Three children work once each, and their parent gets what they came to, wherever the process dies, also twice.
#[test]
fn a_death_at_any_commit_starts_no_child_twice_and_loses_no_end() {
    CrashTest::new(Effects::new)
        .engine(|builder, world: &Effects| {
            let world = world.clone();
            builder
                .task(PARENT, parent)
                .task(CHILD, move |ctx, input| child(ctx, input, world.clone()))
        })
        .script(async |engine, _| {
            let run = engine.start(PARENT, "p", &1).input_id("once").await?;
            Ok(run.result().await?)
        })
        .check(|world, text| {
            assert_eq!(world.count("work"), 3);
            assert_eq!(text, "abc");
        })
        .double_crashes(20)
        .run();
}

/// A cancelled parent leaves no child that runs, wherever the process dies.
#[test]
fn a_death_at_any_commit_leaves_no_child_of_a_cancelled_parent() {
    async fn waits(ctx: Ctx, _: String) -> Result<String, HandlerError> {
        ctx.cancelled().await;
        Err(HandlerError::cancelled())
    }
    CrashTest::new(Effects::new)
        .engine(|builder, _: &Effects| builder.task(PARENT, parent).task(CHILD, waits))
        .script(async |engine, _| {
            let run = engine.start(PARENT, "p", &1).input_id("once").await?;
            let waits = async || {
                let seen = engine.get("p").await.ok().flatten();
                seen.is_some_and(|seen| seen.wait.is_some() || seen.ended.is_some())
            };
            outlive_tests::gate::until(waits).await;
            // It may have been cancelled before the crash.
            let _ = engine.cancel("p", "enough").await;
            let _ = run.result().await;
            let over = async || {
                let page = engine.list(CHILD).await;
                page.is_ok_and(|page| page.tasks.iter().all(|seen| seen.ended.is_some()))
            };
            outlive_tests::gate::until(over).await;
            Ok(())
        })
        .check(|_, _| {})
        .run();
}
