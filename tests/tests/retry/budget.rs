//! Attempts are counted on disk: before the handler runs, through restarts and deaths, and no slot is held between them.

use super::{EXACT, FAILING, ID, Times, delays, failing, task};
use outlive::{
    Ctx, Engine, Entry, FailureKind, HandlerError, ResultError, RetryPolicy, Snapshot, Status,
    TaskDef, WaitReason,
};
use outlive_storage::row::State;
use outlive_storage::{MemStore, Store};
use outlive_tests::gate::Notes;
use outlive_tests::home::Home;
use outlive_tests::play::{Act, PLAY, Play, fail_until, held, say, until};
use outlive_tests::process::{self, Other};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);
const HOURLY: RetryPolicy = EXACT.attempts(2).initial(HOUR).max(HOUR);

async fn backing_off(engine: &Engine) -> Snapshot {
    until(engine, ID, |task| task.wait == Some(WaitReason::BackOff)).await
}

/// The hour is that of the paused clock; the file holds the time at which it is over.
#[tokio::test(start_paused = true)]
async fn a_back_off_keeps_its_time_through_restarts() {
    let def = FAILING.retry(HOURLY);
    for home in Home::both() {
        let times = Times::default();
        let open = async || {
            let builder = Engine::on_store(home.store()).inline();
            builder.task(def, failing(&times)).open().await.unwrap()
        };
        let mut engine = open().await;
        engine.start(def, ID, &()).await.unwrap();
        let waiting = backing_off(&engine).await;
        assert_eq!(
            waiting.due_at_us,
            Some(waiting.updated_at_us + 3_600_000_000)
        );
        for _ in 0..2 {
            engine.shutdown(Duration::ZERO).await;
            engine = open().await;
            assert_eq!(engine.recovery().await.found, 0, "nothing ran");
            assert_eq!(task(&engine).await, waiting);
        }
        let opened = Instant::now();
        let ended = engine.attach(def, ID).await.unwrap().result().await;
        assert!(matches!(ended, Err(ResultError::Failed(failure)) if failure.attempts == 2));
        // Real time went on while the paused clock stood, so the wait is a little shorter than the hour; its timers
        // count in whole milliseconds.
        let waited = opened.elapsed();
        assert!(
            waited <= HOUR + Duration::from_secs(1) && waited > HOUR - Duration::from_secs(60),
            "{waited:?}"
        );
        assert_eq!(delays(&times).len(), 1);
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_back_off_gives_its_slot_to_others() {
    let (home, play) = (Home::memory(), Play::default());
    let def = PLAY.retry(HOURLY);
    let engine = home.engine(def, &play).max_running(1).open().await.unwrap();
    let first = engine
        .start(def, ID, &fail_until(1, say("first")))
        .await
        .unwrap();
    backing_off(&engine).await;
    let began = Instant::now();
    for n in 0..10 {
        assert_eq!(
            engine.run(def, format!("t{n}"), &say("x")).await.unwrap(),
            "x"
        );
    }
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "nobody waited for the hour"
    );
    assert_eq!(task(&engine).await.status, Status::Pending);
    assert_eq!(first.result().await.unwrap(), "first");
}

/// A retry whose slot is taken waits for one, and then is what it was.
#[tokio::test(start_paused = true)]
async fn a_retry_that_is_due_waits_for_a_slot() {
    let (home, play) = (Home::memory(), Play::default());
    let def = PLAY.retry(HOURLY);
    let engine = home.engine(def, &play).max_running(1).open().await.unwrap();
    let first = engine
        .start(def, ID, &fail_until(1, say("first")))
        .await
        .unwrap();
    backing_off(&engine).await;
    engine.start(def, "busy", &held(say("x"))).await.unwrap();
    play.gate.came(1).await;
    tokio::time::sleep(2 * HOUR).await;
    let waiting = task(&engine).await;
    assert_eq!((waiting.status, waiting.attempt), (Status::Pending, 1));
    play.gate.let_through(1);
    assert_eq!(first.result().await.unwrap(), "first");
    let last = play.seen.take().pop().unwrap();
    assert!(matches!(last.entry, Entry::Retried { attempt: 2, .. }));
}

/// Counted afterwards, a handler that takes the process along would never be counted.
#[tokio::test(start_paused = true)]
async fn an_attempt_is_in_the_store_before_its_handler_runs() {
    const LOOKS: TaskDef<(), ()> = TaskDef::new("looks").retry(EXACT);
    let store = Arc::new(MemStore::new());
    let (looks, rows) = (Arc::clone(&store), Notes::default());
    let noted = rows.clone();
    let builder = Engine::on_store(Arc::<MemStore>::clone(&store)).inline();
    let builder = builder.task(LOOKS, move |ctx: Ctx, ()| {
        let number = looks.find(ctx.id()).unwrap().unwrap();
        let row = looks.get(number).unwrap().unwrap();
        let running = matches!(row.state, State::InProgress { .. });
        noted.add((
            running,
            row.attempt,
            row.generation.0 == ctx.generation(),
            ctx.attempt(),
        ));
        std::future::ready(Err::<(), HandlerError>("no".into()))
    });
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine.run(LOOKS, "started", &()).await.unwrap_err();
    let later = engine.start(LOOKS, ID, &()).start_in(HOUR).await.unwrap();
    later.result().await.unwrap_err();
    let expected = [1, 2, 3].map(|n| (true, n, true, n));
    assert_eq!(rows.take(), [expected, expected].concat());
}

/// A chain of failures of several kinds has one budget.
#[tokio::test(start_paused = true)]
async fn errors_and_panics_spend_one_budget() {
    const MIXED: TaskDef<(), ()> = TaskDef::new("mixed").retry(RetryPolicy::fixed().attempts(4));
    let kinds = Notes::default();
    let noted = kinds.clone();
    let builder = Engine::in_memory().task(MIXED, move |ctx: Ctx, ()| {
        noted.add(match ctx.entry() {
            Entry::Retried { error, .. } => Some((error.kind, error.attempts)),
            _ => None,
        });
        async move {
            if ctx.attempt().is_multiple_of(2) {
                panic!("attempt {}", ctx.attempt());
            }
            Err::<(), HandlerError>("no".into())
        }
    });
    let engine = builder.open().await.unwrap();
    let ended = engine.start(MIXED, ID, &()).await.unwrap().result().await;
    let Err(ResultError::Failed(failure)) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!((failure.kind, failure.attempts), (FailureKind::Panic, 4));
    let (error, panic) = (FailureKind::Error, FailureKind::Panic);
    assert_eq!(
        kinds.take(),
        [None, Some((error, 1)), Some((panic, 2)), Some((error, 3))]
    );
}

/// Not a test of its own: the process that is killed, as its file name says: in a back-off, or in the second attempt.
#[tokio::test]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let second = path
        .file_stem()
        .is_some_and(|stem| stem == "second-attempt");
    let play = Play::default();
    let policy = if second {
        RetryPolicy::fixed().attempts(2).initial(Duration::ZERO)
    } else {
        HOURLY
    };
    let engine = Engine::builder(&path)
        .task(PLAY, play.handler())
        .open()
        .await
        .unwrap();
    let act = fail_until(1, held(Act::Fail("second".to_owned())));
    let start = engine.start(PLAY, ID, &act).input_id("first").retry(policy);
    start.await.unwrap();
    if second {
        play.gate.came(1).await;
        process::say("second attempt");
    } else {
        let due_at = backing_off(&engine).await.due_at_us.unwrap();
        process::say(&due_at.to_string());
    }
    process::wait_for_end();
}

fn killed(path: &Path) -> String {
    let mut child = Other::test("budget::child", path);
    let word = child.word().expect("it says how far it came");
    child.kill();
    word
}

#[tokio::test(start_paused = true)]
async fn a_back_off_keeps_its_time_when_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("back-off.redb");
    let due_at = killed(&path);
    let play = Play::default();
    let builder = Engine::builder(&path).inline().task(PLAY, play.handler());
    let engine = builder.open().await.unwrap();
    assert_eq!(engine.recovery().await.found, 0, "nothing ran");
    let waiting = task(&engine).await;
    assert_eq!(waiting.due_at_us.unwrap().to_string(), due_at);
    assert_eq!((waiting.attempt, waiting.crashes), (1, 0));
    play.gate.let_through(1);
    let opened = Instant::now();
    let ended = engine.attach(PLAY, ID).await.unwrap().result().await;
    assert!(matches!(ended, Err(ResultError::Failed(failure)) if failure.attempts == 2));
    assert!(
        opened.elapsed() > HOUR - Duration::from_secs(60),
        "{:?}",
        opened.elapsed()
    );
    let seen = play.seen.take();
    assert_eq!(seen.len(), 1);
    assert!(
        matches!(&seen[0].entry, Entry::Retried { attempt: 2, error } if &*error.message == "attempt 1")
    );
}

/// An attempt that was going on is gone on with: it was counted, and is not counted twice.
#[tokio::test]
async fn an_attempt_whose_process_is_killed_is_not_charged_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("second-attempt.redb");
    for _ in 0..2 {
        assert_eq!(killed(&path), "second attempt");
    }
    let play = Play::default();
    play.gate.let_through(1);
    let engine = Engine::builder(&path)
        .task(PLAY, play.handler())
        .open()
        .await
        .unwrap();
    let ended = engine.attach(PLAY, ID).await.unwrap().result().await;
    assert!(matches!(ended, Err(ResultError::Failed(failure)) if failure.attempts == 2));
    let seen = play.seen.take();
    assert_eq!(seen.len(), 1, "the budget was two attempts");
    assert_eq!(seen[0].entry, Entry::Recovered { crashes: 2 });
    assert_eq!(seen[0].numbers(), (1, 1, 2, 2));
}
