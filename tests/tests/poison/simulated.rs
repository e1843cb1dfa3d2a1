//! Processes that die in a paused clock: what a store holds that fails from one moment on is what a dead process leaves.

use outlive::{Ctx, Engine, HandlerError, Snapshot, Status, TaskDef, WaitReason};
use outlive_storage::MemStore;
use outlive_tests::faulty::Faulty;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

pub(crate) const TURN: TaskDef<Does, u32> = TaskDef::new("turn");
/// Longer than any guard watches anybody.
pub(crate) const LONG: Duration = Duration::from_secs(6 * 3600);

/// What a handler does, each time it is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Does {
    RunsForEver,
    EndsAfterMs(u64),
    /// Until it is cured; then it ends.
    KillsAfterMs(u64),
}

/// Chance that repeats from its seed: xorshift64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Dice {
        println!("seed {seed}");
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.below(1);
        dice
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub(crate) fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = (to - from).as_micros() as u64;
        from + Duration::from_micros(self.below(span + 1))
    }
}

/// What outlives the processes.
pub(crate) struct World {
    store: Arc<MemStore>,
    cured: Arc<AtomicBool>,
    pub(crate) max_running: usize,
    pub(crate) guard: bool,
    pub(crate) damaged_lives: bool,
    /// From which commit on a process is dead; 0: never. Whether that one is in the store all the same.
    pub(crate) broken_from: (u64, bool),
    pub(crate) deaths: u32,
}

/// One process.
pub(crate) struct Life {
    pub(crate) engine: Engine,
    store: Arc<Faulty>,
    opened: Instant,
    killed: Arc<Notify>,
    /// Who was entered in it, and how long after its birth.
    entered: Arc<Mutex<Vec<(String, Duration)>>>,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            store: Arc::default(),
            cured: Arc::default(),
            max_running: outlive::MAX_RUNNING,
            guard: true,
            damaged_lives: false,
            broken_from: (0, false),
            deaths: 0,
        }
    }

    /// From now on what killed its process ends.
    pub(crate) fn cure(&self) {
        self.cured.store(true, Ordering::SeqCst);
    }

    /// A program without handlers looks at the store, and stops in order.
    pub(crate) async fn looked(&self) {
        let engine = Engine::on_store(Faulty::on(&self.store)).inline().open();
        let engine = engine.await.unwrap();
        engine.recovery().await;
        engine.shutdown(Duration::ZERO).await;
    }

    pub(crate) async fn open(&self) -> Life {
        let store = Faulty::on(&self.store);
        let (commit, written) = self.broken_from;
        store.broken_from.store(commit, Ordering::SeqCst);
        store.answer_lost.store(written, Ordering::SeqCst);
        store
            .damage_lives
            .store(self.damaged_lives, Ordering::SeqCst);
        let killed = Arc::new(Notify::new());
        let entered = Arc::new(Mutex::new(Vec::new()));
        let opened = Instant::now();
        let cured = Arc::clone(&self.cured);
        let (kills, enters) = (Arc::clone(&killed), Arc::clone(&entered));
        let handler = move |ctx: Ctx, does: Does| {
            let (kills, cured) = (Arc::clone(&kills), Arc::clone(&cured));
            enters.lock().push((ctx.id().to_string(), opened.elapsed()));
            async move {
                match does {
                    Does::KillsAfterMs(_) if cured.load(Ordering::SeqCst) => {}
                    Does::RunsForEver => pending().await,
                    Does::EndsAfterMs(ms) => sleep(Duration::from_millis(ms)).await,
                    Does::KillsAfterMs(ms) => {
                        sleep(Duration::from_millis(ms)).await;
                        kills.notify_one();
                        pending().await
                    }
                }
                Ok::<_, HandlerError>(7)
            }
        };
        let builder = Engine::on_store(Arc::<Faulty>::clone(&store))
            .inline()
            .max_running(self.max_running)
            .poison_guard(self.guard)
            .task(TURN, handler);
        Life {
            engine: builder.open().await.unwrap(),
            store,
            opened,
            killed,
            entered,
        }
    }

    /// A life that is ended from outside after so long, unless a handler kills it first.
    pub(crate) async fn killed_after(&mut self, time: Duration) {
        let life = self.open().await;
        let _by_itself = life.dies_within(time).await;
        self.dies(life).await;
    }

    pub(crate) async fn dies(&mut self, life: Life) {
        self.deaths += 1;
        life.store.fail_before_commit.store(true, Ordering::SeqCst);
        life.engine.shutdown(Duration::ZERO).await;
    }

    /// Life after life, until one goes on. Refuses to wait for more deaths than `most`.
    pub(crate) async fn until_one_lives(&mut self, most: u32) -> Life {
        loop {
            let life = self.open().await;
            if !life.dies_within(LONG).await {
                return life;
            }
            self.dies(life).await;
            assert!(self.deaths <= most, "{} deaths", self.deaths);
        }
    }
}

impl Life {
    pub(crate) async fn start(&self, tasks: impl IntoIterator<Item = (String, Does)>) {
        for started in self.engine.start_many(TURN, tasks).await {
            started.unwrap();
        }
    }

    /// Whether one of its handlers kills it within this time.
    pub(crate) async fn dies_within(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.killed.notified() => true,
            () = sleep(time) => false,
        }
    }

    /// Lets time pass up to this moment of its life, in which nothing may kill it.
    pub(crate) async fn until(&self, age: Duration) {
        let left = age.saturating_sub(self.opened.elapsed());
        let dies = self.dies_within(left).await;
        assert!(!dies, "it dies at {:?}", self.opened.elapsed());
    }

    pub(crate) async fn stop(self) {
        self.engine.shutdown(Duration::ZERO).await;
    }

    pub(crate) async fn get(&self, id: &str) -> Snapshot {
        self.engine.get(id).await.unwrap().unwrap()
    }

    pub(crate) async fn runs(&self, id: &str) -> bool {
        self.get(id).await.status == Status::InProgress
    }

    pub(crate) async fn is_isolated(&self, id: &str) -> bool {
        let wait = self.get(id).await.wait;
        matches!(wait, Some(WaitReason::Isolated { .. }))
    }

    pub(crate) async fn is_quarantined(&self, id: &str) -> bool {
        let wait = self.get(id).await.wait;
        matches!(wait, Some(WaitReason::Quarantined { .. }))
    }

    /// How often it wrote, also in vain.
    pub(crate) fn commits(&self) -> u64 {
        self.store.commits.load(Ordering::SeqCst)
    }

    /// When the task was entered, after the birth of the process.
    pub(crate) fn entries(&self, id: &str) -> Vec<Duration> {
        let entered = self.entered.lock();
        let of = entered.iter().filter(|(entered, _)| entered == id);
        of.map(|(_, at)| *at).collect()
    }
}

/// As many ids.
pub(crate) fn ids(count: u64) -> impl Iterator<Item = String> + Clone {
    (0..count).map(|n| format!("t{n}"))
}
