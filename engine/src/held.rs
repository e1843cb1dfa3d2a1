//! A batch whose commit failed: it may be in the store or not, and is kept until that is known.
//!
//! The store is opened again and asked. A batch that is there is answered, one that is not is committed again: nobody
//! who waits notices more than the delay, and what a handler has done stays in memory meanwhile.

use crate::env::{self, Clock};
use crate::meter;
use crate::patient::{PAUSE_MAX, PAUSE_MIN};
use crate::pending::Pending;
use crate::writer::Origin;
use outlive_storage::row::Micros;
use outlive_storage::{Applied, Commit, Conflict, Store, StoreError, settle};
use std::time::Duration;

/// The batch, and how often it was tried.
pub(crate) struct Held {
    pending: Vec<Pending>,
    commits: Vec<Commit>,
    /// How the store failed last.
    error: StoreError,
    /// The engine's own time.
    since: Micros,
    next_at: Micros,
    pause: Duration,
    /// Callers have been told that they need not wait.
    left: bool,
}

impl Held {
    pub(crate) fn new(
        pending: Vec<Pending>,
        commits: Vec<Commit>,
        error: StoreError,
        now: Micros,
    ) -> Held {
        Held {
            pending,
            commits,
            error,
            since: now,
            next_at: now,
            pause: PAUSE_MIN,
            left: false,
        }
    }

    /// No batch: what was put off waits until the store can be opened again.
    pub(crate) fn nothing(now: Micros) -> Held {
        Held {
            next_at: now.plus(env::micros(PAUSE_MAX)),
            pause: PAUSE_MAX,
            ..Held::new(Vec::new(), Vec::new(), StoreError::Full, now)
        }
    }

    pub(crate) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    pub(crate) fn error(&self) -> &StoreError {
        &self.error
    }

    pub(crate) fn next_at(&self) -> Micros {
        self.next_at
    }

    /// True while there is no room for what is to be written.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.error, StoreError::Full)
    }

    /// What is answered, and what was to be written.
    pub(crate) fn into_parts(self) -> (Vec<Pending>, Vec<Commit>) {
        (self.pending, self.commits)
    }

    /// Opens the store again, asks it for the batch, and commits that again where it is missing.
    ///
    /// # Errors
    /// The store's; it may be tried again.
    pub(crate) fn try_once(
        &mut self,
        store: &dyn Store,
        clock: &Clock,
    ) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        let settled = store.reopen().and_then(|()| {
            let there = match cfg!(planted = "unsettled_batch_sent_again") {
                true => None,
                false => settle(store, &self.commits)?,
            };
            match there {
                Some(answers) => Ok(answers),
                None if self.commits.is_empty() => Ok(Vec::new()),
                None => meter::under_commit(clock, || store.commit(&self.commits)),
            }
        });
        if let Err(error) = &settled {
            self.error = error.clone();
            self.next_at = Micros(clock.own().0.saturating_add(env::micros(self.pause)));
            self.pause = PAUSE_MAX.min(self.pause * 2);
        }
        settled
    }

    /// After a try that failed: whether there is no room for what callers alone have asked, and nothing of it is in the
    /// store.
    pub(crate) fn is_refusable(&self, store: &dyn Store) -> bool {
        let by_callers = |one: &Pending| matches!(one.origin, Origin::Caller);
        let nobody = self.pending.is_empty();
        if !self.is_full() || nobody || !self.pending.iter().all(by_callers) {
            return false;
        }
        // The last try may be there although it failed.
        let there = store.reopen().and_then(|()| settle(store, &self.commits));
        matches!(there, Ok(None)) && !cfg!(planted = "full_disk_refuses_nobody")
    }

    /// There is no room for it: nothing of it will happen.
    pub(crate) fn refuse(self) {
        for one in self.pending {
            one.refuse_all(&self.error);
        }
    }

    /// After a try that failed: whether there is to be another one. Callers are told when they have waited long enough.
    pub(crate) fn goes_on(&mut self, now: Micros, patience: Duration) -> bool {
        let waited = Duration::from_micros(now.0.saturating_sub(self.since.0));
        let is_over = waited >= patience && !cfg!(planted = "settles_for_ever");
        // Room may be made at any time, by anybody.
        if self.is_full() {
            if is_over && !self.left {
                self.left = true;
                for one in &mut self.pending {
                    one.leave(&self.error);
                }
            }
            return !cfg!(planted = "full_disk_ends_all");
        }
        self.error.may_pass() && !is_over
    }
}
