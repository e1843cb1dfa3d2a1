//! What a removed task leaves: nothing that a reader meets, and in the end nothing at all.

use super::Factory;
use super::lists::{assert_listed_nowhere, scanned};
use super::rows::{
    by_etag, commit, ended, event, found, get, input, input_id, isolated, labelled, moved, one,
    pending, put, removal, run_row, running, segment, start, started, step_row, task_id, turn_row,
    undecodable, written,
};
use crate::commit::{Applied, Conflict, Expect, Write};
use crate::row::{DefNumber, Etag, Generation, Micros, Receipt, TaskNumber, ValueKey, ValueKind};
use crate::store::{EventsKept, Inbox, Scan, Store, StoreError};
use std::sync::Arc;

/// Nothing of the log.
const NO_EVENTS: EventsKept = EventsKept {
    newest: u64::MAX,
    since: Micros(0),
};

fn applied(etag: u64) -> Result<Applied, Conflict> {
    Ok(Applied { etag: Etag(etag) })
}

/// The conflict on a task that is not there.
fn gone(task: u64) -> Result<Applied, Conflict> {
    Err(Conflict {
        task: TaskNumber(task),
        found: Ok(None),
    })
}

/// No list of any kind names a task of definition 1 with the label `red`.
#[track_caller]
fn assert_empty(store: &impl Store) {
    assert_listed_nowhere(store);
    let label = Scan::Label(DefNumber(1), "red".into());
    for scan in [Scan::All, Scan::Definition(DefNumber(1)), label] {
        assert_eq!(scanned(store, scan.clone()), vec![], "{scan:?}");
    }
    assert_eq!(store.expired(Micros::NEVER, 100), Ok(vec![]));
    assert_eq!(store.expired_receipts(Micros::NEVER, 100), Ok(vec![]));
}

/// The id is free for another task, which has nothing of the first.
pub fn a_removal_frees_the_id(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    assert_eq!(one(&store, removal(10, 10)), applied(10));
    assert_eq!(store.find(&task_id("a")), Ok(None));
    assert_eq!(get(&store, 10), None);
    assert_eq!(one(&store, removal(10, 10)), gone(10));
    let second = started(&store, 20, "a");
    assert_eq!(store.find(&task_id("a")), Ok(Some(TaskNumber(20))));
    let store = factory.reopen(store);
    assert_eq!((get(&store, 10), get(&store, 20)), (None, Some(second)));
}

/// Wherever the task stood, no index names it afterwards.
pub fn a_removal_leaves_no_index_entry(factory: &impl Factory) {
    let store = factory.fresh();
    let fresh = labelled(10, "a", &["red", "big", "red"]);
    let claim = running(&fresh, 11, 1);
    let states = [
        (fresh.state.clone(), "due"),
        (undecodable(), "looked at when opened"),
        (isolated(), "isolated"),
        (claim.state, "running"),
        (ended(Micros(900)), "ended"),
        (ended(Micros::NEVER), "kept"),
    ];
    for (number, (state, what)) in (20..).step_by(10).zip(states) {
        let mut row = moved(&fresh, number, state);
        row.generation = Generation(1);
        assert_eq!(one(&store, start(&row)), applied(number), "{what}");
        assert_eq!(
            one(&store, removal(number, number)),
            applied(number),
            "{what}"
        );
        assert_empty(&store);
    }
}

/// A task may end and go in one commit: its last row is never seen, and the answer has its etag.
pub fn a_last_row_and_the_removal_are_one_commit(factory: &impl Factory) {
    let store = factory.fresh();
    let fresh = labelled(10, "a", &["red"]);
    let claim = running(&fresh, 11, 1);
    one(&store, commit(10, Expect::Absent, vec![put(&claim)])).expect("the start is accepted");
    let done = moved(&claim, 12, ended(Micros(900)));
    let key = ValueKey {
        task: TaskNumber(10),
        kind: ValueKind::Output,
        index: 1,
    };
    let bytes = vec![1; 2000];
    let writes = vec![
        put(&done),
        Write::Value { key, bytes },
        Write::RemoveTask,
        Write::Event(event(12, 10, 300)),
    ];
    let end = commit(10, Expect::Lease(Generation(1)), writes);
    assert_eq!(one(&store, end), applied(12));
    assert_eq!(get(&store, 10), None);
    assert_eq!(store.value(key), Ok(None));
    assert_empty(&store);
    let log = store.events(Etag(0), 10).expect("the log is read").events;
    assert_eq!(log, vec![event(12, 10, 300)]);
    started(&store, 20, "a");
}

/// A removal is a commit like any other: who decided on an older row removes nothing.
pub fn a_stale_removal_is_refused(factory: &impl Factory) {
    let store = factory.fresh();
    let row = running(&started(&store, 10, "a"), 11, 1);
    one(&store, by_etag(10, 10, &row)).expect("the claim is accepted");
    assert_eq!(one(&store, removal(10, 10)), found(10, &row));
    let stale = commit(10, Expect::Lease(Generation(2)), vec![Write::RemoveTask]);
    assert_eq!(one(&store, stale), found(10, &row));
    assert_eq!(get(&store, 10), Some(row));
    assert_eq!(store.find(&task_id("a")), Ok(Some(TaskNumber(10))));
}

/// The commits after it find no task, and may start another one under the id.
pub fn a_removal_is_seen_by_the_commits_after_it(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    let second = pending(30, "a");
    let batch = [
        removal(10, 10),
        by_etag(10, 10, &moved(&row, 20, ended(Micros::NEVER))),
        removal(10, 10),
        start(&second),
        start(&pending(40, "a")),
    ];
    let answers = store.commit(&batch).expect("the batch is applied");
    assert_eq!(
        answers,
        vec![
            applied(10),
            gone(10),
            gone(10),
            applied(30),
            found(30, &second)
        ]
    );
    assert_eq!((get(&store, 10), get(&store, 30)), (None, Some(second)));
    assert_eq!(store.find(&task_id("a")), Ok(Some(TaskNumber(30))));
}

/// Started, changed and removed in one batch: only its event tells of it.
pub fn a_task_may_come_and_go_in_one_batch(factory: &impl Factory) {
    let store = factory.fresh();
    let row = labelled(10, "a", &["red"]);
    let claim = running(&row, 11, 1);
    let push = Write::PushInput {
        seq: 1,
        input: input("x"),
    };
    let event = Write::Event(event(12, 10, 300));
    let gone = commit(10, Expect::Etag(Etag(11)), vec![Write::RemoveTask, event]);
    let mut claims = by_etag(10, 10, &claim);
    claims.writes.push(push);
    let batch = [start(&row), claims, gone, start(&pending(20, "a"))];
    let answers = store.commit(&batch).expect("the batch is applied");
    let expected = vec![applied(10), applied(11), applied(11), applied(20)];
    assert_eq!(answers, expected);
    assert_eq!(one(&store, removal(20, 20)), applied(20));
    assert_empty(&store);
    let log = store.events(Etag(0), 10).expect("the log is read").events;
    assert_eq!(log.len(), 1);
}

/// Each rule of removals.
pub fn a_malformed_removal_is_refused(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    let next = moved(&row, 20, ended(Micros::NEVER));
    let of = |writes| commit(10, Expect::Etag(Etag(10)), writes);
    let fresh = vec![put(&pending(30, "b")), Write::RemoveTask];
    let malformed = [
        of(vec![Write::RemoveTask, put(&next)]),
        of(vec![Write::RemoveTask, Write::RemoveTask]),
        commit(30, Expect::Absent, fresh),
    ];
    for commit in malformed {
        let answer = store.commit(std::slice::from_ref(&commit));
        assert!(
            matches!(answer, Err(StoreError::Malformed { .. })),
            "{commit:?} gave {answer:?}"
        );
    }
    assert_eq!(get(&store, 10), Some(row));
}

/// One of each kind of what hangs on a task, under a number.
fn hang(task: u64, number: u64) -> Vec<Write> {
    let key = ValueKey {
        task: TaskNumber(task),
        kind: ValueKind::Input,
        index: number,
    };
    vec![
        Write::Value {
            key,
            bytes: vec![7; 40],
        },
        Write::PushInput {
            seq: number,
            input: input("x"),
        },
        Write::Receipt {
            input_id: input_id(&format!("r{number}")),
            receipt: Receipt::TaskEnded,
            expires_at: Some(Micros(500 + number)),
        },
        Write::Turn {
            slot: number,
            turn: Box::new(turn_row(number)),
        },
        Write::Segment {
            first: 1 + number,
            segment: Arc::new(segment(1 + number, 1)),
        },
        Write::Step {
            turn: 1,
            key: format!("s{number}").into(),
            step: Box::new(step_row("1")),
        },
    ]
}

/// No read by the number of a task finds anything of it.
#[track_caller]
fn assert_nothing_hangs(store: &impl Store, task: u64, numbers: u64) {
    let task = TaskNumber(task);
    assert_eq!(store.inbox(task), Ok(Inbox::default()));
    assert_eq!(store.inputs(task, 100), Ok(vec![]));
    assert_eq!(store.runs(task), Ok(vec![]));
    assert_eq!(store.segments(task, 0, usize::MAX), Ok(vec![]));
    assert_eq!(store.stream_end(task), Ok(None));
    assert_eq!(store.steps(task, 1, None, 100), Ok(vec![]));
    assert_eq!(store.ask(task, "s0"), Ok(None));
    for number in 0..numbers {
        let key = ValueKey {
            task,
            kind: ValueKind::Input,
            index: number,
        };
        assert_eq!(store.value(key), Ok(None));
        let id = input_id(&format!("r{number}"));
        assert_eq!(store.receipt(task, &id), Ok(None));
        assert_eq!(store.turn(task, number), Ok(None));
        assert_eq!(store.step(task, 1, &format!("s{number}")), Ok(None));
    }
}

/// A task with this many entries hanging on it, but for a run; removed again.
fn removed_with(store: &impl Store, task: u64, entries: u64) {
    started(store, task, &format!("t{task}"));
    let writes: Vec<_> = (0..entries / 6).flat_map(|at| hang(task, at)).collect();
    written(store, task, writes);
    written(store, task, vec![Write::Run(Box::new(run_row(1)))]);
    assert_eq!(one(store, removal(task, task)), applied(task));
}

/// At once, however much it was; its neighbours keep what is theirs.
pub fn what_hung_on_a_removed_task_is_gone_for_readers(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 11, "neighbour");
    written(&store, 11, hang(11, 1));
    for (task, entries) in [(10, 10), (12, 800)] {
        removed_with(&store, task, entries);
        assert_nothing_hangs(&store, task, entries);
    }
    let id = input_id("r1");
    let kept = store.receipt(TaskNumber(11), &id);
    assert_eq!(kept, Ok(Some(Receipt::TaskEnded)));
    assert_eq!(store.turn(TaskNumber(11), 1), Ok(Some(turn_row(1))));
    assert_eq!(store.inbox(TaskNumber(11)).map(|inbox| inbox.len), Ok(1));
}

/// Calls of `tidy` until there is no more, the last one included.
#[track_caller]
fn tidied(store: &impl Store, limit: usize) -> usize {
    for calls in 1..1000 {
        if !store.tidy(NO_EVENTS, limit).expect("the store is tidied") {
            return calls;
        }
    }
    panic!("a store that is never tidy");
}

/// Step by step, in as many calls as the limit asks for, and then no receipt is listed that nobody could remove.
pub fn what_hung_on_a_removed_task_goes_in_bounded_steps(factory: &impl Factory) {
    let store = factory.fresh();
    removed_with(&store, 10, 800);
    removed_with(&store, 20, 800);
    started(&store, 30, "neighbour");
    written(&store, 30, hang(30, 1));
    let more = store.tidy(NO_EVENTS, 0);
    assert_eq!(more, Ok(true), "too much for the commits of the removals");
    let store = factory.reopen(store);
    let calls = tidied(&store, 100);
    assert!((2..=17).contains(&calls), "{calls} calls");
    assert_eq!(store.tidy(NO_EVENTS, 100), Ok(false));
    let listed = store.expired_receipts(Micros::NEVER, 1000);
    let tasks: Vec<_> = listed
        .expect("read")
        .iter()
        .map(|found| found.task)
        .collect();
    assert_eq!(tasks, vec![TaskNumber(30)]);
    assert_eq!(store.turn(TaskNumber(30), 1), Ok(Some(turn_row(1))));
}
