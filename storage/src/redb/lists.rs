//! Pages of tasks and receipts, in the order of an index: each is one short read transaction.

use super::tables::{BY_DEFINITION, BY_LABEL, DUE, EXPIRY, RECEIPT_EXPIRY, RUNNING, TASKS};
use super::{RedbStore, fault, listed};
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
                let ends = ((def.0, 0), (def.0, below));
                page.note(listed::check_ends(&index, ends, &tasks))?;
                for entry in index.range(ends.0..ends.1).map_err(fault)?.rev() {
                    let key = entry.map_err(fault)?.0.value();
                    if !page.push_of((def, None), (key.0, None, key.1), &tasks)? {
                        break;
                    }
                }
            }
            Scan::Label(def, label) => {
                let index = txn.open_table(BY_LABEL).map_err(fault)?;
                let ends = ((def.0, &*label, 0), (def.0, &*label, below));
                page.note(listed::check_ends(&index, ends, &tasks))?;
                for entry in index.range(ends.0..ends.1).map_err(fault)?.rev() {
                    let key = entry.map_err(fault)?.0;
                    let (of, named, number) = key.value();
                    let key = (of, Some(named), number);
                    if !page.push_of((def, Some(&*label)), key, &tasks)? {
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

    /// Damage beside the list may hide a part of it: that is told on the page, which goes on with what is there.
    fn note(&mut self, checked: Result<()>) -> Result<()> {
        match checked {
            Err(error @ StoreError::Corrupt { .. }) => {
                let (task, row) = (TaskNumber(u64::MAX), Err(error));
                self.rows.push(Found { task, row });
                // Its place on the page is its own.
                self.limit += 1;
                Ok(())
            }
            checked => checked,
        }
    }

    /// Adds the row that an entry of an index names, if both say that it belongs there; `false` when the page was full
    /// already. Numbers descend, so that one which damage has changed is not taken for another task of the list.
    fn push_of(
        &mut self,
        (def, label): (DefNumber, Option<&str>),
        (found_def, found_label, number): (u32, Option<&str>, u64),
        tasks: &impl ReadableTable<u64, &'static [u8]>,
    ) -> Result<bool> {
        let before = self.rows.last().map(|found| found.task);
        if !self.push_number(tasks, number)? {
            return Ok(false);
        }
        let in_order = before.is_none_or(|before| number < before.0);
        let right = (found_def, found_label) == (def.0, label) && in_order;
        if let Some(last) = self.rows.last_mut()
            && !(right && last.row.as_ref().map_or(true, |row| row.def == def))
            && !cfg!(planted = "stranger_listed")
        {
            last.row = Err(Slot::Task(TaskNumber(number)).corrupt());
        }
        Ok(true)
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
