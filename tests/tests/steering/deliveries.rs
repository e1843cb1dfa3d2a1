//! The three ways in which an input comes to a task that has a turn.

use crate::{AGENT, ID, World, output};
use outlive::{Accepted, Delivery, EventKind, Status};

const ALL: [Delivery; 3] = [
    Delivery::Interrupt,
    Delivery::AtBoundary,
    Delivery::AfterTurn,
];

#[tokio::test(start_paused = true)]
async fn only_an_interrupt_sets_the_signal_of_the_running_turn() {
    for delivery in ALL {
        let world = World::new().await;
        world.send("one", Delivery::Interrupt).await;
        let turn = world.turn().await;
        let queued = world.send("two", delivery).await;
        assert!(queued.is_queued(), "{delivery:?}");
        let told = turn.ctx.cause().is_some_and(|causes| causes.steered());
        assert_eq!(told, delivery == Delivery::Interrupt, "{delivery:?}");
        assert_eq!(turn.ctx.pending_count(), 1, "{delivery:?}");
        turn.reply("1");
        let next = world.turn().await;
        assert_eq!((&*next.input, next.ctx.turn()), ("two", 2), "{delivery:?}");
        assert!(next.ctx.is_steered() && next.ctx.cause().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_interrupts_where_its_call_says_nothing() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let start = world.engine.start(AGENT, ID, &"two".to_owned());
    start.await.unwrap();
    assert!(turn.ctx.cause().is_some_and(|causes| causes.steered()));
}

#[tokio::test(start_paused = true)]
async fn a_drained_turn_begins_with_the_signal_set_while_an_interrupt_waits() {
    for delivery in ALL {
        let mut world = World::new().await;
        world.send("one", Delivery::Interrupt).await;
        let turn = world.turn().await;
        world.send("two", Delivery::AfterTurn).await;
        world.send("three", delivery).await;
        turn.reply("1");
        let interrupted = delivery == Delivery::Interrupt;
        let second = world.turn().await;
        assert_eq!(second.ctx.cause().is_some(), interrupted, "{delivery:?}");
        assert_eq!(second.ctx.pending_count(), 1);
        // So does the turn that another process goes on with.
        world.reopen().await;
        let again = world.turn().await;
        assert_eq!(again.input, "two");
        assert_eq!(again.ctx.cause().is_some(), interrupted, "{delivery:?}");
        assert_eq!(again.ctx.pending_count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_delivery_is_queued_where_no_turn_runs_and_resumes_a_task_that_waits_for_an_input() {
    for delivery in ALL {
        let world = World::new().await;
        world.send("one", Delivery::Interrupt).await;
        world.turn().await.fail();
        // In its back-off.
        world.comes_to(Status::Pending).await;
        let queued = world.send("two", delivery).await;
        assert!(queued.is_queued(), "{delivery:?}");
        world.turn().await.suspend("1");
        world.turn().await.suspend("2");
        assert_eq!(output(&queued).await, "2");
        let resumed = world.send("three", delivery).await;
        assert_eq!(resumed.accepted(), Some(Accepted::Resumed), "{delivery:?}");
        assert_eq!(world.turn().await.input, "three", "{delivery:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn inputs_of_all_deliveries_become_turns_in_the_order_of_their_acceptance() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let mut turn = world.turn().await;
    let texts = ["two", "three", "four", "five"];
    for (text, delivery) in texts.iter().zip(ALL.iter().cycle()) {
        world.send(text, *delivery).await;
    }
    assert_eq!(turn.pending().await, texts);
    for text in texts {
        turn.reply("on");
        turn = world.turn().await;
        assert_eq!(turn.input, text);
    }
}

#[tokio::test(start_paused = true)]
async fn the_count_follows_each_commit_and_a_look_consumes_nothing() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    assert_eq!(turn.ctx.pending_count(), 0);
    world.at_boundary("two").await;
    world.send("three", Delivery::AfterTurn).await;
    assert_eq!(turn.ctx.inbox().count(), 2);
    let pending = turn.ctx.pending_inputs::<String>().await.unwrap();
    let seen: Vec<_> = pending
        .iter()
        .map(|input| (input.input_id.as_str(), &*input.input, input.delivery))
        .collect();
    let expected = [
        ("two", "two", Delivery::AtBoundary),
        ("three", "three", Delivery::AfterTurn),
    ];
    assert_eq!(seen, expected);
    assert!(pending[0].accepted_at_us > 0);
    assert_eq!(turn.pending().await.len(), 2, "they wait as before");
    world.engine.withdraw(ID, "three", "no").await.unwrap();
    assert_eq!(turn.ctx.pending_count(), 1);
    turn.takes("k").await;
    assert_eq!(turn.ctx.pending_count(), 0);
    assert!(turn.pending().await.is_empty());
    assert_eq!(world.task().await.inputs_waiting, 0);
}

/// A turn that has taken an input is what the log says it is.
#[tokio::test(start_paused = true)]
async fn the_log_tells_of_a_take() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.at_boundary("two").await;
    turn.takes("k").await;
    let timeline = world.task().await.timeline;
    let last = timeline.last().map(|entry| entry.what);
    assert_eq!(last, Some(EventKind::InputTaken));
}
