//! The callers that wait for a task of an engine which has no call for that.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The callers that wait, by what their task is known by.
#[derive(Debug, Clone)]
pub struct Waiting<K>(Arc<Mutex<HashMap<K, oneshot::Sender<()>>>>);

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> Waiting<K> {
    /// A caller who waits for a task, from before the task is given to the engine.
    pub fn put(&self, task: K) -> oneshot::Receiver<()> {
        let (waits, completed) = oneshot::channel();
        self.callers().insert(task, waits);
        completed
    }

    /// Wakes the caller of a task that is durably complete. One that has gone is passed over.
    pub fn completed(&self, task: &K) {
        let waits = self.callers().remove(task);
        if let Some(waits) = waits {
            let _ = waits.send(());
        }
    }

    /// The tasks that are waited for.
    #[must_use]
    pub fn tasks(&self) -> Vec<K> {
        self.callers().keys().cloned().collect()
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<K, oneshot::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
