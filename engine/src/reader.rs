//! Reads of the store, on threads of their own: a slow disk never holds a worker of the caller's runtime.

use crate::env::{self, Place};
use crate::hold::Hold;
use crate::patient::PAUSE_MAX;
use crate::writer::Writer;
use outlive_storage::{Store, StoreError};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
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
    store: Mutex<Option<Arc<Hold>>>,
    /// What handlers that did not end still keep.
    kept: Weak<Hold>,
    /// Told of a store that has failed: the engine must not look alive on it.
    writer: Arc<Writer>,
    /// `None`: reads run where they are awaited.
    jobs: Option<crossbeam_channel::Sender<Job>>,
}

impl Reader {
    /// # Errors
    /// The system's refusal of a thread.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        place: Place,
        writer: Arc<Writer>,
    ) -> std::io::Result<Reader> {
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
        let hold = Hold::new(store);
        Ok(Reader {
            kept: Arc::downgrade(&hold),
            store: Mutex::new(Some(hold)),
            writer,
            jobs,
        })
    }

    /// Where reads run.
    pub(crate) fn place(&self) -> Place {
        match self.jobs {
            None => Place::Inline,
            Some(_) => Place::Threads,
        }
    }

    /// Keeps the file for as long as a handler may run.
    pub(crate) fn hold(&self) -> Option<Arc<Hold>> {
        self.store.lock().clone()
    }

    /// Runs `read` on the store.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let hold = self.hold().ok_or(ReadError::Stopped)?;
        let store = hold.store().ok_or(ReadError::Stopped)?;
        drop(hold);
        let result = match &self.jobs {
            None => guarded(&*store, read),
            Some(jobs) => {
                let (sender, answer) = oneshot::channel();
                let job: Job = Box::new(move || {
                    let result = guarded(&*store, read);
                    // The file must be free when the last answer is out, not a moment later.
                    drop(store);
                    let _ = sender.send(result);
                });
                jobs.send(job).map_err(|_| ReadError::Stopped)?;
                answer.await.map_err(|_| ReadError::Stopped)?
            }
        };
        if let Err(error) = &result
            && !error.is_of_one_entry()
            && !is_full(error)
            && !cfg!(planted = "failed_read_ignored")
        {
            self.writer.fail(error.clone());
        }
        Ok(result?)
    }

    /// As [`Reader::read`], for what the engine, or a handler, cannot go on without: where there is no room even to read, it
    /// waits, however long that takes.
    pub(crate) async fn read_on<T: Send + 'static>(
        &self,
        read: impl Fn(&dyn Store) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, ReadError> {
        loop {
            match self.read(read.clone()).await {
                Err(ReadError::Store(error))
                    if is_full(&error) && !cfg!(planted = "want_of_room_parks_the_turn") =>
                {
                    env::sleep(PAUSE_MAX).await;
                }
                answer => return answer,
            }
        }
    }

    /// Lets go of the store. Handlers that did not end keep it; who comes second is told of them.
    pub(crate) fn close(&self, still_running: usize) {
        drop(self.store.lock().take());
        if still_running > 0
            && let Some(store) = self.kept.upgrade().and_then(|kept| kept.store())
        {
            store.leaving(still_running);
        }
    }

    /// Where the engine is reached, for who comes second to its file.
    pub(crate) fn reached_at(&self, addresses: &[String]) {
        if let Some(store) = self.kept.upgrade().and_then(|kept| kept.store()) {
            store.reached_at(addresses);
        }
    }

    /// Takes the store from handlers that did not end.
    pub(crate) fn abandon(&self) {
        if let Some(kept) = self.kept.upgrade() {
            kept.abandon();
        }
    }
}

/// Room may be made at any time, so that a full disk is no reason to stop.
fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Full) && !cfg!(planted = "full_read_stops_the_engine")
}

/// A read of a damaged file may panic inside the store: that stops the engine with a cause, and no thread of it.
fn guarded<T>(
    store: &dyn Store,
    read: impl FnOnce(&dyn Store) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(|| read(store))).unwrap_or_else(|_| {
        let message = "a read panicked inside the store: the file is damaged".into();
        Err(StoreError::Failed { message })
    })
}
