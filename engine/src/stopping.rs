//! That the engine stops: it claims nothing any more.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// Whether it does. Each event is asked whether it still may happen, so to ask takes no lock.
pub(crate) struct Stopping {
    has_begun: AtomicBool,
    told: watch::Sender<bool>,
}

impl Stopping {
    /// Not yet.
    pub(crate) fn not() -> Stopping {
        Stopping {
            has_begun: AtomicBool::new(false),
            told: watch::Sender::new(false),
        }
    }

    /// From now on. Who waits for it is woken.
    pub(crate) fn begin(&self) {
        // First: who is woken may ask.
        self.has_begun.store(true, Ordering::SeqCst);
        self.told.send_replace(true);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    /// A way to wait for it.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }
}
