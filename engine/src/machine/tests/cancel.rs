//! Ends from outside: a cancel on record and each way its turn may end, termination, and whom a handle may end.

use super::task::{
    OPTIONS, PLAIN, STEERABLE, Task, cancel, cancel_by, died, every_end, failed, id, input, of,
    of_run, orphan, recover, retry, succeeded, suspended, terminate, undecodable, us,
};
use super::{answered, assert_nothing_changed, replied};
use crate::machine::{
    Aim, Answer, Cause, Effect, Event, Order, Overdue, Parting, Rejected, Status, TurnEnd, Verdict,
};
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    CancelScope, EventKind, Generation, OptionsRow, Outcome, Payload, State, TurnResult, WaitReason,
};

fn cancelled(reason: &str) -> TurnResult {
    TurnResult::Ended(Outcome::Cancelled {
        reason: reason.into(),
        output: None,
    })
}

/// Runs input `a`, with `b` waiting, and a cancel on record.
fn with_cancel(aim: Aim) -> Task {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.does(cancel(aim, "enough"));
    task
}

#[track_caller]
fn outcome(task: &Task) -> &Outcome {
    match &task.row().state {
        State::Completed { outcome, .. } => outcome,
        other => panic!("not ended: {other:?}"),
    }
}

#[track_caller]
fn assert_waits_for_input(task: &Task) {
    let waits = matches!(
        task.row().state,
        State::Suspended {
            wait: WaitReason::Input { .. },
            ..
        }
    );
    assert!(waits, "{:?}", task.row().state);
}

#[test]
fn a_cancel_of_a_running_task_is_on_record_before_its_handler_is_told() {
    let mut task = Task::running(STEERABLE);
    let etag = task.row().etag;
    let transition = task.does(cancel(Aim::Task, "enough"));
    assert_eq!(transition.expect, Expect::Etag(etag));
    let reason = "enough".into();
    let signal = Effect::Signal(Cause::CancelRequested { reason });
    assert_eq!(transition.effects[..], [signal]);
    let on_record = task.row().cancel.as_ref().expect("on record");
    assert_eq!(on_record.scope, CancelScope::Task);
    assert_eq!(Status::of(task.row()), Status::InProgress);
    assert_eq!(task.row().generation, Generation(1), "its worker goes on");
}

#[test]
fn a_cancel_ends_a_task_that_does_not_run_at_once() {
    for (state, mut task) in Task::in_every_state(STEERABLE) {
        let open = match Status::of(task.row()) {
            Status::Pending => true,
            Status::Suspended => state != "waiting for an input",
            Status::InProgress | Status::Completed => continue,
        };
        let turn = task.row().turn;
        let transition = task.does(cancel(Aim::Task, "enough"));
        assert_eq!(transition.what, Some(EventKind::Cancelled), "{state}");
        let told = answered("a", turn, cancelled("enough"));
        let effects: &[Effect] = if open {
            &[told, Effect::TaskEnded]
        } else {
            // Its turn was answered when it suspended the task.
            &[Effect::TaskEnded]
        };
        assert_eq!(transition.effects[..], *effects, "{state}");
        assert!(matches!(outcome(&task), Outcome::Cancelled { .. }));
    }
}

#[test]
fn an_ended_task_is_neither_cancelled_nor_terminated() {
    for (state, task) in Task::in_every_state(STEERABLE) {
        if Status::of(task.row()) != Status::Completed {
            continue;
        }
        for aim in [Aim::Task, of("a")] {
            for event in [cancel(aim.clone(), "enough"), terminate(aim)] {
                let (status, wait) = (Status::Completed, None);
                let told = task.refuses(event);
                assert_eq!(told, task.conflict(status, wait), "{state}");
            }
        }
    }
}

#[test]
fn the_first_reason_of_a_cancel_stays() {
    for aim in [Aim::Task, of("a")] {
        let mut task = with_cancel(aim.clone());
        let before = task.clone();
        let transition = task.does(cancel(aim, "more than enough"));
        assert_eq!(transition.answer, Answer::Done);
        assert_nothing_changed(&before, &task, "cancelled before");
    }
    let mut task = with_cancel(Aim::Task);
    let before = task.clone();
    task.does(cancel(of("a"), "the turn as well"));
    assert_nothing_changed(&before, &task, "the task's cancel covers its turn");
}

#[test]
fn a_cancel_of_the_task_replaces_that_of_its_turn() {
    let mut task = with_cancel(of("a"));
    let transition = task.does(cancel(Aim::Task, "all of it"));
    let reason = "all of it".into();
    let signal = Effect::Signal(Cause::CancelRequested { reason });
    assert_eq!(transition.effects[..], [signal]);
    let on_record = task.row().cancel.as_ref().expect("on record");
    assert_eq!(on_record.scope, CancelScope::Task);
}

#[test]
fn a_reply_counts_though_its_task_was_cancelled_and_nothing_comes_after_it() {
    let mut task = with_cancel(Aim::Task);
    let transition = task.end(succeeded("1"));
    let told = answered("a", 1, replied("1"));
    assert_eq!(transition.effects[..], [told, Effect::TaskEnded]);
    assert!(matches!(outcome(&task), Outcome::Succeeded(_)));
}

#[test]
fn a_suspension_of_a_cancelled_task_ends_it_with_its_output() {
    let mut task = with_cancel(Aim::Task);
    let transition = task.end(suspended("1"));
    let outcome = Outcome::Cancelled {
        reason: "enough".into(),
        output: Some(Payload::Inline("1".into())),
    };
    let told = answered("a", 1, TurnResult::Ended(outcome));
    assert_eq!(transition.effects[..], [told, Effect::TaskEnded]);
}

/// What else may become of the turn of a cancelled task: the handler's other ends, a crash, a stop in order, no handler.
fn ends_that_yield() -> Vec<(&'static str, Event)> {
    let end = |end| with_cancel(Aim::Task).ending(end);
    let stop = Event::Stop {
        generation: Generation(1),
        why: Overdue::CancelIgnored,
    };
    vec![
        ("error", end(failed(false))),
        ("terminal error", end(failed(true))),
        ("agreement", end(TurnEnd::Cancelled)),
        ("undecodable", end(undecodable())),
        ("crash", died(2)),
        ("suspected crash", recover(2, Parting::Died, Verdict::Off)),
        (
            "stop in order",
            recover(2, Parting::Stopped, Verdict::Count),
        ),
        ("crash without a handler", orphan(2, Parting::Died)),
        ("grace over", stop),
    ]
}

#[test]
fn every_other_end_of_a_cancelled_tasks_turn_ends_it_as_cancelled() {
    for (end, event) in ends_that_yield() {
        let mut task = with_cancel(Aim::Task);
        let transition = task.does(event);
        let told = answered("a", 1, cancelled("enough"));
        assert!(transition.effects.contains(&told), "{end}");
        let entered = transition
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Enter { .. }));
        assert!(!entered, "{end}: its handler is not entered again");
        assert!(matches!(outcome(&task), Outcome::Cancelled { .. }), "{end}");
        assert_eq!(task.row().cancel, None, "{end}");
    }
}

#[test]
fn every_other_end_of_a_cancelled_turn_ends_it_and_the_next_input_follows() {
    for (end, event) in ends_that_yield() {
        let mut task = with_cancel(of("a"));
        let transition = task.does(event);
        let told = answered("a", 1, cancelled("enough"));
        assert!(transition.effects.contains(&told), "{end}");
        assert_eq!(task.row().input_id, id("b"), "{end}");
        assert_eq!(task.row().cancel, None, "{end}");
    }
}

#[test]
fn a_cancelled_turn_with_an_empty_queue_leaves_its_task_waiting() {
    for (end, event) in ends_that_yield() {
        let mut task = Task::running(STEERABLE);
        task.does(cancel(of("a"), "enough"));
        let transition = task.does(event);
        assert_eq!(transition.what, Some(EventKind::TurnCancelled), "{end}");
        assert_waits_for_input(&task);
        assert_eq!(task.row().cancel, None, "{end}");
    }
}

#[test]
fn a_cancelled_turn_may_still_reply() {
    let mut replies = with_cancel(of("a"));
    replies.end(succeeded("1"));
    assert_eq!(replies.row().input_id, id("b"));
    let mut suspends = with_cancel(of("a"));
    suspends.end(suspended("1"));
    let kept = suspends.held.turns.values().next().expect("a turn");
    assert!(matches!(kept.result, TurnResult::Replied { .. }));
    let mut last = Task::running(STEERABLE);
    last.does(cancel(of("a"), "enough"));
    last.end(succeeded("1"));
    assert!(matches!(outcome(&last), Outcome::Succeeded(_)));
}

#[test]
fn a_cancel_grace_that_is_over_fences_the_turn_off() {
    for (aim, status) in [(Aim::Task, Status::Completed), (of("a"), Status::Pending)] {
        let mut task = with_cancel(aim);
        let transition = task.does(Event::Stop {
            generation: Generation(1),
            why: Overdue::CancelIgnored,
        });
        let fence = Effect::Fence(Some(Overdue::CancelIgnored));
        assert_eq!(transition.effects.first(), Some(&fence));
        assert_eq!(transition.expect, Expect::Lease(Generation(1)));
        assert_eq!(Status::of(task.row()), status);
        assert!(task.row().generation > Generation(1));
    }
}

#[test]
fn a_handle_ends_the_task_only_if_it_takes_one_input() {
    let mut plain = Task::running(PLAIN);
    plain.does(cancel(of("a"), "enough"));
    plain.end(TurnEnd::Cancelled);
    assert_eq!(Status::of(plain.row()), Status::Completed);
    // Once it has waited for a further input, each of its turns is for itself.
    let mut chain = Task::ended(PLAIN, suspended("1"));
    chain.send(input("b"));
    chain.does(cancel(of("b"), "enough"));
    chain.end(TurnEnd::Cancelled);
    assert_waits_for_input(&chain);
}

#[test]
fn a_handle_ends_its_turn_in_every_wait_and_its_task_goes_on() {
    for (state, mut task) in Task::in_every_state(STEERABLE) {
        let open = match Status::of(task.row()) {
            Status::Pending => true,
            Status::Suspended => state != "waiting for an input",
            Status::InProgress | Status::Completed => false,
        };
        if !open {
            continue;
        }
        task.send(input("b"));
        let transition = task.does(cancel(of("a"), "enough"));
        let told = answered("a", 1, cancelled("enough"));
        assert_eq!(transition.effects.first(), Some(&told), "{state}");
        assert_eq!(task.row().input_id, id("b"), "{state}");
        assert_eq!(Status::of(task.row()), Status::Pending, "{state}");
    }
}

/// The state of its task as the holder of an old handle finds it.
#[test]
fn a_handle_never_ends_the_turn_of_another_input() {
    let mut next_turn = Task::running(STEERABLE);
    next_turn.send(input("b"));
    next_turn.end(succeeded("1"));
    let mut resumed = Task::ended(PLAIN, suspended("1"));
    resumed.send(input("b"));
    let mut drained = Task::running(STEERABLE);
    drained.send(input("b"));
    drained.end(failed(true));
    let tasks = [
        (&next_turn, "a", Status::InProgress),
        (&resumed, "a", Status::InProgress),
        (&drained, "b", Status::Completed),
        (&Task::ended(PLAIN, suspended("1")), "a", Status::Suspended),
    ];
    for (task, text, status) in tasks {
        for event in [cancel(of(text), "enough"), terminate(of(text))] {
            let told = task.refuses(event);
            assert!(
                matches!(told, Rejected::Conflict { status: is, .. } if is == status),
                "{told:?}"
            );
        }
        for event in [cancel(of("x"), "enough"), terminate(of("x"))] {
            assert_eq!(task.refuses(event), Rejected::NotFound);
        }
    }
}

#[test]
fn a_cancel_decided_on_another_version_is_refused() {
    for (state, task) in Task::in_every_state(STEERABLE) {
        let if_etag = Some(outlive_storage::row::Etag(99));
        let order = Order {
            aim: Aim::Task,
            reason: "enough".into(),
            if_etag,
            instance: 1,
        };
        let events = [
            Event::Cancel(order.clone()),
            Event::Terminate(order),
            Event::Delete {
                force: true,
                if_etag,
            },
            Event::Retry {
                if_etag,
                from_start: false,
                claimant: None,
            },
            Event::Resume {
                input_id: id("b"),
                if_etag,
                claimant: None,
            },
        ];
        for event in events {
            let told = task.refuses(event);
            let refused = matches!(told, Rejected::PreconditionFailed { .. });
            assert!(refused, "{state}: {told:?}");
        }
    }
}

#[test]
fn a_terminated_task_ends_at_once_and_what_runs_is_fenced_off_first() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let etag = task.row().etag;
    let transition = task.does(terminate(Aim::Task));
    assert_eq!(transition.expect, Expect::Etag(etag));
    assert_eq!(transition.what, Some(EventKind::Terminated));
    assert!(matches!(
        transition.effects[..],
        [
            Effect::Fence(None),
            Effect::Answered { .. },
            Effect::TaskEnded
        ]
    ));
    assert!(task.row().generation > Generation(1), "a new one");
    assert!(matches!(
        outcome(&task),
        Outcome::Terminated {
            timed_out: false,
            ..
        }
    ));
}

#[test]
fn a_terminated_task_that_did_not_run_has_no_handler_to_drop() {
    for (state, mut task) in Task::in_every_state(STEERABLE) {
        if matches!(
            Status::of(task.row()),
            Status::InProgress | Status::Completed
        ) {
            continue;
        }
        let generation = task.row().generation;
        let transition = task.does(terminate(Aim::Task));
        let fences = transition
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Fence(_)));
        assert!(!fences, "{state}");
        assert_eq!(task.row().generation, generation, "{state}");
        assert_eq!(Status::of(task.row()), Status::Completed, "{state}");
    }
}

#[test]
fn what_was_fenced_off_ends_nothing_any_more() {
    let timed = OptionsRow {
        timeout_us: 1,
        ..OPTIONS
    };
    let stop = |why| Event::Stop {
        generation: Generation(1),
        why,
    };
    let mut terminated = Task::running(STEERABLE);
    terminated.does(terminate(Aim::Task));
    let mut stopped = Task::running_with(STEERABLE, timed);
    stopped.at += 1;
    stopped.does(stop(Overdue::TimedOut));
    let mut forced = with_cancel(of("a"));
    forced.does(stop(Overdue::CancelIgnored));
    let mut entered = forced.clone();
    entered.does(Event::Claim(us(1)));
    let mut deleted = Task::running(STEERABLE);
    deleted.does(super::task::delete(true));
    for task in [terminated, stopped, forced, entered, deleted] {
        for end in every_end() {
            let event = Event::End {
                generation: Generation(1),
                end,
                claimant: us(1),
                missed: Vec::new(),
            };
            assert_eq!(task.refuses(event), Rejected::LeaseLost);
        }
        for why in [Overdue::TimedOut, Overdue::CancelIgnored] {
            assert_eq!(task.refuses(stop(why)), Rejected::LeaseLost);
        }
        let keep = Event::Keep {
            generation: Generation(1),
        };
        assert_eq!(task.refuses(keep), Rejected::LeaseLost);
    }
}

/// A cancel of a task whose process was gone, and which still waited to be entered again, was on record and carried out
/// only when a slot came free for a turn that would not be entered.
#[test]
fn a_cancel_ends_at_once_the_turn_of_a_process_that_is_gone() {
    for limits in [PLAIN, STEERABLE] {
        let mut task = Task::running(limits);
        let transition = task.does(cancel_by(2, Aim::Task, "enough"));
        assert_eq!(transition.what, Some(EventKind::Cancelled));
        let told = answered("a", 1, cancelled("enough"));
        assert_eq!(transition.effects[..], [told, Effect::TaskEnded]);
        let (status, generation) = (Status::Completed, Generation(1));
        assert_eq!(Status::of(task.row()), status);
        let told = task.refuses(recover(2, Parting::Died, Verdict::Count));
        assert_eq!(told, Rejected::WrongState { status });
        assert_eq!(task.row().generation, generation, "nobody is left to fence");
    }
}

#[test]
fn a_handle_terminates_its_turn_and_the_task_goes_on_with_what_waits() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.does(terminate(of("a")));
    assert_eq!(transition.what, Some(EventKind::NextTurn));
    let stopped = TurnResult::Ended(Outcome::Terminated {
        reason: "stop it".into(),
        timed_out: false,
    });
    assert_eq!(transition.effects[0], Effect::Fence(None));
    assert_eq!(transition.effects[1], answered("a", 1, stopped));
    assert_eq!(task.row().input_id, id("b"));
    assert_eq!(Status::of(task.row()), Status::Pending);
    assert!(
        task.row().generation > Generation(1),
        "its worker is fenced"
    );
}

#[test]
fn a_handle_terminates_its_turn_and_the_task_waits_when_nothing_else_does() {
    let mut task = Task::running(STEERABLE);
    let transition = task.does(terminate(of("a")));
    assert_eq!(transition.what, Some(EventKind::TurnTerminated));
    assert_waits_for_input(&task);
    let mut plain = Task::running(PLAIN);
    let transition = plain.does(terminate(of("a")));
    assert_eq!(transition.what, Some(EventKind::Terminated));
}

/// A further run works the same input: a handle of the run before cancelled it.
#[test]
fn a_handle_of_an_earlier_run_ends_nothing_of_a_later_one() {
    for limits in [PLAIN, STEERABLE] {
        let mut task = Task::ended(limits, failed(true));
        task.does(retry());
        for event in [cancel(of("a"), "enough"), terminate(of("a"))] {
            let told = task.refuses(event);
            assert_eq!(told, task.conflict(Status::InProgress, None));
        }
        task.does(cancel(of_run("a", 2), "enough"));
        assert!(task.row().cancel.is_some());
    }
}
