//! When metadata is durable: with the turn's end in one commit, within a second, at once with a flush; and what becomes
//! of it later.

use crate::{TASK, in_time, on, opened, seen};
use outlive::{
    Accepted, Ctx, Engine, FlushError, HandlerError, OnConflict, Reply, RetryPolicy, Status,
    TaskDef, TaskOptions,
};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use outlive_tests::gate::{Gate, Notes, until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const NO_GRACE: Duration = Duration::ZERO;

/// What a turn did that stores when it ended: commits since its start, and what was seen then.
async fn with_the_end(
    end: impl Fn() -> Result<Reply<u32>, HandlerError> + Send + Sync + 'static,
) -> (u64, outlive::Snapshot) {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let gate = Gate::closed();
    let held = gate.clone();
    let retry = RetryPolicy::fixed().initial(Duration::from_secs(3600));
    let builder = on(&store).task(TASK.retry(retry), move |ctx: Ctx, _| {
        let (gate, end) = (held.clone(), end());
        async move {
            gate.pass().await;
            ctx.metadata().set("at", "the end")?;
            end
        }
    });
    let engine = opened(builder).await;
    engine.start(TASK, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    let before = store.commits.load(Ordering::SeqCst);
    gate.let_through(1);
    let look = async || engine.get("a").await.unwrap().expect("the task is there");
    until(async || look().await.status != Status::InProgress).await;
    let commits = store.commits.load(Ordering::SeqCst) - before;
    (commits, look().await)
}

#[tokio::test(start_paused = true)]
async fn what_was_set_rides_in_the_commit_of_the_turns_end_whatever_that_is() {
    type End = fn() -> Result<Reply<u32>, HandlerError>;
    let ends: [(End, Status); 5] = [
        (|| Ok(1.into()), Status::Completed),
        (|| Ok(Reply::suspend(1, "more")), Status::Suspended),
        (|| Err("again".into()), Status::Pending),
        (|| Err(HandlerError::terminal("no")), Status::Completed),
        (|| Err(HandlerError::cancelled()), Status::Completed),
    ];
    for (end, status) in ends {
        let (commits, task) = with_the_end(end).await;
        assert_eq!((commits, task.status), (1, status));
        assert_eq!(json!(task.metadata), json!({"default": {"at": "the end"}}));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_panicking_handler_had_set_is_kept() {
    let builder =
        Engine::in_memory().task(TASK.retry(RetryPolicy::none()), |ctx: Ctx, n| async move {
            ctx.metadata().set("at", "the edge")?;
            if n == 1 {
                std::panic::resume_unwind(Box::new("broken"));
            }
            Ok::<_, HandlerError>(n)
        });
    let engine = opened(builder).await;
    in_time(engine.run(TASK, "a", &1)).await.unwrap_err();
    assert_eq!(seen(&engine, "a").await["default"]["at"], "the edge");
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_sets_nothing_writes_none() {
    let store = Faulty::on(&Arc::new(MemStore::new()));
    let builder = on(&store).task(TASK, |ctx: Ctx, n| async move {
        assert_eq!(ctx.metadata().get::<u32>("x")?, None);
        ctx.flush_metadata().await?;
        tokio::time::sleep(Duration::from_secs(100)).await;
        Ok::<_, HandlerError>(n)
    });
    let engine = opened(builder).await;
    let before = store.commits.load(Ordering::SeqCst);
    in_time(engine.run(TASK, "a", &1)).await.unwrap();
    assert_eq!(
        store.commits.load(Ordering::SeqCst) - before,
        2,
        "start and end"
    );
    assert!(seen(&engine, "a").await.is_empty());
}

/// A handler that sets `n` to each number it is sent, and never ends.
fn setting(builder: outlive::Builder, gate: &Gate) -> outlive::Builder {
    let gate = gate.clone();
    builder.task(TASK, move |ctx: Ctx, _| {
        let gate = gate.clone();
        async move {
            loop {
                gate.pass().await;
                ctx.metadata().increment("n", 1)?;
            }
            #[allow(unreachable_code)] // It says what the loop never returns.
            Ok::<u32, HandlerError>(0)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_change_is_durable_after_a_second_and_shown_no_sooner() {
    let gate = Gate::closed();
    let engine = opened(setting(Engine::in_memory(), &gate)).await;
    let run = engine.start(TASK, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    let etag = run.refresh().await.unwrap().etag;
    gate.let_through(1);
    in_time(gate.came(1)).await;
    assert!(seen(&engine, "a").await.is_empty(), "it is in memory alone");
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(seen(&engine, "a").await.is_empty());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(
        json!(seen(&engine, "a").await),
        json!({"default": {"n": 1}})
    );
    assert_eq!(
        json!(run.metadata().await.unwrap()),
        json!({"default": {"n": 1}})
    );
    let task = run.refresh().await.unwrap();
    assert_eq!(
        (task.etag, task.status),
        (etag, Status::InProgress),
        "it is no transition"
    );
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_cost_a_commit_a_second() {
    let (store, gate) = (Faulty::on(&Arc::new(MemStore::new())), Gate::closed());
    let engine = opened(setting(on(&store), &gate)).await;
    engine.start(TASK, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    let before = store.commits.load(Ordering::SeqCst);
    for _ in 0..1000 {
        gate.let_through(1);
        in_time(gate.came(1)).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let commits = store.commits.load(Ordering::SeqCst) - before;
    assert!(
        (9..=11).contains(&commits),
        "ten seconds, {commits} commits"
    );
    assert_eq!(seen(&engine, "a").await["default"]["n"], 1000);
}

/// A handler that sets, flushes and notes what came of it, each time it is let through.
fn flushing(
    builder: outlive::Builder,
    gate: &Gate,
    notes: &Notes<Result<(), FlushError>>,
) -> outlive::Builder {
    let (gate, notes) = (gate.clone(), notes.clone());
    builder.task(TASK, move |ctx: Ctx, _| {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            loop {
                gate.pass().await;
                ctx.metadata().increment("n", 1)?;
                notes.add(ctx.flush_metadata().await);
            }
            #[allow(unreachable_code)] // It says what the loop never returns.
            Ok::<u32, HandlerError>(0)
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_durable_and_shown_when_it_returns() {
    let (store, gate, notes) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let engine = opened(flushing(on(&store), &gate, &notes)).await;
    engine.start(TASK, "a", &1).await.unwrap();
    for n in 1..4 {
        in_time(gate.came(1)).await;
        gate.let_through(1);
        assert!(notes.some().await.remove(0).is_ok());
        assert_eq!(seen(&engine, "a").await["default"]["n"], n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_the_store_refuses_is_an_error() {
    let (truth, gate, notes) = (Arc::new(MemStore::new()), Gate::closed(), Notes::default());
    let store = Faulty::on(&truth);
    let engine = opened(flushing(on(&store), &gate, &notes)).await;
    engine.start(TASK, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    gate.let_through(1);
    in_time(gate.came(1)).await;
    assert!(matches!(notes.take()[..], [Ok(())]));
    store.fail_before_commit.store(true, Ordering::SeqCst);
    gate.let_through(1);
    in_time(gate.came(1)).await;
    let told = notes.take();
    assert!(matches!(told[..], [Err(FlushError::Store(_))]), "{told:?}");
    gate.let_through(1);
    in_time(gate.came(1)).await;
    let told = notes.take();
    assert!(
        matches!(told[..], [Err(FlushError::Store(_))]),
        "and again: {told:?}"
    );
    drop(engine);

    let engine = opened(on(&truth)).await;
    assert_eq!(
        json!(seen(&engine, "a").await),
        json!({"default": {"n": 1}})
    );
}

#[tokio::test(start_paused = true)]
async fn a_flush_after_the_end_of_the_turn_is_refused() {
    let (gate, notes) = (Gate::closed(), Notes::default());
    let (held, told) = (gate.clone(), notes.clone());
    let builder = Engine::in_memory().task(TASK, move |ctx: Ctx, n| {
        let (gate, notes) = (held.clone(), told.clone());
        async move {
            tokio::spawn(async move {
                gate.pass().await;
                ctx.metadata().set("late", true).unwrap();
                notes.add(ctx.flush_metadata().await);
                gate.arrive();
            });
            Ok::<_, HandlerError>(n)
        }
    });
    let engine = opened(builder).await;
    in_time(engine.run(TASK, "a", &1)).await.unwrap();
    in_time(gate.came(1)).await;
    gate.let_through(1);
    in_time(gate.came(1)).await;
    let told = notes.take();
    assert!(matches!(told[..], [Err(FlushError::TurnOver)]), "{told:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(seen(&engine, "a").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flush_after_the_end_of_the_engine_is_refused() {
    let (gate, notes) = (Gate::closed(), Notes::default());
    let (held, told) = (gate.clone(), notes.clone());
    let builder = Engine::in_memory().task(TASK, move |ctx: Ctx, _| {
        let (gate, notes) = (held.clone(), told.clone());
        async move {
            tokio::spawn(async move {
                gate.pass().await;
                ctx.metadata().set("late", true).unwrap();
                notes.add(ctx.flush_metadata().await);
                gate.arrive();
            });
            std::future::pending::<Result<u32, HandlerError>>().await
        }
    });
    let engine = opened(builder).await;
    engine.start(TASK, "a", &1).await.unwrap();
    in_time(gate.came(1)).await;
    engine.shutdown(NO_GRACE).await;
    gate.let_through(1);
    in_time(gate.came(1)).await;
    let told = notes.take();
    assert!(
        matches!(told[..], [Err(FlushError::ShuttingDown)]),
        "{told:?}"
    );
}

/// Handlers that count their entries in the metadata, and do as their input says.
fn counting(builder: outlive::Builder) -> outlive::Builder {
    builder.task(TASK, |ctx: Ctx, input| async move {
        let count = ctx.metadata().increment("entries", 1)?;
        match input {
            0 => Ok(Reply::suspend(0, "more")),
            1 if ctx.attempt() < 3 => Err("again".into()),
            2 if count < 4 => {
                ctx.flush_metadata().await?;
                std::future::pending().await
            }
            _ => Ok(Reply::output(u32::try_from(count)?)),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn it_survives_retries() {
    let engine = opened(counting(Engine::in_memory())).await;
    assert_eq!(in_time(engine.run(TASK, "a", &1)).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn it_survives_recoveries() {
    let store = Arc::new(MemStore::new());
    for round in 0..3 {
        let engine = opened(counting(on(&store))).await;
        let run = engine.start(TASK, "a", &2).await.unwrap();
        until(async || {
            let seen = seen(&engine, "a").await;
            (seen.get("default")).is_some_and(|map| map["entries"] == round + 1)
        })
        .await;
        assert_eq!(
            run.accepted(),
            Some(if round == 0 {
                Accepted::Started
            } else {
                Accepted::Attached
            })
        );
        engine.shutdown(NO_GRACE).await;
    }
    let engine = opened(counting(on(&store))).await;
    let run = engine.attach(TASK, "a").await.unwrap();
    assert_eq!(in_time(run.result()).await.unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn it_is_there_in_the_next_turn_and_in_the_next_run() {
    let store = Arc::new(MemStore::new());
    let engine = opened(counting(on(&store))).await;
    for _ in 0..2 {
        in_time(engine.run(TASK, "a", &0)).await.unwrap();
    }
    engine.shutdown(NO_GRACE).await;
    let engine = opened(counting(on(&store))).await;
    assert_eq!(in_time(engine.run(TASK, "a", &9)).await.unwrap(), 3);
    let again = engine
        .start(TASK, "a", &9)
        .on_conflict(OnConflict::Restart)
        .await
        .unwrap();
    assert_eq!(in_time(again.result()).await.unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn it_is_gone_with_its_task() {
    let engine = opened(counting(Engine::in_memory())).await;
    assert_eq!(in_time(engine.run(TASK, "a", &9)).await.unwrap(), 1);
    engine.delete("a").await.unwrap();
    assert_eq!(
        in_time(engine.run(TASK, "a", &9)).await.unwrap(),
        1,
        "deleted"
    );
    let once = TASK.with(TaskOptions::new().ephemeral());
    for _ in 0..2 {
        // Later, so that its caller waits before it ends.
        let run = engine
            .start(once, "b", &9)
            .start_in(Duration::from_secs(1))
            .await
            .unwrap();
        assert_eq!(in_time(run.result()).await.unwrap(), 1, "ephemeral");
    }
}

/// The end of a turn comes after a flush that is under way, and has the last word.
#[tokio::test(start_paused = true)]
async fn the_end_has_the_last_word() {
    let builder = Engine::in_memory().task(TASK, |ctx: Ctx, n| async move {
        for n in 0..100 {
            ctx.metadata().set("n", n)?;
            let flushing = ctx.clone();
            tokio::spawn(async move { flushing.flush_metadata().await });
            if n % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        ctx.metadata().set("n", "last")?;
        Ok::<_, HandlerError>(n)
    });
    let engine = opened(builder).await;
    in_time(engine.run(TASK, "a", &1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(seen(&engine, "a").await["default"]["n"], "last");
}

#[tokio::test(start_paused = true)]
async fn from_outside_it_is_a_copy() {
    const OTHER: TaskDef<u32, Value> = TaskDef::new("other");
    let builder = Engine::in_memory().task(OTHER, |ctx: Ctx, _| async move {
        ctx.metadata().set("x", 1)?;
        Ok::<_, HandlerError>(json!(ctx.metadata().to_map()))
    });
    let engine = opened(builder).await;
    let run = engine.start(OTHER, "a", &1).await.unwrap();
    assert_eq!(in_time(run.result()).await.unwrap(), json!({"x": 1}));
    let mut copy = run.metadata().await.unwrap();
    copy.clear();
    assert_eq!(
        json!(run.metadata().await.unwrap()),
        json!({"default": {"x": 1}})
    );
}
