//! Whose policy counts: the definition's, a variant's over it, the call's over both; as it was said at the start.

use super::{Def, ID, task};
use outlive::{
    Entry, OnConflict, ResultError, RetryPolicy, RunError, Status, TaskOptions, WaitReason,
};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, PLAY, Play, STEERED, fail_until, say, until};
use std::time::Duration;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

const fn tries(attempts: u32, seconds: u64) -> RetryPolicy {
    let policy = RetryPolicy::fixed().attempts(attempts).jitter(false);
    policy.initial(Duration::from_secs(seconds))
}

/// The definition as it is registered.
const DEFINED: Def = PLAY.retry(tries(2, 10));
const VARIANT: Def = DEFINED.with(TaskOptions::new().retry(tries(3, 20)));

fn failing() -> Act {
    Act::Fail("no".to_owned())
}

#[track_caller]
fn attempts(answer: Result<String, ResultError>) -> u32 {
    match answer {
        Err(ResultError::Failed(failure)) => failure.attempts,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_over_a_variant_and_a_variant_over_the_definition() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(DEFINED, &play).await;
    let by_call = TaskOptions::new().retry(tries(5, 40));
    let calls = [
        (engine.start(DEFINED, "defined", &failing()), 2, 10),
        (engine.start(VARIANT, "variant", &failing()), 3, 40),
        (
            engine
                .start(DEFINED, "call", &failing())
                .retry(tries(4, 30)),
            4,
            90,
        ),
        (
            engine.start(VARIANT, "both", &failing()).options(by_call),
            5,
            160,
        ),
    ];
    for (call, most, seconds) in calls {
        let began = Instant::now();
        let run = call.await.unwrap();
        assert_eq!(attempts(run.result().await), most);
        let took = began.elapsed();
        assert!(
            took >= seconds * SECOND && took < (seconds + 1) * SECOND,
            "{took:?}"
        );
    }
}

/// A caller's definition names the task; what counts is what the program registered under that name.
#[tokio::test(start_paused = true)]
async fn what_a_caller_does_not_say_is_what_the_program_registered() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(DEFINED, &play).await;
    let run = engine.start(PLAY, ID, &failing()).await.unwrap();
    assert_eq!(attempts(run.result().await), 2);
}

/// Asked again for the task the call began, another word changes nothing.
#[tokio::test(start_paused = true)]
async fn a_call_that_attaches_changes_no_policy() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(DEFINED, &play).await;
    engine.start(DEFINED, ID, &failing()).await.unwrap();
    let again = engine.start(DEFINED, ID, &failing()).retry(tries(9, 1));
    assert_eq!(attempts(again.await.unwrap().result().await), 2);
}

/// The turns of one task have one policy: that of its start.
#[tokio::test(start_paused = true)]
async fn a_further_input_changes_no_policy() {
    let (home, play) = (Home::memory(), Play::default());
    let def = STEERED.retry(tries(2, 10)).keep_alive_on_failure();
    let engine = home.open(def, &play).await;
    engine.run(def, ID, &failing()).await.unwrap_err();
    let resumed = engine.start(def, ID, &failing()).retry(tries(9, 1));
    assert_eq!(attempts(resumed.await.unwrap().result().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_policy_holds_after_recovery_by_a_program_that_says_otherwise() {
    let said: [fn(&outlive::Engine) -> outlive::Start<String>; 3] = [
        |engine| engine.start(PLAY, ID, &failing()),
        |engine| {
            let variant = PLAY.with(TaskOptions::new().retry(tries(4, 100)));
            engine.start(variant, ID, &failing())
        },
        |engine| engine.start(PLAY, ID, &failing()).retry(tries(4, 100)),
    ];
    for (n, start) in said.into_iter().enumerate() {
        for home in Home::both() {
            let play = Play::default();
            let before = if n == 0 {
                PLAY.retry(tries(4, 100))
            } else {
                PLAY
            };
            let engine = home.open(before, &play).await;
            start(&engine).await.unwrap();
            until(&engine, ID, |task| task.wait == Some(WaitReason::BackOff)).await;
            engine.shutdown(Duration::ZERO).await;

            let engine = home.open(PLAY.retry(RetryPolicy::none()), &play).await;
            let second = engine.attach(PLAY, ID).await.unwrap();
            tokio::time::sleep(101 * SECOND).await;
            let waiting = task(&engine).await;
            assert_eq!((waiting.attempt, waiting.status), (2, Status::Pending));
            let due_at = waiting.due_at_us.unwrap();
            assert_eq!(
                due_at - waiting.updated_at_us,
                100_000_000,
                "the delay is the one said"
            );
            assert_eq!(attempts(second.result().await), 4);
            assert_eq!(play.seen.take().len(), 4);
            engine.shutdown(Duration::ZERO).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_a_new_start_and_says_its_own_policy() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(DEFINED, &play).await;
    let run = engine.start(DEFINED, ID, &failing()).retry(tries(4, 1));
    assert_eq!(attempts(run.await.unwrap().result().await), 4);
    let restart = engine
        .start(DEFINED, ID, &failing())
        .on_conflict(OnConflict::Restart);
    assert_eq!(
        attempts(restart.await.unwrap().result().await),
        2,
        "the definition's again"
    );
}

/// A retry of an ended task is not a start: its policy stays.
#[tokio::test(start_paused = true)]
async fn a_retry_after_an_end_keeps_the_policy_of_the_run_before() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(DEFINED, &play).await;
    let run = engine
        .start(DEFINED, ID, &fail_until(4, say("x")))
        .retry(tries(3, 1));
    assert_eq!(attempts(run.await.unwrap().result().await), 3);
    let again = engine.retry(DEFINED, ID).await.unwrap();
    assert_eq!(attempts(again.result().await), 3);
    let entries: Vec<Entry> = play
        .seen
        .take()
        .into_iter()
        .map(|seen| seen.entry)
        .collect();
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[3], Entry::Resumed);
    let succeeded = engine
        .run(DEFINED, "another", &fail_until(1, say("x")))
        .await;
    assert!(matches!(succeeded, Ok(text) if text == "x"));
    let spent = engine.run(DEFINED, "third", &fail_until(2, say("x"))).await;
    assert!(
        matches!(spent, Err(RunError::Result(ResultError::Failed(failure))) if failure.attempts == 2)
    );
}
