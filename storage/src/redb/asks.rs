//! Open questions: put and removed within a write transaction, found and listed by short reads.

use super::batch::opened;
use super::hanging::Hanging;
use super::salvage::Shelf;
use super::tables::ASKS;
use super::{RedbStore, fault};
use crate::codec;
use crate::row::{AskRow, TaskNumber};
use crate::slot::Slot;
use crate::store::{FoundAsk, PAGE_MAX, StoreError};
use std::ops::Bound;

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
    pub(super) fn read_ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>> {
        let Some(table) = self.hanging(task, ASKS)? else {
            return Ok(None);
        };
        let found = table.get((task.0, key)).map_err(fault)?;
        if found.is_none() {
            self.check_absent(&table, Shelf::Asks, ((task.0, key), (task.0, key)))?;
        }
        found
            .map(|bytes| codec::decode(Slot::Ask(task, key), bytes.value()))
            .transpose()
    }

    pub(super) fn read_asks(
        &self,
        from: Bound<(TaskNumber, &str)>,
        limit: usize,
    ) -> Result<Vec<FoundAsk>> {
        let table = self.begin_read()?.open_table(ASKS).map_err(fault)?;
        let from = from.map(|(task, key)| (task.0, key));
        let beyond = table.range::<(u64, &str)>((from, Bound::Unbounded));
        let mut found = Vec::new();
        for entry in beyond.map_err(fault)?.take(limit.min(PAGE_MAX)) {
            let (at, bytes) = entry.map_err(fault)?;
            let (task, key) = at.value();
            let task = TaskNumber(task);
            found.push(FoundAsk {
                task,
                key: key.into(),
                ask: codec::decode(Slot::Ask(task, key), bytes.value()),
            });
        }
        Ok(found)
    }
}

impl Hanging<'_> {
    pub(super) fn put_ask(&mut self, task: TaskNumber, key: &str, ask: &AskRow) -> Result<()> {
        codec::encode(Slot::Ask(task, key), ask, &mut self.buffer)?;
        let asks = opened(&mut self.asks, || self.txn.open_table(ASKS))?;
        asks.insert((task.0, key), self.buffer.as_slice())
            .map_err(fault)?;
        self.put_one();
        Ok(())
    }

    pub(super) fn remove_ask(&mut self, task: TaskNumber, key: &str) -> Result<()> {
        let asks = opened(&mut self.asks, || self.txn.open_table(ASKS))?;
        let was_there = asks.remove((task.0, key)).map_err(fault)?.is_some();
        self.writes += u64::from(was_there);
        Ok(())
    }

    /// All questions of a task go at once: they are few, and whoever lists them meets none of a turn that is over.
    pub(super) fn remove_asks(&mut self, task: TaskNumber) -> Result<()> {
        let asks = opened(&mut self.asks, || self.txn.open_table(ASKS))?;
        let of_task = (task.0, "")..(task.0.saturating_add(1), "");
        let removed = asks
            .extract_from_if(of_task, |_, _| !cfg!(planted = "questions_stay_listed"))
            .map_err(fault)?;
        for entry in removed {
            entry.map_err(fault)?;
            self.writes += 1;
        }
        Ok(())
    }
}
