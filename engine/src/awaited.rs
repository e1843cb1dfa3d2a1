//! A value whose changes others wait for.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Like a watch channel, but with one short queue of waiters: each entry of a handler makes several of these, and most of
/// them nobody ever waits for.
pub(crate) struct Awaited<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Awaited<T> {
    pub(crate) fn new(value: T) -> Awaited<T> {
        Awaited {
            value: Mutex::new(value),
            changed: Notify::new(),
        }
    }

    /// The value, for a look, or for a change that nobody waits for.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock()
    }

    /// Changes the value, and wakes whoever waits.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.lock());
        self.changed.notify_waiters();
    }

    /// Resolves once the value is so.
    pub(crate) async fn until(&self, is_so: impl Fn(&T) -> bool) {
        loop {
            // Before the look: what changes after it is not missed.
            let changed = self.changed.notified();
            if is_so(&self.value.lock()) {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_is_woken_by_the_change_they_wait_for() {
        let value = Awaited::new(0);
        let waits = |least| value.until(move |value| *value >= least);
        let changes = async {
            for _ in 0..2 {
                tokio::task::yield_now().await;
                value.change(|value| *value += 1);
            }
        };
        tokio::join!(waits(1), waits(2), waits(2), changes);
    }
}
