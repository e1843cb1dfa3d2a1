//! After an end or a wait: another run, a resumption without an input, removal.

use super::task::{
    DEF, KEEP_US, OPTIONS, PLAIN, STEERABLE, Task, cancel, delete, failed, id, input, large, of,
    resume, retry, succeeded, suspended, terminate, us,
};
use super::{answered, assert_accepted, assert_nothing_changed};
use crate::machine::{Accepted, Aim, Effect, Event, NewInput, Rejected, Status, TurnEnd};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    EntryKind, EventKind, Generation, Guard, Keep, Micros, OptionsRow, Outcome, Receipt, State,
    TurnResult, WaitReason,
};

fn waits_for_input(task: &Task) -> bool {
    matches!(
        task.row().state,
        State::Suspended {
            wait: WaitReason::Input { .. },
            ..
        }
    )
}

fn forget(task: &Task, text: &str) -> Event {
    Event::ForgetInput {
        input_id: id(text),
        listed_at: task.listed(text).unwrap_or(Micros(1)),
    }
}

#[test]
fn a_retry_after_an_end_opens_a_further_run_with_the_same_input_and_a_clean_record() {
    let mut late = Task::timed(STEERABLE, 50);
    late.at += 60;
    late.does(Event::Stop {
        generation: Generation(1),
        why: crate::machine::Overdue::TimedOut,
    });
    let ended = [
        Task::ended(STEERABLE, failed(true)),
        Task::ended(STEERABLE, TurnEnd::Cancelled),
        Task::after(STEERABLE, terminate(Aim::Task)),
        late,
    ];
    for mut task in ended {
        task.at += 1;
        let etag = task.row().etag;
        let State::Completed { outcome, .. } = task.row().state.clone() else {
            panic!("not ended")
        };
        let transition = task.does(retry());
        assert_accepted(&transition, Accepted::Restarted, "a");
        assert_eq!(transition.expect, Expect::Etag(etag));
        assert_eq!(transition.what, Some(EventKind::RetriedAfterEnd));
        let row = task.row();
        assert_eq!((row.run, row.turn, row.turns_total), (2, 1, 2));
        assert_eq!((row.attempt, row.crashes, row.guard), (1, 0, Guard::CLEAR));
        assert_eq!((&row.cancel, &row.last_failure), (&None, &None));
        assert_eq!((row.entry, &row.input_id), (EntryKind::Resumed, &id("a")));
        assert!(row.deadline.at == Micros::NEVER || row.deadline.at == Micros(task.at + 50));
        let kept = &task.held.runs[0];
        assert_eq!((kept.run, &kept.outcome), (1, &outcome));
    }
}

#[test]
fn a_retry_without_a_slot_is_due_at_once() {
    let mut task = Task::ended(PLAIN, failed(true));
    let at = Micros(10_000);
    let transition = task.does(Event::Retry {
        if_etag: None,
        from_start: false,
        claimant: None,
    });
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    assert_eq!(task.row().attempt, 0);
}

#[test]
fn what_succeeded_runs_or_waits_by_itself_is_not_retried() {
    let released = ["failed", "cancelled", "terminated"];
    let parked = ["isolated", "undecodable", "quarantined"];
    for (state, task) in Task::in_every_state(STEERABLE) {
        if released.contains(&state) || parked.contains(&state) {
            continue;
        }
        let told = task.refuses(retry());
        let is = Status::of(task.row());
        assert!(
            matches!(told, Rejected::Conflict { status, .. } if status == is),
            "{state}: {told:?}"
        );
    }
}

#[test]
fn a_retry_releases_what_is_held_back_with_a_clear_record() {
    let mut tasks = vec![Task::isolated(STEERABLE), Task::quarantined(STEERABLE)];
    tasks.push(Task::ended(STEERABLE, super::task::undecodable()));
    for mut task in tasks {
        let transition = task.does(retry());
        assert_accepted(&transition, Accepted::Restarted, "a");
        let at = Micros(10_000);
        assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
        assert_eq!((task.row().run, task.row().guard), (1, Guard::CLEAR));
        task.does(Event::Claim(us(1)));
        assert_eq!(task.row().attempt, 1, "only the death is not charged");
    }
}

#[test]
fn a_retried_chain_is_still_a_chain_and_knows_the_input_before() {
    let mut task = Task::ended(PLAIN, suspended("1"));
    task.send(input("b"));
    task.end(failed(true));
    task.does(retry());
    assert!(task.row().chained);
    let previous = task.row().previous.as_ref().expect("the turn before");
    assert_eq!((previous.seq, task.row().input_seq), (0, 1));
}

#[test]
fn a_task_that_waits_for_an_input_goes_on_without_one() {
    let mut task = Task::running(PLAIN);
    task.end(suspended("1"));
    let etag = task.row().etag;
    let transition = task.does(resume("again"));
    assert_accepted(&transition, Accepted::Resumed, "again");
    assert_eq!(transition.expect, Expect::Etag(etag));
    let row = task.row();
    assert_eq!(
        (row.turn, row.attempt, row.entry),
        (2, 1, EntryKind::Resumed)
    );
    assert_eq!((&row.input_id, row.inputs_accepted), (&id("again"), 2));
    let first = super::task::input("a");
    assert_eq!(
        (&row.input, row.input_digest),
        (&first.payload, first.digest)
    );
}

#[test]
fn only_a_task_that_waits_for_an_input_is_resumed() {
    for (state, task) in Task::in_every_state(STEERABLE) {
        if waits_for_input(&task) {
            continue;
        }
        let told = task.refuses(resume("again"));
        let is = Status::of(task.row());
        assert!(
            matches!(told, Rejected::Conflict { status, .. } if status == is),
            "{state}: {told:?}"
        );
    }
}

#[test]
fn what_runs_is_deleted_only_by_force() {
    let task = Task::running(STEERABLE);
    let (status, wait) = (Status::InProgress, None);
    let told = task.refuses(delete(false));
    assert_eq!(told, task.conflict(status, wait));
}

#[test]
fn a_deleted_task_leaves_nothing_and_its_callers_are_told() {
    for (state, mut task) in Task::in_every_state(STEERABLE) {
        let open = match Status::of(task.row()) {
            Status::Pending | Status::InProgress => true,
            Status::Suspended => !waits_for_input(&task),
            Status::Completed => false,
        };
        if open {
            task.send(large("b"));
        }
        let (etag, turn) = (task.row().etag, task.row().turn);
        let runs = Status::of(task.row()) == Status::InProgress;
        let transition = task.does(delete(true));
        assert_eq!(transition.expect, Expect::Etag(etag), "{state}");
        assert_eq!(transition.what, Some(EventKind::Removed), "{state}");
        let mut effects = Vec::new();
        effects.extend(runs.then_some(Effect::Fence(None)));
        let reason = "the task was deleted".into();
        let output = None;
        let gone = TurnResult::Ended(Outcome::Cancelled { reason, output });
        effects.extend(open.then(|| answered("a", turn, gone)));
        effects.push(Effect::TaskEnded);
        assert_eq!(transition.effects[..], effects[..], "{state}");
        assert_eq!(task.held, super::held::Held::default(), "{state}");
        assert_eq!(task.refuses(delete(true)), Rejected::NotFound, "{state}");
    }
}

#[test]
fn the_id_of_a_deleted_task_is_free() {
    let mut task = Task::running(PLAIN);
    task.does(delete(true));
    let transition = task.send(input("a"));
    assert_accepted(&transition, Accepted::Started, "a");
    assert_eq!(task.row().run, 1);
}

#[test]
fn retention_removes_an_ended_task_when_its_time_has_come() {
    let mut task = Task::ended(PLAIN, succeeded("1"));
    task.at += KEEP_US - 1;
    let status = Status::Completed;
    let early = task.refuses(Event::Expire);
    assert_eq!(early, Rejected::WrongState { status });
    task.at += 1;
    let transition = task.does(Event::Expire);
    assert_eq!(transition.writes, [Write::RemoveTask]);
    assert_eq!(transition.effects[..], [], "nobody waits for it any more");
    assert!(task.held.row.is_none());
}

#[test]
fn retention_removes_nothing_that_is_kept_or_goes_on() {
    let forever = OptionsRow {
        keep: Keep::Forever,
        ..OPTIONS
    };
    let mut kept = Task::running_with(PLAIN, forever);
    kept.end(succeeded("1"));
    let mut restarted = Task::ended(PLAIN, failed(true));
    restarted.does(retry());
    let mut tasks = vec![kept, restarted];
    let goes_on = |task: &Task| Status::of(task.row()) != Status::Completed;
    let others = Task::in_every_state(STEERABLE).into_iter();
    tasks.extend(others.map(|(_, task)| task).filter(goes_on));
    for mut task in tasks {
        task.at = u64::MAX - 10;
        let status = Status::of(task.row());
        let told = task.refuses(Event::Expire);
        assert_eq!(told, Rejected::WrongState { status });
    }
}

/// Has worked `a`, `b` and `c`, and runs `d`; two turns are kept whole.
fn fourth_turn() -> Task {
    let mut task = Task::running(STEERABLE);
    for text in ["b", "c", "d"] {
        task.send(input(text));
        task.end(succeeded("x"));
    }
    task
}

#[test]
fn the_receipt_of_an_old_turn_is_forgotten_in_its_time() {
    let mut task = fourth_turn();
    let listed_at = task.listed("a").expect("its turn is over");
    let transition = task.does(forget(&task, "a"));
    let input_id = id("a");
    let write = Write::RemoveReceipt {
        input_id,
        listed_at,
    };
    assert_eq!(transition.writes, [write]);
    assert!(transition.row.is_none() && transition.effects.is_empty());
    assert_eq!(task.receipt("a"), None);
    let told = task.refuses(cancel(of("a"), "enough"));
    assert_eq!(told, Rejected::NotFound);
    let transition = task.send(input("a"));
    assert_accepted(&transition, Accepted::Queued, "a");
}

#[test]
fn the_receipt_of_a_turn_that_is_kept_whole_stays() {
    let mut task = fourth_turn();
    for text in ["c", "d"] {
        let receipt = task.receipt(text).cloned();
        let until = Micros(task.at + super::super::after::KEPT_ON_US);
        let was_listed = task.listed(text).is_some();
        task.does(forget(&task, text));
        assert_eq!(task.receipt(text), receipt.as_ref(), "{text}");
        assert_eq!(task.listed(text), was_listed.then_some(until), "{text}");
    }
}

#[test]
fn the_receipt_of_an_input_that_got_no_turn_is_forgotten_in_its_time() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.send(input("c"));
    task.does(cancel(of("b"), "no"));
    task.does(forget(&task, "c"));
    assert_eq!(task.receipt("c"), Some(&Receipt::Queued { seq: 2 }));
    task.does(forget(&task, "b"));
    assert_eq!(task.receipt("b"), None);
    task.end(failed(true));
    task.does(forget(&task, "c"));
    assert_eq!(task.receipt("c"), None);
}

/// A task that had waited for its second input longer than receipts are kept lost the receipt of its first, and with it
/// the result of a turn that was kept whole.
#[test]
fn a_task_of_one_input_keeps_its_receipt_while_it_waits_for_another() {
    let mut task = Task::running(PLAIN);
    task.end(suspended("1"));
    task.at += KEEP_US;
    task.does(forget(&task, "a"));
    task.send(input("b"));
    assert!(task.receipt("a").is_some());
}

#[test]
fn a_receipt_that_is_not_there_is_forgotten_again() {
    let mut task = fourth_turn();
    let before = task.clone();
    task.does(forget(&task, "x"));
    assert_nothing_changed(&before, &task, "an unknown input");
}

#[test]
fn a_further_run_begins_although_the_slot_is_not_free() {
    let mut task = Task::ended(PLAIN, succeeded("1"));
    task.send(NewInput {
        on_conflict: crate::machine::OnConflict::Restart,
        claimant: None,
        ..input("b")
    });
    assert_eq!(Status::of(task.row()), Status::Pending);
    assert_eq!((task.row().run, task.row().attempt), (2, 0));
}

#[test]
fn the_receipts_of_a_task_that_is_kept_for_ever_are_never_forgotten() {
    let forever = OptionsRow {
        keep: Keep::Forever,
        ..OPTIONS
    };
    let mut task = Task::running_with(STEERABLE, forever);
    task.send(input("b"));
    task.send(input("c"));
    task.does(cancel(of("b"), "no"));
    task.end(succeeded("1"));
    task.end(failed(true));
    for text in ["a", "b", "c"] {
        assert!(task.receipt(text).is_some(), "{text}");
        assert_eq!(task.listed(text), None, "{text}: no time is set for it");
    }
}
