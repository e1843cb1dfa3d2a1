//! How a turn comes to run: claimed, recovered, orphaned; and that a worker which lost it changes nothing.

use super::enters;
use super::task::{
    PLAIN, STEERABLE, Task, died, every_end, failed, input, orphan, recover, succeeded, suspended,
    us,
};
use crate::machine::{Event, Overdue, Parting, Rejected, Status, Verdict};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    Deadline, EntryKind, Etag, EventKind, Generation, Micros, State, TaskRow, WaitReason,
};

#[test]
fn a_recovery_is_counted_apart_and_not_charged() {
    let mut task = Task::running(PLAIN);
    let began = task.started_at();
    task.at += 500;
    let transition = task.does(died(2));
    assert_eq!(transition.effects[..], [enters(2)]);
    assert_eq!(transition.expect, Expect::Etag(Etag(1)));
    let row = task.row();
    assert_eq!((row.attempt, row.crashes), (1, 1));
    assert_eq!(row.entry, EntryKind::Recovered);
    let State::InProgress { lease, .. } = &row.state else {
        panic!("not running")
    };
    assert_eq!(lease.instance, 2);
    assert_eq!(task.started_at(), began, "a crash does not move it");
}

#[test]
fn a_stop_in_order_is_no_crash() {
    let mut task = Task::running(PLAIN);
    task.does(recover(2, Parting::Stopped, Verdict::Count));
    assert_eq!((task.row().attempt, task.row().crashes), (1, 0));
    task.does(orphan(3, Parting::Stopped));
    assert_eq!((task.row().attempt, task.row().crashes), (1, 0));
}

#[test]
fn a_process_never_takes_over_its_own_turn() {
    let task = Task::running(PLAIN);
    let status = Status::InProgress;
    for event in [died(1), orphan(1, Parting::Died)] {
        assert_eq!(task.refuses(event), Rejected::WrongState { status });
    }
}

#[test]
fn an_orphan_waits_for_its_handler_and_its_claim_is_not_charged() {
    let mut task = Task::running(PLAIN);
    let transition = task.does(orphan(2, Parting::Died));
    assert_eq!(transition.what, Some(EventKind::Orphaned));
    assert!(transition.effects.is_empty(), "there is nobody to wake");
    let (due_at, wait) = (
        Deadline::at_once(Micros(10_000)),
        WaitReason::WaitingHandler,
    );
    assert_eq!(task.row().state, State::Pending { due_at, wait });
    task.does(Event::Claim(us(3)));
    let row = task.row();
    assert_eq!((row.attempt, row.crashes), (1, 1));
    assert_eq!(row.entry, EntryKind::Recovered);
}

#[test]
fn a_recovered_turn_that_fails_has_used_one_attempt() {
    let mut task = Task::running(PLAIN);
    task.does(died(2));
    task.end(failed(false));
    task.at += 100;
    task.does(Event::Claim(us(2)));
    assert_eq!((task.row().attempt, task.row().crashes), (2, 1));
    assert_eq!(task.row().entry, EntryKind::Retried);
}

#[test]
fn a_recovered_turn_that_was_steered_is_both() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.end(succeeded("1"));
    task.does(died(2));
    let row = task.row();
    assert_eq!((row.entry, row.steered), (EntryKind::Recovered, true));
}

#[test]
fn every_claim_and_every_fence_takes_a_generation_of_its_own() {
    let mut task = Task::running(STEERABLE);
    let mut last = task.row().generation;
    let mut grows = |task: &Task| {
        let taken = task.row().generation > last;
        last = task.row().generation;
        taken
    };
    task.does(died(2));
    assert!(grows(&task), "a recovery");
    task.send(input("b"));
    task.end(succeeded("1"));
    assert!(grows(&task), "the next turn");
    task.end(failed(false));
    task.at += 100;
    task.does(Event::Claim(us(1)));
    assert!(grows(&task), "a claim");
    task.end(suspended("2"));
    task.send(input("c"));
    assert!(grows(&task), "a resumption");
    task.does(super::task::terminate(crate::machine::Aim::Task));
    assert!(grows(&task), "a termination");
    task.does(super::task::retry());
    assert!(grows(&task), "a retry");
    task.end(succeeded("3"));
    assert!(!grows(&task), "an end needs none");
}

#[test]
fn a_stale_worker_changes_nothing_in_any_state() {
    let mut tasks: Vec<Task> = Task::in_every_state(STEERABLE)
        .into_iter()
        .map(|(_, task)| task)
        .collect();
    let mut in_its_next_turn = Task::running(STEERABLE);
    in_its_next_turn.send(input("b"));
    in_its_next_turn.end(succeeded("1"));
    tasks.extend([in_its_next_turn, Task::after(STEERABLE, died(2))]);
    for task in tasks {
        let generation = match &task.row().state {
            State::InProgress { lease, .. } => Generation(lease.generation.0 - 1),
            State::Pending { .. } | State::Suspended { .. } | State::Completed { .. } => {
                task.row().generation
            }
        };
        for end in every_end() {
            let claimant = us(1);
            let stale = Event::End {
                generation,
                end,
                claimant,
                missed: Vec::new(),
            };
            assert_eq!(task.refuses(stale), Rejected::LeaseLost);
        }
        for why in [Overdue::TimedOut, Overdue::CancelIgnored] {
            let stale = Event::Stop { generation, why };
            assert_eq!(task.refuses(stale), Rejected::LeaseLost);
        }
        let stale = Event::Keep { generation };
        assert_eq!(task.refuses(stale), Rejected::LeaseLost);
    }
}

#[test]
fn what_a_turn_keeps_beside_its_row_names_its_claim_and_moves_no_etag() {
    let mut task = Task::running(STEERABLE);
    let before = task.clone();
    let generation = Generation(1);
    let transition = task.does(Event::Keep { generation });
    assert_eq!(transition.expect, Expect::Lease(generation));
    assert!(transition.row.is_none() && transition.what.is_none());
    super::assert_nothing_changed(&before, &task, "the row");
}

#[test]
fn the_timeline_keeps_the_latest_transitions_in_their_order() {
    let mut task = Task::running(STEERABLE);
    for process in 2..30 {
        task.at += 1;
        task.does(recover(process, Parting::Stopped, Verdict::Count));
        task.send(input(&format!("i{process}")));
        task.does(super::task::cancel(
            super::task::of(&format!("i{process}")),
            "no",
        ));
    }
    let marks = &task.row().timeline;
    assert_eq!(marks.len(), TaskRow::MARKS_MAX);
    assert!(marks.is_sorted_by_key(|mark| mark.at));
    let latest: Vec<EventKind> = marks.iter().rev().take(3).map(|mark| mark.what).collect();
    let expected = [
        EventKind::InputWithdrawn,
        EventKind::InputQueued,
        EventKind::Recovered,
    ];
    assert_eq!(latest, expected);
}

#[test]
fn a_transition_of_one_commit_writes_its_row_once() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    let transition = task.end(succeeded("1"));
    let rows = transition
        .writes
        .iter()
        .filter(|write| matches!(write, Write::Row(_) | Write::Event(_)));
    assert_eq!(rows.count(), 0, "the writer adds the row and its line");
    assert!(transition.row.is_some() && transition.what.is_some());
}
