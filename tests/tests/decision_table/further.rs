//! A further input of a task: it starts, resumes, is queued, or is refused without a trace.

use super::{COMPLETED, DEFS, FIRST, HOUR, ID, PENDING, Stand, World, assert_conflict};
use outlive::{
    Accepted, Ctx, Engine, Entry, HandlerError, OnConflict, StartError, Status, TaskDef, WaitReason,
};
use outlive_storage::MemStore;
use outlive_tests::gate::Gate;
use outlive_tests::play::{PLAY, Play, STEERED, held, say, until};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn an_input_for_no_task_starts_one() {
    for policy in [OnConflict::Refuse, OnConflict::Restart, OnConflict::Attach] {
        for def in DEFS {
            let world = World::empty(def).await;
            let run = world
                .engine
                .start(def, ID, &say("first"))
                .on_conflict(policy);
            let run = run.await.unwrap();
            assert_eq!(run.accepted(), Some(Accepted::Started), "{policy:?}");
            assert_eq!(run.result().await.unwrap(), "first");
            let seen = world.play.seen.take();
            assert_eq!(seen.len(), 1);
            assert_eq!(
                (&seen[0].entry, seen[0].numbers()),
                (&Entry::Fresh, (1, 1, 1, 0))
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_input_is_refused_where_the_task_takes_one_at_a_time() {
    let refuse = [Stand::InProgress, Stand::LaterTurn, Stand::Parked];
    for stand in PENDING.into_iter().chain(refuse).chain(COMPLETED) {
        let world = World::of(stand, PLAY).await;
        for input_id in [None, Some("other")] {
            let other = world.engine.start(PLAY, ID, &say("other"));
            let other = match input_id {
                Some(id) => other.input_id(id),
                None => other,
            };
            let answer = world.unwritten(other).await;
            assert_conflict(&world, answer, stand).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_of_an_ended_steerable_task_is_refused() {
    for stand in COMPLETED {
        let world = World::of(stand, STEERED).await;
        let other = world.engine.start(STEERED, ID, &say("other"));
        let answer = world.unwritten(other).await;
        assert_conflict(&world, answer, stand).await;
    }
}

/// A restart is for what has ended.
#[tokio::test(start_paused = true)]
async fn a_restart_does_not_break_into_a_turn() {
    let refuse = [Stand::InProgress, Stand::LaterTurn, Stand::Parked];
    for stand in PENDING.into_iter().chain(refuse) {
        let world = World::of(stand, PLAY).await;
        let other = world.engine.start(PLAY, ID, &say("other"));
        let other = other.on_conflict(OnConflict::Restart);
        let answer = world.unwritten(other).await;
        assert_conflict(&world, answer, stand).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_would_rather_attach_answers_for_the_input_at_work() {
    let attach = [Stand::InProgress, Stand::Parked];
    for stand in PENDING.into_iter().chain(attach).chain(COMPLETED) {
        let world = World::of(stand, PLAY).await;
        let other = world.engine.start(PLAY, ID, &say("other"));
        let other = other.on_conflict(OnConflict::Attach).input_id("other");
        let other = world.unwritten(other).await.unwrap();
        assert_eq!(other.accepted(), Some(Accepted::Attached), "{stand:?}");
        assert_eq!(other.input_id().as_str(), FIRST, "its own input is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_further_input_of_a_steerable_task_is_queued_and_moves_nothing_else() {
    let queue = [Stand::InProgress, Stand::LaterTurn, Stand::Parked];
    for stand in PENDING.into_iter().chain(queue) {
        let world = World::of(stand, STEERED).await;
        let before = world.task().await;
        let queued = world.engine.start(STEERED, ID, &say("queued"));
        let queued = queued.input_id("queued").await.unwrap();
        assert!(queued.is_queued(), "{stand:?}");
        let after = world.task().await;
        assert_eq!(after.etag, before.etag + 1, "{stand:?}: one transition");
        assert_eq!(
            (after.inputs_waiting, after.last_input_id.as_str()),
            (1, "queued")
        );
        assert_eq!(after.input_id, before.input_id, "the turn keeps its input");
        let place = |task: &outlive::Snapshot| {
            let wait = (task.status, task.wait.clone(), task.due_at_us);
            (wait, task.run, task.turn, task.attempt, task.generation)
        };
        assert_eq!(place(&after), place(&before), "{stand:?}");
        assert_eq!(world.play.seen.len(), stand.entries(), "nothing is entered");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queued_input_gets_the_turn_after_the_one_it_waits_for() {
    for stand in [Stand::Delayed, Stand::BackOff, Stand::InProgress] {
        let world = World::of(stand, STEERED).await;
        let queued = world
            .engine
            .start(STEERED, ID, &say("queued"))
            .await
            .unwrap();
        world.play.gate.let_through(1);
        // The failing act uses up its attempts, and the queue learns that its task has ended.
        let answer = queued.result().await;
        if stand == Stand::BackOff {
            assert!(matches!(answer, Err(outlive::ResultError::Conflict { .. })));
            continue;
        }
        assert_eq!(answer.unwrap(), "queued", "{stand:?}");
        assert_eq!(world.acts(), [stand.act(), say("queued")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_its_bound_in_every_state_and_a_refusal_leaves_no_trace() {
    for stand in [
        Stand::Slot,
        Stand::Delayed,
        Stand::BackOff,
        Stand::InProgress,
        Stand::Parked,
    ] {
        let world = World::of(stand, STEERED).await;
        for n in 0..2 {
            world
                .engine
                .start(STEERED, ID, &say(n.to_string()))
                .await
                .unwrap();
        }
        let third = world
            .engine
            .start(STEERED, ID, &say("third"))
            .input_id("third");
        let third = world.unwritten(third).await;
        assert!(
            matches!(third, Err(StartError::SteeringQueueFull { max: 2 })),
            "{stand:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspended_task_goes_on_with_the_input_in_one_commit() {
    for def in DEFS {
        let world = World::of(Stand::ForInput, def).await;
        let before = world.task().await;
        let run = world.engine.start(def, ID, &held(say("next")));
        let run = run.await.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Resumed));
        let after = world.task().await;
        assert_eq!((after.status, after.turn), (Status::InProgress, 2));
        assert_eq!(after.etag, before.etag + 1, "resumed and claimed at once");
        world.play.gate.let_through(1);
        assert_eq!(run.result().await.unwrap(), "next");
        let seen = world.play.seen.take();
        assert_eq!((&seen[1].entry, seen[1].steered), (&Entry::Resumed, false));
        assert_eq!(seen[1].numbers(), (1, 2, 1, 0));
    }
}

/// What is resumed without a free slot waits for one in the store; the input is kept.
#[tokio::test(start_paused = true)]
async fn a_suspended_task_is_resumed_although_no_slot_is_free() {
    const BUSY: TaskDef<(), ()> = TaskDef::new("busy");
    let (play, gate) = (Play::default(), Gate::closed());
    let at_gate = gate.clone();
    let engine = Engine::on_store(Arc::new(MemStore::new()))
        .inline()
        .max_running(1)
        .task(PLAY, play.handler())
        .task(BUSY, move |_: Ctx, ()| {
            let gate = at_gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, HandlerError>(())
            }
        })
        .open()
        .await
        .unwrap();
    engine.run(PLAY, ID, &Stand::ForInput.act()).await.unwrap();
    engine.start(BUSY, "busy", &()).await.unwrap();
    gate.came(1).await;
    let run = engine.start(PLAY, ID, &say("next")).await.unwrap();
    assert_eq!(run.accepted(), Some(Accepted::Resumed));
    let task = engine.get(ID).await.unwrap().unwrap();
    assert_eq!(
        (task.status, task.wait),
        (Status::Pending, Some(WaitReason::Slot))
    );
    assert_eq!((task.turn, task.attempt), (2, 0));
    gate.let_through(1);
    assert_eq!(run.result().await.unwrap(), "next");
}

/// A wait for a program that can read the first input is not ended by a second one.
#[tokio::test(start_paused = true)]
async fn a_parked_turn_is_not_entered_by_an_input() {
    let world = World::of(Stand::Parked, STEERED).await;
    let queued = world
        .engine
        .start(STEERED, ID, &say("queued"))
        .await
        .unwrap();
    tokio::time::sleep(HOUR).await;
    let task = world.task().await;
    assert!(Stand::Parked.waits_for(task.wait.as_ref()), "{task:?}");
    assert_eq!((task.turn, task.inputs_waiting), (1, 1));
    assert!(world.acts().is_empty());
    world.engine.cancel(ID, "give it up").await.unwrap();
    let answer = queued.result().await;
    assert!(matches!(answer, Err(outlive::ResultError::Conflict { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_task_is_not_started_early_by_a_further_input() {
    let world = World::of(Stand::Delayed, STEERED).await;
    world
        .engine
        .start(STEERED, ID, &say("queued"))
        .await
        .unwrap();
    tokio::time::sleep(HOUR - Duration::from_secs(2)).await;
    assert!(world.acts().is_empty(), "it is not due yet");
    until(&world.engine, ID, |task| task.status == Status::Pending).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.acts(), [say("first"), say("queued")]);
}

#[tokio::test(start_paused = true)]
async fn an_id_of_another_definition_is_refused_in_every_state() {
    const ALIEN: TaskDef<outlive_tests::play::Act, String> = TaskDef::new("occupies");
    for stand in super::ALL {
        let world = World::of(stand, PLAY).await;
        let alien = world.engine.start(ALIEN, ID, &say("x"));
        let alien = world
            .unwritten(alien.on_conflict(OnConflict::Restart))
            .await;
        let Err(StartError::OtherDefinition { id, name }) = alien else {
            panic!("{stand:?}: {alien:?}");
        };
        assert_eq!((id.as_str(), name.as_str()), (ID, "play"));
    }
}

/// A name without a handler here takes no input, whatever the store holds under it.
#[tokio::test(start_paused = true)]
async fn an_input_for_a_name_without_a_handler_is_refused() {
    const NOBODY: TaskDef<outlive_tests::play::Act, String> = TaskDef::new("nobody");
    let world = World::of(Stand::InProgress, PLAY).await;
    for id in [ID, "another"] {
        let refused = world
            .unwritten(world.engine.start(NOBODY, id, &say("x")))
            .await;
        assert!(matches!(
            refused,
            Err(StartError::NoHandler { name: "nobody" })
        ));
    }
}
