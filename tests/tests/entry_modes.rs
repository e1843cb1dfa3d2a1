//! Why a handler is entered, and by which numbers it knows where it stands.

use outlive::{Engine, Entry, FailureKind, OnConflict, RetryPolicy, Snapshot, Status, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::play::{Act, PLAY, Play, STEERED, Seen, ask, fail_until, held, say, until};
use outlive_tests::process::{self, Other};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Def = TaskDef<Act, String>;

const ID: &str = "the-task";

async fn on(store: &Arc<MemStore>, def: Def, play: &Play) -> Engine {
    let store = Arc::<MemStore>::clone(store);
    let builder = Engine::on_store(store).inline().task(def, play.handler());
    builder.open().await.expect("it opens")
}

async fn in_memory(def: Def) -> (Engine, Play) {
    let play = Play::default();
    (on(&Arc::default(), def, &play).await, play)
}

/// Stops the engine in order while its handler waits at the gate, and opens the next.
async fn stopped_at_the_gate(
    store: &Arc<MemStore>,
    def: Def,
    play: &Play,
    engine: Engine,
) -> Engine {
    play.gate.came(1).await;
    engine.shutdown(Duration::ZERO).await;
    on(store, def, play).await
}

async fn task(engine: &Engine) -> Snapshot {
    let found = engine.get(ID).await.expect("the store answers");
    found.expect("there is such a task")
}

fn entries(seen: &[Seen]) -> Vec<&Entry> {
    seen.iter().map(|seen| &seen.entry).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_of_the_first_turn_is_fresh_however_long_it_waited() {
    for start_in in [Duration::ZERO, Duration::from_secs(3600)] {
        let (engine, play) = in_memory(PLAY).await;
        let run = engine.start(PLAY, ID, &say("x")).start_in(start_in);
        run.await.unwrap().result().await.unwrap();
        let seen = play.seen.take();
        assert_eq!(entries(&seen), [&Entry::Fresh]);
        assert_eq!((seen[0].numbers(), seen[0].steered), ((1, 1, 1, 0), false));
        assert_eq!(seen[0].previous, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_turn_is_resumed_by_an_input_by_a_resumption_and_from_the_queue() {
    let (engine, play) = in_memory(STEERED).await;
    engine.run(STEERED, ID, &ask("one")).await.unwrap();
    engine.run(STEERED, ID, &ask("two")).await.unwrap();
    engine.resume(STEERED, ID).await.unwrap().await.unwrap();
    engine.start(STEERED, ID, &held(ask("four"))).await.unwrap();
    play.gate.came(1).await;
    let queued = engine.start(STEERED, ID, &say("five")).await.unwrap();
    play.gate.let_through(1);
    queued.result().await.unwrap();
    let seen = play.seen.take();
    let steered: Vec<bool> = seen.iter().map(|seen| seen.steered).collect();
    assert_eq!(
        steered,
        [false, false, false, false, true],
        "only the last one was queued"
    );
    assert_eq!(seen[0].entry, Entry::Fresh);
    assert!(seen[1..].iter().all(|seen| seen.entry == Entry::Resumed));
    let turns: Vec<_> = seen.iter().map(Seen::numbers).collect();
    assert_eq!(turns, [1, 2, 3, 4, 5].map(|turn| (1, turn, 1, 0)));
}

/// An input that waited for its task to be due came from the queue as well.
#[tokio::test(start_paused = true)]
async fn an_input_queued_before_the_first_turn_is_steered_into_the_second() {
    let (engine, play) = in_memory(STEERED).await;
    let later = engine
        .start(STEERED, ID, &say("one"))
        .start_in(Duration::from_secs(60));
    later.await.unwrap();
    let queued = engine.start(STEERED, ID, &say("two")).await.unwrap();
    assert_eq!(queued.result().await.unwrap(), "two");
    let seen = play.seen.take();
    assert_eq!(entries(&seen), [&Entry::Fresh, &Entry::Resumed]);
    assert_eq!((seen[0].steered, seen[1].steered), (false, true));
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_is_retried_and_knows_how_the_one_before_failed() {
    let policy = RetryPolicy::fixed().attempts(4);
    let def = PLAY.retry(policy);
    let (engine, play) = in_memory(def).await;
    engine.run(def, ID, &fail_until(3, say("x"))).await.unwrap();
    let seen = play.seen.take();
    assert_eq!((seen.len(), &seen[0].entry), (4, &Entry::Fresh));
    for (seen, n) in seen.iter().zip(1..).skip(1) {
        let Entry::Retried { attempt, error } = &seen.entry else {
            panic!("{seen:?}");
        };
        assert_eq!((*attempt, seen.numbers()), (n, (1, 1, n, 0)));
        assert_eq!((error.kind, error.attempts), (FailureKind::Error, n - 1));
        assert_eq!(*error.message, format!("attempt {}", n - 1));
    }
}

/// The input id is the idempotency key of the turn: neither an attempt nor a crash changes it.
#[tokio::test(start_paused = true)]
async fn a_retried_steered_turn_is_still_steered_and_keeps_its_input() {
    let (engine, play) = in_memory(STEERED).await;
    engine.start(STEERED, ID, &held(ask("one"))).await.unwrap();
    play.gate.came(1).await;
    let queued = engine.start(STEERED, ID, &fail_until(2, say("two")));
    let queued = queued.input_id("two").await.unwrap();
    play.gate.let_through(1);
    queued.result().await.unwrap();
    let seen = play.seen.take();
    assert_eq!(seen.len(), 4);
    for (seen, attempt) in seen[1..].iter().zip(1..) {
        assert_eq!((seen.numbers(), seen.steered), ((1, 2, attempt, 0), true));
        assert_eq!(seen.input_id, "two");
        assert_eq!(seen.previous, Some(held(ask("one"))));
    }
    let kinds = [1, 2, 3].map(|n| matches!(&seen[n].entry, Entry::Retried { .. }));
    assert_eq!(
        (&seen[1].entry, kinds),
        (&Entry::Resumed, [false, true, true])
    );
}

#[tokio::test(start_paused = true)]
async fn a_turn_left_by_a_stop_in_order_is_recovered_with_no_crash() {
    let (store, play) = (Arc::default(), Play::default());
    let mut engine = on(&store, PLAY, &play).await;
    engine.start(PLAY, ID, &held(say("x"))).await.unwrap();
    for _ in 0..3 {
        engine = stopped_at_the_gate(&store, PLAY, &play, engine).await;
    }
    play.gate.came(1).await;
    let seen = play.seen.take();
    let recovered = Entry::Recovered { crashes: 0 };
    assert_eq!(
        entries(&seen),
        [&Entry::Fresh, &recovered, &recovered, &recovered]
    );
    assert!(seen.iter().all(|seen| seen.numbers() == (1, 1, 1, 0)));
    let found = task(&engine).await;
    assert_eq!((found.attempt, found.crashes), (1, 0));
}

/// Going on with an attempt is not another one, and what it was before is told by its number.
#[tokio::test(start_paused = true)]
async fn a_recovered_later_attempt_is_recovered_and_keeps_its_number() {
    let (store, play) = (Arc::default(), Play::default());
    let act = fail_until(1, held(fail_until(2, say("x"))));
    let engine = on(&store, PLAY, &play).await;
    engine.start(PLAY, ID, &act).await.unwrap();
    let engine = stopped_at_the_gate(&store, PLAY, &play, engine).await;
    play.gate.let_through(2);
    let run = engine.attach(PLAY, ID).await.unwrap();
    assert_eq!(run.result().await.unwrap(), "x");
    let seen = play.seen.take();
    let attempts: Vec<u32> = seen.iter().map(|seen| seen.attempt).collect();
    assert_eq!(attempts, [1, 2, 2, 3]);
    assert!(matches!(&seen[1].entry, Entry::Retried { attempt: 2, .. }));
    assert_eq!(seen[2].entry, Entry::Recovered { crashes: 0 });
    assert!(
        matches!(&seen[3].entry, Entry::Retried { attempt: 3, error } if &*error.message == "attempt 2")
    );
}

#[tokio::test(start_paused = true)]
async fn a_recovered_turn_whose_input_was_queued_is_recovered_and_steered() {
    let (store, play) = (Arc::default(), Play::default());
    let engine = on(&store, STEERED, &play).await;
    engine.start(STEERED, ID, &held(ask("one"))).await.unwrap();
    play.gate.came(1).await;
    engine.start(STEERED, ID, &held(say("two"))).await.unwrap();
    play.gate.let_through(1);
    let engine = stopped_at_the_gate(&store, STEERED, &play, engine).await;
    play.gate.let_through(1);
    engine.attach(STEERED, ID).await.unwrap().await.unwrap();
    let seen = play.seen.take();
    let recovered = Entry::Recovered { crashes: 0 };
    assert_eq!(entries(&seen), [&Entry::Fresh, &Entry::Resumed, &recovered]);
    let steered: Vec<bool> = seen.iter().map(|seen| seen.steered).collect();
    assert_eq!(steered, [false, true, true]);
    assert_eq!(
        seen[2].previous,
        Some(held(ask("one"))),
        "as before the stop"
    );
    assert_eq!(seen[2].input_id, seen[1].input_id);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_an_end_is_resumed_with_the_same_input_in_a_further_run() {
    let (engine, play) = in_memory(PLAY).await;
    let act = Act::Never("broken".to_owned());
    engine.run(PLAY, ID, &act).await.unwrap_err();
    for _ in 0..2 {
        engine.retry(PLAY, ID).await.unwrap().await.unwrap_err();
    }
    let seen = play.seen.take();
    assert_eq!(
        entries(&seen),
        [&Entry::Fresh, &Entry::Resumed, &Entry::Resumed]
    );
    let numbers: Vec<_> = seen.iter().map(Seen::numbers).collect();
    assert_eq!(numbers, [(1, 1, 1, 0), (2, 1, 1, 0), (3, 1, 1, 0)]);
    assert!(seen.iter().all(|seen| seen.act == act));
    assert!(
        seen.windows(2)
            .all(|pair| pair[0].input_id == pair[1].input_id)
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_fresh_and_knows_no_previous_input() {
    let (engine, play) = in_memory(PLAY).await;
    engine.run(PLAY, ID, &ask("one")).await.unwrap();
    engine.run(PLAY, ID, &say("two")).await.unwrap();
    let restart = engine.start(PLAY, ID, &ask("three"));
    let restart = restart.on_conflict(OnConflict::Restart);
    restart.await.unwrap().await.unwrap();
    engine.run(PLAY, ID, &say("four")).await.unwrap();
    let seen = play.seen.take();
    let numbers: Vec<_> = seen.iter().map(|seen| (seen.run, seen.turn)).collect();
    assert_eq!(numbers, [(1, 1), (1, 2), (2, 1), (2, 2)]);
    assert_eq!((&seen[2].entry, &seen[2].previous), (&Entry::Fresh, &None));
    assert_eq!(
        (&seen[3].entry, &seen[3].previous),
        (&Entry::Resumed, &Some(ask("three")))
    );
}

/// Of every size: above one KiB an input lies beside the row, where a turn that ends may take it along.
#[tokio::test(start_paused = true)]
async fn each_turn_knows_the_input_of_the_turn_before_also_after_a_stop() {
    let (store, play) = (Arc::default(), Play::default());
    let mut engine = on(&store, PLAY, &play).await;
    let inputs: Vec<Act> = [3, 5_000, 7, 2_000_000, 4_000, 4_000]
        .iter()
        .map(|size| held(ask("x".repeat(*size))))
        .collect();
    for (n, input) in inputs.iter().enumerate() {
        let run = engine.start(PLAY, ID, input).input_id(format!("i{n}"));
        drop(run.await.unwrap());
        engine = stopped_at_the_gate(&store, PLAY, &play, engine).await;
        play.gate.came(1).await;
        play.gate.let_through(1);
        let run = engine.start(PLAY, ID, input).input_id(format!("i{n}"));
        run.await.unwrap().await.unwrap();
    }
    let seen = play.seen.take();
    assert_eq!(seen.len(), inputs.len() * 2, "each turn was entered twice");
    for (n, seen) in seen.iter().enumerate() {
        let turn = n / 2;
        let previous = turn.checked_sub(1).map(|before| &inputs[before]);
        assert_eq!(seen.previous.as_ref(), previous, "turn {}", turn + 1);
        assert!(seen.act == inputs[turn] && seen.turn as usize == turn + 1);
    }
}

/// What an outside system is given to refuse a stale writer by.
#[tokio::test(start_paused = true)]
async fn a_generation_is_larger_than_that_of_every_claim_before() {
    let (store, play) = (Arc::default(), Play::default());
    let engine = on(&store, STEERED, &play).await;
    engine
        .run(STEERED, "another", &fail_until(2, say("x")))
        .await
        .unwrap();
    engine.run(STEERED, ID, &ask("one")).await.unwrap();
    engine.start(STEERED, ID, &held(say("two"))).await.unwrap();
    play.gate.came(1).await;
    engine
        .start(STEERED, ID, &held(Act::Never("no".into())))
        .await
        .unwrap();
    play.gate.let_through(1);
    let engine = stopped_at_the_gate(&store, STEERED, &play, engine).await;
    play.gate.came(1).await;
    assert_eq!(
        task(&engine).await.generation,
        play.seen.take().last().unwrap().generation
    );
    engine.terminate(ID, "stop it").await.unwrap();
    let fenced = task(&engine).await.generation;
    engine.retry(STEERED, ID).await.unwrap();
    play.gate.came(1).await;
    let retried = play.seen.take();
    assert!(
        retried[0].generation > fenced,
        "a fence takes a generation as well"
    );
    assert!(engine.delete(ID).force().await.unwrap());
    engine.run(STEERED, ID, &say("anew")).await.unwrap();
    let anew = play.seen.take();
    assert!(
        anew[0].generation > retried[0].generation,
        "an id that comes again does not begin anew"
    );
}

#[tokio::test(start_paused = true)]
async fn generations_ascend_over_all_entries() {
    let (store, play) = (Arc::default(), Play::default());
    let mut engine = on(&store, STEERED, &play).await;
    for round in 0..4 {
        engine
            .run(STEERED, format!("r{round}"), &fail_until(1, say("x")))
            .await
            .unwrap();
        engine
            .start(STEERED, format!("h{round}"), &held(say("x")))
            .await
            .unwrap();
        engine = stopped_at_the_gate(&store, STEERED, &play, engine).await;
        play.gate.came(1).await;
        play.gate.let_through(1);
        until(&engine, &format!("h{round}"), |task| {
            task.status == Status::Completed
        })
        .await;
    }
    let generations: Vec<u64> = play
        .seen
        .take()
        .iter()
        .map(|seen| seen.generation)
        .collect();
    assert_eq!(generations.len(), 16);
    assert!(
        generations.windows(2).all(|pair| pair[0] < pair[1]),
        "{generations:?}"
    );
}

/// Opens the file, lets its turns come to the gate, and says what they were entered as.
async fn open(path: &Path, play: &Play) -> Engine {
    let builder = Engine::builder(path).task(STEERED, play.handler());
    builder.open().await.expect("it opens")
}

/// Not a test of its own: the process that is killed. It goes on with what it finds, or starts it.
#[tokio::test]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let play = Play::default();
    let engine = open(&path, &play).await;
    let first = engine.start(STEERED, ID, &held(ask("one"))).input_id("one");
    first.await.unwrap();
    play.gate.came(1).await;
    process::say("running");
    if process::wait_for_go() {
        // The second turn is steered: its input waits when the first one ends.
        let second = engine.start(STEERED, ID, &held(say("two"))).input_id("two");
        second.await.unwrap();
        play.gate.let_through(1);
        play.gate.came(1).await;
        process::say("second turn");
    }
    process::wait_for_end();
}

fn killed(path: &Path, words: &[&str]) {
    let mut child = Other::test("child", path);
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            child.go();
        }
        assert_eq!(child.word().as_deref(), Some(*word));
    }
    child.kill();
}

#[tokio::test]
async fn a_turn_whose_process_was_killed_is_recovered_and_each_death_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    for crashes in 1..=2 {
        killed(&path, &["running"]);
        let play = Play::default();
        let engine = open(&path, &play).await;
        play.gate.came(1).await;
        let seen = play.seen.take();
        assert_eq!(entries(&seen), [&Entry::Recovered { crashes }]);
        assert_eq!(
            seen[0].numbers(),
            (1, 1, 1, crashes),
            "no attempt is charged"
        );
        assert_eq!(task(&engine).await.crashes, crashes);
        // A stop in order between two deaths is none.
        engine.shutdown(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_steered_turn_whose_process_was_killed_is_recovered_and_steered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    killed(&path, &["running"]);
    killed(&path, &["running", "second turn"]);
    let play = Play::default();
    let engine = open(&path, &play).await;
    play.gate.came(1).await;
    let seen = play.seen.take();
    assert_eq!(entries(&seen), [&Entry::Recovered { crashes: 1 }]);
    assert_eq!((seen[0].numbers(), seen[0].steered), ((1, 2, 1, 1), true));
    assert_eq!(
        (seen[0].previous.as_ref(), seen[0].input_id.as_str()),
        (Some(&held(ask("one"))), "two")
    );
    play.gate.let_through(1);
    let two = engine.attach(STEERED, ID).await.unwrap();
    assert_eq!(two.result().await.unwrap(), "two");
    let one = engine
        .start(STEERED, ID, &say("x"))
        .input_id("one")
        .await
        .unwrap();
    assert_eq!(one.result().await.unwrap(), "one");
}

/// The count is the turn's: the next one begins at nothing.
#[tokio::test]
async fn a_later_turn_knows_nothing_of_the_deaths_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    killed(&path, &["running"]);
    let play = Play::default();
    let engine = open(&path, &play).await;
    play.gate.let_through(1);
    engine.attach(STEERED, ID).await.unwrap().await.unwrap();
    engine.run(STEERED, ID, &say("next")).await.unwrap();
    let seen = play.seen.take();
    assert_eq!(seen[0].numbers(), (1, 1, 1, 1));
    assert_eq!(
        (&seen[1].entry, seen[1].numbers()),
        (&Entry::Resumed, (1, 2, 1, 0))
    );
    assert_eq!(task(&engine).await.crashes, 0);
}
