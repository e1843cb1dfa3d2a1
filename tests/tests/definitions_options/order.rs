//! The order in which due tasks of one definition come to run: by rank, then by time.

use crate::{NO_GRACE, in_time, on, opened, secs, task};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use std::sync::Arc;
use std::time::Duration;

const TASK: TaskDef<u32, u32> = TaskDef::new("task");
/// The task that keeps the only slot until the gate opens.
const HOLDS: u32 = 1000;

/// An engine with one slot, whose handler notes the inputs it is entered with.
async fn one_slot(store: &Arc<MemStore>, gate: &Gate, entered: &Notes<u32>) -> Engine {
    let (gate, entered) = (gate.clone(), entered.clone());
    let builder = on(store).max_running(1).task(TASK, move |_: Ctx, n| {
        let gate = gate.clone();
        entered.add(n);
        async move {
            if n == HOLDS {
                gate.pass().await;
            }
            Ok::<_, HandlerError>(n)
        }
    });
    opened(builder).await
}

#[tokio::test(start_paused = true)]
async fn due_tasks_run_by_rank_and_within_a_rank_by_age() {
    let (store, gate, entered) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let engine = one_slot(&store, &gate, &entered).await;
    engine.start(TASK, "holds", &HOLDS).await.unwrap();
    in_time(gate.came(1)).await;
    let mut runs = Vec::new();
    for (n, rank) in [4, 7, 0, 4, 9, 0, 1].into_iter().enumerate() {
        let start = engine.start(TASK, format!("t{n}"), &u32::try_from(n).unwrap());
        runs.push(start.priority(rank).await.unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        task(&engine, "t4").await.priority,
        7,
        "there is no rank behind the last"
    );
    gate.let_through(1);
    for run in &runs {
        in_time(run.result()).await.unwrap();
    }
    assert_eq!(entered.take(), [HOLDS, 2, 5, 6, 0, 3, 1, 4]);
}

#[tokio::test(start_paused = true)]
async fn the_order_holds_after_a_reopen() {
    let (store, gate, entered) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let engine = one_slot(&store, &gate, &entered).await;
    engine.start(TASK, "holds", &HOLDS).await.unwrap();
    in_time(gate.came(1)).await;
    for (n, rank) in [5, 3, 4].into_iter().enumerate() {
        let start = engine.start(TASK, format!("t{n}"), &u32::try_from(n).unwrap());
        start.priority(rank).await.unwrap();
    }
    engine.shutdown(NO_GRACE).await;
    entered.take();

    let engine = one_slot(&store, &gate, &entered).await;
    gate.let_through(1);
    let last = engine.attach(TASK, "t0").await.unwrap();
    in_time(last.result()).await.unwrap();
    assert_eq!(
        entered.take(),
        [HOLDS, 1, 2, 0],
        "what ran comes before what waits"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rank_of_the_future_holds_up_nobody() {
    let (store, gate, entered) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let engine = one_slot(&store, &gate, &entered).await;
    let later = engine
        .start(TASK, "later", &0)
        .priority(0)
        .start_in(secs(100))
        .await
        .unwrap();
    let last = engine.start(TASK, "last", &7).priority(7).await.unwrap();
    assert_eq!(in_time(last.result()).await.unwrap(), 7);
    assert_eq!(entered.take(), [7]);
    in_time(later.result()).await.unwrap();
    assert_eq!(entered.take(), [0]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_moment_does_not_pass_a_better_rank() {
    let (store, gate, entered) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let engine = one_slot(&store, &gate, &entered).await;
    engine.start(TASK, "holds", &HOLDS).await.unwrap();
    in_time(gate.came(1)).await;
    let early = engine
        .start(TASK, "early", &1)
        .priority(4)
        .start_in(secs(1))
        .await
        .unwrap();
    let better = engine
        .start(TASK, "better", &2)
        .priority(3)
        .start_in(secs(50))
        .await
        .unwrap();
    tokio::time::sleep(secs(60)).await;
    gate.let_through(1);
    in_time(early.result()).await.unwrap();
    in_time(better.result()).await.unwrap();
    assert_eq!(entered.take(), [HOLDS, 2, 1]);
}
