//! Starting, waiting, looking, listing.

use crate::{ECHO, GATED, Gate, echo, gated};
use outlive::{Accepted, Ctx, Ended, Engine, HandlerError, InputId, Status, TaskDef};
use outlive_storage::MemStore;
use std::collections::BTreeSet;
use std::sync::Arc;

#[tokio::test]
async fn a_task_runs_to_its_output_and_every_handle_gives_it() {
    let engine = Engine::in_memory().task(ECHO, echo).open().await.unwrap();
    let run = engine.start(ECHO, "a", &"x".to_owned()).await.unwrap();
    assert_eq!(run.accepted(), Some(Accepted::Started));
    assert_eq!(run.result().await.unwrap(), "x");
    assert_eq!(run.result().await.unwrap(), "x", "a handle answers twice");
    let attached = engine.attach(ECHO, "a").await.unwrap();
    assert_eq!(attached.accepted(), None);
    assert_eq!(attached.input_id(), run.input_id());
    assert_eq!(attached.await.unwrap(), "x");
    assert_eq!(engine.run(ECHO, "b", &"y".to_owned()).await.unwrap(), "y");
    let outcome = run.outcome().await.unwrap();
    assert_eq!((outcome.turn(), outcome.is_superseded()), (1, false));
}

#[tokio::test]
async fn a_snapshot_tells_how_the_task_stands() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = gated(&store, &gate).await;
    let run = engine
        .start(GATED, "a", &1)
        .input_id("first")
        .await
        .unwrap();
    gate.came(1).await;
    let running = engine.get("a").await.unwrap().unwrap();
    assert_eq!(running.status, Status::InProgress);
    assert_eq!((running.run, running.turn, running.attempt), (1, 1, 1));
    assert_eq!(running.input_id, InputId::new("first").unwrap());
    assert_eq!((running.wait, running.ended), (None, None));
    gate.let_through(1);
    assert_eq!(run.result().await.unwrap(), 2);
    let ended = engine.get("a").await.unwrap().unwrap();
    assert_eq!(ended.status, Status::Completed);
    assert_eq!(ended.ended, Some(Ended::Succeeded));
    assert!(ended.etag > running.etag, "each transition has a new etag");
    assert_eq!(ended.generation, running.generation);
    assert!(engine.get("b").await.unwrap().is_none());
}

#[tokio::test]
async fn a_list_is_of_one_definition_newest_first_and_pages_miss_nothing() {
    const OTHER: TaskDef<String, String> = TaskDef::new("other");
    let engine = Engine::in_memory()
        .task(ECHO, echo)
        .task(OTHER, echo)
        .open()
        .await
        .unwrap();
    for n in 0..7 {
        engine
            .run(ECHO, format!("e{n}"), &String::new())
            .await
            .unwrap();
        engine
            .run(OTHER, format!("o{n}"), &String::new())
            .await
            .unwrap();
    }
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = engine.list(ECHO).after(after).limit(3).await.unwrap();
        assert!(page.tasks.len() <= 3 && page.damaged.is_empty());
        ids.extend(page.tasks.into_iter().map(|task| task.id.to_string()));
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(ids, ["e6", "e5", "e4", "e3", "e2", "e1", "e0"]);
    assert_eq!(engine.list_all().limit(100).await.unwrap().tasks.len(), 14);
}

#[tokio::test]
async fn starting_many_answers_each_in_its_order() {
    let engine = Engine::in_memory().task(ECHO, echo).open().await.unwrap();
    let texts: Vec<(String, String)> = (0..1500)
        .map(|n| {
            // Every hundredth id is refused, which does not touch its neighbours.
            let id = if n % 100 == 99 {
                " ".to_owned()
            } else {
                format!("t{n}")
            };
            (id, n.to_string())
        })
        .collect();
    let runs = engine.start_many(ECHO, texts).await;
    assert_eq!(runs.len(), 1500);
    for (n, run) in runs.into_iter().enumerate() {
        match run {
            Ok(run) => assert_eq!(run.result().await.unwrap(), n.to_string()),
            Err(refused) => {
                assert!(matches!(refused, outlive::StartError::InvalidId(_)));
                assert_eq!(n % 100, 99);
            }
        }
    }
}

#[tokio::test]
async fn a_task_without_an_id_gets_one_of_its_own() {
    let engine = Engine::in_memory().task(ECHO, echo).open().await.unwrap();
    let mut ids = BTreeSet::new();
    for _ in 0..10 {
        let run = engine.start(ECHO, (), &"x".to_owned()).await.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Started));
        ids.insert(run.id().clone());
    }
    assert_eq!(ids.len(), 10);
}

#[tokio::test]
async fn a_restarted_batch_attaches_and_another_input_is_refused() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = gated(&store, &gate).await;
    let first = engine.start(GATED, "a", &1).await.unwrap();
    let again = engine.start(GATED, "a", &1).await.unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Attached));
    assert_eq!(again.input_id(), first.input_id());
    gate.came(1).await;
    let other = engine.start(GATED, "a", &2).await;
    assert!(matches!(
        other,
        Err(outlive::StartError::Conflict {
            status: Status::InProgress,
            reason: None,
            ..
        })
    ));
    gate.let_through(1);
    assert_eq!(again.result().await.unwrap(), 2);
}

/// A result asked for between the commit of the end and the words to the waiters was told that the task had ended
/// before its input got a turn; between two turns it was never told anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_asked_for_at_any_moment_is_the_output() {
    const STEERED: TaskDef<u32, u32> = TaskDef::new("steered").steerable(9);
    let quick = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
    let engine = Engine::on_store(Arc::new(MemStore::new()))
        .task(STEERED, quick)
        .open()
        .await
        .unwrap();
    for round in 0..300_u32 {
        let id = format!("t{round}");
        let run = engine.start(STEERED, id.as_str(), &7).await.unwrap();
        let steer = engine.start(STEERED, id.as_str(), &8).await;
        let asker = tokio::spawn(async move {
            for _ in 0..30 {
                assert_eq!(run.result().await.unwrap(), 7, "round {round}");
            }
        });
        if let Ok(steer) = steer {
            assert_eq!(steer.result().await.unwrap(), 8, "round {round}");
        }
        asker.await.unwrap();
    }
}
