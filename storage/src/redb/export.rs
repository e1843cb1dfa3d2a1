//! A store written out as lines of JSON, for people and for other programs.

use super::batch::Bytes;
use super::copy_error::CopyError;
use super::fresh::unread;
use super::lines::{EXPORT_VERSION, End, Head, Line};
use super::lock::Lock;
use super::open::{Facts, examine_to_read, refused};
use super::open_error::OpenError;
use super::part::{self, Part};
use super::progress::Watch;
use super::report::{Findings, Wrong};
use super::tables::{
    ASKS, DEFINITIONS, EVENTS, FAMILIES_OVER, INPUTS, LIVES, META, RECEIPTS, RUNS, STEPS, STREAM,
    TASKS, TRIMMED, TURNS, VALUES, WAKES,
};
use super::{seal, verify};
use crate::codec;
use crate::row::{Etag, TaskNumber, UserBytes, ValueKey, ValueKind};
use crate::slot::Slot;
use crate::store::StoreError;
use redb::{Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::ops::RangeBounds;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

type Result<T> = std::result::Result<T, CopyError>;

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Tasks.
    pub tasks: u64,
    /// Lines, the first and the last one included.
    pub lines: u64,
    /// What is damaged and was left out; a damaged task with all that hangs on it.
    pub findings: Findings,
}

/// Writes the file at `path`, which no engine may be on and which is not changed, to `out` as lines of JSON.
///
/// The first line is `{"outlive_export":{"version":1,..}}`, the last one `{"end":{..}}`. Each other line is one entry:
/// `definition`, `task`, and behind each task its `value`s, `input`s that wait, `receipt`s, `turn`s with their results,
/// `step`s, open `ask`s, former `run`s and `segment`s of its stream; then the log (`event`) and the `life`s of the file.
/// The user's values are `{"json":..}` as they were given, `{"text":".."}` where they have several lines. Times are
/// microseconds since 1970; `18446744073709551615` is never. [`import`](super::import()) makes a store of it again.
///
/// ```
/// use outlive_storage::redb::{RedbOptions, RedbStore, Watch, export};
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("tasks.redb");
/// drop(RedbStore::open(&path, RedbOptions::default(), 1, 0).unwrap());
/// let mut lines = Vec::new();
/// export(&path, &mut lines, (2, 0), &Watch::default()).unwrap();
/// assert!(lines.starts_with(b"{\"outlive_export\":{\"version\":1,"));
/// ```
///
/// # Errors
/// [`CopyError::From`]: the file cannot be had; stop its engine first. [`CopyError::Unreadable`]: salvage it, and export
/// what was saved. [`CopyError::Full`], [`CopyError::Failed`]: `out` failed; what it has taken is not whole, and has no
/// last line.
pub fn export(
    path: &Path,
    out: &mut dyn Write,
    (instance, now_us): (u128, u64),
    watch: &Watch,
) -> Result<ExportReport> {
    let path = std::path::absolute(path)
        .map_err(|error| CopyError::From(refused(path, "find the store", &error)))?;
    let there = || -> std::result::Result<_, OpenError> {
        let path = path.clone();
        examine_to_read(&path)?.ok_or(OpenError::Missing { path })
    };
    there().map_err(CopyError::From)?;
    let _lock = Lock::take_to_read(&path, instance, now_us).map_err(CopyError::From)?;
    let file = there().map_err(CopyError::From)?;
    let (database, facts) = verify::load(&path, file, false, watch).map_err(CopyError::From)?;
    let mut lines = Lines {
        out,
        count: 0,
        findings: Findings::default(),
        names: HashMap::new(),
    };
    // redb may panic on pages that do not fit together; only reads happen in here.
    let written = catch_unwind(AssertUnwindSafe(|| {
        let txn = database.begin_read().map_err(unread)?;
        lines.everything(&txn, &facts)
    }));
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    let tasks = written.unwrap_or_else(|_| {
        Err(CopyError::Unreadable {
            message: "its pages do not fit together".into(),
        })
    })?;
    Ok(ExportReport {
        tasks,
        lines: lines.count,
        findings: lines.findings,
    })
}

/// As [`export`], from the first path to a new file at the second, readable by its owner only, which appears whole or not
/// at all. What an export to the same path has left that was killed is removed.
///
/// # Errors
/// As for [`export`]; [`CopyError::Exists`]: something lies there, and is never written over. [`CopyError::To`]: the new
/// file cannot be written.
pub fn export_to(
    (path, to): (&Path, &Path),
    (instance, now_us): (u128, u64),
    watch: &Watch,
) -> Result<ExportReport> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CopyError::Full,
        _ => CopyError::To(refused(to, "write the new file", &error)),
    };
    let to = &std::path::absolute(to).map_err(failed)?;
    let exists = || CopyError::Exists { path: to.clone() };
    part::remove_leftovers(to);
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(exists());
    }
    let part = Part::begin(to, instance).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, part.file());
    let report = export(path, &mut out, (instance, now_us), watch)?;
    out.flush().map_err(failed)?;
    drop(out);
    let published = part.publish(to).map_err(failed)?;
    published.then_some(report).ok_or_else(exists)
}

/// The lines under way.
struct Lines<'a> {
    out: &'a mut dyn Write,
    count: u64,
    findings: Findings,
    names: HashMap<u32, Box<str>>,
}

impl Lines<'_> {
    fn put(&mut self, line: &Line) -> Result<()> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CopyError::Full,
            _ => CopyError::Failed {
                message: error.to_string().into(),
            },
        };
        let mut text = serde_json::to_vec(line).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        self.out.write_all(&text).map_err(failed)?;
        self.count += 1;
        Ok(())
    }

    /// Puts the line of an entry, or a finding in its place.
    fn entry(&mut self, line: std::result::Result<Line, StoreError>) -> Result<bool> {
        let wrong = match line {
            Ok(line) => return self.put(&line).map(|()| true),
            Err(StoreError::TooNew { table, .. }) => (table, "".into(), Wrong::TooNew),
            Err(StoreError::Corrupt { table, key }) => (table, key, Wrong::Damaged),
            Err(
                StoreError::Full
                | StoreError::Replaced { .. }
                | StoreError::Failed { .. }
                | StoreError::Poisoned { .. }
                | StoreError::KeyMissing { .. }
                | StoreError::Malformed { .. },
            ) => ("", "".into(), Wrong::Damaged),
        };
        self.findings.add(wrong.0, wrong.1, wrong.2);
        Ok(false)
    }

    /// Answers how many tasks there are.
    fn everything(&mut self, txn: &ReadTransaction, facts: &Facts) -> Result<u64> {
        let meta = txn.open_table(META).map_err(unread)?;
        let trimmed = meta.get(TRIMMED).map_err(unread)?;
        let trimmed = trimmed.map_or(0, |trimmed| trimmed.value());
        self.put(&Line::OutliveExport(Head {
            version: EXPORT_VERSION,
            incarnation: facts.incarnation,
            etag: facts.counters.etag.0,
            generation: facts.counters.generation.0,
            log_whole_above: u64::try_from(trimmed).unwrap_or(u64::MAX),
        }))?;
        self.definitions(txn)?;
        let tasks = self.tasks(txn)?;
        self.families(txn)?;
        self.log(txn)?;
        let end = End {
            tasks,
            lines: self.count,
            left_out: self.findings.total(),
        };
        self.put(&Line::End(end))?;
        self.out.flush().map_err(|error| CopyError::Failed {
            message: error.to_string().into(),
        })?;
        Ok(tasks)
    }

    fn definitions(&mut self, txn: &ReadTransaction) -> Result<()> {
        for entry in txn
            .open_table(DEFINITIONS)
            .map_err(unread)?
            .iter()
            .map_err(unread)?
        {
            let (name, sealed) = entry.map_err(unread)?;
            let name: Box<str> = name.value().into();
            let line = seal::open_name(&name, sealed.value()).map(|number| {
                self.names.insert(number, name.clone());
                Line::Definition { number, name }
            });
            self.entry(line)?;
        }
        Ok(())
    }

    fn tasks(&mut self, txn: &ReadTransaction) -> Result<u64> {
        let hanging = Hanging::open(txn)?;
        let mut tasks = 0;
        for entry in txn
            .open_table(TASKS)
            .map_err(unread)?
            .iter()
            .map_err(unread)?
        {
            let (number, bytes) = entry.map_err(unread)?;
            let task = number.value();
            let line = codec::decode_row(TaskNumber(task), bytes.value()).map(|row| {
                let name = self.names.get(&row.def.0).cloned();
                Line::Task {
                    task,
                    definition: name.unwrap_or_default(),
                    row: Box::new(row),
                }
            });
            if self.entry(line)? {
                tasks += 1;
                self.inbox(&hanging, task)?;
                self.past(&hanging, task)?;
            }
        }
        Ok(tasks)
    }

    /// Puts the entries of a range.
    fn each<'r, K, R>(
        &mut self,
        table: &ReadOnlyTable<K, Bytes>,
        range: impl RangeBounds<R> + 'r,
        line: impl Fn(K::SelfType<'_>, &[u8]) -> std::result::Result<Line, StoreError>,
    ) -> Result<()>
    where
        K: Key + 'static,
        R: Borrow<K::SelfType<'r>> + 'r,
    {
        for entry in table.range(range).map_err(unread)? {
            let (key, bytes) = entry.map_err(unread)?;
            self.entry(line(key.value(), bytes.value()))?;
        }
        Ok(())
    }

    fn inbox(&mut self, hanging: &Hanging, task: u64) -> Result<()> {
        let (number, next) = (TaskNumber(task), task.saturating_add(1));
        let values = (task, 0, 0)..(next, 0, 0);
        self.each(&hanging.values, values, |(_, kind, index), bytes| {
            let key = ValueKind::of_byte(kind).map(|kind| ValueKey {
                task: number,
                kind,
                index,
            });
            let key = key.ok_or_else(|| Slot::Task(number).corrupt())?;
            Ok(Line::Value {
                task,
                kind: key.kind,
                index,
                value: UserBytes(codec::decode_value(Slot::Value(key), bytes)?),
            })
        })?;
        self.each(&hanging.inputs, (task, 0)..(next, 0), |(_, seq), bytes| {
            let row = codec::decode(Slot::Input(number, seq), bytes)?;
            Ok(Line::Input { task, seq, row })
        })?;
        let receipts = (task, "")..(next, "");
        self.each(&hanging.receipts, receipts, |(_, input_id), bytes| {
            let row = codec::decode(Slot::Receipt(number, input_id), bytes)?;
            Ok(Line::Receipt {
                task,
                input_id: input_id.into(),
                row,
            })
        })?;
        self.each(&hanging.asks, (task, "")..(next, ""), |(_, key), bytes| {
            let row = codec::decode(Slot::Ask(number, key), bytes)?;
            let key = key.into();
            Ok(Line::Ask { task, key, row })
        })
    }

    fn past(&mut self, hanging: &Hanging, task: u64) -> Result<()> {
        let (number, next) = (TaskNumber(task), task.saturating_add(1));
        self.each(&hanging.turns, (task, 0)..(next, 0), |(_, slot), bytes| {
            let row = codec::decode(Slot::Turn(number, slot), bytes)?;
            Ok(Line::Turn { task, slot, row })
        })?;
        let steps = (task, 0, "")..(next, 0, "");
        self.each(&hanging.steps, steps, |(_, turn, key), bytes| {
            let mut row = codec::decode_step(Slot::Step(number, turn, key), bytes)?;
            let value = UserBytes(std::mem::take(&mut row.value));
            Ok(Line::Step {
                task,
                turn,
                key: key.into(),
                row,
                value,
            })
        })?;
        self.each(&hanging.runs, (task, 0)..(next, 0), |(_, place), bytes| {
            let row = codec::decode(Slot::Run(number, place), bytes)?;
            Ok(Line::Run { task, place, row })
        })?;
        self.each(
            &hanging.stream,
            (task, 0)..(next, 0),
            |(_, first), bytes| {
                let row = codec::decode(Slot::Segment(number, first), bytes)?;
                Ok(Line::Segment { task, first, row })
            },
        )
    }

    fn families(&mut self, txn: &ReadTransaction) -> Result<()> {
        let wakes = txn.open_table(WAKES).map_err(unread)?;
        for entry in wakes.iter().map_err(unread)? {
            let (key, ended) = entry.map_err(unread)?;
            let ((task, turn), ended) = (key.value(), ended.value());
            self.put(&Line::ChildrenEnded { task, turn, ended })?;
        }
        let over = txn.open_table(FAMILIES_OVER).map_err(unread)?;
        for entry in over.iter().map_err(unread)? {
            let (key, reason) = entry.map_err(unread)?;
            let (task, turn) = key.value();
            self.put(&Line::FamilyOver {
                task,
                turn,
                cancelled: reason.value().map(Box::from),
            })?;
        }
        Ok(())
    }

    fn log(&mut self, txn: &ReadTransaction) -> Result<()> {
        let events = txn.open_table(EVENTS).map_err(unread)?;
        self.each::<u64, u64>(&events, .., |etag, bytes| {
            let row = codec::decode(Slot::Event(Etag(etag)), bytes)?;
            Ok(Line::Event { etag, row })
        })?;
        let lives = txn.open_table(LIVES).map_err(unread)?;
        self.each::<(u64, u128), (u64, u128)>(&lives, .., |(position, instance), bytes| {
            let row = codec::decode(Slot::Life(position, instance), bytes)?;
            Ok(Line::Life {
                position,
                instance,
                row,
            })
        })
    }
}

/// The tables of what hangs on tasks.
struct Hanging {
    values: ReadOnlyTable<(u64, u8, u64), Bytes>,
    inputs: ReadOnlyTable<(u64, u64), Bytes>,
    receipts: ReadOnlyTable<(u64, &'static str), Bytes>,
    turns: ReadOnlyTable<(u64, u64), Bytes>,
    steps: ReadOnlyTable<(u64, u64, &'static str), Bytes>,
    asks: ReadOnlyTable<(u64, &'static str), Bytes>,
    runs: ReadOnlyTable<(u64, u32), Bytes>,
    stream: ReadOnlyTable<(u64, u64), Bytes>,
}

impl Hanging {
    fn open(txn: &ReadTransaction) -> Result<Hanging> {
        Ok(Hanging {
            values: txn.open_table(VALUES).map_err(unread)?,
            inputs: txn.open_table(INPUTS).map_err(unread)?,
            receipts: txn.open_table(RECEIPTS).map_err(unread)?,
            turns: txn.open_table(TURNS).map_err(unread)?,
            steps: txn.open_table(STEPS).map_err(unread)?,
            asks: txn.open_table(ASKS).map_err(unread)?,
            runs: txn.open_table(RUNS).map_err(unread)?,
            stream: txn.open_table(STREAM).map_err(unread)?,
        })
    }
}
