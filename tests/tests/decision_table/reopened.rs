//! A start on a task whose engine is gone: it is recovered and then treated as any other; no input is lost, none replaces
//! the one that is stored.

use super::{Def, FIRST, HOUR, ID};
use outlive::{Accepted, Engine, Entry, OnConflict, StartError, Status, TaskDef};
use outlive_tests::home::Home;
use outlive_tests::play::{Act, MISREAD, PLAY, Play, STEERED, ask, held, say, until};
use std::time::Duration;

/// Leaves a task in progress whose owner is gone.
async fn left_running(home: &Home, def: Def, act: &Act) {
    let play = Play::default();
    let engine = home.open(def, &play).await;
    engine.start(def, ID, act).input_id(FIRST).await.unwrap();
    play.gate.came(1).await;
    engine.shutdown(Duration::ZERO).await;
}

/// Asked before the start-up scan had its first look, and after it.
const MOMENTS: [bool; 2] = [true, false];

async fn at(moment: bool, engine: &Engine) {
    if !moment {
        engine.recovery().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_input_attaches_to_the_recovered_turn() {
    for home in Home::both() {
        for moment in MOMENTS {
            for input_id in [None, Some(FIRST)] {
                let act = held(say("first"));
                left_running(&home, PLAY, &act).await;
                let play = Play::default();
                let engine = home.open(PLAY, &play).await;
                at(moment, &engine).await;
                let start = engine.start(PLAY, ID, &act);
                let start = match input_id {
                    Some(id) => start.input_id(id),
                    None => start,
                };
                let run = start.await.unwrap();
                assert_eq!(run.accepted(), Some(Accepted::Attached));
                assert_eq!(run.input_id().as_str(), FIRST);
                play.gate.let_through(1);
                assert_eq!(run.result().await.unwrap(), "first");
                let seen = play.seen.take();
                assert_eq!(seen.len(), 1, "it is entered once");
                assert_eq!(seen[0].entry, Entry::Recovered { crashes: 0 });
                assert!(engine.delete(ID).await.unwrap());
                engine.shutdown(Duration::ZERO).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_input_is_refused_and_the_stored_one_is_worked() {
    for home in Home::both() {
        for moment in MOMENTS {
            left_running(&home, PLAY, &held(say("stored"))).await;
            let play = Play::default();
            let engine = home.open(PLAY, &play).await;
            at(moment, &engine).await;
            for policy in [OnConflict::Refuse, OnConflict::Restart] {
                let other = engine
                    .start(PLAY, ID, &say("new"))
                    .on_conflict(policy)
                    .await;
                assert!(matches!(
                    other,
                    Err(StartError::Conflict {
                        status: Status::InProgress,
                        ..
                    })
                ));
            }
            play.gate.let_through(1);
            let run = engine.attach(PLAY, ID).await.unwrap();
            assert_eq!(run.result().await.unwrap(), "stored");
            assert_eq!(play.seen.len(), 1);
            assert!(engine.delete(ID).await.unwrap());
            engine.shutdown(Duration::ZERO).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_further_input_of_a_steerable_task_waits_behind_the_recovered_turn() {
    for home in Home::both() {
        for moment in MOMENTS {
            left_running(&home, STEERED, &held(say("stored"))).await;
            let play = Play::default();
            let engine = home.open(STEERED, &play).await;
            at(moment, &engine).await;
            let new = engine.start(STEERED, ID, &say("new")).await.unwrap();
            assert!(new.is_queued());
            play.gate.let_through(1);
            assert_eq!(new.result().await.unwrap(), "new");
            let stored = engine.start(STEERED, ID, &say("x")).input_id(FIRST);
            assert_eq!(stored.await.unwrap().result().await.unwrap(), "stored");
            let seen = play.seen.take();
            let entries: Vec<_> = seen
                .iter()
                .map(|seen| (&seen.entry, seen.steered))
                .collect();
            let recovered = Entry::Recovered { crashes: 0 };
            assert_eq!(entries, [(&recovered, false), (&Entry::Resumed, true)]);
            assert!(engine.delete(ID).await.unwrap());
            engine.shutdown(Duration::ZERO).await;
        }
    }
}

/// What waits in the store waits there still: each kind of wait, with what was queued behind it.
#[tokio::test(start_paused = true)]
async fn what_waited_when_the_engine_went_takes_the_same_inputs_afterwards() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(PLAY, &play).await;
        let delayed = engine.start(PLAY, "delayed", &say("later")).start_in(HOUR);
        delayed.input_id(FIRST).await.unwrap();
        engine.run(PLAY, ID, &ask("first")).await.unwrap();
        engine.shutdown(Duration::ZERO).await;

        let engine = home.open(PLAY, &play).await;
        let equal = engine.start(PLAY, "delayed", &say("later")).await.unwrap();
        assert_eq!(equal.input_id().as_str(), FIRST);
        let other = engine.start(PLAY, "delayed", &say("other")).await;
        assert!(matches!(
            other,
            Err(StartError::Conflict {
                status: Status::Pending,
                ..
            })
        ));
        let resumed = engine.resume(PLAY, ID).await.unwrap();
        assert_eq!(resumed.result().await.unwrap(), "first");
        engine.shutdown(Duration::ZERO).await;

        let engine = home.open(PLAY, &play).await;
        let next = engine.start(PLAY, ID, &say("next")).await.unwrap();
        assert_eq!(next.accepted(), Some(Accepted::Resumed));
        assert_eq!(next.result().await.unwrap(), "next");
        engine.shutdown(Duration::ZERO).await;

        let engine = home.open(PLAY, &play).await;
        let conflict = engine.start(PLAY, ID, &say("more")).await;
        assert!(matches!(
            conflict,
            Err(StartError::Conflict {
                status: Status::Completed,
                ..
            })
        ));
        let restarted = engine.start(PLAY, ID, &say("more"));
        let restarted = restarted.on_conflict(OnConflict::Restart).await.unwrap();
        assert_eq!(restarted.result().await.unwrap(), "more");
        engine.shutdown(Duration::ZERO).await;

        let engine = home.open(PLAY, &play).await;
        let history = engine.history(ID).await.unwrap();
        assert_eq!((history.len(), history[0].turns), (1, 3));
        engine.shutdown(Duration::ZERO).await;
    }
}

/// A program without the handler shows the task as it is, and gives its input to nobody.
#[tokio::test(start_paused = true)]
async fn a_task_without_its_handler_takes_no_input_and_loses_none() {
    const OTHER: TaskDef<Act, String> = TaskDef::new("other");
    let home = Home::memory();
    left_running(&home, PLAY, &held(say("stored"))).await;
    let play = Play::default();
    let engine = home.open(OTHER, &play).await;
    engine.recovery().await;
    let refused = engine.start(PLAY, ID, &say("new")).await;
    assert!(matches!(
        refused,
        Err(StartError::NoHandler { name: "play" })
    ));
    let waiting = until(&engine, ID, |task| task.status == Status::Pending).await;
    assert_eq!(waiting.wait, Some(outlive::WaitReason::WaitingHandler));
    engine.shutdown(Duration::ZERO).await;
    let engine = home.open(PLAY, &play).await;
    play.gate.let_through(1);
    let equal = engine.start(PLAY, ID, &held(say("stored"))).await.unwrap();
    assert_eq!(equal.result().await.unwrap(), "stored");
    assert_eq!(play.seen.len(), 1);
}

/// The ids of one task in each state, and whether a restart of the engine moves it.
const STANDS: [(&str, bool); 9] = [
    ("delayed", false),
    ("backing-off", false),
    ("running", true),
    ("waiting", false),
    ("parked", true),
    ("succeeded", false),
    ("failed", false),
    ("cancelled", false),
    ("terminated", false),
];

async fn one_in_each_state(engine: &Engine, play: &Play) {
    let start = |id: &str, act: &Act| engine.start(PLAY, id, act).input_id(FIRST);
    let hour_ms = HOUR.as_millis() as u64;
    start("delayed", &say("x")).start_in(HOUR).await.unwrap();
    let fails = Act::FailFor("no".to_owned(), hour_ms);
    start("backing-off", &fails).await.unwrap();
    start("running", &held(say("x"))).await.unwrap();
    start("waiting", &ask("x")).await.unwrap();
    let unreadable = engine.start(MISREAD, "parked", &7).input_id(FIRST);
    unreadable.await.unwrap();
    start("succeeded", &say("x")).await.unwrap();
    start("failed", &Act::Never("no".to_owned())).await.unwrap();
    start("cancelled", &say("x")).start_in(HOUR).await.unwrap();
    engine.cancel("cancelled", "enough").await.unwrap();
    start("terminated", &say("x")).start_in(HOUR).await.unwrap();
    engine.terminate("terminated", "enough").await.unwrap();
    play.gate.came(1).await;
    until(engine, "backing-off", |task| task.status == Status::Pending).await;
    until(engine, "waiting", |task| task.status == Status::Suspended).await;
    until(engine, "parked", |task| task.status == Status::Suspended).await;
    until(engine, "succeeded", |task| task.ended.is_some()).await;
    until(engine, "failed", |task| task.ended.is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn an_input_id_that_was_accepted_attaches_in_every_state_after_a_restart() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(PLAY, &play).await;
        one_in_each_state(&engine, &play).await;
        let mut before = Vec::new();
        for (id, _) in STANDS {
            before.push(engine.get(id).await.unwrap().unwrap());
        }
        engine.shutdown(Duration::ZERO).await;
        play.seen.take();

        let engine = home.open(PLAY, &play).await;
        play.gate.came(1).await;
        for ((id, moved), before) in STANDS.into_iter().zip(before) {
            let again = engine.start(PLAY, id, &say("other")).input_id(FIRST);
            let again = again.await.unwrap();
            assert_eq!(again.accepted(), Some(Accepted::Attached), "{id}");
            let after = engine.get(id).await.unwrap().unwrap();
            assert_eq!(after != before, moved, "{id}: {after:?}");
            assert_eq!((after.input_id, after.turn), (before.input_id, 1), "{id}");
        }
        let entered: Vec<String> = play.seen.take().into_iter().map(|seen| seen.id).collect();
        assert_eq!(entered, ["running"], "nothing else was run");
        engine.shutdown(Duration::ZERO).await;
    }
}
