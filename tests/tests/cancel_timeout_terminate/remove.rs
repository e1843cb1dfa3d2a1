//! `delete`: not while a task runs, unless forced; whoever waits is told, and the id is free.

use crate::waits::{TASK, Waiting, Waits};
use crate::{NO_GRACE, Stage, in_time, known, on, opened, secs};
use outlive::{
    Accepted, ControlError, Ctx, Engine, FlushError, HandlerError, ResultError, Status, TaskDef,
};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use std::sync::Arc;

const ONE: TaskDef<u32, u32> = TaskDef::new("one");
const CHAT: TaskDef<u32, u32> = TaskDef::new("chat").steerable(9);

#[tokio::test(start_paused = true)]
async fn a_running_task_is_removed_only_by_force() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), ONE)).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let task = known(engine.get("a").await);
    for refused in [engine.delete("a").await, run.delete().await] {
        assert!(matches!(
            refused,
            Err(ControlError::Conflict {
                status: Status::InProgress,
                ..
            })
        ));
    }
    assert_eq!(known(engine.get("a").await), task);

    assert!(engine.delete("a").force().await.unwrap());
    tokio::task::yield_now().await;
    assert_eq!(
        (stage.gone.count(), stage.told.len()),
        (1, 0),
        "without a word"
    );
    assert_eq!(engine.get("a").await.unwrap(), None);
    let later = in_time(run.result()).await;
    assert!(
        matches!(later, Err(ResultError::NotFound { .. })),
        "{later:?}"
    );
    engine.shutdown(NO_GRACE).await;

    let engine = opened(stage.deaf(on(&store), ONE)).await;
    tokio::time::sleep(secs(100)).await;
    assert_eq!(stage.gate.uncounted(), 0, "it is not recovered");
    assert_eq!(engine.get("a").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_removed_task_are_told() {
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), CHAT)).await;
    let run = engine.start(CHAT, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let queued = engine.start(CHAT, "a", &2).await.unwrap();
    let waiting = tokio::spawn(async move { tokio::join!(run.result(), queued.result()) });
    tokio::task::yield_now().await;
    engine.delete("a").force().await.unwrap();
    let (running, queued) = in_time(waiting).await.unwrap();
    for told in [running, queued] {
        assert!(
            matches!(told, Err(ResultError::Cancelled { .. })),
            "{told:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_is_removed_without_force_and_rests() {
    for waits in Waits::ALL {
        let waiting = Waiting::set_up(waits).await;
        let run = waiting.engine.attach(TASK, "a").await.unwrap();
        let told = tokio::spawn(async move { run.result().await });
        tokio::task::yield_now().await;
        assert!(waiting.run.delete().await.unwrap(), "{waits:?}");
        let told = in_time(told).await.unwrap();
        match waits {
            Waits::ForInput => assert_eq!(told.unwrap(), 2),
            Waits::Parked => assert!(matches!(told, Err(ResultError::Undecodable { .. }))),
            Waits::Delayed | Waits::ForASlot | Waits::InBackOff => {
                assert!(
                    matches!(told, Err(ResultError::Cancelled { .. })),
                    "{told:?}"
                );
            }
        }
        assert_eq!(waiting.engine.get("a").await.unwrap(), None);
        waiting.assert_rests().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_idempotent() {
    let stage = Stage::new();
    let engine = opened(stage.ending(Engine::in_memory(), ONE, |_| Ok(7))).await;
    assert!(!engine.delete("a").await.unwrap(), "there was none");
    assert!(!engine.delete("a").force().await.unwrap());
    let run = engine.start(ONE, "a", &1).await.unwrap();
    engine.cancel("a", "stop").await.unwrap();
    in_time(run.result()).await.unwrap();
    assert!(engine.delete("a").await.unwrap(), "an ended task");
    assert!(!engine.delete("a").await.unwrap());
    assert!(!run.delete().await.unwrap());
    assert!(matches!(
        engine.delete("").await,
        Err(ControlError::InvalidId(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_was_decided_on_an_older_task_is_refused() {
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), ONE)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    let old = known(engine.get("a").await).etag;
    engine.delete("a").force().await.unwrap();
    engine.start(ONE, "a", &1).await.unwrap();
    let task = known(engine.get("a").await);
    assert!(
        task.etag > old,
        "an id that is used again meets no old value"
    );
    let refused = engine.delete("a").force().if_etag(old).await;
    assert!(matches!(
        refused,
        Err(ControlError::PreconditionFailed { .. })
    ));
    assert_eq!(known(engine.get("a").await), task);
}

#[tokio::test(start_paused = true)]
async fn what_a_removed_turn_still_does_is_refused_and_does_not_touch_the_next_task_of_its_id() {
    let (gate, notes) = (Gate::closed(), Notes::default());
    let (held, tried) = (gate.clone(), notes.clone());
    let builder = Engine::in_memory().task(ONE, move |ctx: Ctx, input| {
        let (gate, tried, zombie) = (held.clone(), tried.clone(), ctx.clone());
        async move {
            tokio::spawn(async move {
                gate.pass().await;
                zombie.metadata().set("who", input).unwrap();
                tried.add((input, zombie.flush_metadata().await));
            });
            std::future::pending::<Result<u32, HandlerError>>().await
        }
    });
    let engine = opened(builder).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    engine.delete("a").force().await.unwrap();
    let again = engine.start(ONE, "a", &2).await.unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Started));
    in_time(gate.came(1)).await;
    let before = known(engine.get("a").await);
    gate.let_through(1);
    let tried = notes.some().await;
    assert!(
        matches!(tried[..], [(1, Err(FlushError::TurnOver))]),
        "{tried:?}"
    );
    assert_eq!(known(engine.get("a").await), before);
    assert!(before.metadata.is_empty() && before.run == 1);
}
