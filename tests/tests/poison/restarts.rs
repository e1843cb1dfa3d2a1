//! Stops in order, again and again, while work is under way: they cost no attempt, and are no crash.

use outlive::{Ctx, Engine, HandlerError, Run, Status, TaskDef};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::yield_now;

const HOLD: TaskDef<u32, u32> = TaskDef::new("hold");
const SHORT: TaskDef<u32, u32> = TaskDef::new("short");
const HELD: u32 = 8;
const SHORT_PER_ROUND: u32 = 16;

async fn open(path: &Path, held: watch::Receiver<bool>) -> Engine {
    let hold = move |_: Ctx, n| {
        let mut held = held.clone();
        async move {
            held.wait_for(|held| !held).await?;
            Ok::<_, HandlerError>(n)
        }
    };
    let short = |_: Ctx, n| async move {
        for _ in 0..n % 40 {
            yield_now().await;
        }
        Ok::<_, HandlerError>(n)
    };
    let builder = Engine::builder(path).task(HOLD, hold).task(SHORT, short);
    builder.open().await.unwrap()
}

async fn ends_as_if_never_stopped<O>(run: &Run<O>) {
    let snapshot = run.refresh().await.unwrap();
    assert_eq!(snapshot.status, Status::Completed, "{snapshot:?}");
    assert_eq!((snapshot.crashes, snapshot.attempt), (0, 1), "{snapshot:?}");
}

/// `OUTLIVE_RESTARTS` says how many (25).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops_and_starts_under_load_burn_no_attempt_and_count_no_crash() {
    let rounds = std::env::var("OUTLIVE_RESTARTS").map_or(25, |rounds| rounds.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (gate, held) = watch::channel(true);
    let engine = open(&path, held.clone()).await;
    for started in engine
        .start_many(HOLD, (0..HELD).map(|n| (format!("h{n}"), n)))
        .await
    {
        started.unwrap();
    }
    engine.shutdown(Duration::ZERO).await;
    for round in 0..rounds {
        let engine = open(&path, held.clone()).await;
        let first = round * SHORT_PER_ROUND;
        let tasks = (first..first + SHORT_PER_ROUND).map(|n| (format!("s{n}"), n));
        for started in engine.start_many(SHORT, tasks).await {
            started.unwrap();
        }
        if round % 2 == 0 {
            engine.recovery().await;
        }
        engine.shutdown(Duration::ZERO).await;
    }
    gate.send_replace(false);
    let engine = open(&path, held).await;
    for n in 0..HELD {
        let run = engine.attach(HOLD, format!("h{n}")).await.unwrap();
        assert_eq!(run.result().await.unwrap(), n);
        ends_as_if_never_stopped(&run).await;
    }
    for n in 0..rounds * SHORT_PER_ROUND {
        let run = engine.attach(SHORT, format!("s{n}")).await.unwrap();
        assert_eq!(run.result().await.unwrap(), n);
        ends_as_if_never_stopped(&run).await;
    }
    println!("{rounds} stops in order under load: no attempt burnt, no crash counted");
}
