//! The store of one life of an engine: it kills the engine at a commit, and what it holds by then outlives it.

use super::case::{Crash, Side};
use super::{effects, words};
use outlive_storage::row::{DefNumber, IndexRow, LifeRow};
use outlive_storage::{Applied, Commit, Conflict, EventsKept, Front, MemStore, Store, StoreError};
use parking_lot::Mutex;
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

impl Front for CrashStore {
    fn behind(&self) -> &dyn Store {
        &*self.inner
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        self.alive()?.define(names)
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        self.alive()?.put_life(life)
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        self.alive()?.put_indexes(indexes)
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
