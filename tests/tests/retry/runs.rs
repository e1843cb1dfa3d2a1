//! A handle names a run: a further run of its input has handles of its own.

use super::{ID, task};
use outlive::{ControlError, OnConflict, ResultError, RetryPolicy, Run, Status};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, PLAY, Play, fail_until, held, say};
use std::time::Duration;

/// Fails in its first run, and is held in its second.
const ONCE: super::Def = PLAY.retry(RetryPolicy::none());

fn never() -> Act {
    Act::Never("broken".to_owned())
}

async fn assert_failed(run: &Run<String>) {
    let told = run.result().await;
    let Err(ResultError::Failed(failure)) = told else {
        panic!("{told:?}");
    };
    assert_eq!(&*failure.message, "broken");
}

/// A handle of the first run waited for the second, answered with its outcome, and cancelled it.
#[tokio::test(start_paused = true)]
async fn a_handle_of_an_earlier_run_answers_for_that_run_and_ends_nothing_of_a_later_one() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(ONCE, &play).await;
    let first = engine.start(ONCE, ID, &held(never())).await.unwrap();
    play.gate.let_through(1);
    assert_failed(&first).await;
    let second = engine.retry(ONCE, ID).await.unwrap();
    play.gate.came(2).await;
    assert_eq!((first.run(), second.run()), (1, 2));
    assert_eq!(first.input_id(), second.input_id());
    assert_failed(&first).await;
    for told in [
        first.cancel("enough").await,
        first.terminate("enough").await,
    ] {
        assert!(
            matches!(
                told,
                Err(ControlError::Conflict {
                    status: Status::InProgress,
                    ..
                })
            ),
            "{told:?}"
        );
    }
    second.cancel("enough").await.unwrap();
    play.gate.let_through(1);
    let told = second.result().await;
    assert!(
        matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
    assert_failed(&first).await;
}

#[tokio::test(start_paused = true)]
async fn each_run_keeps_its_answer_while_its_turn_is_kept() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(ONCE.keep_turns(3), &play).await;
    let first = engine.start(ONCE, ID, &never()).await.unwrap();
    assert_failed(&first).await;
    let second = engine.retry(ONCE, ID).await.unwrap();
    assert_failed(&second).await;
    let restart = engine.start(ONCE, ID, &say("well"));
    let third = restart.on_conflict(OnConflict::Restart).await.unwrap();
    assert_eq!(third.result().await.unwrap(), "well");
    assert_eq!(third.run(), 3);
    assert_failed(&first).await;
    assert_failed(&second).await;

    let restart = engine.start(ONCE, ID, &say("better"));
    let fourth = restart.on_conflict(OnConflict::Restart).await.unwrap();
    assert_eq!(fourth.result().await.unwrap(), "better");
    let told = first.result().await;
    assert!(
        matches!(told, Err(ResultError::Gone { turn: 1 })),
        "{told:?}"
    );
    assert_failed(&second).await;
    assert_eq!(third.result().await.unwrap(), "well");
}

#[tokio::test(start_paused = true)]
async fn a_start_with_a_known_input_id_attaches_to_its_latest_run() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(ONCE, &play).await;
    let start = || engine.start(ONCE, ID, &held(never())).input_id("one");
    let first = start().await.unwrap();
    play.gate.let_through(1);
    assert_failed(&first).await;
    engine.retry(ONCE, ID).await.unwrap();
    play.gate.came(2).await;
    assert_eq!(start().await.unwrap().run(), 2, "the one that runs");
    play.gate.let_through(1);
    let attached = engine.attach(ONCE, ID).await.unwrap();
    assert_failed(&attached).await;
    let restart = engine.start(ONCE, ID, &say("other"));
    let other = restart.on_conflict(OnConflict::Restart).await.unwrap();
    other.result().await.unwrap();
    let again = start().await.unwrap();
    assert_eq!((again.run(), other.run()), (2, 3));
    assert_failed(&again).await;
}

/// A turn that is waited for by handles of two runs at once tells each what is its own.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_later_run_is_not_answered_by_an_earlier_one() {
    let (home, play) = (Home::memory(), Play::default());
    let def = PLAY.retry(
        RetryPolicy::fixed()
            .attempts(2)
            .initial(Duration::from_secs(9)),
    );
    let engine = home.open(def, &play).await;
    let act = fail_until(1, held(never()));
    let first = engine.start(PLAY, ID, &act).await.unwrap();
    play.gate.came(1).await;
    engine.terminate(ID, "stop it").await.unwrap();
    let second = engine.retry(PLAY, ID).await.unwrap();
    let (told_first, told_second) = tokio::join!(first.result(), async {
        play.gate.came(1).await;
        play.gate.let_through(1);
        second.result().await
    });
    assert!(
        matches!(told_first, Err(ResultError::Terminated { .. })),
        "{told_first:?}"
    );
    assert!(
        matches!(told_second, Err(ResultError::Failed(_))),
        "{told_second:?}"
    );
    assert_eq!(task(&engine).await.run, 2);
}
