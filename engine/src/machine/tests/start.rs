//! The decision table of a start: what an input makes of each stored state.

use super::task::{
    DEF, KEEP_US, OPTIONS, PLAIN, STEERABLE, Task, anonymous, cancel, failed, id, input, of,
    succeeded, suspended, undecodable, us,
};
use super::{assert_accepted, assert_nothing_changed, enters};
use crate::machine::{Accepted, Answer, Effect, Event, NewInput, OnConflict, Rejected, Status};
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    Deadline, DefNumber, EntryKind, EventKind, Keep, Micros, OptionsRow, Outcome, Place, Priority,
    State, WaitReason,
};

fn with(on_conflict: OnConflict, text: &str) -> NewInput {
    NewInput {
        on_conflict,
        ..input(text)
    }
}

#[test]
fn a_start_with_a_slot_claims_in_its_own_commit() {
    let mut task = Task::none(PLAIN);
    let transition = task.send(input("a"));
    assert_accepted(&transition, Accepted::Started, "a");
    assert_eq!(transition.expect, Expect::Absent);
    assert_eq!(transition.what, Some(EventKind::Started));
    assert_eq!(transition.effects[..], [enters(1)]);
    let row = task.row();
    assert_eq!((row.turn, row.attempt, row.entry), (1, 1, EntryKind::Fresh));
}

#[test]
fn a_start_without_a_slot_is_due_at_once() {
    let mut task = Task::none(PLAIN);
    let waiting = NewInput {
        claimant: None,
        ..input("a")
    };
    let transition = task.send(waiting);
    let at = Micros(10_000);
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    assert_eq!((task.row().attempt, task.row().generation.0), (0, 0));
    let transition = task.does(Event::Claim(us(1)));
    assert_eq!(transition.effects[..], [enters(2)]);
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (1, EntryKind::Fresh)
    );
}

#[test]
fn a_delayed_start_waits_for_its_moment_whatever_slot_is_free() {
    let mut task = Task::none(PLAIN);
    let at = Micros(20_000);
    let transition = task.send(NewInput {
        start_at: Some(Deadline::own(at)),
        ..input("a")
    });
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    let wait = WaitReason::Delayed;
    let due_at = Deadline::own(at);
    assert_eq!(task.row().state, State::Pending { due_at, wait });
    task.at = 19_999;
    let early = task.refuses(Event::Claim(us(1)));
    assert_eq!(early, Rejected::NotDue { due_at: at });
    task.at = 20_000;
    task.does(Event::Claim(us(1)));
    assert_eq!(task.started_at(), at);
}

#[test]
fn a_start_at_a_moment_that_is_past_is_due_at_once() {
    let mut task = Task::none(PLAIN);
    let transition = task.send(NewInput {
        start_at: Some(Deadline::own(Micros(1))),
        ..input("a")
    });
    assert_eq!(transition.effects[..], [enters(1)]);
}

/// The very last moments of the clock mark tasks that wait for no time: a start that was put off until then would have
/// stood among the suspects of the poison guard.
#[test]
fn a_start_at_the_end_of_time_is_no_suspect() {
    for at in [Micros::NEVER, Micros::AT_OPEN, Micros::ISOLATED] {
        let mut task = Task::none(PLAIN);
        task.send(NewInput {
            start_at: Some(Deadline::own(at)),
            ..input("a")
        });
        let Place::Due(due_at) = task.row().place() else {
            panic!("not due")
        };
        assert!(due_at.at < Micros::ISOLATED, "{at:?}");
    }
}

#[test]
fn what_could_not_be_created_is_no_task_but_an_input_of_one_that_is() {
    let bare = |text| NewInput {
        facts: None,
        ..input(text)
    };
    let none = Task::none(STEERABLE);
    assert_eq!(none.refuses_input(bare("a")), Rejected::CannotCreate);
    let mut running = Task::running(STEERABLE);
    assert_accepted(&running.send(bare("b")), Accepted::Queued, "b");
}

#[test]
fn an_id_of_another_definition_is_told() {
    for (state, task) in Task::in_every_state(STEERABLE) {
        let other = NewInput {
            def: DefNumber(2),
            ..input("a")
        };
        let told = task.refuses_input(other);
        assert_eq!(told, Rejected::OtherDefinition { def: DEF }, "{state}");
    }
}

#[test]
fn a_known_input_id_attaches_in_every_state() {
    for limits in [PLAIN, STEERABLE] {
        for (state, mut task) in Task::in_every_state(limits) {
            let before = task.clone();
            assert_accepted(&task.send(input("a")), Accepted::Attached, "a");
            assert_nothing_changed(&before, &task, state);
        }
    }
}

#[test]
fn each_input_ever_accepted_attaches_by_its_id() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.send(input("c"));
    assert_accepted(&task.send(input("b")), Accepted::Attached, "b");
    task.does(cancel(of("c"), "changed my mind"));
    task.end(succeeded("1"));
    task.send(input("d"));
    task.end(failed(true));
    for text in ["a", "b", "c", "d"] {
        let again = with(OnConflict::Restart, text);
        assert_accepted(&task.send(again), Accepted::Attached, text);
    }
}

#[test]
fn an_input_that_attaches_by_its_id_needs_no_precondition() {
    let mut task = Task::running(STEERABLE);
    let etag = task.row().etag;
    task.send(input("b"));
    let again = NewInput {
        if_etag: Some(etag),
        after: Some(id("a")),
        ..input("b")
    };
    assert_accepted(&task.send(again), Accepted::Attached, "b");
}

#[test]
fn a_restarted_batch_attaches_by_equal_bytes() {
    for (state, mut task) in Task::in_every_state(PLAIN) {
        let open = matches!(Status::of(task.row()), Status::Pending | Status::InProgress);
        if open {
            let transition = task.send(anonymous("a"));
            assert_accepted(&transition, Accepted::Attached, "a");
            let (status, wait) = conflict(&task);
            let told = task.refuses_input(anonymous("b"));
            assert_eq!(told, task.conflict(status, wait), "{state}");
        }
    }
}

/// How the task stands, as a conflict says it.
fn conflict(task: &Task) -> (Status, Option<WaitReason>) {
    let row = task.row();
    let wait = match &row.state {
        State::Pending { wait, .. } | State::Suspended { wait, .. } => Some(wait.clone()),
        State::InProgress { .. } | State::Completed { .. } => None,
    };
    (Status::of(row), wait)
}

#[test]
fn equal_bytes_are_a_new_input_where_they_may_be_meant_as_one() {
    let mut steerable = Task::running(STEERABLE);
    let transition = steerable.send(anonymous("a"));
    assert_accepted(&transition, Accepted::Queued, "generated");
    let given = NewInput {
        input_id: id("other"),
        ..input("a")
    };
    let (status, wait) = (Status::InProgress, None);
    let running = Task::running(PLAIN);
    let told = running.refuses_input(given);
    assert_eq!(told, running.conflict(status, wait));
    let mut waiting = Task::ended(PLAIN, suspended("1"));
    let transition = waiting.send(anonymous("a"));
    assert_accepted(&transition, Accepted::Resumed, "generated");
    // Now it runs its second turn, with the same bytes as the first.
    let again = NewInput {
        input_id: id("generated-again"),
        ..anonymous("a")
    };
    let (status, wait) = (Status::InProgress, None);
    let told = waiting.refuses_input(again);
    assert_eq!(told, waiting.conflict(status, wait));
}

#[test]
fn another_input_conflicts_with_a_task_that_is_not_steerable_unless_it_waits_for_one() {
    for (state, task) in Task::in_every_state(PLAIN) {
        let (status, wait) = conflict(&task);
        if matches!(wait, Some(WaitReason::Input { .. })) {
            continue;
        }
        let told = task.refuses_input(input("b"));
        assert_eq!(told, task.conflict(status, wait), "{state}");
    }
}

#[test]
fn an_ended_task_takes_no_input() {
    for (state, task) in Task::in_every_state(STEERABLE) {
        let (status, wait) = conflict(&task);
        if status == Status::Completed {
            let told = task.refuses_input(input("b"));
            assert_eq!(told, task.conflict(status, wait), "{state}");
        }
    }
}

#[test]
fn an_input_resumes_a_task_that_waits_for_one_in_one_commit() {
    for limits in [PLAIN, STEERABLE] {
        let mut task = Task::ended(limits, suspended("1"));
        let etag = task.row().etag;
        let transition = task.send(input("b"));
        assert_accepted(&transition, Accepted::Resumed, "b");
        assert_eq!(transition.expect, Expect::Etag(etag));
        assert_eq!(transition.effects[..], [enters(3)]);
        let row = task.row();
        assert_eq!(
            (row.turn, row.attempt, row.entry),
            (2, 1, EntryKind::Resumed)
        );
        assert!(!row.steered, "it did not come from a queue");
        assert_eq!(row.input_id, id("b"));
    }
}

#[test]
fn a_resumed_task_without_a_slot_is_due_at_once() {
    let mut task = Task::ended(PLAIN, suspended("1"));
    let at = Micros(10_000);
    let transition = task.send(NewInput {
        claimant: None,
        ..input("b")
    });
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    assert_eq!((task.row().turn, task.row().attempt), (2, 0));
}

#[test]
fn a_restart_begins_a_further_run_and_keeps_the_old_outcome() {
    for end in [succeeded("1"), failed(true)] {
        let mut task = Task::ended(STEERABLE, end);
        let State::Completed { outcome, .. } = task.row().state.clone() else {
            panic!("not ended")
        };
        let transition = task.send(with(OnConflict::Restart, "b"));
        assert_accepted(&transition, Accepted::Restarted, "b");
        assert_eq!(transition.effects[..], [enters(3)]);
        let row = task.row();
        assert_eq!((row.run, row.turn, row.turns_total), (2, 1, 2));
        assert_eq!((row.attempt, row.entry), (1, EntryKind::Fresh));
        assert_eq!((&row.input_id, &row.previous), (&id("b"), &None));
        let run = &task.held.runs[0];
        assert_eq!((run.run, run.turns, run.last_total), (1, 1, 1));
        assert_eq!(run.outcome, outcome);
    }
}

#[test]
fn a_restart_brings_the_options_of_its_run_and_leaves_the_turns_where_they_are() {
    let mut task = Task::ended(PLAIN, succeeded("1"));
    let keep = Keep::Forever;
    let options = OptionsRow {
        keep,
        keep_turns: 9,
        ..OPTIONS
    };
    let priority = Priority::new(1);
    task.send(NewInput {
        options: options.into(),
        priority,
        ..with(OnConflict::Restart, "b")
    });
    let row = task.row();
    assert_eq!((row.options.keep, row.priority), (keep, priority));
    assert_eq!(row.options.keep_turns, OPTIONS.keep_turns);
    task.end(succeeded("2"));
    let State::Completed { expires_at, .. } = task.row().state else {
        panic!("not ended")
    };
    assert_eq!(expires_at, Micros::NEVER);
}

#[test]
fn a_restart_may_be_delayed() {
    let mut task = Task::ended(PLAIN, succeeded("1"));
    let at = Micros(20_000);
    let transition = task.send(NewInput {
        start_at: Some(Deadline::own(at)),
        ..with(OnConflict::Restart, "b")
    });
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    assert_eq!((task.row().run, task.row().attempt), (2, 0));
}

#[test]
fn a_restart_forgets_that_the_last_run_was_a_chain() {
    let mut task = Task::ended(PLAIN, suspended("1"));
    task.send(input("b"));
    task.end(succeeded("2"));
    assert!(task.row().chained);
    task.send(with(OnConflict::Restart, "c"));
    assert!(!task.row().chained);
}

#[test]
fn a_restart_is_refused_like_any_input_while_the_task_goes_on() {
    for (state, task) in Task::in_every_state(PLAIN) {
        let (status, wait) = conflict(&task);
        if status == Status::Completed || matches!(wait, Some(WaitReason::Input { .. })) {
            continue;
        }
        let told = task.refuses_input(with(OnConflict::Restart, "b"));
        assert_eq!(told, task.conflict(status, wait), "{state}");
    }
}

#[test]
fn an_input_that_would_attach_answers_for_the_tasks_own_where_the_state_refuses_it() {
    for (state, mut task) in Task::in_every_state(PLAIN) {
        let before = task.clone();
        let (_, wait) = conflict(&task);
        let transition = task.send(with(OnConflict::Attach, "b"));
        if matches!(wait, Some(WaitReason::Input { .. })) {
            assert_accepted(&transition, Accepted::Resumed, "b");
            continue;
        }
        assert_accepted(&transition, Accepted::Attached, "a");
        assert_nothing_changed(&before, &task, state);
    }
    let mut steerable = Task::running(STEERABLE);
    let transition = steerable.send(with(OnConflict::Attach, "b"));
    assert_accepted(&transition, Accepted::Queued, "b");
}

#[test]
fn an_input_after_another_is_taken_only_if_that_is_the_last_accepted() {
    let after = |text: &str, last: &str| NewInput {
        after: Some(id(last)),
        ..input(text)
    };
    let mut task = Task::running(STEERABLE);
    task.send(after("b", "a"));
    let told = task.refuses_input(after("c", "a"));
    let (etag, last_input_id) = (Some(task.row().etag), Some(id("b")));
    let refused = Rejected::PreconditionFailed {
        etag,
        last_input_id,
    };
    assert_eq!(told, refused);
    task.end(succeeded("1"));
    task.end(suspended("2"));
    // The last accepted one is the turn's own now, whether its turn is over or not.
    assert_accepted(&task.send(after("c", "b")), Accepted::Resumed, "c");
    task.end(succeeded("3"));
    let restart = NewInput {
        on_conflict: OnConflict::Restart,
        ..after("d", "b")
    };
    assert!(matches!(
        task.refuses_input(restart),
        Rejected::PreconditionFailed { .. }
    ));
}

#[test]
fn nothing_comes_after_an_input_of_a_task_that_is_not_there() {
    let none = Task::none(PLAIN);
    let conditions = [(Some(id("x")), None), (None, Some(1))];
    for (after, etag) in conditions {
        let told = none.refuses_input(NewInput {
            after,
            if_etag: etag.map(outlive_storage::row::Etag),
            ..input("a")
        });
        let refused = Rejected::PreconditionFailed {
            etag: None,
            last_input_id: None,
        };
        assert_eq!(told, refused);
    }
}

#[test]
fn an_input_decided_on_another_version_of_the_task_is_refused() {
    for (state, mut task) in Task::in_every_state(STEERABLE) {
        let etag = task.row().etag;
        let seen = |etag: u64| NewInput {
            if_etag: Some(outlive_storage::row::Etag(etag)),
            on_conflict: OnConflict::Restart,
            ..input("b")
        };
        for other in [etag.0 - 1, etag.0 + 1] {
            let told = task.refuses_input(seen(other));
            let known = Rejected::PreconditionFailed {
                etag: Some(etag),
                last_input_id: Some(id("a")),
            };
            assert_eq!(told, known, "{state}");
        }
        let Answer::Accepted { named, .. } = task.send(seen(etag.0)).answer else {
            panic!("{state}: not accepted")
        };
        assert_eq!(named.input_id, id("b"), "{state}");
    }
}

#[test]
fn a_park_is_no_end_and_an_end_is_kept_as_long_as_its_options_say() {
    let parked = Task::ended(PLAIN, undecodable());
    assert_eq!(Status::of(parked.row()), Status::Suspended);
    let ended = Task::ended(PLAIN, succeeded("1"));
    let State::Completed {
        outcome,
        expires_at,
        at,
    } = &ended.row().state
    else {
        panic!("not ended")
    };
    assert!(matches!(outcome, Outcome::Succeeded(_)));
    assert_eq!(*expires_at, at.plus(KEEP_US));
}
