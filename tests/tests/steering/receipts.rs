//! What became of each input, asked for by its id.

use crate::{AGENT, ID, World};
use outlive::{ControlError, Delivery, InputError, InputStatus, Status};

fn in_turn(turn: u32, step: Option<&str>) -> InputStatus {
    InputStatus::InTurn {
        run: 1,
        turn,
        step: step.map(str::to_owned),
    }
}

fn consumed(turn: u32, step: Option<&str>) -> InputStatus {
    InputStatus::Consumed {
        run: 1,
        turn,
        step: step.map(str::to_owned),
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_is_queued_then_in_a_turn_then_consumed_and_a_restart_changes_none_of_it() {
    let mut world = World::new().await;
    world.send("own", Delivery::Interrupt).await;
    let turn = world.turn().await;
    for text in ["taken", "waits", "last"] {
        world.at_boundary(text).await;
    }
    turn.takes("k").await;
    let during = [
        ("own", in_turn(1, None)),
        ("taken", in_turn(1, Some("k"))),
        ("waits", InputStatus::Queued { ahead: 0 }),
        ("last", InputStatus::Queued { ahead: 1 }),
    ];
    for (text, status) in &during {
        assert_eq!(world.status(text).await, *status, "{text}");
    }
    world.reopen().await;
    for (text, status) in &during {
        assert_eq!(world.status(text).await, *status, "{text}");
    }
    let turn = world.turn().await;
    turn.takes("k").await;
    turn.reply("1");
    let next = world.turn().await;
    for _ in 0..2 {
        assert_eq!(world.status("own").await, consumed(1, None));
        assert_eq!(world.status("taken").await, consumed(1, Some("k")));
        assert_eq!(world.status("waits").await, in_turn(2, None));
        assert_eq!(world.status("last").await, InputStatus::Queued { ahead: 0 });
        world.reopen().await;
    }
    drop(next);
}

#[tokio::test(start_paused = true)]
async fn an_input_that_was_taken_and_not_taken_again_is_queued_again() {
    let mut world = World::new().await;
    world.send("own", Delivery::Interrupt).await;
    let turn = world.turn().await;
    for text in ["left", "behind"] {
        world.at_boundary(text).await;
        turn.takes(text).await;
    }
    world.reopen().await;
    world.turn().await.reply("1");
    world.turn().await;
    assert_eq!(world.status("left").await, in_turn(2, None));
    assert_eq!(
        world.status("behind").await,
        InputStatus::Queued { ahead: 0 }
    );
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_input_and_one_whose_task_ended_say_so() {
    let world = World::new().await;
    let own = world.send("own", Delivery::Interrupt).await;
    let turn = world.turn().await;
    for text in ["back", "left"] {
        world.send(text, Delivery::AfterTurn).await;
    }
    world
        .engine
        .withdraw(ID, "back", "not needed")
        .await
        .unwrap();
    turn.fail_for_good();
    world.comes_to(Status::Completed).await;
    let reason = "not needed".to_owned();
    assert_eq!(
        world.status("back").await,
        InputStatus::Withdrawn { reason }
    );
    assert_eq!(world.status("left").await, InputStatus::TaskEnded);
    assert_eq!(own.receipt().await.unwrap(), consumed(1, None));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_for_what_waits_alone() {
    let world = World::new().await;
    world.send("own", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.at_boundary("taken").await;
    let waits = world.at_boundary("waits").await;
    turn.takes("k").await;
    for text in ["own", "taken"] {
        let refused = world.engine.withdraw(ID, text, "no").await;
        let Err(ControlError::Conflict { status, .. }) = refused else {
            panic!("{text}: {refused:?}");
        };
        assert_eq!(status, Status::InProgress, "{text}");
    }
    assert!(world.handle("taken").await.cancel("no").await.is_err());
    assert!(turn.ctx.cause().is_none(), "the turn runs on");
    world.engine.withdraw(ID, "waits", "no").await.unwrap();
    // A second one changes nothing; the handle's own cancel finds it done.
    let etag = world.task().await.etag;
    world.engine.withdraw(ID, "waits", "again").await.unwrap();
    waits.cancel("again").await.unwrap();
    assert_eq!(world.task().await.etag, etag);
    let unknown = world.engine.withdraw(ID, "unheard-of", "no").await;
    assert!(matches!(unknown, Err(ControlError::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_not_found_and_a_bad_id_is_refused() {
    let world = World::new().await;
    let none = world.engine.input(ID, "one").await;
    assert!(matches!(none, Err(InputError::NotFound { .. })), "{none:?}");
    let run = world
        .engine
        .start(AGENT, ID, &"x".to_owned())
        .await
        .unwrap();
    let none = world.engine.input(ID, "one").await;
    assert!(matches!(none, Err(InputError::NotFound { .. })), "{none:?}");
    for (id, input_id) in [("..", "one"), (ID, "a b")] {
        let bad = world.engine.input(id, input_id).await;
        assert!(matches!(bad, Err(InputError::InvalidId(_))), "{bad:?}");
    }
    assert_eq!(run.receipt().await.unwrap(), in_turn(1, None));
}
