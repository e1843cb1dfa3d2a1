//! A file made as small as what is in it.

use super::*;
use crate::commit::Write;
use crate::conformance::rows::{removal, written};
use crate::row::{ValueKey, ValueKind};

/// A store of so many tasks with large outputs, of which the tenth part is left.
fn mostly_removed(path: &Path) -> Vec<TaskRow> {
    let store = open(path).unwrap();
    let numbers = (1..=200).map(|number| number * 10);
    let mut rows = Vec::new();
    for task in numbers {
        rows.push(started(&store, task, &format!("t{task}")));
        let key = ValueKey {
            task: TaskNumber(task),
            kind: ValueKind::Output,
            index: 0,
        };
        let bytes = vec![1; 20_000];
        written(&store, task, vec![Write::Value { key, bytes }]);
    }
    let (left, gone): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.etag.0 % 100 == 0);
    for row in gone {
        one(&store, removal(row.etag.0, row.etag.0)).expect("accepted");
    }
    left
}

#[test]
fn a_file_is_made_as_small_as_what_is_in_it_and_opens_at_once() {
    let (directory, path) = place();
    let left = mostly_removed(&path);
    let report = compact(&path, 2, 0).unwrap();
    assert_eq!(report.bytes_after, fs::metadata(&path).unwrap().len());
    assert!(report.bytes_after * 2 < report.bytes_before, "{report:?}");
    assert_eq!(verify(&path, 3, 0).unwrap().pages, PageCheck::Whole);
    let store = open(&path).unwrap();
    assert!(!store.opened().repaired, "it is read as a whole");
    for row in left {
        let task = row.etag.0;
        assert_eq!(get(&store, task), Some(row));
    }
    assert_eq!(names(directory.path()), ["tasks.redb", "tasks.redb.lock"]);
}

/// Where no page is free, a commit makes redb double the file: only the close knows how to do without.
#[test]
fn a_file_does_not_grow_again_at_the_end_of_its_compaction() {
    let (_directory, path) = place();
    let options = RedbOptions {
        journal_bytes: 0,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(&path, options, 0xabc, 17).unwrap();
    for task in 1..=1_000 {
        started(&store, task * 10, &format!("t{task}"));
    }
    store.compact().unwrap();
    let compacted = fs::metadata(&path).unwrap().len();
    drop(store);
    let closed = fs::metadata(&path).unwrap().len();
    assert!(compacted <= closed, "{compacted} bytes, closed {closed}");
}

#[test]
fn a_file_that_is_open_or_damaged_or_not_there_is_not_compacted() {
    let (_directory, path) = place();
    assert!(matches!(
        compact(&path, 2, 0),
        Err(OpenError::Missing { .. })
    ));
    let store = open(&path).unwrap();
    let row = started(&store, 10, "a");
    assert!(matches!(
        compact(&path, 2, 0),
        Err(OpenError::AlreadyRunning { .. })
    ));
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let version = row.facts.server_version.as_bytes();
    let at = bytes.windows(version.len()).rposition(|at| at == version);
    bytes[at.expect("the row is in the file")] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        compact(&path, 2, 0),
        Err(OpenError::Damaged { .. })
    ));
    assert_eq!(fs::read(&path).unwrap(), bytes, "it is as it was");
}
