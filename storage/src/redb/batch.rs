//! The open tables of one transaction, and what commits write to them.

use super::append::{Sheet, append};
use super::families::Families;
use super::hanging::Hanging;
use super::lot::{Beside, Left, Lot};
use super::standing::{header_in, number_in, row_in};
use super::tables::{BY_DEFINITION, BY_LABEL, DUE, EVENTS, EXPIRY, GARBAGE, IDS, RUNNING, TASKS};
use super::{fault, seal};
use crate::codec;
use crate::commit::Write;
use crate::due::DueKey;
use crate::header::{Entry, Header};
use crate::id::TaskId;
use crate::plan::{Removed, Rows, SWEPT_AT_ONCE};
use crate::row::{EventRow, Family, TaskNumber, TaskRow};
use crate::slot::Slot;
use crate::store::StoreError;
use redb::{Table, TableError, WriteTransaction};
use std::ops::Bound::{Included, Unbounded};

/// Rows that are written in one go: some 100 microseconds.
const WRITTEN_AT_ONCE: usize = 64;
/// Rows whose index entries are written in one go: to put a run costs as much as the last page of its table, so of these small
/// ones there are more.
const LISTED_AT_ONCE: usize = 256;
/// Tasks are neighbours where at most so many numbers come to one of them: as many entries may be looked at in vain.
const NEIGHBOURS: u64 = 16;
/// Bytes of rows that are in memory once more at most, but for the last one.
const SHEET_MAX: u64 = 1 << 20;

/// An encoded entry.
pub(super) type Bytes = &'static [u8];

/// The tables of one transaction, each opened once; those of few commits only when one needs them.
pub(super) struct Tables<'t> {
    txn: &'t WriteTransaction,
    tasks: Table<'t, u64, Bytes>,
    ids: Table<'t, &'static str, (u64, u32)>,
    by_definition: Table<'t, (u32, u64), ()>,
    by_label: Option<Table<'t, (u32, &'static str, u64), ()>>,
    due: Table<'t, DueKey, ()>,
    running: Table<'t, u64, ()>,
    expiry: Table<'t, (u64, u64), ()>,
    events: Option<Table<'t, u64, Bytes>>,
    garbage: Option<Table<'t, u64, ()>>,
    hanging: Hanging<'t>,
    families: Families<'t>,
    buffer: Vec<u8>,
    sheet: Sheet,
    /// Entries put or removed so far, but for those of `hanging` and `families`.
    writes: u64,
    /// Bytes of the values put so far, but for those of `hanging`.
    bytes: u64,
}

/// A row that is to be written.
struct Put<'l> {
    task: TaskNumber,
    header: &'l Header,
    body: &'l [u8],
    labels: &'l [Box<str>],
    /// The header of the row that is there, if one is.
    was: Option<&'l Header>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Tables<'t>, StoreError> {
        Ok(Tables {
            txn,
            tasks: txn.open_table(TASKS).map_err(fault)?,
            ids: txn.open_table(IDS).map_err(fault)?,
            by_definition: txn.open_table(BY_DEFINITION).map_err(fault)?,
            by_label: None,
            due: txn.open_table(DUE).map_err(fault)?,
            running: txn.open_table(RUNNING).map_err(fault)?,
            expiry: txn.open_table(EXPIRY).map_err(fault)?,
            events: None,
            garbage: None,
            hanging: Hanging::in_transaction(txn),
            families: Families::in_transaction(txn),
            buffer: Vec::with_capacity(4096),
            sheet: Sheet::default(),
            writes: 0,
            bytes: 0,
        })
    }

    /// Entries put or removed so far.
    pub(super) fn writes(&self) -> u64 {
        self.writes + self.hanging.writes() + self.families.writes()
    }

    /// Bytes of the values put so far, as encoded.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.hanging.bytes()
    }

    /// Writes what a lot comes to.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] for a row too large; what redb fails with.
    pub(super) fn write(&mut self, lot: &Lot) -> Result<(), StoreError> {
        self.write_politely(lot, |_| {})
    }

    /// As [`Tables::write`]; between some rows and the next it may give way to others, told how far it is, from 0 to 1.
    pub(super) fn write_politely(
        &mut self,
        lot: &Lot,
        mut give_way: impl FnMut(f64),
    ) -> Result<(), StoreError> {
        self.put_events(lot)?;
        for (task, beside) in &lot.beside {
            self.put_beside(*task, beside)?;
        }
        // First: an id that a removed task had may be another's now.
        for (task, net) in lot.tasks.iter() {
            if let (Some(was), Left::Removed(removed)) = (&net.was, &net.is) {
                self.remove_row(*task, was, removed)?;
            }
        }
        let mut rows: Vec<Put<'_>> = (lot.tasks.iter())
            .filter_map(|(task, net)| match &net.is {
                Left::Row {
                    header,
                    body,
                    labelled,
                } => Some(Put {
                    task: *task,
                    header,
                    body: lot.bytes(body),
                    labels: labelled.as_ref().map_or(&[], |facts| &facts.labels),
                    was: net.was.as_ref(),
                }),
                Left::Removed(_) => None,
            })
            .collect();
        // Neighbours in their tables one after the other.
        rows.sort_unstable_by_key(|put| put.task);
        let mut ids: Vec<_> = (lot.ids.iter())
            .filter_map(|(id, task)| Some((id, (*task)?)))
            .collect();
        ids.sort_unstable();
        let all = 2.0 * rows.len() as f64;
        for (gone, some) in rows.chunks(WRITTEN_AT_ONCE).enumerate() {
            give_way((gone * WRITTEN_AT_ONCE) as f64 / all);
            self.put_rows(some)?;
        }
        for some in ids.chunks(LISTED_AT_ONCE) {
            give_way(0.5);
            self.put_ids(some)?;
        }
        for (gone, some) in rows.chunks(LISTED_AT_ONCE).enumerate() {
            give_way((rows.len() + gone * LISTED_AT_ONCE) as f64 / all);
            self.put_identities(some)?;
            self.put_entries(some)?;
        }
        Ok(())
    }

    fn put_beside(&mut self, task: TaskNumber, beside: &Beside) -> Result<(), StoreError> {
        match beside {
            Beside::Told(write) => self.tell(task, write),
            Beside::Hangs(write) => self.hanging.write(task, write),
            Beside::Moved { from, to } => {
                if let Some(from) = from {
                    self.families.unlist(*from, task)?;
                }
                match to {
                    Some(to) => self.families.list(*to, task),
                    None => Ok(()),
                }
            }
            Beside::Removed(family) => {
                if let Some(family) = family {
                    self.families.unlist(*family, task)?;
                }
                self.sweep(task)
            }
        }
    }

    /// Writes some rows, in the order of their numbers, without their index entries.
    fn put_rows(&mut self, rows: &[Put<'_>]) -> Result<(), StoreError> {
        self.sheet.clear();
        for put in rows {
            let (task, row) = (put.task, (put.header, put.body));
            self.writes += 1;
            if put.was.is_some() {
                self.buffer.clear();
                codec::append_row_of(task, row, &mut self.buffer)?;
                self.bytes += self.buffer.len() as u64;
                let row = self.buffer.as_slice();
                self.tasks.insert(task.0, row).map_err(fault)?;
                continue;
            }
            let write = |out: &mut Vec<u8>| codec::append_row_of(task, row, out);
            self.bytes += self.sheet.add(task.0, write)?;
            if self.sheet.bytes() > SHEET_MAX {
                self.sheet.append_to(&mut self.tasks)?;
                self.sheet.clear();
            }
        }
        self.sheet.append_to(&mut self.tasks)
    }

    /// The ids of new tasks, in their order.
    fn put_ids(&mut self, ids: &[(&TaskId, TaskNumber)]) -> Result<(), StoreError> {
        let sealed = ids.iter().map(|(id, task)| {
            let id = id.as_str();
            (id, seal::of_id(id, task.0))
        });
        let sealed: Vec<_> = sealed.collect();
        append(&mut self.ids, Unbounded, &sealed, |entry| *entry)?;
        self.writes += sealed.len() as u64;
        Ok(())
    }

    /// The index entries that new tasks keep from their start to their removal, beside their ids.
    fn put_identities(&mut self, rows: &[Put<'_>]) -> Result<(), StoreError> {
        let new: Vec<_> = rows.iter().filter(|put| put.was.is_none()).collect();
        let by_definition = new.iter().map(|put| (put.header.def.0, put.task.0));
        let mut by_definition: Vec<_> = by_definition.collect();
        by_definition.sort_unstable();
        for of_one in by_definition.chunk_by(|(one, _), (next, _)| one == next) {
            let last = Included((of_one[0].0, u64::MAX));
            append(&mut self.by_definition, last, of_one, |key| (*key, ()))?;
        }
        self.writes += new.len() as u64;
        for put in &new {
            for label in put.labels {
                let by_label = opened(&mut self.by_label, || self.txn.open_table(BY_LABEL))?;
                let key = (put.header.def.0, &**label, put.task.0);
                let was_there = by_label.insert(key, ()).map_err(fault)?.is_some();
                self.writes += u64::from(!was_there);
            }
        }
        Ok(())
    }

    /// The index entry of each row by what it waits for.
    fn put_entries(&mut self, rows: &[Put<'_>]) -> Result<(), StoreError> {
        let (mut running, mut expiry) = (Vec::new(), Vec::new());
        let mut run_no_more = Vec::new();
        for put in rows {
            let entry = put.header.entry(put.task);
            let before = put.was.and_then(|was| was.entry(put.task));
            if before == entry {
                continue;
            }
            match before {
                _ if cfg!(planted = "due_entry_leaks") => {}
                Some(Entry::Running(key)) => run_no_more.push(key),
                other => self.unlist(other)?,
            }
            match entry {
                Some(Entry::Running(key)) if put.was.is_none() => running.push(key),
                Some(Entry::Expiry(key)) => expiry.push(key),
                other => self.list(other)?,
            }
        }
        self.unlist_running(&run_no_more)?;
        append(&mut self.running, Unbounded, &running, |key| (*key, ()))?;
        self.writes += running.len() as u64;
        expiry.sort_unstable();
        append(&mut self.expiry, Unbounded, &expiry, |key| (*key, ()))?;
        self.writes += expiry.len() as u64;
        Ok(())
    }

    /// Removes the row of a task, its id and its index entries.
    fn remove_row(
        &mut self,
        task: TaskNumber,
        was: &Header,
        removed: &Removed,
    ) -> Result<(), StoreError> {
        self.tasks.remove(task.0).map_err(fault)?;
        self.writes += 1;
        if !cfg!(planted = "removed_task_keeps_its_id") {
            self.ids.remove(removed.id.as_str()).map_err(fault)?;
            self.writes += 1;
        }
        self.remove_listed(task, was, removed)
    }

    /// Removes what hangs on a removed task, as far as it is little; the rest is left to be tidied up.
    fn sweep(&mut self, task: TaskNumber) -> Result<(), StoreError> {
        self.hanging.remove_asks(task)?;
        let mut room = SWEPT_AT_ONCE;
        let more = self.hanging.sweep(task, &mut room)?;
        if more && !cfg!(planted = "garbage_forgotten") {
            let garbage = opened(&mut self.garbage, || self.txn.open_table(GARBAGE))?;
            garbage.insert(task.0, ()).map_err(fault)?;
            self.writes += 1;
        }
        Ok(())
    }

    /// What a commit says to others than its task.
    pub(super) fn tell(&mut self, task: TaskNumber, write: &Write) -> Result<(), StoreError> {
        if let Write::Event(event) = write {
            codec::encode(Slot::Event(event.etag), event, &mut self.buffer)?;
            self.sheet.clear();
            let line = &self.buffer;
            self.sheet.add(event.etag.0, |out| {
                out.extend_from_slice(line);
                Ok(())
            })?;
            self.put_sheet_of_events()?;
        }
        if let Write::ChildEnded(family) = write {
            self.families.count(*family)?;
        }
        if let Write::FamilyOver { turn, fate } = write {
            let turn = *turn;
            self.families.over(Family { task, turn }, fate)?;
        }
        Ok(())
    }

    fn remove_listed(
        &mut self,
        task: TaskNumber,
        old: &Header,
        removed: &Removed,
    ) -> Result<(), StoreError> {
        if !cfg!(planted = "removed_task_stays_listed") {
            self.by_definition
                .remove((old.def.0, task.0))
                .map_err(fault)?;
            self.writes += 1;
            self.unlist(old.entry(task))?;
        }
        for label in &removed.labels {
            if cfg!(planted = "label_entry_leaks") {
                continue;
            }
            let by_label = opened(&mut self.by_label, || self.txn.open_table(BY_LABEL))?;
            let key = (old.def.0, &**label, task.0);
            let was_there = by_label.remove(key).map_err(fault)?.is_some();
            self.writes += u64::from(was_there);
        }
        Ok(())
    }

    fn list(&mut self, entry: Option<Entry>) -> Result<(), StoreError> {
        match entry {
            Some(Entry::Due(key)) => self.due.insert(key, ()).map_err(fault)?,
            Some(Entry::Running(key)) => self.running.insert(key, ()).map_err(fault)?,
            Some(Entry::Expiry(key)) => self.expiry.insert(key, ()).map_err(fault)?,
            None => return Ok(()),
        };
        self.writes += 1;
        Ok(())
    }

    /// Removes tasks, in the order of their numbers, from those that run. Neighbours are taken out of each page at once, which costs
    /// a fraction of taking out each by itself.
    fn unlist_running(&mut self, gone: &[u64]) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else {
            return Ok(());
        };
        if last - first < NEIGHBOURS * gone.len() as u64 {
            let mut gone = gone.iter().peekable();
            let stays = |key, ()| {
                while gone.next_if(|gone| **gone < key).is_some() {}
                gone.peek() != Some(&&key) && !cfg!(planted = "neighbours_unlisted")
            };
            let kept = self.running.retain_in(*first..=*last, stays);
            kept.map_err(fault)?;
        } else {
            for key in gone {
                self.running.remove(key).map_err(fault)?;
            }
        }
        self.writes += gone.len() as u64;
        Ok(())
    }

    fn unlist(&mut self, entry: Option<Entry>) -> Result<(), StoreError> {
        match entry {
            Some(Entry::Due(key)) => self.due.remove(key).map_err(fault)?,
            Some(Entry::Running(key)) => self.running.remove(key).map_err(fault)?,
            Some(Entry::Expiry(key)) => self.expiry.remove(key).map_err(fault)?,
            None => return Ok(()),
        };
        self.writes += 1;
        Ok(())
    }

    fn put_events(&mut self, lot: &Lot) -> Result<(), StoreError> {
        if lot.events.is_empty() {
            return Ok(());
        }
        self.sheet.clear();
        for (etag, body) in &lot.events {
            let (slot, body) = (Slot::Event(*etag), lot.bytes(body));
            self.sheet
                .add(etag.0, |out| codec::append_of::<EventRow>(slot, body, out))?;
        }
        self.put_sheet_of_events()
    }

    /// Puts lines for the log, which are on the sheet.
    fn put_sheet_of_events(&mut self) -> Result<(), StoreError> {
        let table = opened(&mut self.events, || self.txn.open_table(EVENTS))?;
        self.sheet.append_to(table)?;
        self.writes += self.sheet.len() as u64;
        self.bytes += self.sheet.bytes();
        Ok(())
    }
}

/// The table, opened at its first use in the transaction.
pub(super) fn opened<T>(
    table: &mut Option<T>,
    open: impl FnOnce() -> Result<T, TableError>,
) -> Result<&mut T, StoreError> {
    match table {
        Some(table) => Ok(table),
        None => Ok(table.insert(open().map_err(fault)?)),
    }
}

impl Rows for Tables<'_> {
    fn number(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        number_in(&self.ids, id)
    }

    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header, StoreError>>, StoreError> {
        header_in(&self.tasks, task)
    }

    fn row(
        &self,
        task: TaskNumber,
    ) -> Result<Result<Option<Box<TaskRow>>, StoreError>, StoreError> {
        row_in(&self.tasks, task)
    }
}
