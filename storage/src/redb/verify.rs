//! Looking a file over as a whole, without changing it: pages, rows, and whether the tables agree with each other.

mod agree;
mod tally;

pub(super) use tally::undecoded;

use super::lock::Lock;
use super::notes;
use super::open::{self, Facts};
use super::open_error::OpenError;
use super::progress::Watch;
use super::report::{Findings, TableCount};
use super::untouched::Untouched;
use agree::Book;
use redb::{Builder, Database, ReadableDatabase};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What the pages of a file are like.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageCheck {
    /// Every page in use matches its checksum.
    Whole,
    /// Some do not; the file opens, and what was read of it is in the report. Salvage it.
    Damaged {
        /// What was found first.
        message: Box<str>,
    },
    /// The file does not open, so nothing else of the report is filled. Salvage it.
    Refused {
        /// What was found.
        message: Box<str>,
    },
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The pages.
    pub pages: PageCheck,
    /// The whole entries of each table.
    pub tables: Vec<TableCount>,
    /// What is wrong, entry by entry.
    pub findings: Findings,
    /// Size of the file, in bytes.
    pub file_bytes: u64,
}

impl VerifyReport {
    /// True when nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.pages == PageCheck::Whole && self.findings.is_empty()
    }

    /// The whole entries of a table; zero for a table of another name.
    pub fn entries(&self, table: &str) -> u64 {
        let found = self.tables.iter().find(|count| count.table == table);
        found.map_or(0, |count| count.entries)
    }
}

/// Reads the whole file at `path`, which no engine may be on, and says what is wrong with it. The file is not changed;
/// its lock is held meanwhile, by a lock file where one can be written beside it. `instance` is a fresh chance number, `now_us` the wall clock in microseconds, both for
/// the lock file.
///
/// Damage is not an error but what the report is for. Memory grows with what redb writes while it checks, not with the
/// file.
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore, verify};
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("tasks.redb");
/// drop(RedbStore::open(&path, RedbOptions::default(), 1, 0).unwrap());
/// assert!(verify(&path, 2, 0).unwrap().is_whole());
/// ```
///
/// # Errors
/// [`OpenError::AlreadyRunning`]: stop the engine first. [`OpenError::NotAStore`]: the path names something else, or a
/// file whose first bytes are damaged, which only [`salvage`](super::salvage) reads. [`OpenError::TooNew`]: take the
/// newer version. The others as for an open.
pub fn verify(path: &Path, instance: u128, now_us: u64) -> Result<VerifyReport, OpenError> {
    verify_watched(path, instance, now_us, &Watch::default())
}

/// As [`verify`], and somebody is told how far it has come: the pages are read once to be checked, and what is in them
/// once more.
///
/// # Errors
/// As for [`verify`].
pub fn verify_watched(
    path: &Path,
    instance: u128,
    now_us: u64,
    watch: &Watch,
) -> Result<VerifyReport, OpenError> {
    let path =
        std::path::absolute(path).map_err(|error| open::refused(path, "find the store", &error))?;
    let missing = || OpenError::Missing { path: path.clone() };
    open::examine_to_read(&path)?.ok_or_else(missing)?;
    let _lock = Lock::take_to_read(&path, instance, now_us)?;
    let file = open::examine_to_read(&path)?.ok_or_else(missing)?;
    let len = file.metadata().map(|found| found.len());
    let file_bytes = len.map_err(|error| open::refused(&path, "look at the store", &error))?;
    let mut report = VerifyReport {
        pages: PageCheck::Whole,
        tables: Vec::new(),
        findings: Findings::default(),
        file_bytes,
    };
    let loaded = match load(&path, file, true, watch) {
        Err(OpenError::Damaged { message }) => {
            report.pages = PageCheck::Damaged { message };
            let file = open::examine_to_read(&path)?.ok_or_else(missing)?;
            load(&path, file, false, watch)
        }
        loaded => loaded,
    };
    let (database, facts) = match loaded {
        Ok(loaded) => loaded,
        Err(OpenError::Damaged { message }) => {
            report.pages = PageCheck::Refused { message };
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    look(&database, &facts, &mut report);
    // What redb does as it closes goes nowhere, and on damaged pages may panic.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    Ok(report)
}

/// Opens the file so that nothing is written to it. With `check` every page in use is compared with its checksum.
pub(super) fn load(
    path: &Path,
    file: File,
    check: bool,
    watch: &Watch,
) -> Result<(Database, Facts), OpenError> {
    let untouched =
        Untouched::new(file, watch).map_err(|error| open::database_error(path, error))?;
    let shape = untouched.shape();
    let journal = untouched.journal();
    let journal = journal.map_err(|error| open::head_error(path, error))?;
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        notes::check(path, &untouched)?;
        let database = Builder::new()
            .set_check_integrity_on_open(check)
            .set_cache_size(64 << 20)
            .create_with_backend(untouched)
            .map_err(|error| open::database_error(path, error))?;
        let facts = open::replayed(path, &database, (shape, &journal), || Ok(()))?;
        Ok((database, facts))
    }));
    loaded.unwrap_or_else(|_| {
        Err(OpenError::Damaged {
            message: "its pages do not fit together".into(),
        })
    })
}

fn look(database: &Database, facts: &Facts, report: &mut VerifyReport) {
    let began = catch_unwind(AssertUnwindSafe(|| database.begin_read()));
    let Ok(Ok(txn)) = began else {
        report.pages = PageCheck::Refused {
            message: "no read can begin".into(),
        };
        return;
    };
    let mut book = Book::new(&txn, facts.counters);
    book.look_over();
    (report.tables, report.findings) = book.done();
}
