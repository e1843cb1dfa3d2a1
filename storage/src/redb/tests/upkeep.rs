//! What removals and tidying leave in the file, and what they cost.

use super::*;
use crate::commit::Write;
use crate::conformance::rows::{
    event, input, input_id, labelled, life, removal, run_row, turn_row, written,
};
use crate::row::{Micros, Receipt, ValueKind};

const NO_EVENTS: EventsKept = EventsKept {
    newest: u64::MAX,
    since: Micros(0),
};

fn newest(newest: u64) -> EventsKept {
    EventsKept {
        newest,
        ..NO_EVENTS
    }
}

/// This many of each kind of what hangs on a task, and one run.
fn hang(task: u64, count: u64) -> Vec<Write> {
    let mut writes = vec![Write::Run(Box::new(run_row(1)))];
    for number in 0..count {
        let key = ValueKey {
            task: TaskNumber(task),
            kind: ValueKind::Output,
            index: number,
        };
        let bytes = vec![1; 2000];
        writes.push(Write::Value { key, bytes });
        writes.push(Write::PushInput {
            seq: number,
            input: input("x"),
        });
        writes.push(Write::Receipt {
            input_id: input_id(&format!("r{number}")),
            receipt: Receipt::TaskEnded,
            expires_at: Some(Micros(number)),
        });
        writes.push(Write::Turn {
            slot: number,
            turn: Box::new(turn_row(number)),
        });
    }
    writes
}

/// The tables that are not empty.
fn filled(store: &RedbStore) -> Vec<(&'static str, u64)> {
    let mut entries = store.entries();
    entries.retain(|(_, len)| *len > 0);
    entries
}

#[test]
fn what_hangs_on_a_task_goes_with_it_where_it_is_little() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    one(&store, start(&labelled(10, "a", &["red", "big"]))).expect("accepted");
    written(&store, 10, hang(10, 15));
    one(&store, removal(10, 10)).expect("accepted");
    assert_eq!(filled(&store), vec![]);
}

#[test]
fn what_hangs_on_a_task_goes_with_tidy_where_it_is_much() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    one(&store, start(&labelled(10, "a", &["red", "big"]))).expect("accepted");
    written(&store, 10, hang(10, 100));
    let before: u64 = store.entries().iter().map(|(_, len)| len).sum();
    let mut remove = removal(10, 10);
    remove.writes.push(Write::Event(event(20, 10, 300)));
    one(&store, remove).expect("accepted");
    let after: u64 = store.entries().iter().map(|(_, len)| len).sum();
    assert!(before - after < 150, "{before} entries became {after}");
    drop(store);
    let store = open(&path).unwrap();
    while store.tidy(NO_EVENTS, 100).unwrap() {}
    assert_eq!(filled(&store), vec![("events", 1)]);
    assert_eq!(store.tidy(newest(0), 100), Ok(false));
    assert_eq!(filled(&store), vec![]);
}

#[test]
fn a_tidy_store_is_not_written_to() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    started(&store, 10, "a");
    written(&store, 10, vec![Write::Event(event(11, 10, 300))]);
    // It is looked at in the database.
    store.entries();
    let before = store.io();
    assert_eq!(store.tidy(newest(1), 100), Ok(false));
    let after = store.io();
    assert_eq!((after.writes, after.syncs), (before.writes, before.syncs));
    assert_eq!(store.tidy(newest(0), 100), Ok(false));
    assert!(store.io().syncs > after.syncs);
}

#[test]
fn labels_events_and_removals_cost_one_write_for_each_entry() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let logged = |etag| Write::Event(event(etag, 10, 300));
    let mut begin = start(&labelled(10, "a", &["red", "big", "red"]));
    begin.writes.push(logged(10));
    assert_eq!(cost(&store, begin), 4 + 2 + 1);
    let mut remove = removal(10, 10);
    remove.writes.push(logged(11));
    assert_eq!(cost(&store, remove), 4 + 2 + 1);
    // The end of an ephemeral task: its last row is not written, only to be removed.
    let claim = running(&pending(20, "b"), 20, 1);
    let begin = commit(20, Expect::Absent, vec![put(&claim)]);
    assert_eq!(cost(&store, begin), 4);
    let done = moved(&claim, 21, ended(Micros(900)));
    let writes = vec![put(&done), Write::RemoveTask];
    let end = commit(20, Expect::Lease(Generation(1)), writes);
    assert_eq!(cost(&store, end), 4);
}

#[test]
fn a_damaged_row_refuses_its_removal() {
    for at in [10, 80] {
        let (_directory, path) = place();
        let store = open(&path).unwrap();
        started(&store, 10, "a");
        drop(store);
        damage(&path, 10, at);
        let store = open(&path).unwrap();
        let before = store.entries();
        let conflict = Conflict {
            task: TaskNumber(10),
            found: Err(StoreError::Corrupt {
                table: "tasks",
                key: "10".into(),
            }),
        };
        assert_eq!(one(&store, removal(10, 10)), Err(conflict), "byte {at}");
        assert_eq!(store.entries(), before);
    }
}

/// Flips a bit of the stored event with this etag, behind the store's back.
fn damage_event(path: &Path, etag: u64) {
    let database = bare_database(path).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let mut table = txn.open_table(tables::EVENTS).unwrap();
        let mut bytes = table.get(etag).unwrap().unwrap().value().to_vec();
        bytes[20] ^= 1;
        table.insert(etag, bytes.as_slice()).unwrap();
    }
    txn.commit().unwrap();
}

#[test]
fn a_damaged_event_goes_with_the_next_one_that_goes() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    started(&store, 10, "a");
    let events = [(11, 300), (12, 400), (13, 500)];
    let events = events.map(|(etag, at)| Write::Event(event(etag, 10, at)));
    written(&store, 10, events.to_vec());
    drop(store);
    damage_event(&path, 11);
    let store = open(&path).unwrap();
    let corrupt = StoreError::Corrupt {
        table: "events",
        key: "11".into(),
    };
    assert_eq!(store.events(Etag(0), 10), Err(corrupt));
    let since = |at| EventsKept {
        since: Micros(at),
        ..NO_EVENTS
    };
    assert_eq!(store.tidy(since(350), 10), Ok(false));
    assert!(store.events(Etag(0), 10).is_err(), "the next one stays");
    assert_eq!(store.tidy(since(450), 10), Ok(false));
    let page = store.events(Etag(0), 10).unwrap();
    assert_eq!(page.events, vec![event(13, 10, 500)]);
    assert_eq!(page.trimmed, Etag(12));
}

#[test]
fn a_crash_leaves_removals_trims_and_lives_as_they_were_answered() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    started(&store, 10, "a");
    written(&store, 10, hang(10, 100));
    written(&store, 10, vec![Write::Event(event(11, 10, 300))]);
    one(&store, removal(10, 10)).expect("accepted");
    assert_eq!(store.tidy(newest(0), 20), Ok(true));
    store.put_life(&life(7, 100)).unwrap();
    // A copy of the open file is what a crash leaves.
    let copy = directory.path().join("copy.redb");
    fs::copy(store.path(), &copy).unwrap();
    let copy = open(&copy).unwrap();
    assert_eq!(copy.entries(), store.entries());
    assert_eq!(copy.lives(), Ok(vec![life(7, 100)]));
    while copy.tidy(newest(0), 50).unwrap() {}
    assert_eq!(filled(&copy), vec![("lives", 1)]);
    assert_eq!(copy.events(Etag(0), 10).unwrap().trimmed, Etag(11));
}
