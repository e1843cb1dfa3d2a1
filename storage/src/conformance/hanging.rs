//! What hangs on a task: values, inputs, receipts, turns and runs; its stream is in `stream`.

use super::Factory;
use super::lists::{numbers, scanned};
use super::rows::{
    claimed, commit, get, input, input_id, one, run_row, started, task_id, turn_row, written,
};
use crate::commit::{Expect, Write};
use crate::id::InputId;
use crate::row::{
    Etag, Generation, InputRow, Micros, Receipt, Taken, TaskNumber, TaskRow, ValueKey, ValueKind,
};
use crate::store::{ExpiredReceipt, Inbox, Scan, Store};

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

/// A mark on an input that waits leaves it where it stands, and is one row with it.
pub fn an_input_is_marked_in_its_place(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let push = |seq, input| Write::PushInput { seq, input };
    let writes = vec![push(1, input("one")), push(2, input("two"))];
    written(&store, 10, writes);
    let mark = Taken {
        key: "file-3".into(),
        generation: Generation(7),
    };
    for taken in [Some(mark), None] {
        let marked = InputRow {
            taken,
            ..input("one")
        };
        written(&store, 10, vec![push(1, marked.clone())]);
        let both = vec![(1, marked), (2, input("two"))];
        assert_eq!(store.inputs(TaskNumber(10), 100), Ok(both));
        assert_eq!(store.inbox(TaskNumber(10)).map(|inbox| inbox.len), Ok(2));
    }
}

/// Each receipt under its input, the last one written.
pub fn receipts_come_back(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let turn = |total: u64| Receipt::Turn {
        run: 1,
        turn: total as u32,
        total,
        step: (total > 2).then(|| "file-3".into()),
    };
    let withdrawn = Receipt::Withdrawn {
        reason: "changed my mind".into(),
    };
    let receipts = [
        ("r1", Receipt::Queued { seq: 4 }),
        ("r2", turn(2)),
        ("r3", withdrawn),
        ("r4", Receipt::TaskEnded),
        ("r1", turn(9)),
    ];
    for (id, receipt) in &receipts {
        written(&store, 10, vec![receipt_of(id, receipt.clone(), None)]);
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

fn receipt_of(id: &str, receipt: Receipt, expires_at: Option<u64>) -> Write {
    Write::Receipt {
        input_id: input_id(id),
        receipt,
        expires_at: expires_at.map(Micros),
    }
}

/// The receipts listed up to a moment: when, of which task, of which input.
#[track_caller]
fn expired(store: &impl Store, now: u64, limit: usize) -> Vec<(u64, u64, InputId)> {
    let page = store.expired_receipts(Micros(now), limit);
    let parts = |found: ExpiredReceipt| (found.listed_at.0, found.task.0, found.input_id);
    let page = page.expect("the list is read");
    page.into_iter().map(parts).collect()
}

/// Earliest first, then by task and input; a receipt without a moment is not listed.
pub fn receipts_expire_in_order_of_time(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 20, "b");
    let put = |id, at| receipt_of(id, Receipt::TaskEnded, at);
    let first = vec![
        put("y", Some(500)),
        put("x", Some(500)),
        put("z", Some(700)),
    ];
    written(&store, 10, first);
    written(&store, 20, vec![put("a", Some(400)), put("b", None)]);
    assert_eq!(expired(&store, 399, 100), vec![]);
    let (a, x) = ((400, 20, input_id("a")), (500, 10, input_id("x")));
    let (y, z) = ((500, 10, input_id("y")), (700, 10, input_id("z")));
    assert_eq!(expired(&store, 500, 2), vec![a.clone(), x.clone()]);
    assert_eq!(
        expired(&store, 500, 100),
        vec![a.clone(), x.clone(), y.clone()]
    );
    assert_eq!(expired(&store, u64::MAX, 100), vec![a, x, y, z]);
}

/// The entry moves with the receipt: it never stands under two moments, nor under one of a receipt before.
pub fn a_receipt_is_listed_where_it_was_put_last(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    for at in [Some(500), Some(400), Some(400), Some(600), None, Some(700)] {
        let put = receipt_of("x", Receipt::Queued { seq: 1 }, at);
        written(&store, 10, vec![put]);
        let listed = at.map(|at| (at, 10, input_id("x")));
        let found = expired(&store, u64::MAX, 100);
        assert_eq!(found, Vec::from_iter(listed), "put at {at:?}");
    }
}

/// Kept on from the moment it is listed under, and from no other one.
pub fn a_receipt_is_kept_on(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let keep = |id: &str, from, until| Write::KeepReceipt {
        input_id: input_id(id),
        listed_at: Micros(from),
        until: Micros(until),
    };
    let put = receipt_of("x", Receipt::TaskEnded, Some(500));
    let unlisted = receipt_of("y", Receipt::Queued { seq: 1 }, None);
    written(&store, 10, vec![put, unlisted, keep("x", 500, 800)]);
    let listed = vec![(800, 10, input_id("x"))];
    assert_eq!(expired(&store, u64::MAX, 100), listed);
    let in_vain = vec![
        keep("x", 500, 900),
        keep("y", 800, 900),
        keep("z", 800, 900),
    ];
    written(&store, 10, in_vain);
    assert_eq!(expired(&store, u64::MAX, 100), listed);
    let kept = store.receipt(TaskNumber(10), &input_id("x"));
    assert_eq!(kept, Ok(Some(Receipt::TaskEnded)));
    assert_eq!(store.receipt(TaskNumber(10), &input_id("z")), Ok(None));
}

/// A removed receipt is listed no more. One that was kept on in the meantime, or is not listed at all, stays.
pub fn a_receipt_is_removed_when_its_time_has_come(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let remove = |id: &str, listed_at| Write::RemoveReceipt {
        input_id: input_id(id),
        listed_at: Micros(listed_at),
    };
    let put = |id, at| receipt_of(id, Receipt::TaskEnded, at);
    let writes = vec![put("x", Some(500)), put("y", Some(600)), put("z", None)];
    written(&store, 10, writes);
    let removed = vec![remove("x", 500), remove("y", 500), remove("z", 500)];
    written(&store, 10, removed);
    let receipt = |id| store.receipt(TaskNumber(10), &input_id(id));
    assert_eq!(receipt("x"), Ok(None));
    assert_eq!(receipt("y"), Ok(Some(Receipt::TaskEnded)));
    assert_eq!(receipt("z"), Ok(Some(Receipt::TaskEnded)));
    let listed = vec![(600, 10, input_id("y"))];
    assert_eq!(expired(&store, u64::MAX, 100), listed);
}

/// A chain of any length takes the room of its slots.
pub fn a_later_turn_overwrites_the_slot(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    started(&store, 20, "b");
    for total in 1..=45 {
        let (slot, turn) = (row.slot_of(total), Box::new(turn_row(total)));
        written(&store, 10, vec![Write::Turn { slot, turn }]);
    }
    let turn = |slot| store.turn(TaskNumber(10), slot);
    assert_eq!(turn(5), Ok(Some(turn_row(45))));
    assert_eq!(turn(6), Ok(Some(turn_row(26))));
    assert_eq!(turn(0), Ok(Some(turn_row(40))));
    for slot in 20..50 {
        assert_eq!(turn(slot), Ok(None), "slot {slot}");
    }
    assert_eq!(store.turn(TaskNumber(20), 5), Ok(None));
}

/// Oldest first; of more than are kept, the latest.
pub fn runs_come_in_order_and_bounded(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 20, "b");
    assert_eq!(store.runs(TaskNumber(10)), Ok(vec![]));
    let last = TaskRow::RUNS_KEPT + 7;
    for run in 1..=last {
        written(&store, 10, vec![Write::Run(Box::new(run_row(run)))]);
    }
    let kept: Vec<_> = (8..=last).map(run_row).collect();
    assert_eq!(store.runs(TaskNumber(10)), Ok(kept));
    assert_eq!(store.runs(TaskNumber(20)), Ok(vec![]));
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
        receipt_of("x", Receipt::Queued { seq: 1 }, Some(500)),
        Write::Turn {
            slot: 1,
            turn: Box::new(turn_row(1)),
        },
        Write::Run(Box::new(run_row(1))),
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
    let listed = vec![(500, 10, input_id("x"))];
    assert_eq!(expired(&store, u64::MAX, 100), listed);
    assert_eq!(store.turn(TaskNumber(10), 1), Ok(Some(turn_row(1))));
    assert_eq!(store.runs(TaskNumber(10)), Ok(vec![run_row(1)]));
}
