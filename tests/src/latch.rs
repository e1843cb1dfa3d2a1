//! A latch that blocks the thread of whoever waits for it: what a handler does that ignores its runtime.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// Opened once, for everybody. Clones are the same latch.
#[derive(Debug, Clone, Default)]
pub struct Latch {
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    waiting: usize,
}

/// Opens a latch when dropped, so that a test that fails leaves no thread behind.
#[derive(Debug)]
pub struct Opens(Latch);

impl Latch {
    /// A latch, and what opens it when dropped.
    pub fn closed() -> (Latch, Opens) {
        let latch = Latch::default();
        (latch.clone(), Opens(latch))
    }

    /// Blocks this thread until the latch is open.
    pub fn wait(&self) {
        let (state, changed) = &*self.state;
        let mut state = state.lock();
        state.waiting += 1;
        changed.notify_all();
        changed.wait_while(&mut state, |state| !state.open);
        state.waiting -= 1;
        changed.notify_all();
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.state.0.lock().open
    }

    /// Blocks this thread until so many wait.
    pub fn waited_for_by(&self, count: usize) {
        let (state, changed) = &*self.state;
        changed.wait_while(&mut state.lock(), |state| state.waiting < count);
    }
}

impl Drop for Opens {
    fn drop(&mut self) {
        let (state, changed) = &*self.0.state;
        state.lock().open = true;
        changed.notify_all();
    }
}
