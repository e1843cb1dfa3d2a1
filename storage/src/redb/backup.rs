//! A consistent copy of a file, also of one that an engine works on, and the way back.

use super::copy_error::CopyError;
use super::fresh::{Fresh, GAP, unread, written};
use super::lock::Lock;
use super::open::{examine_to_read, refused};
use super::open_error::OpenError;
use super::progress::Watch;
use super::report::{Findings, TableCount, Wrong};
use super::salvage::{Shelf, said};
use super::seal::{self, SealedDef as NameValue, SealedTask as IdValue};
use super::tables::{
    ASKS, BY_DEFINITION, BY_LABEL, CHILDREN, DEFINITIONS, DUE, ETAGS, EVENTS, EXPIRY,
    FAMILIES_OVER, GARBAGE, GENERATIONS, IDS, INCARNATION, INDEXES, INPUTS, LIVES, META, OLD_STEPS,
    RECEIPT_EXPIRY, RECEIPTS, RUNNING, RUNS, STEPS, STREAM, TASKS, TRIMMED, TURNS, VALUES, WAKES,
};
use super::{RedbStore, verify};
use crate::row::{Etag, Generation};
use crate::store::{Counters, StoreError};
use redb::{
    Key, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    Value, WriteTransaction,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The copy's incarnation: never that of the file it was made of.
    pub incarnation: u128,
    /// The entries of each table.
    pub tables: Vec<TableCount>,
    /// What is damaged already in the file that was copied. Entries are in the copy as they are, and their tasks are as
    /// unreadable there; of a table that is [`Wrong::Unreadable`] some are missing.
    pub findings: Findings,
}

impl CopyReport {
    /// The entries of a table; zero for a table of another name.
    pub fn entries(&self, table: &str) -> u64 {
        let found = self.tables.iter().find(|count| count.table == table);
        found.map_or(0, |count| count.entries)
    }
}

impl RedbStore {
    /// Copies the file, as it is at one moment after this call began, to `to`, where nothing may lie. `instance` is a
    /// fresh chance number and becomes the copy's incarnation, `now_us` is the wall clock in microseconds.
    ///
    /// When it returns, the copy is whole and durable, readable by its owner only; until then nothing lies under its
    /// path. Everything acknowledged before the call is in it, and each task is in it as one commit left it. The store
    /// goes on meanwhile; pages it frees are not used again before the copy is done, so the file grows by what is
    /// written in that time.
    ///
    /// Etags and generations of the copy begin 2^32 above those of its original: whatever the original hands out from
    /// now on, nothing decided on it is taken for a decision on the copy, and a system outside that keeps the highest
    /// generation it has seen listens to the copy. Tasks that run at that moment are running in the copy, and are
    /// recovered by its first open as after a crash; their steps keep their effect ids, so that an effect which the
    /// original has had since is known as the same.
    ///
    /// ```
    /// use outlive_storage::redb::{RedbOptions, RedbStore};
    /// let directory = tempfile::tempdir().unwrap();
    /// let store = RedbStore::open(directory.path().join("tasks.redb"), RedbOptions::default(), 1, 0).unwrap();
    /// let copy = store.backup(&directory.path().join("backup.redb"), 2, 0).unwrap();
    /// assert_ne!(copy.incarnation, store.incarnation());
    /// ```
    ///
    /// # Errors
    /// [`CopyError::Exists`]: give another path. [`CopyError::Unreadable`]: the file is damaged, salvage it.
    /// [`CopyError::From`]: the store has failed and is not open again yet, or does now; try again.
    /// [`CopyError::To`], [`CopyError::Full`], [`CopyError::Failed`]: the copy cannot be written. The store goes on in
    /// every case.
    pub fn backup(&self, to: &Path, instance: u128, now_us: u64) -> Result<CopyReport, CopyError> {
        // Held to the end: a file that is opened again meanwhile would give away pages that are still to be copied.
        let _current = self.current.read_recursive();
        let begin = || {
            let begun = self.reading(|| self.begin_read());
            begun.map_err(|error| failing(&error))
        };
        copy_to(to, instance, now_us, begin)
    }
}

/// Makes a file at `to`, where nothing may lie, of the backup at `backup`, which is not changed. `instance` is a fresh
/// chance number and becomes the new file's incarnation, `now_us` is the wall clock in microseconds.
///
/// The backup may lie where nothing can be written. What holds for the result of [`RedbStore::backup`] holds for this one too; it is another file than the backup, and two
/// files restored from one backup are two.
///
/// # Errors
/// [`CopyError::Exists`]: something lies at `to`, an engine's file perhaps, and is never written over.
/// [`CopyError::From`]: the backup cannot be opened. [`CopyError::Unreadable`]: it is damaged, salvage it. The others as
/// for a backup.
pub fn restore(
    backup: &Path,
    to: &Path,
    instance: u128,
    now_us: u64,
) -> Result<CopyReport, CopyError> {
    restore_watched((backup, to), instance, now_us, &Watch::default())
}

/// As [`restore`], from the first path to the second, and somebody is told how far it has come.
///
/// # Errors
/// As for [`restore`].
pub fn restore_watched(
    (backup, to): (&Path, &Path),
    instance: u128,
    now_us: u64,
    watch: &Watch,
) -> Result<CopyReport, CopyError> {
    let backup = std::path::absolute(backup)
        .map_err(|error| CopyError::From(refused(backup, "find the backup", &error)))?;
    let there = || -> Result<_, OpenError> {
        let path = backup.clone();
        examine_to_read(&backup)?.ok_or(OpenError::Missing { path })
    };
    there().map_err(CopyError::From)?;
    let _lock = Lock::take_to_read(&backup, instance, now_us).map_err(CopyError::From)?;
    let file = there().map_err(CopyError::From)?;
    let (database, _) = verify::load(&backup, file, false, watch).map_err(CopyError::From)?;
    let report = copy_to(to, instance, now_us, || {
        database.begin_read().map_err(unread)
    });
    // Damaged pages may make it panic as it closes; nothing of it is kept.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    report
}

/// A store that fails is not damaged: it is opened again, and may then be copied.
fn failing(error: &StoreError) -> CopyError {
    let message = error.to_string().into();
    if cfg!(planted = "failed_store_called_damaged") {
        return CopyError::Unreadable { message };
    }
    let what = "read the store";
    CopyError::From(OpenError::Io { what, message })
}

fn copy_to(
    to: &Path,
    instance: u128,
    now_us: u64,
    begin: impl FnOnce() -> Result<ReadTransaction, CopyError>,
) -> Result<CopyReport, CopyError> {
    let fresh = Fresh::begin(to, instance, now_us)?;
    let mut copy = Copy {
        incarnation: fresh.incarnation(),
        tables: Vec::new(),
        findings: Findings::default(),
    };
    // Begun last, so that as little as possible is pinned, and everything acknowledged until now is seen.
    let txn = begin()?;
    // redb may panic on pages that do not fit together. The transaction that is being written then is that of a file
    // which is thrown away.
    let filled = catch_unwind(AssertUnwindSafe(|| {
        fresh.fill(|out| copy.everything(&txn, out))
    }));
    drop(txn);
    filled.unwrap_or_else(|_| {
        Err(CopyError::Unreadable {
            message: "its pages do not fit together".into(),
        })
    })?;
    fresh.publish()?;
    Ok(CopyReport {
        incarnation: copy.incarnation,
        tables: copy.tables,
        findings: copy.findings,
    })
}

/// A copy under way.
struct Copy {
    incarnation: u128,
    tables: Vec<TableCount>,
    findings: Findings,
}

impl Copy {
    fn everything(
        &mut self,
        from: &ReadTransaction,
        to: &WriteTransaction,
    ) -> Result<Counters, CopyError> {
        self.rows(from, to)?;
        self.indexes(from, to)?;
        let mut counters = Counters {
            etag: Etag(0),
            generation: Generation(0),
        };
        for entry in from
            .open_table(ETAGS)
            .map_err(unread)?
            .iter()
            .map_err(unread)?
        {
            let reserved = entry.map_err(unread)?.1.value();
            counters.etag = counters.etag.max(Etag(reserved));
        }
        let generations = from.open_table(GENERATIONS).map_err(unread)?;
        for entry in generations.iter().map_err(unread)? {
            let reserved = entry.map_err(unread)?.1.value();
            counters.generation = counters.generation.max(Generation(reserved));
        }
        if !cfg!(planted = "copy_counts_on") {
            counters.etag.0 = counters.etag.0.saturating_add(GAP);
            counters.generation.0 = counters.generation.0.saturating_add(GAP);
        }
        let meta = from.open_table(META).map_err(unread)?;
        let trimmed = meta.get(TRIMMED).map_err(unread)?;
        if cfg!(planted = "copy_keeps_incarnation") {
            let kept = meta.get(INCARNATION).map_err(unread)?;
            let mut meta = to.open_table(META).map_err(written)?;
            let kept = kept.map_or(0, |kept| kept.value());
            meta.insert(INCARNATION, kept).map_err(written)?;
        }
        if let Some(trimmed) = trimmed {
            let mut meta = to.open_table(META).map_err(written)?;
            meta.insert(TRIMMED, trimmed.value()).map_err(written)?;
        }
        Ok(counters)
    }

    fn rows(&mut self, from: &ReadTransaction, to: &WriteTransaction) -> Result<(), CopyError> {
        let both = (from, to);
        let row = Proof::Row;
        self.table(both, TASKS, "tasks", row(Shelf::Tasks))?;
        self.table(both, VALUES, "values", row(Shelf::Values))?;
        let inputs = "pending_steering_inputs";
        self.table(both, INPUTS, inputs, row(Shelf::Inputs))?;
        self.table(both, RECEIPTS, "receipts", row(Shelf::Receipts))?;
        self.table(both, TURNS, "turns", row(Shelf::Turns))?;
        self.table(both, STEPS, "steps", row(Shelf::Steps))?;
        self.table(both, ASKS, "asks", row(Shelf::Asks))?;
        self.table(both, RUNS, "runs", row(Shelf::Runs))?;
        self.table(both, STREAM, "stream", row(Shelf::Stream))?;
        self.table(both, EVENTS, "events", row(Shelf::Events))?;
        self.table(both, LIVES, "lives", row(Shelf::Lives))
    }

    fn indexes(&mut self, from: &ReadTransaction, to: &WriteTransaction) -> Result<(), CopyError> {
        let both = (from, to);
        self.table(both, IDS, "ids", Proof::Id)?;
        self.table(both, DEFINITIONS, "definitions", Proof::Name)?;
        self.table(both, BY_DEFINITION, "by_definition", Proof::None)?;
        self.table(both, BY_LABEL, "by_label", Proof::None)?;
        self.table(both, DUE, "due", Proof::None)?;
        self.table(both, RUNNING, "running", Proof::None)?;
        self.table(both, EXPIRY, "expiry", Proof::None)?;
        self.table(both, RECEIPT_EXPIRY, "receipt_expiry", Proof::None)?;
        self.table(both, OLD_STEPS, "old_steps", Proof::None)?;
        self.table(both, CHILDREN, "children", Proof::None)?;
        self.table(both, WAKES, "wakes", Proof::None)?;
        self.table(both, FAMILIES_OVER, "families_over", Proof::None)?;
        self.table(both, GARBAGE, "garbage", Proof::None)?;
        self.table(both, INDEXES, "indexes", Proof::None)
    }

    fn table<K, V>(
        &mut self,
        (from, to): (&ReadTransaction, &WriteTransaction),
        definition: TableDefinition<'_, K, V>,
        table: &'static str,
        proof: Proof,
    ) -> Result<(), CopyError>
    where
        K: Key + 'static,
        V: Value + 'static,
    {
        let mut copied = to.open_table(definition).map_err(written)?;
        let original = from.open_table(definition).map_err(unread)?;
        for entry in original.iter().map_err(unread)? {
            let (key, value) = entry.map_err(unread)?;
            let key_bytes = K::as_bytes(&key.value()).as_ref().to_vec();
            let value_bytes = V::as_bytes(&value.value()).as_ref().to_vec();
            if let Err(name) = proof.check(&key_bytes, &value_bytes) {
                self.findings.add(table, name, Wrong::Damaged);
            }
            copied.insert(key.value(), value.value()).map_err(written)?;
        }
        let entries = copied.len().map_err(written)?;
        // A page that damage has emptied looks like one with less on it; the table knows how many entries it has.
        let expected = original.len().map_err(unread)?;
        if entries != expected && !cfg!(planted = "copy_not_counted") {
            self.findings.add(table, "", Wrong::Unreadable);
        }
        self.tables.push(TableCount { table, entries });
        Ok(())
    }
}

/// How an entry of a table proves to be the one that was written.
#[derive(Debug, Clone, Copy)]
enum Proof {
    /// By its checksum.
    Row(Shelf),
    /// By the seal of an id.
    Id,
    /// By the seal of a name.
    Name,
    /// Not at all: whoever follows it asks the row.
    None,
}

impl Proof {
    /// # Errors
    /// What the damaged entry is called.
    fn check(self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(key).unwrap_or_default();
        let sealed = match self {
            Proof::Row(shelf) => {
                let Some(slot) = shelf.slot(key) else {
                    return Err(String::new());
                };
                return said(slot, value).map(drop).map_err(|_| slot.to_string());
            }
            Proof::Id => seal::open_id(text, IdValue::from_bytes(value)).map(drop),
            Proof::Name => seal::open_name(text, NameValue::from_bytes(value)).map(drop),
            Proof::None => return Ok(()),
        };
        match sealed {
            Err(_) if !cfg!(planted = "copy_believes_seals") => {
                Err(text.escape_debug().to_string())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}
