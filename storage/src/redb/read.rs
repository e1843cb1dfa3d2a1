//! Reads: each is one short transaction, because a transaction held for seconds multiplies the file.

use super::salvage::Shelf;
use super::standing::Leaves;
use super::tables::{
    DEFINITIONS, EVENTS, IDS, INPUTS, META, RECEIPTS, RUNS, STEPS, TASKS, TRIMMED, TURNS, VALUES,
};
use super::{RedbStore, fault, ids, seal};
use crate::codec;
use crate::id::{InputId, TaskId};
use crate::receipt::KeptReceipt;
use crate::row::{
    DefNumber, Etag, InputRow, Receipt, RunRow, StepRow, TaskNumber, TaskRow, TurnRow, ValueKey,
};
use crate::slot::Slot;
use crate::store::{EventPage, Inbox, PAGE_MAX, StoreError};
use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, Value,
};
use std::ops::Bound;

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
    /// Begins to read the database, when it has everything that is durable.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction> {
        if !cfg!(planted = "journal_unread") {
            self.bring()?;
        }
        self.begin_read_behind()
    }

    /// Begins to read the database as it is, for who has asked before what the journal is [ahead](super::ahead) of it.
    pub(super) fn begin_read_behind(&self) -> Result<ReadTransaction> {
        self.database(|database| database.begin_read())?
            .map_err(fault)
    }

    /// A table of what hangs on tasks, `None` when this one is gone: what is left of it then is nobody's.
    pub(super) fn hanging<K: Key + 'static, V: Value + 'static>(
        &self,
        task: TaskNumber,
        table: TableDefinition<'_, K, V>,
    ) -> Result<Option<ReadOnlyTable<K, V>>> {
        let txn = self.begin_read()?;
        let tasks = txn.open_table(TASKS).map_err(fault)?;
        let is_there = tasks.get(task.0).map_err(fault)?.is_some();
        if !is_there && !cfg!(planted = "removed_task_still_read") {
            self.check_absent(&tasks, Shelf::Tasks, (task.0, task.0))?;
            return Ok(None);
        }
        txn.open_table(table).map(Some).map_err(fault)
    }

    pub(crate) fn read_definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>> {
        let table = self.begin_read()?.open_table(DEFINITIONS).map_err(fault)?;
        let mut definitions = Vec::new();
        for entry in table.iter().map_err(fault)? {
            let (name, number) = entry.map_err(fault)?;
            let number = seal::open_name(name.value(), number.value())?;
            definitions.push((DefNumber(number), Box::from(name.value())));
        }
        definitions.sort_unstable();
        Ok(definitions)
    }

    pub(crate) fn read_number(&self, id: &TaskId) -> Result<Option<TaskNumber>> {
        if let Some(known) = self.ahead.lock().number(id) {
            return Ok(known);
        }
        let txn = self.begin_read_behind()?;
        let table = txn.open_table(IDS).map_err(fault)?;
        ids::number(&table, || txn.open_table(TASKS).map_err(fault), id.as_str())
    }

    pub(crate) fn read_ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>> {
        let table = self.begin_read()?.open_table(IDS).map_err(fault)?;
        ids::beginning(&table, prefix, limit)
    }

    pub(crate) fn read_row(&self, task: TaskNumber) -> Result<Option<TaskRow>> {
        if let Some(left) = self.ahead.lock().left(task) {
            return left.row(task);
        }
        let txn = self.begin_read_behind()?;
        let table = txn.open_table(TASKS).map_err(fault)?;
        let found = table.get(task.0).map_err(fault)?;
        if found.is_none() {
            self.check_absent(&table, Shelf::Tasks, (task.0, task.0))?;
        }
        found
            .map(|bytes| codec::decode_row(task, bytes.value()))
            .transpose()
    }

    pub(crate) fn read_value(&self, key: ValueKey) -> Result<Option<Vec<u8>>> {
        let Some(table) = self.hanging(key.task, VALUES)? else {
            return Ok(None);
        };
        let at = (key.task.0, key.kind.byte(), key.index);
        let found = table.get(at).map_err(fault)?;
        if found.is_none() {
            self.check_absent(&table, Shelf::Values, (at, at))?;
        }
        found
            .map(|bytes| codec::decode_value(Slot::Value(key), bytes.value()))
            .transpose()
    }

    pub(crate) fn read_inbox(&self, task: TaskNumber) -> Result<Inbox> {
        let mut inbox = Inbox::default();
        let Some(table) = self.hanging(task, INPUTS)? else {
            return Ok(inbox);
        };
        let all = ((task.0, 0), (task.0, u64::MAX));
        self.check_absent(&table, Shelf::Inputs, all)?;
        for entry in table.range(all.0..=all.1).map_err(fault)? {
            let (key, bytes) = entry.map_err(fault)?;
            if inbox.len == 0 {
                let (_, seq) = key.value();
                let input = codec::decode(Slot::Input(task, seq), bytes.value())?;
                inbox.head = Some((seq, input));
            }
            inbox.len += 1;
        }
        Ok(inbox)
    }

    pub(crate) fn read_inputs(
        &self,
        task: TaskNumber,
        limit: usize,
    ) -> Result<Vec<(u64, InputRow)>> {
        let mut inputs = Vec::new();
        let Some(table) = self.hanging(task, INPUTS)? else {
            return Ok(inputs);
        };
        let all = ((task.0, 0), (task.0, u64::MAX));
        self.check_absent(&table, Shelf::Inputs, all)?;
        let waiting = table.range(all.0..=all.1).map_err(fault)?;
        for entry in waiting.take(limit.min(PAGE_MAX)) {
            let (key, bytes) = entry.map_err(fault)?;
            let (_, seq) = key.value();
            let input = codec::decode(Slot::Input(task, seq), bytes.value())?;
            inputs.push((seq, input));
        }
        Ok(inputs)
    }

    pub(crate) fn read_receipt(
        &self,
        task: TaskNumber,
        input_id: &InputId,
    ) -> Result<Option<Receipt>> {
        let Some(table) = self.hanging(task, RECEIPTS)? else {
            return Ok(None);
        };
        let found = table.get((task.0, input_id.as_str())).map_err(fault)?;
        let Some(bytes) = found else {
            let at = (task.0, input_id.as_str());
            self.check_absent(&table, Shelf::Receipts, (at, at))?;
            return Ok(None);
        };
        let slot = Slot::Receipt(task, input_id.as_str());
        let kept: KeptReceipt = codec::decode(slot, bytes.value())?;
        Ok(Some(kept.receipt))
    }

    pub(crate) fn read_turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>> {
        let Some(table) = self.hanging(task, TURNS)? else {
            return Ok(None);
        };
        let found = table.get((task.0, slot)).map_err(fault)?;
        if found.is_none() {
            self.check_absent(&table, Shelf::Turns, ((task.0, slot), (task.0, slot)))?;
        }
        found
            .map(|bytes| codec::decode(Slot::Turn(task, slot), bytes.value()))
            .transpose()
    }

    pub(crate) fn read_step(
        &self,
        task: TaskNumber,
        turn: u64,
        key: &str,
    ) -> Result<Option<StepRow>> {
        let Some(table) = self.hanging(task, STEPS)? else {
            return Ok(None);
        };
        let at = (task.0, turn, key);
        let found = table.get(at).map_err(fault)?;
        if found.is_none() {
            self.check_absent(&table, Shelf::Steps, (at, at))?;
        }
        found
            .map(|bytes| codec::decode_step(Slot::Step(task, turn, key), bytes.value()))
            .transpose()
    }

    pub(crate) fn read_steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>> {
        let mut steps = Vec::new();
        let Some(table) = self.hanging(task, STEPS)? else {
            return Ok(steps);
        };
        let from = match after {
            Some(after) => Bound::Excluded((task.0, turn, after)),
            None => Bound::Included((task.0, turn, "")),
        };
        let to = Bound::Excluded((task.0, turn.saturating_add(1), ""));
        let ends = ((task.0, turn, ""), (task.0, turn.saturating_add(1), ""));
        self.check_absent(&table, Shelf::Steps, ends)?;
        let of_turn = table.range::<(u64, u64, &str)>((from, to)).map_err(fault)?;
        for entry in of_turn.take(limit.min(PAGE_MAX)) {
            let (at, bytes) = entry.map_err(fault)?;
            let (_, _, key) = at.value();
            let step = codec::decode_step(Slot::Step(task, turn, key), bytes.value())?;
            steps.push((key.into(), step));
        }
        Ok(steps)
    }

    pub(crate) fn read_runs(&self, task: TaskNumber) -> Result<Vec<RunRow>> {
        let mut runs: Vec<RunRow> = Vec::new();
        let Some(table) = self.hanging(task, RUNS)? else {
            return Ok(runs);
        };
        let all = ((task.0, 0), (task.0, u32::MAX));
        self.check_absent(&table, Shelf::Runs, all)?;
        let kept = table.range(all.0..=all.1);
        for entry in kept.map_err(fault)? {
            let (key, bytes) = entry.map_err(fault)?;
            let (_, place) = key.value();
            runs.push(codec::decode(Slot::Run(task, place), bytes.value())?);
        }
        if !cfg!(planted = "runs_out_of_order") {
            runs.sort_by_key(|run| run.run);
        }
        Ok(runs)
    }

    pub(crate) fn read_events(&self, after: Etag, limit: usize) -> Result<EventPage> {
        let txn = self.begin_read()?;
        let meta = txn.open_table(META).map_err(fault)?;
        let trimmed = meta.get(TRIMMED).map_err(fault)?;
        let mut page = EventPage {
            events: Vec::new(),
            // Only etags are ever put there.
            trimmed: Etag(trimmed.map_or(0, |etag| etag.value() as u64)),
        };
        let table = txn.open_table(EVENTS).map_err(fault)?;
        let beyond = (Bound::Excluded(after.0), Bound::Unbounded);
        let events = table.range::<u64>(beyond).map_err(fault)?;
        for entry in events.take(limit.min(PAGE_MAX)) {
            let (etag, bytes) = entry.map_err(fault)?;
            let slot = Slot::Event(Etag(etag.value()));
            page.events.push(codec::decode(slot, bytes.value())?);
        }
        Ok(page)
    }

    /// How many entries each table has, for comparison with those in memory. Those of names, counters and facts of
    /// the file are left out.
    #[cfg(test)]
    pub(crate) fn entries(&self) -> Vec<(&'static str, u64)> {
        use super::tables::{
            ASKS, BY_DEFINITION, BY_LABEL, CHILDREN, DUE, EXPIRY, FAMILIES_OVER, GARBAGE, LIVES,
            OLD_STEPS, RECEIPT_EXPIRY, RUNNING, STREAM, WAKES,
        };
        use redb::ReadableTableMetadata;
        fn len<K: Key + 'static, V: Value + 'static>(
            txn: &ReadTransaction,
            table: TableDefinition<'_, K, V>,
        ) -> u64 {
            txn.open_table(table).unwrap().len().unwrap()
        }
        let txn = self.begin_read().unwrap();
        vec![
            ("asks", len(&txn, ASKS)),
            ("by_definition", len(&txn, BY_DEFINITION)),
            ("by_label", len(&txn, BY_LABEL)),
            ("children", len(&txn, CHILDREN)),
            ("due", len(&txn, DUE)),
            ("events", len(&txn, EVENTS)),
            ("expiry", len(&txn, EXPIRY)),
            ("garbage", len(&txn, GARBAGE)),
            ("ids", len(&txn, IDS)),
            ("lives", len(&txn, LIVES)),
            ("old_steps", len(&txn, OLD_STEPS)),
            ("families_over", len(&txn, FAMILIES_OVER)),
            ("pending_steering_inputs", len(&txn, INPUTS)),
            ("receipt_expiry", len(&txn, RECEIPT_EXPIRY)),
            ("receipts", len(&txn, RECEIPTS)),
            ("running", len(&txn, RUNNING)),
            ("runs", len(&txn, RUNS)),
            ("steps", len(&txn, STEPS)),
            ("stream", len(&txn, STREAM)),
            ("tasks", len(&txn, TASKS)),
            ("turns", len(&txn, TURNS)),
            ("values", len(&txn, VALUES)),
            ("wakes", len(&txn, WAKES)),
        ]
    }
}
