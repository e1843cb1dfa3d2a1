//! The one file that asks the system for time, ids, chance and threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use outlive_storage::row::Micros;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Where the engine's own work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Loop, writer and readers on OS threads of their own: no handler can starve them.
    Threads,
    /// Loop and writer are tasks of the caller's runtime, reads and commits run inside them. A paused clock
    /// is exact here: no other thread can move while it stands.
    Inline,
}

/// Time as the engine counts it.
///
/// The wall clock is read once, at open; from there on the monotonic clock counts. A step of the system's
/// clock moves no deadline of a running process; after a restart the deadlines on disk count as they stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    System {
        origin: std::time::Instant,
        wall: Micros,
    },
    /// The runtime's clock, which a test may pause.
    Tokio {
        origin: tokio::time::Instant,
        wall: Micros,
    },
}

impl Clock {
    pub(crate) fn new(place: Place) -> Clock {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let wall = Micros(micros(since_epoch));
        match place {
            Place::Threads => Clock::System {
                origin: std::time::Instant::now(),
                wall,
            },
            Place::Inline => Clock::Tokio {
                origin: tokio::time::Instant::now(),
                wall,
            },
        }
    }

    pub(crate) fn now(&self) -> Micros {
        match self {
            Clock::System { origin, wall } => wall.plus(micros(origin.elapsed())),
            Clock::Tokio { origin, wall } => wall.plus(micros(origin.elapsed())),
        }
    }
}

/// A duration in whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Resolves after `duration`, on the runtime it is awaited in.
pub(crate) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// An id that sorts by time: a version 7 UUID as text.
pub(crate) fn fresh_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The id of one open of an engine.
pub(crate) fn fresh_instance() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}

/// The name of the running program, the default owner.
pub(crate) fn program_name() -> String {
    let path = std::env::current_exe().ok();
    let stem = path
        .as_deref()
        .and_then(|p| p.file_stem())
        .and_then(|s| s.to_str());
    stem.unwrap_or("outlive").to_owned()
}

/// Whether this thread is unwinding from a panic.
pub(crate) fn panicking() -> bool {
    std::thread::panicking()
}

/// Starts a named OS thread.
///
/// # Errors
/// The system's refusal, for example at its limit of threads.
pub(crate) fn thread(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}

/// Runs a future to its end on a runtime of this thread alone.
///
/// # Errors
/// The system's refusal to set up the runtime.
pub(crate) fn block_on_here<F: Future<Output = ()>>(future: F) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(future);
    Ok(())
}

/// Where handlers run.
#[derive(Debug, Clone)]
pub(crate) struct Spawner(Handle);

impl Spawner {
    /// The runtime this is called in, if it is called in one.
    pub(crate) fn current() -> Option<Spawner> {
        Handle::try_current().ok().map(Spawner)
    }

    pub(crate) fn on(handle: Handle) -> Spawner {
        Spawner(handle)
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.0.spawn(future).abort_handle()
    }

    pub(crate) fn spawn_blocking(&self, body: impl FnOnce() + Send + 'static) -> AbortHandle {
        self.0.spawn_blocking(body).abort_handle()
    }
}
