//! A wall clock that a test moves: ahead, back, over a suspend.

#[cfg(feature = "testing")]
use crate::builder::Builder;
#[cfg(feature = "testing")]
use crate::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
#[cfg(feature = "testing")]
use std::time::Duration;

/// A wall clock that jumps when a test says so, and else goes with the clock of the runtime, which may be paused.
///
/// Given to [`Builder::wall_clock`](crate::Builder::wall_clock), it is what the engine reads as the time of day. A jump
/// is what a correction of the system's clock looks like, and a jump ahead what a machine finds that was suspended: its
/// wall clock went on, its monotonic clock did not. Clones are the same clock. One clock may serve several engines, one
/// after the other as well, so that a test can show what a jump between two lives of a store does.
///
/// ```
/// use outlive::testing::WallClock;
/// use outlive::{Ctx, Engine, HandlerError, TaskDef};
/// use std::time::Duration;
/// const WAKE: TaskDef<(), String> = TaskDef::new("wake");
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wall = WallClock::new();
/// let engine = Engine::in_memory()
///     .wall_clock(&wall)
///     .task(WAKE, |_: Ctx, ()| async { Ok::<_, HandlerError>("good morning".to_owned()) })
///     .open()
///     .await?;
/// let night = Duration::from_secs(8 * 3600);
/// let run = engine.start(WAKE, "alarm", &()).start_at(wall.now() + night).await?;
/// wall.jump_ahead(night); // The machine slept.
/// assert_eq!(run.result().await?, "good morning"); // At most a second later by the runtime's clock.
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    ahead_us: Arc<AtomicI64>,
}

#[cfg(feature = "testing")]
impl Builder {
    /// The wall clock of this engine, for tests of what the time of day decides: instead of the system's, one that jumps
    /// when the test says so. It goes with the system's clock, and with the runtime's, which may be paused, where the engine
    /// runs [inline](Builder::inline).
    pub fn wall_clock(mut self, clock: &WallClock) -> Builder {
        self.wall_clock = clock.clone();
        self
    }
}

impl WallClock {
    /// A clock that shows what the system's did when the program began, and goes with the runtime's from there on.
    #[must_use]
    pub fn new() -> WallClock {
        WallClock::default()
    }

    /// What it shows when one that never jumped shows this.
    pub(crate) fn shows(&self, unmoved_us: u64) -> u64 {
        unmoved_us.saturating_add_signed(self.ahead_us.load(Ordering::Relaxed))
    }
}

#[cfg(feature = "testing")]
impl WallClock {
    /// The clock shows so much more from now on: it was set forward, or the machine was suspended.
    pub fn jump_ahead(&self, by: Duration) {
        self.jump(env::micros(by).min(i64::MAX as u64).cast_signed());
    }

    /// The clock shows so much less from now on: it was set back. It shows no time before 1970.
    pub fn jump_back(&self, by: Duration) {
        self.jump(-env::micros(by).min(i64::MAX as u64).cast_signed());
    }

    fn jump(&self, by_us: i64) {
        let moved = |ahead: i64| Some(ahead.saturating_add(by_us));
        let _ = (self.ahead_us).fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }

    /// What the clock shows.
    #[must_use]
    #[allow(clippy::disallowed_types)] // The caller's own word for a moment.
    pub fn now(&self) -> std::time::SystemTime {
        let shown = self.shows(env::runtime_wall());
        std::time::SystemTime::UNIX_EPOCH + Duration::from_micros(shown)
    }
}
