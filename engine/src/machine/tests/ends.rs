//! The ends of a turn that runs to its end: a reply, a suspension, an error for good, a park.

use super::task::{
    DEF, KEEP_US, OPTIONS, PLAIN, STEERABLE, Task, failed, failure, id, input, succeeded,
    suspended, undecodable, us,
};
use super::{answered, replied};
use crate::machine::{Effect, Event, Status, TurnEnd};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    EntryKind, EventKind, Failure, Generation, Guard, Keep, Micros, OptionsRow, Outcome, Payload,
    Receipt, State, TurnResult, WaitReason,
};

fn keeping(keep: Keep) -> OptionsRow {
    OptionsRow { keep, ..OPTIONS }
}

#[test]
fn a_reply_with_an_empty_queue_ends_the_task_and_starts_its_retention() {
    let mut task = Task::running(STEERABLE);
    let transition = task.end(succeeded("1"));
    assert_eq!(transition.expect, Expect::Lease(Generation(1)));
    assert_eq!(transition.what, Some(EventKind::Succeeded));
    let told = answered("a", 1, replied("1"));
    assert_eq!(transition.effects[..], [told, Effect::TaskEnded]);
    let ended = State::Completed {
        at: Micros(10_000),
        outcome: Outcome::Succeeded(Payload::Inline("1".into())),
        expires_at: Micros(10_000 + KEEP_US),
    };
    assert_eq!(task.row().state, ended);
    assert!(task.held.receipts.is_empty(), "one turn needs no receipt");
}

#[test]
fn a_task_kept_for_ever_never_expires() {
    let mut task = Task::running_with(PLAIN, keeping(Keep::Forever));
    task.end(succeeded("1"));
    let State::Completed { expires_at, .. } = task.row().state else {
        panic!("not ended")
    };
    assert_eq!(expires_at, Micros::NEVER);
}

#[test]
fn an_ephemeral_task_is_gone_in_the_commit_of_its_end_and_its_callers_are_told() {
    for end in [succeeded("1"), failed(true), TurnEnd::Cancelled] {
        let mut task = Task::running_with(STEERABLE, keeping(Keep::Ephemeral));
        task.send(input("b"));
        // Only a failure ends the task over its queue.
        if !matches!(end, TurnEnd::Failed { .. }) {
            task.end(succeeded("0"));
        }
        let row = task.row().clone();
        let transition = task.end(end);
        assert_eq!(transition.writes, [Write::RemoveTask]);
        assert!(transition.row.is_some(), "the log tells how it ended");
        assert!(matches!(
            &transition.effects[..],
            [Effect::Answered { input_id, .. }, Effect::TaskEnded] if *input_id == row.input_id
        ));
        assert_eq!(task.held, super::held::Held::default());
    }
}

#[test]
fn a_suspension_stores_the_turns_result_and_waits_for_an_input() {
    let mut task = Task::running(PLAIN);
    let transition = task.end(suspended("1"));
    assert_eq!(transition.what, Some(EventKind::Suspended));
    let result = TurnResult::Replied {
        output: Payload::Inline("1".into()),
        suspended: Some("more".into()),
        superseded: false,
    };
    let told = answered("a", 1, result.clone());
    assert_eq!(transition.effects[..], [told], "nothing is to be entered");
    let reason = "more".into();
    let (since, wait) = (Micros(10_000), WaitReason::Input { reason });
    assert_eq!(task.row().state, State::Suspended { since, wait });
    let kept = &task.held.turns[&task.row().slot()];
    assert_eq!((kept.turn, kept.total, &kept.result), (1, 1, &result));
    let receipt = Receipt::Turn {
        run: 1,
        turn: 1,
        total: 1,
        step: None,
    };
    assert_eq!(task.receipt("a"), Some(&receipt));
}

#[test]
fn a_terminal_failure_ends_the_task_at_once() {
    let mut task = Task::running(PLAIN);
    let transition = task.end(failed(true));
    let failure = Failure {
        attempts: 1,
        ..failure()
    };
    let result = TurnResult::Ended(Outcome::Failed(failure));
    let told = answered("a", 1, result);
    assert_eq!(transition.effects[..], [told, Effect::TaskEnded]);
    assert_eq!(Status::of(task.row()), Status::Completed);
    assert_eq!(task.row().last_failure, None, "the outcome tells it");
}

#[test]
fn a_chain_outlives_a_turn_that_failed_for_good() {
    let options = OptionsRow {
        keep_alive_on_failure: true,
        ..OPTIONS
    };
    let mut task = Task::running_with(STEERABLE, options);
    task.send(input("b"));
    let transition = task.end(failed(true));
    assert!(matches!(
        &transition.effects[..],
        [
            Effect::Answered {
                result: TurnResult::Ended(Outcome::Failed(_)),
                turn: 1,
                ..
            },
            Effect::Enter { .. }
        ]
    ));
    assert_eq!(task.row().input_id, id("b"));
    task.end(failed(true));
    let waits = matches!(
        task.row().state,
        State::Suspended {
            wait: WaitReason::Input { .. },
            ..
        }
    );
    assert!(waits, "nothing waits, so it does: {:?}", task.row().state);
    assert!(task.row().chained && task.row().last_failure.is_none());
    // Its budget was spent before it counted as failed.
    let mut retried = Task::running_with(PLAIN, options);
    retried.end(failed(false));
    assert_eq!(Status::of(retried.row()), Status::Pending);
}

#[test]
fn a_park_gives_the_attempt_back_and_is_looked_at_once_more() {
    let mut task = Task::running(PLAIN);
    let transition = task.end(undecodable());
    let parked = Effect::Parked {
        input_id: id("a"),
        what: "input".into(),
        expected: "u32".into(),
    };
    assert_eq!(transition.effects[..], [parked]);
    assert_eq!(task.row().attempt, 0);
    let at = Micros(10_000);
    let transition = task.does(Event::Reconsider);
    assert_eq!(transition.what, Some(EventKind::Reconsidered));
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    task.does(Event::Claim(us(1)));
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (1, EntryKind::Fresh)
    );
}

#[test]
fn a_recovered_turn_that_is_parked_has_no_attempt_to_give_back() {
    let mut task = Task::running(PLAIN);
    task.does(super::task::died(2));
    task.end(undecodable());
    assert_eq!(task.row().attempt, 1);
    task.does(Event::Reconsider);
    task.does(Event::Claim(us(1)));
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (1, EntryKind::Recovered)
    );
}

/// A task that could not be read by a new program was reconsidered days later, and its time-out, which had run out while
/// it was parked, ended it before its handler was entered.
#[test]
fn a_parked_task_does_not_run_out_of_time() {
    let mut task = Task::timed(PLAIN, 1_000);
    task.end(undecodable());
    task.at += 1_000_000;
    task.does(Event::Reconsider);
    assert_eq!(task.row().deadline.at, Micros::NEVER);
    task.does(Event::Claim(us(1)));
    assert_eq!(Status::of(task.row()), Status::InProgress);
    assert_eq!(task.row().deadline.at, Micros(task.at + 1_000));
}

#[test]
fn the_end_of_a_turn_clears_what_the_guard_held_against_it() {
    for end in [failed(false), undecodable(), suspended("1"), succeeded("1")] {
        let mut task = Task::running(PLAIN);
        task.does(super::task::died(2));
        assert_eq!(task.row().guard.deaths, 1);
        task.end(end);
        assert_eq!(task.row().guard, Guard::CLEAR);
    }
}

#[test]
fn a_handler_that_gives_up_by_itself_ends_its_task_as_cancelled() {
    let mut task = Task::running(PLAIN);
    let transition = task.end(TurnEnd::Cancelled);
    assert_eq!(transition.what, Some(EventKind::Cancelled));
    assert_eq!(Status::of(task.row()), Status::Completed);
}

#[test]
fn a_handler_that_was_steered_out_gives_way_to_the_next_input() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.end(TurnEnd::Cancelled);
    assert!(matches!(
        &transition.effects[..],
        [
            Effect::Answered {
                result: TurnResult::Ended(Outcome::Cancelled { .. }),
                ..
            },
            Effect::Enter { .. }
        ]
    ));
    assert_eq!(task.row().input_id, id("b"));
}
