//! Reads of the store, on threads of their own: a slow disk never holds a worker of the caller's runtime.

use crate::env::{self, Place};
use outlive_storage::{Store, StoreError};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Threads that read.
const READERS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// Why a read gave nothing.
#[derive(Debug, Clone)]
pub(crate) enum ReadError {
    /// The engine has stopped.
    Stopped,
    /// The store could not answer.
    Store(StoreError),
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        ReadError::Store(error)
    }
}

/// The engine's way to read its store.
pub(crate) struct Reader {
    /// Emptied at shutdown: the file is free once the last handler has let go of it as well.
    store: Mutex<Option<Arc<dyn Store>>>,
    /// `None`: reads run where they are awaited.
    jobs: Option<crossbeam_channel::Sender<Job>>,
}

impl Reader {
    /// # Errors
    /// The system's refusal of a thread.
    pub(crate) fn new(store: Arc<dyn Store>, place: Place) -> std::io::Result<Reader> {
        let jobs = match place {
            Place::Inline => None,
            Place::Threads => {
                let (sender, receiver) = crossbeam_channel::unbounded::<Job>();
                for _ in 0..READERS {
                    let receiver = receiver.clone();
                    env::thread("outlive-reader", move || {
                        receiver.into_iter().for_each(|job| job())
                    })?;
                }
                Some(sender)
            }
        };
        Ok(Reader {
            store: Mutex::new(Some(store)),
            jobs,
        })
    }

    /// The store itself, to hold the file for as long as a handler may run.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.store.lock().clone()
    }

    /// Runs `read` on the store.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.store().ok_or(ReadError::Stopped)?;
        let Some(jobs) = &self.jobs else {
            return Ok(read(&*store)?);
        };
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move || {
            let result = read(&*store);
            // The file must be free when the last answer is out, not a moment later.
            drop(store);
            let _ = sender.send(result);
        });
        jobs.send(job).map_err(|_| ReadError::Stopped)?;
        Ok(answer.await.map_err(|_| ReadError::Stopped)??)
    }

    /// Lets go of the store.
    pub(crate) fn close(&self) {
        drop(self.store.lock().take());
    }
}
