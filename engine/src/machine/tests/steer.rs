//! Inputs for a task that is not free: queued, bounded, worked in their order, withdrawn, told of the end.

use super::task::{
    KEEP_US, STEERABLE, Task, cancel, failed, id, input, of, orphan, succeeded, suspended,
    terminate, undecodable, us,
};
use super::{answered, assert_accepted, assert_nothing_changed, enters, replied};
use crate::machine::{
    Accepted, Aim, Answer, Cause, Effect, Event, Parting, Rejected, Status, TurnEnd,
};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    Deadline, EntryKind, EventKind, Generation, Micros, Payload, Receipt, State, TurnResult,
    WaitReason,
};

fn superseded(output: &str) -> TurnResult {
    TurnResult::Replied {
        output: Payload::Inline(output.into()),
        suspended: None,
        superseded: true,
    }
}

#[test]
fn a_steerable_task_queues_whatever_it_waits_for_and_signals_only_what_runs() {
    for (state, mut task) in Task::in_every_state(STEERABLE) {
        let (status, was) = (Status::of(task.row()), task.row().state.clone());
        let waits_for_input = matches!(
            was,
            State::Suspended {
                wait: WaitReason::Input { .. },
                ..
            }
        );
        if status == Status::Completed || waits_for_input {
            continue;
        }
        let transition = task.send(input("b"));
        assert_accepted(&transition, Accepted::Queued, "b");
        let told = [
            Effect::Waiting(1),
            Effect::Signal(Cause::Steered),
            Effect::Woken,
        ];
        let due = [Effect::Due {
            def: task.row().def,
            at: Micros(task.at),
        }];
        let effects: &[Effect] = match state {
            "running" => &told,
            "sleeping" => &due,
            _ => &[],
        };
        assert_eq!(transition.effects[..], *effects, "{state}");
        assert_stays(&was, &task, state);
        assert_eq!(task.row().inputs_waiting, 1, "{state}");
        assert_eq!(task.receipt("b"), Some(&Receipt::Queued { seq: 1 }));
        assert_eq!(task.listed("b"), None, "{state}: what waits is not swept");
    }
}

/// An input breaks no wait. A handler that sleeps is woken, and one that runs will be should it go to sleep.
fn assert_stays(was: &State, task: &Task, name: &str) {
    match (was, &task.row().state) {
        (
            State::InProgress { lease, .. },
            State::InProgress {
                lease: now,
                woken: true,
                ..
            },
        ) => assert_eq!(lease, now),
        (_, now) if name == "sleeping" => {
            let (due_at, wait) = (Deadline::at_once(Micros(task.at)), WaitReason::Slot);
            assert_eq!(*now, State::Pending { due_at, wait });
        }
        (was, now) => assert_eq!(was, now, "{name}: a wait is never broken"),
    }
}

#[test]
fn a_full_queue_refuses_and_says_its_bound() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.send(input("c"));
    assert_eq!(
        task.refuses_input(input("d")),
        Rejected::QueueFull { max: 2 }
    );
    // Who is known already is not a further input.
    assert_accepted(&task.send(input("c")), Accepted::Attached, "c");
}

#[test]
fn a_steer_names_the_etag_and_leaves_the_workers_claim_alone() {
    let mut task = Task::running(STEERABLE);
    let (etag, end) = (task.row().etag, task.ending(succeeded("1")));
    assert_eq!(task.send(input("b")).expect, Expect::Etag(etag));
    let transition = task.does(end);
    assert_eq!(transition.expect, Expect::Lease(Generation(1)));
}

#[test]
fn a_reply_with_a_waiting_input_begins_the_next_turn_in_one_commit() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.end(succeeded("1"));
    assert_eq!(transition.what, Some(EventKind::NextTurn));
    let told = answered("a", 1, superseded("1"));
    assert_eq!(transition.effects[..], [told, enters(3)]);
    assert!(transition.writes.contains(&Write::PopInput { seq: 1 }));
    let row = task.row();
    assert_eq!((row.turn, row.attempt), (2, 1));
    assert_eq!((row.entry, row.steered), (EntryKind::Resumed, true));
    assert_eq!((&row.input_id, row.generation), (&id("b"), Generation(3)));
    assert!(task.held.inbox.is_empty());
    let (run, total) = (1, 2);
    let turn = 2;
    let step = None;
    let receipt = Receipt::Turn {
        run,
        turn,
        total,
        step,
    };
    assert_eq!(task.receipt("b"), Some(&receipt));
    assert_eq!(task.listed("b"), None, "its turn is not over");
    assert_eq!(task.listed("a"), Some(Micros(10_000 + KEEP_US)));
}

/// The next turn of a chain kept the start of the turn before, so that its duration, and what was measured from it, were
/// those of both.
#[test]
fn the_next_turn_begins_when_it_is_claimed() {
    let mut task = Task::timed(STEERABLE, 1_000);
    task.send(input("b"));
    task.at += 700;
    task.end(succeeded("1"));
    assert_eq!(task.started_at(), Micros(10_700));
    assert_eq!(task.row().deadline.at, Micros(11_700));
}

#[test]
fn a_reply_that_suspends_is_told_and_superseded_by_what_waits() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.end(suspended("1"));
    let result = TurnResult::Replied {
        output: Payload::Inline("1".into()),
        suspended: Some("more".into()),
        superseded: true,
    };
    let told = answered("a", 1, result);
    assert_eq!(transition.effects[..], [told, enters(3)]);
    assert_eq!(task.row().input_id, id("b"));
}

#[test]
fn inputs_are_worked_in_the_order_of_their_acceptance() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.send(input("c"));
    task.end(succeeded("1"));
    task.send(input("d"));
    let mut worked = vec![task.row().input_id.clone()];
    for _ in 0..2 {
        task.end(succeeded("x"));
        worked.push(task.row().input_id.clone());
    }
    assert_eq!(worked, [id("b"), id("c"), id("d")]);
    task.end(succeeded("4"));
    assert_eq!(Status::of(task.row()), Status::Completed);
}

#[test]
fn the_next_turn_begins_with_a_clean_record() {
    let mut task = Task::running(STEERABLE);
    task.does(super::task::died(2));
    task.end(failed(false));
    task.send(input("b"));
    task.at += 100;
    task.does(Event::Claim(us(1)));
    task.does(cancel(of("a"), "enough"));
    task.end(succeeded("1"));
    let row = task.row();
    assert_eq!((row.turn, row.attempt, row.crashes), (2, 1, 0));
    assert_eq!((&row.last_failure, &row.cancel), (&None, &None));
    assert_eq!(row.guard, outlive_storage::row::Guard::CLEAR);
}

#[test]
fn a_withdrawn_input_gets_no_turn_and_its_caller_the_reason() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.send(input("c"));
    let transition = task.does(cancel(of("b"), "changed my mind"));
    let (input_id, reason) = (id("b"), Box::from("changed my mind"));
    let told = Effect::Withdrawn { input_id, reason };
    assert_eq!(transition.effects[..], [told, Effect::Waiting(1)]);
    assert_eq!(transition.what, Some(EventKind::InputWithdrawn));
    assert_eq!(task.row().inputs_waiting, 1);
    let reason = "changed my mind".into();
    assert_eq!(task.receipt("b"), Some(&Receipt::Withdrawn { reason }));
    assert_eq!(task.listed("b"), Some(Micros(10_000 + KEEP_US)));
    task.end(succeeded("1"));
    assert_eq!(task.row().input_id, id("c"));
}

#[test]
fn an_input_is_withdrawn_in_any_state_it_waits_in_and_the_wait_stays() {
    for (state, mut task) in Task::in_every_state(STEERABLE) {
        let was = task.row().state.clone();
        let sent = task.asks(Event::Input(input("b")));
        let queued = matches!(
            sent.map(|sent| sent.answer),
            Ok(Answer::Accepted {
                how: Accepted::Queued,
                ..
            })
        );
        if queued {
            task.send(input("b"));
            task.does(cancel(of("b"), "no"));
            assert_stays(&was, &task, state);
            assert_eq!(task.row().inputs_waiting, 0, "{state}");
        }
    }
}

#[test]
fn a_withdrawal_is_asked_for_once() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.does(cancel(of("b"), "first"));
    let before = task.clone();
    for again in [cancel(of("b"), "second"), terminate(of("b"))] {
        let transition = task.does(again);
        assert_eq!(transition.answer, Answer::Done);
    }
    assert_nothing_changed(&before, &task, "withdrawn before");
}

#[test]
fn a_terminated_queued_input_is_withdrawn_and_the_turn_runs_on() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.does(terminate(of("b")));
    assert_eq!(Status::of(task.row()), Status::InProgress);
    assert_eq!(task.row().generation, Generation(1));
    assert!(matches!(task.receipt("b"), Some(Receipt::Withdrawn { .. })));
}

/// How a task ends, whoever ends it.
fn every_end_of_a_task() -> Vec<(&'static str, Task)> {
    let queued = |mut task: Task| {
        task.send(input("b"));
        task.send(input("c"));
        task
    };
    let after = |event| {
        let mut task = queued(Task::running(STEERABLE));
        task.does(event);
        task
    };
    let ended = |end, cancelled: bool| {
        let mut task = queued(Task::running(STEERABLE));
        if cancelled {
            task.does(cancel(Aim::Task, "enough"));
        }
        task.end(end);
        task
    };
    let mut late = queued(Task::timed(STEERABLE, 50));
    late.at += 50;
    late.end(failed(false));
    let mut parked = queued(Task::ended(STEERABLE, undecodable()));
    parked.does(cancel(Aim::Task, "enough"));
    let mut dead = queued(Task::running(STEERABLE));
    dead.does(cancel(Aim::Task, "enough"));
    dead.does(orphan(2, Parting::Died));
    vec![
        ("failed", ended(failed(true), false)),
        ("cancelled", ended(TurnEnd::Cancelled, true)),
        ("replied to a cancel", ended(succeeded("1"), true)),
        ("suspended with a cancel", ended(suspended("1"), true)),
        ("terminated", after(terminate(Aim::Task))),
        ("timed out", late),
        ("cancelled in its wait", parked),
        ("died with a cancel", dead),
    ]
}

#[test]
fn what_waits_at_the_end_of_its_task_is_told_in_the_commit_of_the_end() {
    for (end, task) in every_end_of_a_task() {
        assert_eq!(Status::of(task.row()), Status::Completed, "{end}");
        assert!(task.held.inbox.is_empty(), "{end}: the queue is drained");
        assert_eq!(task.row().inputs_waiting, 0, "{end}");
        for text in ["b", "c"] {
            assert_eq!(task.receipt(text), Some(&Receipt::TaskEnded), "{end}");
            let listed = task.listed(text);
            assert_eq!(listed, Some(Micros(task.at + KEEP_US)), "{end}");
        }
        assert_eq!(task.row().last_input_id, Some(id("c")), "{end}");
    }
}

#[test]
fn the_callers_of_a_drained_queue_are_told_last() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.end(failed(true));
    assert_eq!(transition.effects.last(), Some(&Effect::TaskEnded));
    let mut free = Task::running(STEERABLE);
    let transition = free.end(succeeded("1"));
    let told = answered("a", 1, replied("1"));
    assert_eq!(transition.effects[..], [told, Effect::TaskEnded]);
}

#[test]
fn a_queue_outlives_a_program_that_takes_no_further_input() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.limits = super::task::PLAIN;
    task.end(succeeded("1"));
    assert_eq!(task.row().input_id, id("b"), "what was accepted is worked");
}
