//! The time-out of a turn: from its first claim, over all its attempts, through crashes and stops.

use crate::{NEVER, NO_GRACE, Stage, TICK, assert_about, edit, in_time, known, on, opened, secs};
use outlive::{
    Ctx, Ended, Engine, Entry, GRACE, HandlerError, Outcome, Reply, ResultError, RetryPolicy, Run,
    Status, TaskDef,
};
use outlive_storage::MemStore;
use outlive_storage::row::Micros;
use outlive_tests::gate::Notes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const TIMEOUT: Duration = secs(10);
const LIMITED: TaskDef<u32, u32> = TaskDef::new("limited").timeout(TIMEOUT).grace(secs(3));
const STUBBORN: RetryPolicy = RetryPolicy::fixed().attempts(1000).jitter(false);

/// Waits for an end by time-out and answers how long that took.
async fn time_out(run: &Run<u32>) -> Duration {
    let began = Instant::now();
    let ended = in_time(run.result()).await;
    assert!(
        matches!(
            ended,
            Err(ResultError::Terminated {
                timed_out: true,
                ..
            })
        ),
        "{ended:?}"
    );
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_too_long_is_told_and_after_its_grace_dropped() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let engine = opened(stage.deaf(on(&store), LIMITED)).await;
    let run = engine.start(LIMITED, "a", &1).await.unwrap();
    let took = time_out(&run).await;
    assert_about(took, TIMEOUT + secs(3));
    let told = stage.told.take();
    let [told] = &told[..] else {
        panic!("told once: {told:?}");
    };
    assert_about(told.after, TIMEOUT);
    let causes = told
        .causes
        .as_ref()
        .expect("the cause is there when the signal is");
    assert!(causes.timed_out());
    assert!(causes.cancel_requested().is_none() && !causes.steered() && !causes.shutdown());
    tokio::task::yield_now().await;
    assert_eq!(stage.gone.count(), 1, "its future is dropped");
    let task = known(engine.get("a").await);
    assert_eq!(task.status, Status::Completed);
    assert!(matches!(
        task.ended,
        Some(Ended::Terminated {
            timed_out: true,
            ..
        })
    ));
    assert_eq!((task.attempt, task.deadline_us), (1, None));
}

#[tokio::test(start_paused = true)]
async fn before_its_time_a_turn_is_told_nothing() {
    let seen = Notes::default();
    let notes = seen.clone();
    let builder = Engine::in_memory().task(LIMITED, move |ctx: Ctx, _| {
        let notes = notes.clone();
        async move {
            tokio::time::sleep(TIMEOUT - secs(1)).await;
            notes.add(ctx.cause());
            tokio::time::sleep(secs(2)).await;
            notes.add(ctx.cause());
            Ok::<_, HandlerError>(7)
        }
    });
    let engine = opened(builder).await;
    let ended = in_time(engine.run(LIMITED, "a", &1)).await;
    assert_eq!(ended.unwrap(), 7, "an end within the grace counts");
    let seen = seen.take();
    assert_eq!(seen[0], None);
    assert!(seen[1].as_ref().is_some_and(outlive::Causes::timed_out));
}

#[tokio::test(start_paused = true)]
async fn without_a_time_out_a_turn_takes_as_long_as_it_likes() {
    const FREE: TaskDef<u32, u32> = TaskDef::new("free");
    let builder = Engine::in_memory().task(FREE, |ctx: Ctx, n| async move {
        tokio::time::sleep(NEVER / 2).await;
        assert_eq!(ctx.cause(), None);
        Ok::<_, HandlerError>(n)
    });
    let engine = opened(builder).await;
    let run = engine.start(FREE, "a", &7).await.unwrap();
    assert_eq!(known(engine.get("a").await).deadline_us, None);
    assert_eq!(in_time(run.result()).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn the_grace_is_five_seconds_by_default() {
    const DEFAULT: TaskDef<u32, u32> = TaskDef::new("default").timeout(TIMEOUT);
    let stage = Stage::new();
    let engine = opened(stage.deaf(Engine::in_memory(), DEFAULT)).await;
    let run = engine.start(DEFAULT, "a", &1).await.unwrap();
    assert_eq!(GRACE, secs(5));
    assert_about(time_out(&run).await, TIMEOUT + secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_suspension_within_the_grace_counts() {
    let (store, stage) = (Arc::new(MemStore::new()), Stage::new());
    let builder = stage.ending(on(&store), LIMITED, |_| {
        Ok(Reply::suspend(1, "late, but well"))
    });
    let engine = opened(builder).await;
    let run = engine.start(LIMITED, "a", &1).await.unwrap();
    let outcome = in_time(run.outcome()).await.unwrap();
    assert!(matches!(outcome, Outcome::Suspended { output: 1, .. }));
    let task = known(engine.get("a").await);
    assert_eq!((task.status, task.deadline_us), (Status::Suspended, None));
}

/// An error after the deadline would be tried again, and the next attempt begin with nothing left of its time.
async fn ends_timed_out_with(end: impl Fn() -> HandlerError + Clone + Send + Sync + 'static) {
    const RETRIED: TaskDef<u32, u32> = LIMITED.retry(STUBBORN);
    let stage = Stage::new();
    let builder = stage.ending(Engine::in_memory(), RETRIED, move |_| Err::<u32, _>(end()));
    let engine = opened(builder).await;
    let run = engine.start(RETRIED, "a", &1).await.unwrap();
    assert_about(time_out(&run).await, TIMEOUT);
    assert_eq!(stage.told.len(), 1, "it is not entered again");
}

#[tokio::test(start_paused = true)]
async fn an_error_within_the_grace_is_a_time_out() {
    ends_timed_out_with(|| "too late".into()).await;
}

#[tokio::test(start_paused = true)]
async fn a_terminal_error_within_the_grace_is_a_time_out() {
    ends_timed_out_with(|| HandlerError::terminal("too late")).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_gives_up_within_the_grace_has_timed_out_and_is_not_cancelled() {
    ends_timed_out_with(HandlerError::cancelled).await;
}

#[tokio::test(start_paused = true)]
async fn the_time_runs_over_all_attempts_and_through_the_back_off() {
    const FAILING: TaskDef<u32, u32> = LIMITED.retry(STUBBORN.initial(secs(3)));
    let entered = Notes::default();
    let notes = entered.clone();
    let builder = Engine::in_memory().task(FAILING, move |ctx: Ctx, _| {
        notes.add(ctx.attempt());
        async move {
            tokio::select! {
                () = ctx.cancelled() => {}
                () = tokio::time::sleep(secs(4)) => {}
            }
            Err::<u32, HandlerError>("no".into())
        }
    });
    let engine = opened(builder).await;
    let run = engine.start(FAILING, "a", &1).await.unwrap();
    assert_about(time_out(&run).await, TIMEOUT);
    assert_eq!(
        entered.take(),
        [1, 2],
        "0 to 4 s, then from 7 s until the end"
    );
    let task = known(engine.get("a").await);
    assert!(
        task.last_failure.is_some(),
        "what it failed with is still told"
    );
}

#[tokio::test(start_paused = true)]
async fn a_back_off_that_is_longer_than_the_time_left_ends_at_the_deadline() {
    const FAILING: TaskDef<u32, u32> = LIMITED.retry(STUBBORN.initial(secs(60)));
    let entered = Notes::default();
    let notes = entered.clone();
    let builder = Engine::in_memory().task(FAILING, move |_: Ctx, _| {
        notes.add(());
        async { Err::<u32, HandlerError>("no".into()) }
    });
    let engine = opened(builder).await;
    let run = engine.start(FAILING, "a", &1).await.unwrap();
    assert_about(time_out(&run).await, TIMEOUT);
    assert_eq!(entered.len(), 1, "no attempt begins after the deadline");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_turn_begins_when_it_is_entered_not_when_it_was_given() {
    let stage = Stage::new();
    let builder = stage.deaf(Engine::in_memory(), LIMITED).max_running(1);
    let engine = opened(builder).await;
    let first = engine.start(LIMITED, "first", &1).await.unwrap();
    let second = engine.start(LIMITED, "second", &1).await.unwrap();
    assert_eq!(known(engine.get("second").await).deadline_us, None);
    assert_about(time_out(&first).await, secs(13));
    assert_about(time_out(&second).await, secs(13));
}

#[tokio::test(start_paused = true)]
async fn each_turn_has_a_time_of_its_own() {
    const CHAT: TaskDef<u32, u32> = TaskDef::new("chat")
        .timeout(TIMEOUT)
        .grace(secs(1))
        .steerable(9);
    let builder = Engine::in_memory().task(CHAT, |_: Ctx, n| async move {
        tokio::time::sleep(secs(8)).await;
        Ok::<_, HandlerError>(Reply::suspend(n, "more"))
    });
    let engine = opened(builder).await;
    let mut runs = Vec::new();
    for n in 0..4 {
        runs.push(engine.start(CHAT, "a", &n).await.unwrap());
    }
    for (n, run) in runs.iter().enumerate() {
        assert_eq!(in_time(run.result()).await.unwrap() as usize, n);
    }
    tokio::time::sleep(secs(100)).await;
    let task = known(engine.get("a").await);
    assert_eq!((task.status, task.deadline_us), (Status::Suspended, None));
}

/// The handler of a task that was left in progress: it notes why it is entered, then waits for its signal for ever.
async fn reopened(store: &Arc<MemStore>, stage: &Stage, entries: &Notes<Entry>) -> Engine {
    let (stage, entries) = (stage.clone(), entries.clone());
    let builder = on(store).task(LIMITED, move |ctx: Ctx, _| {
        let stage = stage.clone();
        entries.add(ctx.entry());
        async move {
            stage.play(&ctx, std::future::pending::<()>()).await;
            Ok::<u32, HandlerError>(0)
        }
    });
    opened(builder).await
}

#[tokio::test(start_paused = true)]
async fn a_reopened_engine_does_not_begin_the_time_anew() {
    let (store, stage, entries) = (Arc::new(MemStore::new()), Stage::new(), Notes::default());
    let engine = reopened(&store, &stage, &entries).await;
    engine.start(LIMITED, "a", &1).await.unwrap();
    let deadline = known(engine.get("a").await)
        .deadline_us
        .expect("it has one");
    engine.shutdown(NO_GRACE).await;

    // Six of its ten seconds go by while nothing runs.
    let six = 6_000_000;
    edit(&store, "a", |row| {
        row.deadline.at = Micros(row.deadline.at.0 - six)
    });
    let engine = reopened(&store, &stage, &entries).await;
    in_time(stage.gate.came(2)).await;
    let recovered = known(engine.get("a").await);
    assert_eq!(recovered.deadline_us, Some(deadline - six));
    let run = engine.attach(LIMITED, "a").await.unwrap();
    let took = time_out(&run).await;
    assert!(took <= secs(4 + 3) + TICK && took > secs(6), "{took:?}");
    assert_eq!(
        entries.take(),
        [Entry::Fresh, Entry::Recovered { crashes: 0 }]
    );
    let told = stage.told.take();
    assert!(
        told.len() == 1 && told[0].after <= secs(4) + TICK,
        "{told:?}"
    );
}

/// A turn whose time went by while nothing ran was dropped in the moment it was entered: it never had its grace.
#[tokio::test(start_paused = true)]
async fn a_turn_whose_time_went_by_while_nothing_ran_still_has_its_grace() {
    let (store, stage, entries) = (Arc::new(MemStore::new()), Stage::new(), Notes::default());
    let engine = reopened(&store, &stage, &entries).await;
    engine.start(LIMITED, "a", &1).await.unwrap();
    engine.shutdown(NO_GRACE).await;

    edit(&store, "a", |row| {
        row.deadline.at = Micros(row.deadline.at.0 - 3_600_000_000)
    });
    let engine = reopened(&store, &stage, &entries).await;
    let run = engine.attach(LIMITED, "a").await.unwrap();
    let took = time_out(&run).await;
    assert!(took <= secs(3) + TICK && took > secs(2), "{took:?}");
    let told = stage.told.take();
    assert!(
        told.len() == 1 && told[0].after < secs(1),
        "told at once: {told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_gives_no_turn_more_than_its_whole_time() {
    let (store, stage, entries) = (Arc::new(MemStore::new()), Stage::new(), Notes::default());
    let engine = reopened(&store, &stage, &entries).await;
    engine.start(LIMITED, "a", &1).await.unwrap();
    engine.shutdown(NO_GRACE).await;

    // As if the clock had stood a day ahead when the turn began.
    edit(&store, "a", |row| {
        row.deadline.at = Micros(row.deadline.at.0 + 86_400_000_000)
    });
    let engine = reopened(&store, &stage, &entries).await;
    let run = engine.attach(LIMITED, "a").await.unwrap();
    let took = time_out(&run).await;
    assert!(took <= secs(13) + TICK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_during_the_grace_leaves_the_turn_to_the_next_open() {
    let (store, stage, entries) = (Arc::new(MemStore::new()), Stage::new(), Notes::default());
    let engine = reopened(&store, &stage, &entries).await;
    engine.start(LIMITED, "a", &1).await.unwrap();
    tokio::time::sleep(TIMEOUT + secs(1)).await;
    assert_eq!(stage.told.len(), 1);
    engine.shutdown(NO_GRACE).await;
    assert_eq!(stage.gone.count(), 1);

    let engine = reopened(&store, &stage, &entries).await;
    in_time(stage.gate.came(2)).await;
    let task = known(engine.get("a").await);
    assert_eq!(
        (task.status, task.attempt, task.ended),
        (Status::InProgress, 1, None)
    );
}

#[tokio::test(start_paused = true)]
async fn the_alarm_of_a_turn_that_ended_rings_for_nobody() {
    // The second turn begins just before the first one's deadline, and is entered for far longer than that.
    const CHAT: TaskDef<u32, u32> = TaskDef::new("chat")
        .timeout(TIMEOUT)
        .grace(secs(1))
        .steerable(9);
    let seen = Notes::default();
    let notes = seen.clone();
    let builder = Engine::in_memory().task(CHAT, move |ctx: Ctx, n| {
        let notes = notes.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(9_900)).await;
            notes.add(ctx.cause().is_some_and(|causes| causes.timed_out()));
            Ok::<_, HandlerError>(n)
        }
    });
    let engine = opened(builder).await;
    let first = engine.start(CHAT, "a", &1).await.unwrap();
    let second = engine.start(CHAT, "a", &2).await.unwrap();
    assert_eq!(in_time(first.result()).await.unwrap(), 1);
    assert_eq!(in_time(second.result()).await.unwrap(), 2);
    assert_eq!(seen.take(), [false, false]);
}
