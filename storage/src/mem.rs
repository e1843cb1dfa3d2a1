//! The store in memory: the reference for every other, and the store of tests and throw-away work.

mod asks;
mod families;
mod hanging;
mod lists;
mod tables;

use crate::commit::{Applied, Commit, Conflict};
use crate::id::{InputId, TaskId};
use crate::plan::{Rows, plan};
use crate::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use crate::store::{
    Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk, Inbox, Page, Scan, Segment,
    Sharing, Store, StoreError, StreamEnd,
};
use parking_lot::Mutex;
use std::ops::Bound;
use tables::Tables;

/// A store that is gone with its process.
///
/// ```
/// use outlive_storage::{Store, mem::MemStore};
/// let store = MemStore::new();
/// assert!(store.commit(&[]).is_ok_and(|answers| answers.is_empty()));
/// ```
#[derive(Debug, Default)]
pub struct MemStore {
    tables: Mutex<Tables>,
}

impl MemStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemStore {
        MemStore::default()
    }

    /// How many entries each table has, for comparison with those of the file.
    #[cfg(all(test, feature = "redb"))]
    pub(crate) fn entries(&self) -> Vec<(&'static str, u64)> {
        self.tables.lock().entries()
    }
}

impl Store for MemStore {
    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        Ok(self.tables.lock().counters())
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        let mut tables = self.tables.lock();
        Ok(names.iter().map(|name| tables.define(name)).collect())
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError> {
        Ok(self.tables.lock().definitions())
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        self.tables.lock().number(id)
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        Ok(self.tables.lock().ids(prefix, limit))
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        Ok(self.tables.lock().task(task).cloned())
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, StoreError> {
        let tables = self.tables.lock();
        let hanging = tables.hanging(key.task);
        Ok(hanging.and_then(|hanging| hanging.value(key)))
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox, StoreError> {
        let tables = self.tables.lock();
        let inbox = tables.hanging(task).map(|hanging| hanging.inbox());
        Ok(inbox.unwrap_or_default())
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>, StoreError> {
        let tables = self.tables.lock();
        let inputs = tables.hanging(task).map(|hanging| hanging.inputs(limit));
        Ok(inputs.unwrap_or_default())
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>, StoreError> {
        let tables = self.tables.lock();
        let hanging = tables.hanging(task);
        Ok(hanging.and_then(|hanging| hanging.receipt(input_id)))
    }

    fn scan(
        &self,
        scan: Scan,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        Ok(self.tables.lock().scan(scan, after, limit))
    }

    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due, StoreError> {
        self.tables.lock().due(def, times, limit)
    }

    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        Ok(self.tables.lock().due_exactly(def, at, after, limit))
    }

    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>, StoreError> {
        let tables = self.tables.lock();
        let hanging = tables.hanging(task);
        Ok(hanging.and_then(|hanging| hanging.turn(slot)))
    }

    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>, StoreError> {
        let tables = self.tables.lock();
        let hanging = tables.hanging(task);
        Ok(hanging.and_then(|hanging| hanging.step(turn, key)))
    }

    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>, StoreError> {
        let tables = self.tables.lock();
        let steps = tables
            .hanging(task)
            .map(|hanging| hanging.steps(turn, after, limit));
        Ok(steps.unwrap_or_default())
    }

    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>, StoreError> {
        Ok(self.tables.lock().asks.get(task, key))
    }

    fn asks(
        &self,
        from: Bound<(TaskNumber, &str)>,
        limit: usize,
    ) -> Result<Vec<FoundAsk>, StoreError> {
        Ok(self.tables.lock().asks.page(from, limit))
    }

    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>, StoreError> {
        let tables = self.tables.lock();
        let runs = tables.hanging(task).map(|hanging| hanging.runs());
        Ok(runs.unwrap_or_default())
    }

    fn segments(
        &self,
        task: TaskNumber,
        after: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        let tables = self.tables.lock();
        let hanging = tables.hanging(task);
        let segments = hanging.map(|hanging| hanging.segments(after, limit_bytes));
        Ok(segments.unwrap_or_default())
    }

    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>, StoreError> {
        let tables = self.tables.lock();
        let hanging = tables.hanging(task);
        Ok(hanging.and_then(|hanging| hanging.stream_end()))
    }

    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>, StoreError> {
        Ok(self.tables.lock().expired(now, limit))
    }

    fn expired_receipts(
        &self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<ExpiredReceipt>, StoreError> {
        Ok(self.tables.lock().expired_receipts(now, limit))
    }

    fn events(&self, after: Etag, limit: usize) -> Result<EventPage, StoreError> {
        Ok(self.tables.lock().events(after, limit))
    }

    fn ended_children(&self, family: Family) -> Result<u64, StoreError> {
        Ok(self.tables.lock().ended_children(family))
    }

    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        Ok(self.tables.lock().children(family, after, limit))
    }

    fn families_over(
        &self,
        after: Option<Family>,
        limit: usize,
    ) -> Result<Vec<(Family, Fate)>, StoreError> {
        Ok(self.tables.lock().families_over(after, limit))
    }

    fn lives(&self) -> Result<Vec<LifeRow>, StoreError> {
        Ok(self.tables.lock().lives())
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        self.tables.lock().put_life(life);
        Ok(())
    }

    fn indexes(&self) -> Result<Vec<IndexRow>, StoreError> {
        Ok(self.tables.lock().indexes.clone())
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        let mut indexes = indexes.to_vec();
        indexes.sort();
        self.tables.lock().indexes = indexes;
        Ok(())
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        Ok(self.tables.lock().tidy(events, limit))
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        let mut tables = self.tables.lock();
        let plan = plan(batch, &*tables)?;
        tables.apply(&plan);
        Ok(plan.answers)
    }
}
