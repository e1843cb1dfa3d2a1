//! Who keeps the file: it is free when the last of them has let go, or when they are made to.

use outlive_storage::Store;
use parking_lot::Mutex;
use std::sync::Arc;

/// The store, kept open and locked for as long as somebody has this.
pub(crate) struct Hold(Mutex<Option<Arc<dyn Store>>>);

impl Hold {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Hold> {
        Arc::new(Hold(Mutex::new(Some(store))))
    }

    /// The store, unless it was given up.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.0.lock().clone()
    }

    /// Gives the store up, whoever still keeps it.
    pub(crate) fn abandon(&self) {
        let given_up = self.0.lock().take();
        drop(given_up);
    }
}
