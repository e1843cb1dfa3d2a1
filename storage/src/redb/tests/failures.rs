//! A handle that failed is replaced, and a file that failed to sync as well.

use super::*;

/// The store has failed, at a sync or elsewhere.
fn fail(store: &RedbStore, at_a_sync: bool) {
    let failure = StoreError::Failed {
        message: "told to fail".into(),
    };
    store.failure.set(&failure);
    let current = store.current.read();
    if at_a_sync {
        current.as_ref().unwrap().disk.pretend_failed_sync();
    }
}

#[test]
fn a_failed_store_takes_nothing_until_it_is_opened_again() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    let first = started(&store, 10, "a");
    let before = platform::FileId::at(&path).unwrap();
    fail(&store, false);
    let refused = store.commit(&[start(&pending(20, "b"))]);
    assert!(matches!(refused, Err(StoreError::Poisoned { .. })));
    assert!(matches!(
        store.get(TaskNumber(10)),
        Err(StoreError::Poisoned { .. })
    ));
    store.reopen().unwrap();
    assert_eq!(get(&store, 10), Some(first));
    assert_eq!(get(&store, 20), None);
    started(&store, 20, "b");
    assert_eq!(
        platform::FileId::at(&path).unwrap(),
        before,
        "the file is the same"
    );
    assert_eq!(names(directory.path()), ["tasks.redb", "tasks.redb.lock"]);
}

#[test]
fn a_file_that_failed_to_sync_is_replaced_by_a_copy_of_it() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    let first = started(&store, 10, "a");
    let before = platform::FileId::at(&path).unwrap();
    fail(&store, true);
    store.reopen().unwrap();
    assert_ne!(platform::FileId::at(&path).unwrap(), before, "another file");
    assert_eq!(names(directory.path()), ["tasks.redb", "tasks.redb.lock"]);
    assert_eq!(get(&store, 10), Some(first.clone()));
    let second = started(&store, 20, "b");
    assert!(matches!(open(&path), Err(OpenError::AlreadyRunning { .. })));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(
        (get(&store, 10), get(&store, 20)),
        (Some(first), Some(second))
    );
}

/// A store that cannot be opened again can be tried again: what it needs for that is not lost.
#[test]
fn an_open_that_fails_may_be_tried_again() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    let first = started(&store, 10, "a");
    let elsewhere = directory.path().join("elsewhere");
    for at_a_sync in [false, true] {
        fail(&store, at_a_sync);
        fs::rename(&path, &elsewhere).unwrap();
        for _ in 0..2 {
            assert!(matches!(store.reopen(), Err(StoreError::Replaced { .. })));
            assert!(matches!(
                store.get(TaskNumber(10)),
                Err(StoreError::Poisoned { .. })
            ));
        }
        fs::rename(&elsewhere, &path).unwrap();
        store.reopen().unwrap();
        assert_eq!(get(&store, 10), Some(first.clone()));
    }
}
