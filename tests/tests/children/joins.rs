//! Waits for children: outside of memory, woken when as many have ended as are waited for.

use crate::{CHILD, ID, NO_GRACE, PARENT, World, task, told, until};
use outlive::{
    Child, ChildError, Ctx, Engine, EventKind, HandlerError, Release, Status, TaskDef, WaitReason,
    WaitsFor,
};
use outlive_storage::{MemStore, Store};
use std::sync::Arc;

const BOTH: [(&str, &str); 2] = [("a", "gate a"), ("b", "fail b")];

async fn started(ctx: &Ctx, inputs: &[(&str, &str)]) -> Result<Vec<Child<String>>, HandlerError> {
    let children = inputs
        .iter()
        .map(|(key, input)| (*key, (*input).to_owned()));
    Ok(ctx.start_many("children", CHILD, children).await?)
}

async fn joins(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    world.notes.add(format!("parent {:?}", ctx.entry()));
    let children = started(&ctx, &BOTH).await?;
    let results = ctx.all("all", &children).await?;
    Ok(told(&results).join(", "))
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_frees_its_slot_so_that_one_slot_is_enough() {
    let world = World::new();
    let engine = world
        .open_with(|builder| builder.max_running(1), joins)
        .await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    world.gate.came(1).await;
    let seen = task(&engine, ID).await;
    assert_eq!((seen.status, seen.attempt), (Status::Suspended, 0));
    let why = engine.explain(ID).await.unwrap().unwrap();
    assert!(
        matches!(&why.waits_for, WaitsFor::Children { step, until_us: None } if **step == *"all")
    );
    assert!(matches!(why.release, Release::Children));
    world.gate.let_through(1);
    until(&engine, ID, |seen| seen.ended.is_some()).await;
    assert_eq!(run.result().await.unwrap(), "gate a, failed fail b");
    assert_eq!(task(&engine, ID).await.attempt, 1);
}

/// A definition of which one task runs at a time starts tasks of its own.
#[tokio::test(start_paused = true)]
async fn a_definition_of_which_one_task_runs_may_start_itself() {
    const TREE: TaskDef<u32, u32> = TaskDef::new("tree").concurrency(1);
    async fn tree(ctx: Ctx, depth: u32) -> Result<u32, HandlerError> {
        if depth == 0 {
            return Ok(1);
        }
        let halves = [("left", depth - 1), ("right", depth - 1)];
        let halves = ctx.start_many("halves", TREE, halves).await?;
        let mut leaves = 0;
        for half in ctx.all("both", &halves).await? {
            leaves += half?;
        }
        Ok(leaves)
    }
    let engine = Engine::in_memory().task(TREE, tree).open().await.unwrap();
    assert_eq!(engine.run(TREE, "root", &3).await.unwrap(), 8);
}

/// What the first attempt was told is what every later one is told, although the child was retried since.
#[tokio::test(start_paused = true)]
async fn an_outcome_is_recorded() {
    async fn handler(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let child = ctx
            .start("start", CHILD, &"fail x".to_owned())
            .id("c")
            .await?;
        let outcome = ctx.outcome("outcome", &child).await;
        world.notes.add(told(&[outcome]).concat());
        world.gate.pass().await;
        Ok("over".to_owned())
    }
    let world = World::new();
    for _ in 0..2 {
        let engine = world.open(handler).await;
        engine.start(PARENT, ID, &1).input_id("once").await.unwrap();
        world.gate.came(1).await;
        let notes = world.notes.take();
        assert_eq!(notes.last().map(String::as_str), Some("failed fail x"));
        // Gone for whoever looks now.
        engine.delete("c").await.unwrap();
        engine.shutdown(NO_GRACE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn any_gives_the_one_that_ended_first_and_the_same_one_again() {
    async fn handler(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let inputs = [("a", "gate a"), ("b", "gate b"), ("c", "c")];
        let children = started(&ctx, &inputs).await?;
        let (place, first) = ctx.any("any", &children).await?;
        world.notes.add(format!("{place} {}", first?));
        ctx.all_ended("all", &children).await?;
        Ok("over".to_owned())
    }
    let world = World::new();
    for _ in 0..2 {
        let engine = world.open(handler).await;
        engine.start(PARENT, ID, &1).input_id("once").await.unwrap();
        let waits_for_all = |wait: &WaitReason| matches!(wait, WaitReason::Children { step, .. } if **step == *"all");
        let waits = |seen: &outlive::Snapshot| seen.wait.as_ref().is_some_and(waits_for_all);
        until(&engine, ID, waits).await;
        engine.shutdown(NO_GRACE).await;
    }
    let engine = world.open(handler).await;
    world.gate.let_through(2);
    let run = engine.attach(PARENT, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "over");
    let firsts = world
        .notes
        .take()
        .into_iter()
        .filter(|note| note.starts_with("2 "));
    let firsts: Vec<String> = firsts.collect();
    assert!(
        firsts.len() >= 2 && firsts.iter().all(|first| first == "2 c"),
        "{firsts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_to_wait_for_is_told_or_is_no_wait() {
    async fn handler(_: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let nobody: [&Child<String>; 0] = [];
        let any = ctx.any("any", nobody).await;
        assert!(matches!(any, Err(ChildError::Nobody)));
        assert!(ctx.all("all", nobody).await?.is_empty());
        Ok("over".to_owned())
    }
    let engine = World::new().open(handler).await;
    assert_eq!(engine.run(PARENT, ID, &1).await.unwrap(), "over");
}

/// A suspended child has not ended; what it comes to in the end is the output of its last turn.
#[tokio::test(start_paused = true)]
async fn only_an_end_counts() {
    async fn handler(_: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let child = ctx
            .start("start", CHILD, &"suspend".to_owned())
            .id("c")
            .await?;
        Ok(ctx.outcome("outcome", &child).await?)
    }
    let world = World::new();
    let engine = world.open(handler).await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    until(&engine, "c", |seen| seen.status == Status::Suspended).await;
    assert_eq!(task(&engine, ID).await.status, Status::Suspended);
    engine.start(CHILD, "c", &"last".to_owned()).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "last");
}

/// An end that is counted and not waited for: the handler looks, and waits again.
#[tokio::test(start_paused = true)]
async fn a_second_end_of_one_child_is_not_taken_for_the_end_of_another() {
    let world = World::new();
    let engine = world.open(joins).await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    world.gate.came(1).await;
    let failed = engine.children(ID, None).await.unwrap().tasks;
    let failed = failed.iter().find(|task| task.ended.is_some()).unwrap();
    engine.retry(CHILD, failed.id.as_str()).await.unwrap();
    let again = |seen: &outlive::Snapshot| seen.run == 2 && seen.status == Status::Completed;
    until(&engine, failed.id.as_str(), again).await;
    until(&engine, ID, |seen| seen.status == Status::Suspended).await;
    world.gate.let_through(1);
    assert_eq!(run.result().await.unwrap(), "gate a, failed fail b");
}

/// Deleting a child that has not ended is an end of it.
#[tokio::test(start_paused = true)]
async fn a_deleted_child_is_gone_and_waited_for_no_more() {
    let world = World::new();
    let engine = world.open(joins).await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    world.gate.came(1).await;
    let children = engine.children(ID, None).await.unwrap().tasks;
    let waits = children.iter().find(|task| task.ended.is_none()).unwrap();
    engine.delete(waits.id.as_str()).force().await.unwrap();
    assert_eq!(run.result().await.unwrap(), "Gone, failed fail b");
}

/// A failed turn is retried in a further run: its former children are its own again.
#[tokio::test(start_paused = true)]
async fn a_retried_parent_takes_its_children_over() {
    async fn handler(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let child = ctx
            .start("start", CHILD, &"gate c".to_owned())
            .id("c")
            .await?;
        if ctx.run() == 1 {
            return Err(HandlerError::terminal("first"));
        }
        world.notes.add("second".to_owned());
        Ok(ctx.outcome("outcome", &child).await?)
    }
    let world = World::new();
    let engine = world.open(handler).await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    assert!(run.result().await.is_err());
    until(&engine, "c", |seen| seen.parent.is_none()).await;
    let run = engine.retry(PARENT, ID).await.unwrap();
    until(&engine, "c", |seen| seen.parent.is_some()).await;
    until(&engine, ID, |seen| seen.status == Status::Suspended).await;
    world.gate.let_through(1);
    assert_eq!(run.result().await.unwrap(), "gate c");
}

/// The call of a blocking handler cannot be dropped: it keeps its thread, and is told.
#[tokio::test]
async fn a_blocking_handler_waits_where_it_stands() {
    const BLOCKS: TaskDef<u32, String> = TaskDef::new("blocks");
    let world = World::new();
    let (store, shared) = (Arc::new(MemStore::new()), world.clone());
    let handle = tokio::runtime::Handle::current();
    let engine = Engine::on_store(store as Arc<dyn Store>)
        .blocking(BLOCKS, move |ctx: Ctx, _: u32| {
            handle.block_on(async {
                let child = ctx.start("start", CHILD, &"x".to_owned()).await?;
                Ok::<_, HandlerError>(ctx.outcome("outcome", &child).await?)
            })
        })
        .task(CHILD, move |ctx, input| {
            crate::child(shared.clone(), ctx, input)
        });
    let engine = engine.open().await.unwrap();
    assert_eq!(engine.run(BLOCKS, ID, &1).await.unwrap(), "x");
    let waited = |entry: &outlive::TimelineEntry| entry.what == EventKind::Waits;
    assert!(!task(&engine, ID).await.timeline.iter().any(waited));
}

/// It ends once, however often it is waited for.
#[tokio::test(start_paused = true)]
async fn a_child_may_be_given_twice() {
    let world = World::new();
    let engine = world
        .open(async |_, ctx: Ctx, _| {
            let child = ctx.start("one", CHILD, &"gate x".to_owned()).await?;
            let results = ctx.all("all", [&child, &child]).await?;
            Ok(told(&results).join(", "))
        })
        .await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    world.gate.came(1).await;
    until(&engine, ID, |seen| seen.status == Status::Suspended).await;
    world.gate.let_through(1);
    let result = tokio::time::timeout(std::time::Duration::from_secs(60), run.result());
    let result = result.await.expect("it is woken");
    assert_eq!(result.unwrap(), "gate x, gate x");
}
