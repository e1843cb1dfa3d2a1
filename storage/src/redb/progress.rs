//! How far a long call has come, for whoever waits for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes between two times that somebody is told.
const STEP: u64 = 1 << 20;

/// How far a call that reads a whole file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read so far. What is read twice is counted twice, so it may end above or below `of`.
    pub done: u64,
    /// Bytes of the file.
    pub of: u64,
}

/// Who is told how far a long call has come: nobody, by default.
///
/// It is called on the thread that works, about once a mebibyte, and the work waits for it.
///
/// ```
/// use outlive_storage::redb::Watch;
/// let watch = Watch::new(|progress| eprintln!("{} of {} bytes", progress.done, progress.of));
/// # let _ = watch;
/// ```
#[derive(Clone, Default)]
pub struct Watch(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Watch {
    /// Somebody is told.
    pub fn new(told: impl Fn(Progress) + Send + Sync + 'static) -> Watch {
        Watch(Some(Arc::new(told)))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watch").field(&self.0.is_some()).finish()
    }
}

/// What was read of one file so far.
#[derive(Debug)]
pub(super) struct Counted {
    watch: Watch,
    done: AtomicU64,
    of: u64,
}

impl Counted {
    pub(super) fn new(watch: &Watch, of: u64) -> Counted {
        Counted {
            watch: watch.clone(),
            done: AtomicU64::new(0),
            of,
        }
    }

    pub(super) fn add(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        let done = before + bytes;
        if let Watch(Some(told)) = &self.watch
            && (before == 0 || before / STEP != done / STEP)
        {
            told(Progress { done, of: self.of });
        }
    }
}
