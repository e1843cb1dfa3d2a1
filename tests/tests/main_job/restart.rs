//! What a restart finds again.

use crate::{ECHO, GATED, Gate, NO_GRACE, echo, gated};
use outlive::{Accepted, Ctx, Engine, Entry, HandlerError, OpenError, Status, WaitReason};
use outlive_storage::MemStore;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// Opens an engine on a file that another one may still be letting go of.
async fn opened(path: &Path, entries: &Arc<Mutex<Vec<Entry>>>, gate: &Gate) -> Engine {
    loop {
        let (entries, gate) = (Arc::clone(entries), gate.clone());
        let engine = Engine::builder(path).task(GATED, move |ctx: Ctx, n| {
            let (entries, gate) = (Arc::clone(&entries), gate.clone());
            async move {
                entries.lock().push(ctx.entry());
                gate.pass().await;
                Ok::<_, HandlerError>(n + 1)
            }
        });
        match engine.open().await {
            Ok(engine) => return engine,
            Err(OpenError::AlreadyRunning { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_engine_leaves_its_tasks_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (entries, gate) = (Arc::default(), Gate::closed());
    let engine = opened(&path, &entries, &gate).await;
    engine.start(GATED, "a", &1).await.unwrap();
    gate.came(1).await;
    drop(engine);
    let engine = opened(&path, &entries, &gate).await;
    gate.let_through(1);
    let run = engine.attach(GATED, "a").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 2);
    assert_eq!(
        *entries.lock(),
        [Entry::Fresh, Entry::Recovered { crashes: 0 }]
    );
    let task = engine.get("a").await.unwrap().unwrap();
    assert_eq!(
        (task.attempt, task.crashes),
        (1, 0),
        "neither attempt nor crash is charged"
    );
}

#[tokio::test]
async fn a_generation_grows_with_every_claim_of_a_file() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let mut last = 0;
    for round in 1..=5 {
        let engine = gated(&store, &gate).await;
        if round == 1 {
            engine.start(GATED, "a", &1).await.unwrap();
        }
        gate.came(1).await;
        let generation = engine.get("a").await.unwrap().unwrap().generation;
        assert!(
            generation > last,
            "round {round}: {generation} after {last}"
        );
        last = generation;
        engine.shutdown(NO_GRACE).await;
    }
}

#[tokio::test]
async fn the_same_start_with_its_input_id_gives_the_handle_back_after_a_restart() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = gated(&store, &gate).await;
    engine
        .start(GATED, "a", &1)
        .input_id("order")
        .await
        .unwrap();
    gate.came(1).await;
    engine.shutdown(NO_GRACE).await;
    let engine = gated(&store, &gate).await;
    let again = engine
        .start(GATED, "a", &1)
        .input_id("order")
        .await
        .unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Attached));
    gate.let_through(1);
    assert_eq!(again.result().await.unwrap(), 2);
    engine.shutdown(NO_GRACE).await;
    // Also when all is over, where a start without the input id is refused.
    let engine = gated(&store, &gate).await;
    let again = engine
        .start(GATED, "a", &1)
        .input_id("order")
        .await
        .unwrap();
    assert_eq!(again.result().await.unwrap(), 2);
    let refused = engine.start(GATED, "a", &1).await;
    assert!(matches!(
        refused,
        Err(outlive::StartError::Conflict {
            status: Status::Completed,
            ..
        })
    ));
}

#[tokio::test]
async fn a_task_without_a_handler_waits_for_a_program_that_has_it() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = gated(&store, &gate).await;
    engine.start(GATED, "a", &1).await.unwrap();
    gate.came(1).await;
    engine.shutdown(NO_GRACE).await;

    let without = Engine::on_store(Arc::<MemStore>::clone(&store));
    let engine = without.task(ECHO, echo).open().await.unwrap();
    let report = engine.recovery().await;
    assert_eq!(
        (report.found, report.dispatched, report.waiting_handler),
        (1, 0, 1)
    );
    let listed = engine.list_all().limit(10).await.unwrap().tasks;
    let [task] = &listed[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (task.name.as_str(), task.status),
        (GATED.name(), Status::Pending)
    );
    assert_eq!(task.wait, Some(WaitReason::WaitingHandler));
    assert_eq!(engine.run(ECHO, "b", &"x".to_owned()).await.unwrap(), "x");
    engine.shutdown(NO_GRACE).await;

    gate.let_through(1);
    let engine = gated(&store, &gate).await;
    let run = engine.attach(GATED, "a").await.unwrap();
    assert_eq!(run.result().await.unwrap(), 2);
    let task = engine.get("a").await.unwrap().unwrap();
    assert_eq!((task.attempt, task.crashes), (1, 0));
}

#[tokio::test]
async fn what_is_started_while_the_scan_runs_is_not_recovered() {
    let (store, gate) = (Arc::new(MemStore::new()), Gate::closed());
    let engine = gated(&store, &gate).await;
    let many = (0..200).map(|n| (format!("old{n}"), 1));
    engine.start_many(GATED, many).await;
    gate.came(200).await;
    engine.shutdown(NO_GRACE).await;
    let (gate, entries) = (Gate::closed(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&entries);
    let engine = Engine::on_store(Arc::<MemStore>::clone(&store))
        .max_running(10_000)
        .task(GATED, move |ctx: Ctx, n| {
            let recovered = matches!(ctx.entry(), Entry::Recovered { .. });
            noted.lock().push((ctx.id().to_string(), recovered));
            std::future::ready(Ok::<_, HandlerError>(n))
        })
        .open()
        .await
        .unwrap();
    for run in engine
        .start_many(GATED, (0..200).map(|n| (format!("new{n}"), 1)))
        .await
    {
        run.unwrap().result().await.unwrap();
    }
    assert_eq!(engine.recovery().await.found, 200);
    for n in 0..200 {
        let run = engine.attach(GATED, format!("old{n}")).await.unwrap();
        run.result().await.unwrap();
    }
    let entries = entries.lock();
    assert_eq!(entries.len(), 400, "each is entered once");
    assert!(
        entries
            .iter()
            .all(|(id, recovered)| id.starts_with("old") == *recovered)
    );
    drop(gate);
}
