//! A child is started once, whatever happens to the attempts of its parent.

use crate::{CHILD, ID, NO_GRACE, PARENT, World, task, until};
use outlive::{
    ChildStartError, Ctx, Engine, HandlerError, StartError, Status, TaskOptions, WaitReason,
};
use outlive_storage::Store;
use std::time::Duration;

/// Starts one of each kind, then waits for ever.
async fn starts(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
    let own = ctx.start("own", CHILD, &"gate own".to_owned());
    let own = own.tag("k", "v").title("a child").session("other").await?;
    let named = ctx.start("named", CHILD, &"gate named".to_owned());
    let named = named.id("chosen").detached().await?;
    world.notes.add(format!("{} {}", own.id(), own.input_id()));
    world
        .notes
        .add(format!("{} {}", named.id(), named.is_detached()));
    ctx.all_ended("all", [&own, &named]).await?;
    Ok("over".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_child_is_what_its_parent_said_and_knows_whose_it_is() {
    let world = World::new();
    let engine = world
        .open_with(|builder| builder.session("s-1"), starts)
        .await;
    engine.start(PARENT, ID, &1).await.unwrap();
    world.gate.came(2).await;
    let list = engine.children(ID, None).await.unwrap();
    assert_eq!((list.tasks.len(), list.next), (2, None));
    let (own, named) = (&list.tasks[0], &list.tasks[1]);
    assert_eq!(named.id.as_str(), "chosen");
    assert_eq!(own.tags["k"], "v");
    assert_eq!(own.title.as_deref(), Some("a child"));
    assert_eq!(own.session.as_deref(), Some("other"));
    assert_eq!(named.session.as_deref(), Some("s-1"), "its parent's");
    for child in [own, named] {
        assert_eq!(child.parent.as_ref().map(|id| id.as_str()), Some(ID));
        assert_eq!(child.name, "child");
    }
    world.gate.let_through(2);
    until(&engine, ID, |seen| seen.status == Status::Completed).await;
    let gone = |seen: &outlive::Snapshot| seen.parent.is_none();
    until(&engine, "chosen", gone).await;
    assert!(engine.children(ID, None).await.unwrap().tasks.is_empty());
}

/// The id of a task, and that of its input, are the same in every attempt; where the process dies between a start and its
/// record is the matter of the crash tests.
#[tokio::test(start_paused = true)]
async fn a_replay_finds_the_same_children() {
    async fn handler(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let own = ctx.start("own", CHILD, &"x".to_owned()).await?;
        let other = ctx.start("other", CHILD, &"x".to_owned()).await?;
        assert_ne!(own.id(), other.id());
        assert_eq!(own.id(), own.input_id());
        world
            .notes
            .add(format!("started {} {}", own.id(), other.id()));
        world.gate.pass().await;
        Ok("over".to_owned())
    }
    let world = World::new();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let engine = world.open(handler).await;
        engine.start(PARENT, ID, &1).input_id("once").await.unwrap();
        world.gate.came(1).await;
        let notes = world.notes.take().into_iter();
        seen.extend(notes.filter(|note| note.starts_with("started")));
        assert_eq!(engine.children(ID, None).await.unwrap().tasks.len(), 2);
        engine.shutdown(NO_GRACE).await;
    }
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
}

/// A refused start is told, and not recorded: the next attempt tries again.
#[tokio::test(start_paused = true)]
async fn an_id_that_belongs_to_another_task_is_refused() {
    async fn handler(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let taken = ctx.start("a", CHILD, &"x".to_owned()).id("taken").await;
        match taken {
            Err(ChildStartError::Start(StartError::Conflict { id, .. })) => {
                world.notes.add(format!("conflict {id}"));
            }
            other => panic!("{other:?}"),
        }
        let bad = ctx
            .start("b", CHILD, &"x".to_owned())
            .tag("outlive.x", "y")
            .await;
        assert!(matches!(
            bad,
            Err(ChildStartError::Start(StartError::Facts(_)))
        ));
        let parent = ctx.start("c", PARENT, &1).id("taken").await;
        let other = matches!(
            parent,
            Err(ChildStartError::Start(StartError::OtherDefinition { .. }))
        );
        assert!(other);
        Ok("told".to_owned())
    }
    let world = World::new();
    let engine = world.open(handler).await;
    engine
        .start(CHILD, "taken", &"gate".to_owned())
        .await
        .unwrap();
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "told");
    assert!(world.notes.take().contains(&"conflict taken".to_owned()));
    assert_eq!(engine.steps(ID).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_key_for_two_children_puts_the_task_aside() {
    async fn handler(_: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let twice = [("a", "1"), ("b", "2"), ("a", "3")];
        let twice = twice.map(|(key, input)| (key, input.to_owned()));
        ctx.start_many("many", CHILD, twice).await?;
        Ok("never".to_owned())
    }
    let world = World::new();
    let engine = world.open(handler).await;
    engine.start(PARENT, ID, &1).await.unwrap();
    let seen = until(&engine, ID, |seen| seen.status == Status::Suspended).await;
    let duplicate =
        |wait: &WaitReason| matches!(wait, WaitReason::DuplicateStep { key } if **key == *"many/a");
    assert!(seen.wait.as_ref().is_some_and(duplicate), "{:?}", seen.wait);
    assert!(world.notes.is_empty(), "none was started");
}

/// The result of a child is there for its parent, however short the child's own retention is.
#[tokio::test(start_paused = true)]
async fn a_child_is_kept_until_the_turn_that_started_it_is_over() {
    const GONE: TaskOptions = TaskOptions::new().ephemeral();
    const BRIEF: TaskOptions = TaskOptions::new().keep_for(Duration::from_secs(60));
    async fn handler(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let gone = ctx.start("gone", CHILD, &"x".to_owned()).id("gone");
        let gone = gone.options(GONE).await?;
        let kept = ctx.start("kept", CHILD, &"y".to_owned()).id("kept");
        let kept = kept.options(BRIEF).await?;
        world.gate.arrive();
        ctx.sleep("long", Duration::from_secs(2 * 3600)).await?;
        let results = ctx.all("all", [&gone, &kept]).await?;
        Ok(crate::told(&results).join(" "))
    }
    let world = World::new();
    let engine = world.open(handler).await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    world.gate.came(1).await;
    let ended = until(&engine, "kept", |seen| seen.status == Status::Completed).await;
    assert_eq!(ended.expires_at_us, None);
    assert_eq!(run.result().await.unwrap(), "x y");
    let gone = async || engine.get("gone").await.unwrap().is_none();
    outlive_tests::gate::until(gone).await;
    let kept = until(&engine, "kept", |seen| seen.expires_at_us.is_some()).await;
    assert_eq!(kept.parent, None);
    assert_eq!(world.store.families_over(None, 9), Ok(vec![]));
}

/// The start's commit is refused once the turn has ended: whatever cancels children meets all of them.
#[tokio::test(start_paused = true)]
async fn a_context_kept_beyond_its_turn_starts_nothing() {
    async fn handler(world: World, ctx: Ctx, _: u32) -> Result<String, HandlerError> {
        let late = ctx.clone();
        tokio::spawn(async move {
            world.gate.pass().await;
            let start = late.start("late", CHILD, &"x".to_owned()).await;
            world.notes.add(format!(
                "{}",
                matches!(start, Err(ChildStartError::TurnOver))
            ));
        });
        Ok("over".to_owned())
    }
    let world = World::new();
    let engine: Engine = world.open(handler).await;
    let run = engine.start(PARENT, ID, &1).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "over");
    world.gate.let_through(1);
    assert_eq!(world.notes.some().await, ["true"]);
    assert_eq!(task(&engine, ID).await.status, Status::Completed);
}
