//! Rows and commits the promises are tried with.

use crate::commit::{Applied, Commit, Conflict, Expect, Write};
use crate::id::{InputId, TaskId};
use crate::row::{
    BackOff, DefNumber, EntryKind, Etag, Generation, InputRow, Lease, Micros, Outcome, Payload,
    Priority, RetryRow, State, TaskNumber, TaskRow, WaitReason,
};
use crate::store::Store;

pub(crate) fn task_id(id: &str) -> TaskId {
    TaskId::new(id).expect("a good id")
}

pub(crate) fn input_id(id: &str) -> InputId {
    InputId::new(id).expect("a good id")
}

/// A task as its start leaves it: due at 100, definition 1.
pub(crate) fn pending(number: u64, id: &str) -> TaskRow {
    TaskRow {
        etag: Etag(number),
        generation: Generation(0),
        id: task_id(id),
        def: DefNumber(1),
        priority: Priority::NORMAL,
        run: 1,
        turn: 1,
        attempt: 0,
        crashes: 0,
        entry: EntryKind::Fresh,
        input_id: input_id("first"),
        input_seq: 0,
        inputs_accepted: 1,
        input_digest: [7; 16],
        input: Payload::Inline(b"{\"a\":1}".to_vec()),
        retry: RetryRow {
            attempts_max: 3,
            initial_us: 1_000,
            max_us: 60_000,
            back_off: BackOff::Exponential { factor_milli: 2000 },
            jitter: true,
        },
        keep_us: u64::MAX,
        last_failure: None,
        owner: "owner".into(),
        created_at: Micros(10),
        updated_at: Micros(10),
        state: State::Pending {
            due_at: Micros(100),
            wait: WaitReason::Slot,
        },
    }
}

/// The same task under a claim.
pub(crate) fn running(row: &TaskRow, etag: u64, generation: u64) -> TaskRow {
    let lease = Lease {
        owner: "owner".into(),
        instance: 5,
        generation: Generation(generation),
        expires_at: Micros::NEVER,
    };
    let mut row = row.clone();
    row.etag = Etag(etag);
    row.generation = Generation(generation);
    row.attempt += 1;
    row.state = State::InProgress {
        lease,
        started_at: Micros(200),
    };
    row
}

/// The same task with another etag, in another state.
pub(crate) fn moved(row: &TaskRow, etag: u64, state: State) -> TaskRow {
    TaskRow {
        etag: Etag(etag),
        state,
        ..row.clone()
    }
}

/// Ended well, kept until a moment.
pub(crate) fn ended(expires_at: Micros) -> State {
    let outcome = Outcome::Succeeded(Payload::Inline(b"true".to_vec()));
    State::Completed {
        at: Micros(300),
        outcome,
        expires_at,
    }
}

/// Waits for a program that can read its input.
pub(crate) fn undecodable() -> State {
    let wait = WaitReason::Undecodable {
        what: "input".into(),
        expected: "u64".into(),
    };
    State::Suspended {
        since: Micros(300),
        wait,
    }
}

/// An input with a few bytes.
pub(crate) fn input(id: &str) -> InputRow {
    InputRow {
        input_id: input_id(id),
        digest: [3; 16],
        payload: Payload::Inline(id.as_bytes().to_vec()),
        accepted_at: Micros(50),
    }
}

pub(crate) fn commit(task: u64, expect: Expect, writes: Vec<Write>) -> Commit {
    Commit {
        task: TaskNumber(task),
        expect,
        writes,
    }
}

pub(crate) fn put(row: &TaskRow) -> Write {
    Write::Row(Box::new(row.clone()))
}

/// The start of a task whose number is its etag.
pub(crate) fn start(row: &TaskRow) -> Commit {
    commit(row.etag.0, Expect::Absent, vec![put(row)])
}

/// A commit of everybody but the turn, decided on `etag`.
pub(crate) fn by_etag(task: u64, etag: u64, row: &TaskRow) -> Commit {
    commit(task, Expect::Etag(Etag(etag)), vec![put(row)])
}

/// Applies one commit.
#[track_caller]
pub(crate) fn one(store: &impl Store, commit: Commit) -> Result<Applied, Conflict> {
    let mut answers = store.commit(&[commit]).expect("the batch is applied");
    assert_eq!(answers.len(), 1, "one commit, one answer");
    answers.remove(0)
}

/// Starts a task.
#[track_caller]
pub(crate) fn started(store: &impl Store, number: u64, id: &str) -> TaskRow {
    let row = pending(number, id);
    one(store, start(&row)).expect("the start is accepted");
    row
}

/// Starts and claims a task: its etag becomes `number + 1`, its generation `number`.
#[track_caller]
pub(crate) fn claimed(store: &impl Store, number: u64, id: &str) -> TaskRow {
    let row = running(&started(store, number, id), number + 1, number);
    one(store, by_etag(number, number, &row)).expect("the claim is accepted");
    row
}

/// The row of a task.
#[track_caller]
pub(crate) fn get(store: &impl Store, task: u64) -> Option<TaskRow> {
    store.get(TaskNumber(task)).expect("the row is read")
}

/// The conflict a refused commit gives for a row that is there.
pub(crate) fn found(task: u64, row: &TaskRow) -> Result<Applied, Conflict> {
    Err(Conflict {
        task: TaskNumber(task),
        found: Ok(Some(Box::new(row.clone()))),
    })
}
