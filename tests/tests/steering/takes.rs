//! What a running turn takes: recorded under a key, found again by a later attempt, consumed by the end of the turn.

use crate::{AGENT, ID, World, in_time, output, some};
use outlive::{Delivery, Entry, InputStatus, StartError, Status, TAKE_KEY_MAX, TakeError};
use outlive_tests::gate::until;

#[tokio::test(start_paused = true)]
async fn a_turn_takes_what_was_given_for_a_boundary_and_answers_for_it() {
    let world = World::new().await;
    let own = world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let [two, three] = [
        world.at_boundary("two").await,
        world.at_boundary("three").await,
    ];
    let taken = turn.ctx.inbox().take::<String>("first").await.unwrap();
    let taken = taken.expect("an input");
    assert_eq!((taken.input_id.as_str(), &*taken.input), ("two", "two"));
    assert_eq!(turn.takes("second").await, some("three"));
    assert_eq!(turn.takes("third").await, None);
    turn.reply("all of them");
    for run in [own, two, three] {
        let outcome = in_time(run.outcome()).await.unwrap();
        assert_eq!(outcome.turn(), 1);
        assert_eq!(outcome.into_output(), "all of them");
    }
    let task = world.task().await;
    assert_eq!((task.status, task.turn), (Status::Completed, 1));
}

#[tokio::test(start_paused = true)]
async fn an_older_input_of_another_delivery_is_never_overtaken() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.send("two", Delivery::AfterTurn).await;
    world.at_boundary("three").await;
    assert_eq!(turn.takes("k").await, None);
    turn.reply("1");
    let next = world.turn().await;
    assert_eq!(next.input, "two");
    // Where nothing was taken the key is as good as new, also in the same turn.
    assert_eq!(next.takes("k").await, some("three"));
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_gets_the_same_inputs_under_the_same_keys() {
    let mut world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.at_boundary("two").await;
    world.at_boundary("three").await;
    assert_eq!(turn.takes("after file 2").await, some("two"));
    world.reopen().await;
    let recovered = world.turn().await;
    let keys = ["after file 1", "after file 2", "after file 3"];
    for (key, expected) in keys.into_iter().zip([None, some("two"), some("three")]) {
        assert_eq!(recovered.takes(key).await, expected, "{key}");
    }
    recovered.fail();
    let retried = world.turn().await;
    assert_eq!(retried.ctx.attempt(), 2);
    for (key, expected) in keys.into_iter().zip([None, some("two"), some("three")]) {
        assert_eq!(retried.takes(key).await, expected, "{key}");
    }
    retried.reply("1");
    assert_eq!(output(&world.handle("three").await).await, "1");
}

#[tokio::test(start_paused = true)]
async fn what_the_last_attempt_did_not_take_again_is_the_next_turn() {
    let mut world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let [two, three] = [
        world.at_boundary("two").await,
        world.at_boundary("three").await,
    ];
    turn.takes("x").await;
    turn.takes("y").await;
    world.reopen().await;
    world.turn().await.reply("without them");
    let next = world.turn().await;
    assert_eq!((&*next.input, next.ctx.pending_count()), ("two", 1));
    assert_eq!(next.takes("z").await, some("three"));
    next.reply("with them");
    for text in ["two", "three"] {
        assert_eq!(output(&world.handle(text).await).await, "with them");
    }
    drop((two, three));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_used_once_in_an_attempt() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.at_boundary("two").await;
    world.at_boundary("three").await;
    assert_eq!(turn.takes("k").await, some("two"));
    let again = turn.ctx.inbox().take::<String>("k").await;
    assert_eq!(again, Err(TakeError::KeyUsed { key: "k".into() }));
    assert_eq!(turn.ctx.pending_count(), 1, "nothing more was taken");
    let too_long = "k".repeat(TAKE_KEY_MAX + 1);
    for (key, bytes) in [("", 0), ("a\nb", 3), (&*too_long, TAKE_KEY_MAX + 1)] {
        let refused = turn.ctx.inbox().take::<String>(key).await;
        assert_eq!(refused, Err(TakeError::InvalidKey { bytes }));
    }
    assert_eq!(turn.takes(&"k".repeat(TAKE_KEY_MAX)).await, some("three"));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_over_takes_nothing() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let ctx = turn.ctx.clone();
    world.send("two", Delivery::AfterTurn).await;
    turn.reply("1");
    world.turn().await;
    world.at_boundary("three").await;
    let late = ctx.inbox().take::<String>("k").await;
    assert_eq!(late, Err(TakeError::TurnOver));
    assert_eq!(
        world.status("three").await,
        InputStatus::Queued { ahead: 0 }
    );
}

/// A handler raced a take against its signal in a `select!` and dropped it when the writer had the event already: the
/// input was the turn's, its caller was answered with the turn's result, and nobody had ever seen it.
#[tokio::test(start_paused = true)]
async fn an_input_whose_take_was_dropped_is_not_the_turns_unless_it_is_asked_for_again() {
    for asked_again in [false, true] {
        let world = World::new().await;
        world.send("one", Delivery::Interrupt).await;
        let turn = world.turn().await;
        let two = world.at_boundary("two").await;
        let inbox = turn.ctx.inbox();
        let mut take = Box::pin(inbox.take::<String>("k"));
        // Far enough that the event is sent, and no further.
        let polled = polled_once(take.as_mut()).await;
        assert!(polled.is_none(), "it waits for the writer");
        drop(take);
        until(async || world.task().await.inputs_waiting == 0).await;
        if asked_again {
            assert_eq!(turn.takes("k").await, some("two"));
        }
        turn.reply("1");
        let expected = if asked_again { "1" } else { "2" };
        if !asked_again {
            let next = world.turn().await;
            assert_eq!(next.input, "two");
            next.reply("2");
        }
        assert_eq!(output(&two).await, expected);
    }
}

/// The turn had ended when the answer came: what the handler then got had gone back to the queue, and was worked twice.
#[tokio::test(start_paused = true)]
async fn a_take_that_is_answered_after_its_turn_hands_nothing_out() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let two = world.at_boundary("two").await;
    let inbox = turn.ctx.inbox();
    let mut take = Box::pin(inbox.take::<String>("k"));
    assert!(polled_once(take.as_mut()).await.is_none());
    turn.reply("1");
    let next = world.turn().await;
    assert_eq!(next.input, "two");
    assert_eq!(take.await, Err(TakeError::TurnOver));
    next.reply("2");
    assert_eq!(output(&two).await, "2");
}

/// Polls a future once.
async fn polled_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        use std::task::Poll;
        match std::pin::Pin::new(&mut future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_large_input_is_taken_whole_and_its_bytes_go_with_the_turn() {
    let mut world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let large = "x".repeat(5_000);
    let start = world.engine.start(AGENT, ID, &large).input_id("two");
    let two = start.delivery(Delivery::AtBoundary).await.unwrap();
    assert_eq!(turn.pending().await, std::slice::from_ref(&large));
    assert_eq!(turn.takes("k").await, Some(large.clone()));
    world.reopen().await;
    let turn = world.turn().await;
    assert_eq!(turn.takes("k").await, Some(large.clone()));
    // An output that lies beside its row reaches the caller of a taken input as well.
    let reply = "y".repeat(5_000);
    turn.reply(&reply);
    drop(two);
    assert_eq!(output(&world.handle("two").await).await, reply);
}

/// Its first turn was entered again as if it were new: without its metadata, and its steps ran again.
#[tokio::test(start_paused = true)]
async fn a_taken_input_that_cannot_be_read_parks_the_task_and_fails_nothing() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    turn.ctx.metadata().set("done", 7).unwrap();
    let step = async || Ok::<_, std::io::Error>(1);
    assert_eq!(turn.ctx.step("step", step).await.unwrap(), 1);
    let two = world.at_boundary("two").await;
    let unread = turn.ctx.inbox().take::<u32>("k").await;
    let Err(error @ TakeError::Undecodable { .. }) = unread else {
        panic!("{unread:?}");
    };
    turn.end(Err(error.into()));
    world.comes_to(Status::Suspended).await;
    let wait = world.task().await.wait;
    assert!(
        matches!(wait, Some(outlive::WaitReason::Undecodable { .. })),
        "{wait:?}"
    );
    world.engine.retry(AGENT, ID).await.unwrap();
    let released = world.turn().await;
    assert_eq!(released.ctx.entry(), Entry::Resumed);
    let done = released.ctx.metadata().get::<u32>("done").unwrap();
    assert_eq!(done, Some(7));
    let again = async || Ok::<_, std::io::Error>(2);
    assert_eq!(released.ctx.step("step", again).await.unwrap(), 1);
    assert_eq!(released.takes("k").await, some("two"));
    released.reply("read");
    assert_eq!(output(&two).await, "read");
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_task_answers_the_callers_of_what_its_turn_took() {
    let world = World::new().await;
    let start = world.engine.start(AGENT, ID, &"one".to_owned());
    let ephemeral = outlive::TaskOptions::new().ephemeral();
    let one = start.options(ephemeral).await.unwrap();
    let turn = world.turn().await;
    let two = world.at_boundary("two").await;
    assert_eq!(turn.takes("k").await, some("two"));
    let large = "z".repeat(5_000);
    turn.reply(&large);
    let is_gone = async || world.engine.get(ID).await.unwrap().is_none();
    until(is_gone).await;
    assert_eq!(output(&two).await, large);
    assert_eq!(output(&one).await, large);
}

#[tokio::test(start_paused = true)]
async fn a_turn_may_take_more_than_may_wait_at_once() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    for n in 0..9 {
        world
            .at_boundary(&format!("first {n}").replace(' ', "-"))
            .await;
    }
    let full = world.try_send("full", Delivery::AtBoundary).await;
    assert!(matches!(
        full,
        Err(StartError::SteeringQueueFull { max: 9 })
    ));
    for n in 0..9 {
        assert!(turn.takes(&format!("first {n}")).await.is_some());
    }
    for n in 0..9 {
        world.at_boundary(&format!("second-{n}")).await;
    }
    for n in 0..9 {
        assert_eq!(
            turn.takes(&format!("second {n}")).await,
            Some(format!("second-{n}"))
        );
    }
    turn.reply("eighteen");
    assert_eq!(output(&world.handle("second-8").await).await, "eighteen");
    assert_eq!(output(&world.handle("first-0").await).await, "eighteen");
}
