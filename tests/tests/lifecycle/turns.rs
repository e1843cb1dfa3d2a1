//! What each turn answers, here and after a restart; what a task does between its turns.

use super::{ID, task};
use outlive::{Accepted, Entry, EventKind, Outcome, Status, WaitReason};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, MORE, PLAY, Play, STEERED, ask, held, say};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn suspended(output: &str, turn: u32, superseded: bool) -> Outcome<String> {
    Outcome::Suspended {
        output: output.to_owned(),
        reason: MORE.into(),
        turn,
        superseded,
    }
}

fn completed(output: &str, turn: u32, superseded: bool) -> Outcome<String> {
    Outcome::Completed {
        output: output.to_owned(),
        turn,
        superseded,
    }
}

#[tokio::test(start_paused = true)]
async fn each_turn_answers_its_own_caller_also_after_restarts() {
    for home in Home::both() {
        let play = Play::default();
        let outputs = ["one", "two", "three", "four"];
        for output in outputs {
            let engine = home.open(PLAY, &play).await;
            let act = if output == "four" {
                say(output)
            } else {
                ask(output)
            };
            let run = engine.start(PLAY, ID, &act).input_id(output).await.unwrap();
            assert_eq!(run.result().await.unwrap(), output);
            engine.shutdown(Duration::ZERO).await;
        }
        let engine = home.open(PLAY, &play).await;
        for (output, turn) in outputs.into_iter().zip(1..) {
            let run = engine
                .start(PLAY, ID, &say("x"))
                .input_id(output)
                .await
                .unwrap();
            assert_eq!(run.accepted(), Some(Accepted::Attached));
            let expected = match output {
                "four" => completed("four", 4, false),
                _ => suspended(output, turn, false),
            };
            assert_eq!(run.outcome().await.unwrap(), expected);
        }
        assert_eq!(play.seen.len(), 4, "no turn ran twice");
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspended_task_shows_its_reason_and_its_last_output() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let large = "x".repeat(5_000);
    for output in ["small", &large] {
        engine.run(PLAY, ID, &ask(output)).await.unwrap();
        let waiting = task(&engine, ID).await;
        let reason = WaitReason::Input {
            reason: MORE.into(),
        };
        assert_eq!(
            (waiting.status, waiting.wait),
            (Status::Suspended, Some(reason))
        );
        assert_eq!(waiting.output, Some(output.into()));
        assert_eq!((waiting.ended, waiting.due_at_us), (None, None));
    }
}

/// Days pass, and programs come and go, between a question and its answer.
#[tokio::test(start_paused = true)]
async fn a_task_may_be_suspended_for_days_through_restarts() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(PLAY, &play).await;
        engine.run(PLAY, ID, &ask("which one?")).await.unwrap();
        let asked = task(&engine, ID).await;
        tokio::time::sleep(3 * DAY).await;
        assert_eq!(task(&engine, ID).await, asked, "nothing moved it");
        engine.shutdown(Duration::ZERO).await;

        let engine = home.open(PLAY, &play).await;
        assert_eq!(engine.recovery().await.found, 0, "what waits does not run");
        tokio::time::sleep(9 * DAY).await;
        assert_eq!(task(&engine, ID).await, asked);
        let answer = engine.start(PLAY, ID, &say("this one")).await.unwrap();
        assert_eq!(answer.accepted(), Some(Accepted::Resumed));
        assert_eq!(
            answer.outcome().await.unwrap(),
            completed("this one", 2, false)
        );
        let seen = play.seen.take();
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (&seen[1].entry, &seen[1].previous),
            (&Entry::Resumed, &Some(ask("which one?")))
        );
        engine.shutdown(Duration::ZERO).await;
    }
}

/// The task goes on in the commit in which the turn ends: nobody sees it rest in between.
#[tokio::test(start_paused = true)]
async fn a_turn_that_ends_while_inputs_wait_is_superseded_and_still_answers() {
    for (first, rests) in [(say("one"), false), (ask("one"), true)] {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(STEERED, &play).await;
        let one = engine.start(STEERED, ID, &held(first)).await.unwrap();
        play.gate.came(1).await;
        let two = engine.start(STEERED, ID, &held(ask("two"))).await.unwrap();
        let three = engine
            .start(STEERED, ID, &held(ask("three")))
            .await
            .unwrap();
        let before = task(&engine, ID).await;
        play.gate.let_through(1);
        let expected = if rests {
            suspended("one", 1, true)
        } else {
            completed("one", 1, true)
        };
        assert_eq!(one.outcome().await.unwrap(), expected);
        play.gate.came(1).await;
        let running = task(&engine, ID).await;
        assert_eq!((running.status, running.turn), (Status::InProgress, 2));
        assert_eq!(
            running.etag,
            before.etag + 1,
            "end and next turn are one transition"
        );
        assert_eq!((running.output, running.inputs_waiting), (None, 1));
        play.gate.let_through(2);
        assert_eq!(two.outcome().await.unwrap(), suspended("two", 2, true));
        assert_eq!(three.outcome().await.unwrap(), suspended("three", 3, false));
        let at_rest = task(&engine, ID).await;
        assert_eq!(at_rest.status, Status::Suspended);
        let suspensions = at_rest.timeline.iter();
        let suspensions = suspensions.filter(|line| line.what == EventKind::Suspended);
        assert_eq!(suspensions.count(), 1, "{:?}", at_rest.timeline);
        // From the store as well, not only from those who waited.
        for (run, turn) in [(&one, 1), (&two, 2), (&three, 3)] {
            assert_eq!(run.outcome().await.unwrap().turn(), turn);
            assert_eq!(run.outcome().await.unwrap().is_superseded(), turn < 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_completion_with_an_empty_queue_ends_the_task() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    engine.start(STEERED, ID, &held(say("one"))).await.unwrap();
    play.gate.came(1).await;
    let two = engine.start(STEERED, ID, &say("two")).await.unwrap();
    play.gate.let_through(1);
    assert_eq!(two.outcome().await.unwrap(), completed("two", 2, false));
    let ended = task(&engine, ID).await;
    assert_eq!(
        (ended.status, ended.output),
        (Status::Completed, Some("two".into()))
    );
}

/// The turn's callers ask while it runs, at its end, and long after: one answer.
#[tokio::test(start_paused = true)]
async fn a_handle_answers_for_its_own_turn_however_far_the_task_has_gone() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    let mut runs = Vec::new();
    for n in 0..30 {
        let act = if n == 20 {
            Act::Panic("no".to_owned())
        } else {
            ask(n.to_string())
        };
        let def = STEERED
            .keep_alive_on_failure()
            .retry(outlive::RetryPolicy::none());
        let run = engine.start(def, ID, &act).await.unwrap();
        if n % 3 == 0 {
            drop(run.result().await);
        }
        runs.push(run);
        if n % 7 == 0 {
            drop(runs[n / 2].result().await);
        }
    }
    for (n, run) in runs.iter().enumerate() {
        if n == 20 {
            continue;
        }
        let outcome = run.outcome().await.unwrap();
        assert_eq!(
            (outcome.output(), outcome.turn()),
            (&n.to_string(), n as u32 + 1)
        );
    }
}
