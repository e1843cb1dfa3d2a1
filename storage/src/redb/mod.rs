//! The store on one redb file, for one process at a time. It has so many lines because each call of `Store` is kept here.

mod absent;
mod ahead;
mod append;
mod asks;
mod backend;
mod backup;
mod batch;
mod catch_up;
mod commit;
mod compact;
mod copy_error;
mod create;
mod current;
mod export;
mod families;
mod fresh;
mod hanging;
mod ids;
mod import;
mod indexes;
mod info;
mod journal;
mod lengths;
mod lines;
mod listed;
mod lists;
mod lives;
mod lock;
mod lot;
mod medium;
mod notes;
mod open;
mod open_error;
mod options;
#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
use other as platform;
mod panics;
mod part;
mod progress;
mod read;
mod repair;
mod replay;
mod report;
mod reseal;
mod salvage;
mod seal;
mod shape;
mod shifted;
mod standing;
mod stream;
mod tables;
mod tidy;
mod tops;
#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix as platform;
mod untouched;
mod verify;

pub use backend::IoCounts;
pub use backup::{CopyReport, restore, restore_watched};
pub use compact::{CompactReport, compact};
pub use copy_error::CopyError;
pub use create::create_private_directory;
pub use export::{ExportReport, export, export_to};
pub use import::{ImportError, ImportReport, LineFault, import};
pub use info::{DefinitionInfo, Holder, Inside, StoreInfo, ids, info};
pub use lines::EXPORT_VERSION;
#[cfg(feature = "simulation")]
pub use medium::Medium;
pub use open_error::OpenError;
pub use options::{JOURNAL_BYTES, OnRepair, Opened, RedbOptions};
pub use progress::{Progress, Watch};
pub use repair::{RepairReport, repair};
pub use report::{FINDINGS_MAX, Finding, Findings, TableCount, Wrong};
pub use reseal::{ResealError, ResealReport, reseal, reseal_watched};
pub use salvage::{
    Found as FoundBy, JournalSaved, SalvageReport, TableSaved, salvage, salvage_watched,
};
#[cfg(any(test, feature = "simulation"))]
pub use shifted::bare_database;
pub use verify::{PageCheck, VerifyReport, verify, verify_watched};

use crate::commit::{Applied, Commit, Conflict};
use crate::id::{InputId, TaskId};
use crate::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use crate::store::{
    Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk, Inbox, Page, Scan, Segment,
    Sharing, Store, StoreError, StreamEnd,
};
use parking_lot::{Mutex, RwLock};
use redb::{Database, ReadableTable};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A store on one redb file.
///
/// The file and its lock file are readable by their owner only. Every commit is synced before it returns; what it comes to in
/// the tables may follow later, and before any read that could tell. Dropping the store closes the file and gives up the
/// lock.
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore};
/// let directory = tempfile::tempdir().unwrap();
/// let store = RedbStore::open(directory.path().join("tasks.redb"), RedbOptions::default(), 1, 0).unwrap();
/// assert!(store.opened().created);
/// ```
#[derive(Debug)]
pub struct RedbStore {
    // Declared, and so dropped, before the medium with its lock: the file is closed before somebody else may open it.
    /// Read for as long as a call lasts, written to open the file again; `None` when that failed.
    current: RwLock<Option<current::Current>>,
    medium: Arc<dyn medium::Medium>,
    path: PathBuf,
    incarnation: u128,
    options: RedbOptions,
    opened: Opened,
    /// How far the journal is; held throughout a commit.
    reached: Mutex<commit::Reached>,
    /// How far it is ahead of the database; held while a batch is decided, and never while something is written.
    ahead: Mutex<ahead::Ahead>,
    /// The numbers the database reserves; held while commits are put into it.
    reserved: Mutex<Counters>,
    /// The first failure, after which nothing is tried before the file was opened again.
    failure: current::Failure,
    io: Arc<backend::Counters>,
    btree_writes: AtomicU64,
    entry_bytes: AtomicU64,
}

impl RedbStore {
    /// Opens the store at `path`, or creates it when nothing is there.
    ///
    /// `instance` is a fresh chance number of this open: it is written to the lock file, names the temporary file,
    /// and becomes a new file's incarnation. `now_us` is the wall clock in microseconds, for the lock file.
    ///
    /// # Errors
    /// [`OpenError`]; each says what to do. The path and what it names are then as they were.
    pub fn open(
        path: impl AsRef<Path>,
        options: RedbOptions,
        instance: u128,
        now_us: u64,
    ) -> Result<RedbStore, OpenError> {
        open::open(path.as_ref(), &options, instance, now_us)
            .map(|parts| RedbStore::of(parts, options))
    }

    /// Opens the store on a medium that is no file, or creates it where the medium is empty.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], [`OpenError::TooNew`], [`OpenError::NotAStore`], [`OpenError::Io`].
    #[cfg(feature = "simulation")]
    pub fn on_medium(
        medium: Arc<dyn Medium>,
        options: RedbOptions,
        instance: u128,
    ) -> Result<RedbStore, OpenError> {
        open::open_medium(medium, &options, instance).map(|parts| RedbStore::of(parts, options))
    }

    fn of(parts: open::Parts, options: RedbOptions) -> RedbStore {
        tracing::debug!(path = %parts.path.display(), opened = ?parts.opened, "store opened");
        RedbStore {
            current: RwLock::new(Some(parts.current)),
            medium: parts.medium,
            path: parts.path,
            incarnation: parts.facts.incarnation,
            options,
            opened: parts.opened,
            reached: Mutex::new(commit::Reached::of(&parts.facts)),
            ahead: Mutex::new(ahead::Ahead::of(parts.facts.mark)),
            reserved: Mutex::new(parts.facts.counters),
            failure: current::Failure::default(),
            io: parts.io,
            btree_writes: AtomicU64::new(0),
            entry_bytes: AtomicU64::new(0),
        }
    }

    /// What the open found and did.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The absolute path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The chance number of this file; a restored copy has another one.
    pub fn incarnation(&self) -> u128 {
        self.incarnation
    }

    /// Calls to the operating system since the open, those of the open included.
    pub fn io(&self) -> IoCounts {
        self.io.counts()
    }

    /// Entries put into or removed from tables since the open; reservations of numbers not counted.
    ///
    /// A start costs 4 (row, id, definition, place), the end of a task 3 (row, out of one place, into another); each
    /// label of a start and each event of the log costs 1 more. Commits that come to the tables together cost what they
    /// come to: a task that begins and ends between two calls of this costs 4. What only the journal has is first put into
    /// the tables, as for any read.
    pub fn btree_writes(&self) -> u64 {
        self.bring_to_count();
        self.btree_writes.load(Ordering::Relaxed)
    }

    /// Bytes of the encoded values of those entries. What the file is written is more, by the pages around them: see
    /// [`RedbStore::io`].
    pub fn entry_bytes(&self) -> u64 {
        self.bring_to_count();
        self.entry_bytes.load(Ordering::Relaxed)
    }

    /// A store that has failed counts no further.
    fn bring_to_count(&self) {
        let _ = self.reading(|| self.bring());
    }

    /// Runs one call: refused after an earlier failure, and remembered if it fails itself.
    fn guarded<T>(&self, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        // Held to the end: a file that is opened again gives pages away which this call still reads.
        let _current = self.current.read_recursive();
        self.failure.check()?;
        let answer = call();
        match &answer {
            Ok(_) => {}
            Err(failure) if failure.is_of_one_entry() => {}
            Err(_) if cfg!(planted = "poison_forgotten") => {}
            // After one failed call, even a read, redb answers nothing but that.
            Err(failure) => {
                tracing::error!(path = %self.path.display(), cause = %failure, "store failed");
                self.failure.set(failure);
            }
        }
        answer
    }

    /// As [`RedbStore::guarded`], for calls that only read.
    fn reading<T>(&self, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.guarded(|| panics::told(call))
    }

    /// Opens the file again after a failure.
    fn open_again(&self) -> Result<(), StoreError> {
        let mut current = self.current.write();
        if self.failure.check().is_ok() {
            return Ok(());
        }
        let kept = (&*self.path, &self.options, &self.io);
        let facts = self.failure.reopen(&mut current, &self.medium, kept)?;
        if facts.incarnation != self.incarnation {
            panics::closed(current.take());
            return Err(StoreError::Replaced {
                path: self.path.display().to_string().into(),
            });
        }
        *self.reached.lock() = commit::Reached::of(&facts);
        // The journal has it, and so has the database now.
        *self.ahead.lock() = ahead::Ahead::of(facts.mark);
        *self.reserved.lock() = facts.counters;
        tracing::warn!(path = %self.path.display(), "store opened again after a failure");
        Ok(())
    }

    /// The open database.
    fn database<T>(&self, with: impl FnOnce(&Database) -> T) -> Result<T, StoreError> {
        // Every call holds it already.
        match &*self.current.read_recursive() {
            Some(current) => Ok(with(&current.database)),
            None => Err(StoreError::Poisoned {
                cause: "the file could not be opened again".into(),
            }),
        }
    }

    /// Makes the file whole without its journal, if the store is well. Where that fails, the next open does again what is in
    /// the journal.
    fn settle_in_order(&self) {
        if !cfg!(planted = "journal_left_at_close") {
            let _ = self.guarded(|| panics::told(|| self.settle()));
        }
    }

    /// The open file; `None` where it could not be opened again.
    fn disk(&self) -> Option<Arc<backend::Disk>> {
        let current = self.current.read_recursive();
        (current.as_ref()).map(|current| Arc::clone(&current.disk))
    }

    fn define_all(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        let txn = self.begin_write()?;
        let mut numbers = Vec::with_capacity(names.len());
        {
            let mut table = txn.open_table(tables::DEFINITIONS).map_err(fault)?;
            let mut highest = 0;
            for entry in table.iter().map_err(fault)? {
                highest = highest.max(entry.map_err(fault)?.1.value().0);
            }
            let next = |highest: u32| match cfg!(planted = "definitions_count_over") {
                true => Ok(highest.wrapping_add(1)),
                // Numbers are given one by one: the highest there is was given by nobody.
                false => (highest.checked_add(1)).ok_or_else(|| seal::corrupt_number(highest)),
            };
            for name in names {
                let known = table
                    .get(*name)
                    .map_err(fault)?
                    .map(|number| number.value().0);
                let number = match known {
                    Some(number) => number,
                    None => next(highest)?,
                };
                if known.is_none() {
                    let sealed = seal::of_name(name, number);
                    table.insert(*name, sealed).map_err(fault)?;
                    highest = number;
                }
                numbers.push(DefNumber(number));
            }
        }
        txn.commit().map_err(fault)?;
        Ok(numbers)
    }
}

impl Drop for RedbStore {
    /// A file that is closed in order is whole without its journal.
    fn drop(&mut self) {
        self.settle_in_order();
        // A handle that failed closes nothing in order.
        if let (Err(_), Some(disk)) = (self.failure.check(), self.disk())
            && !cfg!(planted = "failed_record_goes_on")
        {
            disk.give_up();
        }
        panics::closed(self.current.get_mut().take());
    }
}

/// What a failure of redb is to the caller of a store.
fn fault<E: Into<redb::Error>>(error: E) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if backend::is_no_room(&error) => StoreError::Full,
        other => StoreError::Failed {
            message: other.to_string().into(),
        },
    }
}

impl Store for RedbStore {
    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        self.reading(|| {
            self.bring()?;
            Ok(*self.reserved.lock())
        })
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        self.guarded(|| {
            let known = panics::told(|| self.read_definitions())?;
            let number = |name: &&str| {
                known
                    .iter()
                    .find(|(_, known)| **known == **name)
                    .map(|(number, _)| *number)
            };
            match names.iter().map(number).collect() {
                Some(numbers) => Ok(numbers),
                None => self.define_all(names),
            }
        })
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError> {
        self.reading(|| self.read_definitions())
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        self.reading(|| self.read_number(id))
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        self.reading(|| self.read_ids(prefix, limit))
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        self.reading(|| self.read_row(task))
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.reading(|| self.read_value(key))
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox, StoreError> {
        self.reading(|| self.read_inbox(task))
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>, StoreError> {
        self.reading(|| self.read_inputs(task, limit))
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>, StoreError> {
        self.reading(|| self.read_receipt(task, input_id))
    }

    fn scan(
        &self,
        scan: Scan,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.reading(|| self.read_page(scan, after, limit))
    }

    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due, StoreError> {
        self.reading(|| self.read_due(def, times, limit))
    }

    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.reading(|| self.read_due_exactly(def, at, after, limit))
    }

    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>, StoreError> {
        self.reading(|| self.read_turn(task, slot))
    }

    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>, StoreError> {
        self.reading(|| self.read_step(task, turn, key))
    }

    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>, StoreError> {
        self.reading(|| self.read_steps(task, turn, after, limit))
    }

    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>, StoreError> {
        self.reading(|| self.read_ask(task, key))
    }

    fn asks(
        &self,
        from: Bound<(TaskNumber, &str)>,
        limit: usize,
    ) -> Result<Vec<FoundAsk>, StoreError> {
        self.reading(|| self.read_asks(from, limit))
    }

    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>, StoreError> {
        self.reading(|| self.read_runs(task))
    }

    fn segments(
        &self,
        task: TaskNumber,
        after: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        self.reading(|| self.read_segments(task, after, limit_bytes))
    }

    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>, StoreError> {
        self.reading(|| self.read_stream_end(task))
    }

    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>, StoreError> {
        self.reading(|| self.read_expired(now, limit))
    }

    fn expired_receipts(
        &self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<ExpiredReceipt>, StoreError> {
        self.reading(|| self.read_expired_receipts(now, limit))
    }

    fn events(&self, after: Etag, limit: usize) -> Result<EventPage, StoreError> {
        self.reading(|| self.read_events(after, limit))
    }

    fn ended_children(&self, family: Family) -> Result<u64, StoreError> {
        self.reading(|| self.read_ended_children(family))
    }

    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.reading(|| self.read_children(family, after, limit))
    }

    fn families_over(
        &self,
        after: Option<Family>,
        limit: usize,
    ) -> Result<Vec<(Family, Fate)>, StoreError> {
        self.reading(|| self.read_families_over(after, limit))
    }

    fn lives(&self) -> Result<Vec<LifeRow>, StoreError> {
        self.reading(|| self.read_lives())
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        self.guarded(|| self.put_one_life(life))
    }

    fn indexes(&self) -> Result<Vec<IndexRow>, StoreError> {
        self.reading(|| self.read_indexes())
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        self.guarded(|| self.put_all_indexes(indexes))
    }

    fn reached_at(&self, addresses: &[String]) {
        self.medium.reached_at(addresses);
    }

    fn leaving(&self, still_running: usize) {
        // Now, and not when the last one lets go of the store: who stops in order may open it again at once.
        self.settle_in_order();
        self.medium.leaving(still_running);
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        self.guarded(|| self.tidy_once(events, limit))
    }

    fn is_behind(&self) -> bool {
        self.is_far_behind()
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        self.guarded(|| panics::told(|| self.settle()))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.open_again()
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        self.guarded(|| self.apply(batch))
    }
}

#[cfg(test)]
mod tests;
