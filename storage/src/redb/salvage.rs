//! A new file of what is whole in a damaged one, also in one that redb refuses to open.
//!
//! The damaged file is read as bytes. Its trees are followed from the root of the last commit, so that nothing comes
//! back that was removed; each entry is taken when its checksum, which covers its key, is right. Where a tree is broken,
//! every page of the file is looked at, and of each entry that no tree leads to the newest version is taken, unless the
//! log says that its task was removed. What only the journal has is done again on that, also where a record of it is lost. Then
//! what hangs on tasks is made to agree with them, and all that only repeats what rows say is built anew.

mod again;
mod agree;
mod behind;
mod gather;
mod pages;
mod rows;
mod settle;
mod shelf;
mod trees;

use super::copy_error::CopyError;
use super::fresh::Fresh;
use super::lock::Lock;
use super::open::refused;
use super::open_error::OpenError;
use super::progress::Watch;
use super::report::Findings;
use crate::row::{Etag, Micros};
use crate::store::{Counters, StoreError};
use pages::Pages;
use redb::WriteTransaction;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use trees::Trees;

pub use behind::JournalSaved;
pub(super) use gather::Gathered;
pub(super) use pages::PageRef;
pub(super) use rows::{Put, Rows};
pub(super) use settle::settle;
pub(super) use shelf::{Shelf, said};
pub use trees::Found;

/// What was saved of one table, and what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSaved {
    /// The table.
    pub table: &'static str,
    /// Entries in the new file.
    pub saved: u64,
    /// Entries that were there by the table's own word and are not in the new file.
    pub lost: u64,
}

/// What [`salvage`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// How the rows were found.
    pub found: Found,
    /// The tables whose entries are more than indexes.
    pub tables: Vec<TableSaved>,
    /// What is damaged or missing.
    pub findings: Findings,
    /// Tasks of which only an earlier version was found: the log has a later transition. They go on from there.
    pub outdated: u64,
    /// What only the journal had.
    pub journal: JournalSaved,
}

impl SalvageReport {
    /// Entries in the new file.
    pub fn saved(&self) -> u64 {
        self.tables.iter().map(|table| table.saved).sum()
    }

    /// Entries known to be lost.
    pub fn lost(&self) -> u64 {
        self.tables.iter().map(|table| table.lost).sum()
    }
}

/// Makes a new file at `to` of what is whole in the file at `from`, which no engine may be on. `instance` is a fresh
/// chance number and becomes the new file's incarnation, `now_us` is the wall clock in microseconds.
///
/// When it returns, the new file is whole and durable; until then nothing lies under its path. The damaged file is not
/// changed. Etags and generations of the new file begin far above all that were found, so that nothing decided on the old
/// one is taken for a decision on it. Tasks that were running are recovered by the next open, as after a crash. A task
/// whose row is lost is lost with all that hangs on it; an input whose receipt is lost is not known again when its caller
/// asks with the same id; a definition whose name is lost is called `lost.definition.N`,
/// which [`formerly`](https://docs.rs/outlive) takes over.
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore, salvage};
/// let directory = tempfile::tempdir().unwrap();
/// let [from, to] = ["damaged.redb", "saved.redb"].map(|name| directory.path().join(name));
/// drop(RedbStore::open(&from, RedbOptions::default(), 1, 0).unwrap());
/// assert_eq!(salvage(&from, &to, 2, 0).unwrap().lost(), 0);
/// assert!(RedbStore::open(&to, RedbOptions::default(), 3, 0).is_ok());
/// ```
///
/// # Errors
/// [`CopyError::Exists`]: give another path for the new file. [`CopyError::From`]: an engine is on the damaged file, or
/// it holds nothing of this library. [`CopyError::To`], [`CopyError::Full`], [`CopyError::Failed`]: the new file cannot
/// be written. Damage is not an error.
pub fn salvage(
    from: &Path,
    to: &Path,
    instance: u128,
    now_us: u64,
) -> Result<SalvageReport, CopyError> {
    salvage_watched((from, to), instance, now_us, &Watch::default())
}

/// As [`salvage`], from the first path to the second, and somebody is told how far it has come: where a tree is broken,
/// the whole file is read, and more than once.
///
/// # Errors
/// As for [`salvage`].
pub fn salvage_watched(
    (from, to): (&Path, &Path),
    instance: u128,
    now_us: u64,
    watch: &Watch,
) -> Result<SalvageReport, CopyError> {
    let from = std::path::absolute(from)
        .map_err(|error| CopyError::From(refused(from, "find the store", &error)))?;
    look(&from).map_err(CopyError::From)?;
    let lock = Lock::take_to_read(&from, instance, now_us).map_err(CopyError::From)?;
    let file = look(&from).map_err(CopyError::From)?;
    // Where no lock file can be written, the lock that redb takes on the file itself tells of an engine.
    let asks = lock.is_none() && !cfg!(planted = "salvage_of_a_file_in_use");
    if asks && matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return Err(CopyError::From(OpenError::AlreadyRunning {
            pid: None,
            still_running: None,
            reached_at: Vec::new(),
            path: from,
        }));
    }
    let pages = Pages::new(file, watch)
        .map_err(|error| CopyError::From(refused(&from, "read the store", &error)))?;
    let fresh = Fresh::begin(to, instance, now_us)?;
    let trees = Trees::find(&pages);
    let mut report = SalvageReport {
        found: trees.found,
        tables: Vec::new(),
        findings: Findings::default(),
        outdated: 0,
        journal: JournalSaved::default(),
    };
    let filled = |txn: &_| fill(txn, (&pages, &trees), (&from, now_us), &mut report);
    fresh.fill(filled)?;
    fresh.publish()?;
    Ok(report)
}

/// Puts into the new file what there is, and answers from where on numbers may be handed out.
fn fill(
    txn: &WriteTransaction,
    (pages, trees): (&Pages, &Trees),
    (from, now_us): (&Path, u64),
    report: &mut SalvageReport,
) -> Result<Counters, CopyError> {
    let findings = &mut report.findings;
    let mut rows = Rows::open(txn)?;
    let mut gathered = gather::gather(pages, trees, &mut rows, findings)?;
    settle::give_ids(txn, &mut rows)?;
    let before = lens(&rows)?;
    let (etag, generation) = (rows.etag, rows.generation);
    drop(rows);
    let (reached, journal) = behind::again(pages, Etag(etag), (txn, findings), &mut gathered)?;
    settle::unsettle(txn)?;
    let mut rows = Rows::open(txn)?;
    rows.etag = etag.max(reached.etag.0);
    rows.generation = generation.max(reached.generation.0);
    if trees.found == Found::NotFound && rows.etag == 0 && gathered.names.is_empty() {
        let path = from.to_owned();
        return Err(CopyError::From(OpenError::NotAStore { path }));
    }
    report.outdated = gathered.outdated(&rows)?;
    report.journal = journal;
    let expected = expected(&gathered.expected, &before, &lens(&rows)?);
    if journal.is_broken && !cfg!(planted = "salvage_calls_a_broken_log_whole") {
        gathered.searched.insert(Shelf::Events);
    }
    // Where nothing is damaged, nothing is mended.
    let is_damaged = !gathered.searched.is_empty() || !findings.is_empty();
    if is_damaged || journal.is_broken || journal.taken + journal.refused > 0 {
        agree::agree(&mut rows, Micros(now_us), findings)?;
    }
    let counters = settle(txn, &mut rows, gathered, findings)?;
    let missing = agree::tell_missing_values(&rows, findings)?;
    report.tables = counts(&rows, &expected, missing)?;
    Ok(counters)
}

/// The file, whatever it holds, if it is one.
fn look(path: &Path) -> Result<File, OpenError> {
    let failed = |error: std::io::Error| refused(path, "open the store", &error);
    let missing = std::io::ErrorKind::NotFound;
    let owned = || path.to_owned();
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == missing => Err(OpenError::Missing { path: owned() }),
        Err(error) => Err(failed(error)),
        Ok(found) if found.is_symlink() => Err(OpenError::Symlink { path: owned() }),
        Ok(found) if found.is_dir() => Err(OpenError::IsDirectory { path: owned() }),
        Ok(found) if !found.is_file() => Err(OpenError::NotAStore { path: owned() }),
        Ok(found) if found.len() == 0 => Err(OpenError::Empty { path: owned() }),
        Ok(_) => File::open(path).map_err(failed),
    }
}

/// How many entries each table has.
fn lens(rows: &Rows<'_>) -> Result<BTreeMap<Shelf, u64>, CopyError> {
    let len = |shelf: Shelf| Ok((shelf, rows.len(shelf)?));
    Shelf::ALL.into_iter().map(len).collect()
}

/// How many entries each table should have: as many as it said itself, and what the journal brought and took.
fn expected(
    said: &BTreeMap<Shelf, u64>,
    before: &BTreeMap<Shelf, u64>,
    after: &BTreeMap<Shelf, u64>,
) -> BTreeMap<Shelf, u64> {
    let of = |lens: &BTreeMap<Shelf, u64>, shelf| lens.get(&shelf).copied().unwrap_or(0);
    let expected = |shelf| {
        let with = of(said, shelf).saturating_add(of(after, shelf));
        (shelf, with.saturating_sub(of(before, shelf)))
    };
    Shelf::ALL.into_iter().map(expected).collect()
}

fn counts(
    rows: &Rows<'_>,
    expected: &BTreeMap<Shelf, u64>,
    values_missing: u64,
) -> Result<Vec<TableSaved>, CopyError> {
    let mut tables = Vec::new();
    for shelf in Shelf::ALL {
        let saved = rows.len(shelf)?;
        let expected = expected.get(&shelf).copied().unwrap_or(0);
        let missing = match shelf {
            Shelf::Values => values_missing,
            Shelf::Tasks
            | Shelf::Inputs
            | Shelf::Receipts
            | Shelf::Turns
            | Shelf::Steps
            | Shelf::Asks
            | Shelf::Runs
            | Shelf::Stream
            | Shelf::Events
            | Shelf::Lives => 0,
        };
        tables.push(TableSaved {
            table: shelf.name(),
            saved,
            lost: expected.saturating_sub(saved).max(missing),
        });
    }
    Ok(tables)
}

/// What an entry is that cannot be encoded.
fn malformed(error: StoreError) -> CopyError {
    CopyError::Failed {
        message: error.to_string().into(),
    }
}
