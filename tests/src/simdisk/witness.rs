//! The store between an engine and its disk: it notes when a write is begun and when it is answered.

use super::disk::{Entry, Journal};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use outlive_storage::{
    Applied, Commit, Conflict, Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk,
    Inbox, Page, RedbStore, Scan, Segment, Sharing, Store, StoreError, StreamEnd,
};
use std::ops::Bound;
use std::sync::Arc;
use tokio::time::Instant;

/// Something that writes.
#[derive(Debug, Clone)]
pub enum Op {
    /// A batch.
    Commit(Vec<Commit>),
    /// Names get numbers.
    Define(Vec<String>),
    /// A life is put down.
    Life(LifeRow),
    /// Which labels tell the whole truth.
    Indexes(Vec<IndexRow>),
    /// Upkeep.
    Tidy(EventsKept, usize),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Of a batch.
    Committed(Result<Vec<Result<Applied, Conflict>>, StoreError>),
    /// Of names.
    Defined(Result<Vec<DefNumber>, StoreError>),
    /// Of upkeep.
    Tidied(Result<bool, StoreError>),
    /// Of the others.
    Put(Result<(), StoreError>),
}

impl Op {
    /// Does it to a store.
    pub fn apply(&self, store: &dyn Store) -> Answer {
        match self {
            Op::Commit(batch) => Answer::Committed(store.commit(batch)),
            Op::Define(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Answer::Defined(store.define(&names))
            }
            Op::Life(life) => Answer::Put(store.put_life(life)),
            Op::Indexes(indexes) => Answer::Put(store.put_indexes(indexes)),
            Op::Tidy(kept, limit) => Answer::Tidied(store.tidy(*kept, *limit)),
        }
    }
}

/// A store whose writes are noted.
#[derive(Debug)]
pub struct Witness {
    inner: RedbStore,
    journal: Journal,
}

impl Witness {
    /// Notes in this journal what this store is asked to write.
    pub fn new(inner: RedbStore, journal: &Journal) -> Arc<Witness> {
        let journal = journal.clone();
        Arc::new(Witness { inner, journal })
    }

    /// The store itself: what it is asked there is not noted.
    pub fn inner(&self) -> &RedbStore {
        &self.inner
    }

    fn noted(&self, op: Op) -> Answer {
        let op = Arc::new(op);
        let begun = Entry::Begun(Arc::clone(&op), Instant::now());
        self.journal.add(begun);
        let answer = op.apply(&self.inner);
        self.journal.add(Entry::Done(answer.clone()));
        answer
    }
}

/// An operation has an answer of its own kind.
fn other(answer: &Answer) -> StoreError {
    let message = format!("another answer: {answer:?}").into();
    StoreError::Failed { message }
}

impl Store for Witness {
    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        self.inner.counters()
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        match self.noted(Op::Define(names)) {
            Answer::Defined(numbers) => numbers,
            answer => Err(other(&answer)),
        }
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError> {
        self.inner.definitions()
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        self.inner.find(id)
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        self.inner.ids(prefix, limit)
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        self.inner.get(task)
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.value(key)
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox, StoreError> {
        self.inner.inbox(task)
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>, StoreError> {
        self.inner.inputs(task, limit)
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>, StoreError> {
        self.inner.receipt(task, input_id)
    }

    fn scan(
        &self,
        scan: Scan,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.inner.scan(scan, after, limit)
    }

    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due, StoreError> {
        self.inner.due(def, times, limit)
    }

    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.inner.due_exactly(def, at, after, limit)
    }

    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>, StoreError> {
        self.inner.turn(task, slot)
    }

    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>, StoreError> {
        self.inner.step(task, turn, key)
    }

    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>, StoreError> {
        self.inner.steps(task, turn, after, limit)
    }

    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>, StoreError> {
        self.inner.ask(task, key)
    }

    fn asks(
        &self,
        from: Bound<(TaskNumber, &str)>,
        limit: usize,
    ) -> Result<Vec<FoundAsk>, StoreError> {
        self.inner.asks(from, limit)
    }

    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>, StoreError> {
        self.inner.runs(task)
    }

    fn segments(
        &self,
        task: TaskNumber,
        after: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        self.inner.segments(task, after, limit_bytes)
    }

    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>, StoreError> {
        self.inner.stream_end(task)
    }

    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>, StoreError> {
        self.inner.expired(now, limit)
    }

    fn expired_receipts(
        &self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<ExpiredReceipt>, StoreError> {
        self.inner.expired_receipts(now, limit)
    }

    fn events(&self, after: Etag, limit: usize) -> Result<EventPage, StoreError> {
        self.inner.events(after, limit)
    }

    fn ended_children(&self, family: Family) -> Result<u64, StoreError> {
        self.inner.ended_children(family)
    }

    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.inner.children(family, after, limit)
    }

    fn families_over(
        &self,
        after: Option<Family>,
        limit: usize,
    ) -> Result<Vec<(Family, Fate)>, StoreError> {
        self.inner.families_over(after, limit)
    }

    fn lives(&self) -> Result<Vec<LifeRow>, StoreError> {
        self.inner.lives()
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        match self.noted(Op::Life(*life)) {
            Answer::Put(put) => put,
            answer => Err(other(&answer)),
        }
    }

    fn indexes(&self) -> Result<Vec<IndexRow>, StoreError> {
        self.inner.indexes()
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        match self.noted(Op::Indexes(indexes.to_vec())) {
            Answer::Put(put) => put,
            answer => Err(other(&answer)),
        }
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        match self.noted(Op::Tidy(events, limit)) {
            Answer::Tidied(tidied) => tidied,
            answer => Err(other(&answer)),
        }
    }

    fn leaving(&self, still_running: usize) {
        self.inner.leaving(still_running);
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.inner.reopen()
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        match self.noted(Op::Commit(batch.to_vec())) {
            Answer::Committed(answers) => answers,
            answer => Err(other(&answer)),
        }
    }
}
