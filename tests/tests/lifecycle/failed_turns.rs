//! A chain that outlives the failure of one of its turns, and one that does not.

use super::{Def, ID, task};
use outlive::{Ended, Entry, FailureKind, ResultError, RetryPolicy, Status, WaitReason};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, PLAY, Play, STEERED, ask, fail_until, held, say};
use std::time::Duration;

const CHAIN: Def = PLAY
    .keep_alive_on_failure()
    .retry(RetryPolicy::fixed().attempts(2));

#[tokio::test(start_paused = true)]
async fn a_chain_outlives_a_turn_that_failed_for_good() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(CHAIN, &play).await;
        engine.run(CHAIN, ID, &ask("one")).await.unwrap();
        let failing = [
            (Act::Never("never".to_owned()), FailureKind::Error, 1),
            (Act::Fail("again".to_owned()), FailureKind::Error, 2),
            (Act::Panic("broken".to_owned()), FailureKind::Panic, 2),
        ];
        for (turn, (act, kind, attempts)) in (2..).zip(failing.iter()) {
            let run = engine.start(CHAIN, ID, act).input_id(turn.to_string());
            let failed = run.await.unwrap().result().await;
            let Err(ResultError::Failed(failure)) = failed else {
                panic!("{failed:?}");
            };
            assert_eq!((failure.kind, failure.attempts), (*kind, *attempts));
            let waiting = task(&engine, ID).await;
            assert_eq!((waiting.status, waiting.turn), (Status::Suspended, turn));
            assert!(matches!(waiting.wait, Some(WaitReason::Input { .. })));
            assert_eq!((waiting.ended, waiting.last_failure), (None, None));
        }
        engine.shutdown(Duration::ZERO).await;
        let engine = home.open(CHAIN, &play).await;
        let failed = engine
            .start(CHAIN, ID, &say("x"))
            .input_id("3")
            .await
            .unwrap();
        let failed = failed.result().await;
        assert!(
            matches!(failed, Err(ResultError::Failed(failure)) if &*failure.message == "again")
        );
        assert_eq!(engine.run(CHAIN, ID, &say("five")).await.unwrap(), "five");
        let last = play.seen.take().pop().expect("it was entered");
        assert_eq!(
            (last.entry, last.turn, last.attempt),
            (Entry::Resumed, 5, 1)
        );
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_whose_turn_failed_goes_on_with_the_input_that_waits() {
    let def = STEERED.keep_alive_on_failure().retry(RetryPolicy::none());
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(def, &play).await;
    let failing = held(Act::Fail("no".to_owned()));
    let one = engine.start(def, ID, &failing).await.unwrap();
    play.gate.came(1).await;
    let two = engine.start(def, ID, &ask("two")).await.unwrap();
    play.gate.let_through(1);
    assert!(matches!(one.result().await, Err(ResultError::Failed(_))));
    assert_eq!(two.result().await.unwrap(), "two");
    assert_eq!(task(&engine, ID).await.status, Status::Suspended);
}

#[tokio::test(start_paused = true)]
async fn any_other_task_ends_with_the_turn_that_failed_for_good() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    engine.run(STEERED, ID, &ask("one")).await.unwrap();
    let failing = held(Act::Never("no".to_owned()));
    let two = engine.start(STEERED, ID, &failing).await.unwrap();
    play.gate.came(1).await;
    let three = engine.start(STEERED, ID, &say("three")).await.unwrap();
    play.gate.let_through(1);
    assert!(matches!(two.result().await, Err(ResultError::Failed(_))));
    assert!(matches!(
        three.result().await,
        Err(ResultError::Conflict { .. })
    ));
    let ended = task(&engine, ID).await;
    assert!(matches!(ended.ended, Some(Ended::Failed(_))), "{ended:?}");
    assert_eq!((ended.turn, ended.inputs_waiting), (2, 0));
}

/// What one turn has used up is not missed by the next.
#[tokio::test(start_paused = true)]
async fn each_turn_of_a_chain_has_its_attempts() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(CHAIN, &play).await;
    for turn in 1..=4_u32 {
        let act = fail_until(1, ask(turn.to_string()));
        assert_eq!(engine.run(CHAIN, ID, &act).await.unwrap(), turn.to_string());
    }
    let attempts: Vec<_> = play
        .seen
        .take()
        .iter()
        .map(|seen| (seen.turn, seen.attempt))
        .collect();
    assert_eq!(
        attempts,
        [
            (1, 1),
            (1, 2),
            (2, 1),
            (2, 2),
            (3, 1),
            (3, 2),
            (4, 1),
            (4, 2)
        ]
    );
}
