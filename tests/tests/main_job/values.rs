//! Inputs and outputs of every size, and those that cannot be read.

use crate::{ECHO, NO_GRACE, echo};
use outlive::{
    Accepted, Ctx, Ended, Engine, Failure, FailureKind, HandlerError, ResultError, StartError,
    Status, TaskDef, VALUE_MAX, ValueError, WaitReason,
};
use outlive_storage::MemStore;
use std::path::Path;
use std::sync::Arc;

const TEXT: TaskDef<String, String> = TaskDef::new("typed");
const NUMBER: TaskDef<u32, u32> = TaskDef::new("typed");

async fn on_file(path: &Path) -> Engine {
    Engine::builder(path).task(ECHO, echo).open().await.unwrap()
}

/// Sizes around what a row keeps by itself, and far above it.
#[tokio::test]
async fn values_of_every_size_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let sizes = [0, 1021, 1022, 1023, 4096, 5 * 1024 * 1024];
    let engine = on_file(&path).await;
    for size in sizes {
        let run = engine
            .start(ECHO, format!("t{size}"), &"x".repeat(size))
            .await
            .unwrap();
        assert_eq!(run.result().await.unwrap().len(), size);
    }
    engine.shutdown(NO_GRACE).await;
    let engine = on_file(&path).await;
    for size in sizes {
        let run = engine.attach(ECHO, format!("t{size}")).await.unwrap();
        assert!(run.result().await.unwrap() == "x".repeat(size));
    }
}

#[tokio::test]
async fn an_oversized_input_is_refused_at_the_door() {
    let engine = Engine::in_memory().task(ECHO, echo).open().await.unwrap();
    let room = VALUE_MAX as usize - 2;
    let refused = engine.start(ECHO, "a", &"x".repeat(room + 1)).await;
    let Err(StartError::Input(ValueError::TooLarge {
        what: "input",
        size,
        limit: VALUE_MAX,
    })) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(size, VALUE_MAX + 1);
    assert!(engine.get("a").await.unwrap().is_none());
    let run = engine.start(ECHO, "a", &"x".repeat(room)).await.unwrap();
    assert_eq!(run.accepted(), Some(Accepted::Started));
    assert_eq!(run.result().await.unwrap().len(), room);
}

#[tokio::test]
async fn an_oversized_output_fails_its_task_at_once() {
    const LARGE: TaskDef<usize, String> = TaskDef::new("large");
    let engine = Engine::in_memory()
        .task(LARGE, |_: Ctx, size| async move {
            Ok::<_, HandlerError>("x".repeat(size))
        })
        .open()
        .await
        .unwrap();
    let failed = engine.run(LARGE, "a", &(VALUE_MAX as usize)).await;
    assert!(matches!(
        failed,
        Err(outlive::RunError::Result(ResultError::Failed(Failure {
            kind: FailureKind::Output,
            attempts: 1,
            ..
        })))
    ));
}

#[tokio::test]
async fn an_undecodable_input_parks_its_task_until_a_program_can_read_it() {
    let store = Arc::new(MemStore::new());
    let reads_text = async || {
        Engine::on_store(Arc::<MemStore>::clone(&store))
            .task(TEXT, echo)
            .open()
            .await
            .unwrap()
    };
    let reads_numbers = Engine::on_store(Arc::<MemStore>::clone(&store))
        .task(NUMBER, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
    let engine = reads_text().await;
    // The name says text, this caller says number.
    let run = engine.start(NUMBER, "a", &7).await.unwrap();
    let parked = loop {
        let task = engine.get("a").await.unwrap().unwrap();
        if task.status == Status::Suspended {
            break task;
        }
        tokio::task::yield_now().await;
    };
    let Some(WaitReason::Undecodable { what, .. }) = &parked.wait else {
        panic!("{parked:?}");
    };
    assert_eq!((&**what, parked.attempt), ("input", 0));
    let refused = engine.start(NUMBER, "a", &8).await;
    assert!(matches!(
        refused,
        Err(StartError::Conflict {
            status: Status::Suspended,
            reason: Some(WaitReason::Undecodable { .. }),
            ..
        })
    ));
    // Nobody waits for what this program cannot do.
    let parked_result = run.result().await;
    assert!(matches!(
        parked_result,
        Err(ResultError::Undecodable { .. })
    ));
    engine.shutdown(NO_GRACE).await;

    // Still unreadable: tried once, parked again.
    let engine = reads_text().await;
    loop {
        let task = engine.get("a").await.unwrap().unwrap();
        if task.status == Status::Suspended && task.etag > parked.etag {
            break;
        }
        tokio::task::yield_now().await;
    }
    engine.shutdown(NO_GRACE).await;

    let engine = reads_numbers.open().await.unwrap();
    engine.recovery().await;
    assert_eq!(
        engine
            .attach(NUMBER, "a")
            .await
            .unwrap()
            .result()
            .await
            .unwrap(),
        7
    );
    let ended = engine.get("a").await.unwrap().unwrap();
    assert_eq!((ended.ended, ended.attempt), (Some(Ended::Succeeded), 1));
}

#[tokio::test]
async fn an_output_read_as_another_type_is_an_error_and_stays() {
    let engine = Engine::in_memory().task(TEXT, echo).open().await.unwrap();
    engine.run(TEXT, "a", &"x".to_owned()).await.unwrap();
    let wrong = engine.attach(NUMBER, "a").await.unwrap().result().await;
    assert!(matches!(wrong, Err(ResultError::Undecodable { .. })));
    assert_eq!(
        engine
            .attach(TEXT, "a")
            .await
            .unwrap()
            .result()
            .await
            .unwrap(),
        "x"
    );
}

#[tokio::test]
async fn an_input_without_a_json_form_is_refused_at_the_door() {
    type Map = std::collections::BTreeMap<(u8, u8), u8>;
    const MAP: TaskDef<Map, ()> = TaskDef::new("map");
    let engine = Engine::in_memory()
        .task(MAP, |_: Ctx, _| async { Ok::<_, HandlerError>(()) })
        .open()
        .await
        .unwrap();
    let refused = engine.start(MAP, "a", &Map::from([((1, 2), 3)])).await;
    assert!(matches!(
        refused,
        Err(StartError::Input(ValueError::NotJson { what: "input", .. }))
    ));
}
