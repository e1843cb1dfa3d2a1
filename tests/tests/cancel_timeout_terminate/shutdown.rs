//! A shutdown is not a cancel: what is left is recovered, and a handler may leave early for that.

use crate::{NO_GRACE, Stage, in_time, known, on, opened, secs};
use outlive::{Ctx, Entry, HandlerError, NotShuttingDown, ResultError, Status, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::gate::{Drops, Gate, Notes};
use std::sync::Arc;

const ONE: TaskDef<u32, u32> = TaskDef::new("one");

#[tokio::test(start_paused = true)]
async fn what_a_shutdown_drops_is_recovered_and_was_told_of_no_cancel() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), ONE)).await;
    let run = engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let waiting = tokio::spawn(async move { run.result().await });
    engine.shutdown(secs(10)).await;
    assert_eq!((stage.gone.count(), stage.told.len()), (1, 0));
    let told = in_time(waiting).await.unwrap();
    assert!(matches!(told, Err(ResultError::ShuttingDown)), "{told:?}");

    let entries = Notes::default();
    let notes = entries.clone();
    let builder = on(&store).task(ONE, move |ctx: Ctx, n| {
        notes.add((ctx.entry(), ctx.attempt(), ctx.cause().is_some()));
        async move { Ok::<_, HandlerError>(n) }
    });
    let engine = opened(builder).await;
    let run = engine.attach(ONE, "a").await.unwrap();
    assert_eq!(in_time(run.result()).await.unwrap(), 1);
    let recovered = (Entry::Recovered { crashes: 0 }, 1, false);
    assert_eq!(
        entries.take(),
        [recovered],
        "no attempt, no crash, no cause"
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_leaves_for_the_next_open_only_while_the_engine_shuts_down() {
    let (store, gate, drops) = (Arc::new(MemStore::new()), Gate::closed(), Drops::default());
    let (held, guards) = (gate.clone(), drops.clone());
    let (refused, entries) = (Notes::default(), Notes::default());
    let (refusals, notes) = (refused.clone(), entries.clone());
    let builder = on(&store).task(ONE, move |ctx: Ctx, n| {
        let (gate, guard, refusals) = (held.clone(), guards.guard(), refusals.clone());
        notes.add((ctx.entry(), ctx.attempt()));
        async move {
            let _guard = guard;
            let Err(NotShuttingDown) = ctx.exit_for_recovery().await;
            refusals.add(());
            gate.arrive();
            ctx.shutdown().await;
            ctx.exit_for_recovery().await?;
            Ok::<_, HandlerError>(n)
        }
    });
    let engine = opened(builder).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    assert_eq!(
        (refused.len(), drops.count()),
        (1, 0),
        "it is refused, and the handler goes on"
    );
    let began = tokio::time::Instant::now();
    assert_eq!(engine.shutdown(secs(1000)).await.still_running, 0);
    assert!(began.elapsed() < secs(1), "nobody is waited for");
    assert_eq!(drops.count(), 1);

    let notes = entries.clone();
    let builder = on(&store).task(ONE, move |ctx: Ctx, n| {
        notes.add((ctx.entry(), ctx.attempt()));
        async move { Ok::<_, HandlerError>(n) }
    });
    let engine = opened(builder).await;
    let run = engine.attach(ONE, "a").await.unwrap();
    assert_eq!(
        in_time(run.result()).await.unwrap(),
        1,
        "nothing was recorded"
    );
    let expected = [(Entry::Fresh, 1), (Entry::Recovered { crashes: 0 }, 1)];
    assert_eq!(entries.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_during_a_shutdown_is_on_record_and_ends_the_turn_at_the_next_open() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), ONE)).await;
    engine.start(ONE, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let stopping = engine.clone();
    let stops = tokio::spawn(async move { stopping.shutdown(secs(10)).await });
    tokio::task::yield_now().await;
    engine.cancel("a", "stop").await.unwrap();
    in_time(stops).await.unwrap();
    let causes = stage.told.take().remove(0).causes.unwrap();
    assert!(causes.shutdown() && causes.cancel_requested() == Some("stop"));

    let engine = opened(stage.deaf(on(&store), ONE)).await;
    let run = engine.attach(ONE, "a").await.unwrap();
    let ended = in_time(run.result()).await;
    assert!(
        matches!(ended, Err(ResultError::Cancelled { .. })),
        "{ended:?}"
    );
    assert_eq!(stage.gate.uncounted(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_turn_times_out_while_nothing_runs_it() {
    const LIMITED: TaskDef<u32, u32> = TaskDef::new("limited").timeout(secs(10)).grace(secs(1));
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), LIMITED)).await;
    engine.start(LIMITED, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    // Its time and its grace are over within the grace of the shutdown: the engine still keeps its word.
    let stopping = engine.clone();
    let stops = tokio::spawn(async move { stopping.shutdown(secs(9)).await });
    in_time(stops).await.unwrap();
    tokio::time::sleep(secs(100)).await;
    assert!(stage.told.is_empty());
    engine.shutdown(NO_GRACE).await;
    let engine = opened(stage.deaf(on(&store), LIMITED)).await;
    in_time(stage.gate.came(1)).await;
    assert_eq!(known(engine.get("a").await).status, Status::InProgress);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_within_the_grace_of_a_shutdown_is_recorded() {
    const LIMITED: TaskDef<u32, u32> = TaskDef::new("limited").timeout(secs(10)).grace(secs(1));
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), LIMITED)).await;
    let run = engine.start(LIMITED, "a", &1).await.unwrap();
    in_time(stage.gate.came(1)).await;
    let waiting = tokio::spawn(async move { run.result().await });
    let began = tokio::time::Instant::now();
    let report = in_time(engine.shutdown(secs(60))).await;
    assert_eq!(report.still_running, 0);
    assert!(began.elapsed() < secs(12), "{:?}", began.elapsed());
    let told = in_time(waiting).await.unwrap();
    assert!(
        matches!(
            told,
            Err(ResultError::Terminated {
                timed_out: true,
                ..
            })
        ),
        "{told:?}"
    );
}
