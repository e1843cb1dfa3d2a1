//! `after` and `if_etag`: a call that was decided on another version of the task changes nothing.

use super::{ALL, FIRST, ID, Stand, World};
use outlive::{
    Accepted, ControlError, Ctx, Engine, HandlerError, OnConflict, ReenterError, Reply, Snapshot,
    StartError, Status, TaskDef,
};
use outlive_tests::gate::Gate;
use outlive_tests::play::{PLAY, STEERED, held, say, until};
use std::time::Duration;

/// Requires a failed precondition that says how the task stands.
#[track_caller]
fn assert_failed<T: std::fmt::Debug>(answer: Result<T, StartError>, task: &Snapshot) {
    match answer {
        Err(StartError::PreconditionFailed {
            id,
            etag,
            last_input_id,
        }) => {
            assert_eq!((id, etag), (task.id.clone(), Some(task.etag)));
            assert_eq!(last_input_id.as_ref(), Some(&task.last_input_id));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_on_another_etag_or_after_another_input_is_refused_in_every_state() {
    for stand in ALL {
        for policy in [OnConflict::Refuse, OnConflict::Restart, OnConflict::Attach] {
            let world = World::of(stand, STEERED).await;
            let task = world.task().await;
            let start = || {
                world
                    .engine
                    .start(STEERED, ID, &say("x"))
                    .on_conflict(policy)
            };
            for etag in [0, task.etag - 1, task.etag + 1] {
                let refused = world.unwritten(start().if_etag(etag)).await;
                assert_failed(refused, &task);
            }
            let refused = world.unwritten(start().after("another")).await;
            assert_failed(refused, &task);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_on_the_etag_it_saw_is_taken() {
    for (stand, taken) in [
        (Stand::Delayed, Accepted::Queued),
        (Stand::InProgress, Accepted::Queued),
        (Stand::ForInput, Accepted::Resumed),
        (Stand::Failed, Accepted::Restarted),
    ] {
        let world = World::of(stand, STEERED).await;
        let task = world.task().await;
        let start = world.engine.start(STEERED, ID, &say("x"));
        let start = start.on_conflict(OnConflict::Restart).if_etag(task.etag);
        let run = start.after(&task.last_input_id).await.unwrap();
        assert_eq!(run.accepted(), Some(taken), "{stand:?}");
        // The same decision, made twice, is taken once.
        let again = world.engine.start(STEERED, ID, &say("x"));
        let again = world.unwritten(again.if_etag(task.etag)).await;
        assert!(matches!(again, Err(StartError::PreconditionFailed { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_before_the_first_input() {
    let world = World::empty(PLAY).await;
    let start = || world.engine.start(PLAY, ID, &say("x"));
    for refused in [start().after(FIRST), start().if_etag(0)] {
        let refused = world.unwritten(refused).await;
        let Err(StartError::PreconditionFailed {
            etag: None,
            last_input_id: None,
            ..
        }) = refused
        else {
            panic!("{refused:?}");
        };
    }
    assert!(world.engine.get(ID).await.unwrap().is_none());
}

/// Two people who saw the same state steer it: the second learns that it is no longer what he saw.
#[tokio::test(start_paused = true)]
async fn the_last_accepted_input_is_the_one_at_the_end_of_the_queue() {
    let world = World::of(Stand::InProgress, STEERED).await;
    let after = |input: &str, id: &str| {
        let start = world.engine.start(STEERED, ID, &held(say(id)));
        start.after(input).input_id(id)
    };
    after(FIRST, "second").await.unwrap();
    let task = world.task().await;
    assert_eq!(
        (task.input_id.as_str(), task.last_input_id.as_str()),
        (FIRST, "second")
    );
    assert_failed(world.unwritten(after(FIRST, "third")).await, &task);
    after("second", "third").await.unwrap();
    // The turn of the second begins; the third is still the last.
    world.play.gate.let_through(1);
    world.play.gate.came(1).await;
    assert_failed(
        world.unwritten(after("second", "fourth")).await,
        &world.task().await,
    );
    world.play.gate.let_through(1);
    world.play.gate.came(1).await;
    after("third", "fourth").await.unwrap();
}

/// Whoever repeats a call whose answer was lost must not be told that his own input is in the way.
#[tokio::test(start_paused = true)]
async fn an_accepted_input_attaches_although_its_precondition_is_past() {
    let world = World::of(Stand::ForInput, PLAY).await;
    let etag = world.task().await.etag;
    for how in [Accepted::Resumed, Accepted::Attached, Accepted::Attached] {
        let start = world.engine.start(PLAY, ID, &say("next")).input_id("next");
        let run = start.after(FIRST).if_etag(etag).await.unwrap();
        assert_eq!(run.accepted(), Some(how));
        assert_eq!(run.result().await.unwrap(), "next");
    }
}

#[tokio::test(start_paused = true)]
async fn every_order_is_refused_on_another_etag() {
    for stand in ALL {
        let world = World::of(stand, PLAY).await;
        let (engine, task) = (&world.engine, world.task().await);
        let stale = task.etag - 1;
        let etag = |answer: Result<(), ControlError>| match answer {
            Err(ControlError::PreconditionFailed { etag, .. }) => etag,
            other => panic!("{stand:?}: {other:?}"),
        };
        let reentered = |answer: Result<outlive::Run<String>, ReenterError>| match answer {
            Err(ReenterError::Control(error)) => etag(Err(error)),
            other => panic!("{stand:?}: {other:?}"),
        };
        let answers = [
            etag(world.unwritten(engine.cancel(ID, "x").if_etag(stale)).await),
            etag(
                world
                    .unwritten(engine.terminate(ID, "x").if_etag(stale))
                    .await,
            ),
            etag(
                world
                    .unwritten(engine.delete(ID).force().if_etag(stale))
                    .await
                    .map(drop),
            ),
            reentered(
                world
                    .unwritten(engine.resume(PLAY, ID).if_etag(stale))
                    .await,
            ),
            reentered(world.unwritten(engine.retry(PLAY, ID).if_etag(stale)).await),
        ];
        assert_eq!(answers, [Some(task.etag); 5], "{stand:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_order_is_carried_out_on_the_etag_it_saw() {
    let etag = async |world: &World| world.task().await.etag;
    let world = World::of(Stand::ForInput, PLAY).await;
    let resumed = world.engine.resume(PLAY, ID).if_etag(etag(&world).await);
    resumed.await.unwrap().result().await.unwrap();
    let cancelled = world.engine.cancel(ID, "x").if_etag(etag(&world).await);
    cancelled.await.unwrap();
    let retried = world.engine.retry(PLAY, ID).if_etag(etag(&world).await);
    retried.await.unwrap().result().await.unwrap();
    let terminated = world.engine.terminate(ID, "x").if_etag(etag(&world).await);
    terminated.await.unwrap();
    let deleted = world.engine.delete(ID).if_etag(etag(&world).await);
    assert!(deleted.await.unwrap());
}

/// A task whose handler comes to the gate before and after it changes its metadata.
#[tokio::test(start_paused = true)]
async fn the_etag_changes_with_every_transition_and_not_with_metadata() {
    const CHAIN: TaskDef<u32, u32> = TaskDef::new("chain").steerable(2);
    let gate = Gate::closed();
    let at_gate = gate.clone();
    let engine = Engine::in_memory().task(CHAIN, move |ctx: Ctx, n: u32| {
        let gate = at_gate.clone();
        async move {
            gate.pass().await;
            ctx.metadata().set("n", n)?;
            ctx.flush_metadata().await?;
            gate.pass().await;
            if n == 2 {
                return Err(HandlerError::from("once").retry_after(Duration::from_secs(60)));
            }
            Ok(Reply::suspend(n, "more"))
        }
    });
    let engine = engine.open().await.unwrap();
    engine.recovery().await;
    let look = async || engine.get("a").await.unwrap().unwrap();
    let mut etags = Vec::new();
    engine.start(CHAIN, "a", &1).await.unwrap();
    gate.came(1).await;
    etags.push(look().await.etag);
    gate.let_through(1);
    gate.came(1).await;
    let flushed = look().await;
    assert!(!flushed.metadata.is_empty(), "{flushed:?}");
    assert_eq!(flushed.etag, etags[0], "metadata is no transition");
    engine.start(CHAIN, "a", &2).await.unwrap();
    etags.push(look().await.etag);
    gate.let_through(1);
    gate.came(1).await;
    etags.push(look().await.etag);
    gate.let_through(2);
    etags.push(
        until(&engine, "a", |task| task.status == Status::Pending)
            .await
            .etag,
    );
    engine.cancel("a", "enough").await.unwrap();
    etags.push(look().await.etag);
    engine.retry(CHAIN, "a").await.unwrap();
    etags.push(look().await.etag);
    let steps: Vec<u64> = etags.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(
        steps, [1; 5],
        "queued, next turn, back-off, cancelled, retried: {etags:?}"
    );
}
