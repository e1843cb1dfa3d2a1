//! What becomes of children when the turn that started them is over.

use crate::{CHILD, ID, NO_GRACE, PARENT, World, task, until};
use outlive::{Ctx, Ended, Engine, HandlerError, Reply, Snapshot, Status, TaskDef, TaskOptions};
use outlive_storage::Store;
use std::time::Duration;

/// Starts two children that wait, one of them detached, and does as its input says: waits, fails, or is done.
async fn parent(_: World, ctx: Ctx, input: u32) -> Result<String, HandlerError> {
    let own = ctx
        .start("own", CHILD, &"gate".to_owned())
        .id("own")
        .await?;
    let free = ctx
        .start("free", CHILD, &"gate".to_owned())
        .id("free")
        .detached()
        .await?;
    match input {
        0 => ctx.all_ended("all", [&own, &free]).await?,
        1 => ctx.cancelled().await,
        2 => return Err(HandlerError::terminal("no")),
        _ => return Ok("done".to_owned()),
    }
    Err(HandlerError::cancelled())
}

fn is_cancelled(seen: &Snapshot) -> bool {
    matches!(&seen.ended, Some(Ended::Cancelled { .. })) || seen.cancel_requested.is_some()
}

fn is_alone(seen: &Snapshot) -> bool {
    seen.parent.is_none()
}

/// Begins the parent, whose two children have come to the gate.
async fn begun(world: &World, input: u32) -> Engine {
    let engine = world.open(parent).await;
    engine.start(PARENT, ID, &input).await.unwrap();
    world.gate.came(2).await;
    engine
}

#[tokio::test(start_paused = true)]
async fn cancelling_the_parent_cancels_its_children_but_those_detached() {
    for input in [0, 1] {
        let world = World::new();
        let engine = begun(&world, input).await;
        engine.cancel(ID, "not needed").await.unwrap();
        let own = until(&engine, "own", is_cancelled).await;
        let requested = own.cancel_requested.as_deref() == Some("not needed");
        assert!(requested || own.ended.is_some(), "{own:?}");
        let free = until(&engine, "free", is_alone).await;
        assert!(!is_cancelled(&free), "it is detached");
    }
}

#[tokio::test(start_paused = true)]
async fn terminating_the_parent_or_deleting_it_cancels_its_children() {
    for delete in [false, true] {
        let world = World::new();
        let engine = begun(&world, 1).await;
        match delete {
            true => assert!(engine.delete(ID).force().await.unwrap()),
            false => engine.terminate(ID, "stop").await.unwrap(),
        }
        until(&engine, "own", is_cancelled).await;
        assert!(!is_cancelled(&until(&engine, "free", is_alone).await));
        assert_eq!(world.store.families_over(None, 9), Ok(vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_takes_too_long_takes_its_children_along() {
    let world = World::new();
    let engine = world.open(parent).await;
    let brief = TaskOptions::new().timeout(Duration::from_secs(5));
    engine.start(PARENT, ID, &1).options(brief).await.unwrap();
    world.gate.came(2).await;
    until(&engine, "own", is_cancelled).await;
    let ended = task(&engine, ID).await.ended;
    assert!(
        matches!(
            ended,
            Some(
                Ended::Terminated {
                    timed_out: true,
                    ..
                } | Ended::Cancelled { .. }
            )
        ),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_children_of_a_parent_that_ends_by_itself_go_on_alone() {
    for input in [2, 3] {
        let world = World::new();
        let engine = begun(&world, input).await;
        until(&engine, ID, |seen| seen.status == Status::Completed).await;
        for child in ["own", "free"] {
            assert!(!is_cancelled(&until(&engine, child, is_alone).await));
        }
        world.gate.let_through(2);
        for child in ["own", "free"] {
            let seen = until(&engine, child, |seen| seen.ended.is_some()).await;
            assert_eq!(seen.ended, Some(Ended::Succeeded));
            assert!(seen.expires_at_us.is_some());
        }
    }
}

/// The children are the turn's: in a chain those of one turn are not those of the next.
#[tokio::test(start_paused = true)]
async fn the_children_of_a_turn_are_let_go_with_it() {
    const CHAIN: TaskDef<String, String> = TaskDef::new("chain");
    let world = World::new();
    let builder = world
        .builder()
        .task(CHAIN, |ctx: Ctx, id: String| async move {
            ctx.start("start", CHILD, &"gate".to_owned())
                .id(id.clone())
                .await?;
            if id == "second" {
                ctx.cancelled().await;
                return Err(HandlerError::cancelled());
            }
            Ok(Reply::suspend(id, "next"))
        });
    let engine = builder.open().await.unwrap();
    engine.start(CHAIN, ID, &"first".to_owned()).await.unwrap();
    world.gate.came(1).await;
    let first = until(&engine, "first", is_alone).await;
    assert!(!is_cancelled(&first));
    let second = engine.start(CHAIN, ID, &"second".to_owned()).await.unwrap();
    world.gate.came(1).await;
    assert!(!is_alone(&task(&engine, "second").await));
    second.cancel("this turn").await.unwrap();
    until(&engine, "second", is_cancelled).await;
    assert!(!is_cancelled(&task(&engine, "first").await));
    assert_eq!(task(&engine, ID).await.status, Status::Suspended);
}

/// A family of three generations: who is cancelled passes it on.
#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_the_children_of_children() {
    const NEST: TaskDef<u32, u32> = TaskDef::new("nest");
    async fn nest(ctx: Ctx, depth: u32) -> Result<u32, HandlerError> {
        if depth == 0 {
            ctx.cancelled().await;
            return Err(HandlerError::cancelled());
        }
        let inner = ctx
            .start("inner", NEST, &(depth - 1))
            .id(format!("n{}", depth - 1));
        let inner = inner.await?;
        Ok(ctx.outcome("outcome", &inner).await?)
    }
    let world = World::new();
    let engine = world.builder().task(NEST, nest).open().await.unwrap();
    engine.start(NEST, "n3", &3).await.unwrap();
    let runs = async || matches!(engine.get("n0").await, Ok(Some(seen)) if seen.status == Status::InProgress);
    outlive_tests::gate::until(runs).await;
    engine.cancel("n3", "all of you").await.unwrap();
    for id in ["n0", "n1", "n2", "n3"] {
        let seen = until(&engine, id, |seen| seen.ended.is_some()).await;
        assert!(is_cancelled(&seen), "{id}");
    }
}

/// More than a page of them, and the process dies in the middle.
#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_a_thousand_children_through_a_crash() {
    async fn handler(_: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let children = (0..1000).map(|child| (("child", child), "gate".to_owned()));
        let children = ctx.start_many("many", CHILD, children).await?;
        ctx.all_ended("all", &children).await?;
        Ok("never".to_owned())
    }
    let world = World::new();
    let few = |builder: outlive::Builder| builder.max_running(1);
    let engine = world.open_with(few, handler).await;
    engine.start(PARENT, ID, &1).await.unwrap();
    until(&engine, ID, |seen| seen.status == Status::Suspended).await;
    let family = world.store.families_over(None, 9).unwrap();
    assert!(family.is_empty());
    engine.cancel(ID, "enough").await.unwrap();
    engine.shutdown(NO_GRACE).await;
    let left = world.store.families_over(None, 9).unwrap();
    assert_eq!(left.len(), 1, "the process died before all were told");
    let engine = world.open_with(few, handler).await;
    let all_told = async || world.store.families_over(None, 9).unwrap().is_empty();
    outlive_tests::gate::until(all_told).await;
    let mut after = None;
    let mut cancelled = 0;
    loop {
        let page = engine.list(CHILD).after(after).limit(500).await.unwrap();
        cancelled += page.tasks.iter().filter(|seen| is_cancelled(seen)).count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(cancelled, 1000);
}
