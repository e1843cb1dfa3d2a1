//! Slots: how many handlers run at once, and who waits for one.

use foldhash::{HashMap, HashMapExt};
use outlive_storage::row::DefNumber;
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
    /// How many there are.
    all: usize,
    free: usize,
    /// Due tasks wait in the store for one of these: a new task may not pass them.
    backlog: bool,
}

#[derive(Debug)]
struct Lanes {
    /// How many slots tasks of each definition ever took.
    taken: HashMap<DefNumber, u64>,
    of_async: Lane,
    of_blocking: Lane,
    /// Definitions that said how many of their tasks may run at once.
    limited: HashMap<DefNumber, Lane>,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// Slots of the kind.
    Kind,
    /// What the definition allows itself.
    Definition,
}

/// How many slots are taken, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) running: usize,
    pub(crate) allowed: usize,
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
    pub(crate) fn new(
        of_async: usize,
        of_blocking: usize,
        limited: impl Iterator<Item = (DefNumber, usize)>,
    ) -> Arc<Slots> {
        let lane = |all| Lane {
            all,
            free: all,
            backlog: true,
        };
        let lanes = Lanes {
            taken: HashMap::new(),
            of_async: lane(of_async),
            of_blocking: lane(of_blocking),
            limited: limited.map(|(def, free)| (def, lane(free))).collect(),
        };
        Arc::new(Slots {
            lanes: Mutex::new(lanes),
            wake: Notify::new(),
        })
    }

    /// A slot for a new task, unless due ones wait for one.
    pub(crate) fn take_for_start(self: &Arc<Self>, kind: Kind, def: DefNumber) -> Option<Slot> {
        let mut lanes = self.lanes.lock();
        let waits = lanes.of(kind).backlog || lanes.limited.get(&def).is_some_and(|l| l.backlog);
        if waits && !cfg!(planted = "start_claims_past_backlog") {
            return None;
        }
        self.take_from(&mut lanes, kind, def).ok()
    }

    /// A slot for a task that waits in the store.
    ///
    /// # Errors
    /// [`Short`]: of what there is too little.
    pub(crate) fn take(self: &Arc<Self>, kind: Kind, def: DefNumber) -> Result<Slot, Short> {
        self.take_from(&mut self.lanes.lock(), kind, def)
    }

    fn take_from(
        self: &Arc<Self>,
        lanes: &mut Lanes,
        kind: Kind,
        def: DefNumber,
    ) -> Result<Slot, Short> {
        let allowed = lanes.limited.get(&def).is_none_or(|lane| lane.free > 0);
        if !allowed && !cfg!(planted = "concurrency_ignored") {
            return Err(Short::Definition);
        }
        let lane = lanes.of(kind);
        if cfg!(planted = "max_running_ignored") {
            lane.free = lane.free.max(1);
        }
        lane.free = lane.free.checked_sub(1).ok_or(Short::Kind)?;
        if let Some(lane) = lanes.limited.get_mut(&def) {
            lane.free = lane.free.saturating_sub(1);
        }
        *lanes.taken.entry(def).or_default() += 1;
        Ok(Slot {
            slots: Arc::clone(self),
            kind,
            def,
        })
    }

    /// How many are free.
    pub(crate) fn free(&self, kind: Kind) -> usize {
        self.lanes.lock().of(kind).free
    }

    /// How many more tasks a definition allows itself; `None`: as many as there are slots.
    pub(crate) fn allowed(&self, def: DefNumber) -> Option<usize> {
        self.lanes.lock().limited.get(&def).map(|lane| lane.free)
    }

    /// How many slots tasks of a definition ever took: while it stays, no turn of it was entered.
    pub(crate) fn ever_taken(&self, def: DefNumber) -> u64 {
        self.lanes.lock().taken.get(&def).copied().unwrap_or(0)
    }

    /// How many slots are taken: of the kind, and of what the definition allows itself.
    pub(crate) fn taken(&self, kind: Kind, def: DefNumber) -> (Taken, Option<Taken>) {
        let mut lanes = self.lanes.lock();
        let of_def = lanes.limited.get(&def).map(Lane::taken);
        (lanes.of(kind).taken(), of_def)
    }

    /// How many slots of a kind are taken.
    pub(crate) fn taken_of(&self, kind: Kind) -> Taken {
        self.lanes.lock().of(kind).taken()
    }

    /// Says whether due tasks wait in the store for a slot of this kind.
    pub(crate) fn set_backlog(&self, kind: Kind, backlog: bool) {
        self.lanes.lock().of(kind).backlog = backlog;
    }

    /// Says whether due tasks of a definition wait because of its own limit.
    pub(crate) fn set_definition_backlog(&self, def: DefNumber, backlog: bool) {
        if let Some(lane) = self.lanes.lock().limited.get_mut(&def) {
            lane.backlog = backlog;
        }
    }
}

impl Lane {
    fn taken(&self) -> Taken {
        Taken {
            running: self.all.saturating_sub(self.free),
            allowed: self.all,
        }
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
    def: DefNumber,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let backlog = {
            let mut lanes = self.slots.lanes.lock();
            let limited = lanes.limited.get_mut(&self.def).is_some_and(|lane| {
                lane.free += 1;
                lane.backlog
            });
            let lane = lanes.of(self.kind);
            lane.free += 1;
            lane.backlog || limited
        };
        if backlog {
            self.slots.wake.notify_one();
        }
    }
}
