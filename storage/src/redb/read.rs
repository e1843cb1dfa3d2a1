//! Reads: each is one short transaction, because a transaction held for seconds multiplies the file.

use super::tables::{
    BY_DEFINITION, DEFINITIONS, DUE, IDS, INPUTS, RECEIPTS, RUNNING, TASKS, VALUES,
};
use super::{RedbStore, fault};
use crate::codec;
use crate::id::{InputId, TaskId};
use crate::row::{DefNumber, InputRow, Micros, Priority, Receipt, TaskNumber, TaskRow, ValueKey};
use crate::slot::Slot;
use crate::store::{Due, Found, Inbox, PAGE_MAX, Page, Scan, StoreError};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable};

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
    fn begin_read(&self) -> Result<ReadTransaction> {
        self.database.begin_read().map_err(fault)
    }

    pub(crate) fn read_definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>> {
        let table = self.begin_read()?.open_table(DEFINITIONS).map_err(fault)?;
        let mut definitions = Vec::new();
        for entry in table.iter().map_err(fault)? {
            let (name, number) = entry.map_err(fault)?;
            definitions.push((DefNumber(number.value()), Box::from(name.value())));
        }
        definitions.sort_unstable();
        Ok(definitions)
    }

    pub(crate) fn read_number(&self, id: &TaskId) -> Result<Option<TaskNumber>> {
        let table = self.begin_read()?.open_table(IDS).map_err(fault)?;
        let found = table.get(id.as_str()).map_err(fault)?;
        Ok(found.map(|number| TaskNumber(number.value())))
    }

    pub(crate) fn read_row(&self, task: TaskNumber) -> Result<Option<TaskRow>> {
        let table = self.begin_read()?.open_table(TASKS).map_err(fault)?;
        let found = table.get(task.0).map_err(fault)?;
        found
            .map(|bytes| codec::decode_row(task, bytes.value()))
            .transpose()
    }

    pub(crate) fn read_value(&self, key: ValueKey) -> Result<Option<Vec<u8>>> {
        let table = self.begin_read()?.open_table(VALUES).map_err(fault)?;
        let found = table
            .get((key.task.0, key.kind.byte(), key.index))
            .map_err(fault)?;
        found
            .map(|bytes| codec::decode_value(Slot::Value(key), bytes.value()))
            .transpose()
    }

    pub(crate) fn read_inbox(&self, task: TaskNumber) -> Result<Inbox> {
        let table = self.begin_read()?.open_table(INPUTS).map_err(fault)?;
        let mut inbox = Inbox::default();
        for entry in table
            .range((task.0, 0)..=(task.0, u64::MAX))
            .map_err(fault)?
        {
            let (key, bytes) = entry.map_err(fault)?;
            if inbox.len == 0 {
                let (_, seq) = key.value();
                inbox.head = Some((
                    seq,
                    codec::decode_input(Slot::Input(task, seq), bytes.value())?,
                ));
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
        let table = self.begin_read()?.open_table(INPUTS).map_err(fault)?;
        let waiting = table
            .range((task.0, 0)..=(task.0, u64::MAX))
            .map_err(fault)?;
        let mut inputs = Vec::new();
        for entry in waiting.take(limit.min(PAGE_MAX)) {
            let (key, bytes) = entry.map_err(fault)?;
            let (_, seq) = key.value();
            let input = codec::decode_input(Slot::Input(task, seq), bytes.value())?;
            inputs.push((seq, input));
        }
        Ok(inputs)
    }

    pub(crate) fn read_receipt(
        &self,
        task: TaskNumber,
        input_id: &InputId,
    ) -> Result<Option<Receipt>> {
        let table = self.begin_read()?.open_table(RECEIPTS).map_err(fault)?;
        let found = table.get((task.0, input_id.as_str())).map_err(fault)?;
        let slot = Slot::Receipt(task, input_id.as_str());
        found
            .map(|bytes| codec::decode_receipt(slot, bytes.value()))
            .transpose()
    }

    pub(crate) fn read_page(
        &self,
        scan: Scan,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Page> {
        let txn = self.begin_read()?;
        let tasks = txn.open_table(TASKS).map_err(fault)?;
        let below = after.map_or(u64::MAX, |task| task.0);
        let mut page = PageBuilder::new(limit);
        match scan {
            Scan::Running => {
                let from = after.map_or(0, |task| task.0.saturating_add(1));
                let running = txn.open_table(RUNNING).map_err(fault)?;
                for entry in running.range(from..).map_err(fault)? {
                    let number = entry.map_err(fault)?.0.value();
                    if !page.push_number(&tasks, number)? {
                        break;
                    }
                }
            }
            Scan::All => {
                for entry in tasks.range(..below).map_err(fault)?.rev() {
                    let (number, bytes) = entry.map_err(fault)?;
                    if !page.push(number.value(), |task| {
                        codec::decode_row(task, bytes.value())
                    }) {
                        break;
                    }
                }
            }
            Scan::Definition(def) => {
                let index = txn.open_table(BY_DEFINITION).map_err(fault)?;
                for entry in index
                    .range((def.0, 0)..(def.0, below))
                    .map_err(fault)?
                    .rev()
                {
                    let (_, number) = entry.map_err(fault)?.0.value();
                    if !page.push_number(&tasks, number)? {
                        break;
                    }
                }
            }
        }
        Ok(page.finish())
    }

    pub(crate) fn read_due(&self, def: DefNumber, now: Micros, limit: usize) -> Result<Due> {
        let table = self.begin_read()?.open_table(DUE).map_err(fault)?;
        let limit = limit.min(PAGE_MAX);
        let now = now.0.min(Micros::AT_OPEN.0 - 1);
        let mut due = Due {
            ready: Vec::new(),
            next: None,
        };
        let mut rank = 0;
        let end = (def.0, Priority::LEVELS, 0, 0);
        // From the first entry of a rank on; ranks without entries cost nothing.
        while let Some(first) = table.range((def.0, rank, 0, 0)..end).map_err(fault)?.next() {
            rank = first.map_err(fault)?.0.value().1;
            let room = limit - due.ready.len();
            let ready = table
                .range((def.0, rank, 0, 0)..=(def.0, rank, now, u64::MAX))
                .map_err(fault)?;
            for entry in ready.take(room) {
                due.ready
                    .push(TaskNumber(entry.map_err(fault)?.0.value().3));
            }
            let later = (def.0, rank, now + 1, 0)..(def.0, rank, Micros::AT_OPEN.0, 0);
            if let Some(entry) = table.range(later).map_err(fault)?.next() {
                let at = Micros(entry.map_err(fault)?.0.value().2);
                due.next = Some(due.next.map_or(at, |next| next.min(at)));
            }
            rank += 1;
        }
        Ok(due)
    }

    pub(crate) fn read_due_at_open(
        &self,
        def: DefNumber,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>> {
        let table = self.begin_read()?.open_table(DUE).map_err(fault)?;
        let limit = limit.min(PAGE_MAX);
        let from = after.map_or(0, |task| task.0.saturating_add(1));
        let at = Micros::AT_OPEN.0;
        let mut found = Vec::new();
        for rank in 0..Priority::LEVELS {
            let entries = table
                .range((def.0, rank, at, from)..=(def.0, rank, at, u64::MAX))
                .map_err(fault)?;
            for entry in entries.take(limit) {
                found.push(TaskNumber(entry.map_err(fault)?.0.value().3));
            }
        }
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }
}

/// A page being filled: one row beyond the limit is asked for, to learn whether there are more.
struct PageBuilder {
    rows: Vec<Found>,
    limit: usize,
    more: bool,
}

impl PageBuilder {
    fn new(limit: usize) -> PageBuilder {
        PageBuilder {
            rows: Vec::new(),
            limit: limit.min(PAGE_MAX),
            more: false,
        }
    }

    /// Adds a row; `false` when the page was full already.
    fn push(&mut self, number: u64, row: impl FnOnce(TaskNumber) -> Result<TaskRow>) -> bool {
        if self.rows.len() == self.limit {
            self.more = true;
            return false;
        }
        let task = TaskNumber(number);
        self.rows.push(Found {
            task,
            row: row(task),
        });
        true
    }

    /// Adds the row an index names; `false` when the page was full already.
    fn push_number(
        &mut self,
        tasks: &impl ReadableTable<u64, &'static [u8]>,
        number: u64,
    ) -> Result<bool> {
        if self.rows.len() == self.limit {
            self.more = true;
            return Ok(false);
        }
        let found = tasks.get(number).map_err(fault)?;
        Ok(self.push(number, |task| match found {
            Some(bytes) => codec::decode_row(task, bytes.value()),
            None => Err(Slot::Task(task).corrupt()),
        }))
    }

    fn finish(self) -> Page {
        let next = if self.more {
            self.rows.last().map(|found| found.task)
        } else {
            None
        };
        Page {
            rows: self.rows,
            next,
        }
    }
}
