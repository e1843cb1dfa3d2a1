//! Slots: how many handlers run at once, and who waits for one.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// Async handlers that run at once unless the builder says otherwise.
pub const MAX_RUNNING: usize = 1024;
/// Blocking handlers that run at once unless the builder says otherwise; each has a thread.
pub const MAX_BLOCKING: usize = 64;

/// Which slots a handler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Async,
    Blocking,
}

/// The slots of one kind.
#[derive(Debug)]
struct Lane {
    free: usize,
    /// Due tasks wait in the store for one of these: a new task may not pass them.
    backlog: bool,
}

#[derive(Debug)]
struct Lanes {
    of_async: Lane,
    of_blocking: Lane,
}

/// The engine's slots.
#[derive(Debug)]
pub(crate) struct Slots {
    lanes: Mutex<Lanes>,
    /// Wakes the engine loop.
    pub(crate) wake: Notify,
}

impl Slots {
    /// Starts with a backlog: until the start-up scan is through, nothing new passes what it will find.
    pub(crate) fn new(of_async: usize, of_blocking: usize) -> Arc<Slots> {
        let lane = |free| Lane {
            free,
            backlog: true,
        };
        let lanes = Lanes {
            of_async: lane(of_async),
            of_blocking: lane(of_blocking),
        };
        Arc::new(Slots {
            lanes: Mutex::new(lanes),
            wake: Notify::new(),
        })
    }

    /// A slot for a new task, unless due ones wait for one.
    pub(crate) fn take_for_start(self: &Arc<Self>, kind: Kind) -> Option<Slot> {
        let mut lanes = self.lanes.lock();
        let lane = lanes.of(kind);
        if lane.backlog && !cfg!(planted = "start_claims_past_backlog") {
            return None;
        }
        self.take_from(lane, kind)
    }

    /// A slot for a task that waits in the store.
    pub(crate) fn take(self: &Arc<Self>, kind: Kind) -> Option<Slot> {
        self.take_from(self.lanes.lock().of(kind), kind)
    }

    fn take_from(self: &Arc<Self>, lane: &mut Lane, kind: Kind) -> Option<Slot> {
        if cfg!(planted = "max_running_ignored") {
            lane.free = lane.free.max(1);
        }
        lane.free = lane.free.checked_sub(1)?;
        Some(Slot {
            slots: Arc::clone(self),
            kind,
        })
    }

    /// How many are free.
    pub(crate) fn free(&self, kind: Kind) -> usize {
        self.lanes.lock().of(kind).free
    }

    /// Says whether due tasks wait in the store for a slot of this kind.
    pub(crate) fn set_backlog(&self, kind: Kind, backlog: bool) {
        self.lanes.lock().of(kind).backlog = backlog;
    }
}

impl Lanes {
    fn of(&mut self, kind: Kind) -> &mut Lane {
        match kind {
            Kind::Async => &mut self.of_async,
            Kind::Blocking => &mut self.of_blocking,
        }
    }
}

/// One slot, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    kind: Kind,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let backlog = {
            let mut lanes = self.slots.lanes.lock();
            let lane = lanes.of(self.kind);
            lane.free += 1;
            lane.backlog
        };
        if backlog {
            self.slots.wake.notify_one();
        }
    }
}
