//! A server under load that is killed: who writes to it, who follows it, and what must be true in the end.

pub mod child;
mod readers;
mod writers;

pub use readers::{Followed, events, ticks};
pub use writers::{Written, verify, write};

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long somebody waits whose connection has broken.
pub const AGAIN: Duration = Duration::from_millis(5);
/// The task after whose end nothing more is expected.
pub const MARKER: &str = "marker";

/// What everybody under way shares.
#[derive(Debug)]
pub struct Shared {
    /// Where the server is, in each of its lives.
    pub address: SocketAddr,
    /// Starts that are wanted.
    wanted: u64,
    acknowledged: AtomicU64,
    violations: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Shared {
    /// For so many starts.
    pub fn new(address: SocketAddr, wanted: u64) -> Shared {
        Shared {
            address,
            wanted,
            acknowledged: AtomicU64::new(0),
            violations: Mutex::default(),
            stopped: AtomicBool::new(false),
        }
    }

    /// How many starts were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether that is enough.
    pub fn is_enough(&self) -> bool {
        self.acknowledged() >= self.wanted || self.stopped.load(Ordering::Relaxed)
    }

    /// Something is not as it must be: everybody stops.
    pub fn violation(&self, what: impl Into<String>) {
        self.violations.lock().push(what.into());
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// What was not as it must be.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }
}

/// What each task was told to answer with, by its id.
pub type Acknowledged = BTreeMap<String, u64>;
