//! Each end of a turn: what is committed with it, and what its caller and everybody else sees.

use super::{Def, ID, task};
use outlive::{
    Accepted, Ctx, Ended, Engine, Failure, FailureKind, HandlerError, KEEP, OnConflict, Reply,
    ResultError, RetryPolicy, StartError, Status, TaskDef,
};
use outlive_tests::gate::Gate;
use outlive_tests::home::Home;
use outlive_tests::play::{Act, PLAY, Play, STEERED, ask, fail_until, held, say, until};
use std::time::Duration;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_output_completes_the_task_and_retention_starts() {
    for (def, kept) in [
        (PLAY, Some(KEEP)),
        (
            PLAY.keep_for(Duration::from_secs(5)),
            Some(Duration::from_secs(5)),
        ),
        (PLAY.keep_forever(), None),
    ] {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(def, &play).await;
        let run = engine.start(def, ID, &say("x")).await.unwrap();
        let outcome = run.outcome().await.unwrap();
        assert!(outcome.is_completed() && !outcome.is_suspended() && !outcome.is_superseded());
        assert_eq!(
            (outcome.output().as_str(), outcome.turn(), outcome.reason()),
            ("x", 1, None)
        );
        assert_eq!(outcome.into_output(), "x");
        let ended = task(&engine).await;
        assert_eq!(
            (ended.status, &ended.ended),
            (Status::Completed, &Some(Ended::Succeeded))
        );
        assert_eq!((ended.output, ended.wait), (Some("x".into()), None));
        assert_eq!(
            ended.expires_at_us,
            kept.map(|kept| ended.since_us + micros(kept))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspension_answers_and_leaves_the_task_alive() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let run = engine.start(PLAY, ID, &ask("x")).await.unwrap();
    let outcome = run.outcome().await.unwrap();
    assert!(outcome.is_suspended() && !outcome.is_completed() && !outcome.is_superseded());
    assert_eq!((outcome.output().as_str(), outcome.turn()), ("x", 1));
    assert_eq!(outcome.reason(), Some("more"));
    assert_eq!(
        run.result().await.unwrap(),
        "x",
        "without its circumstances"
    );
    let waiting = task(&engine).await;
    assert_eq!((waiting.ended, waiting.expires_at_us), (None, None));
}

/// The final state of the metadata is in the commit of the end: nobody sees the one without the other.
#[tokio::test(start_paused = true)]
async fn the_metadata_of_a_turn_is_committed_with_its_end() {
    const COUNTED: TaskDef<u64, u64> = TaskDef::new("counted").retry(RetryPolicy::none());
    for home in Home::both() {
        let builder = Engine::on_store(home.store()).inline();
        let builder = builder.task(COUNTED, |ctx: Ctx, n: u64| async move {
            ctx.metadata().set("n", n)?;
            match n {
                1 => Ok(Reply::suspend(n, "more")),
                2 => Ok(Reply::output(n)),
                _ => Err(HandlerError::terminal("too many")),
            }
        });
        let engine = builder.open().await.unwrap();
        for n in 1..=3_u64 {
            let start = engine
                .start(COUNTED, ID, &n)
                .on_conflict(OnConflict::Restart);
            let run = start.await.unwrap();
            assert_eq!(run.result().await.is_ok(), n < 3);
            // The end has just been told, and nothing was written since.
            let metadata = run.metadata().await.unwrap();
            let values: Vec<_> = metadata.values().map(|space| space["n"].clone()).collect();
            assert_eq!(values, [n]);
        }
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_for_good_fails_the_task_and_its_queue_learns_that_it_ended() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    let failing = held(Act::Never("no".to_owned()));
    let first = engine.start(STEERED, ID, &failing).await.unwrap();
    play.gate.came(1).await;
    let queued = engine.start(STEERED, ID, &say("queued")).input_id("queued");
    let queued = queued.await.unwrap();
    play.gate.let_through(1);
    let Err(ResultError::Failed(failure)) = first.result().await else {
        panic!("it failed");
    };
    let expected = Failure {
        kind: FailureKind::Error,
        message: "no".into(),
        chain: Vec::new(),
        attempts: 1,
    };
    assert_eq!(failure, expected);
    assert!(matches!(
        queued.result().await,
        Err(ResultError::Conflict { .. })
    ));
    let ended = task(&engine).await;
    assert_eq!(ended.ended, Some(Ended::Failed(expected)));
    assert_eq!((ended.inputs_waiting, ended.output), (0, None));
    assert_eq!(ended.last_failure, None, "the outcome tells it");
    // The input is answered for good, and a new one is told how the task stands.
    let again = engine.start(STEERED, ID, &say("queued")).input_id("queued");
    assert!(matches!(
        again.await.unwrap().result().await,
        Err(ResultError::Conflict { .. })
    ));
    let further = engine.start(STEERED, ID, &say("further")).await;
    assert!(matches!(
        further,
        Err(StartError::Conflict {
            status: Status::Completed,
            ..
        })
    ));
    assert_eq!(play.seen.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_shows_its_error_until_an_attempt_succeeds() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let act = fail_until(1, held(say("x")));
    let run = engine.start(PLAY, ID, &act).await.unwrap();
    let backing_off = until(&engine, ID, |task| task.status == Status::Pending).await;
    let failure = backing_off.last_failure.expect("the attempt failed");
    assert_eq!((&*failure.message, failure.attempts), ("attempt 1", 1));
    play.gate.came(1).await;
    let retrying = task(&engine).await;
    assert_eq!((retrying.status, retrying.attempt), (Status::InProgress, 2));
    assert_eq!(retrying.last_failure, Some(failure), "until it succeeds");
    play.gate.let_through(1);
    run.result().await.unwrap();
    let ended = task(&engine).await;
    assert_eq!(
        (ended.last_failure, ended.ended),
        (None, Some(Ended::Succeeded))
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_its_kind_and_retried_like_an_error() {
    let def = PLAY.retry(RetryPolicy::fixed().attempts(4));
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(def, &play).await;
    let run = engine
        .start(def, ID, &Act::Panic("oh".to_owned()))
        .await
        .unwrap();
    let Err(ResultError::Failed(failure)) = run.result().await else {
        panic!("it failed");
    };
    assert_eq!(
        (failure.kind, &*failure.message, failure.attempts),
        (FailureKind::Panic, "oh", 4)
    );
    assert_eq!(play.seen.len(), 4);
    assert_eq!(
        engine.run(def, "another", &say("x")).await.unwrap(),
        "x",
        "the engine goes on"
    );
}

/// The future goes with its task: what the handler held is given back, whichever way the turn ends.
#[tokio::test(start_paused = true)]
async fn a_panic_gives_its_slot_back() {
    let def: Def = PLAY.retry(RetryPolicy::none());
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.engine(def, &play).max_running(1).open().await.unwrap();
    for n in 0..20 {
        let act = Act::Panic(n.to_string());
        engine.run(def, format!("t{n}"), &act).await.unwrap_err();
    }
    assert_eq!(engine.run(def, ID, &say("x")).await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_never_run_again() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(PLAY, &play).await;
        let held_back = held(Act::Agree);
        let run = engine
            .start(PLAY, ID, &held_back)
            .input_id("first")
            .await
            .unwrap();
        play.gate.came(1).await;
        engine.cancel(ID, "enough").await.unwrap();
        play.gate.let_through(1);
        let cancelled = run.result().await;
        assert!(
            matches!(cancelled, Err(ResultError::Cancelled { reason }) if &*reason == "enough")
        );
        engine.shutdown(Duration::ZERO).await;
        for _ in 0..2 {
            let engine = home.open(PLAY, &play).await;
            assert_eq!(engine.recovery().await.found, 0);
            let ended = task(&engine).await;
            let reason = "enough".to_owned();
            assert_eq!(ended.ended, Some(Ended::Cancelled { reason }));
            let again = engine
                .start(PLAY, ID, &held_back)
                .input_id("first")
                .await
                .unwrap();
            assert_eq!(again.accepted(), Some(Accepted::Attached));
            assert!(matches!(
                again.result().await,
                Err(ResultError::Cancelled { .. })
            ));
            engine.shutdown(Duration::ZERO).await;
        }
        assert_eq!(play.seen.len(), 1);
    }
}

/// The handler's own reply counts although a cancel is on record; only a wish to go on does not.
#[tokio::test(start_paused = true)]
async fn what_a_cancelled_handler_returns_decides_how_the_task_ends() {
    let end_of = async |act: Act| {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(PLAY, &play).await;
        let run = engine.start(PLAY, ID, &held(act)).await.unwrap();
        play.gate.came(1).await;
        engine.cancel(ID, "enough").await.unwrap();
        play.gate.let_through(1);
        (run.result().await, task(&engine).await)
    };
    let (replied, ended) = end_of(say("done")).await;
    assert_eq!(
        (replied.unwrap(), ended.ended),
        ("done".to_owned(), Some(Ended::Succeeded))
    );
    for (act, output) in [
        (ask("so far"), Some("so far".into())),
        (Act::Fail("no".to_owned()), None),
        (Act::Never("no".to_owned()), None),
        (Act::Panic("no".to_owned()), None),
        (Act::Agree, None),
    ] {
        let (answer, ended) = end_of(act.clone()).await;
        assert!(
            matches!(answer, Err(ResultError::Cancelled { .. })),
            "{act:?}: {answer:?}"
        );
        let reason = "enough".to_owned();
        assert_eq!(ended.ended, Some(Ended::Cancelled { reason }), "{act:?}");
        assert_eq!((ended.output, ended.attempt), (output, 1), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_terminated_task_answers_at_once_and_what_its_handler_still_does_is_not_recorded() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let run = engine
        .start(PLAY, ID, &held(say("too late")))
        .await
        .unwrap();
    play.gate.came(1).await;
    engine.terminate(ID, "stop it").await.unwrap();
    play.gate.let_through(1);
    let terminated = run.result().await;
    assert!(
        matches!(terminated, Err(ResultError::Terminated { timed_out: false, reason }) if &*reason == "stop it")
    );
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let ended = task(&engine).await;
    assert!(matches!(
        ended.ended,
        Some(Ended::Terminated {
            timed_out: false,
            ..
        })
    ));
    assert_eq!(ended.output, None);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_too_long_is_terminated_as_timed_out() {
    let def = PLAY.timeout(Duration::from_secs(60));
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(def, &play).await;
    let run = engine.start(def, ID, &held(say("too late"))).await.unwrap();
    let terminated = run.result().await;
    assert!(matches!(
        terminated,
        Err(ResultError::Terminated {
            timed_out: true,
            ..
        })
    ));
    let ended = task(&engine).await;
    assert!(matches!(
        ended.ended,
        Some(Ended::Terminated {
            timed_out: true,
            ..
        })
    ));
}

/// Many end at once, each its own way, on one engine.
#[tokio::test(start_paused = true)]
async fn ends_of_every_kind_side_by_side_hurt_no_neighbour() {
    let def: Def = PLAY.retry(RetryPolicy::none());
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(def, &play).await;
    let gate: &Gate = &play.gate;
    let act = |n: usize| match n % 5 {
        0 => held(say(n.to_string())),
        1 => held(Act::Panic(n.to_string())),
        2 => held(Act::Never(n.to_string())),
        3 => held(ask(n.to_string())),
        _ => held(Act::Agree),
    };
    let mut runs = Vec::new();
    for n in 0..100 {
        runs.push(engine.start(def, format!("t{n}"), &act(n)).await.unwrap());
    }
    gate.came(100).await;
    gate.let_through(100);
    for (n, run) in runs.iter().enumerate() {
        match (n % 5, run.result().await) {
            (0 | 3, Ok(output)) => assert_eq!(output, n.to_string()),
            (1, Err(ResultError::Failed(failure))) => {
                assert_eq!(
                    (failure.kind, &*failure.message),
                    (FailureKind::Panic, &*n.to_string())
                );
            }
            (2, Err(ResultError::Failed(failure))) => assert_eq!(*failure.message, n.to_string()),
            (4, Err(ResultError::Cancelled { .. })) => {}
            (_, answer) => panic!("{n}: {answer:?}"),
        }
    }
}
