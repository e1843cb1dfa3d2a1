//! The one file that asks the system for time, ids, chance and threads.
//!
//! It has so many lines because no other file may: whoever looks for what is not repeatable finds all of it here.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::wall_clock::WallClock;
use outlive_storage::row::{Deadline, Etag, Line, Micros, Times};
use std::cell::Cell;
use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
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

/// Where a clock reads from; a test may move its wall clock.
#[derive(Debug, Clone)]
enum Source {
    System {
        origin: std::time::Instant,
        wall: WallClock,
    },
    /// The runtime's clock, which a test may pause.
    Tokio {
        /// What a wall clock that never jumps showed.
        origin_us: u64,
        wall: WallClock,
    },
}

impl Source {
    fn new(place: Place, wall: &WallClock) -> Source {
        match place {
            Place::Threads => Source::System {
                origin: std::time::Instant::now(),
                wall: wall.clone(),
            },
            Place::Inline => Source::Tokio {
                origin_us: runtime_wall(),
                wall: wall.clone(),
            },
        }
    }

    /// How long ago the origin was by the monotonic clock, in microseconds, and what the wall clock shows.
    ///
    /// Between two readings the thread may be stopped, and the clocks would seem to have parted: such a pair is read
    /// again, at most twice.
    fn read(&self) -> (u64, Micros) {
        match self {
            Source::System {
                origin,
                wall: moved,
            } => {
                let look = || Micros(0).plus(moved.shows(wall().0));
                let mut before = origin.elapsed();
                for _ in 0..2 {
                    let shown = look();
                    let after = origin.elapsed();
                    if after - before <= PAIR_MAX {
                        return (micros(after), shown);
                    }
                    before = after;
                }
                let shown = look();
                (micros(origin.elapsed()), shown)
            }
            // Both come from one reading, so that they differ by nothing but the jumps.
            Source::Tokio { origin_us, wall } => {
                let now_us = runtime_wall();
                let shown = Micros(0).plus(wall.shows(now_us));
                (now_us.saturating_sub(*origin_us), shown)
            }
        }
    }
}

/// The longest that the readings of one look may be apart.
const PAIR_MAX: Duration = Duration::from_millis(10);
/// How often a wait for a moment of the wall clock looks at it.
const LOOK_EACH: Duration = Duration::from_secs(1);
/// The clocks part slowly by themselves; further apart than this, the wall clock has jumped.
const JUMP_US: u64 = 1_000_000;

/// Time as the engine counts it.
///
/// The wall clock is read at each look, beside the monotonic clock. As long as they go together there is one time. Where
/// the wall clock jumps, a new line of time begins that agrees with it: moments that somebody named follow the wall
/// clock, durations go on by the monotonic clock on the line on which they began; see [`Line`](outlive_storage::row::Line).
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    source: Source,
    /// What the wall clock showed when the origin had been taken.
    opened_at: Micros,
    /// Names the lines that begin in this life; zero before it has a name.
    life: u64,
    /// How far the present line is ahead of the engine's own time, for all clones.
    ahead_us: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn new(place: Place, wall: &WallClock) -> Clock {
        let source = Source::new(place, wall);
        // After the origin, so that what is written down is never earlier than what the wall clock showed.
        let (_, opened_at) = source.read();
        Clock {
            source,
            opened_at,
            life: 0,
            ahead_us: Arc::default(),
        }
    }

    /// The same clock in the life whose first etag is this one: no earlier life of the file had it to give, and if this one
    /// writes anything down, no later one has.
    pub(crate) fn of_life(self, first: Etag) -> Clock {
        let life = if cfg!(planted = "lives_share_lines") {
            1
        } else {
            first.0
        };
        Clock { life, ..self }
    }

    /// The engine's own time, which goes on without a jump: for durations that end with the process.
    pub(crate) fn own(&self) -> Micros {
        self.opened_at.plus(self.source.read().0)
    }

    /// The time that is written down: it agrees with the wall clock.
    pub(crate) fn now(&self) -> Micros {
        self.times().now()
    }

    /// What all lines show. A jump of the wall clock since the last look begins a new one.
    pub(crate) fn times(&self) -> Times {
        loop {
            // First, so that no line is newer than the reading it is compared with.
            let ahead_us = self.ahead_us.load(Ordering::Acquire);
            let (since, wall) = self.source.read();
            let own = self.opened_at.plus(since);
            let times = Times {
                own,
                wall,
                life: self.life,
                ahead_us,
            };
            let jumped = wall.0.abs_diff(times.now().0) > JUMP_US;
            if !jumped || self.life == 0 || cfg!(planted = "jump_unnoticed") {
                return times;
            }
            let parted = ahead(wall, own);
            // A clock that was set right again goes on where it was.
            let line = if parted.unsigned_abs() <= JUMP_US {
                0
            } else {
                parted
            };
            let begun =
                self.ahead_us
                    .compare_exchange(ahead_us, line, Ordering::AcqRel, Ordering::Acquire);
            // Who lost to another thread looks again, and finds that one's line.
            if begun.is_ok() {
                tracing::warn!(
                    target: "outlive::engine",
                    jumped_us = ahead(wall, times.now()),
                    "clock.jump"
                );
                return Times {
                    ahead_us: line,
                    ..times
                };
            }
        }
    }
}

/// How far one moment is ahead of another.
fn ahead(of: Micros, other: Micros) -> i64 {
    let apart = i64::try_from(of.0.abs_diff(other.0)).unwrap_or(i64::MAX);
    if of < other { -apart } else { apart }
}

/// What a wall clock shows that showed the system's time once and goes with the runtime's clock, in microseconds.
///
/// A paused clock has gone another way than the system's: an engine opened later in the same runtime goes on where the one
/// before it was. That takes one pair of readings for all: between two readings a busy machine lets any time go by.
pub(crate) fn runtime_wall() -> u64 {
    static PAIR: LazyLock<(std::time::Instant, Micros)> =
        LazyLock::new(|| (std::time::Instant::now(), wall()));
    let (real, wall) = *PAIR;
    let now = tokio::time::Instant::now().into_std();
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    let ahead = nanos(now.saturating_duration_since(real));
    let behind = nanos(real.saturating_duration_since(now));
    // Cut once and always downwards: cut apart, two readings of one moment would differ by a microsecond.
    let shown = i128::from(wall.0) + (ahead - behind).div_euclid(1_000);
    u64::try_from(shown).unwrap_or_default()
}

fn wall() -> Micros {
    moment(std::time::SystemTime::now())
}

impl Clock {
    /// What the system's wall clock shows, for work without an engine.
    #[cfg(feature = "redb")]
    pub(crate) fn now_of_system() -> Micros {
        wall()
    }

    /// Resolves when the deadline comes.
    pub(crate) async fn reach(&self, deadline: Deadline) {
        loop {
            let times = self.times();
            if times.reached(deadline) {
                return;
            }
            let left = Duration::from_micros(times.left_us(deadline));
            // The wall clock may jump meanwhile; the others go with the timers of the runtime.
            let pause = match deadline.line {
                Line::Wall => until_due(left, LOOK_EACH),
                Line::Own | Line::AtOnce | Line::Jump { .. } => left,
            };
            sleep(pause).await;
        }
    }
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

/// Lets whatever else its worker has to do go first, once. Unlike `yield_now` it does not ask the system for events, which is
/// dear where it is done often.
pub(crate) async fn give_way() {
    let mut has_waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// An id that sorts by time: a version 7 UUID, put here as text.
pub(crate) fn fresh_id(text: &mut [u8; FRESH_ID_LEN]) -> &str {
    uuid::Uuid::now_v7().hyphenated().encode_lower(text)
}

/// The length of a [fresh id](fresh_id).
pub(crate) const FRESH_ID_LEN: usize = uuid::fmt::Hyphenated::LENGTH;

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

/// Holds up this thread, which is the engine's own and drives no handler.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
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

/// How long to sleep for something that is due after `wait`, of a process that looks around after `most`.
///
/// On a virtual clock nothing comes unforeseen, and days of it must cost next to nothing.
pub(crate) fn until_due(wait: Duration, most: Duration) -> Duration {
    #[cfg(feature = "testing")]
    if VirtualRuntime::is_here() {
        return wait.min(VirtualRuntime::SLEEP_MAX);
    }
    wait.min(most)
}

#[cfg(feature = "testing")]
thread_local! {
    /// Set while this thread drives a [`VirtualRuntime`].
    static VIRTUAL: Cell<bool> = const { Cell::new(false) };
}

/// A runtime of this thread alone with a clock of its own: it stands still while there is something to do, and goes on
/// to the next moment for which somebody waits when there is not.
#[cfg(feature = "testing")]
pub(crate) struct VirtualRuntime(tokio::runtime::Runtime);

#[cfg(feature = "testing")]
impl VirtualRuntime {
    /// How long threads that block may take to end with it.
    const THREADS_END: Duration = Duration::from_secs(1);
    /// The longest sleep while something is due.
    const SLEEP_MAX: Duration = Duration::from_secs(60);

    /// # Errors
    /// The system's refusal to set up the runtime.
    pub(crate) fn new() -> std::io::Result<VirtualRuntime> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true);
        // Between any two tasks it looks whether the future it was given is woken. So that future, once woken, ends
        // everything before anybody else goes on.
        if !cfg!(planted = "kit_killed_engine_goes_on") {
            builder.event_interval(1);
        }
        Ok(VirtualRuntime(builder.build()?))
    }

    fn is_here() -> bool {
        VIRTUAL.get()
    }

    /// Runs the future to its end, with a clock that is so far ahead of the system's when it begins. Panics of the future
    /// are told as such.
    pub(crate) fn run<F: Future>(
        &self,
        ahead: Duration,
        future: F,
    ) -> Result<F::Output, Box<dyn std::any::Any + Send>> {
        VIRTUAL.set(true);
        let run = || {
            self.0.block_on(async {
                tokio::time::advance(ahead).await;
                future.await
            })
        };
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        VIRTUAL.set(false);
        ran
    }

    /// Drops all that was spawned on it.
    pub(crate) fn end(self) {
        self.0.shutdown_timeout(Self::THREADS_END);
    }
}

/// Virtual time since a moment of it.
#[cfg(feature = "testing")]
pub(crate) struct Elapsed(tokio::time::Instant);

#[cfg(feature = "testing")]
impl Elapsed {
    pub(crate) fn since_now() -> Elapsed {
        Elapsed(tokio::time::Instant::now())
    }

    pub(crate) fn time(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Waits in real time; dropped, it is called off.
#[cfg(feature = "testing")]
pub(crate) struct Watchdog {
    _held: crossbeam_channel::Sender<()>,
}

#[cfg(feature = "testing")]
impl Watchdog {
    /// Calls `wake` after so long of real time, from another thread.
    ///
    /// # Errors
    /// The system's refusal of a thread.
    pub(crate) fn new(
        patience: Duration,
        wake: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Watchdog> {
        let (_held, receiver) = crossbeam_channel::bounded(0);
        thread("outlive-watchdog", move || {
            let waited = receiver.recv_timeout(patience);
            if waited == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
                wake();
            }
        })?;
        Ok(Watchdog { _held })
    }
}

/// The one case that a crash test is to run, if the environment of the program says so.
#[cfg(feature = "testing")]
pub(crate) fn crash_case() -> Option<String> {
    let case = std::env::var("OUTLIVE_CRASH_CASE").ok();
    case.filter(|case| !case.is_empty())
}

/// The name of this thread; that of one that runs a test is the test's.
#[cfg(feature = "testing")]
pub(crate) fn thread_name() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
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
