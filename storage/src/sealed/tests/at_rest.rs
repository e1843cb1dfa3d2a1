//! What lies in the file and in its copies: nothing of the user's, and all of it for who has the key.

use super::*;
use crate::redb::{compact, restore, salvage, verify};
use crate::sealed::is_sealed;
use std::collections::HashSet;

/// Whether the bytes of a file have the needle in them, or a part of it.
#[track_caller]
fn assert_unreadable(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    for part in [NEEDLE.as_bytes(), &NEEDLE.as_bytes()[..12]] {
        let found = bytes.windows(part.len()).any(|window| window == part);
        assert!(!found, "a secret is in {}", path.display());
    }
}

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
    drop(sealed(&fresh, old()));
    one(&*file(&fresh), start(&clear)).unwrap();
    let store = sealed(&fresh, old());
    assert!(is_corrupt(store.get(TaskNumber(1))));
}

#[test]
fn a_file_that_lost_its_mark_keeps_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    filled(&sealed(&path, old()));
    let bare = crate::mem::MemStore::new();
    let below = file(&path);
    // A copy of the rows alone, as a salvage makes it that finds no names.
    bare.define(&["job"]).unwrap();
    for number in 1..=5 {
        let row = below.get(TaskNumber(number)).unwrap().unwrap();
        one(&bare, start(&row)).unwrap();
    }
    let bare = SealedStore::open(Arc::new(bare), old()).unwrap();
    for number in 1..=5 {
        assert!(matches!(bare.get(TaskNumber(number)), Ok(Some(_))));
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
