//! A start on a task that has ended: refused, attached to the outcome, or a further run; and on one that was removed.

use super::{ALL, COMPLETED, DEFS, FIRST, HOUR, ID, Stand, World};
use outlive::{
    Accepted, AttachError, Ended, Entry, OnConflict, ResultError, RetryPolicy, Run, Status,
    TaskOptions, WaitReason,
};
use outlive_tests::play::{Act, PLAY, ask, fail_until, held, say, until};
use std::time::Duration;

/// The end of a stand, as the history tells it.
#[track_caller]
fn assert_ended(stand: Stand, ended: &Ended) {
    match (stand, ended) {
        (Stand::Succeeded, Ended::Succeeded) => {}
        (Stand::Failed, Ended::Failed(failure)) => assert_eq!(&*failure.message, "broken"),
        (Stand::Cancelled, Ended::Cancelled { reason }) => assert_eq!(reason, "not needed"),
        (Stand::Terminated, Ended::Terminated { reason, timed_out }) => {
            assert_eq!((reason.as_str(), *timed_out), ("stop it", false));
        }
        (stand, ended) => panic!("{stand:?}: {ended:?}"),
    }
}

/// The answer of a stand, as its caller gets it.
#[track_caller]
fn assert_answer(stand: Stand, answer: Result<String, ResultError>) {
    match (stand, answer) {
        (Stand::Succeeded, Ok(output)) => assert_eq!(output, "first"),
        (Stand::Failed, Err(ResultError::Failed(failure))) => {
            assert_eq!((&*failure.message, failure.attempts), ("broken", 1));
        }
        (Stand::Cancelled, Err(ResultError::Cancelled { reason })) => {
            assert_eq!(&*reason, "not needed");
        }
        (Stand::Terminated, Err(ResultError::Terminated { reason, timed_out })) => {
            assert_eq!((&*reason, timed_out), ("stop it", false));
        }
        (stand, answer) => panic!("{stand:?}: {answer:?}"),
    }
}

async fn restarted(world: &World, act: Act) -> Run<String> {
    let start = world.engine.start(world.def, ID, &act);
    let run = start.on_conflict(OnConflict::Restart).await.unwrap();
    assert_eq!(run.accepted(), Some(Accepted::Restarted));
    run
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_an_ended_task_is_a_further_run_and_the_old_outcome_is_history() {
    for def in DEFS {
        for stand in COMPLETED {
            let world = World::of(stand, def).await;
            let old = world.engine.attach(def, ID).await.unwrap();
            let before = world.task().await;
            let run = restarted(&world, held(say("again"))).await;
            world.play.gate.came(1).await;
            let running = world.task().await;
            assert_eq!(running.etag, before.etag + 1, "{stand:?}: one transition");
            assert_eq!((running.run, running.turn, running.attempt), (2, 1, 1));
            assert_eq!(
                (running.ended, running.created_at_us),
                (None, before.created_at_us)
            );
            world.play.gate.let_through(1);
            assert_eq!(run.result().await.unwrap(), "again");
            assert_answer(stand, old.result().await);
            let history = world.engine.history(ID).await.unwrap();
            let [past] = &history[..] else {
                panic!("{stand:?}: {history:?}");
            };
            assert_eq!(
                (past.run, past.turns, past.ended_at_us),
                (1, 1, before.since_us)
            );
            assert_ended(stand, &past.ended);
            let seen = world.play.seen.take();
            let last = seen.last().expect("the further run was entered");
            assert_eq!((&last.entry, last.numbers()), (&Entry::Fresh, (2, 1, 1, 0)));
            assert_eq!((last.steered, &last.previous), (false, &None));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn runs_are_numbered_and_kept_in_order_with_their_turns() {
    let world = World::empty(PLAY).await;
    for run in 1..=3_u32 {
        for turn in 1..=run {
            let act = if turn == run {
                say("last")
            } else {
                ask("more")
            };
            let start = world.engine.start(PLAY, ID, &act);
            let start = start.on_conflict(OnConflict::Restart).await.unwrap();
            start.result().await.unwrap();
        }
    }
    let history = world.engine.history(ID).await.unwrap();
    let runs: Vec<_> = history.iter().map(|past| (past.run, past.turns)).collect();
    assert_eq!(runs, [(1, 1), (2, 2)], "the latest run is the task itself");
    let task = world.task().await;
    assert_eq!((task.run, task.turn), (3, 3));
}

/// A batch that restarts its cases is itself started again.
#[tokio::test(start_paused = true)]
async fn a_repeated_restart_attaches_to_the_further_run() {
    let world = World::of(Stand::Failed, PLAY).await;
    let act = fail_until(1, say("at last"));
    let run = restarted(&world, act.clone()).await;
    until(&world.engine, ID, |task| task.status == Status::Pending).await;
    let again = world.engine.start(PLAY, ID, &act);
    let again = world
        .unwritten(again.on_conflict(OnConflict::Restart))
        .await
        .unwrap();
    assert_eq!(again.accepted(), Some(Accepted::Attached));
    assert_eq!(again.input_id(), run.input_id());
    assert_eq!(again.result().await.unwrap(), "at last");
}

/// The receipts of a run outlive it: its inputs are never worked a second time.
#[tokio::test(start_paused = true)]
async fn an_input_of_an_earlier_run_attaches_to_that_run() {
    for stand in COMPLETED {
        let world = World::of(stand, PLAY).await;
        restarted(&world, say("again"))
            .await
            .result()
            .await
            .unwrap();
        let entries = world.play.seen.len();
        let old = world.engine.start(PLAY, ID, &say("x")).input_id(FIRST);
        let old = old.on_conflict(OnConflict::Restart);
        let old = world.unwritten(old).await.unwrap();
        assert_eq!(old.accepted(), Some(Accepted::Attached), "{stand:?}");
        assert_answer(stand, old.result().await);
        assert_eq!(world.play.seen.len(), entries, "{stand:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_brings_its_own_options_and_its_own_time() {
    let world = World::of(Stand::Succeeded, PLAY).await;
    let start = world.engine.start(PLAY, ID, &fail_until(1, say("x")));
    let start = start.on_conflict(OnConflict::Restart).start_in(HOUR);
    let start = start.retry(RetryPolicy::none()).priority(2);
    let run = start
        .options(TaskOptions::new().keep_forever())
        .await
        .unwrap();
    let task = world.task().await;
    assert_eq!(
        (task.status, task.wait),
        (Status::Pending, Some(WaitReason::Delayed))
    );
    assert_eq!((task.priority, task.attempt), (2, 0));
    tokio::time::sleep(HOUR + Duration::from_secs(2)).await;
    let failed = run.result().await;
    assert!(matches!(failed, Err(ResultError::Failed(failure)) if failure.attempts == 1));
    assert_eq!(world.task().await.expires_at_us, None, "kept for ever");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_attaches_to_an_ended_task_gets_its_outcome() {
    for def in DEFS {
        for stand in COMPLETED {
            let world = World::of(stand, def).await;
            let call = world.engine.start(def, ID, &say("other"));
            let run = world.unwritten(call.on_conflict(OnConflict::Attach)).await;
            let run = run.unwrap();
            assert_eq!(run.accepted(), Some(Accepted::Attached), "{stand:?}");
            assert_answer(stand, world.unwritten(run.result()).await);
        }
    }
}

/// The id is free again; whoever holds a handle to the removed task never gets an answer of the new one.
#[tokio::test(start_paused = true)]
async fn a_removed_task_is_created_anew() {
    for stand in COMPLETED {
        let world = World::of(stand, PLAY).await;
        let (old, before) = (
            world.engine.attach(PLAY, ID).await.unwrap(),
            world.task().await,
        );
        restarted(&world, say("a past run"))
            .await
            .result()
            .await
            .unwrap();
        assert!(world.engine.delete(ID).await.unwrap());
        let missing = world.engine.attach(PLAY, ID).await;
        assert!(
            matches!(missing, Err(AttachError::NotFound(_))),
            "{stand:?}"
        );
        world.play.seen.take();

        let run = world.engine.start(PLAY, ID, &say("new")).input_id(FIRST);
        let run = run.await.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Started), "{stand:?}");
        assert_eq!(run.result().await.unwrap(), "new");
        let task = world.task().await;
        assert_eq!((task.run, task.turn), (1, 1));
        assert!(task.etag > before.etag && task.generation > before.generation);
        assert!(world.engine.history(ID).await.unwrap().is_empty());
        assert_eq!(world.play.seen.take()[0].entry, Entry::Fresh);
        let gone = old.result().await;
        assert!(
            matches!(gone, Err(ResultError::NotFound { .. })),
            "{stand:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_task_is_removed_by_its_end_and_its_id_is_free() {
    let ephemeral = PLAY.ephemeral();
    let world = World::empty(ephemeral).await;
    for round in 0..3 {
        let run = world.engine.start(ephemeral, ID, &say("x")).input_id(FIRST);
        let run = run.await.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Started), "round {round}");
        assert_eq!(run.result().await.unwrap(), "x");
        assert!(world.engine.get(ID).await.unwrap().is_none());
    }
    let numbers = world.play.seen.take();
    assert!(numbers.iter().all(|seen| seen.numbers() == (1, 1, 1, 0)));
    assert_eq!(numbers.len(), 3);
}

/// Looking does not touch: a reader never moves a task, whatever it is at.
#[tokio::test(start_paused = true)]
async fn looking_and_attaching_change_nothing_in_any_state() {
    for stand in ALL {
        let world = World::of(stand, PLAY).await;
        let look = async {
            let task = world.engine.get(ID).await.unwrap().unwrap();
            let run = world.engine.attach(PLAY, ID).await.unwrap();
            assert_eq!((run.accepted(), run.input_id()), (None, &task.input_id));
            assert_eq!(run.refresh().await.unwrap(), task, "{stand:?}");
            assert_eq!(run.status().await.unwrap(), stand.status());
            world.engine.history(ID).await.unwrap()
        };
        world.unwritten(look).await;
    }
    let world = World::empty(PLAY).await;
    assert!(world.engine.get(ID).await.unwrap().is_none());
    let missing = world.engine.attach(PLAY, ID).await;
    assert!(matches!(missing, Err(AttachError::NotFound(_))));
}
