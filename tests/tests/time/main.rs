//! Time under a wall clock that jumps: what is due when, and never twice.

mod durations;
mod moments;
mod order;
mod random;
mod restarts;
mod retention;
mod sleeps;
mod threads;

use outlive::testing::WallClock;
use outlive::{Builder, Ctx, Engine, HandlerError, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::gate::Notes;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Fails so often, each time asking for a pause of [`PAUSE`], and ends well.
pub(crate) const WAKE: TaskDef<u32, u32> = TaskDef::new("wake");
/// Runs until it is told that its time, [`LIMIT`], is up.
pub(crate) const STAY: TaskDef<(), u32> = TaskDef::new("stay").timeout(LIMIT);

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3_600);
pub(crate) const TEN_YEARS: Duration = Duration::from_secs(3_652 * 24 * 3_600);
pub(crate) const PAUSE: Duration = Duration::from_secs(600);
pub(crate) const LIMIT: Duration = Duration::from_secs(900);
/// From a deadline to the entry of a handler, at the most.
pub(crate) const LATE_MAX: Duration = SECOND;

/// What a handler saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Woken {
    pub(crate) id: String,
    pub(crate) wall: SystemTime,
    pub(crate) at: Instant,
}

/// A store and a wall clock that outlive the engines on them.
pub(crate) struct World {
    pub(crate) store: Arc<MemStore>,
    pub(crate) wall: WallClock,
    pub(crate) woken: Notes<Woken>,
    /// Since when it has been told, of those that stay.
    pub(crate) told: Notes<Woken>,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            store: Arc::default(),
            wall: WallClock::new(),
            woken: Notes::default(),
            told: Notes::default(),
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        let store = Arc::<MemStore>::clone(&self.store);
        self.with(Engine::on_store(store).inline())
    }

    /// Gives an engine this clock and these handlers.
    pub(crate) fn with(&self, builder: Builder) -> Builder {
        let builder = builder.wall_clock(&self.wall);
        let (woken, wall) = (self.woken.clone(), self.wall.clone());
        let note = move |ctx: &Ctx| Woken {
            id: ctx.id().to_string(),
            wall: wall.now(),
            at: Instant::now(),
        };
        let noted = note.clone();
        let wake = move |ctx: Ctx, failures: u32| {
            woken.add(noted(&ctx));
            async move {
                if ctx.attempt() <= failures {
                    return Err(HandlerError::from("not yet").retry_after(PAUSE));
                }
                Ok(failures)
            }
        };
        let told = self.told.clone();
        let stay = move |ctx: Ctx, ()| {
            let (told, note) = (told.clone(), note.clone());
            async move {
                ctx.cancelled().await;
                told.add(note(&ctx));
                Ok::<_, HandlerError>(0)
            }
        };
        builder.task(WAKE, wake).task(STAY, stay)
    }

    pub(crate) async fn open(&self) -> Engine {
        self.builder().open().await.expect("it opens")
    }

    /// Lets so much time go by, and takes who woke meanwhile.
    pub(crate) async fn pass(&self, time: Duration) -> Vec<Woken> {
        tokio::time::sleep(time).await;
        self.woken.take()
    }

    /// The only one that woke within the next second does so now, and not before the wall clock shows `due`.
    #[track_caller]
    pub(crate) fn wakes(&self, id: &str, woken: &[Woken], due: SystemTime) {
        let [one] = woken else {
            panic!("{id} should have woken, and nobody else: {woken:?}");
        };
        assert_eq!(one.id, id);
        assert!(one.wall >= due, "{:?} early", due.duration_since(one.wall));
    }
}

/// In order, and gone from memory when this returns.
pub(crate) async fn close(engine: Engine) {
    engine.shutdown(Duration::ZERO).await;
}

/// As a crash would have it as far as time goes: nothing is told, nothing is waited for.
pub(crate) async fn crash(engine: Engine) {
    drop(engine);
    settle().await;
}

/// Lets everything run that can without time.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// It is so long after `since`, and no more than a second longer.
#[track_caller]
pub(crate) fn assert_after(at: Instant, since: Instant, wait: Duration) {
    let took = at - since;
    // Readings are cut to whole microseconds.
    let early = wait.saturating_sub(took);
    assert!(early <= Duration::from_micros(2), "{early:?} early");
    let late = took.saturating_sub(wait);
    assert!(late <= LATE_MAX, "{late:?} late");
}
