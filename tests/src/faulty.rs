//! A store that fails, forgets or waits when told to, on top of one that does neither.

use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{DefNumber, InputRow, Micros, Receipt, TaskNumber, TaskRow, ValueKey};
use outlive_storage::{
    Applied, Commit, Conflict, Counters, Due, Inbox, MemStore, Page, Scan, Sharing, Store,
    StoreError,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The store that is there in truth can be shared with an engine that comes later.
#[derive(Debug, Default)]
pub struct Faulty {
    inner: Arc<MemStore>,
    /// Commits fail, and are not in the store.
    pub fail_before_commit: AtomicBool,
    /// Commits fail, and are in the store.
    pub fail_after_commit: AtomicBool,
    /// Reads of rows and definitions fail.
    pub fail_reads: AtomicBool,
    /// Rows are gone, although their ids are known.
    pub forget_rows: AtomicBool,
}

impl Faulty {
    /// A store that does as `inner` does until told otherwise.
    pub fn on(inner: &Arc<MemStore>) -> Arc<Faulty> {
        Arc::new(Faulty {
            inner: Arc::clone(inner),
            ..Faulty::default()
        })
    }
}

/// The failure it fails with.
pub fn failure() -> StoreError {
    StoreError::Failed {
        message: "told to fail".into(),
    }
}

fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

impl Store for Faulty {
    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        self.inner.counters()
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        self.inner.define(names)
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError> {
        if is_set(&self.fail_reads) {
            return Err(failure());
        }
        self.inner.definitions()
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        if is_set(&self.fail_reads) {
            return Err(failure());
        }
        self.inner.find(id)
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        if is_set(&self.forget_rows) {
            return Ok(None);
        }
        if is_set(&self.fail_reads) {
            return Err(failure());
        }
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
        if is_set(&self.fail_reads) {
            return Err(failure());
        }
        self.inner.scan(scan, after, limit)
    }

    fn due(&self, def: DefNumber, now: Micros, limit: usize) -> Result<Due, StoreError> {
        self.inner.due(def, now, limit)
    }

    fn due_at_open(
        &self,
        def: DefNumber,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.inner.due_at_open(def, after, limit)
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        if is_set(&self.fail_before_commit) {
            return Err(failure());
        }
        let answers = self.inner.commit(batch)?;
        if is_set(&self.fail_after_commit) {
            return Err(failure());
        }
        Ok(answers)
    }
}
