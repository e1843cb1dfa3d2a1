//! Each error of `result`, and what is left to do after it.

use super::{Def, ID, task};
use outlive::{Engine, GetError, ResultError, RetryPolicy, RunError, Status, StoreError, TaskDef};
use outlive_storage::{MemStore, Store};
use outlive_tests::faulty::Faulty;
use outlive_tests::home::Home;
use outlive_tests::play::{Act, MISREAD, PLAY, Play, STEERED, ask, held, say, until};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The same name for a caller who expects something else.
const MISTAKEN: TaskDef<Act, u32> = TaskDef::new("play");

async fn shut_down(engine: Engine) {
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_tells_kind_message_and_attempts_the_same_every_time() {
    let def: Def = PLAY.retry(RetryPolicy::fixed().attempts(2));
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(def, &play).await;
        let run = engine
            .start(def, ID, &Act::Fail("no".to_owned()))
            .await
            .unwrap();
        let failure = |answer: Result<String, ResultError>| match answer {
            Err(ResultError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        };
        let told = failure(run.result().await);
        assert_eq!((&*told.message, told.attempts), ("no", 2));
        assert_eq!(failure(run.result().await), told, "from the store");
        shut_down(engine).await;
        let engine = home.open(def, &play).await;
        let attached = engine.attach(def, ID).await.unwrap();
        assert_eq!(failure(attached.result().await), told, "after a restart");
        let again = engine
            .run(def, "another", &Act::Fail("no".to_owned()))
            .await;
        assert!(matches!(
            again,
            Err(RunError::Result(ResultError::Failed(_)))
        ));
        shut_down(engine).await;
    }
}

/// An input taken back and a turn that was cancelled are told alike: there was no turn, or it did not count.
#[tokio::test(start_paused = true)]
async fn a_cancel_tells_its_reason_to_those_who_wait_and_to_those_who_come_later() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    let first = engine.start(STEERED, ID, &held(Act::Agree)).await.unwrap();
    play.gate.came(1).await;
    let second = engine.start(STEERED, ID, &say("x")).input_id("second");
    let second = second.await.unwrap();
    let waits = tokio::spawn(async move { second.result().await });
    let third = engine.start(STEERED, ID, &ask("y")).await.unwrap();
    let second = engine.start(STEERED, ID, &say("x")).input_id("second");
    let second = second.await.unwrap();
    tokio::task::yield_now().await;
    second.cancel("not this one").await.unwrap();
    first.cancel("nor this").await.unwrap();
    play.gate.let_through(1);
    let told = [
        waits.await.unwrap(),
        second.result().await,
        first.result().await,
    ];
    let reasons = told.map(|answer| match answer {
        Err(ResultError::Cancelled { reason }) => reason,
        other => panic!("{other:?}"),
    });
    assert_eq!(
        reasons.each_ref().map(|reason| &**reason),
        ["not this one", "not this one", "nor this"]
    );
    assert_eq!(third.result().await.unwrap(), "y", "the task goes on");
}

#[tokio::test(start_paused = true)]
async fn an_input_without_a_turn_is_told_that_the_task_ended() {
    let ends: [fn(&Engine) -> outlive::Order; 2] = [
        |engine| engine.cancel(ID, "enough"),
        |engine| engine.terminate(ID, "enough"),
    ];
    for end in ends {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(STEERED, &play).await;
        let later = engine
            .start(STEERED, ID, &say("one"))
            .start_in(Duration::from_secs(60));
        later.await.unwrap();
        let queued = engine.start(STEERED, ID, &say("two")).await.unwrap();
        let waits = tokio::spawn(async move { (queued.result().await, queued.result().await) });
        tokio::task::yield_now().await;
        end(&engine).await.unwrap();
        let (told, later) = waits.await.unwrap();
        assert!(
            matches!(told, Err(ResultError::Conflict { .. })),
            "{told:?}"
        );
        assert!(
            matches!(later, Err(ResultError::Conflict { .. })),
            "{later:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_task_is_not_found_and_its_waiters_are_told_of_the_cancel() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(STEERED, &play).await;
    let first = engine.start(STEERED, ID, &held(say("x"))).await.unwrap();
    play.gate.came(1).await;
    let queued = engine.start(STEERED, ID, &say("y")).await.unwrap();
    let waits = tokio::spawn(async move { (first.result().await, first.result().await) });
    let queued = tokio::spawn(async move { (queued.result().await, queued.result().await) });
    tokio::task::yield_now().await;
    assert!(engine.delete(ID).force().await.unwrap());
    let (told, later) = waits.await.unwrap();
    assert!(
        matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
    assert!(
        matches!(later, Err(ResultError::NotFound { .. })),
        "{later:?}"
    );
    let (told, later) = queued.await.unwrap();
    assert!(
        matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
    assert!(
        matches!(later, Err(ResultError::NotFound { .. })),
        "{later:?}"
    );
}

/// The output stays for whoever reads it by its type.
#[tokio::test(start_paused = true)]
async fn an_output_of_another_type_is_an_error_and_the_task_keeps_it() {
    for (act, status) in [(say("x"), Status::Completed), (ask("x"), Status::Suspended)] {
        let (home, play) = (Home::memory(), Play::default());
        let engine = home.open(PLAY, &play).await;
        let run = engine
            .start(PLAY, ID, &act)
            .input_id("first")
            .await
            .unwrap();
        run.result().await.unwrap();
        let before = task(&engine).await;
        let mistaken = engine.attach(MISTAKEN, ID).await.unwrap();
        for _ in 0..2 {
            let Err(ResultError::Undecodable { id, what, expected }) = mistaken.result().await
            else {
                panic!("it is no number");
            };
            assert_eq!((id.as_str(), &*what), (ID, "output"));
            assert!(expected.starts_with("u32"), "{expected}");
        }
        assert_eq!(task(&engine).await, before);
        assert_eq!((before.status, before.output), (status, Some("x".into())));
        assert_eq!(engine.attach(PLAY, ID).await.unwrap().await.unwrap(), "x");
    }
}

/// Nobody waits for what this program cannot do; the task is kept for one that can.
#[tokio::test(start_paused = true)]
async fn an_input_that_cannot_be_read_parks_the_task_and_tells_its_callers() {
    let (home, play) = (Home::memory(), Play::default());
    let engine = home.open(PLAY, &play).await;
    let run = engine.start(MISREAD, ID, &7).await.unwrap();
    for _ in 0..2 {
        let Err(ResultError::Undecodable { id, what, .. }) = run.result().await else {
            panic!("it cannot be read");
        };
        assert_eq!((id.as_str(), &*what), (ID, "input"));
    }
    let parked = task(&engine).await;
    assert_eq!((parked.status, parked.attempt), (Status::Suspended, 0));
    assert!(play.seen.is_empty());
    assert_eq!(engine.run(PLAY, "another", &say("x")).await.unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_a_shutdown_is_told_and_finds_the_answer_at_the_next_open() {
    for home in Home::both() {
        let play = Play::default();
        let engine = home.open(PLAY, &play).await;
        let run = engine.start(PLAY, ID, &held(say("x"))).input_id("first");
        let run = run.await.unwrap();
        play.gate.came(1).await;
        let waits = tokio::spawn(async move { (run.result().await, run.result().await) });
        tokio::task::yield_now().await;
        shut_down(engine).await;
        let (waited, asked) = waits.await.unwrap();
        assert!(
            matches!(waited, Err(ResultError::ShuttingDown)),
            "{waited:?}"
        );
        assert!(matches!(asked, Err(ResultError::ShuttingDown)), "{asked:?}");
        let engine = home.open(PLAY, &play).await;
        play.gate.let_through(1);
        let again = engine
            .start(PLAY, ID, &say("x"))
            .input_id("first")
            .await
            .unwrap();
        assert_eq!(again.result().await.unwrap(), "x");
        shut_down(engine).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_told_and_never_taken_for_a_missing_task() {
    let mem = Arc::new(MemStore::new());
    let (faulty, play) = (Faulty::on(&mem), Play::default());
    let store: Arc<dyn Store> = Arc::<Faulty>::clone(&faulty);
    let builder = Engine::on_store(store).inline().task(PLAY, play.handler());
    let engine = builder.open().await.unwrap();
    let run = engine.start(PLAY, ID, &say("x")).await.unwrap();
    until(&engine, ID, |task| task.status == Status::Completed).await;
    faulty.fail_reads.store(true, Ordering::SeqCst);
    let unread = run.result().await;
    assert!(
        matches!(unread, Err(ResultError::Store(StoreError::Failed { .. }))),
        "{unread:?}"
    );
    assert!(matches!(engine.get(ID).await, Err(GetError::Store(_))));
}
