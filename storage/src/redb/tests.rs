//! The file's life: created whole, opened by one, never written over.

mod appended;
mod backups;
mod compacted;
mod copies;
mod failures;
mod gapped;
mod journalled;
mod rounds;
mod salvaged;
mod upkeep;

use super::*;
use crate::commit::Expect;
use crate::conformance::rows::{
    by_etag, claimed, commit, ended, found, get, moved, one, pending, put, running, start, started,
};
use crate::row::{Etag, Generation, TaskNumber};
use crate::store::Scan;
use std::fs;
use tempfile::TempDir;

/// A directory with the path of a store in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    (directory, path)
}

fn open(path: &Path) -> Result<RedbStore, OpenError> {
    RedbStore::open(path, RedbOptions::default(), 0xabc, 17)
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Refuses to open `path`, leaves `content` in it and no further file in its directory.
#[track_caller]
fn assert_refused_untouched(path: &Path, content: &[u8], expected: OpenError) {
    assert_eq!(open(path).map(|_| ()), Err(expected));
    assert_eq!(fs::read(path).unwrap(), content);
    assert_eq!(names(path.parent().unwrap()), ["tasks.redb"]);
}

#[test]
fn a_new_file_is_created_whole_and_for_its_owner_only() {
    let (directory, path) = place();
    let store = open(&path).unwrap();
    assert!(store.opened().created);
    assert_eq!(store.opened().format, tables::SUPPORTED);
    assert_eq!(names(directory.path()), ["tasks.redb", "tasks.redb.lock"]);
    #[cfg(unix)]
    for name in ["tasks.redb", "tasks.redb.lock"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(store);
    let store = open(&path).unwrap();
    assert!(!store.opened().created && !store.opened().repaired);
}

#[test]
fn an_empty_file_is_refused_and_not_filled() {
    let (_directory, path) = place();
    fs::write(&path, b"").unwrap();
    assert_refused_untouched(&path, b"", OpenError::Empty { path: path.clone() });
}

#[test]
fn a_file_of_something_else_is_refused_untouched() {
    let (_directory, path) = place();
    for junk in [b"short".as_slice(), &[7; 9000]] {
        fs::write(&path, junk).unwrap();
        assert_refused_untouched(&path, junk, OpenError::NotAStore { path: path.clone() });
    }
}

#[test]
fn a_directory_a_symlink_and_a_missing_directory_are_refused_without_a_lock_file() {
    let (directory, path) = place();
    fs::create_dir(&path).unwrap();
    assert_eq!(
        open(&path).map(|_| ()),
        Err(OpenError::IsDirectory { path: path.clone() })
    );
    let missing = directory.path().join("missing");
    let answer = open(&missing.join("tasks.redb")).map(|_| ());
    assert_eq!(answer, Err(OpenError::MissingDirectory { path: missing }));
    #[cfg(unix)]
    for (name, target) in [("dangling", "nowhere"), ("link", "tasks.redb")] {
        let link = directory.path().join(name);
        std::os::unix::fs::symlink(directory.path().join(target), &link).unwrap();
        assert_eq!(
            open(&link).map(|_| ()),
            Err(OpenError::Symlink { path: link.clone() })
        );
        fs::remove_file(link).unwrap();
    }
    assert_eq!(names(directory.path()), ["tasks.redb"]);
}

#[cfg(unix)]
#[test]
fn a_lock_file_that_is_a_symlink_is_refused() {
    let (directory, path) = place();
    let lock = directory.path().join("tasks.redb.lock");
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), &lock).unwrap();
    assert_eq!(
        open(&path).map(|_| ()),
        Err(OpenError::Symlink { path: lock })
    );
    assert_eq!(names(directory.path()), ["tasks.redb.lock"]);
}

#[test]
fn another_programs_redb_file_is_refused_untouched() {
    let (_directory, path) = place();
    let other = redb::TableDefinition::<u64, u64>::new("other");
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(other).unwrap().insert(1, 2).unwrap();
    txn.commit().unwrap();
    // A copy of the open file is what a crash leaves: redb would repair it when it opens it.
    let unclean = fs::read(&path).unwrap();
    drop(database);
    let clean = fs::read(&path).unwrap();
    for content in [clean, unclean] {
        fs::write(&path, &content).unwrap();
        assert_eq!(
            open(&path).map(|_| ()),
            Err(OpenError::NotAStore { path: path.clone() })
        );
        assert!(fs::read(&path).unwrap() == content, "the file was changed");
    }
}

#[test]
fn a_newer_file_is_refused_untouched() {
    let (_directory, path) = place();
    drop(open(&path).unwrap());
    let database = bare_database(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(tables::META)
        .unwrap()
        .insert(tables::FORMAT, 2)
        .unwrap();
    txn.commit().unwrap();
    drop(database);
    let content = fs::read(&path).unwrap();
    assert_eq!(
        open(&path).map(|_| ()),
        Err(OpenError::TooNew {
            found: 2,
            supported: 1
        })
    );
    assert!(fs::read(&path).unwrap() == content, "the file was changed");
}

#[test]
fn a_cut_file_is_damaged_and_left_as_it_is() {
    let (_directory, path) = place();
    drop(open(&path).unwrap());
    let whole = fs::read(&path).unwrap();
    for len in [9, 100, 4096, whole.len() / 2] {
        fs::write(&path, &whole[..len]).unwrap();
        let answer = open(&path).map(|_| ());
        assert!(
            matches!(answer, Err(OpenError::Damaged { .. })),
            "{len} bytes: {answer:?}"
        );
        assert!(
            fs::read(&path).unwrap() == whole[..len],
            "the file was changed"
        );
    }
}

#[test]
fn a_second_open_names_the_holder() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let pid = Some(std::process::id());
    assert_eq!(
        open(&path).map(|_| ()),
        Err(OpenError::AlreadyRunning {
            pid,
            still_running: None,
            reached_at: Vec::new(),
            path: path.clone()
        })
    );
    started(&store, 10, "a");
    drop(store);
    assert!(open(&path).is_ok());
}

#[test]
fn a_second_open_learns_that_the_holder_has_stopped_but_for_some_handlers() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    store.leaving(2);
    let Err(OpenError::AlreadyRunning { still_running, .. }) = open(&path).map(|_| ()) else {
        panic!("it is held");
    };
    assert_eq!(still_running, Some(2));
    drop(store);
    assert!(open(&path).is_ok());
}

#[test]
fn a_second_open_learns_where_the_holder_is_reached() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let given = ["http://127.0.0.1:7", "unix:/a b", "unix:/\u{1b}", "x\ny"].map(str::to_owned);
    store.reached_at(&given);
    store.leaving(2);
    let Err(OpenError::AlreadyRunning { reached_at, .. }) = open(&path).map(|_| ()) else {
        panic!("it is held");
    };
    assert_eq!(
        reached_at,
        given[..2],
        "and nothing that could be another line"
    );
    drop(store);
    let again = open(&path).unwrap();
    let Err(OpenError::AlreadyRunning { reached_at, .. }) = open(&path).map(|_| ()) else {
        panic!("it is held");
    };
    assert!(
        reached_at.is_empty(),
        "the next holder is not reached there"
    );
    drop(again);
}

#[test]
fn a_lock_file_left_by_the_dead_hinders_nobody() {
    let (directory, path) = place();
    let lock = directory.path().join("tasks.redb.lock");
    fs::write(&lock, "pid 1\ninstance 0\nstarted 0\n").unwrap();
    let _store = open(&path).unwrap();
    let signed = format!(
        "pid {}\ninstance {:032x}\nstarted 17\n",
        std::process::id(),
        0xabc
    );
    assert_eq!(fs::read_to_string(lock).unwrap(), signed);
}

#[test]
fn leftovers_of_dead_creators_are_removed_and_nothing_else() {
    let (directory, path) = place();
    let leftover = format!("tasks.redb.{:032x}.tmp", 5);
    for name in [leftover.as_str(), "tasks.redb.old.tmp", "other.tmp"] {
        fs::write(directory.path().join(name), b"x").unwrap();
    }
    let _store = open(&path).unwrap();
    assert_eq!(
        names(directory.path()),
        [
            "other.tmp",
            "tasks.redb",
            "tasks.redb.lock",
            "tasks.redb.old.tmp"
        ]
    );
}

#[test]
fn publishing_never_replaces_a_file() {
    let (directory, path) = place();
    let temporary = directory.path().join("temporary");
    fs::write(&path, b"living").unwrap();
    fs::write(&temporary, b"new").unwrap();
    assert!(!create::publish(&temporary, &path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"living");
}

#[cfg(unix)]
#[test]
fn a_replaced_file_stops_the_store_before_it_acknowledges() {
    for name in ["tasks.redb", "tasks.redb.lock"] {
        let (directory, path) = place();
        let store = open(&path).unwrap();
        started(&store, 10, "a");
        let moved = directory.path().join(name);
        fs::rename(&moved, directory.path().join("moved")).unwrap();
        fs::write(&moved, b"another").unwrap();
        let answer = store.commit(&[start(&pending(20, "b"))]);
        assert_eq!(
            answer,
            Err(StoreError::Replaced {
                path: moved.to_str().unwrap().into()
            })
        );
        let read = store.find(&pending(20, "b").id);
        assert!(matches!(read, Err(StoreError::Poisoned { .. })));
        // Somebody else's file is not opened either.
        assert!(matches!(store.reopen(), Err(StoreError::Replaced { .. })));
        assert_eq!(fs::read(&moved).unwrap(), b"another");
    }
}

/// The writes a commit costs.
fn cost(store: &RedbStore, commit: Commit) -> u64 {
    let before = store.btree_writes();
    one(store, commit).expect("accepted");
    store.btree_writes() - before
}

#[test]
fn a_start_costs_four_writes_and_an_end_three() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let row = pending(10, "a");
    assert_eq!(cost(&store, start(&row)), 4);
    assert_eq!(
        cost(
            &store,
            commit(
                20,
                Expect::Absent,
                vec![put(&running(&pending(20, "b"), 20, 1))]
            )
        ),
        4
    );
    let claim = running(&row, 30, 2);
    assert_eq!(cost(&store, by_etag(10, 10, &claim)), 3);
    let steered = crate::row::TaskRow {
        etag: Etag(31),
        inputs_accepted: 2,
        ..claim.clone()
    };
    assert_eq!(cost(&store, by_etag(10, 30, &steered)), 1);
    let done = moved(&steered, 32, ended(crate::row::Micros(900)));
    assert_eq!(
        cost(
            &store,
            commit(10, Expect::Lease(Generation(2)), vec![put(&done)])
        ),
        3
    );
}

/// A store with this many tasks, and a copy of it while it is open, which is what a crash leaves.
fn crashed(directory: &Path, tasks: u64) -> RedbStore {
    let store = open(&directory.join("tasks.redb")).unwrap();
    for first in (1..=tasks).step_by(500) {
        let numbers = first..=tasks.min(first + 499);
        let batch: Vec<_> = numbers
            .map(|number| start(&pending(number, &format!("task-{number}"))))
            .collect();
        store.commit(&batch).unwrap();
    }
    // In the database, and not in the journal alone.
    store.catch_up().unwrap();
    let copy = directory.join("copy.redb");
    fs::copy(store.path(), &copy).unwrap();
    open(&copy).unwrap()
}

#[test]
fn an_open_after_a_crash_repairs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = crashed(directory.path(), 600);
    assert!(!store.opened().repaired && !store.opened().created);
    assert_eq!(get(&store, 600), Some(pending(600, "task-600")));
}

#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "redb reads the whole file in debug builds, to check itself"
)]
fn an_open_after_a_crash_does_not_read_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = crashed(directory.path(), 15_000);
    let (opened, io) = (store.opened(), store.io());
    assert!(opened.file_bytes > 8 << 20, "{opened:?}");
    assert!(io.read_bytes < opened.file_bytes / 20, "{opened:?} {io:?}");
}

/// Flips a bit in the stored bytes of a row, behind the store's back.
fn damage(path: &Path, task: u64, at: usize) {
    let database = bare_database(path).unwrap();
    let txn = database.begin_write().unwrap();
    {
        let mut table = txn.open_table(tables::TASKS).unwrap();
        let mut bytes = table.get(task).unwrap().unwrap().value().to_vec();
        bytes[at] ^= 1;
        table.insert(task, bytes.as_slice()).unwrap();
    }
    txn.commit().unwrap();
}

#[test]
fn a_damaged_row_refuses_only_what_needs_it() {
    let (_directory, path) = place();
    let store = open(&path).unwrap();
    let whole = started(&store, 10, "whole");
    started(&store, 20, "damaged");
    drop(store);
    damage(&path, 20, 10);
    let store = open(&path).unwrap();
    let corrupt = StoreError::Corrupt {
        table: "tasks",
        key: "20".into(),
    };
    assert_eq!(store.get(TaskNumber(20)), Err(corrupt.clone()));
    let page = store.scan(Scan::All, None, 10).unwrap();
    let rows: Vec<_> = page.rows.into_iter().map(|found| found.row).collect();
    assert_eq!(rows, vec![Err(corrupt.clone()), Ok(whole.clone())]);
    let conflict = Err(Conflict {
        task: TaskNumber(20),
        found: Err(corrupt),
    });
    let next = moved(&whole, 30, ended(crate::row::Micros::NEVER));
    let batch = [
        by_etag(20, 20, &pending(25, "damaged")),
        start(&pending(40, "damaged")),
        by_etag(10, 10, &next),
    ];
    let answers = store.commit(&batch).unwrap();
    assert_eq!(answers[..2], [conflict.clone(), conflict]);
    assert!(answers[2].is_ok());
    assert_eq!(get(&store, 10), Some(next));
}

#[test]
fn quick_repair_may_be_turned_off() {
    let (directory, path) = place();
    let options = RedbOptions {
        quick_repair: false,
        verify_on_open: true,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(&path, options, 1, 0).unwrap();
    let row = claimed(&store, 10, "a");
    let copy = directory.path().join("copy.redb");
    fs::copy(&path, &copy).unwrap();
    let copy = open(&copy).unwrap();
    assert!(copy.opened().repaired);
    assert_eq!(one(&copy, start(&pending(20, "a"))), found(10, &row));
}
