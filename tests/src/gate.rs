//! What the handlers of a test wait at, and what tells that they came and that they went.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How often [`until`] looks.
const LOOKS: u32 = 10_000;
/// How long it waits in between; with a paused clock that is no time at all.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// A gate that handlers wait at, and a count of those that came. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    came: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    /// A gate that lets nobody through yet.
    pub fn closed() -> Gate {
        let empty = || Arc::new(Semaphore::new(0));
        Gate {
            came: empty(),
            open: empty(),
        }
    }

    /// In a handler: says that it came.
    pub fn arrive(&self) {
        self.came.add_permits(1);
    }

    /// In a handler: says that it came, and waits to be let through.
    pub async fn pass(&self) {
        self.arrive();
        take(&self.open, 1).await;
    }

    /// Lets so many through, now or later.
    pub fn let_through(&self, count: usize) {
        self.open.add_permits(count);
    }

    /// Waits until so many more have come.
    pub async fn came(&self, count: u32) {
        take(&self.came, count).await;
    }

    /// How many came and were not waited for.
    pub fn uncounted(&self) -> usize {
        self.came.available_permits()
    }
}

async fn take(semaphore: &Semaphore, count: u32) {
    // A semaphore that nobody closes always gives.
    if let Ok(permits) = semaphore.acquire_many(count).await {
        permits.forget();
    }
}

/// Waits until it is so, for what gives no signal of its own.
///
/// # Panics
/// When it does not come to be so within 10 s of the runtime's clock.
pub async fn until(is_so: impl AsyncFn() -> bool) {
    for _ in 0..LOOKS {
        if is_so().await {
            return;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    panic!("it does not come to be so");
}

/// Counts the futures that were dropped: each holds a [`Guard`] of it. Clones are the same count.
#[derive(Debug, Clone, Default)]
pub struct Drops(Arc<AtomicUsize>);

/// Held by a future for as long as it lives.
#[derive(Debug)]
pub struct Guard(Drops);

impl Drops {
    /// For one future more.
    pub fn guard(&self) -> Guard {
        Guard(self.clone())
    }

    /// How many guards are gone.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What handlers noted, in its order. Clones are the same notes.
#[derive(Debug)]
pub struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T> Notes<T> {
    /// One line more.
    pub fn add(&self, line: T) {
        self.0.lock().push(line);
    }

    /// Waits for the first line, and answers all there are by then, which are then forgotten.
    ///
    /// # Panics
    /// As [`until`].
    pub async fn some(&self) -> Vec<T> {
        until(async || !self.is_empty()).await;
        self.take()
    }

    /// All lines so far, which are then forgotten.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *self.0.lock())
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Clone for Notes<T> {
    fn clone(&self) -> Self {
        Notes(Arc::clone(&self.0))
    }
}

impl<T> Default for Notes<T> {
    fn default() -> Self {
        Notes(Arc::default())
    }
}
