//! Faults that steering has had elsewhere, each by its name, and that they are not here.

use crate::{AGENT, ID, World, in_time, output};
use outlive::{ControlError, Delivery, InputStatus, ResultError, StartError, Status};
use outlive_storage::Store;
use outlive_storage::id::TaskId;
use outlive_storage::row::TurnResult;

/// A handler returned while an input was on its way in: the task was completed, and the input, already acknowledged,
/// never got a turn.
#[tokio::test(start_paused = true)]
async fn completion_does_not_ignore_the_queue() {
    for delivery in [
        Delivery::Interrupt,
        Delivery::AtBoundary,
        Delivery::AfterTurn,
    ] {
        let world = World::new().await;
        let one = world.send("one", Delivery::Interrupt).await;
        let turn = world.turn().await;
        let two = world.send("two", delivery).await;
        turn.reply("1");
        world.turn().await.reply("2");
        assert!(in_time(one.outcome()).await.unwrap().is_superseded());
        assert_eq!(output(&two).await, "2", "{delivery:?}");
        assert_eq!(world.task().await.status, Status::Completed);
    }
}

/// The input was taken off the queue in one commit and its turn begun in another: a crash between the two lost it. Here
/// the store never shows a task whose input is in neither place, whichever commit is the last.
#[tokio::test(start_paused = true)]
async fn the_pop_and_the_next_turn_are_one_commit() {
    let mut world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.send("two", Delivery::AfterTurn).await;
    turn.reply("1");
    let next = world.turn().await;
    let task = world
        .store
        .find(&TaskId::new(ID).unwrap())
        .unwrap()
        .unwrap();
    let row = world.store.get(task).unwrap().unwrap();
    assert_eq!((row.input_id.as_str(), row.turn), ("two", 2));
    assert!(world.store.inputs(task, 10).unwrap().is_empty());
    let first = world.store.turn(task, row.slot_of(1)).unwrap().unwrap();
    assert!(matches!(
        first.result,
        TurnResult::Replied {
            superseded: true,
            ..
        }
    ));
    let events = world
        .store
        .events(outlive_storage::row::Etag(0), 100)
        .unwrap()
        .events;
    let etags: Vec<_> = events
        .iter()
        .rev()
        .take(2)
        .map(|event| event.kind)
        .collect();
    use outlive::EventKind::{InputQueued, NextTurn};
    assert_eq!(etags, [NextTurn, InputQueued], "no transition between");
    drop(next);
    world.reopen().await;
    assert_eq!(world.turn().await.input, "two");
}

/// An input was accepted by a task that had just ended: it waited there for ever, and a later run of the id met it.
#[tokio::test(start_paused = true)]
async fn nothing_is_pushed_into_a_finished_task() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    world.send("left", Delivery::AfterTurn).await;
    turn.fail_for_good();
    world.comes_to(Status::Completed).await;
    let late = world.try_send("late", Delivery::AfterTurn).await;
    assert!(matches!(
        late,
        Err(StartError::Conflict {
            status: Status::Completed,
            ..
        })
    ));
    let start = world.engine.start(AGENT, ID, &"again".to_owned());
    let again = start.on_conflict(outlive::OnConflict::Restart).await;
    let turn = world.turn().await;
    assert_eq!((&*turn.input, turn.ctx.pending_count()), ("again", 0));
    turn.reply("2");
    assert_eq!(output(&again.unwrap()).await, "2");
    assert_eq!(world.status("left").await, InputStatus::TaskEnded);
}

/// A rejected append left its waiter in the table of waiters, which grew until the process died. Here a refusal makes no
/// waiter: the very same id is accepted later and answered once.
#[tokio::test(start_paused = true)]
async fn a_rejected_append_leaks_no_waiter() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    for n in 0..9 {
        world.send(&format!("q{n}"), Delivery::AfterTurn).await;
    }
    for _ in 0..100 {
        assert!(world.try_send("late", Delivery::Interrupt).await.is_err());
    }
    assert_eq!(turn.ctx.pending_count(), 9);
    turn.reply("1");
    for n in 0..9 {
        let turn = world.turn().await;
        assert_eq!(turn.input, format!("q{n}"));
        if n == 8 {
            let late = world.send("late", Delivery::Interrupt).await;
            turn.reply("q");
            world.turn().await.reply("late");
            assert_eq!(output(&late).await, "late");
            return;
        }
        turn.reply("q");
    }
}

/// A handle was kept over the end of its turn; its cancel hit the turn that ran by then.
#[tokio::test(start_paused = true)]
async fn a_stale_handle_does_not_cancel_its_successor() {
    let world = World::new().await;
    let one = world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let taken = world.at_boundary("taken").await;
    turn.takes("k").await;
    world.send("two", Delivery::AfterTurn).await;
    turn.reply("1");
    let next = world.turn().await;
    for stale in [&one, &taken] {
        let refused = stale.cancel("too late").await;
        assert!(matches!(refused, Err(ControlError::Conflict { .. })));
        let refused = stale.terminate("too late").await;
        assert!(matches!(refused, Err(ControlError::Conflict { .. })));
    }
    assert!(next.ctx.cause().is_none());
    assert_eq!(world.task().await.status, Status::InProgress);
}

/// A drained turn reported the id of the input before it, so that the wrong caller was answered.
#[tokio::test(start_paused = true)]
async fn a_drained_turn_reports_its_own_inputs_id() {
    let mut world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let mut turn = world.turn().await;
    let texts = ["two", "three"];
    for text in texts {
        world.send(text, Delivery::AfterTurn).await;
    }
    for text in texts {
        turn.reply(&format!("before {text}"));
        turn = world.turn().await;
        assert_eq!(turn.ctx.input_id().as_str(), text);
        assert_eq!(turn.input, text);
        world.reopen().await;
        turn = world.turn().await;
        assert_eq!(turn.ctx.input_id().as_str(), text, "recovered");
    }
    turn.reply("the last");
    let expected = ["before two", "before three", "the last"];
    for (text, expected) in ["one", "two", "three"].iter().zip(expected) {
        assert_eq!(output(&world.handle(text).await).await, expected);
    }
}

/// The caller of a queued input was told that the task had been cancelled although its input had become a turn.
#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_comes_too_late_takes_nothing_back() {
    let world = World::new().await;
    world.send("one", Delivery::Interrupt).await;
    let turn = world.turn().await;
    let two = world.send("two", Delivery::AfterTurn).await;
    turn.reply("1");
    let next = world.turn().await;
    let late = world.engine.withdraw(ID, "two", "too late").await;
    assert!(matches!(late, Err(ControlError::Conflict { .. })));
    next.reply("2");
    let told = in_time(two.result()).await;
    assert!(
        !matches!(told, Err(ResultError::Cancelled { .. })),
        "{told:?}"
    );
}
