//! What a file is, in few reads: its size and format, who has it, and how many tasks stand where.

use super::lock::{self, Lock};
use super::open::{Facts, examine_to_read, refused};
use super::open_error::OpenError;
use super::progress::Watch;
use super::report::TableCount;
use super::tables::{
    ASKS, BY_DEFINITION, DEFINITIONS, DUE, EVENTS, EXPIRY, GARBAGE, IDS, INPUTS, LIVES, RECEIPTS,
    RUNNING, RUNS, STEPS, STREAM, TASKS, TURNS, VALUES,
};
use super::{seal, verify};
use crate::codec;
use crate::id::is_name;
use crate::row::{LifeRow, Micros};
use crate::sealed::is_name_or_mark;
use crate::slot::Slot;
use crate::store::Counters;
use redb::{
    Key, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    Value,
};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreInfo {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub file_bytes: u64,
    /// Who has it open; empty when nobody has.
    pub holder: Option<Holder>,
    /// What is in it; empty while somebody has it open, for then only that engine knows.
    pub inside: Option<Inside>,
}

/// Who has a file open.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process; empty when it could not be learnt.
    pub pid: Option<u32>,
    /// Since when; empty when it could not be learnt.
    pub since: Option<Micros>,
    /// Set when its engine has stopped but for so many handlers, which do not end.
    pub still_running: Option<usize>,
    /// Where it is reached; empty when it serves its tasks nowhere.
    pub reached_at: Vec<String>,
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inside {
    /// The version of the tables.
    pub format: u32,
    /// The chance number of this file; a restored copy has another one.
    pub incarnation: u128,
    /// No etag, task number or generation is above these.
    pub counters: Counters,
    /// Tasks in all.
    pub tasks: u64,
    /// Of these, how many were running when the file was closed, or its process died.
    pub in_progress: u64,
    /// How many wait, pending or suspended.
    pub waiting: u64,
    /// How many have ended.
    pub ended: u64,
    /// Whether its values are sealed: then an engine opens it with their keys alone.
    pub is_sealed: bool,
    /// The tasks of each definition, by name.
    pub definitions: Vec<DefinitionInfo>,
    /// The entries of the tables whose entries are more than indexes.
    pub tables: Vec<TableCount>,
    /// The last open by an engine; empty when there was none, or when it cannot be read.
    pub last_life: Option<LifeRow>,
}

/// The tasks of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionInfo {
    /// Its name.
    pub name: Box<str>,
    /// Its tasks.
    pub tasks: u64,
    /// Of these, how many wait, pending or suspended.
    pub waiting: u64,
}

/// Says what the file at `path` is, without changing it. `instance` is a fresh chance number, `now_us` the wall clock in
/// microseconds, both for the lock file.
///
/// A file that an engine has is not opened: its size and its holder are told. Of any other two indexes are read whole,
/// nothing else but lengths; whether it is whole says [`verify`](super::verify()).
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore, info};
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("tasks.redb");
/// let store = RedbStore::open(&path, RedbOptions::default(), 1, 0).unwrap();
/// assert_eq!(info(&path, (2, 0)).unwrap().holder.unwrap().pid, Some(std::process::id()));
/// drop(store);
/// assert_eq!(info(&path, (3, 0)).unwrap().inside.unwrap().tasks, 0);
/// ```
///
/// # Errors
/// [`OpenError`]: the file cannot be read at all; what to do is in each variant. [`OpenError::Damaged`]: verify or
/// salvage it.
pub fn info(path: &Path, (instance, now_us): (u128, u64)) -> Result<StoreInfo, OpenError> {
    let path =
        std::path::absolute(path).map_err(|error| refused(path, "find the store", &error))?;
    let there = || {
        let path = path.clone();
        examine_to_read(&path)?.ok_or(OpenError::Missing { path })
    };
    let file = there()?;
    let found = file.metadata();
    let found = found.map_err(|error| refused(&path, "look at the store", &error))?;
    let mut info = StoreInfo {
        path: path.clone(),
        file_bytes: found.len(),
        holder: None,
        inside: None,
    };
    drop(file);
    // Asked without taking it, so that an engine which opens at this moment is not in the way of a mere question.
    let (is_held, holder) = lock::held(&path);
    if is_held && !is_of_look(holder.as_ref()) {
        info.holder = Some(Holder {
            pid: holder.as_ref().map(|holder| holder.pid),
            since: holder
                .as_ref()
                .and_then(|holder| holder.started_us)
                .map(Micros),
            still_running: holder.as_ref().and_then(|holder| holder.still_running),
            reached_at: holder.map(|holder| holder.reached_at).unwrap_or_default(),
        });
        return Ok(info);
    }
    let read = read_only(&path, (instance, now_us), inside);
    match read {
        Ok(inside) => info.inside = Some(inside),
        // Somebody was faster.
        Err(OpenError::AlreadyRunning {
            pid,
            still_running,
            reached_at,
            ..
        }) => {
            info.holder = Some(Holder {
                pid,
                since: None,
                still_running,
                reached_at,
            });
        }
        Err(error) => return Err(error),
    }
    Ok(info)
}

/// The ids in the file at `path` that begin with `prefix`, in order, at most `max` of them. As [`info`], it changes nothing,
/// and does not open a file that an engine has.
///
/// # Errors
/// As for [`info`]; [`OpenError::AlreadyRunning`]: ask that engine.
pub fn ids(
    path: &Path,
    (prefix, max): (&str, usize),
    (instance, now_us): (u128, u64),
) -> Result<Vec<Box<str>>, OpenError> {
    let path =
        std::path::absolute(path).map_err(|error| refused(path, "find the store", &error))?;
    let (is_held, holder) = lock::held(&path);
    if is_held && !is_of_look(holder.as_ref()) {
        return Err(OpenError::AlreadyRunning {
            pid: holder.as_ref().map(|holder| holder.pid),
            still_running: None,
            reached_at: holder.map(|holder| holder.reached_at).unwrap_or_default(),
            path,
        });
    }
    read_only(&path, (instance, now_us), |database, _| {
        let txn = database.begin_read()?;
        let mut ids = Vec::new();
        for entry in txn.open_table(IDS)?.range(prefix..)?.take(max) {
            let id = entry?.0;
            match id.value() {
                id if id.starts_with(prefix) => ids.push(id.into()),
                _ => break,
            }
        }
        Ok(Ok(ids))
    })
}

/// Whether a file that is held is only looked at as well: then it is waited for, as it is over soon.
fn is_of_look(holder: Option<&lock::Holder>) -> bool {
    holder.is_some_and(|holder| holder.is_look)
}

/// Reads something of a file that nobody has, without changing it. The inner error of `read` says what else is wrong.
fn read_only<T>(
    path: &Path,
    (instance, now_us): (u128, u64),
    read: impl FnOnce(&redb::Database, &Facts) -> Result<Result<T, String>, redb::Error>,
) -> Result<T, OpenError> {
    let missing = || {
        let path = path.to_owned();
        OpenError::Missing { path }
    };
    let file = examine_to_read(path)?.ok_or_else(missing)?;
    let _lock = Lock::take_to_read(path, instance, now_us)?;
    let (database, facts) = verify::load(path, file, false, &Watch::default())?;
    // redb may panic on pages that do not fit together; only reads happen in here.
    let read = catch_unwind(AssertUnwindSafe(|| read(&database, &facts)));
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    let read = read.unwrap_or_else(|_| Ok(Err("its pages do not fit together".into())));
    let read = read.unwrap_or_else(|error| Err(error.to_string()));
    read.map_err(|message| OpenError::Damaged {
        message: message.into(),
    })
}

/// The outer error is redb's, the inner one says what else is wrong.
fn inside(database: &redb::Database, facts: &Facts) -> Result<Result<Inside, String>, redb::Error> {
    let txn = database.begin_read()?;
    let [tasks, in_progress, waiting] = [len(&txn, TASKS)?, len(&txn, RUNNING)?, len(&txn, DUE)?];
    let Some(ended) = tasks.checked_sub(in_progress.saturating_add(waiting)) else {
        return Ok(Err("its tables are not of one moment".into()));
    };
    let (definitions, is_sealed) = definitions(&txn)?;
    Ok(Ok(Inside {
        format: facts.format,
        incarnation: facts.incarnation,
        counters: facts.counters,
        tasks,
        in_progress,
        waiting,
        ended,
        is_sealed,
        definitions,
        tables: tables(&txn)?,
        last_life: last_life(&txn)?,
    }))
}

fn len<K: Key + 'static, V: Value + 'static>(
    txn: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<u64, redb::Error> {
    Ok(txn.open_table(table)?.len()?)
}

fn tables(txn: &ReadTransaction) -> Result<Vec<TableCount>, redb::Error> {
    let counts = [
        ("tasks", len(txn, TASKS)?),
        ("values", len(txn, VALUES)?),
        ("pending_steering_inputs", len(txn, INPUTS)?),
        ("receipts", len(txn, RECEIPTS)?),
        ("turns", len(txn, TURNS)?),
        ("steps", len(txn, STEPS)?),
        ("asks", len(txn, ASKS)?),
        ("runs", len(txn, RUNS)?),
        ("stream", len(txn, STREAM)?),
        ("events", len(txn, EVENTS)?),
        ("lives", len(txn, LIVES)?),
        ("expiry", len(txn, EXPIRY)?),
        ("garbage", len(txn, GARBAGE)?),
    ];
    let counts = counts.map(|(table, entries)| TableCount { table, entries });
    Ok(counts.to_vec())
}

/// The definitions, and whether there is a mark among their names that says that values are sealed.
fn definitions(txn: &ReadTransaction) -> Result<(Vec<DefinitionInfo>, bool), redb::Error> {
    let mut counts: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for entry in txn.open_table(BY_DEFINITION)?.iter()? {
        let (definition, _) = entry?.0.value();
        counts.entry(definition).or_default().0 += 1;
    }
    for entry in txn.open_table(DUE)?.iter()? {
        let (definition, ..) = entry?.0.value();
        counts.entry(definition).or_default().1 += 1;
    }
    let (mut definitions, mut is_sealed) = (Vec::new(), false);
    for entry in txn.open_table(DEFINITIONS)?.iter()? {
        let (name, sealed) = entry?;
        let name = name.value();
        if !is_name(name) {
            is_sealed |= is_name_or_mark(name);
            continue;
        }
        // A damaged name is told by whoever verifies the file.
        if let Ok(number) = seal::open_name(name, sealed.value()) {
            let (tasks, waiting) = counts.get(&number).copied().unwrap_or_default();
            definitions.push(DefinitionInfo {
                name: name.into(),
                tasks,
                waiting,
            });
        }
    }
    Ok((definitions, is_sealed))
}

fn last_life(txn: &ReadTransaction) -> Result<Option<LifeRow>, redb::Error> {
    let lives = txn.open_table(LIVES)?;
    let Some((key, bytes)) = lives.last()? else {
        return Ok(None);
    };
    let (position, instance) = key.value();
    Ok(codec::decode(Slot::Life(position, instance), bytes.value()).ok())
}
