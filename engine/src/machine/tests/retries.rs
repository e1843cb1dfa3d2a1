//! Errors, back-off and the time a turn has.

use super::task::{
    BACK_OFF_US, DEF, OPTIONS, PLAIN, STEERABLE, Task, died, failed, failure, input, succeeded,
    suspended, us,
};
use crate::machine::{Effect, Event, Overdue, Rejected, Status, TurnEnd};
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    Deadline, EntryKind, EventKind, Generation, Micros, OptionsRow, Outcome, State, WaitReason,
};

#[track_caller]
fn assert_timed_out(task: &Task, what: &str) {
    let timed_out = matches!(
        task.row().state,
        State::Completed {
            outcome: Outcome::Terminated {
                timed_out: true,
                ..
            },
            ..
        }
    );
    assert!(timed_out, "{what}: {:?}", task.row().state);
}

fn asking_for(retry_after_us: u64) -> TurnEnd {
    TurnEnd::Failed {
        failure: failure(),
        terminal: false,
        retry_after_us: Some(retry_after_us),
    }
}

fn stop(task: &Task, why: Overdue) -> Event {
    Event::Stop {
        generation: task.row().generation,
        why,
    }
}

#[test]
fn a_failure_backs_off_then_ends_when_the_budget_is_spent() {
    let mut task = Task::running(PLAIN);
    let transition = task.end(failed(false));
    assert_eq!(transition.expect, Expect::Lease(Generation(1)));
    assert_eq!(transition.what, Some(EventKind::BackedOff));
    let at = Micros(10_000 + BACK_OFF_US);
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    let interim = task.row().last_failure.as_ref();
    assert_eq!(interim.map(|failure| failure.attempts), Some(1));
    let early = task.refuses(Event::Claim(us(1)));
    assert_eq!(early, Rejected::NotDue { due_at: at });
    task.at = at.0;
    task.does(Event::Claim(us(1)));
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (2, EntryKind::Retried)
    );
    task.end(failed(false));
    let State::Completed {
        outcome: Outcome::Failed(failure),
        ..
    } = &task.row().state
    else {
        panic!("not failed: {:?}", task.row().state);
    };
    assert_eq!(failure.attempts, 2);
}

#[test]
fn an_interim_error_is_cleared_by_a_success() {
    for end in [succeeded("1"), suspended("1")] {
        let mut task = Task::ended(PLAIN, failed(false));
        task.at += BACK_OFF_US;
        task.does(Event::Claim(us(1)));
        assert!(task.row().last_failure.is_some());
        task.end(end);
        assert_eq!(task.row().last_failure, None);
    }
}

/// Whoever looked at a task that was cancelled, or stopped by its time-out, in the middle of its retries, did not find out
/// what had been wrong: the interim error went with the end.
#[test]
fn who_ends_a_failing_turn_still_finds_out_why_it_failed() {
    let mut cancelled = Task::ended(PLAIN, failed(false));
    cancelled.does(super::task::cancel(crate::machine::Aim::Task, "enough"));
    let mut late = Task::timed(PLAIN, 50);
    late.end(failed(false));
    late.at += 50;
    late.does(Event::Claim(us(1)));
    assert_timed_out(&late, "in its back-off");
    for task in [&mut cancelled, &mut late] {
        assert!(task.row().last_failure.is_some());
        task.does(super::task::retry());
        assert_eq!(task.row().last_failure, None, "a further run is clean");
        assert!(task.held.runs[0].last_failure.is_some());
    }
}

#[test]
fn a_failure_may_ask_for_its_own_delay() {
    let mut task = Task::running(PLAIN);
    task.end(asking_for(77));
    let (due_at, wait) = (Deadline::own(Micros(10_077)), WaitReason::BackOff);
    assert_eq!(task.row().state, State::Pending { due_at, wait });
}

#[test]
fn a_back_off_ends_no_later_than_the_turns_time() {
    for end in [failed(false), asking_for(1_000_000)] {
        let mut task = Task::timed(PLAIN, 70);
        task.end(end);
        let (due_at, wait) = (Deadline::own(Micros(10_070)), WaitReason::BackOff);
        assert_eq!(task.row().state, State::Pending { due_at, wait });
    }
}

#[test]
fn a_turn_whose_time_runs_out_in_its_back_off_ends_then_without_its_handler() {
    let mut task = Task::timed(STEERABLE, 70);
    task.end(failed(false));
    task.send(input("b"));
    task.at += 70;
    let etag = task.row().etag;
    let transition = task.does(Event::Claim(us(1)));
    assert_timed_out(&task, "in its back-off");
    assert_eq!(transition.what, Some(EventKind::TimedOut));
    assert_eq!(transition.expect, Expect::Etag(etag));
    assert!(matches!(
        transition.effects[..],
        [Effect::Answered { turn: 1, .. }, Effect::TaskEnded]
    ));
}

#[test]
fn a_late_error_is_the_time_out_and_is_not_retried() {
    for end in [failed(false), failed(true), TurnEnd::Cancelled] {
        let mut task = Task::timed(PLAIN, 70);
        task.at += 70;
        task.end(end.clone());
        assert_timed_out(&task, "a late end");
    }
    let mut in_time = Task::timed(PLAIN, 70);
    in_time.at += 69;
    in_time.end(failed(true));
    assert!(matches!(
        in_time.row().state,
        State::Completed {
            outcome: Outcome::Failed(_),
            ..
        }
    ));
}

#[test]
fn a_late_reply_counts() {
    let mut task = Task::timed(PLAIN, 70);
    task.at += 75;
    task.end(succeeded("1"));
    assert!(matches!(
        task.row().state,
        State::Completed {
            outcome: Outcome::Succeeded(_),
            ..
        }
    ));
    let mut waits = Task::timed(PLAIN, 70);
    waits.at += 75;
    waits.end(suspended("1"));
    assert_eq!(Status::of(waits.row()), Status::Suspended);
}

#[test]
fn the_time_of_a_turn_runs_from_its_first_claim_over_its_attempts() {
    let mut task = Task::timed(PLAIN, 1_000);
    let deadline = Micros(11_000);
    assert_eq!(task.row().deadline.at, deadline);
    task.at += 300;
    task.end(failed(false));
    task.at += BACK_OFF_US;
    task.does(Event::Claim(us(1)));
    assert_eq!(task.row().deadline.at, deadline);
    task.does(died(2));
    assert_eq!(
        task.row().deadline.at,
        deadline,
        "a crash does not restart it"
    );
}

/// After a restart under a clock that was set back, a turn of one minute had years to run, since its deadline had been
/// written down under the old clock.
#[test]
fn a_clock_that_was_set_back_gives_no_turn_more_than_a_whole_time_out() {
    let mut task = Task::timed(PLAIN, 1_000);
    task.at = 500;
    task.does(died(2));
    assert_eq!(task.row().deadline.at, Micros(1_500));
}

#[test]
fn a_turn_that_waits_for_its_slot_loses_no_time() {
    let mut task = Task::none(PLAIN);
    let options = OptionsRow {
        timeout_us: 1_000,
        ..OPTIONS
    };
    task.send(crate::machine::NewInput {
        options: options.into(),
        claimant: None,
        ..input("a")
    });
    task.at += 5_000;
    task.does(Event::Claim(us(1)));
    assert_eq!(task.row().deadline.at, Micros(task.at + 1_000));
}

#[test]
fn a_turn_that_does_not_end_in_its_time_is_fenced_off_and_dropped() {
    let mut task = Task::timed(STEERABLE, 70);
    task.send(input("b"));
    task.at += 80;
    let transition = task.does(stop(&task, Overdue::TimedOut));
    assert_timed_out(&task, "after its grace");
    assert_eq!(transition.expect, Expect::Lease(Generation(1)));
    let first = transition.effects.first();
    assert_eq!(first, Some(&Effect::Fence(Some(Overdue::TimedOut))));
    assert_eq!(task.row().generation, Generation(3), "a new one");
}

#[test]
fn a_turn_is_not_stopped_before_its_time() {
    let mut task = Task::timed(PLAIN, 70);
    task.at += 69;
    let due_at = Micros(10_070);
    let told = task.refuses(stop(&task, Overdue::TimedOut));
    assert_eq!(told, Rejected::NotDue { due_at });
    let untimed = Task::running(PLAIN);
    let due_at = Micros::NEVER;
    let told = untimed.refuses(stop(&untimed, Overdue::TimedOut));
    assert_eq!(told, Rejected::NotDue { due_at });
}

#[test]
fn a_turn_that_nobody_cancelled_ignores_no_cancel() {
    let task = Task::running(PLAIN);
    let status = Status::InProgress;
    let told = task.refuses(stop(&task, Overdue::CancelIgnored));
    assert_eq!(told, Rejected::WrongState { status });
}

#[test]
fn a_time_out_that_comes_while_its_turn_waits_for_a_slot_ends_it_without_one() {
    let mut task = Task::timed(PLAIN, BACK_OFF_US + 20);
    task.end(failed(false));
    let due_at = Micros(10_000 + BACK_OFF_US + 20);
    task.at += BACK_OFF_US;
    let told = task.refuses(Event::Lapse);
    assert_eq!(told, Rejected::NotDue { due_at }, "it is only due");
    task.at += 20;
    let transition = task.does(Event::Lapse);
    assert_timed_out(&task, "while it waited");
    assert_eq!(transition.what, Some(EventKind::TimedOut));
    let untimed = Task::due(PLAIN, OPTIONS);
    let due_at = Micros::NEVER;
    assert_eq!(untimed.refuses(Event::Lapse), Rejected::NotDue { due_at });
}
