//! What is durable in the journal alone, and what becomes of it.

use super::shape::{BLOCK, Shape};
use super::*;
use crate::commit::Write;
use crate::conformance::rows::{removal, task_id};
use crate::row::{Micros, Payload};
use std::sync::atomic::AtomicBool;

/// A journal with room for so many small commits.
fn with_room_for(commits: u32) -> RedbOptions {
    RedbOptions {
        journal_bytes: commits * BLOCK as u32,
        ..RedbOptions::default()
    }
}

fn open_with(path: &Path, options: RedbOptions) -> RedbStore {
    let store = RedbStore::open(path, options, 0xabc, 17).unwrap();
    store.define(&["job"]).unwrap();
    store
}

/// What a crash at this moment leaves, in a file of its own: redb's pages are not written yet.
fn crashed(path: &Path) -> (TempDir, PathBuf) {
    let (directory, copy) = place();
    fs::copy(path, &copy).unwrap();
    (directory, copy)
}

fn changed(path: &Path, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let (_directory, path) = place();
    let store = open_with(&path, RedbOptions::default());
    started(&store, 10, "a");
    let before = store.io();
    started(&store, 20, "b");
    let after = store.io();
    assert_eq!(
        (after.writes - before.writes, after.syncs - before.syncs),
        (1, 1)
    );
    assert_eq!(after.written_bytes - before.written_bytes, BLOCK);
}

#[test]
fn a_crash_at_any_commit_leaves_all_that_was_acknowledged() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(3));
    let mut rows = Vec::new();
    for number in 1..=10 {
        rows.push(started(&store, number, &format!("task-{number}")));
        let (_crash, copy) = crashed(&path);
        let left = open(&copy).unwrap();
        for (number, row) in (1..).zip(&rows) {
            assert_eq!(get(&left, number).as_ref(), Some(row));
        }
        assert!(left.counters().unwrap().etag >= row_of(&rows).etag);
        // It goes on from there, and is whole once more.
        started(&left, number + 100, "another");
        drop(left);
        assert!(verify(&copy, 2, 0).unwrap().is_whole());
    }
}

fn row_of(rows: &[TaskRow]) -> &TaskRow {
    rows.last().unwrap()
}

/// The second open does again what the first one did again, whose pages were not written before it died.
#[test]
fn a_crash_within_what_follows_a_crash_loses_nothing() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(8));
    let mut rows = vec![started(&store, 1, "task-1")];
    let mut crashes = Vec::new();
    let mut path = path;
    for number in 2..=20 {
        let (crash, copy) = crashed(&path);
        let left = open(&copy).unwrap();
        rows.push(started(&left, number, &format!("task-{number}")));
        // Held open, so that none of them closes in order.
        crashes.push((left, crash));
        path = copy;
    }
    let (_crash, copy) = crashed(&path);
    let left = open(&copy).unwrap();
    for (number, row) in (1..).zip(&rows) {
        assert_eq!(get(&left, number).as_ref(), Some(row));
    }
}

#[test]
fn who_only_looks_at_a_file_sees_what_its_journal_has() {
    let (_directory, path) = place();
    let store = open_with(&path, RedbOptions::default());
    started(&store, 10, "a");
    let (directory, copy) = crashed(&path);
    let before = fs::read(&copy).unwrap();
    assert_eq!(info(&copy, (2, 0)).unwrap().inside.unwrap().tasks, 1);
    assert_eq!(ids(&copy, ("", 9), (2, 0)).unwrap(), ["a".into()]);
    let report = verify(&copy, 2, 0).unwrap();
    assert!(report.is_whole(), "{report:?}");
    let restored = directory.path().join("restored");
    assert_eq!(restore(&copy, &restored, 3, 0).unwrap().entries("tasks"), 1);
    assert_eq!(fs::read(&copy).unwrap(), before, "it was only looked at");
}

#[test]
fn a_file_that_was_closed_or_whose_engine_has_stopped_needs_no_journal() {
    for is_read in [false, true] {
        let (_directory, path) = place();
        let store = open_with(&path, RedbOptions::default());
        let row = started(&store, 10, "a");
        if is_read {
            // Then the tables have it, but not on the disk.
            store.entries();
        }
        let database_at = store.disk().unwrap().shape().database_at() as usize;
        let journal = Shape::JOURNAL_AT as usize..database_at;
        store.leaving(0);
        let (_crash, stopped) = crashed(&path);
        drop(store);
        for path in [&stopped, &path] {
            changed(path, |bytes| bytes[journal.clone()].fill(0));
            assert_eq!(get(&open(path).unwrap(), 10).as_ref(), Some(&row));
        }
    }
}

#[test]
fn a_damaged_record_that_others_follow_is_told_and_the_rest_is_saved() {
    let (_directory, path) = place();
    let store = open_with(&path, RedbOptions::default());
    let rows: Vec<_> = (1..=3)
        .map(|n| started(&store, n, &format!("task-{n}")))
        .collect();
    let (directory, copy) = crashed(&path);
    changed(&copy, |bytes| {
        bytes[(Shape::JOURNAL_AT + BLOCK) as usize + 40] ^= 1
    });
    let opened = open(&copy).map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::Damaged { .. })),
        "{opened:?}"
    );
    let pages = verify(&copy, 2, 0).unwrap().pages;
    assert!(matches!(pages, PageCheck::Refused { .. }), "{pages:?}");
    let to = directory.path().join("saved");
    let report = salvage(&copy, &to, 0x5a, 0).unwrap();
    assert!(report.journal.is_broken);
    assert_eq!((report.journal.done, report.journal.refused), (2, 0));
    let saved = open(&to).unwrap();
    assert_eq!(get(&saved, 1).as_ref(), Some(&rows[0]));
    assert_eq!(get(&saved, 3).as_ref(), Some(&rows[2]));
    assert_eq!(get(&saved, 2), None);
}

#[test]
fn what_only_the_journal_has_is_saved_of_a_file_that_redb_refuses() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(5));
    let rows: Vec<_> = (1..=8)
        .map(|n| started(&store, n, &format!("task-{n}")))
        .collect();
    let at = store.disk().unwrap().shape().database_at() as usize;
    for damages_meta in [false, true] {
        let (directory, copy) = crashed(&path);
        changed(&copy, |bytes| {
            bytes[at..at + 4096].fill(0xee);
            if damages_meta {
                let name = tables::JOURNALLED.as_bytes();
                let mut from = 0;
                while let Some(found) = bytes[from..].windows(name.len()).position(|at| at == name)
                {
                    bytes[from + found] ^= 1;
                    from += found;
                }
            }
        });
        assert!(open(&copy).is_err());
        let to = directory.path().join("saved");
        let report = salvage(&copy, &to, 0x5a, 0).unwrap();
        assert!(report.journal.done > 0, "{report:?}");
        let saved = open(&to).unwrap();
        for (number, row) in (1..).zip(&rows) {
            assert_eq!(get(&saved, number).as_ref(), Some(row), "{damages_meta}");
        }
        drop(saved);
        assert!(verify(&to, 2, 0).unwrap().is_whole());
    }
}

#[test]
fn a_file_with_a_damaged_head_is_told_and_its_rows_are_saved() {
    let (directory, path) = place();
    let store = open_with(&path, RedbOptions::default());
    let row = started(&store, 10, "a");
    drop(store);
    changed(&path, |bytes| bytes[12] ^= 1);
    let opened = open(&path).map(|_| ());
    assert!(
        matches!(opened, Err(OpenError::Damaged { .. })),
        "{opened:?}"
    );
    let to = directory.path().join("saved");
    salvage(&path, &to, 0x5a, 0).unwrap();
    assert_eq!(get(&open(&to).unwrap(), 10), Some(row));
}

#[test]
fn a_file_without_a_journal_is_a_plain_database() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(0));
    let row = started(&store, 10, "a");
    let (_crash, copy) = crashed(&path);
    drop(store);
    assert!(Database::open(&path).is_ok());
    for path in [&path, &copy] {
        assert_eq!(get(&open(path).unwrap(), 10).as_ref(), Some(&row));
    }
}

/// What is too large for the journal is durable as redb makes it so, with all that was before it.
#[test]
fn a_batch_larger_than_the_journal_is_durable() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(2));
    let small = started(&store, 10, "a");
    let mut large = pending(20, "b");
    large.input = Payload::Inline(vec![7; 20_000]);
    one(&store, start(&large)).unwrap();
    let (_crash, copy) = crashed(&path);
    let left = open(&copy).unwrap();
    assert_eq!((get(&left, 10), get(&left, 20)), (Some(small), Some(large)));
}

#[test]
fn nothing_of_a_removed_task_is_left_after_a_compaction() {
    let (_directory, path) = place();
    let store = open_with(&path, RedbOptions::default());
    let mut row = pending(10, "a");
    row.input = Payload::Inline(b"a secret that is to be gone".to_vec());
    one(&store, start(&row)).unwrap();
    let removed = commit(10, Expect::Etag(row.etag), vec![Write::RemoveTask]);
    one(&store, removed).unwrap();
    drop(store);
    let holds = |what: &[u8]| {
        fs::read(&path)
            .unwrap()
            .windows(what.len())
            .any(|at| at == what)
    };
    assert!(holds(b"to be gone"));
    compact(&path, 2, 0).unwrap();
    assert!(!holds(b"to be gone"));
}

/// A row that was damaged since is one damaged task, and keeps nothing else of the journal from being done again.
#[test]
fn a_damaged_row_keeps_no_other_commit_of_the_journal_back() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(8));
    let row = started(&store, 10, "a");
    drop(store);
    let store = open_with(&path, RedbOptions::default());
    one(&store, by_etag(10, 10, &moved(&row, 11, row.state.clone()))).unwrap();
    let other = started(&store, 20, "b");
    let (_crash, copy) = crashed(&path);
    let database_at = store.disk().unwrap().shape().database_at() as usize;
    changed(&copy, |bytes| {
        // The etag in the header of each version of the row that lies on a page.
        for at in database_at..bytes.len() - 10 {
            if bytes[at..].starts_with(b"oT\x01\x02") {
                bytes[at + 8] ^= 1;
            }
        }
    });
    let left = open(&copy).unwrap();
    assert!(matches!(
        left.get(TaskNumber(10)),
        Err(StoreError::Corrupt { .. })
    ));
    assert_eq!(get(&left, 20), Some(other));
}

/// Whoever reads sees what was acknowledged, whether the tables have it or not, and whoever brings it there.
#[test]
fn what_was_acknowledged_is_read_while_others_commit_and_catch_up() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(9));
    let acknowledged = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let over = || is_over.load(Ordering::SeqCst);
    let last = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over() {
                if store.is_behind() {
                    store.catch_up().unwrap();
                }
                std::thread::yield_now();
            }
        });
        for reads_tables in [false, true] {
            let (store, acknowledged, over) = (&store, &acknowledged, &over);
            threads.spawn(move || {
                while !over() {
                    let number = acknowledged.load(Ordering::SeqCst);
                    if number == 0 {
                        continue;
                    }
                    let id = task_id(&format!("task-{number}"));
                    assert_eq!(store.find(&id), Ok(Some(TaskNumber(number))));
                    assert!(store.get(TaskNumber(number)).unwrap().is_some());
                    if reads_tables {
                        let beyond = Some(TaskNumber(number + 1));
                        let page = store.scan(Scan::All, beyond, 1).unwrap();
                        assert_eq!(page.rows[0].task, TaskNumber(number));
                        let runs = store.scan(Scan::Running, Some(TaskNumber(number - 1)), 1);
                        assert_eq!(runs.unwrap().rows[0].task, TaskNumber(number));
                    }
                }
            });
        }
        for number in 1..=400 {
            let row = running(&pending(number, &format!("task-{number}")), number, number);
            one(&store, start(&row)).unwrap();
            acknowledged.store(number, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
        400
    });
    let (_crash, copy) = crashed(&path);
    let left = open(&copy).unwrap();
    assert!((1..=last).all(|number| get(&left, number).is_some()));
    drop(left);
    assert!(verify(&copy, 2, 0).unwrap().is_whole());
}

/// What began and ended since the tables were last written is written to them as it ended.
#[test]
fn a_task_that_begins_and_ends_between_two_reads_is_written_once() {
    let (_directory, path) = place();
    let store = open_with(&path, RedbOptions::default());
    let before = store.btree_writes();
    let row = running(&pending(10, "a"), 10, 1);
    one(&store, start(&row)).unwrap();
    let done = moved(&row, 11, ended(Micros(900)));
    let end = commit(10, Expect::Lease(Generation(1)), vec![put(&done)]);
    one(&store, end).unwrap();
    let gone = running(&pending(20, "b"), 20, 2);
    one(&store, start(&gone)).unwrap();
    one(&store, removal(20, 20)).unwrap();
    assert_eq!(get(&store, 10).as_ref(), Some(&done));
    assert_eq!(get(&store, 20), None);
    assert_eq!(store.find(&gone.id), Ok(None));
    assert_eq!(store.btree_writes() - before, 4);
    drop(store);
    assert_eq!(get(&open(&path).unwrap(), 10), Some(done));
}

/// Half of the journal is left for what comes while the rest is made durable in the tables.
#[test]
fn a_store_whose_journal_is_half_full_is_behind_until_it_has_caught_up() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(8));
    let mut behind = Vec::new();
    for number in 1..=10 {
        started(&store, number, &format!("task-{number}"));
        behind.push(store.is_behind());
        if store.is_behind() {
            let before = store.io().syncs;
            store.catch_up().unwrap();
            assert!(store.io().syncs > before, "it is durable");
            assert!(!store.is_behind());
        }
    }
    let five = [false, false, false, false, true];
    assert_eq!(behind, [five, five].concat());
    // Nothing is put off: nothing is written.
    let before = store.io();
    store.catch_up().unwrap();
    store.catch_up().unwrap();
    assert_eq!(store.io().syncs, before.syncs);
    assert!(verify(&crashed(&path).1, 2, 0).unwrap().is_whole());
}

/// A process that was killed may have left the mark of the database in the memory of the system alone. Who comes next writes
/// over records by it, so it must be on the disk first.
#[test]
fn an_open_makes_durable_what_the_file_says_of_its_journal() {
    let (_directory, path) = place();
    let store = open_with(&path, with_room_for(8));
    started(&store, 10, "a");
    store.catch_up().unwrap();
    let (_crash, copy) = crashed(&path);
    let left = open(&copy).unwrap();
    assert!(left.io().syncs > 0, "before anything is committed");
}

/// What the start of so many tasks with so long an input comes to, and what is left of it when the database has it.
fn lot_of(tasks: u64, input: usize) -> Option<lot::Lot> {
    let (_directory, path) = place();
    let options = RedbOptions {
        journal_bytes: 16 << 20,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(&path, options, 0xabc, 17).unwrap();
    store.define(&["job"]).unwrap();
    for number in 1..=tasks {
        let mut row = pending(number, &format!("a{number}"));
        row.input = Payload::Inline(vec![7; input]);
        assert!(one(&store, start(&row)).is_ok());
    }
    let lot = store.ahead.lock().next().unwrap();
    assert_eq!(lot.tasks.iter().count() as u64, tasks);
    store.ahead.lock().done();
    Arc::into_inner(lot).unwrap().emptied()
}

#[test]
fn a_lot_is_used_again_and_empty_then() {
    let again = lot_of(3, 1).unwrap();
    assert!(again.is_empty() && again.ids.is_empty() && again.events.is_empty());
    assert_eq!(again.tasks.iter().count(), 0);
    assert!(again.beside.is_empty());
}

#[test]
fn of_a_large_lot_no_room_is_kept() {
    assert!(lot_of(9, 1 << 20).is_none());
}
