//! Pages of tasks and receipts, in the order of an index.

use super::tables::Tables;
use crate::due;
use crate::row::{DefNumber, Micros, Priority, TaskNumber, Times};
use crate::store::{Due, ExpiredReceipt, Found, PAGE_MAX, Page, Scan, StoreError};

impl Tables {
    pub(super) fn scan(&self, scan: Scan, after: Option<TaskNumber>, limit: usize) -> Page {
        let below = after.map_or(u64::MAX, |task| task.0);
        match scan {
            Scan::Running => {
                let from = after.map_or(0, |task| task.0.saturating_add(1));
                self.page(self.running.range(from..).copied(), limit)
            }
            Scan::All => {
                let older = self.tasks.range(..TaskNumber(below)).rev();
                self.page(older.map(|(task, _)| task.0), limit)
            }
            Scan::Definition(def) => {
                let older = self.by_definition.range((def.0, 0)..(def.0, below)).rev();
                self.page(older.map(|(_, number)| *number), limit)
            }
            Scan::Label(def, label) => {
                let range = (def.0, label.clone(), 0)..(def.0, label, below);
                let older = self.by_label.range(range).rev();
                self.page(older.map(|(_, _, number)| *number), limit)
            }
        }
    }

    fn page(&self, numbers: impl Iterator<Item = u64>, limit: usize) -> Page {
        let limit = limit.min(PAGE_MAX);
        let mut rows: Vec<Found> = numbers
            .take(limit + 1)
            .map(|number| {
                let task = TaskNumber(number);
                let missing = || StoreError::Corrupt {
                    table: "tasks",
                    key: number.to_string().into(),
                };
                Found {
                    task,
                    row: self.tasks.get(&task).cloned().ok_or_else(missing),
                }
            })
            .collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more {
            rows.last().map(|found| found.task)
        } else {
            None
        };
        Page { rows, next }
    }

    pub(super) fn due(
        &self,
        def: DefNumber,
        times: Times,
        limit: usize,
    ) -> Result<Due, StoreError> {
        due::due(def, times, limit, |keys| {
            Ok(self.due.range(keys).copied().map(Ok))
        })
    }

    pub(super) fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Vec<TaskNumber> {
        let mut found = Vec::new();
        for rank in 0..Priority::LEVELS {
            let entries = self.due.range(due::exactly(def, rank, at, after));
            found.extend(entries.map(|(.., number)| TaskNumber(*number)));
        }
        found.sort_unstable();
        found.truncate(limit.min(PAGE_MAX));
        found
    }

    pub(super) fn expired(&self, now: Micros, limit: usize) -> Vec<TaskNumber> {
        let expired = self.expiry.range(..=(now.0, u64::MAX));
        let page = expired.take(limit.min(PAGE_MAX));
        page.map(|(_, number)| TaskNumber(*number)).collect()
    }

    pub(super) fn expired_receipts(&self, now: Micros, limit: usize) -> Vec<ExpiredReceipt> {
        let expired = self.receipt_expiry.iter().take_while(|(at, ..)| *at <= now);
        let page = expired.take(limit.min(PAGE_MAX));
        page.map(|(listed_at, task, input_id)| ExpiredReceipt {
            listed_at: *listed_at,
            task: *task,
            input_id: input_id.clone(),
        })
        .collect()
    }
}
