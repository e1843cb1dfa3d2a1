//! Records that go round the journal, of all sizes, and what a crash leaves of them.

use super::shape::BLOCK;
use super::*;
use crate::conformance::rows::{removal, task_id};
use crate::row::Payload;

fn with_blocks(path: &Path, blocks: u32) -> RedbStore {
    let options = RedbOptions {
        journal_bytes: blocks * BLOCK as u32,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(path, options, 0xabc, 17).unwrap();
    store.define(&["job"]).unwrap();
    store
}

/// Starts a task whose record takes so many blocks.
fn of_blocks(store: &RedbStore, number: u64, blocks: u64) {
    let mut row = pending(number, &format!("task-{number}"));
    row.input = Payload::Inline(vec![b'x'; (blocks * BLOCK - 1_500) as usize]);
    one(store, start(&row)).unwrap();
}

/// What a crash at this moment leaves, opened.
fn left(path: &Path) -> (TempDir, Result<RedbStore, OpenError>) {
    let (directory, copy) = place();
    fs::copy(path, &copy).unwrap();
    let opened = open(&copy);
    (directory, opened)
}

/// A record that went to the beginning reached beyond the mark of the database. What lay behind it counted as free, and the
/// next record was written over it.
#[test]
fn a_record_that_is_longer_than_what_is_before_it_is_not_written_over() {
    for (blocks, sizes) in [(10, [6, 7, 4]), (512, [282, 285, 260])] {
        let (_directory, path) = place();
        let store = with_blocks(&path, blocks);
        for (number, size) in (1..).zip(sizes) {
            of_blocks(&store, number, size);
            if number == 1 {
                store.catch_up().unwrap();
            }
            let (_crash, opened) = left(&path);
            let opened = opened.expect("a crash is no damage");
            assert!((1..=number).all(|number| get(&opened, number).is_some()));
        }
    }
}

/// Large and small, caught up with or not: whatever was acknowledged is there after a crash.
#[test]
fn nothing_acknowledged_is_lost_whatever_sizes_go_round() {
    let mut chance = crate::conformance::differential::Chance::of(0x2f);
    for _ in 0..12 {
        let (_directory, path) = place();
        let store = with_blocks(&path, 10);
        for number in 1..=24 {
            of_blocks(&store, number, 1 + chance.below(11));
            match chance.below(4) {
                0 => store.catch_up().unwrap(),
                1 => drop(store.entries()),
                _ => {}
            }
            let (_crash, opened) = left(&path);
            let opened = opened.expect("a crash is no damage");
            assert!((1..=number).all(|number| get(&opened, number).is_some()));
        }
    }
}

/// What has no room for its record is made durable with all there is, and then the whole journal is free.
#[test]
fn a_record_for_which_there_is_no_room_leaves_the_journal_free() {
    let (_directory, path) = place();
    let store = with_blocks(&path, 10);
    of_blocks(&store, 1, 6);
    store.catch_up().unwrap();
    let syncs = || store.io().syncs;
    let before = syncs();
    of_blocks(&store, 2, 8);
    assert!(syncs() > before + 1, "by redb");
    for number in 3..=12 {
        let before = syncs();
        of_blocks(&store, number, 1);
        assert_eq!(syncs(), before + 1, "by the journal");
    }
}

#[test]
fn a_commit_that_changes_nothing_is_a_commit_of_the_journal() {
    let (_directory, path) = place();
    let store = with_blocks(&path, 64);
    started(&store, 10, "a");
    store.catch_up().unwrap();
    let nothing = || commit(10, Expect::Etag(Etag(10)), Vec::new());
    one(&store, nothing()).unwrap();
    store.compact().unwrap();
    started(&store, 20, "b");
    let (_crash, opened) = left(&path);
    assert!(get(&opened.expect("a crash is no damage"), 20).is_some());
    for _ in 0..40 {
        one(&store, nothing()).unwrap();
    }
    assert!(store.is_behind(), "they take room");
    store.catch_up().unwrap();
    assert!(!store.is_behind());
}

/// The rows of a lot were written by number, and not in the order of their commits.
#[test]
fn an_id_that_is_freed_may_be_given_to_a_task_of_a_lower_number() {
    let (_directory, path) = place();
    let store = with_blocks(&path, 64);
    started(&store, 10, "x");
    store.catch_up().unwrap();
    one(&store, removal(10, 10)).unwrap();
    started(&store, 5, "x");
    for _ in 0..2 {
        assert_eq!(store.find(&task_id("x")).unwrap(), Some(TaskNumber(5)));
        // From here on by the tables.
        store.entries();
    }
}
