//! One batch in one write transaction: plan it on what the transaction sees, then write what was accepted.

use super::tables::{
    BY_DEFINITION, DUE, ETAGS, EXPIRY, GENERATIONS, IDS, INPUTS, RECEIPTS, RUNNING, TASKS, VALUES,
};
use super::{RedbStore, fault};
use crate::codec;
use crate::commit::{Applied, Commit, Conflict, Write};
use crate::header::{Entry, Header};
use crate::id::TaskId;
use crate::plan::{Accepted, Plan, Rows, plan};
use crate::row::{Etag, Generation, TaskNumber, TaskRow};
use crate::slot::Slot;
use crate::store::{Counters, StoreError};
use redb::{Durability, ReadableTable, Table, WriteTransaction};
use std::sync::atomic::Ordering;

/// How many etags and generations are reserved at once: one more write per this many transitions, and as many
/// numbers skipped at an open.
const RESERVE_BLOCK: u64 = 65_536;

type Answers = Vec<Result<Applied, Conflict>>;

impl RedbStore {
    /// Begins a durable write transaction.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.check_in_place()?;
        let mut txn = self.database.begin_write().map_err(fault)?;
        txn.set_durability(Durability::Immediate).map_err(fault)?;
        txn.set_quick_repair(self.options.quick_repair && !cfg!(planted = "quick_repair_off"));
        Ok(txn)
    }

    /// Applies a batch.
    pub(crate) fn apply(&self, batch: &[Commit]) -> Result<Answers, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut reserved = self.reserved.lock();
        let txn = self.begin_write()?;
        let mut tables = Tables::open(&txn)?;
        let plan = match plan(batch, &tables) {
            Ok(plan) if !plan.accepted.is_empty() => plan,
            refused => {
                drop(tables);
                txn.abort().map_err(fault)?;
                return refused.map(|plan| plan.answers);
            }
        };
        let written = tables.write(&plan.accepted);
        let writes = tables.writes;
        drop(tables);
        if let Err(malformed) = written {
            txn.abort().map_err(fault)?;
            return Err(malformed);
        }
        let next = self.reserve(&txn, *reserved, &plan)?;
        txn.commit().map_err(fault)?;
        *reserved = next;
        self.btree_writes.fetch_add(writes, Ordering::Relaxed);
        Ok(plan.answers)
    }

    /// Writes new reservations when the batch brings numbers beyond the present ones.
    fn reserve(
        &self,
        txn: &WriteTransaction,
        mut reserved: Counters,
        plan: &Plan<'_>,
    ) -> Result<Counters, StoreError> {
        if cfg!(planted = "counters_not_reserved") {
            return Ok(reserved);
        }
        if plan.etag > reserved.etag {
            reserved.etag = Etag(plan.etag.0.saturating_add(RESERVE_BLOCK));
            let mut etags = txn.open_table(ETAGS).map_err(fault)?;
            etags
                .insert(self.incarnation, reserved.etag.0)
                .map_err(fault)?;
        }
        if plan.generation > reserved.generation {
            reserved.generation = Generation(plan.generation.0.saturating_add(RESERVE_BLOCK));
            let mut generations = txn.open_table(GENERATIONS).map_err(fault)?;
            generations
                .insert(self.incarnation, reserved.generation.0)
                .map_err(fault)?;
        }
        Ok(reserved)
    }
}

type Bytes = &'static [u8];

/// The tables of one batch, each opened once; those of few commits only when one needs them.
struct Tables<'t> {
    txn: &'t WriteTransaction,
    tasks: Table<'t, u64, Bytes>,
    ids: Table<'t, &'static str, u64>,
    by_definition: Table<'t, (u32, u64), ()>,
    due: Table<'t, (u32, u8, u64, u64), ()>,
    running: Table<'t, u64, ()>,
    expiry: Table<'t, (u64, u64), ()>,
    values: Option<Table<'t, (u64, u8, u64), Bytes>>,
    inputs: Option<Table<'t, (u64, u64), Bytes>>,
    receipts: Option<Table<'t, (u64, &'static str), Bytes>>,
    buffer: Vec<u8>,
    /// Entries put or removed so far.
    writes: u64,
}

impl<'t> Tables<'t> {
    fn open(txn: &'t WriteTransaction) -> Result<Tables<'t>, StoreError> {
        Ok(Tables {
            txn,
            tasks: txn.open_table(TASKS).map_err(fault)?,
            ids: txn.open_table(IDS).map_err(fault)?,
            by_definition: txn.open_table(BY_DEFINITION).map_err(fault)?,
            due: txn.open_table(DUE).map_err(fault)?,
            running: txn.open_table(RUNNING).map_err(fault)?,
            expiry: txn.open_table(EXPIRY).map_err(fault)?,
            values: None,
            inputs: None,
            receipts: None,
            buffer: Vec::with_capacity(4096),
            writes: 0,
        })
    }

    fn write(&mut self, accepted: &[Accepted<'_>]) -> Result<(), StoreError> {
        for accepted in accepted {
            let mut old = accepted.old;
            for write in &accepted.commit.writes {
                match write {
                    Write::Row(row) => {
                        old = Some(self.put_row(accepted.commit.task, row, old.as_ref())?)
                    }
                    other => self.put_other(accepted.commit.task, other)?,
                }
            }
        }
        Ok(())
    }

    fn put_row(
        &mut self,
        task: TaskNumber,
        row: &TaskRow,
        old: Option<&Header>,
    ) -> Result<Header, StoreError> {
        codec::encode_row(task, row, &mut self.buffer)?;
        self.tasks
            .insert(task.0, self.buffer.as_slice())
            .map_err(fault)?;
        self.writes += 1;
        let new = Header::of(row);
        let entry = new.entry(task);
        let Some(old) = old else {
            self.ids.insert(row.id.as_str(), task.0).map_err(fault)?;
            self.by_definition
                .insert((row.def.0, task.0), ())
                .map_err(fault)?;
            self.writes += 2;
            self.list(entry)?;
            return Ok(new);
        };
        let old_entry = old.entry(task);
        if old_entry != entry {
            if !cfg!(planted = "due_entry_leaks") {
                self.unlist(old_entry)?;
            }
            self.list(entry)?;
        }
        Ok(new)
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

    fn put_other(&mut self, task: TaskNumber, write: &Write) -> Result<(), StoreError> {
        self.writes += 1;
        match write {
            Write::Row(_) => self.writes -= 1,
            Write::Value { key, bytes } => {
                codec::encode_value(Slot::Value(*key), bytes, &mut self.buffer)?;
                let values = opened(&mut self.values, || self.txn.open_table(VALUES))?;
                let key = (task.0, key.kind.byte(), key.index);
                values.insert(key, self.buffer.as_slice()).map_err(fault)?;
            }
            Write::RemoveValue(key) => {
                let values = opened(&mut self.values, || self.txn.open_table(VALUES))?;
                values
                    .remove((task.0, key.kind.byte(), key.index))
                    .map_err(fault)?;
            }
            Write::PushInput { seq, input } => {
                codec::encode_input(Slot::Input(task, *seq), input, &mut self.buffer)?;
                let inputs = opened(&mut self.inputs, || self.txn.open_table(INPUTS))?;
                inputs
                    .insert((task.0, *seq), self.buffer.as_slice())
                    .map_err(fault)?;
            }
            Write::PopInput { seq } => {
                let inputs = opened(&mut self.inputs, || self.txn.open_table(INPUTS))?;
                inputs.remove((task.0, *seq)).map_err(fault)?;
            }
            Write::Receipt { input_id, receipt } => {
                let slot = Slot::Receipt(task, input_id.as_str());
                codec::encode_receipt(slot, receipt, &mut self.buffer)?;
                let receipts = opened(&mut self.receipts, || self.txn.open_table(RECEIPTS))?;
                receipts
                    .insert((task.0, input_id.as_str()), self.buffer.as_slice())
                    .map_err(fault)?;
            }
        }
        Ok(())
    }
}

/// The table, opened at its first use in the batch.
fn opened<T>(
    table: &mut Option<T>,
    open: impl FnOnce() -> Result<T, redb::TableError>,
) -> Result<&mut T, StoreError> {
    match table {
        Some(table) => Ok(table),
        None => Ok(table.insert(open().map_err(fault)?)),
    }
}

impl Rows for Tables<'_> {
    fn number(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        let found = self.ids.get(id.as_str()).map_err(fault)?;
        Ok(found.map(|number| TaskNumber(number.value())))
    }

    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header, StoreError>>, StoreError> {
        let found = self.tasks.get(task.0).map_err(fault)?;
        Ok(found.map(|bytes| codec::header(task, bytes.value())))
    }

    fn row(
        &self,
        task: TaskNumber,
    ) -> Result<Result<Option<Box<TaskRow>>, StoreError>, StoreError> {
        let found = self.tasks.get(task.0).map_err(fault)?;
        let row = found
            .map(|bytes| codec::decode_row(task, bytes.value()))
            .transpose();
        Ok(row.map(|row| row.map(Box::new)))
    }
}
