//! How a file is opened, and what was found.

use std::fmt;
use std::sync::Arc;

/// Told how far a repair has come, from 0 to 1.
pub type OnRepair = Arc<dyn Fn(f64) + Send + Sync>;

/// Bytes of the journal of a new file, unless it is asked for another one.
pub const JOURNAL_BYTES: u32 = 4 << 20;

/// How a file is opened. [`RedbOptions::default`] suits servers and desktops.
#[derive(Clone)]
pub struct RedbOptions {
    /// Memory for pages, in bytes. Default 64 MiB.
    pub cache_bytes: usize,
    /// Each commit of redb also saves what an open after a crash needs, so that such an open takes milliseconds at any
    /// size. Without it such an open reads the whole file, and these commits are up to a third cheaper: with a journal
    /// they are few. Default `true`.
    pub quick_repair: bool,
    /// Bytes of the journal that a file gets when it is created, rounded up to 4 KiB; at most 64 MiB. A commit is then
    /// durable with one write and one sync of what it changes, and redb's pages follow in lots: when they are read, when the
    /// journal is full or [`Store::catch_up`](crate::Store::catch_up) is called before it is, or when the store is closed.
    /// The open after a crash does again what is in the journal alone, so a larger one makes such an open longer: 1 MiB of it
    /// takes some 10 ms. Zero: the file is a plain redb database, and each commit is one of redb's. What a file has stays,
    /// whatever is given when it is opened; copies of it have the default. Default [`JOURNAL_BYTES`], 4 MiB.
    pub journal_bytes: u32,
    /// Reads the whole file and checks every page's checksum at the open. Default `false`: each row has a
    /// checksum of its own, checked where it is read.
    pub verify_on_open: bool,
    /// Called while an open reads the whole file to repair it. Default none.
    pub on_repair: Option<OnRepair>,
}

impl Default for RedbOptions {
    fn default() -> RedbOptions {
        RedbOptions {
            cache_bytes: 64 << 20,
            quick_repair: true,
            journal_bytes: JOURNAL_BYTES,
            verify_on_open: false,
            on_repair: None,
        }
    }
}

impl fmt::Debug for RedbOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbOptions")
            .field("cache_bytes", &self.cache_bytes)
            .field("quick_repair", &self.quick_repair)
            .field("journal_bytes", &self.journal_bytes)
            .field("verify_on_open", &self.verify_on_open)
            .finish_non_exhaustive()
    }
}

/// What an open found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opened {
    /// There was no file; it was created.
    pub created: bool,
    /// The file was read as a whole to repair or verify it.
    pub repaired: bool,
    /// Size of the file when it was opened, in bytes.
    pub file_bytes: u64,
    /// The version of the file's tables.
    pub format: u32,
}
