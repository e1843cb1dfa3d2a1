//! The store of one life of an engine: now and then a write of it fails, is there although it failed, or is the last thing
//! that its process does.

use super::dice::Dice;
use super::scene::World;
use outlive_storage::row::{DefNumber, IndexRow, LifeRow};
use outlive_storage::{Applied, Commit, Conflict, EventsKept, Front, MemStore, Store, StoreError};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// What happens to one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and is not in the store.
    Refused,
    /// It fails, and is in the store.
    AnswerLost,
    /// There is no room for it.
    Full,
    /// The process dies before it.
    KilledBefore,
    /// The process dies after it, and before anybody is told.
    KilledAfter,
}

/// When writes fail: by seed, and no more often than a world can bear.
#[derive(Debug)]
pub struct Plan {
    dice: Dice,
    /// So often of a thousand writes.
    permille: u64,
    left: u32,
}

impl Plan {
    /// The faults of one world.
    pub fn new(seed: u64) -> Plan {
        let mut dice = Dice::of(seed, 2);
        let permille = *dice.one(&[0, 30, 60, 100, 200]);
        let left = dice.from_to(1, 12) as u32;
        Plan {
            dice,
            permille,
            left,
        }
    }

    /// Nothing fails.
    pub fn none() -> Plan {
        Plan {
            dice: Dice::of(0, 2),
            permille: 0,
            left: 0,
        }
    }

    /// What happens to the next write.
    fn next(&mut self) -> Option<Fault> {
        let hit = self.dice.below(1_000) < self.permille;
        if !hit || self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(self.dice.weighted(&[
            (3, Fault::Refused),
            (3, Fault::AnswerLost),
            (1, Fault::Full),
            (2, Fault::KilledBefore),
            (3, Fault::KilledAfter),
        ]))
    }

    /// How often the store does not open again after a failure.
    fn stays_shut(&mut self) -> u32 {
        self.dice.weighted(&[(8, 0), (2, 1), (2, 4), (3, u32::MAX)])
    }

    /// Nothing fails from now on.
    pub fn rest(&mut self) {
        self.left = 0;
    }
}

/// How the store takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Whole,
    /// A write failed: it takes nothing more until it is opened again, which fails so often.
    Failed(u32),
    /// Its process is dead.
    Dead,
}

/// One life's store.
pub struct FaultStore {
    world: Arc<World>,
    mood: Mutex<Mood>,
    /// The write before this one failed.
    failed_before: AtomicBool,
    /// It did not open again at once after a failure, or failed twice in a row.
    stayed_shut: AtomicBool,
    /// Wakes whoever drives the life: it is over.
    pub over: Notify,
}

impl FaultStore {
    /// For one life of a world.
    pub fn new(world: &Arc<World>) -> Arc<FaultStore> {
        Arc::new(FaultStore {
            world: Arc::clone(world),
            mood: Mutex::new(Mood::Whole),
            failed_before: AtomicBool::new(false),
            stayed_shut: AtomicBool::new(false),
            over: Notify::new(),
        })
    }

    /// Its process dies here: nobody does or hears anything more.
    pub fn kill(&self) {
        *self.mood.lock() = Mood::Dead;
        self.over.notify_one();
    }

    /// Whether an engine may have stopped over it: each failure that passes at once is no reason.
    pub fn stayed_shut(&self) -> bool {
        self.stayed_shut.load(Ordering::Relaxed)
    }

    /// Whether its process is dead.
    pub fn is_dead(&self) -> bool {
        *self.mood.lock() == Mood::Dead
    }

    /// The store for reads, while it can be read.
    fn whole(&self) -> Result<&MemStore, StoreError> {
        match *self.mood.lock() {
            Mood::Whole => Ok(&self.world.truth),
            Mood::Failed(_) | Mood::Dead => Err(StoreError::Poisoned {
                cause: "an earlier write failed".into(),
            }),
        }
    }

    /// Writes, unless a fault comes between.
    fn write<T>(
        &self,
        what: &str,
        write: impl FnOnce(&MemStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let store = self.whole()?;
        let fault = {
            let mut state = self.world.state.lock();
            let fault = state.faults.next();
            if let Some(fault) = fault {
                state.counts.fault(fault);
                state.trace.line(format_args!("{fault:?} at {what}"));
            }
            fault
        };
        let again = self.failed_before.swap(fault.is_some(), Ordering::Relaxed);
        // An engine without threads of its own asks once more, and not twice.
        self.stayed_shut
            .fetch_or(again && fault.is_some(), Ordering::Relaxed);
        let applied = match fault {
            None => return write(store),
            Some(Fault::Refused | Fault::Full | Fault::KilledBefore) => None,
            Some(Fault::AnswerLost | Fault::KilledAfter) => Some(write(store)),
        };
        drop(applied);
        if matches!(fault, Some(Fault::KilledBefore | Fault::KilledAfter)) {
            self.kill();
        } else {
            let shut = self.world.state.lock().faults.stays_shut();
            *self.mood.lock() = Mood::Failed(shut);
            self.stayed_shut.fetch_or(shut > 0, Ordering::Relaxed);
        }
        if fault == Some(Fault::Full) {
            return Err(StoreError::Full);
        }
        Err(StoreError::Failed {
            message: "a fault of the plan".into(),
        })
    }
}

impl Front for FaultStore {
    fn behind(&self) -> &dyn Store {
        &*self.world.truth
    }

    fn read<T>(&self, call: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        call(self.whole()?)
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        self.write("define", |store| store.define(names))
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        self.write("the life", |store| {
            store.put_life(life)?;
            self.world.state.lock().ledger.life(life);
            Ok(())
        })
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        self.write("the indexes", |store| store.put_indexes(indexes))
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        self.write("tidy", |store| store.tidy(events, limit))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut mood = self.mood.lock();
        match *mood {
            Mood::Whole => Ok(()),
            Mood::Failed(0) => {
                *mood = Mood::Whole;
                drop(mood);
                self.world
                    .state
                    .lock()
                    .trace
                    .line(format_args!("opened again"));
                Ok(())
            }
            Mood::Failed(left) => {
                *mood = Mood::Failed(if left == u32::MAX { left } else { left - 1 });
                Err(StoreError::Failed {
                    message: "it does not open".into(),
                })
            }
            Mood::Dead => Err(StoreError::Poisoned {
                cause: "its process is dead".into(),
            }),
        }
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        self.write("a commit", |store| self.world.commit(store, batch))
    }
}
