//! The store of one life of an engine: it kills the engine at a commit, and what it holds by then outlives it.

use super::case::{Crash, Side};
use super::{effects, words};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use outlive_storage::{
    Applied, Commit, Conflict, Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk,
    Inbox, MemStore, Page, Scan, Segment, Sharing, Store, StoreError, StreamEnd,
};
use parking_lot::Mutex;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::Notify;

/// Most commits of one life; a script that makes more is taken for one that never ends.
pub(super) const COMMITS_MAX: usize = 10_000;

/// Why a life is over before its script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It was to die here.
    Killed,
    /// It made more than [`COMMITS_MAX`] commits.
    TooManyCommits,
}

/// One life's store. What it writes goes to the store that outlives it, until it is stopped.
pub(super) struct CrashStore {
    inner: Arc<MemStore>,
    crash: Option<Crash>,
    state: Mutex<State>,
    /// Wakes whoever ends the life.
    pub(super) stopped: Notify,
}

#[derive(Default)]
struct State {
    /// Each commit in words.
    commits: Vec<String>,
    stop: Option<Stop>,
}

impl CrashStore {
    pub(super) fn new(inner: &Arc<MemStore>, crash: Option<Crash>) -> Arc<CrashStore> {
        Arc::new(CrashStore {
            inner: Arc::clone(inner),
            crash,
            state: Mutex::default(),
            stopped: Notify::new(),
        })
    }

    /// Every commit so far, in words; the one at which it died included.
    pub(super) fn commits(&self) -> Vec<String> {
        self.state.lock().commits.clone()
    }

    pub(super) fn why(&self) -> Option<Stop> {
        self.state.lock().stop
    }

    /// The store that takes writes, for as long as this life lasts.
    fn alive(&self) -> Result<&MemStore, StoreError> {
        match self.why() {
            None => Ok(&self.inner),
            Some(_) => Err(killed()),
        }
    }

    /// Notes a commit, and answers its number.
    fn note(&self, batch: &[Commit]) -> usize {
        let words = words::of(batch, &self.inner);
        let mut state = self.state.lock();
        state.commits.push(words);
        state.commits.len()
    }

    /// Ends the life: whoever drives it comes to it before anything else happens.
    fn stop(&self, why: Stop) -> StoreError {
        self.state.lock().stop = Some(why);
        effects::die();
        self.stopped.notify_one();
        killed()
    }
}

/// What a dead engine is told, and nobody hears.
fn killed() -> StoreError {
    StoreError::Failed {
        message: "the crash test kills the engine here".into(),
    }
}

impl Store for CrashStore {
    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        self.inner.counters()
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        self.alive()?.define(names)
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
        self.alive()?.put_life(life)
    }

    fn indexes(&self) -> Result<Vec<IndexRow>, StoreError> {
        self.inner.indexes()
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        self.alive()?.put_indexes(indexes)
    }

    fn reached_at(&self, addresses: &[String]) {
        self.inner.reached_at(addresses);
    }

    fn leaving(&self, still_running: usize) {
        self.inner.leaving(still_running);
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        self.alive()?.tidy(events, limit)
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        let store = self.alive()?;
        let number = self.note(batch);
        if number > COMMITS_MAX && !cfg!(planted = "kit_commits_unbounded") {
            return Err(self.stop(Stop::TooManyCommits));
        }
        let Some(crash) = self.crash.filter(|crash| crash.commit == number) else {
            return store.commit(batch);
        };
        let is_applied = match crash.side {
            Side::Before => cfg!(planted = "kit_lost_commit_applied"),
            Side::After => !cfg!(planted = "kit_kept_commit_lost"),
        };
        if is_applied {
            store.commit(batch)?;
        }
        Err(self.stop(Stop::Killed))
    }
}
