//! What is refused, and that a refusal leaves no trace.

use crate::{AGENT, ID, World};
use outlive::{Delivery, InputError, StartError};
use outlive_storage::Store;
use outlive_storage::id::{InputId, TaskId};
use outlive_tests::gate::until;

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_every_delivery_and_leaves_no_trace() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    for n in 0..9 {
        world.send(&format!("q{n}"), Delivery::AfterTurn).await;
    }
    let before = world.task().await;
    for delivery in [
        Delivery::Interrupt,
        Delivery::AtBoundary,
        Delivery::AfterTurn,
    ] {
        let refused = world.try_send("one-too-many", delivery).await;
        assert!(matches!(
            refused,
            Err(StartError::SteeringQueueFull { max: 9 })
        ));
    }
    let after = world.task().await;
    assert_eq!((before.etag, before.timeline), (after.etag, after.timeline));
    assert!(turn.ctx.cause().is_none(), "nobody is told");
    assert_eq!(turn.ctx.pending_count(), 9);
    let known = world.engine.input(ID, "one-too-many").await;
    assert!(matches!(known, Err(InputError::NotFound { .. })));
    let task = world
        .store
        .find(&TaskId::new(ID).unwrap())
        .unwrap()
        .unwrap();
    let input_id = InputId::new("one-too-many").unwrap();
    assert_eq!(world.store.receipt(task, &input_id), Ok(None));
    assert_eq!(world.store.inputs(task, 100).unwrap().len(), 9);
    // The id is as good as new.
    world.engine.withdraw(ID, "q0", "room").await.unwrap();
    let now = world.send("one-too-many", Delivery::AfterTurn).await;
    assert!(now.is_queued());
}

#[tokio::test(start_paused = true)]
async fn an_input_for_a_turn_that_has_gone_is_refused_by_its_precondition() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let seen = world.task().await.etag;
    turn.suspend("1");
    until(async || world.task().await.etag != seen).await;
    // The turn is over although nothing else was accepted, so only the etag tells.
    let text = "for the first turn".to_owned();
    let late = world.engine.start(AGENT, ID, &text).if_etag(seen).await;
    assert!(matches!(late, Err(StartError::PreconditionFailed { .. })));
    let resumed = world.send("two", Delivery::AtBoundary).await;
    let late = world.engine.start(AGENT, ID, &text).after("one").await;
    let Err(StartError::PreconditionFailed { last_input_id, .. }) = late else {
        panic!("{late:?}");
    };
    assert_eq!(last_input_id.as_ref(), Some(resumed.input_id()));
    let turn = world.turn().await;
    assert!(turn.ctx.cause().is_none() && turn.ctx.pending_count() == 0);
    let fits = world.engine.start(AGENT, ID, &text).after("two").await;
    assert!(fits.is_ok_and(|run| run.is_queued()));
}

/// A take is a transition as well: who steers on what they saw before it is told.
#[tokio::test(start_paused = true)]
async fn a_take_moves_the_etag() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.at_boundary("two").await;
    let seen = world.task().await.etag;
    turn.takes("k").await;
    let text = "three".to_owned();
    let late = world.engine.start(AGENT, ID, &text).if_etag(seen).await;
    assert!(matches!(late, Err(StartError::PreconditionFailed { .. })));
}
