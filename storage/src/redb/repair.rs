//! A file opened as an engine opens it, which repairs what a crash has left, and looked over afterwards.

use super::open::examine_to_read;
use super::progress::Watch;
use super::verify::{VerifyReport, verify_watched};
use super::{OnRepair, OpenError, Opened, RedbOptions, RedbStore};
use std::path::Path;

/// What a repair found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// What the open found, and whether it read the whole file to repair it.
    pub opened: Opened,
    /// What is wrong afterwards; nothing of it can be repaired in place.
    pub verified: VerifyReport,
}

/// Opens the file at `path`, which no engine may be on, as an engine would, so that what a crash has left is repaired and
/// a copy takes the place of a file that had failed to sync; then verifies it. `instance` is a fresh chance number,
/// `now_us` the wall clock in microseconds, both for the lock file. `on_repair` is told how far a repair has come, `watch`
/// how far the look afterwards.
///
/// Nothing of a task is changed. What is damaged stays so, and is in the report: a repair makes pages fit together, it
/// does not bring back what is lost.
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore, Watch, repair};
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("tasks.redb");
/// drop(RedbStore::open(&path, RedbOptions::default(), 1, 0).unwrap());
/// let report = repair(&path, (2, 0), None, &Watch::default()).unwrap();
/// assert!(report.verified.is_whole());
/// ```
///
/// # Errors
/// [`OpenError::Damaged`]: it cannot be repaired, salvage it. [`OpenError::Missing`]: nothing is created. The others as
/// for an open.
pub fn repair(
    path: &Path,
    (instance, now_us): (u128, u64),
    on_repair: Option<OnRepair>,
    watch: &Watch,
) -> Result<RepairReport, OpenError> {
    if examine_to_read(path)?.is_none() && !cfg!(planted = "repair_creates") {
        let path = path.to_owned();
        return Err(OpenError::Missing { path });
    }
    let options = RedbOptions {
        on_repair,
        ..RedbOptions::default()
    };
    let store = RedbStore::open(path, options, instance, now_us)?;
    let opened = *store.opened();
    drop(store);
    let verified = verify_watched(path, instance, now_us, watch)?;
    Ok(RepairReport { opened, verified })
}
