//! Why a task stands where it stands: as data that a program can act on, and in words.

use outlive::{
    Ctx, Ended, Engine, Explanation, HandlerError, Release, Status, TaskDef, WaitReason, WaitsFor,
};
use outlive_storage::row::{Deadline, Etag, Guard, Micros, Probation, State};
use outlive_storage::{Commit, Expect, MemStore, Store, Write};
use outlive_tests::gate::Gate;
use outlive_tests::latch::Latch;
use outlive_tests::play::{Act, MISREAD, MORE, PLAY, Play, ask, fail_until, held, say, until};
use std::sync::Arc;
use std::time::Duration;

const NO_GRACE: Duration = Duration::ZERO;
const MINUTE: Duration = Duration::from_secs(60);
/// At most two at once.
const NARROW: TaskDef<Act, String> = TaskDef::new("narrow").concurrency(2);

async fn in_memory(play: &Play) -> Engine {
    let builder = Engine::in_memory().task(PLAY, play.handler());
    builder
        .task(NARROW, play.handler())
        .max_running(3)
        .open()
        .await
        .expect("it opens")
}

/// An engine on this store that lives by the runtime's clock and has no handler.
async fn without_handler(store: &Arc<MemStore>) -> Engine {
    let builder = Engine::on_store(Arc::clone(store) as Arc<dyn Store>);
    builder.inline().open().await.expect("it opens")
}

async fn on(store: &Arc<MemStore>, play: &Play) -> Engine {
    let builder = Engine::on_store(Arc::clone(store) as Arc<dyn Store>).inline();
    builder
        .task(PLAY, play.handler())
        .open()
        .await
        .expect("it opens")
}

async fn why(engine: &Engine, id: &str) -> Explanation {
    let why = engine.explain(id).await.expect("the store answers");
    let why = why.expect("it is there");
    let sentences = [why.what(), why.since(), why.how()];
    for sentence in &sentences {
        let words = sentence.strip_suffix('.').expect("it ends as a sentence");
        assert!(
            words.len() > 10 && words.starts_with(char::is_uppercase),
            "{sentence}"
        );
    }
    assert_eq!(why.to_string(), format!("{id}: {}", sentences.join(" ")));
    why
}

#[tokio::test]
async fn what_is_not_there_has_no_explanation() {
    let engine = in_memory(&Play::default()).await;
    assert_eq!(engine.explain("nobody").await.unwrap(), None);
    assert!(engine.explain("no id").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_not_due_waits_for_its_time() {
    let engine = in_memory(&Play::default()).await;
    engine
        .start(PLAY, "a", &say("x"))
        .start_in(MINUTE)
        .await
        .unwrap();
    tokio::time::advance(MINUTE / 3).await;
    let delayed = why(&engine, "a").await;
    let due_us = delayed.since_us + 60_000_000;
    assert_eq!(delayed.waits_for, WaitsFor::Time { due_us });
    assert_eq!(delayed.release, Release::Time { at_us: due_us });
    assert_eq!(
        (delayed.status, delayed.name.as_str()),
        (Status::Pending, PLAY.name())
    );
    assert_eq!(delayed.at_us, delayed.since_us + 20_000_000);
    assert!(delayed.what().ends_with("in 40 s."), "{delayed}");
    assert_eq!(delayed.since(), "It has been so for 20 s.");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_backs_off_tells_of_its_last_failure() {
    let engine = in_memory(&Play::default()).await;
    engine
        .start(PLAY, "a", &fail_until(1, say("x")))
        .await
        .unwrap();
    let seen = until(&engine, "a", |task| task.last_failure.is_some()).await;
    let backing_off = why(&engine, "a").await;
    let due = seen.due_at_us.unwrap();
    assert_eq!(backing_off.release, Release::Time { at_us: due });
    let WaitsFor::BackOff {
        due_us,
        attempt,
        attempts_max,
        failure,
    } = backing_off.waits_for
    else {
        panic!("{backing_off:?}")
    };
    assert_eq!((due_us, attempt, attempts_max), (due, 1, 3));
    assert_eq!(&*failure.unwrap().message, "attempt 1");
}

#[tokio::test(start_paused = true)]
async fn a_due_task_tells_which_limit_holds_it_up() {
    let play = Play::default();
    let engine = in_memory(&play).await;
    engine.recovery().await;
    for id in ["n1", "n2", "n3"] {
        engine.start(NARROW, id, &held(say("x"))).await.unwrap();
    }
    play.gate.came(2).await;
    let of_its_own = why(&engine, "n3").await;
    let slot = |running, allowed, of_definition| WaitsFor::Slot {
        running,
        allowed,
        of_definition,
        recovering: false,
    };
    assert_eq!(of_its_own.waits_for, slot(2, 2, true));
    assert_eq!(of_its_own.release, Release::Slot);
    for id in ["p1", "p2"] {
        engine.start(PLAY, id, &held(say("x"))).await.unwrap();
    }
    play.gate.came(1).await;
    assert_eq!(why(&engine, "p2").await.waits_for, slot(3, 3, false));
    assert_eq!(why(&engine, "p2").await.release, Release::Slot);
    // An engine that shuts down claims nothing more.
    let stopping = engine.clone();
    let shutdown = tokio::spawn(async move { stopping.shutdown(MINUTE).await });
    tokio::task::yield_now().await;
    assert_eq!(why(&engine, "p2").await.release, Release::NextOpen);
    play.gate.let_through(3);
    shutdown.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_running_task_tells_its_deadline_and_the_cancel_on_record() {
    let play = Play::default();
    let engine = in_memory(&play).await;
    engine
        .start(PLAY, "a", &held(say("x")))
        .timeout(MINUTE)
        .await
        .unwrap();
    play.gate.came(1).await;
    tokio::time::advance(MINUTE / 4).await;
    engine.cancel("a", "enough").await.unwrap();
    let running = why(&engine, "a").await;
    let deadline = running.since_us + 45_000_000;
    assert_eq!(
        running.since_us, running.at_us,
        "the cancel is the last change"
    );
    assert_eq!(running.release, Release::TurnEnd);
    let expected = WaitsFor::TurnEnd {
        attempt: 1,
        deadline_us: Some(deadline),
        cancel: Some("enough".to_owned()),
    };
    assert_eq!(running.waits_for, expected);
    assert!(running.what().contains("in 45 s"), "{running}");
    engine.start(PLAY, "b", &held(say("x"))).await.unwrap();
    play.gate.came(1).await;
    let unlimited = why(&engine, "b").await.waits_for;
    assert!(matches!(
        unlimited,
        WaitsFor::TurnEnd {
            deadline_us: None,
            cancel: None,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_task_tells_what_it_asked_for() {
    let engine = in_memory(&Play::default()).await;
    engine.run(PLAY, "a", &ask("x")).await.unwrap();
    let waiting = why(&engine, "a").await;
    let reason = MORE.into();
    assert_eq!(waiting.waits_for, WaitsFor::Input { reason });
    assert_eq!(
        (waiting.release, waiting.status),
        (Release::Input, Status::Suspended)
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_tells_what_was_expected() {
    let engine = in_memory(&Play::default()).await;
    engine.start(MISREAD, "a", &7).await.unwrap();
    until(&engine, "a", |task| task.status == Status::Suspended).await;
    let parked = why(&engine, "a").await;
    let readable = matches!(&parked.waits_for, WaitsFor::Readable { what, expected } if &**what == "input" && expected.contains("Act"));
    assert!(readable, "{parked:?}");
    assert_eq!(parked.release, Release::OpenOrRetry);
}

#[tokio::test(start_paused = true)]
async fn an_ended_task_tells_how_it_ended_and_what_begins_it_anew() {
    let play = Play::default();
    let engine = in_memory(&play).await;
    engine.run(PLAY, "well", &say("x")).await.unwrap();
    let well = why(&engine, "well").await;
    assert_eq!(well.release, Release::Restart);
    let expires = |waits_for| match waits_for {
        WaitsFor::Nothing {
            ended,
            expires_at_us,
        } => (ended, expires_at_us),
        other => panic!("{other:?}"),
    };
    let (ended, expires_at_us) = expires(well.waits_for);
    assert_eq!(ended, Ended::Succeeded);
    assert!(expires_at_us > Some(well.since_us));
    let never = Act::Never("no".to_owned());
    engine
        .start(PLAY, "badly", &never)
        .keep_forever()
        .await
        .unwrap()
        .result()
        .await
        .unwrap_err();
    let badly = why(&engine, "badly").await;
    assert_eq!(badly.release, Release::Retry);
    assert!(matches!(expires(badly.waits_for), (Ended::Failed(_), None)));
    for id in ["cancelled", "stopped"] {
        engine
            .start(PLAY, id, &say("x"))
            .start_in(MINUTE)
            .await
            .unwrap();
    }
    engine.cancel("cancelled", "\u{1b}[31mred").await.unwrap();
    engine.terminate("stopped", "enough").await.unwrap();
    let cancelled = why(&engine, "cancelled").await;
    assert!(
        !cancelled.to_string().contains('\u{1b}'),
        "a text of others stays a text"
    );
    assert!(matches!(
        expires(cancelled.waits_for).0,
        Ended::Cancelled { .. }
    ));
    let stopped = expires(why(&engine, "stopped").await.waits_for).0;
    assert!(matches!(
        stopped,
        Ended::Terminated {
            timed_out: false,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_task_without_a_handler_here_says_so() {
    let store = Arc::new(MemStore::new());
    let play = Play::default();
    let engine = on(&store, &play).await;
    engine
        .start(PLAY, "a", &say("x"))
        .start_in(MINUTE)
        .await
        .unwrap();
    engine.shutdown(NO_GRACE).await;
    let engine = without_handler(&store).await;
    let missing = why(&engine, "a").await;
    assert_eq!(
        (missing.waits_for, missing.release),
        (WaitsFor::Handler, Release::Handler)
    );
    assert_eq!(missing.name, PLAY.name());
}

/// What ran when the process died, and cannot be entered yet because all slots are taken again.
#[tokio::test(start_paused = true)]
async fn what_ran_before_waits_to_be_recovered() {
    let store = Arc::new(MemStore::new());
    let play = Play::default();
    let engine = on(&store, &play).await;
    for id in ["a", "b"] {
        engine.start(PLAY, id, &held(say("x"))).await.unwrap();
    }
    engine
        .start(PLAY, "c", &say("x"))
        .start_in(MINUTE)
        .await
        .unwrap();
    play.gate.came(2).await;
    engine.shutdown(NO_GRACE).await;
    drop(engine);
    let builder = Engine::on_store(Arc::clone(&store) as Arc<dyn Store>).inline();
    let engine = builder
        .task(PLAY, play.handler())
        .max_running(1)
        .open()
        .await
        .unwrap();
    play.gate.came(1).await;
    let waiting = why(&engine, "b").await;
    assert_eq!(
        (waiting.waits_for, waiting.release),
        (WaitsFor::Recovery, Release::Engine)
    );
    assert_eq!(waiting.status, Status::InProgress);
    assert!(matches!(
        why(&engine, "a").await.waits_for,
        WaitsFor::TurnEnd { .. }
    ));
    tokio::time::advance(MINUTE).await;
    let behind = why(&engine, "c").await.waits_for;
    assert!(matches!(
        behind,
        WaitsFor::Slot {
            running: 1,
            allowed: 1,
            recovering: true,
            ..
        }
    ));
}

/// Puts a task into a state that takes many deaths of a process.
fn put(store: &MemStore, id: &str, state: State, deaths: u32) {
    let id = outlive::TaskId::new(id).unwrap();
    let task = store.find(&id).unwrap().unwrap();
    let mut row = store.get(task).unwrap().unwrap();
    let expect = Expect::Etag(row.etag);
    row.etag = Etag(store.counters().unwrap().etag.0 + 1);
    row.guard = Guard {
        deaths,
        alone: 0,
        probation: Probation::No,
    };
    row.state = state;
    let writes = vec![Write::Row(Arc::new(row))];
    let commit = Commit {
        task,
        expect,
        writes,
    };
    let answers = store.commit(&[commit]).unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_held_back_and_a_poison_waits_for_somebody() {
    let store = Arc::new(MemStore::new());
    let play = Play::default();
    let engine = on(&store, &play).await;
    for id in ["suspect", "poison"] {
        engine
            .start(PLAY, id, &say("x"))
            .start_in(MINUTE)
            .await
            .unwrap();
    }
    engine.shutdown(NO_GRACE).await;
    let due_at = Deadline::own(Micros(0));
    let wait = WaitReason::Isolated { deaths: 3 };
    put(&store, "suspect", State::Pending { due_at, wait }, 3);
    let since = Micros(5);
    let wait = WaitReason::Quarantined { deaths: 7 };
    put(&store, "poison", State::Suspended { since, wait }, 7);
    let engine = on(&store, &play).await;
    let suspect = why(&engine, "suspect").await;
    assert_eq!(suspect.waits_for, WaitsFor::Isolation { deaths: 3 });
    assert_eq!(suspect.release, Release::Engine);
    let poison = why(&engine, "poison").await;
    assert_eq!(poison.waits_for, WaitsFor::Operator { deaths: 7 });
    assert_eq!((poison.release, poison.since_us), (Release::Retry, 5));
}

/// A blocking handler cannot be stopped, and its id is not entered again before it has returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_former_call_goes_on_waits_for_it() {
    const STUBBORN: TaskDef<u32, u32> = TaskDef::new("stubborn").steerable(1);
    let (latch, _opens) = Latch::closed();
    let (came, waits) = (Gate::closed(), latch.clone());
    let arriving = came.clone();
    let block = move |_: Ctx, n: u32| {
        arriving.arrive();
        waits.wait();
        Ok::<_, HandlerError>(n)
    };
    let engine = Engine::on_store(Arc::new(MemStore::new())).blocking(STUBBORN, block);
    let engine = engine.open().await.unwrap();
    engine.start(STUBBORN, "a", &1).await.unwrap();
    came.came(1).await;
    engine.terminate("a", "enough").await.unwrap();
    engine.retry(STUBBORN, "a").await.unwrap();
    let mut looks = 0;
    loop {
        let seen = why(&engine, "a").await;
        if seen.waits_for == WaitsFor::FormerCall {
            assert_eq!(seen.release, Release::TurnEnd);
            break;
        }
        looks += 1;
        assert!(looks < 10_000, "{seen:?}");
        tokio::task::yield_now().await;
    }
}
