//! Who is answered with what: each caller for its own input, from any handle, before and after restarts.

use crate::{World, in_time, output};
use outlive::{Delivery, ResultError, Status};

/// One turn with an input of its own and two that it took, then a second turn.
async fn two_turns(world: &mut World, reopened: bool) {
    world.send("one", Delivery::Interrupt).await;
    let mut turn = world.turn().await;
    for text in ["two", "three"] {
        world.at_boundary(text).await;
    }
    for key in ["first", "second"] {
        turn.takes(key).await;
    }
    world.send("four", Delivery::AfterTurn).await;
    if reopened {
        world.reopen().await;
        turn = world.turn().await;
        for key in ["first", "second"] {
            turn.takes(key).await;
        }
    }
    turn.reply("turn 1");
    world.turn().await.reply("turn 2");
}

const ANSWERS: [(&str, u32, &str); 4] = [
    ("one", 1, "turn 1"),
    ("two", 1, "turn 1"),
    ("three", 1, "turn 1"),
    ("four", 2, "turn 2"),
];

#[tokio::test(start_paused = true)]
async fn each_caller_is_answered_for_its_own_input_from_any_handle_and_after_restarts() {
    for reopened in [false, true] {
        let mut world = World::new().await;
        two_turns(&mut world, reopened).await;
        for _ in 0..2 {
            for (text, turn, expected) in ANSWERS {
                let outcome = in_time(world.handle(text).await.outcome()).await.unwrap();
                assert_eq!(outcome.turn(), turn, "{text}");
                assert_eq!(outcome.is_superseded(), turn == 1, "{text}");
                assert_eq!(outcome.into_output(), expected, "{text}");
            }
            world.reopen().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_is_told_when_the_turn_that_took_its_input_ends() {
    let world = World::new().await;
    let one = world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let two = world.at_boundary("two").await;
    let other_handle = world.handle("two").await;
    let waiting = tokio::spawn(async move { output(&two).await });
    tokio::task::yield_now().await;
    turn.takes("k").await;
    turn.suspend("the turn");
    assert_eq!(in_time(waiting).await.unwrap(), "the turn");
    for run in [one, other_handle] {
        let outcome = in_time(run.outcome()).await.unwrap();
        assert_eq!((outcome.turn(), outcome.reason()), (1, Some("more")));
    }
}

/// The only turn of a task was told by its row alone, so that the caller of an input which that turn had taken waited for
/// ever.
#[tokio::test(start_paused = true)]
async fn the_only_turn_of_a_task_answers_for_what_it_took_after_a_restart() {
    let mut world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.at_boundary("two").await;
    turn.takes("k").await;
    turn.reply("done");
    world.comes_to(Status::Completed).await;
    world.reopen().await;
    for text in ["two", "one"] {
        assert_eq!(output(&world.handle(text).await).await, "done");
    }
}

#[tokio::test(start_paused = true)]
async fn however_a_turn_ends_the_callers_of_what_it_took_get_its_end() {
    for end in ["failed", "cancelled", "terminated", "removed"] {
        let world = World::new().await;
        world.send("one", Delivery::Interrupt).await;
        let turn = world.turn().await;
        let two = world.at_boundary("two").await;
        turn.takes("k").await;
        let id = crate::ID;
        match end {
            "failed" => turn.fail_for_good(),
            "cancelled" => {
                world.engine.cancel(id, "enough").await.unwrap();
                turn.end(Err(outlive::HandlerError::cancelled()));
            }
            "terminated" => world.engine.terminate(id, "enough").await.unwrap(),
            _ => drop(world.engine.delete(id).force().await.unwrap()),
        }
        let told = in_time(two.result()).await;
        let as_expected = match &told {
            Err(ResultError::Failed(_)) => end == "failed",
            Err(ResultError::Cancelled { .. }) => end == "cancelled",
            Err(ResultError::Terminated { .. }) => end == "terminated",
            // Whoever waits is told; whoever asks later finds nothing.
            Err(ResultError::NotFound { .. }) => end == "removed",
            _ => false,
        };
        assert!(as_expected, "{end}: {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_taken_input_of_a_removed_task_is_told() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let two = world.at_boundary("two").await;
    turn.takes("k").await;
    let waiting = tokio::spawn(async move { in_time(two.result()).await });
    tokio::task::yield_now().await;
    world.engine.delete(crate::ID).force().await.unwrap();
    let told = in_time(waiting).await.unwrap();
    assert!(
        matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
}
