//! Pages of tasks and receipts, in the order of an index: each is one short read transaction.

use super::tables::{BY_DEFINITION, BY_LABEL, DUE, EXPIRY, RECEIPT_EXPIRY, RUNNING, TASKS};
use super::{RedbStore, fault};
use crate::codec;
use crate::due;
use crate::id::InputId;
use crate::row::{DefNumber, Micros, Priority, TaskNumber, TaskRow, Times};
use crate::slot::Slot;
use crate::store::{Due, ExpiredReceipt, Found, PAGE_MAX, Page, Scan, StoreError};
use redb::ReadableTable;

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
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
            Scan::Label(def, label) => {
                let index = txn.open_table(BY_LABEL).map_err(fault)?;
                let range = (def.0, &*label, 0)..(def.0, &*label, below);
                for entry in index.range(range).map_err(fault)?.rev() {
                    let (_, _, number) = entry.map_err(fault)?.0.value();
                    if !page.push_number(&tasks, number)? {
                        break;
                    }
                }
            }
        }
        Ok(page.finish())
    }

    pub(crate) fn read_due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due> {
        let table = self.begin_read()?.open_table(DUE).map_err(fault)?;
        due::due(def, times, limit, |keys| {
            let entries = table.range(keys).map_err(fault)?;
            Ok(entries.map(|entry| Ok(entry.map_err(fault)?.0.value())))
        })
    }

    pub(crate) fn read_due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>> {
        let table = self.begin_read()?.open_table(DUE).map_err(fault)?;
        let limit = limit.min(PAGE_MAX);
        let mut found = Vec::new();
        for rank in 0..Priority::LEVELS {
            let entries = table.range(due::exactly(def, rank, at, after));
            for entry in entries.map_err(fault)?.take(limit) {
                found.push(TaskNumber(entry.map_err(fault)?.0.value().5));
            }
        }
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }

    pub(crate) fn read_expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>> {
        let table = self.begin_read()?.open_table(EXPIRY).map_err(fault)?;
        let expired = table.range(..=(now.0, u64::MAX)).map_err(fault)?;
        let mut found = Vec::new();
        for entry in expired.take(limit.min(PAGE_MAX)) {
            let (_, number) = entry.map_err(fault)?.0.value();
            found.push(TaskNumber(number));
        }
        Ok(found)
    }

    pub(crate) fn read_expired_receipts(
        &self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<ExpiredReceipt>> {
        let txn = self.begin_read()?;
        let table = txn.open_table(RECEIPT_EXPIRY).map_err(fault)?;
        let mut found = Vec::new();
        for entry in table.iter().map_err(fault)?.take(limit.min(PAGE_MAX)) {
            let key = entry.map_err(fault)?.0;
            let (at, number, input_id) = key.value();
            if at > now.0 {
                break;
            }
            let damaged = |_| StoreError::Corrupt {
                table: "receipt_expiry",
                key: format!("{at}/{number}").into(),
            };
            found.push(ExpiredReceipt {
                listed_at: Micros(at),
                task: TaskNumber(number),
                input_id: InputId::new(input_id).map_err(damaged)?,
            });
        }
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
