//! A handle that failed is replaced, and a file that failed to sync as well.

use super::shape::Shape;
use super::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::io;

/// The store has failed, at a sync or elsewhere.
fn fail(store: &RedbStore, at_a_sync: bool) {
    let failure = StoreError::Failed {
        message: "told to fail".into(),
    };
    store.failure.set(&failure);
    if at_a_sync {
        store.medium.note_failed_sync();
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

/// A process that ended after a failed sync was followed by one that went on with the file.
#[test]
fn a_failed_sync_is_known_to_the_next_process_until_there_is_a_copy() {
    let (directory, path) = place();
    let file = || platform::FileId::at(&path).unwrap();
    let store = open(&path).unwrap();
    let first = started(&store, 10, "a");
    store.medium.note_failed_sync();
    drop(store);
    let before = file();
    verify(&path, 5, 0).unwrap();
    assert_eq!(file(), before, "who only looks at it changes nothing");
    let store = open(&path).unwrap();
    assert_ne!(file(), before, "another file");
    assert_eq!(get(&store, 10), Some(first));
    drop(store);
    let copy = file();
    drop(open(&path).unwrap());
    assert_eq!(file(), copy, "it is copied once");
    assert_eq!(names(directory.path()), ["tasks.redb", "tasks.redb.lock"]);
    assert_eq!(
        fs::read(directory.path().join("tasks.redb.lock")).unwrap(),
        b""
    );
}

#[test]
fn who_holds_a_file_that_failed_to_sync_is_told() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    store.medium.note_failed_sync();
    store.medium.leaving(3);
    let refused = open(&path).map(|_| ());
    let told = matches!(refused, Err(OpenError::AlreadyRunning { pid: Some(pid), still_running: Some(3), .. })
        if pid == std::process::id());
    assert!(told, "{refused:?}");
}

/// A copy for which there was no room took the last of it, and kept it.
#[test]
fn a_copy_without_room_leaves_nothing_of_it() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    let refused = store.medium.begin_copy(u64::MAX).map(|_| ());
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(names(directory.path()), ["tasks.redb", "tasks.redb.lock"]);
}

#[test]
fn a_copy_takes_the_place_of_nothing_else() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    fs::copy(&elsewhere, &path).unwrap();
    let other = platform::FileId::at(&path).unwrap();
    let refused = current::copied_out(&*store.medium).map(|_| ());
    assert!(
        matches!(refused, Err(StoreError::Replaced { .. })),
        "{refused:?}"
    );
    assert_eq!(platform::FileId::at(&path).unwrap(), other);
    assert_eq!(
        names(directory.path()),
        ["elsewhere", "tasks.redb", "tasks.redb.lock"]
    );
}

/// Memory that fails at its n-th sync.
#[derive(Debug)]
struct FailsToSync {
    memory: InMemoryBackend,
    syncs: Arc<AtomicU64>,
    at: u64,
}

impl StorageBackend for FailsToSync {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.syncs.fetch_add(1, Ordering::Relaxed) + 1 {
            sync if sync == self.at => Err(io::Error::other("told to fail")),
            _ => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.memory.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What redb does as it closes was nobody's answer: a backup whose last sync had failed was acknowledged.
#[test]
fn a_new_file_of_which_any_sync_fails_is_an_error() {
    let build = |at| {
        let syncs = Arc::<AtomicU64>::default();
        let memory = InMemoryBackend::new();
        let failing = FailsToSync {
            memory,
            syncs: Arc::clone(&syncs),
            at,
        };
        let built = create::build_on(failing, Shape::default(), 1);
        (built, syncs.load(Ordering::Relaxed))
    };
    let (built, syncs) = build(u64::MAX);
    built.expect("it never fails");
    assert!(syncs > 2, "{syncs} syncs");
    for at in 1..=syncs {
        assert!(build(at).0.is_err(), "sync {at} of {syncs}");
    }
}

/// redb panicked, and once more as that panic unwound: the process was gone.
#[test]
fn a_file_of_which_the_notes_of_free_pages_are_damaged_is_refused() {
    let (directory, path) = place();
    copies::filled(&path);
    let whole = fs::read(&path).unwrap();
    // There is a bit for each page, and most are free.
    let notes_free = |page: &[u8]| page[0] == 1 && page.windows(17).any(|bits| bits == [0xff; 17]);
    let (mut refused, mut opened) = (0, 0);
    for (number, page) in whole.chunks(4096).enumerate() {
        if !notes_free(page) {
            continue;
        }
        for at in (8..768).step_by(95) {
            let mut bytes = whole.clone();
            bytes[number * 4096 + at] ^= 0x10;
            let damaged = directory.path().join(format!("{number}-{at}"));
            fs::write(&damaged, bytes).unwrap();
            match open(&damaged) {
                Err(OpenError::Damaged { message }) if message.contains("free pages") => {
                    refused += 1;
                }
                // Of the tables.
                Err(_) => {}
                // What an earlier commit had noted. Not closed: where redb believes what is damaged, that ends the process.
                Ok(store) => {
                    std::mem::forget(store);
                    opened += 1;
                }
            }
        }
    }
    assert!(refused > 5 && opened > 5, "{refused} {opened}");
}

/// redb closes a file with a commit, and panicked in whoever dropped the store.
#[test]
fn a_file_that_is_damaged_while_it_is_open_is_closed_without_a_panic() {
    let (_directory, path) = place();
    copies::filled(&path);
    let options = RedbOptions {
        cache_bytes: 0,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(&path, options, 0xabc, 17).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let database_at = store.disk().unwrap().shape().database_at() as usize;
    for page in bytes[database_at..].chunks_mut(4096).skip(1) {
        page[0] = 17;
    }
    fs::write(&path, bytes).unwrap();
    drop(store);
}
