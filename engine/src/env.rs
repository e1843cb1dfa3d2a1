//! The one file that asks the system for time, ids, chance and threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use outlive_storage::row::Micros;
use std::cell::Cell;
use std::future::Future;
use std::sync::LazyLock;
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
        match place {
            Place::Threads => Clock::System {
                origin: std::time::Instant::now(),
                wall: wall(),
            },
            Place::Inline => {
                // A paused clock has gone another way than the system's: an engine opened later in the same runtime
                // goes on where the one before it was. That takes one pair of readings for all: between two readings
                // a busy machine lets any time go by.
                static PAIR: LazyLock<(std::time::Instant, Micros)> =
                    LazyLock::new(|| (std::time::Instant::now(), wall()));
                let (real, wall) = *PAIR;
                let origin = tokio::time::Instant::now();
                let ahead = origin.into_std().saturating_duration_since(real);
                let behind = real.saturating_duration_since(origin.into_std());
                let wall = Micros(wall.plus(micros(ahead)).0.saturating_sub(micros(behind)));
                Clock::Tokio { origin, wall }
            }
        }
    }

    pub(crate) fn now(&self) -> Micros {
        match self {
            Clock::System { origin, wall } => wall.plus(micros(origin.elapsed())),
            Clock::Tokio { origin, wall } => wall.plus(micros(origin.elapsed())),
        }
    }
}

fn wall() -> Micros {
    moment(std::time::SystemTime::now())
}

/// A moment of the wall clock; one before 1970 is taken for 1970.
pub(crate) fn moment(at: std::time::SystemTime) -> Micros {
    let since = at.duration_since(std::time::SystemTime::UNIX_EPOCH);
    Micros(0).plus(micros(since.unwrap_or_default()))
}

/// The session a program is started in, if its environment says so.
pub(crate) fn session_variable() -> Option<String> {
    std::env::var("OUTLIVE_SESSION")
        .ok()
        .filter(|session| !session.is_empty())
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

thread_local! {
    /// Set on threads that belong to a runtime and may wait for a future all the same.
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a blocking call of the user's: on its thread, which is there to be blocked, it may wait for the engine.
pub(crate) fn on_blocking_thread<T>(call: impl FnOnce() -> T) -> T {
    /// The thread is used again for other calls, also after a panic of this one.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            MAY_WAIT.set(false);
        }
    }
    MAY_WAIT.set(true);
    let _reset = Reset;
    call()
}

/// The calling thread drives an async runtime: while it waited, whatever else that runtime has to do would stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a blocking call was made inside an async runtime; await the async form there")]
pub struct InsideRuntime;

/// A runtime that belongs to an engine, for programs that have none.
#[derive(Debug)]
pub(crate) struct OwnRuntime(Option<tokio::runtime::Runtime>);

impl OwnRuntime {
    /// # Errors
    /// The system's refusal of its threads.
    pub(crate) fn new() -> std::io::Result<OwnRuntime> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .thread_name("outlive-handler")
            .enable_all()
            .build()?;
        Ok(OwnRuntime(Some(runtime)))
    }

    /// Where it runs what is spawned.
    ///
    /// # Panics
    /// Never: it is taken apart only by its drop.
    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(self.runtime().handle().clone())
    }

    /// Blocks this thread until the future is ready.
    ///
    /// # Errors
    /// [`InsideRuntime`]; the future was not polled.
    pub(crate) fn wait<F: Future>(&self, future: F) -> Result<F::Output, InsideRuntime> {
        refuse_inside_runtime()?;
        Ok(self.runtime().block_on(future))
    }

    fn runtime(&self) -> &tokio::runtime::Runtime {
        // INVARIANT: only the drop takes it.
        self.0.as_ref().expect("it is not dropped yet")
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for its threads would hang on a handler that blocks, and panic inside another runtime.
            runtime.shutdown_background();
        }
    }
}

/// # Errors
/// [`InsideRuntime`]: the thread must not wait.
pub(crate) fn refuse_inside_runtime() -> Result<(), InsideRuntime> {
    let inside = Handle::try_current().is_ok() && !cfg!(planted = "waits_inside_runtime");
    if inside && !MAY_WAIT.get() {
        return Err(InsideRuntime);
    }
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

    /// Blocks this thread, which may be any that drives no runtime, until the future is ready.
    ///
    /// # Errors
    /// [`InsideRuntime`]; the future was not polled.
    pub(crate) fn wait_here<F: Future>(&self, future: F) -> Result<F::Output, InsideRuntime> {
        if !cfg!(planted = "blocking_step_inside_runtime") {
            refuse_inside_runtime()?;
        }
        Ok(self.0.block_on(future))
    }

    pub(crate) fn spawn_blocking(&self, body: impl FnOnce() + Send + 'static) -> AbortHandle {
        self.0.spawn_blocking(body).abort_handle()
    }
}
