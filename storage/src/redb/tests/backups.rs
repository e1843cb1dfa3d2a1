//! Backups of files that are damaged, or fail: what is acknowledged is worth something, and what is not says why.

use super::copies::{TASKS_OF_FILE, filled, rename, rows};
use super::*;
use std::io::{Seek, SeekFrom, Write};

/// Opens a copy of a file, of which a range is then emptied.
fn damaged(path: &Path, bytes: &[u8], range: std::ops::Range<usize>) -> RedbStore {
    fs::write(path, bytes).unwrap();
    let options = RedbOptions {
        // Next to nothing is known of the pages before the damage.
        cache_bytes: 0,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(path, options, 9, 0).unwrap();
    put_bytes(path, range.start, &vec![0; range.len()]);
    store
}

/// Writes to a file behind the store's back.
fn put_bytes(path: &Path, at: usize, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

fn finding(table: &'static str, key: &str, what: Wrong) -> Finding {
    let key = key.into();
    Finding { table, key, what }
}

/// A backup of a file in which a page had been emptied was acknowledged without a word, and could not be restored.
#[test]
fn a_backup_is_whole_or_says_what_is_missing_and_can_be_restored() {
    let (directory, path) = place();
    filled(&path);
    let all = rows(&path);
    let bytes = fs::read(&path).unwrap();
    let [other, backup, restored] =
        ["other", "backup", "restored"].map(|name| directory.path().join(name));
    let counts = open(&path).unwrap().backup(&backup, 2, 0).unwrap().tables;
    let (mut whole, mut told, mut refused) = (0, 0, 0);
    for page in 1..bytes.len() / 4096 {
        // All of it, its second half, or the first without what says how many entries there are.
        for (from, to) in [(0, 4_096), (2_048, 4_096), (4, 2_048)] {
            let range = page * 4_096 + from..page * 4_096 + to;
            if bytes[range.clone()].iter().all(|byte| *byte == 0) {
                continue;
            }
            for former in [&backup, &restored] {
                let _ = fs::remove_file(former);
            }
            let store = damaged(&other, &bytes, range.clone());
            let report = store.backup(&backup, 3, 0);
            // redb tidies up as it is closed, and would panic on what it finds.
            put_bytes(&other, range.start, &bytes[range]);
            drop(store);
            let Ok(report) = report else {
                refused += 1;
                continue;
            };
            let again = restore(&backup, &restored, 4, 0);
            assert!(again.is_ok(), "page {page}: {again:?}");
            if !report.findings.is_empty() {
                told += 1;
                continue;
            }
            assert_eq!(report.tables, counts, "page {page}");
            assert_eq!(rows(&restored), all, "page {page}");
            whole += 1;
        }
    }
    assert!(
        whole > 0 && told > 0 && refused > 0,
        "{whole}, {told}, {refused}"
    );
}

#[test]
fn an_id_and_a_name_that_are_damaged_are_told_by_a_backup() {
    let (directory, path) = place();
    filled(&path);
    rename(&path, tables::IDS, "task-005", "task-0050");
    rename(&path, tables::DEFINITIONS, "job", "jab");
    let backup = directory.path().join("backup");
    let report = open(&path).unwrap().backup(&backup, 2, 0).unwrap();
    assert_eq!(
        report.findings.named(),
        [
            finding("ids", "task-0050", Wrong::Damaged),
            finding("definitions", "jab", Wrong::Damaged)
        ]
    );
}

/// Whoever asked for a backup while the store was opened again was told to salvage a file that was well.
#[test]
fn a_backup_of_a_store_that_has_failed_says_so_until_it_is_open_again() {
    let (directory, path) = place();
    filled(&path);
    let backup = directory.path().join("backup");
    let store = open(&path).unwrap();
    store.failure.set(&StoreError::Failed {
        message: "told to fail".into(),
    });
    let failed = store.backup(&backup, 2, 0);
    let told = matches!(failed, Err(CopyError::From(OpenError::Io { .. })));
    assert!(told, "{failed:?}");
    store.reopen().unwrap();
    let report = store.backup(&backup, 3, 0).unwrap();
    assert_eq!(report.entries("tasks"), TASKS_OF_FILE);
}
