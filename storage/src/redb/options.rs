//! How a file is opened, and what was found.

use std::fmt;
use std::sync::Arc;

/// Told how far a repair has come, from 0 to 1.
pub type OnRepair = Arc<dyn Fn(f64) + Send + Sync>;

/// How a file is opened. [`RedbOptions::default`] suits servers and desktops.
#[derive(Clone)]
pub struct RedbOptions {
    /// Memory for pages, in bytes. Default 64 MiB.
    pub cache_bytes: usize,
    /// Each commit also saves what an open after a crash needs, so that such an open takes milliseconds at any
    /// size. Without it commits are up to a third cheaper and such an open reads the whole file. Default `true`.
    pub quick_repair: bool,
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
