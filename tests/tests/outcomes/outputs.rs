//! Outputs of every size, from every kind of end, here and after a restart.

use super::{Def, ID, task};
use outlive::{
    Ctx, Ended, Engine, FailureKind, HandlerError, OnConflict, Reply, ResultError, RunError,
    TaskDef, VALUE_MAX,
};
use outlive_tests::home::Home;
use outlive_tests::play::{PLAY, Play, STEERED, ask, held, say, until};
use std::collections::BTreeMap;
use std::time::Duration;

/// Returns as many letters as it is told; the two quotes of the JSON come on top.
const LARGE: TaskDef<(usize, bool), String> = TaskDef::new("large");
const QUOTES: usize = 2;
/// What a row holds, in bytes of JSON.
const INLINE_MAX: usize = 1024;
const MOST: usize = VALUE_MAX as usize;

fn text(size: usize) -> String {
    "x".repeat(size - QUOTES)
}

async fn open(home: &Home) -> Engine {
    let builder = Engine::on_store(home.store()).inline();
    let builder = builder.task(
        LARGE,
        |_: Ctx, (size, suspends): (usize, bool)| async move {
            let output = "x".repeat(size.saturating_sub(QUOTES));
            Ok::<_, HandlerError>(if suspends {
                Reply::suspend(output, "more")
            } else {
                Reply::output(output)
            })
        },
    );
    builder.open().await.expect("it opens")
}

#[tokio::test(start_paused = true)]
async fn outputs_around_each_limit_are_answered_the_same_at_once_and_after_a_restart() {
    let sizes = [
        INLINE_MAX - 1,
        INLINE_MAX,
        INLINE_MAX + 1,
        100_000,
        MOST - 1,
        MOST,
    ];
    for home in Home::both() {
        let engine = open(&home).await;
        for size in sizes {
            for suspends in [false, true] {
                let id = format!("{size}-{suspends}");
                let run = engine.start(LARGE, &id, &(size, suspends)).await.unwrap();
                assert!(run.result().await.unwrap() == text(size), "{id}");
                assert!(
                    run.result().await.unwrap() == text(size),
                    "{id} from the store"
                );
            }
        }
        engine.shutdown(Duration::ZERO).await;
        let engine = open(&home).await;
        for size in sizes {
            for suspends in [false, true] {
                let id = format!("{size}-{suspends}");
                let run = engine.attach(LARGE, &id).await.unwrap();
                let outcome = run.outcome().await.unwrap();
                assert!(*outcome.output() == text(size), "{id} after a restart");
                assert_eq!(outcome.is_suspended(), suspends);
                let seen = engine.get(&id).await.unwrap().unwrap();
                assert!(
                    seen.output == Some(text(size).into()),
                    "{id} as readers see it"
                );
            }
        }
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_more_than_the_limit_fails_the_task_at_once() {
    let home = Home::memory();
    let engine = open(&home).await;
    for suspends in [false, true] {
        let input = (MOST + 1, suspends);
        let failed = engine.run(LARGE, format!("{suspends}"), &input).await;
        let Err(RunError::Result(ResultError::Failed(failure))) = failed else {
            panic!("it cannot be kept");
        };
        // Another attempt would return the same.
        assert_eq!((failure.kind, failure.attempts), (FailureKind::Output, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_without_a_json_form_fails_the_task_at_once() {
    type Map = BTreeMap<(u8, u8), u8>;
    const MAP: TaskDef<(), Map> = TaskDef::new("map");
    let builder = Engine::in_memory().task(MAP, |_: Ctx, ()| async {
        Ok::<_, HandlerError>(Map::from([((1, 2), 3)]))
    });
    let engine = builder.open().await.unwrap();
    engine.start(MAP, ID, &()).await.unwrap();
    let ended = until(&engine, ID, |task| task.ended.is_some()).await;
    assert!(
        matches!(ended.ended, Some(Ended::Failed(failure)) if failure.kind == FailureKind::Output)
    );
}

/// The places of large outputs are used again; a turn never shows what a turn before it left there.
#[tokio::test(start_paused = true)]
async fn small_and_large_outputs_may_follow_each_other_in_any_order() {
    for home in Home::both() {
        let (def, play) = (PLAY.keep_turns(2), Play::default());
        let engine = home.open(def, &play).await;
        let sizes = [10, 5_000, 5_000, 10, 10, 7_000, 10, 9_000, 3_000, 10];
        for (turn, size) in sizes.into_iter().enumerate() {
            let output = format!("{turn}-{}", "x".repeat(size));
            let run = engine
                .start(def, ID, &ask(&output))
                .input_id(turn.to_string());
            assert_eq!(run.await.unwrap().result().await.unwrap(), output);
            let seen = task(&engine).await;
            assert_eq!(seen.output, Some(output.into()), "turn {turn}");
            let before = turn.checked_sub(1);
            if let Some(before) = before {
                let run = engine
                    .start(def, ID, &say("x"))
                    .input_id(before.to_string());
                let kept = run.await.unwrap().result().await.unwrap();
                assert_eq!(kept, format!("{before}-{}", "x".repeat(sizes[before])));
            }
        }
        engine.shutdown(Duration::ZERO).await;
    }
}

/// The row is gone with the end, and the answer with the process: whoever holds a handle by then has it.
#[tokio::test(start_paused = true)]
async fn an_ephemeral_task_answers_its_callers_and_leaves_nothing() {
    let def = STEERED.ephemeral();
    for home in Home::both() {
        for size in [10, 100_000, MOST / 2] {
            let play = Play::default();
            let engine = home.open(def, &play).await;
            let output = text(size);
            let run = engine.start(def, ID, &held(say(&output))).input_id("first");
            let run = run.await.unwrap();
            play.gate.came(1).await;
            let other = engine
                .start(def, ID, &say("x"))
                .input_id("first")
                .await
                .unwrap();
            let waits = tokio::spawn(async move { other.result().await });
            tokio::task::yield_now().await;
            play.gate.let_through(1);
            assert!(waits.await.unwrap().unwrap() == output, "who waited");
            assert!(engine.get(ID).await.unwrap().is_none());
            assert!(
                run.result().await.unwrap() == output,
                "who asks later, of {size} bytes"
            );
            engine.shutdown(Duration::ZERO).await;
            let engine = home.open(def, &play).await;
            assert!(engine.get(ID).await.unwrap().is_none());
            assert!(engine.attach(def, ID).await.is_err());
            engine.shutdown(Duration::ZERO).await;
        }
    }
}

/// While it lives an ephemeral task is a task like any other.
#[tokio::test(start_paused = true)]
async fn an_ephemeral_chain_keeps_its_turns_until_it_ends() {
    let (def, home): (Def, _) = (PLAY.ephemeral(), Home::file());
    let play = Play::default();
    let engine = home.open(def, &play).await;
    let large = "x".repeat(5_000);
    let one = engine
        .start(def, ID, &ask(&large))
        .input_id("one")
        .await
        .unwrap();
    assert_eq!(one.result().await.unwrap(), large);
    engine.shutdown(Duration::ZERO).await;
    let engine = home.open(def, &play).await;
    assert_eq!(engine.run(def, ID, &ask("two")).await.unwrap(), "two");
    let one = engine
        .start(def, ID, &say("x"))
        .input_id("one")
        .await
        .unwrap();
    assert_eq!(one.result().await.unwrap(), large);
    assert_eq!(engine.run(def, ID, &say("three")).await.unwrap(), "three");
    assert!(engine.get(ID).await.unwrap().is_none());
    let gone = one.result().await;
    assert!(
        matches!(gone, Err(ResultError::NotFound { .. })),
        "{gone:?}"
    );
}

/// What a run before left in the places of outputs does not shine through.
#[tokio::test(start_paused = true)]
async fn the_output_of_a_further_run_is_its_own() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let large = "x".repeat(5_000);
    for (n, output) in [&large, "small", &large, &large, "small"]
        .into_iter()
        .enumerate()
    {
        let start = engine.start(PLAY, ID, &say(output)).input_id(n.to_string());
        let run = start.on_conflict(OnConflict::Restart).await.unwrap();
        assert_eq!(run.result().await.unwrap(), output);
        assert_eq!(task(&engine).await.output, Some(output.into()));
    }
    for (n, output) in [&large, "small", &large, &large, "small"]
        .into_iter()
        .enumerate()
    {
        let old = engine.start(PLAY, ID, &say("x")).input_id(n.to_string());
        assert_eq!(
            old.await.unwrap().result().await.unwrap(),
            output,
            "run {}",
            n + 1
        );
    }
}
