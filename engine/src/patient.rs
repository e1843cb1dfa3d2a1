//! A store that fails for a moment only: whatever may be asked twice is asked again once the store was opened again.
//!
//! A failed commit is none of it: what became of it must be found out first, which is the writer's part.

use crate::env::{self, Clock, Place};
use crate::poison::Poison;
use outlive_storage::row::{DefNumber, IndexRow, LifeRow};
use outlive_storage::{EventsKept, Front, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// How long a store may fail before its engine stops, unless said otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause between two tries, which doubles up to the longest one.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(10);
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(500);

type Result<T> = std::result::Result<T, StoreError>;

/// The longest time for which somebody who waits does not notice that the engine ends.
const NOTICE: Duration = Duration::from_millis(20);

/// The store of an engine. Its calls are made on threads of the engine, which may wait.
pub(crate) struct Patient {
    store: Arc<dyn Store>,
    place: Place,
    clock: Clock,
    patience: Duration,
    /// Tells when waiting is of no use any more.
    poison: Arc<Poison>,
}

impl Patient {
    pub(crate) fn around(
        store: &Arc<dyn Store>,
        (place, clock): (Place, Clock),
        patience: Duration,
        poison: &Arc<Poison>,
    ) -> Arc<dyn Store> {
        Arc::new(Patient {
            store: Arc::clone(store),
            place,
            clock,
            patience,
            poison: Arc::clone(poison),
        })
    }

    /// Makes a call that changes nothing when it is made twice.
    fn patiently<T>(&self, call: impl Fn(&dyn Store) -> Result<T>) -> Result<T> {
        match call(&*self.store) {
            Err(failure)
                if failure.may_pass() && !cfg!(planted = "failed_read_not_asked_again") =>
            {
                self.again(call)
            }
            answer => answer,
        }
    }

    /// Makes it until it is answered, or nobody waits any longer: then all others who wait learn it from the engine's end.
    fn again<T>(&self, call: impl Fn(&dyn Store) -> Result<T>) -> Result<T> {
        let since = self.clock.own();
        let until = since.plus(env::micros(self.patience));
        let mut pause = PAUSE_MIN;
        loop {
            let answer = self.store.reopen().and_then(|()| call(&*self.store));
            let Err(failure) = &answer else {
                return answer;
            };
            // Where no thread may wait, it is asked again once; and room may take any time, which is up to who asks.
            let waits = self.place == Place::Threads
                && failure.may_pass()
                && !matches!(failure, StoreError::Full);
            if !waits || self.poison.is_hurried() || self.clock.own() >= until {
                return answer;
            }
            self.pause(pause);
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    /// Pauses, unless the engine ends.
    fn pause(&self, mut time: Duration) {
        while !time.is_zero() && !self.poison.is_hurried() {
            let part = time.min(NOTICE);
            env::pause(part);
            time -= part;
        }
    }
}

impl Front for Patient {
    fn behind(&self) -> &dyn Store {
        &*self.store
    }

    fn read<T>(&self, call: impl Fn(&dyn Store) -> Result<T>) -> Result<T> {
        self.patiently(call)
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>> {
        self.patiently(|store| store.define(names))
    }

    fn put_life(&self, life: &LifeRow) -> Result<()> {
        self.patiently(|store| store.put_life(life))
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<()> {
        self.patiently(|store| store.put_indexes(indexes))
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool> {
        // Without room nothing can be removed either, and whoever tidies comes again.
        match self.store.tidy(events, limit) {
            Err(StoreError::Full) => {
                // Whether it opens is seen by the next call.
                let _ = self.store.reopen();
                Err(StoreError::Full)
            }
            Err(failure) if failure.is_of_one_entry() => Err(failure),
            Err(_) => self.patiently(|store| store.tidy(events, limit)),
            tidied => tidied,
        }
    }

    fn catch_up(&self) -> Result<()> {
        let done = self.store.catch_up();
        if done
            .as_ref()
            .is_err_and(|failure| !failure.is_of_one_entry())
        {
            // Whether it opens is seen by the next call.
            let _ = self.store.reopen();
        }
        done
    }
}
