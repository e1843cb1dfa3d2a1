//! An input that was given before attaches to what the first call began; nothing is written and nothing runs twice.

use super::{ALL, COMPLETED, DEFS, FIRST, HOUR, ID, PENDING, Stand, World, assert_conflict};
use outlive::{Accepted, OnConflict, ResultError, RunError};
use outlive_tests::play::{Act, PLAY, STEERED, ask, held, say, until};

/// Whoever repeats a call that may have been taken does not know how the task stands by then.
#[tokio::test(start_paused = true)]
async fn an_input_id_that_was_accepted_attaches_in_every_state() {
    for def in DEFS {
        for stand in ALL {
            let world = World::of(stand, def).await;
            let again = world.engine.start(def, ID, &stand.act()).input_id(FIRST);
            let again = world.unwritten(again).await.unwrap();
            assert_eq!(again.accepted(), Some(Accepted::Attached), "{stand:?}");
            assert_eq!(again.input_id().as_str(), FIRST);
        }
    }
}

/// The id is the input: what comes with it the second time is not looked at.
#[tokio::test(start_paused = true)]
async fn an_input_id_that_was_accepted_attaches_whatever_else_the_call_says() {
    for stand in ALL {
        let world = World::of(stand, PLAY).await;
        let other = world.engine.start(PLAY, ID, &say("other")).input_id(FIRST);
        let other = other.on_conflict(OnConflict::Restart).start_in(HOUR);
        let other = world
            .unwritten(other.after("not-the-last").if_etag(0))
            .await;
        assert_eq!(
            other.unwrap().accepted(),
            Some(Accepted::Attached),
            "{stand:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_attached_handle_answers_as_the_first_one_does() {
    let answers = async |stand: Stand| {
        let world = World::of(stand, PLAY).await;
        let again = world.engine.start(PLAY, ID, &stand.act()).input_id(FIRST);
        world.play.gate.let_through(2);
        again.await.unwrap().result().await
    };
    for stand in [
        Stand::InProgress,
        Stand::Succeeded,
        Stand::LaterTurn,
        Stand::ForInput,
    ] {
        assert_eq!(answers(stand).await.unwrap(), "first", "{stand:?}");
    }
    assert_eq!(answers(Stand::Delayed).await.unwrap(), "first");
    let spent = answers(Stand::BackOff).await;
    assert!(matches!(spent, Err(ResultError::Failed(failure)) if failure.attempts == 3));
    let parked = answers(Stand::Parked).await;
    assert!(matches!(parked, Err(ResultError::Undecodable { .. })));
    let failed = answers(Stand::Failed).await;
    assert!(matches!(failed, Err(ResultError::Failed(failure)) if &*failure.message == "broken"));
    let cancelled = answers(Stand::Cancelled).await;
    assert!(
        matches!(cancelled, Err(ResultError::Cancelled { reason }) if &*reason == "not needed")
    );
    let terminated = answers(Stand::Terminated).await;
    assert!(matches!(
        terminated,
        Err(ResultError::Terminated {
            timed_out: false,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn the_ids_of_queued_consumed_and_withdrawn_inputs_attach_too() {
    let world = World::of(Stand::InProgress, STEERED).await;
    let give = async |input: &str| {
        let start = world.engine.start(STEERED, ID, &held(say(input)));
        start.input_id(input).await.unwrap()
    };
    give("second").await;
    let third = give("third").await;
    third.cancel("taken back").await.unwrap();
    let expected = [("first", "first"), ("second", "second")];
    for stage in ["queued", "runs", "ended"] {
        for input in [FIRST, "second", "third"] {
            let again = world.engine.start(STEERED, ID, &say("x")).input_id(input);
            let again = world.unwritten(again).await.unwrap();
            assert_eq!(
                again.accepted(),
                Some(Accepted::Attached),
                "{input} {stage}"
            );
            assert_eq!(again.input_id().as_str(), input);
        }
        world.play.gate.let_through(1);
        if stage == "queued" {
            world.play.gate.came(1).await;
            continue;
        }
        let status = outlive::Status::Completed;
        until(&world.engine, ID, |task| task.status == status).await;
    }
    for (input, output) in expected {
        let again = world.engine.start(STEERED, ID, &say("x")).input_id(input);
        assert_eq!(again.await.unwrap().result().await.unwrap(), output);
    }
    let withdrawn = world.engine.start(STEERED, ID, &say("x")).input_id("third");
    let withdrawn = withdrawn.await.unwrap().result().await;
    assert!(
        matches!(withdrawn, Err(ResultError::Cancelled { reason }) if &*reason == "taken back")
    );
    assert_eq!(world.acts().len(), 2, "each is worked once");
}

/// A batch that is started again gives what it gave before the crash, and no input ids.
#[tokio::test(start_paused = true)]
async fn an_equal_first_input_attaches_while_its_turn_is_open() {
    for stand in PENDING.into_iter().chain([Stand::InProgress]) {
        let world = World::of(stand, PLAY).await;
        let again = world.engine.start(PLAY, ID, &stand.act());
        let again = world.unwritten(again).await.unwrap();
        assert_eq!(again.accepted(), Some(Accepted::Attached), "{stand:?}");
        assert_eq!(
            again.input_id().as_str(),
            FIRST,
            "it answers for the first call's input"
        );
    }
}

/// Above one KiB the bytes lie beside the row: the digest in the row is what is compared.
#[tokio::test(start_paused = true)]
async fn an_equal_input_of_any_size_attaches_and_one_byte_makes_it_another() {
    let large = "x".repeat(1 << 20);
    let world = World::empty(PLAY).await;
    let run = world.engine.start(PLAY, ID, &say(&large)).start_in(HOUR);
    let run = run.await.unwrap();
    let again = world.unwritten(world.engine.start(PLAY, ID, &say(&large)));
    assert_eq!(again.await.unwrap().input_id(), run.input_id());
    let other = world
        .engine
        .start(PLAY, ID, &say(format!("{}y", &large[1..])));
    let answer = world.unwritten(other).await;
    assert_conflict(&world, answer, Stand::Delayed).await;
}

#[tokio::test(start_paused = true)]
async fn an_equal_input_of_its_own_id_is_another_input() {
    for stand in PENDING.into_iter().chain([Stand::InProgress]) {
        let world = World::of(stand, PLAY).await;
        let other = world.engine.start(PLAY, ID, &stand.act()).input_id("other");
        let answer = world.unwritten(other).await;
        assert_conflict(&world, answer, stand).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_equal_input_in_a_later_turn_is_another_input() {
    let world = World::of(Stand::LaterTurn, PLAY).await;
    for input in [ask("first"), held(say("second"))] {
        let equal = world.engine.start(PLAY, ID, &input);
        let answer = world.unwritten(equal).await;
        assert_conflict(&world, answer, Stand::LaterTurn).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_equal_input_of_a_steerable_task_is_another_input() {
    for stand in PENDING.into_iter().chain([Stand::InProgress]) {
        let world = World::of(stand, STEERED).await;
        let equal = world.engine.start(STEERED, ID, &stand.act()).await.unwrap();
        assert_eq!(equal.accepted(), Some(Accepted::Queued), "{stand:?}");
        assert_ne!(equal.input_id().as_str(), FIRST);
    }
}

#[tokio::test(start_paused = true)]
async fn an_equal_input_of_an_ended_task_is_another_input() {
    for stand in COMPLETED {
        let world = World::of(stand, PLAY).await;
        let equal = world.engine.start(PLAY, ID, &stand.act());
        let answer = world.unwritten(equal).await;
        assert_conflict(&world, answer, stand).await;
    }
    let world = World::of(Stand::ForInput, PLAY).await;
    let equal = world.engine.start(PLAY, ID, &ask("first")).await.unwrap();
    assert_eq!(equal.accepted(), Some(Accepted::Resumed));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_repeated_waits_for_the_first_one() {
    let world = World::of(Stand::InProgress, PLAY).await;
    let input = Stand::InProgress.act();
    let (first, second) = tokio::join!(world.engine.run(PLAY, ID, &input), async {
        world.play.gate.let_through(1);
        world.engine.run(PLAY, ID, &input).await
    });
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        ("first".into(), "first".into())
    );
    assert_eq!(world.acts(), std::slice::from_ref(&input), "one entry");
    // Its turn is over: from here on it is a further input.
    let third = world.engine.run(PLAY, ID, &input).await;
    assert!(matches!(third, Err(RunError::Start(_))));
    let never = Act::Never("no".to_owned());
    let failed = world.engine.run(PLAY, "another", &never).await;
    assert!(matches!(
        failed,
        Err(RunError::Result(ResultError::Failed(_)))
    ));
}
