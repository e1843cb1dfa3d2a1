//! `resume`: a task that waits for an input goes on without a new one.

use super::{ALL, DEFS, FIRST, HOUR, ID, Stand, World};
use outlive::{Accepted, ControlError, Entry, ReenterError, Status, TaskDef, WaitReason};
use outlive_tests::play::{Act, PLAY, ask, held, say};

#[tokio::test(start_paused = true)]
async fn a_resumption_is_a_further_turn_with_the_bytes_of_the_last_input() {
    for def in DEFS {
        let world = World::empty(def).await;
        let act = held(ask("first"));
        world.play.gate.let_through(1);
        let first = world.engine.start(def, ID, &act).input_id(FIRST);
        first.await.unwrap().result().await.unwrap();
        let before = world.task().await;
        let mut ids = vec![FIRST.to_owned()];
        for turn in 2..=4 {
            let run = world.engine.resume(def, ID).await.unwrap();
            assert_eq!(run.accepted(), Some(Accepted::Resumed));
            let task = world.task().await;
            assert_eq!((task.status, task.turn), (Status::InProgress, turn));
            assert_eq!(&task.last_input_id, run.input_id());
            ids.push(run.input_id().to_string());
            world.play.gate.let_through(1);
            let outcome = run.outcome().await.unwrap();
            assert_eq!((outcome.output().as_str(), outcome.turn()), ("first", turn));
        }
        // A resumption and the end of its turn: two transitions each.
        assert_eq!(world.task().await.etag, before.etag + 6);
        let seen = world.play.seen.take();
        for (seen, turn) in seen.iter().zip(1..) {
            assert_eq!((&seen.act, seen.numbers()), (&act, (1, turn, 1, 0)));
            assert!(!seen.steered);
            assert_eq!(&seen.input_id, &ids[turn as usize - 1]);
        }
        assert!(seen[1..].iter().all(|seen| seen.entry == Entry::Resumed));
        assert!(
            seen[1..]
                .iter()
                .all(|seen| seen.previous.as_ref() == Some(&act))
        );
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 4, "each turn has an input id of its own");
    }
}

/// Above one KiB the input lies beside the row, and the turn that ends must not take it along.
#[tokio::test(start_paused = true)]
async fn a_resumption_keeps_an_input_of_any_size() {
    let large = "x".repeat(100_000);
    let world = World::empty(PLAY).await;
    let run = world.engine.start(PLAY, ID, &ask(&large)).await.unwrap();
    assert_eq!(run.result().await.unwrap(), large);
    for _ in 0..3 {
        let run = world.engine.resume(PLAY, ID).await.unwrap();
        assert_eq!(run.result().await.unwrap(), large);
    }
    let next = world.engine.start(PLAY, ID, &say("next")).await.unwrap();
    assert_eq!(next.result().await.unwrap(), "next");
    let seen = world.play.seen.take();
    assert!(
        seen[1..]
            .iter()
            .all(|seen| seen.previous == Some(ask(&large)))
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_wait_for_an_input_is_not_resumed_and_says_how_it_stands() {
    for def in DEFS {
        for stand in ALL.into_iter().filter(|stand| *stand != Stand::ForInput) {
            let world = World::of(stand, def).await;
            let refused = world.unwritten(world.engine.resume(def, ID)).await;
            let Err(ReenterError::Control(ControlError::Conflict {
                id, status, reason, ..
            })) = refused
            else {
                panic!("{stand:?}: {refused:?}");
            };
            assert_eq!((id.as_str(), status), (ID, stand.status()));
            assert!(stand.waits_for(reason.as_ref()), "{stand:?}: {reason:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_is_not_resumed() {
    let world = World::empty(PLAY).await;
    let refused = world.unwritten(world.engine.resume(PLAY, ID)).await;
    assert!(
        matches!(refused, Err(ReenterError::Control(ControlError::NotFound(id))) if id.as_str() == ID)
    );
    let refused = world.unwritten(world.engine.resume(PLAY, "no id")).await;
    assert!(matches!(
        refused,
        Err(ReenterError::Control(ControlError::InvalidId(_)))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_not_resumed_under_another_definition() {
    const OCCUPIES: TaskDef<Act, String> = TaskDef::new("occupies");
    let world = World::of(Stand::ForInput, PLAY).await;
    let refused = world.unwritten(world.engine.resume(OCCUPIES, ID)).await;
    assert!(matches!(refused, Err(ReenterError::OtherDefinition { name, .. }) if name == "play"));
}

/// The second of two callers learns that the task is under way; nothing is entered twice.
#[tokio::test(start_paused = true)]
async fn of_two_resumptions_one_is_taken() {
    let world = World::empty(PLAY).await;
    let first = held(ask("first"));
    world.play.gate.let_through(1);
    world.engine.run(PLAY, ID, &first).await.unwrap();
    let (one, other) = tokio::join!(async { world.engine.resume(PLAY, ID).await }, async {
        world.engine.resume(PLAY, ID).await
    });
    let refused = [one.as_ref().err(), other.as_ref().err()];
    assert_eq!(refused.iter().flatten().count(), 1, "{refused:?}");
    world.play.gate.came(2).await;
    assert_eq!(world.acts(), [first.clone(), first]);
}

/// The wait lasts as long as it takes: nothing but an input or a resumption ends it.
#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_an_input_is_left_alone() {
    let world = World::of(Stand::ForInput, PLAY).await;
    let before = world.task().await;
    assert!(matches!(&before.wait, Some(WaitReason::Input { reason }) if &**reason == "more"));
    tokio::time::sleep(HOUR * 24).await;
    assert_eq!(world.task().await, before);
    assert_eq!(world.play.seen.len(), 1);
}
