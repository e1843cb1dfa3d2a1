//! Rows and commits the promises are tried with.

use crate::commit::{Applied, Commit, Conflict, Expect, Write};
use crate::id::{InputId, TaskId};
use crate::row::{
    AskRow, BackOff, Deadline, DefNumber, Delivery, EntryKind, Etag, EventKind, EventRow, Facts,
    Generation, Guard, GuardPhase, InputRow, Keep, Lease, LifeRow, Micros, OptionsRow, Outcome,
    Payload, Priority, RetryRow, RunRow, SegmentRow, State, StepRow, StepState, StreamEntry,
    TaskNumber, TaskRow, Timeline, TurnResult, TurnRow, WaitReason,
};
use crate::store::Store;
use std::sync::Arc;

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
        turns_total: 1,
        attempt: 0,
        crashes: 0,
        guard: Guard::CLEAR,
        entry: EntryKind::Fresh,
        steered: false,
        chained: false,
        input_id: input_id("first"),
        input_seq: 0,
        inputs_accepted: 1,
        inputs_waiting: 0,
        inputs_taken: 0,
        last_input_id: None,
        input_digest: [7; 16],
        input: Payload::Inline(b"{\"a\":1}".to_vec()),
        steps_of: 1,
        previous: None,
        options: options().into(),
        cancel: None,
        deadline: Deadline::NEVER,
        time_left_us: None,
        asked: false,
        parent: None,
        has_children: false,
        last_failure: None,
        facts: Arc::new(Facts {
            owner: "owner".into(),
            server_version: "1.2.3".into(),
            ..Facts::default()
        }),
        created_at: Micros(10),
        updated_at: Micros(10),
        timeline: Timeline::default(),
        state: State::Pending {
            due_at: Deadline::own(Micros(100)),
            wait: WaitReason::Slot,
        },
    }
}

fn options() -> OptionsRow {
    OptionsRow {
        retry: RetryRow {
            attempts_max: 3,
            initial_us: 1_000,
            max_us: 60_000,
            back_off: BackOff::Exponential { factor_milli: 2000 },
            jitter: true,
        },
        timeout_us: u64::MAX,
        grace_us: 5_000_000,
        cancel_grace_us: u64::MAX,
        keep: Keep::Forever,
        keep_turns: 20,
        keep_alive_on_failure: false,
        keep_items: None,
    }
}

/// A task as its start leaves it, listed under labels.
pub(crate) fn labelled(number: u64, id: &str, labels: &[&str]) -> TaskRow {
    let mut row = pending(number, id);
    let labels = labels.iter().map(|label| Box::from(*label));
    Arc::make_mut(&mut row.facts).labels = labels.collect();
    row
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
        woken: false,
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

/// Suspected of killing its process.
pub(crate) fn isolated() -> State {
    State::Pending {
        due_at: Deadline::own(Micros(100)),
        wait: WaitReason::Isolated { deaths: 2 },
    }
}

/// The turn of this number over all runs, ended with a few bytes.
pub(crate) fn turn_row(total: u64) -> TurnRow {
    TurnRow {
        run: 1,
        turn: total as u32,
        total,
        input_id: input_id("first"),
        result: TurnResult::Replied {
            output: Payload::Inline(total.to_string().into_bytes()),
            suspended: Some("waits".into()),
            superseded: false,
        },
        ended_at: Micros(300),
    }
}

/// A recorded step with this result.
pub(crate) fn step_row(value: &str) -> StepRow {
    StepRow {
        state: StepState::Done,
        attempt: 2,
        at: Micros(300),
        type_name: "alloc::string::String".into(),
        value: value.as_bytes().to_vec(),
    }
}

/// An open question with this text.
pub(crate) fn ask_row(text: &str) -> AskRow {
    AskRow {
        question: format!("\"{text}\"").into_bytes(),
        schema: Some(b"{\"enum\":[true,false]}".to_vec()),
        default: Some(b"false".to_vec()),
        digest: [9; 16],
        type_name: "bool".into(),
        asked_at: Micros(200),
        deadline: Deadline::wall(Micros(900)),
        run: 1,
        turn: 2,
    }
}

/// The run of this number, ended well.
pub(crate) fn run_row(run: u32) -> RunRow {
    RunRow {
        run,
        turns: 2,
        outcome: Outcome::Succeeded(Payload::Stored { len: 5000, crc: 0 }),
        last_failure: None,
        last_total: u64::from(run) * 2,
        ended_at: Micros(300),
    }
}

/// A segment of so many entries, as written by the claim of the number of its first.
pub(crate) fn segment(first: u64, entries: u64) -> SegmentRow {
    let entry = |sequence: u64| match sequence % 3 {
        0 => StreamEntry::Reset {
            step: None,
            all: false,
        },
        1 => StreamEntry::Item {
            step: None,
            bytes: sequence.to_string().into_bytes(),
        },
        _ => StreamEntry::Item {
            step: Some("fetch".into()),
            bytes: b"[1,2]".to_vec(),
        },
    };
    SegmentRow {
        run: 1,
        turn: 2,
        attempt: 3,
        generation: Generation(first),
        input_seq: 4,
        at: Micros(300),
        entries: (first..first + entries).map(entry).collect(),
    }
}

/// The event that gave a task this etag, at this moment.
pub(crate) fn event(etag: u64, task: u64, at: u64) -> EventRow {
    EventRow {
        etag: Etag(etag),
        task: TaskNumber(task),
        id: task_id("a"),
        def: DefNumber(1),
        at: Micros(at),
        kind: EventKind::Claimed,
        run: 1,
        turn: 1,
        attempt: 2,
        generation: Generation(3),
    }
}

/// The life of an instance that was opened at this moment and is not stopped.
pub(crate) fn life(instance: u128, opened_at: u64) -> LifeRow {
    LifeRow {
        instance,
        opened_at: Micros(opened_at),
        phase: GuardPhase::Control,
        stopped_at: None,
    }
}

/// An input with a few bytes.
pub(crate) fn input(id: &str) -> InputRow {
    InputRow {
        input_id: input_id(id),
        digest: [3; 16],
        payload: Payload::Inline(id.as_bytes().to_vec()),
        accepted_at: Micros(50),
        delivery: Delivery::Interrupt,
        taken: None,
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
    Write::Row(Arc::new(row.clone()))
}

/// The start of a task whose number is its etag.
pub(crate) fn start(row: &TaskRow) -> Commit {
    commit(row.etag.0, Expect::Absent, vec![put(row)])
}

/// A commit of everybody but the turn, decided on `etag`.
pub(crate) fn by_etag(task: u64, etag: u64, row: &TaskRow) -> Commit {
    commit(task, Expect::Etag(Etag(etag)), vec![put(row)])
}

/// The removal of a task, decided on `etag`.
pub(crate) fn removal(task: u64, etag: u64) -> Commit {
    commit(task, Expect::Etag(Etag(etag)), vec![Write::RemoveTask])
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

/// Applies writes to a task whose etag is its number.
#[track_caller]
pub(crate) fn written(store: &impl Store, task: u64, writes: Vec<Write>) {
    let commit = commit(task, Expect::Etag(Etag(task)), writes);
    one(store, commit).expect("the writes are accepted");
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
