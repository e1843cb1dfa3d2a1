//! The store between an engine and its disk: it notes when a write is begun and when it is answered.

use super::disk::{Entry, Journal};
use outlive_storage::row::{DefNumber, IndexRow, LifeRow};
use outlive_storage::{Applied, Commit, Conflict, EventsKept, Front, RedbStore, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// What commits have put off.
    CatchUp,
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
            Op::CatchUp => Answer::Put(store.catch_up()),
        }
    }
}

/// A store whose writes are noted.
#[derive(Debug)]
pub struct Witness {
    inner: RedbStore,
    journal: Journal,
    /// After how many commits the store was behind.
    behind: AtomicU64,
}

/// Of the commits after which the store is behind, each so many-th is followed by what a thread beside the engine would do: at
/// the others the store has to help itself, sooner or later.
const FOLLOWED: u64 = 3;

impl Witness {
    /// Notes in this journal what this store is asked to write.
    pub fn new(inner: RedbStore, journal: &Journal) -> Arc<Witness> {
        let journal = journal.clone();
        Arc::new(Witness {
            inner,
            journal,
            behind: AtomicU64::new(0),
        })
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

impl Front for Witness {
    fn behind(&self) -> &dyn Store {
        &self.inner
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        match self.noted(Op::Define(names)) {
            Answer::Defined(numbers) => numbers,
            answer => Err(other(&answer)),
        }
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        match self.noted(Op::Life(*life)) {
            Answer::Put(put) => put,
            answer => Err(other(&answer)),
        }
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

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        let answer = self.noted(Op::Commit(batch.to_vec()));
        if self.inner.is_behind() && self.behind.fetch_add(1, Ordering::Relaxed) % FOLLOWED == 1 {
            // A failure of it is met by the next commit.
            self.noted(Op::CatchUp);
        }
        match answer {
            Answer::Committed(answers) => answers,
            answer => Err(other(&answer)),
        }
    }
}
