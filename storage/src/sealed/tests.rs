//! What is sealed, where it opens, and what is told where it does not.
#![cfg(all(feature = "seal", feature = "redb"))]

mod at_rest;
mod handed_on;
mod moved;
mod renewed;

use super::{Key, Keys, SealedStore};
use crate::commit::{Commit, Expect, Write};
use crate::conformance::rows::{
    ask_row, commit, input, input_id, one, pending, put, run_row, start, step_row, task_id,
};
use crate::redb::{RedbOptions, RedbStore};
use crate::row::{
    CancelRow, CancelScope, Etag, Failure, FailureKind, Family, Fate, Generation, Micros, Outcome,
    ParentRow, Payload, PreviousInput, Receipt, SegmentRow, State, StreamEntry, TaskNumber,
    TaskRow, TurnResult, TurnRow, ValueKey, ValueKind, WaitReason,
};
use crate::store::{Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// In every part that is the user's, and nowhere else.
const NEEDLE: &str = "correct horse battery staple";

fn old_key() -> Key {
    Key::new([1; 32])
}

fn new_key() -> Key {
    Key::new([2; 32])
}

fn old() -> Arc<Keys> {
    Arc::new(Keys::new(old_key()))
}

fn both() -> Arc<Keys> {
    Arc::new(Keys::new(new_key()).older(old_key()))
}

fn new() -> Arc<Keys> {
    Arc::new(Keys::new(new_key()))
}

fn file(path: &Path) -> Arc<RedbStore> {
    Arc::new(RedbStore::open(path, RedbOptions::default(), 1, 0).unwrap())
}

#[track_caller]
fn sealed(path: &Path, keys: Arc<Keys>) -> SealedStore {
    SealedStore::open(file(path), keys).unwrap()
}

fn json(name: &str) -> Vec<u8> {
    format!("\"{name}: {NEEDLE}\"").into_bytes()
}

fn text(name: &str) -> Box<str> {
    format!("{name}: {NEEDLE}").into()
}

fn inline(name: &str) -> Payload {
    Payload::Inline(json(name))
}

fn failure(name: &str) -> Failure {
    Failure {
        kind: FailureKind::Error,
        message: text(name),
        chain: vec![text("its source"), text("the source of that")],
        attempts: 2,
    }
}

/// A task whose row has something of the user's wherever it can.
fn row(number: u64, id: &str, state: State) -> TaskRow {
    TaskRow {
        input: inline("input"),
        previous: Some(PreviousInput {
            seq: 0,
            payload: inline("previous"),
        }),
        cancel: Some(CancelRow {
            scope: CancelScope::Task,
            reason: text("cancel"),
            at: Micros(5),
        }),
        last_failure: Some(failure("last")),
        state,
        ..pending(number, id)
    }
}

fn suspended(wait: WaitReason) -> State {
    State::Suspended {
        since: Micros(5),
        wait,
    }
}

fn completed(outcome: Outcome) -> State {
    State::Completed {
        at: Micros(5),
        outcome,
        expires_at: Micros::NEVER,
    }
}

fn value_key(task: u64) -> ValueKey {
    ValueKey {
        task: TaskNumber(task),
        kind: ValueKind::Output,
        index: 0,
    }
}

fn input_key(task: u64) -> ValueKey {
    ValueKey {
        kind: ValueKind::Input,
        ..value_key(task)
    }
}

/// What hangs on a task, each with something of the user's.
fn hanging(task: u64) -> Vec<Write> {
    let mut waiting = input("waiting");
    waiting.payload = inline("waiting input");
    let mut ask = ask_row("x");
    ask.question = json("question");
    ask.schema = Some(json("schema"));
    ask.default = Some(json("default"));
    let mut run = run_row(1);
    run.outcome = Outcome::Failed(failure("run"));
    run.last_failure = Some(failure("last of the run"));
    let turn = |total, result| Write::Turn {
        slot: total,
        turn: Box::new(TurnRow {
            result,
            ..crate::conformance::rows::turn_row(total)
        }),
    };
    let replied = TurnResult::Replied {
        output: inline("output of a turn"),
        suspended: Some(text("suspended")),
        superseded: false,
    };
    let cancelled = TurnResult::Ended(Outcome::Cancelled {
        reason: text("cancelled"),
        output: Some(inline("output of a cancelled turn")),
    });
    vec![
        Write::Value {
            key: value_key(task),
            bytes: json(&"large ".repeat(500)),
        },
        Write::PushInput {
            seq: 1,
            input: waiting,
        },
        Write::Receipt {
            input_id: input_id("withdrawn"),
            receipt: Receipt::Withdrawn {
                reason: text("withdrawn"),
            },
            expires_at: None,
        },
        turn(1, replied),
        turn(2, cancelled),
        Write::Step {
            turn: 1,
            key: "fetch".into(),
            step: Box::new(step_row(&format!("\"step: {NEEDLE}\""))),
        },
        Write::Ask {
            key: "may".into(),
            ask: Box::new(ask),
        },
        Write::Run(Box::new(run)),
        Write::Segment {
            first: 1,
            segment: Arc::new(segment()),
        },
        Write::FamilyOver {
            turn: 1,
            fate: Fate::Cancelled {
                reason: text("fate"),
            },
        },
    ]
}

fn segment() -> SegmentRow {
    let item = |name: &str| StreamEntry::Item {
        step: None,
        bytes: json(name),
    };
    SegmentRow {
        entries: vec![item("first item"), item("second item")],
        generation: Generation(1),
        ..crate::conformance::rows::segment(1, 2)
    }
}

/// Tasks with everything: 1 with all that hangs on one, then one for each state, and 9 as a child of the first.
fn filled(store: &SealedStore) {
    let states = [
        suspended(WaitReason::Input {
            reason: text("waits"),
        }),
        suspended(WaitReason::Undecodable {
            what: "input".into(),
            expected: text("expected"),
        }),
        completed(Outcome::Succeeded(inline("output"))),
        completed(Outcome::Failed(failure("failed"))),
        completed(Outcome::Terminated {
            reason: text("terminated"),
            timed_out: false,
        }),
    ];
    store.define(&["job"]).unwrap();
    for (number, state) in (1..).zip(states) {
        let mut row = row(number, &format!("task-{number}"), state);
        if number == 1 {
            // An input waits, and the turn with the child is over.
            (row.inputs_accepted, row.inputs_waiting) = (2, 1);
            row.turns_total = 2;
        }
        one(store, start(&row)).unwrap();
    }
    let mut child = row(9, "child", suspended(WaitReason::Slot));
    child.state = pending(9, "child").state;
    child.parent = Some(ParentRow {
        family: Family {
            task: TaskNumber(1),
            turn: 1,
        },
        id: task_id("task-1"),
        detached: false,
    });
    let large = json(&"large input ".repeat(200));
    child.input = Payload::stored(&large);
    let mut begins = start(&child);
    begins.writes.push(Write::Value {
        key: input_key(9),
        bytes: large,
    });
    one(store, begins).unwrap();
    let hangs = commit(1, Expect::Etag(Etag(1)), hanging(1));
    one(store, hangs).unwrap();
}

/// Everything of the tasks of [`filled`], in words; an error where it cannot be read.
fn told(store: &dyn Store) -> Vec<String> {
    let task = TaskNumber(1);
    let mut told: Vec<String> = [1, 2, 3, 4, 5, 9]
        .map(|number| format!("{:?}", store.get(TaskNumber(number))))
        .into();
    told.push(format!("{:?}", store.value(value_key(1))));
    told.push(format!("{:?}", store.value(input_key(9))));
    told.push(format!("{:?}", store.inputs(task, 10)));
    told.push(format!("{:?}", store.inbox(task)));
    told.push(format!("{:?}", store.receipt(task, &input_id("withdrawn"))));
    told.push(format!("{:?}", store.turn(task, 1)));
    told.push(format!("{:?}", store.turn(task, 2)));
    told.push(format!("{:?}", store.step(task, 1, "fetch")));
    told.push(format!("{:?}", store.steps(task, 1, None, 10)));
    told.push(format!("{:?}", store.ask(task, "may")));
    told.push(format!("{:?}", store.runs(task)));
    told.push(format!("{:?}", store.segments(task, 0, 1 << 20)));
    told.push(format!("{:?}", store.families_over(None, 10)));
    told
}

/// All of it is there as it was given.
#[track_caller]
fn assert_all_told(store: &dyn Store) {
    let plain = crate::mem::MemStore::new();
    let plain = SealedStore::open(Arc::new(plain), Arc::new(Clear)).unwrap();
    filled(&plain);
    for (found, given) in told(store).iter().zip(told(&plain)) {
        // The whole of a row is too long to read.
        let shown: String = found.chars().take(160).collect();
        assert!(*found == given, "{shown}");
    }
}

/// A codec that seals nothing: what it makes is what it was given.
struct Clear;

impl super::PayloadCodec for Clear {
    fn seal(&self, _: &super::Location<'_>, clear: &[u8]) -> Result<Vec<u8>, super::CodecError> {
        Ok(clear.to_vec())
    }

    fn open(&self, _: &super::Location<'_>, sealed: &[u8]) -> Result<Vec<u8>, super::CodecError> {
        Ok(sealed.to_vec())
    }

    fn is_current(&self, _: &[u8]) -> bool {
        true
    }

    fn chance(&self, _: &mut [u8]) -> Result<(), super::CodecError> {
        Ok(())
    }
}

/// The raw rows below, changed by somebody with a way to the file, under the next etag.
fn rewritten(below: &RedbStore, commits: Vec<Commit>) {
    for answer in below.commit(&commits).unwrap() {
        answer.unwrap();
    }
}

/// Whether the bytes of a file have the needle in them, or a part of it.
#[track_caller]
fn assert_unreadable(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    for part in [NEEDLE.as_bytes(), &NEEDLE.as_bytes()[..12]] {
        let found = bytes.windows(part.len()).any(|window| window == part);
        assert!(!found, "a secret is in {}", path.display());
    }
}

fn is_corrupt<T>(found: Result<T, StoreError>) -> bool {
    matches!(found, Err(StoreError::Corrupt { .. }))
}

fn is_missing_key<T>(found: Result<T, StoreError>) -> bool {
    matches!(found, Err(StoreError::KeyMissing { .. }))
}
