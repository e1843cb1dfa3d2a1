//! Why the writer takes nothing any more, or nothing at present, and what may happen yet of what it was asked for.

use crate::pending::Pending;
use crate::writer::{Origin, Refused, Stop, Target};
use outlive_storage::StoreError;
use outlive_storage::id::TaskId;
use outlive_storage::row::TaskNumber;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The cause for which the writer stopped, told to every caller; or that it has no room at present.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    stop: OnceLock<Stop>,
    full: AtomicBool,
    hurried: AtomicBool,
    doubt: Mutex<Doubt>,
}

/// The tasks of which callers asked something whose commit failed: it may happen yet.
#[derive(Debug, Default)]
struct Doubt {
    ids: HashSet<TaskId>,
    tasks: HashSet<TaskNumber>,
}

impl Poison {
    /// The first cause stays.
    pub(crate) fn set(&self, stop: Stop) {
        // One that stopped before stays stopped for that.
        let _ = self.stop.set(stop);
    }

    pub(crate) fn get(&self) -> Option<Stop> {
        self.stop.get().cloned()
    }

    /// Whether the disk is full, so that a batch waits for room.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Release);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// The engine ends: whoever waits for the store tries once more, and waits no longer.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::Release);
    }

    pub(crate) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire) && !cfg!(planted = "stop_waits_for_the_store")
    }

    /// What callers asked for in this batch, whose commit failed, may happen yet.
    pub(crate) fn doubt(&self, pending: &[Pending]) {
        let mut doubt = self.doubt.lock();
        for one in pending {
            match (one.origin, &one.told) {
                (Origin::Caller, Ok(_)) => {
                    doubt.tasks.insert(one.task);
                    doubt.ids.extend(one.row.as_ref().map(|row| row.id.clone()));
                }
                (Origin::Caller, Err(_)) | (Origin::Engine, _) => {}
            }
        }
    }

    /// It is known what became of the batch.
    pub(crate) fn settled(&self) {
        let mut doubt = self.doubt.lock();
        self.set_full(false);
        *doubt = Doubt::default();
    }

    /// What whoever asks for something now is answered at once; nothing where the writer takes it.
    ///
    /// Nothing of what is refused happens. A caller who may have asked for the same before, in a batch of which that is not
    /// known yet, cannot be told so.
    pub(crate) fn refuses(&self, origin: Origin, target: &Target) -> Option<Refused> {
        let stop = self.get();
        if stop.is_none() && !self.is_full() {
            return None;
        }
        // Held to the end: what is in doubt is settled, and there is room again, in one moment.
        let doubt = self.doubt.lock();
        // Callers need not wait behind a batch for which there is no room. What the engine itself asks for waits.
        let waits = matches!(origin, Origin::Engine) || cfg!(planted = "callers_wait_for_room");
        let (cause, refused) = match stop {
            Some(Stop::Failed(error)) => (error.clone(), Refused::Stopped(Stop::Failed(error))),
            Some(Stop::Shutdown) => return Some(Refused::Stopped(Stop::Shutdown)),
            None if self.is_full() && !waits => {
                (StoreError::Full, Refused::Unreadable(StoreError::Full))
            }
            None => return None,
        };
        let in_doubt = matches!(origin, Origin::Caller) && doubt.is_about(target);
        Some(
            match in_doubt && !cfg!(planted = "refused_while_it_may_happen") {
                true => Refused::Unknown(cause),
                false => refused,
            },
        )
    }
}

impl Doubt {
    fn is_about(&self, target: &Target) -> bool {
        match target {
            Target::Id(id) => self.ids.contains(id),
            Target::Number(task) => self.tasks.contains(task),
            // Nobody else has this id.
            Target::Unborn => false,
        }
    }
}
