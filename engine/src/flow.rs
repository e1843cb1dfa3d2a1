//! Slots: how many handlers run at once, and who waits for one.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

/// Async handlers that run at once unless the builder says otherwise.
pub const MAX_RUNNING: usize = 1024;
/// Blocking handlers that run at once unless the builder says otherwise; each has a thread.
pub const MAX_BLOCKING: usize = 64;

/// Which slots a handler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Async,
    Blocking,
}

#[derive(Debug)]
struct Free {
    of_async: usize,
    of_blocking: usize,
    /// Due tasks wait in the store: a new one may not pass them.
    backlog: bool,
}

/// The engine's slots.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<Free>,
    /// Wakes the engine loop.
    pub(crate) wake: Notify,
}

impl Slots {
    /// Starts with a backlog: until the start-up scan is through, nothing new passes what it will find.
    pub(crate) fn new(of_async: usize, of_blocking: usize) -> Arc<Slots> {
        let free = Free {
            of_async,
            of_blocking,
            backlog: true,
        };
        Arc::new(Slots {
            free: Mutex::new(free),
            wake: Notify::new(),
        })
    }

    /// A slot for a new task, unless due ones wait for one.
    pub(crate) fn take_for_start(self: &Arc<Self>, kind: Kind) -> Option<Slot> {
        let mut free = self.free.lock();
        if free.backlog {
            return None;
        }
        self.take_from(&mut free, kind)
    }

    /// A slot for a task that waits in the store.
    pub(crate) fn take(self: &Arc<Self>, kind: Kind) -> Option<Slot> {
        self.take_from(&mut self.free.lock(), kind)
    }

    fn take_from(self: &Arc<Self>, free: &mut Free, kind: Kind) -> Option<Slot> {
        let count = free.count(kind);
        *count = count.checked_sub(1)?;
        Some(Slot {
            slots: Arc::clone(self),
            kind,
        })
    }

    /// How many are free.
    pub(crate) fn free(&self, kind: Kind) -> usize {
        *self.free.lock().count(kind)
    }

    /// Says whether due tasks wait in the store.
    pub(crate) fn set_backlog(&self, backlog: bool) {
        self.free.lock().backlog = backlog;
    }
}

impl Free {
    fn count(&mut self, kind: Kind) -> &mut usize {
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
            let mut free = self.slots.free.lock();
            *free.count(self.kind) += 1;
            free.backlog
        };
        if backlog {
            self.slots.wake.notify_one();
        }
    }
}
