//! `retry`: a further run of a task that did not succeed, with the same input and clear counters.

use super::{Def, ID, task};
use outlive::{
    Accepted, ControlError, Ended, Engine, Entry, FailureKind, ReenterError, ResultError,
    RetryPolicy, Run, Status, TaskDef, WaitReason,
};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, MISREAD, PLAY, Play, STEERED, ask, fail_until, held, say, until};
use std::time::Duration;

/// How a run of the task comes to its end.
#[derive(Debug, Clone, Copy)]
enum End {
    Failed,
    Cancelled,
    Terminated,
    TimedOut,
}

const ENDS: [End; 4] = [End::Failed, End::Cancelled, End::Terminated, End::TimedOut];
/// Fails in the first attempt of a run, so that there is a counter to clear; ends while the second is held.
const DEF: Def = PLAY
    .retry(RetryPolicy::fixed().attempts(2))
    .timeout(Duration::from_secs(3600))
    .grace(Duration::from_secs(1));

fn act() -> Act {
    fail_until(1, held(Act::Fail("second".to_owned())))
}

/// Brings a run of the task, which comes to the gate, to this end.
async fn end(engine: &Engine, play: &Play, run: &Run<String>, end: End) {
    play.gate.came(1).await;
    match end {
        End::Failed => play.gate.let_through(1),
        End::Cancelled => {
            engine.cancel(ID, "enough").await.unwrap();
            play.gate.let_through(1);
        }
        End::Terminated => engine.terminate(ID, "stop it").await.unwrap(),
        End::TimedOut => {}
    }
    match (end, run.result().await) {
        (End::Failed, Err(ResultError::Failed(failure))) => assert_eq!(failure.attempts, 2),
        (End::Cancelled, Err(ResultError::Cancelled { reason })) => assert_eq!(&*reason, "enough"),
        (
            End::Terminated,
            Err(ResultError::Terminated {
                timed_out: false, ..
            }),
        ) => {}
        (
            End::TimedOut,
            Err(ResultError::Terminated {
                timed_out: true, ..
            }),
        ) => {}
        (end, answer) => panic!("{end:?}: {answer:?}"),
    }
}

#[track_caller]
fn assert_past(end: End, ended: &Ended) {
    match (end, ended) {
        (End::Failed, Ended::Failed(failure)) => {
            let told = (failure.kind, &*failure.message, failure.attempts);
            assert_eq!(told, (FailureKind::Error, "second", 2));
        }
        (End::Cancelled, Ended::Cancelled { reason }) => assert_eq!(reason, "enough"),
        (
            End::Terminated,
            Ended::Terminated {
                timed_out: false,
                reason,
            },
        ) => {
            assert_eq!(reason, "stop it");
        }
        (
            End::TimedOut,
            Ended::Terminated {
                timed_out: true, ..
            },
        ) => {}
        (end, ended) => panic!("{end:?}: {ended:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_keeps_the_input_clears_the_counters_and_the_old_outcome_is_history() {
    for how in ENDS {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(DEF, &play).await;
        let first = engine
            .start(DEF, ID, &act())
            .input_id("first")
            .await
            .unwrap();
        end(&engine, &play, &first, how).await;
        let before = task(&engine).await;
        let again = engine.retry(DEF, ID).await.unwrap();
        assert_eq!(
            (again.accepted(), again.input_id().as_str()),
            (Some(Accepted::Restarted), "first")
        );
        play.gate.came(1).await;
        let running = task(&engine).await;
        assert_eq!(
            (running.run, running.turn, running.attempt),
            (2, 1, 2),
            "{how:?}"
        );
        assert_eq!((running.crashes, &running.cancel_requested), (0, &None));
        assert_eq!(
            (&running.ended, running.created_at_us),
            (&None, before.created_at_us)
        );
        assert!(running.etag > before.etag && running.generation > before.generation);

        let history = engine.history(ID).await.unwrap();
        let [past] = &history[..] else {
            panic!("{how:?}: {history:?}");
        };
        assert_eq!(
            (past.run, past.turns, past.ended_at_us),
            (1, 1, before.since_us)
        );
        assert_past(how, &past.ended);

        let seen = play.seen.take();
        let entered = seen
            .iter()
            .find(|seen| seen.run == 2)
            .expect("the run was entered");
        assert_eq!(
            (&entered.entry, entered.numbers()),
            (&Entry::Resumed, (2, 1, 1, 0))
        );
        assert_eq!((&entered.act, entered.input_id.as_str()), (&act(), "first"));
        assert_eq!(
            (&entered.causes, entered.steered),
            (&None, false),
            "nothing is left of the cancel"
        );
    }
}

/// The whole budget, the whole time-out: each run has its own.
#[tokio::test(start_paused = true)]
async fn each_run_may_end_and_be_retried_as_the_one_before() {
    for home in Home::both() {
        let play = Play::default();
        let mut engine = home.open(DEF, &play).await;
        let mut run = engine.start(DEF, ID, &act()).await.unwrap();
        for how in ENDS {
            end(&engine, &play, &run, how).await;
            engine.shutdown(Duration::ZERO).await;
            engine = home.open(DEF, &play).await;
            run = engine.retry(DEF, ID).await.unwrap();
        }
        end(&engine, &play, &run, End::TimedOut).await;
        let history = engine.history(ID).await.unwrap();
        let runs: Vec<u32> = history.iter().map(|past| past.run).collect();
        assert_eq!(runs, [1, 2, 3, 4]);
        for (past, how) in history.iter().zip(ENDS) {
            assert_past(how, &past.ended);
        }
        let attempts: Vec<_> = play
            .seen
            .take()
            .iter()
            .map(|seen| (seen.run, seen.attempt))
            .collect();
        let expected: Vec<_> = (1..=5).flat_map(|run| [(run, 1), (run, 2)]).collect();
        assert_eq!(attempts, expected);
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_succeeds_is_the_end_of_it() {
    let (home, play) = (Home::memory(), Play::default());
    let def = PLAY.retry(RetryPolicy::none());
    let engine = home.open(def, &play).await;
    let large = "x".repeat(50_000);
    let input = held(say(&large));
    engine.start(def, ID, &input).await.unwrap();
    play.gate.came(1).await;
    engine.terminate(ID, "not now").await.unwrap();
    play.gate.let_through(1);
    let again = engine.retry(def, ID).await.unwrap();
    assert_eq!(
        again.result().await.unwrap(),
        large,
        "an input beside the row is kept as well"
    );
    let ended = task(&engine).await;
    assert_eq!((ended.run, ended.ended), (2, Some(Ended::Succeeded)));
    let refused = engine.retry(def, ID).await;
    let Err(ReenterError::Control(ControlError::Conflict {
        status,
        reason: None,
        ..
    })) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (status, task(&engine).await.etag),
        (Status::Completed, ended.etag)
    );
}

#[tokio::test(start_paused = true)]
async fn what_has_not_ended_is_not_retried() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let hour = Duration::from_secs(3600);
    engine
        .start(PLAY, "delayed", &say("x"))
        .start_in(hour)
        .await
        .unwrap();
    let act = Act::FailFor("no".to_owned(), 3_600_000);
    engine.start(PLAY, "backing-off", &act).await.unwrap();
    engine
        .start(PLAY, "running", &held(say("x")))
        .await
        .unwrap();
    engine.run(PLAY, "waiting", &ask("x")).await.unwrap();
    until(&engine, "backing-off", |task| {
        task.wait == Some(WaitReason::BackOff)
    })
    .await;
    for (id, status) in [
        ("delayed", Status::Pending),
        ("backing-off", Status::Pending),
        ("running", Status::InProgress),
        ("waiting", Status::Suspended),
    ] {
        let before = engine.get(id).await.unwrap();
        match engine.retry(PLAY, id).await {
            Err(ReenterError::Control(ControlError::Conflict { status: found, .. })) => {
                assert_eq!(found, status, "{id}");
            }
            other => panic!("{id}: {other:?}"),
        }
        assert_eq!(engine.get(id).await.unwrap(), before);
    }
    let unknown = engine.retry(PLAY, "unknown").await;
    assert!(matches!(
        unknown,
        Err(ReenterError::Control(ControlError::NotFound(_)))
    ));
    const OTHER: TaskDef<Act, String> = TaskDef::new("other");
    let other = engine.retry(OTHER, "running").await;
    assert!(matches!(other, Err(ReenterError::OtherDefinition { name, .. }) if name == "play"));
}

/// A chain goes on where it failed: with that turn's input, and knowing the one before.
#[tokio::test(start_paused = true)]
async fn a_retried_chain_begins_with_the_input_it_failed_at() {
    let def = STEERED.retry(RetryPolicy::none());
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(def, &play).await;
    engine.run(def, ID, &ask("one")).await.unwrap();
    let two = engine
        .start(def, ID, &held(Act::Fail("no".to_owned())))
        .await
        .unwrap();
    play.gate.came(1).await;
    let queued = engine.start(def, ID, &say("queued")).await.unwrap();
    play.gate.let_through(1);
    two.result().await.unwrap_err();
    let again = engine.retry(def, ID).await.unwrap();
    play.gate.came(1).await;
    let running = task(&engine).await;
    assert_eq!(
        (running.run, running.turn, running.inputs_waiting),
        (2, 1, 0)
    );
    play.gate.let_through(1);
    again.result().await.unwrap_err();
    assert!(
        matches!(queued.result().await, Err(ResultError::Conflict { .. })),
        "it ended with its run"
    );
    let seen = play.seen.take();
    let last = seen.last().unwrap();
    assert_eq!((seen.len(), &last.input_id), (3, &seen[1].input_id));
    assert_eq!(last.previous, Some(ask("one")));
    assert_eq!(engine.history(ID).await.unwrap()[0].turns, 2);
}

/// A parked task did not end: it is released and tried once more, in the same run.
#[tokio::test(start_paused = true)]
async fn a_retry_releases_a_parked_task() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let run = engine.start(MISREAD, ID, &7).await.unwrap();
    run.result().await.unwrap_err();
    let parked = task(&engine).await;
    let again = engine.retry(MISREAD, ID).await.unwrap();
    assert_eq!(again.input_id(), run.input_id());
    assert!(matches!(
        again.result().await,
        Err(ResultError::Undecodable { .. })
    ));
    let parked_again = task(&engine).await;
    assert!(parked_again.etag > parked.etag, "it was tried");
    assert_eq!((parked_again.run, parked_again.attempt), (1, 0));
    assert_eq!(parked_again.status, Status::Suspended);
    assert!(engine.history(ID).await.unwrap().is_empty());
}

/// The program that retries need not be the one that can run it.
#[tokio::test(start_paused = true)]
async fn a_retry_without_a_handler_waits_for_a_program_that_has_it() {
    const OTHER: TaskDef<Act, String> = TaskDef::new("other");
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    engine
        .run(PLAY, ID, &fail_until(3, say("x")))
        .await
        .unwrap_err();
    engine.shutdown(Duration::ZERO).await;

    let engine = home.open(OTHER, &play).await;
    let run = engine.retry(PLAY, ID).await.unwrap();
    let waiting = task(&engine).await;
    assert_eq!(
        (waiting.status, waiting.wait),
        (Status::Pending, Some(WaitReason::WaitingHandler))
    );
    engine.shutdown(Duration::ZERO).await;
    drop(run);

    let engine = home.open(PLAY.retry(RetryPolicy::none()), &play).await;
    let run = engine.attach(PLAY, ID).await.unwrap();
    let spent = run.result().await;
    assert!(matches!(spent, Err(ResultError::Failed(failure)) if failure.attempts == 3));
    assert_eq!(engine.history(ID).await.unwrap().len(), 1);
}
