//! The rows of the new file, put as they are found.

use super::shelf::{Said, Shelf, said};
use crate::codec;
use crate::header::Header;
use crate::redb::batch::Bytes;
use crate::redb::copy_error::CopyError;
use crate::redb::fresh::written;
use crate::redb::report::{Findings, Wrong};
use crate::redb::tables::{
    ASKS, EVENTS, INPUTS, LIVES, RECEIPTS, RUNS, STEPS, STREAM, TASKS, TURNS, VALUES,
};
use crate::row::{TaskNumber, TaskRow, ValueKey};
use crate::slot::Slot;
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use std::collections::HashSet;

type Result<T> = std::result::Result<T, CopyError>;

/// The tables of what proves itself, open for writing.
pub(in crate::redb) struct Rows<'t> {
    pub(in crate::redb) tasks: Table<'t, u64, Bytes>,
    pub(super) values: Table<'t, (u64, u8, u64), Bytes>,
    pub(super) inputs: Table<'t, (u64, u64), Bytes>,
    pub(super) receipts: Table<'t, (u64, &'static str), Bytes>,
    pub(super) turns: Table<'t, (u64, u64), Bytes>,
    pub(super) steps: Table<'t, (u64, u64, &'static str), Bytes>,
    pub(super) asks: Table<'t, (u64, &'static str), Bytes>,
    pub(super) runs: Table<'t, (u64, u32), Bytes>,
    pub(super) stream: Table<'t, (u64, u64), Bytes>,
    pub(super) events: Table<'t, u64, Bytes>,
    pub(super) lives: Table<'t, (u64, u128), Bytes>,
    /// The highest numbers in anything that was put.
    pub(super) etag: u64,
    pub(super) generation: u64,
    /// Values that are in the new file although no tree leads to them.
    stray: HashSet<ValueKey>,
    /// Values of which several versions were found, and nothing says which is the last.
    disputed: HashSet<ValueKey>,
}

/// What became of an entry that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::redb) enum Put {
    /// It is a new one.
    New,
    /// It took the place of an older version.
    Newer,
    /// The same one, or a later version, was there.
    Known,
}

impl<'t> Rows<'t> {
    pub(in crate::redb) fn open(txn: &'t WriteTransaction) -> Result<Rows<'t>> {
        Ok(Rows {
            tasks: txn.open_table(TASKS).map_err(written)?,
            values: txn.open_table(VALUES).map_err(written)?,
            inputs: txn.open_table(INPUTS).map_err(written)?,
            receipts: txn.open_table(RECEIPTS).map_err(written)?,
            turns: txn.open_table(TURNS).map_err(written)?,
            steps: txn.open_table(STEPS).map_err(written)?,
            asks: txn.open_table(ASKS).map_err(written)?,
            runs: txn.open_table(RUNS).map_err(written)?,
            stream: txn.open_table(STREAM).map_err(written)?,
            events: txn.open_table(EVENTS).map_err(written)?,
            lives: txn.open_table(LIVES).map_err(written)?,
            etag: 0,
            generation: 0,
            stray: HashSet::new(),
            disputed: HashSet::new(),
        })
    }

    /// Puts a whole entry, unless a later version of it is there.
    pub(in crate::redb) fn put(&mut self, slot: Slot<'_>, value: &[u8], of: Said) -> Result<Put> {
        let there = self.get(slot)?;
        let put = match there.map(|there| said(slot, &there)) {
            None | Some(Err(_)) => Put::New,
            Some(Ok(there)) if of.age > there.age && !cfg!(planted = "salvage_keeps_older") => {
                Put::Newer
            }
            Some(Ok(_)) => return Ok(Put::Known),
        };
        self.insert(slot, value)?;
        self.etag = self.etag.max(of.etag);
        self.generation = self.generation.max(of.generation);
        Ok(put)
    }

    /// Puts a value that no tree leads to. Values have no age: of two, one is what a turn before had under the same key,
    /// and it is better missing than told as the last one. One that a tree leads to is the last one.
    pub(super) fn put_stray_value(&mut self, key: ValueKey, value: &[u8]) -> Result<()> {
        if self.disputed.contains(&key) {
            return Ok(());
        }
        let slot = Slot::Value(key);
        let there = self.get(slot)?;
        let is_another = there.as_deref().is_some_and(|there| there != value);
        if is_another && self.stray.contains(&key) && !cfg!(planted = "salvage_takes_any_value") {
            let of = (key.task.0, key.kind.byte(), key.index);
            self.values.remove(of).map_err(written)?;
            self.stray.remove(&key);
            self.disputed.insert(key);
            return Ok(());
        }
        if there.is_none() {
            self.insert(slot, value)?;
            self.stray.insert(key);
        }
        Ok(())
    }

    /// The row of a task. What was put is whole.
    pub(super) fn row(&self, number: u64) -> Result<Option<TaskRow>> {
        let found = self.tasks.get(number).map_err(written)?;
        Ok(found.and_then(|bytes| codec::decode_row(TaskNumber(number), bytes.value()).ok()))
    }

    /// Puts another version of the row of a task.
    pub(super) fn put_row(&mut self, number: u64, row: &TaskRow) -> Result<()> {
        let mut bytes = Vec::new();
        let of = (&Header::of(row), row);
        codec::encode_row(TaskNumber(number), of, &mut bytes).map_err(super::malformed)?;
        let put = self.tasks.insert(number, bytes.as_slice());
        put.map(drop).map_err(written)
    }

    /// Whether there is a task of this number.
    pub(in crate::redb) fn has_task(&self, task: u64) -> bool {
        matches!(self.tasks.get(task), Ok(Some(_)))
    }

    /// Names the values that are missing because nobody can say which is the last.
    pub(super) fn tell_disputed(&self, findings: &mut Findings) {
        let mut disputed: Vec<&ValueKey> = self.disputed.iter().collect();
        disputed.sort();
        for key in disputed {
            findings.add(Shelf::Values.name(), Slot::Value(*key), Wrong::Damaged);
        }
    }

    fn get(&self, slot: Slot<'_>) -> Result<Option<Vec<u8>>> {
        let found = match slot {
            Slot::Task(task) => self.tasks.get(task.0),
            Slot::Value(key) => self.values.get((key.task.0, key.kind.byte(), key.index)),
            Slot::Input(task, seq) => self.inputs.get((task.0, seq)),
            Slot::Receipt(task, input_id) => self.receipts.get((task.0, input_id)),
            Slot::Turn(task, at) => self.turns.get((task.0, at)),
            Slot::Run(task, at) => self.runs.get((task.0, at)),
            Slot::Segment(task, first) => self.stream.get((task.0, first)),
            Slot::Event(etag) => self.events.get(etag.0),
            Slot::Step(task, turn, key) => self.steps.get((task.0, turn, key)),
            Slot::Ask(task, key) => self.asks.get((task.0, key)),
            Slot::Life(position, instance) => self.lives.get((position, instance)),
        };
        Ok(found.map_err(written)?.map(|found| found.value().to_vec()))
    }

    fn insert(&mut self, slot: Slot<'_>, value: &[u8]) -> Result<()> {
        let put = match slot {
            Slot::Task(task) => self.tasks.insert(task.0, value).map(drop),
            Slot::Value(key) => {
                let key = (key.task.0, key.kind.byte(), key.index);
                self.values.insert(key, value).map(drop)
            }
            Slot::Input(task, seq) => self.inputs.insert((task.0, seq), value).map(drop),
            Slot::Receipt(task, id) => self.receipts.insert((task.0, id), value).map(drop),
            Slot::Turn(task, at) => self.turns.insert((task.0, at), value).map(drop),
            Slot::Run(task, at) => self.runs.insert((task.0, at), value).map(drop),
            Slot::Segment(task, first) => self.stream.insert((task.0, first), value).map(drop),
            Slot::Event(etag) => self.events.insert(etag.0, value).map(drop),
            Slot::Step(task, turn, key) => self.steps.insert((task.0, turn, key), value).map(drop),
            Slot::Ask(task, key) => self.asks.insert((task.0, key), value).map(drop),
            Slot::Life(position, instance) => {
                self.lives.insert((position, instance), value).map(drop)
            }
        };
        put.map_err(written)
    }

    /// How many entries a table has.
    pub(super) fn len(&self, shelf: Shelf) -> Result<u64> {
        let len = match shelf {
            Shelf::Tasks => self.tasks.len(),
            Shelf::Values => self.values.len(),
            Shelf::Inputs => self.inputs.len(),
            Shelf::Receipts => self.receipts.len(),
            Shelf::Turns => self.turns.len(),
            Shelf::Steps => self.steps.len(),
            Shelf::Asks => self.asks.len(),
            Shelf::Runs => self.runs.len(),
            Shelf::Stream => self.stream.len(),
            Shelf::Events => self.events.len(),
            Shelf::Lives => self.lives.len(),
        };
        len.map_err(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::rows::labelled;
    use crate::row::Etag;

    const TASK: u64 = 1;

    /// A row as it stands in its table.
    fn version(etag: u64) -> Vec<u8> {
        let mut row = labelled(TASK, "task", &[]);
        row.etag = Etag(etag);
        let mut bytes = Vec::new();
        let of = (&Header::of(&row), &row);
        codec::encode_row(TaskNumber(TASK), of, &mut bytes).unwrap();
        bytes
    }

    /// Pages are met in the order of their places in the file, which says nothing of their age.
    #[test]
    fn of_two_versions_the_later_is_kept_whichever_is_met_first() {
        let memory = redb::backends::InMemoryBackend::new();
        let db = redb::Database::builder()
            .create_with_backend(memory)
            .unwrap();
        let txn = db.begin_write().unwrap();
        let mut rows = Rows::open(&txn).unwrap();
        let mut met = |etag| {
            let (slot, bytes) = (Slot::Task(TaskNumber(TASK)), version(etag));
            let said = said(slot, &bytes).unwrap();
            let put = rows.put(slot, &bytes, said).unwrap();
            (put, rows.row(TASK).unwrap().map(|row| row.etag.0))
        };
        assert_eq!(met(5), (Put::New, Some(5)));
        assert_eq!(met(3), (Put::Known, Some(5)));
        assert_eq!(met(9), (Put::Newer, Some(9)));
        assert_eq!(met(9), (Put::Known, Some(9)));
    }
}
