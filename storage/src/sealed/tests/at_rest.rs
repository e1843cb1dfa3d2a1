//! What lies in the file and in its copies: nothing of the user's, and all of it for who has the key.

use super::*;
use crate::redb::{compact, restore, salvage, verify};
use crate::sealed::is_sealed;
use std::collections::HashSet;

#[test]
fn nothing_of_the_users_is_in_the_file_or_its_copies_and_all_of_it_opens() {
    let directory = tempfile::tempdir().unwrap();
    let [path, backup, restored, saved] =
        ["a", "backup", "restored", "saved"].map(|name| directory.path().join(name));
    let below = file(&path);
    let store = SealedStore::open(below.clone(), old()).unwrap();
    filled(&store);
    assert_all_told(&store);
    below.backup(&backup, 2, 0).unwrap();
    drop((store, below));
    restore(&backup, &restored, 3, 0).unwrap();
    salvage(&path, &saved, 4, 0).unwrap();
    compact(&path, 5, 0).unwrap();
    for copy in [&path, &backup, &restored, &saved] {
        assert_unreadable(copy);
        assert_all_told(&sealed(copy, old()));
        let report = verify(copy, 6, 0).unwrap();
        assert!(report.is_whole(), "{:?}", report.findings.named());
    }
}

#[test]
fn without_its_key_a_file_is_told_as_sealed_and_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    filled(&sealed(&path, old()));
    assert_eq!(is_sealed(&*file(&path)), Ok(true));
    assert!(is_missing_key(SealedStore::open(file(&path), new())));
    let looked = SealedStore::look(file(&path), old()).unwrap();
    assert_all_told(&*looked);
}

#[test]
fn the_same_bytes_are_never_sealed_alike() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let below = file(&path);
    let store = SealedStore::open(below.clone(), old()).unwrap();
    let mut seen = HashSet::new();
    for _ in 0..16 {
        let write = Write::Value {
            key: value_key(1),
            bytes: b"[1,2,3]".to_vec(),
        };
        if seen.is_empty() {
            one(&store, start(&pending(1, "a"))).unwrap();
        }
        one(&store, commit(1, Expect::Etag(Etag(1)), vec![write])).unwrap();
        let found = below.value(value_key(1)).unwrap().unwrap();
        // Behind the frame and the id of the key.
        let nonce = found[24 + 8..][..24].to_vec();
        assert!(seen.insert(nonce), "a nonce was used twice");
    }
}

#[test]
fn clear_values_stay_readable_where_sealing_began_later_and_are_refused_where_it_began_first() {
    let directory = tempfile::tempdir().unwrap();
    let [adopted, fresh] = ["adopted", "fresh"].map(|name| directory.path().join(name));
    let clear = row(1, "clear", suspended(WaitReason::Slot));
    one(&*file(&adopted), start(&clear)).unwrap();
    let store = sealed(&adopted, old());
    assert_eq!(store.get(TaskNumber(1)), Ok(Some(clear.clone())));
    drop(store);
    drop(sealed(&fresh, old()));
    one(&*file(&fresh), start(&clear)).unwrap();
    let store = sealed(&fresh, old());
    assert!(is_corrupt(store.get(TaskNumber(1))));
    drop(store);
    let strict = old_key_alone().require_sealed();
    let store = sealed(&adopted, Arc::new(strict));
    assert!(is_corrupt(store.get(TaskNumber(1))));
}

fn old_key_alone() -> Keys {
    Keys::new(old_key())
}

#[test]
fn a_file_that_lost_its_mark_keeps_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    filled(&sealed(&path, old()));
    let below = file(&path);
    for tasks in [&[1, 2, 3][..], &[9]] {
        // A copy of the rows alone, as a salvage makes it that finds no names; the input of the last lies beside it.
        let bare = Arc::new(crate::mem::MemStore::new());
        bare.define(&["lost.definition.1"]).unwrap();
        for number in tasks {
            let mut begins = start(&below.get(TaskNumber(*number)).unwrap().unwrap());
            let value = below.value(input_key(*number)).unwrap();
            begins.writes.extend(value.map(|bytes| Write::Value {
                key: input_key(*number),
                bytes,
            }));
            one(&*bare, begins).unwrap();
        }
        assert_eq!(is_sealed(&*bare), Ok(true));
        let store = SealedStore::open(bare, old()).unwrap();
        for number in tasks {
            assert!(matches!(store.get(TaskNumber(*number)), Ok(Some(_))));
            assert!(store.value(input_key(*number)).is_ok());
        }
    }
}

#[test]
fn a_refused_commit_tells_the_row_as_it_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let store = sealed(&directory.path().join("a"), old());
    let there = row(1, "a", suspended(WaitReason::Slot));
    one(&store, start(&there)).unwrap();
    let again = commit(1, Expect::Etag(Etag(9)), vec![put(&there)]);
    let refused = one(&store, again).unwrap_err();
    assert_eq!(refused.found, Ok(Some(Box::new(there))));
}

/// The mark and a value of a file that was sealed by the first version, under a key of sevens.
const GOLDEN_MARK: &str = "outlive/sealed/ab0a8607cd0008b7fe3d482384242c16e4481c22dc0510bbfee75c270b3ce68809e3eb12de481c40b26d71b5569abb838ef3fdfda565f0cf63d5968608832fec912769ba64a55f4c9a71e03d0a4808ff0b75de43aede4a8625ae000f2ec5ec9b";
const GOLDEN_VALUE: &str = "006f500107000000d95947a47a87f216c5b7ebf43ed4fa0aab0a8607cd0008b79d8501fbc40013367100e9cd9fea7b69fddc5e528674f1761986f7601e378776c9b5da111bbd0fb0240709bf31e937";
const GOLDEN_REASON: &str = "006f50010e000000d95947a47a87f216c5b7ebf43ed4fa0aab0a8607cd0008b715e694ce7ee2c36e2a4d4b7be4c67f5941f566d720c9fb13fa371a8576f03cbde4387f30d7cf97c4e55f0168c5c510eebb036c0c1926";

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn what_the_first_version_sealed_opens_for_ever() {
    let below = Arc::new(crate::mem::MemStore::new());
    below.define(&[GOLDEN_MARK]).unwrap();
    let reason = bytes(GOLDEN_REASON).into_iter().map(char::from);
    let waits = suspended(WaitReason::Input {
        reason: reason.collect::<String>().into(),
    });
    let mut begins = start(&TaskRow {
        state: waits,
        ..pending(1, "a")
    });
    begins.writes.push(Write::Value {
        key: value_key(1),
        bytes: bytes(GOLDEN_VALUE),
    });
    one(&*below, begins).unwrap();
    let keys = Keys::new(Key::new([7; 32]));
    let store = SealedStore::open(below, Arc::new(keys)).unwrap();
    assert_eq!(store.value(value_key(1)), Ok(Some(b"[1,2,3]".to_vec())));
    let row = store.get(TaskNumber(1)).unwrap().unwrap();
    let reason = "needs a person".into();
    assert_eq!(row.state, suspended(WaitReason::Input { reason }));
}
