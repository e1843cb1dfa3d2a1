//! How many turns of a living task are kept whole, and what is told of older ones.

use super::{Def, ID};
use outlive::{Accepted, Engine, KEEP_TURNS, OnConflict, ResultError};
use outlive_tests::home::Home;
use outlive_tests::play::{PLAY, Play, STEERED, ask, held, say};
use std::time::Duration;

/// The answer of each of these turns, whose inputs are named by their numbers: its output, or `None` for one that is
/// gone.
async fn answers(
    engine: &Engine,
    def: Def,
    turns: std::ops::RangeInclusive<u32>,
) -> Vec<Option<String>> {
    let mut answers = Vec::new();
    for turn in turns {
        let run = engine.start(def, ID, &say("x")).input_id(turn.to_string());
        let run = run.await.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Attached));
        answers.push(match run.result().await {
            Ok(output) => Some(output),
            Err(ResultError::Gone { turn: gone }) if gone == turn => None,
            other => panic!("turn {turn}: {other:?}"),
        });
    }
    answers
}

/// Every other output is larger than a row holds.
fn output(turn: u32) -> String {
    let text = turn.to_string();
    if turn.is_multiple_of(2) {
        text.repeat(2_000)
    } else {
        text
    }
}

async fn work(engine: &Engine, def: Def, turns: std::ops::RangeInclusive<u32>) {
    for turn in turns {
        let run = engine
            .start(def, ID, &ask(output(turn)))
            .input_id(turn.to_string());
        assert_eq!(run.await.unwrap().result().await.unwrap(), output(turn));
    }
}

#[track_caller]
fn assert_kept(answers: &[Option<String>], gone: usize) {
    for (answer, turn) in answers.iter().zip(1..) {
        let expected = (turn as usize > gone).then(|| output(turn));
        assert_eq!(*answer, expected, "turn {turn}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_turns_are_kept_whole_and_of_older_ones_the_receipt() {
    for home in Home::both() {
        let (def, play) = (PLAY.keep_turns(3), Play::default());
        let engine = home.open(def, &play).await;
        work(&engine, def, 1..=10).await;
        assert_kept(&answers(&engine, def, 1..=10).await, 7);
        engine.shutdown(Duration::ZERO).await;
        let engine = home.open(def, &play).await;
        assert_kept(&answers(&engine, def, 1..=10).await, 7);
        // A turn that runs takes nobody's place before it ends.
        let run = engine.start(def, ID, &held(ask(output(11)))).input_id("11");
        let run = run.await.unwrap();
        play.gate.came(1).await;
        assert_kept(&answers(&engine, def, 1..=10).await, 7);
        play.gate.let_through(1);
        run.result().await.unwrap();
        assert_kept(&answers(&engine, def, 1..=11).await, 8);
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_turn_is_kept_at_least_and_a_hundred_unless_told_otherwise() {
    let (home, play) = (Home::memory(), Play::default());
    let none = PLAY.keep_turns(0);
    let engine = home.open(none, &play).await;
    work(&engine, none, 1..=3).await;
    assert_kept(&answers(&engine, none, 1..=3).await, 2);

    assert_eq!(KEEP_TURNS, 100);
    let home = Home::memory();
    let engine = home.open(PLAY, &play).await;
    work(&engine, PLAY, 1..=103).await;
    assert_kept(&answers(&engine, PLAY, 1..=103).await, 3);
}

/// A caller who waits is told at the end of his turn, a large output as well as a small one; that the next turns take
/// its place in the store does not concern him.
#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_his_answer_however_few_turns_are_kept() {
    let (home, play) = (Home::memory(), Play::default());
    let def = STEERED.keep_turns(1);
    let engine = home.open(def, &play).await;
    let mut runs = Vec::new();
    for turn in 1..=3 {
        let start = engine.start(def, ID, &held(ask(output(turn))));
        runs.push(start.await.unwrap());
    }
    play.gate.let_through(3);
    let [one, two, three] = &runs[..] else {
        panic!("three runs");
    };
    let (first, second, third) = tokio::join!(one.result(), two.result(), three.result());
    assert_eq!((first.unwrap(), second.unwrap()), (output(1), output(2)));
    assert_eq!(third.unwrap(), output(3));
    let late = [one.result().await, two.result().await];
    for (late, turn) in late.into_iter().zip(1..) {
        assert!(matches!(late, Err(ResultError::Gone { turn: gone }) if gone == turn));
    }
    assert_eq!(three.result().await.unwrap(), output(3));
}

/// The turns of a run and those of the run before are told apart, although they share their places.
#[tokio::test(start_paused = true)]
async fn turns_of_an_earlier_run_are_never_taken_for_those_of_the_next() {
    let (home, play) = (Home::memory(), Play::default());
    let def = PLAY.keep_turns(4);
    let engine = home.open(def, &play).await;
    work(&engine, def, 1..=2).await;
    let last = engine.start(def, ID, &say(output(3))).input_id("3");
    last.await.unwrap().result().await.unwrap();
    let restart = engine.start(def, ID, &ask(output(4))).input_id("4");
    let restart = restart.on_conflict(OnConflict::Restart).await.unwrap();
    assert_eq!(restart.outcome().await.unwrap().turn(), 1);
    assert_kept(&answers(&engine, def, 1..=4).await, 0);
    work(&engine, def, 5..=6).await;
    let old = engine
        .start(def, ID, &say("x"))
        .input_id("2")
        .await
        .unwrap();
    let gone = old.result().await;
    assert!(
        matches!(gone, Err(ResultError::Gone { turn: 2 })),
        "{gone:?}"
    );
    let kept = answers(&engine, def, 3..=3).await;
    assert_eq!(kept, [Some(output(3))]);
}

/// Each run says how many of its turns are kept; what that does to the places of older ones never makes them another's.
#[tokio::test(start_paused = true)]
async fn a_restart_that_keeps_another_number_of_turns_mixes_nothing_up() {
    for (kept, kept_then) in [(7, 3), (3, 7), (1, 100), (100, 1)] {
        let (home, play) = (Home::memory(), Play::default());
        let (before, after) = (PLAY.keep_turns(kept), PLAY.keep_turns(kept_then));
        let engine = home.open(before, &play).await;
        work(&engine, before, 1..=9).await;
        let last = engine.start(before, ID, &say(output(10))).input_id("10");
        last.await.unwrap().result().await.unwrap();
        let restart = engine.start(after, ID, &ask(output(11))).input_id("11");
        let restart = restart.on_conflict(OnConflict::Restart).await.unwrap();
        assert_eq!(restart.result().await.unwrap(), output(11));
        work(&engine, after, 12..=14).await;
        for turn in 1..=14 {
            let run = engine
                .start(after, ID, &say("x"))
                .input_id(turn.to_string());
            let of_run = if turn <= 10 { turn } else { turn - 10 };
            match run.await.unwrap().result().await {
                Ok(found) => assert_eq!(found, output(turn), "kept {kept}, then {kept_then}"),
                Err(ResultError::Gone { turn: gone }) => assert_eq!(gone, of_run),
                other => panic!("turn {turn}: {other:?}"),
            }
        }
        assert_eq!(answers(&engine, after, 14..=14).await, [Some(output(14))]);
    }
}
