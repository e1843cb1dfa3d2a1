//! A handle names one task and one input of it: it answers for nothing else, and touches nothing else.

use super::{ID, task};
use outlive::{
    Accepted, AttachError, ControlError, Ended, GetError, OnConflict, ResultError, Run, Status,
};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, PLAY, Play, STEERED, ask, held, say};
use std::time::Duration;

/// The errors of a handle whose task is gone.
async fn assert_gone(old: &Run<String>) {
    assert!(matches!(
        old.result().await,
        Err(ResultError::NotFound { .. })
    ));
    assert!(matches!(old.refresh().await, Err(AttachError::NotFound(_))));
    assert!(matches!(old.status().await, Err(AttachError::NotFound(_))));
    assert!(matches!(
        old.metadata().await,
        Err(AttachError::NotFound(_))
    ));
    assert!(matches!(
        old.cancel("x").await,
        Err(ControlError::NotFound(_))
    ));
    assert!(matches!(
        old.terminate("x").await,
        Err(ControlError::NotFound(_))
    ));
    assert!(!old.delete().await.unwrap(), "it is removed already");
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_a_removed_task_touches_nothing_of_the_one_that_took_its_id() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(PLAY, &play).await;
        let old = engine
            .start(PLAY, ID, &say("old"))
            .input_id("same")
            .await
            .unwrap();
        old.result().await.unwrap();
        assert!(engine.delete(ID).await.unwrap());
        assert_gone(&old).await;

        let new = engine
            .start(PLAY, ID, &held(say("new")))
            .input_id("same")
            .await
            .unwrap();
        assert_eq!(new.accepted(), Some(Accepted::Started));
        play.gate.came(1).await;
        let running = task(&engine).await;
        assert_gone(&old).await;
        assert_eq!(task(&engine).await, running);
        play.gate.let_through(1);
        assert_eq!(new.result().await.unwrap(), "new");
        assert_gone(&old).await;
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_neither_cancels_nor_terminates_another_turn() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    let one = engine.start(STEERED, ID, &ask("one")).await.unwrap();
    one.result().await.unwrap();
    let two = engine.start(STEERED, ID, &held(ask("two"))).await.unwrap();
    play.gate.came(1).await;
    let running = task(&engine).await;
    let in_progress = |answer: Result<(), ControlError>| {
        matches!(
            answer,
            Err(ControlError::Conflict {
                status: Status::InProgress,
                ..
            })
        )
    };
    assert!(in_progress(one.cancel("x").await));
    assert!(in_progress(one.terminate("x").await));
    assert_eq!(task(&engine).await, running);
    play.gate.let_through(1);
    assert_eq!(two.result().await.unwrap(), "two");
    assert_eq!(one.result().await.unwrap(), "one");
    // Where nothing runs there is nothing left to stop either.
    let at_rest = task(&engine).await;
    for old in [&one, &two] {
        for answer in [old.cancel("x").await, old.terminate("x").await] {
            assert!(
                matches!(answer, Err(ControlError::Conflict { .. })),
                "{answer:?}"
            );
        }
    }
    assert_eq!(task(&engine).await, at_rest);
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_an_earlier_run_answers_for_that_run() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let mut runs = Vec::new();
    for n in 0..4 {
        let act = if n % 2 == 0 {
            say(n.to_string())
        } else {
            Act::Never(n.to_string())
        };
        let start = engine
            .start(PLAY, ID, &act)
            .on_conflict(OnConflict::Restart);
        let run = start.await.unwrap();
        drop(run.result().await);
        runs.push(run);
    }
    let last = engine.start(PLAY, ID, &held(say("last")));
    let last = last.on_conflict(OnConflict::Restart).await.unwrap();
    play.gate.came(1).await;
    for (n, run) in runs.iter().enumerate() {
        match run.result().await {
            Ok(output) => assert_eq!((n % 2, output), (0, n.to_string())),
            Err(ResultError::Failed(failure)) => {
                assert_eq!((n % 2, &*failure.message), (1, n.to_string().as_str()));
            }
            other => panic!("{n}: {other:?}"),
        }
        let refused = run.cancel("x").await;
        assert!(
            matches!(refused, Err(ControlError::Conflict { .. })),
            "{refused:?}"
        );
    }
    play.gate.let_through(1);
    assert_eq!(last.result().await.unwrap(), "last");
}

#[tokio::test(start_paused = true)]
async fn a_handle_shows_the_task_as_of_its_last_commit() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let run = engine
        .start(PLAY, ID, &held(ask("x")))
        .title("a title")
        .await
        .unwrap();
    play.gate.came(1).await;
    assert_eq!((run.id().as_str(), run.is_queued()), (ID, false));
    let running = run.refresh().await.unwrap();
    assert_eq!(
        (running.status, running.title.as_deref()),
        (Status::InProgress, Some("a title"))
    );
    assert_eq!(run.status().await.unwrap(), Status::InProgress);
    assert!(run.metadata().await.unwrap().is_empty());
    play.gate.let_through(1);
    run.result().await.unwrap();
    assert_eq!(run.status().await.unwrap(), Status::Suspended);
    assert_eq!(run.refresh().await.unwrap(), task(&engine).await);
}

#[tokio::test(start_paused = true)]
async fn a_handle_removes_its_task_once_and_not_while_it_runs() {
    for (act, status) in [(say("x"), Status::Completed), (ask("x"), Status::Suspended)] {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(PLAY, &play).await;
        let run = engine.start(PLAY, ID, &held(act)).await.unwrap();
        play.gate.came(1).await;
        let refused = run.delete().await;
        assert!(matches!(
            refused,
            Err(ControlError::Conflict {
                status: Status::InProgress,
                ..
            })
        ));
        play.gate.let_through(1);
        run.result().await.unwrap();
        assert_eq!(run.status().await.unwrap(), status);
        assert!(run.delete().await.unwrap(), "it was there");
        assert!(!run.delete().await.unwrap(), "once");
        assert!(engine.get(ID).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_to_a_task_that_waits_removes_it_with_its_queue() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    let later = engine
        .start(STEERED, ID, &say("x"))
        .start_in(Duration::from_secs(60));
    let later = later.await.unwrap();
    let queued = engine.start(STEERED, ID, &say("y")).await.unwrap();
    let waits = tokio::spawn(async move { queued.result().await });
    tokio::task::yield_now().await;
    assert!(later.delete().await.unwrap());
    let told = waits.await.unwrap();
    assert!(
        matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(play.seen.is_empty(), "what was removed is not entered");
}

/// A handle may outlive its engine: it says so, and changes nothing.
#[tokio::test(start_paused = true)]
async fn a_handle_of_an_engine_that_stopped_says_so() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let run = engine.start(PLAY, ID, &ask("x")).await.unwrap();
    run.result().await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    assert!(matches!(run.result().await, Err(ResultError::ShuttingDown)));
    let refreshed = run.refresh().await;
    assert!(
        matches!(refreshed, Err(AttachError::Get(GetError::ShuttingDown))),
        "{refreshed:?}"
    );
    for refused in [
        run.cancel("x").await,
        run.terminate("x").await,
        run.delete().await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(ControlError::ShuttingDown)),
            "{refused:?}"
        );
    }
    let engine = home.open(PLAY, &play).await;
    assert_eq!(task(&engine).await.status, Status::Suspended);
    engine.cancel(ID, "enough").await.unwrap();
    assert!(matches!(
        task(&engine).await.ended,
        Some(Ended::Cancelled { .. })
    ));
}
