//! What reads show of what was committed.

use super::Factory;
use super::rows::{
    by_etag, claimed, commit, ended, get, input, input_id, moved, one, pending, put, running,
    start, started, task_id, undecodable,
};
use crate::commit::{Expect, Write};
use crate::row::{
    DefNumber, Etag, Generation, Micros, Payload, Priority, Receipt, State, TaskNumber, ValueKey,
    ValueKind, WaitReason,
};
use crate::store::{Due, Inbox, PAGE_MAX, Scan, Store};

fn due(store: &impl Store, def: u32, now: u64) -> Due {
    store
        .due(DefNumber(def), Micros(now), 100)
        .expect("due is read")
}

fn numbers(numbers: &[u64]) -> Vec<TaskNumber> {
    numbers.iter().copied().map(TaskNumber).collect()
}

fn scanned(store: &impl Store, scan: Scan) -> Vec<TaskNumber> {
    let page = store.scan(scan, None, PAGE_MAX).expect("the scan is read");
    page.rows.into_iter().map(|found| found.task).collect()
}

/// Nothing waits and nothing runs.
#[track_caller]
pub(super) fn assert_listed_nowhere(store: &impl Store) {
    assert_eq!(
        due(store, 1, u64::MAX),
        Due {
            ready: vec![],
            next: None
        }
    );
    assert_eq!(store.due_at_open(DefNumber(1), None, 100), Ok(vec![]));
    assert_eq!(scanned(store, Scan::Running), vec![]);
}

/// A name has one number for ever, and another name another.
pub fn a_definition_keeps_its_number(factory: &impl Factory) {
    let store = factory.fresh();
    let first = store.define(&["b", "a"]).expect("defined");
    let again = store.define(&["a", "c", "b", "c"]).expect("defined");
    assert_eq!((again[0], again[2]), (first[1], first[0]));
    assert_eq!(again[1], again[3]);
    assert!(!first.contains(&again[1]) && first[0] != first[1]);
    let store = factory.reopen(store);
    assert_eq!(store.define(&["b", "a"]), Ok(first.clone()));
    let mut all = vec![
        (first[0], "b".into()),
        (first[1], "a".into()),
        (again[1], "c".into()),
    ];
    all.sort_unstable();
    assert_eq!(store.definitions(), Ok(all));
}

/// The most urgent first, among equals the earliest, among those the oldest; other definitions are not seen.
pub fn due_is_ordered_by_priority_then_time_then_number(factory: &impl Factory) {
    let store = factory.fresh();
    let tasks = [
        (10, 1, 4, 50),
        (11, 1, 4, 40),
        (12, 1, 0, 99),
        (13, 1, 4, 40),
        (14, 1, 7, 1),
        (15, 2, 0, 1),
        (16, 1, 0, 101),
    ];
    for (number, def, rank, at) in tasks {
        let mut row = pending(number, &format!("t{number}"));
        (row.def, row.priority) = (DefNumber(def), Priority::new(rank));
        row.state = State::Pending {
            due_at: Micros(at),
            wait: WaitReason::Slot,
        };
        one(&store, start(&row)).expect("the start is accepted");
    }
    assert_eq!(due(&store, 1, 100).ready, numbers(&[12, 11, 13, 10, 14]));
    assert_eq!(due(&store, 2, 100).ready, numbers(&[15]));
    let page = store
        .due(DefNumber(1), Micros(100), 2)
        .expect("due is read");
    assert_eq!(
        page,
        Due {
            ready: numbers(&[12, 11]),
            next: Some(Micros(101))
        }
    );
}

/// The next moment is the earliest of all ranks; what only an event moves has none.
pub fn due_tells_when_the_next_task_becomes_due(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    assert_eq!(
        due(&store, 1, 99),
        Due {
            ready: vec![],
            next: Some(Micros(100))
        }
    );
    assert_eq!(
        due(&store, 1, 100),
        Due {
            ready: numbers(&[10]),
            next: None
        }
    );
    let later = State::Pending {
        due_at: Micros(700),
        wait: WaitReason::BackOff,
    };
    one(&store, by_etag(10, 10, &moved(&row, 11, later))).expect("accepted");
    let mut low = pending(20, "b");
    low.priority = Priority::new(0);
    low.state = State::Pending {
        due_at: Micros(800),
        wait: WaitReason::Slot,
    };
    one(&store, start(&low)).expect("the start is accepted");
    assert_eq!(
        due(&store, 1, 100),
        Due {
            ready: vec![],
            next: Some(Micros(700))
        }
    );
    let parked = State::Suspended {
        since: Micros(1),
        wait: WaitReason::WaitingHandler,
    };
    one(&store, by_etag(10, 11, &moved(&row, 12, parked))).expect("accepted");
    one(&store, by_etag(20, 20, &moved(&low, 21, undecodable()))).expect("accepted");
    assert_eq!(
        due(&store, 1, u64::MAX),
        Due {
            ready: vec![],
            next: None
        }
    );
}

/// By ascending number, whatever the ranks, and page by page.
pub fn due_at_open_lists_only_what_is_looked_at_once(factory: &impl Factory) {
    let store = factory.fresh();
    for (number, rank) in [(10, 7), (20, 0), (30, 4)] {
        let mut row = moved(
            &pending(number, &format!("t{number}")),
            number,
            undecodable(),
        );
        row.priority = Priority::new(rank);
        one(&store, start(&row)).expect("the start is accepted");
    }
    started(&store, 40, "due");
    let at_open =
        |after: Option<u64>, limit| store.due_at_open(DefNumber(1), after.map(TaskNumber), limit);
    assert_eq!(at_open(None, 100), Ok(numbers(&[10, 20, 30])));
    assert_eq!(at_open(None, 2), Ok(numbers(&[10, 20])));
    assert_eq!(at_open(Some(20), 2), Ok(numbers(&[30])));
}

/// A claim takes the task out of `due`, a release puts it back.
pub fn a_claimed_task_is_running_and_not_due(factory: &impl Factory) {
    let store = factory.fresh();
    let row = claimed(&store, 10, "a");
    assert_eq!(
        due(&store, 1, u64::MAX),
        Due {
            ready: vec![],
            next: None
        }
    );
    assert_eq!(scanned(&store, Scan::Running), numbers(&[10]));
    let again = State::Pending {
        due_at: Micros(500),
        wait: WaitReason::BackOff,
    };
    let back = commit(
        10,
        Expect::Lease(Generation(10)),
        vec![put(&moved(&row, 12, again))],
    );
    one(&store, back).expect("the release is accepted");
    assert_eq!(scanned(&store, Scan::Running), vec![]);
    assert_eq!(due(&store, 1, 500).ready, numbers(&[10]));
}

/// An end takes the task out of every list of work, for each way of keeping it.
pub fn an_ended_task_is_neither_due_nor_running(factory: &impl Factory) {
    let store = factory.fresh();
    for (number, expires_at) in [(10, Micros(900)), (20, Micros::NEVER)] {
        let row = claimed(&store, number, &format!("t{number}"));
        let done = moved(&row, number + 2, ended(expires_at));
        let end = commit(number, Expect::Lease(Generation(number)), vec![put(&done)]);
        one(&store, end).expect("the end is accepted");
    }
    assert_listed_nowhere(&store);
    assert_eq!(scanned(&store, Scan::All), numbers(&[20, 10]));
}

/// Pages join to the whole, newest first, without gaps or repeats; running tasks come oldest first.
pub fn scans_page_through_everything_once(factory: &impl Factory) {
    let store = factory.fresh();
    for number in [10, 20, 30, 40, 50] {
        let mut row = running(&pending(number, &format!("t{number}")), number, number);
        row.def = DefNumber(if number == 30 { 2 } else { 1 });
        one(&store, start(&row)).expect("the start is accepted");
    }
    let pages = |scan, limit| {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store.scan(scan, after, limit).expect("the scan is read");
            assert!(page.rows.len() <= limit);
            for found in page.rows {
                assert_eq!(found.row.map(Some), store.get(found.task));
                seen.push(found.task);
            }
            after = page.next;
            if after.is_none() {
                return seen;
            }
        }
    };
    for limit in [1, 2, 4, 5, 100] {
        assert_eq!(pages(Scan::All, limit), numbers(&[50, 40, 30, 20, 10]));
        assert_eq!(
            pages(Scan::Definition(DefNumber(1)), limit),
            numbers(&[50, 40, 20, 10])
        );
        assert_eq!(pages(Scan::Definition(DefNumber(2)), limit), numbers(&[30]));
        assert_eq!(pages(Scan::Running, limit), numbers(&[10, 20, 30, 40, 50]));
    }
}

/// No limit makes an answer larger than a page.
pub fn pages_are_bounded(factory: &impl Factory) {
    let store = factory.fresh();
    let last = PAGE_MAX as u64 + 5;
    let batch: Vec<_> = (1..=last)
        .map(|number| start(&pending(number, &format!("t{number}"))))
        .collect();
    assert!(
        store
            .commit(&batch)
            .expect("the batch is applied")
            .iter()
            .all(Result::is_ok)
    );
    let page = store
        .scan(Scan::All, None, usize::MAX)
        .expect("the scan is read");
    assert_eq!(
        (page.rows.len(), page.next),
        (PAGE_MAX, Some(TaskNumber(6)))
    );
    let ready = store
        .due(DefNumber(1), Micros(100), usize::MAX)
        .expect("due is read")
        .ready;
    assert_eq!(ready.len(), PAGE_MAX);
}

/// Any bytes, also none; until they are removed.
pub fn values_come_back_as_given(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let key = |kind, index| ValueKey {
        task: TaskNumber(10),
        kind,
        index,
    };
    let (large, empty) = (key(ValueKind::Input, 0), key(ValueKind::Output, 1));
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
    let writes = vec![
        Write::Value {
            key: large,
            bytes: bytes.clone(),
        },
        Write::Value {
            key: empty,
            bytes: vec![],
        },
        Write::RemoveValue(key(ValueKind::Output, 9)),
    ];
    one(&store, commit(10, Expect::Etag(Etag(10)), writes)).expect("accepted");
    assert_eq!(store.value(large), Ok(Some(bytes)));
    assert_eq!(store.value(empty), Ok(Some(vec![])));
    assert_eq!(store.value(key(ValueKind::Output, 0)), Ok(None));
    one(
        &store,
        commit(10, Expect::Etag(Etag(10)), vec![Write::RemoveValue(large)]),
    )
    .expect("accepted");
    assert_eq!(store.value(large), Ok(None));
}

/// First in, first out, each task its own.
pub fn inputs_wait_in_order(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 20, "b");
    let push = |seq, id: &str| Write::PushInput {
        seq,
        input: input(id),
    };
    let writes = vec![push(1, "one"), push(2, "two"), push(300, "three")];
    one(&store, commit(10, Expect::Etag(Etag(10)), writes)).expect("accepted");
    let inbox = store.inbox(TaskNumber(10));
    assert_eq!(
        inbox,
        Ok(Inbox {
            len: 3,
            head: Some((1, input("one")))
        })
    );
    assert_eq!(store.inbox(TaskNumber(20)), Ok(Inbox::default()));
    let two = vec![(1, input("one")), (2, input("two"))];
    assert_eq!(store.inputs(TaskNumber(10), 2), Ok(two));
    one(
        &store,
        commit(10, Expect::Etag(Etag(10)), vec![Write::PopInput { seq: 1 }]),
    )
    .expect("accepted");
    let rest = vec![(2, input("two")), (300, input("three"))];
    assert_eq!(store.inputs(TaskNumber(10), 100), Ok(rest));
    assert_eq!(store.inbox(TaskNumber(10)).map(|inbox| inbox.len), Ok(2));
}

/// Each receipt under its input, the last one written.
pub fn receipts_come_back(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let receipts = [
        ("r1", Receipt::Queued { seq: 4 }),
        ("r2", Receipt::Turn { turn: 2 }),
        (
            "r3",
            Receipt::Answered {
                turn: 3,
                output: Payload::Stored { len: 5000 },
            },
        ),
        ("r4", Receipt::TaskEnded),
        ("r1", Receipt::Turn { turn: 9 }),
    ];
    for (id, receipt) in &receipts {
        let write = Write::Receipt {
            input_id: input_id(id),
            receipt: receipt.clone(),
        };
        one(&store, commit(10, Expect::Etag(Etag(10)), vec![write])).expect("accepted");
    }
    for (id, receipt) in &receipts[1..] {
        assert_eq!(
            store.receipt(TaskNumber(10), &input_id(id)),
            Ok(Some(receipt.clone()))
        );
    }
    assert_eq!(store.receipt(TaskNumber(10), &input_id("r5")), Ok(None));
    assert_eq!(store.receipt(TaskNumber(11), &input_id("r1")), Ok(None));
}

/// What was acknowledged is there after a close.
pub fn everything_survives_a_reopen(factory: &impl Factory) {
    let store = factory.fresh();
    let row = claimed(&store, 10, "a");
    let key = ValueKey {
        task: TaskNumber(10),
        kind: ValueKind::Input,
        index: 0,
    };
    let writes = vec![
        Write::Value {
            key,
            bytes: vec![9; 2000],
        },
        Write::PushInput {
            seq: 1,
            input: input("x"),
        },
        Write::Receipt {
            input_id: input_id("x"),
            receipt: Receipt::Queued { seq: 1 },
        },
    ];
    one(&store, commit(10, Expect::Lease(Generation(10)), writes)).expect("accepted");
    let store = factory.reopen(store);
    assert_eq!(get(&store, 10), Some(row));
    assert_eq!(store.find(&task_id("a")), Ok(Some(TaskNumber(10))));
    assert_eq!(scanned(&store, Scan::Running), numbers(&[10]));
    assert_eq!(store.value(key), Ok(Some(vec![9; 2000])));
    assert_eq!(store.inbox(TaskNumber(10)).map(|inbox| inbox.len), Ok(1));
    assert_eq!(
        store.receipt(TaskNumber(10), &input_id("x")),
        Ok(Some(Receipt::Queued { seq: 1 }))
    );
}
