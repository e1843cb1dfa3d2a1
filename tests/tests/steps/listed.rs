//! Lists of what waits for a person: each with its reason, and nothing else among them.

use super::{NO_GRACE, World};
use outlive::{
    Builder, Ctx, Engine, HandlerError, Reply, Resolution, Snapshot, StepOptions, TaskDef,
    WaitReason,
};
use outlive_storage::commit::{Commit, Expect, Write};
use outlive_storage::id::TaskId;
use outlive_storage::row::{Etag, Micros, State};
use outlive_storage::{MemStore, Store};
use std::sync::Arc;
use std::time::Duration;

const WORK: TaskDef<String, u32> = TaskDef::new("work");
/// The same name for a caller whose inputs the handler cannot read.
const MISREAD: TaskDef<u32, u32> = TaskDef::new("work");
const OTHER: TaskDef<String, u32> = TaskDef::new("other");

async fn work(world: World, ctx: Ctx, what: String) -> Result<Reply<u32>, HandlerError> {
    match &*what {
        "unknown" => {
            let once = StepOptions::new().once();
            let pay = |_| async {
                world.gate.pass().await;
                Ok::<_, std::io::Error>(1)
            };
            Ok(ctx.step_with("pay", once, pay).await?.into())
        }
        "duplicate" => {
            ctx.step("same", || world.work("one")).await?;
            ctx.step("same", || world.work("two")).await?;
            Ok(0.into())
        }
        "chat" => Ok(Reply::suspend(0, "more")),
        "runs" => std::future::pending().await,
        _ => Ok(0.into()),
    }
}

fn program(world: &World) -> Builder {
    let handler = |world: &World| {
        let world = world.clone();
        move |ctx, what| work(world.clone(), ctx, what)
    };
    let builder = world.builder().task(WORK, handler(world));
    builder.task(OTHER, handler(world))
}

/// Nobody can kill this process for a test: the row is what a guard would have made of it.
fn quarantine(store: &MemStore, id: &str) {
    let task = store.find(&TaskId::new(id).unwrap()).unwrap().unwrap();
    let mut row = store.get(task).unwrap().unwrap();
    let expect = Expect::Etag(row.etag);
    row.etag = Etag(store.counters().unwrap().etag.0 + 1);
    row.state = State::Suspended {
        since: Micros(1),
        wait: WaitReason::Quarantined { deaths: 5 },
    };
    let writes = vec![Write::Row(Arc::new(row))];
    let commit = Commit {
        task,
        expect,
        writes,
    };
    assert!(store.commit(&[commit]).unwrap()[0].is_ok());
}

/// Tasks that wait for everything there is to wait for.
async fn waiting(world: &World) -> Engine {
    let engine = program(world).open().await.unwrap();
    for what in ["unknown", "duplicate", "chat", "runs", "ended"] {
        engine.start(WORK, what, &what.to_owned()).await.unwrap();
    }
    engine.start(MISREAD, "misread", &1).await.unwrap();
    engine
        .start(OTHER, "other", &"unknown".to_owned())
        .await
        .unwrap();
    for id in ["poison", "delayed"] {
        let start = engine.start(WORK, id, &"ended".to_owned());
        start.start_in(Duration::from_secs(3600)).await.unwrap();
    }
    world.gate.came(2).await;
    engine.shutdown(NO_GRACE).await;
    quarantine(&world.store, "poison");
    let engine = program(world).open().await.unwrap();
    engine.recovery().await;
    let settled = async || engine.parked().await.unwrap().tasks.len() == 5;
    outlive_tests::gate::until(settled).await;
    engine
}

fn ids(tasks: &[Snapshot]) -> Vec<&str> {
    tasks.iter().map(|task| task.id.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_waits_for_a_person_is_listed_with_its_reason() {
    let world = World::new();
    let engine = waiting(&world).await;
    let parked = engine.parked().await.unwrap().tasks;
    assert_eq!(
        ids(&parked),
        ["poison", "other", "misread", "duplicate", "unknown"]
    );
    let waits: Vec<_> = parked
        .iter()
        .map(|task| task.wait.clone().unwrap())
        .collect();
    assert!(matches!(waits[0], WaitReason::Quarantined { deaths: 5 }));
    assert!(matches!(&waits[1], WaitReason::UnknownOutcome { step } if &**step == "pay"));
    assert!(matches!(&waits[2], WaitReason::Undecodable { what, .. } if &**what == "input"));
    assert!(matches!(&waits[3], WaitReason::DuplicateStep { key } if &**key == "same"));
    assert_eq!(waits[4], waits[1]);
    // Page by page, and with any other condition.
    let first = engine.parked().limit(2).await.unwrap();
    assert_eq!(ids(&first.tasks), ["poison", "other"]);
    let rest = engine.parked().after(first.next).await.unwrap();
    assert_eq!(ids(&rest.tasks), ["misread", "duplicate", "unknown"]);
    let of_other = engine.list(OTHER).parked().await.unwrap();
    assert_eq!(ids(&of_other.tasks), ["other"]);
}

#[tokio::test(start_paused = true)]
async fn unknown_outcomes_are_listed_over_all_tasks_until_they_are_resolved() {
    let world = World::new();
    let engine = waiting(&world).await;
    let unknown = engine.unknown_outcomes().await.unwrap().tasks;
    assert_eq!(ids(&unknown), ["other", "unknown"]);
    let told: Vec<_> = unknown
        .iter()
        .map(|task| (&*task.name, task.since_us > 0))
        .collect();
    assert_eq!(told, [("other", true), ("work", true)]);
    for task in &unknown {
        let Some(WaitReason::UnknownOutcome { step }) = &task.wait else {
            panic!("{task:?}");
        };
        let done = Resolution::done(&7);
        engine.resolve(&task.id, &**step, done).await.unwrap();
    }
    assert!(engine.unknown_outcomes().await.unwrap().tasks.is_empty());
    let run = engine.attach(OTHER, "other").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 7);
}
