//! A file made as small as what is in it.

use super::verify::{PageCheck, verify};
use super::{OpenError, RedbOptions, RedbStore, fault};
use crate::store::StoreError;
use redb::CompactionError;
use std::path::Path;

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// The length of the file before, in bytes.
    pub bytes_before: u64,
    /// The length of the file afterwards, in bytes.
    pub bytes_after: u64,
}

/// Makes the file at `path`, which no engine may be on, as small as what is in it: pages are moved to the front, and the
/// end is cut off. Its lock is held meanwhile. `instance` is a fresh chance number, `now_us` the wall clock in microseconds,
/// both for the lock file. Every page is checked first: nothing of a damaged file is moved.
///
/// The file is whole after a crash at any moment, and may then be compacted again. What was removed from it before is not
/// in it any more afterwards.
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore, compact};
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("tasks.redb");
/// drop(RedbStore::open(&path, RedbOptions::default(), 1, 0).unwrap());
/// let report = compact(&path, 2, 0).unwrap();
/// assert!(report.bytes_after <= report.bytes_before);
/// ```
///
/// # Errors
/// [`OpenError::AlreadyRunning`]: stop the engine first. [`OpenError::Damaged`]: salvage the file, the new one is small.
/// [`OpenError::Io`]: without room, too, for moving pages takes some for a while. The others as for an open.
pub fn compact(path: &Path, instance: u128, now_us: u64) -> Result<CompactReport, OpenError> {
    let report = verify(path, instance, now_us)?;
    match report.pages {
        PageCheck::Whole => {}
        // A page that is moved gets another checksum, which the damage would then agree with.
        PageCheck::Damaged { message } | PageCheck::Refused { message } => {
            return Err(OpenError::Damaged { message });
        }
    }
    let store = RedbStore::open(path, RedbOptions::default(), instance, now_us)?;
    store.compact().map_err(|error| OpenError::Io {
        what: "move the pages of the store",
        message: error.to_string().into(),
    })?;
    let path = store.path().to_owned();
    drop(store);
    let after = std::fs::metadata(&path);
    let after = after.map_err(|error| super::open::refused(&path, "look at the store", &error))?;
    Ok(CompactReport {
        bytes_before: report.file_bytes,
        bytes_after: after.len(),
    })
}

impl RedbStore {
    /// Makes the file as small as what is in it. Every other call waits meanwhile.
    ///
    /// What saves the next open from reading the whole file comes with the next durable commit, and with the close: one of
    /// its own, right after it, would find no free page, and redb doubles a file without one.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Failed`]: what is in the file is as it was; the store must be opened again.
    pub fn compact(&self) -> Result<(), StoreError> {
        // What was put off comes first, for the same reason.
        let compacted = self.wipe_journal().and_then(|()| self.move_pages());
        if cfg!(planted = "compacted_file_grows") {
            self.begin_write()?.commit().map_err(fault)?;
        }
        if let Err(failure) = &compacted {
            self.failure.set(failure);
        }
        compacted
    }

    fn move_pages(&self) -> Result<(), StoreError> {
        let mut current = self.current.write();
        self.failure.check()?;
        self.medium.check_in_place()?;
        if let Some(current) = &mut *current {
            current.database.compact().map_err(failed)?;
        }
        Ok(())
    }

    /// Nothing of what was written is left in the journal. No batch gets in between: its record would be wiped.
    fn wipe_journal(&self) -> Result<(), StoreError> {
        // As for any call: nobody opens the file anew meanwhile.
        let _current = self.current.read_recursive();
        let _reached = self.reached.lock();
        self.settle()?;
        let Some(disk) = self.disk() else {
            return Ok(());
        };
        let len = disk.shape().journal as usize;
        if len == 0 || cfg!(planted = "journal_not_wiped") {
            return Ok(());
        }
        let wiped = disk.put_record(0, &vec![0; len]);
        wiped.map_err(|error| fault(redb::StorageError::from(error)))
    }
}

fn failed(error: CompactionError) -> StoreError {
    match error {
        CompactionError::Storage(error) => fault(error),
        other => StoreError::Failed {
            message: other.to_string().into(),
        },
    }
}
