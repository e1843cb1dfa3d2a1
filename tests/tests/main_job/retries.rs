//! Failed attempts are tried again when their policy says so, also after a restart.

use outlive::{
    Ctx, Ended, Engine, Entry, Failure, FailureKind, HandlerError, ResultError, RetryPolicy,
    Status, TaskDef, WaitReason,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const FAILING: TaskDef<(), ()> = TaskDef::new("failing");
const EXACT: RetryPolicy = RetryPolicy::exponential().jitter(false);

type Entries = Arc<Mutex<Vec<(Entry, Instant)>>>;

/// A handler that only notes when and why it was entered.
fn failing(entries: &Entries) -> impl Fn(Ctx, ()) -> Fail + Send + Sync + 'static {
    let entries = Arc::clone(entries);
    move |ctx, ()| {
        entries.lock().push((ctx.entry(), Instant::now()));
        std::future::ready(Err("no".into()))
    }
}

type Fail = std::future::Ready<Result<(), HandlerError>>;

/// The seconds between the entries.
fn delays(entries: &Entries) -> Vec<f64> {
    let entries = entries.lock();
    let pairs = entries.windows(2);
    pairs
        .map(|pair| (pair[1].1 - pair[0].1).as_secs_f64())
        .collect()
}

async fn delays_of(policy: RetryPolicy) -> Vec<f64> {
    let entries = Entries::default();
    let engine = Engine::in_memory()
        .task(FAILING.retry(policy), failing(&entries))
        .open()
        .await
        .unwrap();
    let ended = engine.run(FAILING, "a", &()).await;
    assert!(matches!(
        ended,
        Err(outlive::RunError::Result(ResultError::Failed(_)))
    ));
    delays(&entries)
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    let close = found
        .iter()
        .zip(expected)
        .all(|(found, expected)| (found - expected).abs() < 0.01);
    assert!(
        close && found.len() == expected.len(),
        "{found:?} is not {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_exponential_policy_doubles_its_delay_up_to_the_cap() {
    let policy = EXACT.attempts(6).max(Duration::from_secs(5));
    assert_close(&delays_of(policy).await, &[1.0, 2.0, 4.0, 5.0, 5.0]);
}

#[tokio::test(start_paused = true)]
async fn a_linear_policy_adds_its_delay() {
    let policy = RetryPolicy::linear().jitter(false);
    assert_close(&delays_of(policy).await, &[1.0, 2.0, 3.0, 4.0]);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_policy_keeps_its_delay() {
    let policy = RetryPolicy::fixed().jitter(false).attempts(4);
    assert_close(&delays_of(policy).await, &[5.0, 5.0, 5.0]);
}

#[tokio::test(start_paused = true)]
async fn no_policy_tries_once() {
    assert_close(&delays_of(RetryPolicy::none()).await, &[]);
}

#[tokio::test(start_paused = true)]
async fn jitter_stays_within_a_quarter() {
    let delays = delays_of(RetryPolicy::fixed().attempts(20)).await;
    assert_eq!(delays.len(), 19);
    assert!(delays.iter().all(|delay| (3.75..6.26).contains(delay)));
}

#[tokio::test(start_paused = true)]
async fn an_error_may_ask_for_its_own_delay() {
    let entries = Entries::default();
    let noted = Arc::clone(&entries);
    let engine = Engine::in_memory()
        .task(FAILING, move |ctx: Ctx, ()| {
            noted.lock().push((ctx.entry(), Instant::now()));
            let error = HandlerError::from("busy").retry_after(Duration::from_secs(90));
            std::future::ready(Err::<(), _>(error))
        })
        .open()
        .await
        .unwrap();
    engine.run(FAILING, "a", &()).await.unwrap_err();
    assert_close(&delays(&entries), &[90.0, 90.0]);
}

#[tokio::test(start_paused = true)]
async fn a_retried_handler_learns_how_the_attempt_before_failed() {
    let entries = Entries::default();
    let engine = Engine::in_memory()
        .task(FAILING, failing(&entries))
        .open()
        .await
        .unwrap();
    engine.run(FAILING, "a", &()).await.unwrap_err();
    let entries: Vec<Entry> = entries.lock().drain(..).map(|(entry, _)| entry).collect();
    let [
        Entry::Fresh,
        Entry::Retried { attempt: 2, error },
        Entry::Retried { attempt: 3, .. },
    ] = &entries[..]
    else {
        panic!("{entries:?}");
    };
    assert_eq!(
        (error.kind, &*error.message, error.attempts),
        (FailureKind::Error, "no", 1)
    );
    let ended = engine.get("a").await.unwrap().unwrap();
    let Some(Ended::Failed(Failure { attempts: 3, .. })) = ended.ended else {
        panic!("{ended:?}");
    };
    assert_eq!(ended.last_failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_terminal_error_is_not_tried_again() {
    let engine = Engine::in_memory()
        .task(FAILING, |_: Ctx, ()| async {
            Err::<(), _>(HandlerError::terminal("never"))
        })
        .open()
        .await
        .unwrap();
    engine.run(FAILING, "a", &()).await.unwrap_err();
    assert_eq!(engine.get("a").await.unwrap().unwrap().attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_a_call_is_kept_with_its_task() {
    let entries = Entries::default();
    let engine = Engine::in_memory()
        .task(FAILING, failing(&entries))
        .open()
        .await
        .unwrap();
    let policy = EXACT.attempts(2).initial(Duration::from_secs(30));
    let run = engine.start(FAILING, "a", &()).retry(policy).await.unwrap();
    run.result().await.unwrap_err();
    assert_close(&delays(&entries), &[30.0]);
}

/// The hour is that of the paused clock; the file holds the time at which it is over.
#[tokio::test(start_paused = true)]
async fn a_back_off_keeps_its_time_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let hour = Duration::from_secs(3600);
    let patient = FAILING.retry(EXACT.attempts(2).initial(hour).max(hour));
    let entries = Entries::default();
    let open = async || {
        Engine::builder(&path)
            .inline()
            .task(patient, failing(&entries))
            .open()
            .await
            .unwrap()
    };
    let engine = open().await;
    let run = engine.start(FAILING, "a", &()).await.unwrap();
    let waiting = loop {
        let task = engine.get("a").await.unwrap().unwrap();
        if task.status == Status::Pending {
            break task;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(waiting.wait, Some(WaitReason::BackOff));
    engine.shutdown(Duration::ZERO).await;
    drop(run);

    let engine = open().await;
    let found = engine.get("a").await.unwrap().unwrap();
    assert_eq!(
        (found.due_at_us, found.etag),
        (waiting.due_at_us, waiting.etag)
    );
    assert_eq!(engine.recovery().await.found, 0, "nothing ran");
    let reopened = Instant::now();
    let ended = engine.attach(FAILING, "a").await.unwrap().result().await;
    assert!(matches!(ended, Err(ResultError::Failed(_))));
    // Real time went on while the paused clock stood, so the wait is a little shorter than the hour.
    let waited = reopened.elapsed();
    assert!(
        waited <= hour && waited > hour - Duration::from_secs(60),
        "{waited:?}"
    );
    let entries = entries.lock();
    assert!(matches!(entries[1].0, Entry::Retried { attempt: 2, .. }));
    assert_eq!(entries.len(), 2);
}
