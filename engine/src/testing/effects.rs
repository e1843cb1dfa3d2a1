//! What happened to the outside world, for worlds that need to know no more than that.

use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

thread_local! {
    /// The engine of this thread is dead: whatever of it is still being dropped acts on nothing.
    static DEAD: Cell<bool> = const { Cell::new(false) };
}

/// From now on nothing on this thread has an effect.
pub(super) fn die() {
    DEAD.set(true);
}

/// An engine begins to live on this thread.
pub(super) fn live() {
    DEAD.set(false);
}

/// What happened to the outside world, in its order: payments, mails, calls. Clones are the same world, so one goes into
/// each handler, and it outlives every crash. A [`CrashTest`](super::CrashTest) begins each run with a new one.
///
/// ```
/// use outlive::testing::Effects;
/// let bank = Effects::new();
/// bank.record("payment");
/// assert!(bank.record_once("key-17", "refund"));
/// assert!(!bank.record_once("key-17", "refund")); // a service that takes idempotency keys
/// assert_eq!(bank.count("payment"), 1);
/// assert_eq!(bank.all(), ["payment", "refund"]);
/// ```
#[derive(Clone, Default)]
pub struct Effects(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    effects: Vec<String>,
    /// Idempotency keys that were seen.
    keys: HashSet<String>,
}

impl Effects {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new() -> Effects {
        Effects::default()
    }

    /// It happens. What a killed engine still drops has no effect any more: a killed process runs no destructors.
    pub fn record(&self, effect: impl Into<String>) {
        if is_dead() {
            return;
        }
        self.0.lock().effects.push(effect.into());
    }

    /// It happens unless something happened under this key before, as with a service that takes idempotency keys. True:
    /// it happened now.
    pub fn record_once(&self, key: impl Into<String>, effect: impl Into<String>) -> bool {
        if is_dead() {
            return false;
        }
        let mut log = self.0.lock();
        let is_new = log.keys.insert(key.into());
        if is_new {
            log.effects.push(effect.into());
        }
        is_new
    }

    /// How often it happened.
    pub fn count(&self, effect: impl AsRef<str>) -> usize {
        let log = self.0.lock();
        let same = log
            .effects
            .iter()
            .filter(|happened| *happened == effect.as_ref());
        same.count()
    }

    /// Everything that happened, in its order.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().effects.clone()
    }

    /// How much happened.
    pub fn len(&self) -> usize {
        self.0.lock().effects.len()
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn is_dead() -> bool {
    DEAD.get() && !cfg!(planted = "kit_dead_engine_acts")
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}
