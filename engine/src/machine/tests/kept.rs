//! What is kept beside the row: large inputs, the results of turns in their slots, earlier runs.

use super::held::TASK;
use super::replied;
use super::task::{
    OPTIONS, PLAIN, STEERABLE, Task, anonymous, cancel, failed, id, input, large, of, resume,
    retry, succeeded, suspended, terminate, undecodable,
};
use crate::machine::{Aim, Event, NewInput, OnConflict, TurnEnd};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    OptionsRow, Outcome, Payload, Receipt, TurnResult, ValueKey, ValueKind,
};

fn value(kind: ValueKind, index: u64) -> ValueKey {
    ValueKey {
        task: TASK,
        kind,
        index,
    }
}

/// Positions of the large inputs that are kept.
fn inputs_kept(task: &Task) -> Vec<u64> {
    let keys = task.held.values.keys();
    let inputs = keys.filter(|key| key.kind == ValueKind::Input);
    inputs.map(|key| key.index).collect()
}

fn large_output(len: u64) -> TurnEnd {
    TurnEnd::Succeeded(Payload::Stored { len, crc: 0 })
}

/// What a reader finds for an input whose turn is over: the result in its slot, if it is still its own.
fn result_of(task: &Task, text: &str) -> Option<TurnResult> {
    let Receipt::Turn { total, .. } = *task.receipt(text)? else {
        return None;
    };
    let kept = task.held.turns.get(&task.row().slot_of(total))?;
    (kept.total == total).then(|| kept.result.clone())
}

fn restart(text: &str) -> NewInput {
    NewInput {
        on_conflict: OnConflict::Restart,
        ..large(text)
    }
}

#[test]
fn the_input_of_the_turn_before_is_kept_and_the_one_before_that_is_not() {
    let mut task = Task::none(STEERABLE);
    task.send(large("a"));
    task.send(large("b"));
    task.end(succeeded("1"));
    assert_eq!(inputs_kept(&task), [0, 1]);
    let previous = task.row().previous.as_ref().expect("the turn before");
    assert_eq!((previous.seq, previous.payload.len()), (0, 5_000));
    task.send(large("c"));
    let transition = task.end(succeeded("2"));
    let gone = Write::RemoveValue(value(ValueKind::Input, 0));
    assert!(transition.writes.contains(&gone));
    assert_eq!(inputs_kept(&task), [1, 2]);
}

#[test]
fn the_input_of_a_resumed_task_becomes_that_of_the_turn_before() {
    let mut task = Task::none(PLAIN);
    task.send(large("a"));
    task.end(suspended("1"));
    task.send(large("b"));
    assert_eq!(inputs_kept(&task), [0, 1]);
    task.end(suspended("2"));
    task.send(large("c"));
    assert_eq!(inputs_kept(&task), [1, 2]);
}

#[test]
fn an_input_that_two_turns_had_is_kept_until_neither_is_named() {
    let mut task = Task::none(PLAIN);
    task.send(large("a"));
    task.end(suspended("1"));
    task.does(resume("again"));
    task.end(suspended("2"));
    assert_eq!(inputs_kept(&task), [0], "one value, named twice");
    task.send(input("b"));
    assert_eq!(inputs_kept(&task), [0], "the turn before had it");
    task.end(suspended("3"));
    task.send(input("c"));
    assert!(inputs_kept(&task).is_empty());
}

#[test]
fn an_input_that_gets_no_turn_leaves_nothing_behind() {
    let mut withdrawn = Task::running(STEERABLE);
    withdrawn.send(large("b"));
    withdrawn.does(cancel(of("b"), "no"));
    let mut drained = Task::running(STEERABLE);
    drained.send(large("b"));
    drained.send(large("c"));
    drained.end(failed(true));
    for task in [withdrawn, drained] {
        assert!(inputs_kept(&task).is_empty());
    }
}

#[test]
fn a_retried_task_still_has_its_input_and_a_restarted_one_only_its_new() {
    let mut task = Task::none(PLAIN);
    task.send(large("a"));
    task.end(suspended("1"));
    task.send(large("b"));
    task.end(failed(true));
    task.does(retry());
    assert_eq!(inputs_kept(&task), [0, 1]);
    task.end(succeeded("2"));
    task.send(restart("c"));
    assert_eq!(inputs_kept(&task), [2]);
    assert_eq!(task.row().previous, None);
}

#[test]
fn the_restart_of_a_task_that_was_resumed_without_an_input_removes_its_value_once() {
    let mut task = Task::none(PLAIN);
    task.send(large("a"));
    task.end(suspended("1"));
    task.does(resume("again"));
    task.end(succeeded("2"));
    // The stand-in for a store refuses a removal of what is not there.
    task.send(restart("b"));
    assert_eq!(inputs_kept(&task), [2]);
}

#[test]
fn the_result_of_a_turn_is_kept_in_its_slot_until_a_later_turn_needs_it() {
    let mut task = Task::running(STEERABLE);
    for (text, output) in [("b", "1"), ("c", "2")] {
        task.send(input(text));
        task.end(succeeded(output));
    }
    let superseded = |output: &str| {
        Some(TurnResult::Replied {
            output: Payload::Inline(output.into()),
            suspended: None,
            superseded: true,
        })
    };
    assert_eq!(result_of(&task, "a"), superseded("1"));
    assert_eq!(result_of(&task, "b"), superseded("2"));
    task.end(succeeded("3"));
    assert_eq!(result_of(&task, "a"), None, "two turns are kept");
    assert_eq!(result_of(&task, "b"), superseded("2"));
    assert_eq!(result_of(&task, "c"), Some(replied("3")));
}

/// The last turn of a chain put its large output where an older turn had had one, and left that turn's row in the slot:
/// whoever asked for the old turn was given the output of the last.
#[test]
fn the_last_turn_of_a_chain_takes_its_slot_with_its_output() {
    let options = OptionsRow {
        keep_turns: 1,
        ..OPTIONS
    };
    let mut task = Task::running_with(STEERABLE, options);
    task.send(input("b"));
    task.end(large_output(2_000));
    assert!(result_of(&task, "a").is_some());
    task.end(large_output(3_000));
    assert_eq!(result_of(&task, "a"), None);
    let output = Payload::Stored { len: 3_000, crc: 0 };
    let last = TurnResult::Replied {
        output,
        suspended: None,
        superseded: false,
    };
    assert_eq!(result_of(&task, "b"), Some(last));
}

#[test]
fn a_small_result_sweeps_the_large_one_out_of_its_slot() {
    let options = OptionsRow {
        keep_turns: 1,
        ..OPTIONS
    };
    let ends = [succeeded("2"), failed(true), TurnEnd::Cancelled];
    for end in ends {
        let mut task = Task::running_with(STEERABLE, options);
        task.send(input("b"));
        task.end(large_output(2_000));
        assert!(!task.held.values.is_empty());
        task.end(end);
        assert!(task.held.values.is_empty());
    }
}

#[test]
fn the_only_turn_of_a_task_is_put_down_when_another_run_needs_its_row() {
    let mut task = Task::ended(PLAIN, succeeded("1"));
    assert!(task.held.turns.is_empty() && task.held.receipts.is_empty());
    task.send(restart("b"));
    assert_eq!(result_of(&task, "a"), Some(replied("1")));
}

/// A turn had replied and suspended its task; the task was cancelled a day later, then retried. Whoever asked for the
/// turn's result again was told that it had been cancelled, and its output was gone.
#[test]
fn a_reply_that_suspended_its_task_stays_whatever_becomes_of_the_task() {
    let ends = [cancel(Aim::Task, "enough"), terminate(Aim::Task)];
    for end in ends {
        let mut task = Task::running(PLAIN);
        task.end(TurnEnd::Suspended {
            output: Payload::Stored { len: 2_000, crc: 0 },
            reason: "more".into(),
        });
        let reply = result_of(&task, "a").expect("a reply");
        task.does(end);
        assert_eq!(result_of(&task, "a"), Some(reply.clone()));
        let mut again = task.clone();
        again.does(retry());
        assert_eq!(result_of(&again, "a"), Some(reply.clone()));
        task.send(restart("b"));
        assert_eq!(result_of(&task, "a"), Some(reply));
        assert!(task.held.values.contains_key(&value(ValueKind::Output, 1)));
        assert!(matches!(
            task.held.runs[0].outcome,
            Outcome::Cancelled { .. } | Outcome::Terminated { .. }
        ));
    }
}

#[test]
fn a_retried_turn_replaces_the_receipt_of_its_input_when_it_is_over() {
    let mut task = Task::ended(PLAIN, failed(true));
    task.does(retry());
    let receipt = |run, total| Receipt::Turn {
        run,
        turn: 1,
        total,
        step: None,
    };
    assert_eq!(task.receipt("a"), Some(&receipt(1, 1)));
    task.end(succeeded("1"));
    assert_eq!(task.receipt("a"), Some(&receipt(2, 2)));
    assert_eq!(result_of(&task, "a"), Some(replied("1")));
}

#[test]
fn what_only_attaches_or_is_refused_brings_no_value() {
    let mut task = Task::running(PLAIN);
    task.send(large("a"));
    task.send(NewInput {
        payload: Payload::Stored { len: 9, crc: 0 },
        ..anonymous("a")
    });
    assert!(task.held.values.is_empty());
}

#[test]
fn a_park_keeps_all_that_its_turn_needs() {
    let mut task = Task::none(STEERABLE);
    task.send(large("a"));
    task.send(large("b"));
    task.end(succeeded("1"));
    task.end(undecodable());
    assert_eq!(inputs_kept(&task), [0, 1]);
    task.does(Event::Reconsider);
    assert_eq!(task.row().input_id, id("b"));
    assert_eq!(inputs_kept(&task), [0, 1]);
}
