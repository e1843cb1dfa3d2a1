//! A wall clock that moves at random under engines that come and go: nobody wakes early, nobody late, nobody twice.
//!
//! The reference knows, of each task, only what was promised to its caller.

use super::{LATE_MAX, SECOND, WAKE, Woken, World, close, crash, settle};
use outlive::Engine;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Readings are cut to whole microseconds, each by itself.
const GRAIN: Duration = Duration::from_micros(4);
/// A jump is by a multiple of this: less than a second is none.
const STEP: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Op {
    StartIn { seconds: u64 },
    StartAt { seconds: u64 },
    Pass { seconds: u64 },
    Jump { steps: i64 },
    Crash { then: i64 },
    Close { then: i64 },
}

/// By how many steps a clock jumps: seconds, hours, years, either way.
fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => Just(0i64),
        4 => -12i64..12,
        2 => -3_000i64..3_000,
        1 => prop_oneof![Just(3_155_760i64), Just(-3_155_760i64)],
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0u64..400).prop_map(|seconds| Op::StartIn { seconds }),
        4 => (0u64..400).prop_map(|seconds| Op::StartAt { seconds }),
        4 => (0u64..200).prop_map(|seconds| Op::Pass { seconds }),
        4 => steps().prop_map(|steps| Op::Jump { steps }),
        1 => steps().prop_map(|then| Op::Crash { then }),
        1 => steps().prop_map(|then| Op::Close { then }),
    ]
}

/// What its caller was promised.
#[derive(Debug, Clone, Copy)]
enum Promise {
    /// When the wall clock shows this.
    At(SystemTime),
    /// At this instant while its process lives, else when the wall clock comes to where it would have been then.
    In(Instant, SystemTime),
}

struct Pair {
    world: World,
    engine: Option<Engine>,
    /// When the clock last jumped, or an engine came.
    moved: Instant,
    started: usize,
    /// Those that have not woken.
    open: BTreeMap<String, Promise>,
}

impl Pair {
    async fn new() -> Pair {
        let world = World::new();
        Pair {
            engine: Some(world.open().await),
            world,
            moved: Instant::now(),
            started: 0,
            open: BTreeMap::new(),
        }
    }

    async fn step(&mut self, op: &Op) {
        match *op {
            Op::StartIn { seconds } => {
                let wait = Duration::from_secs(seconds);
                let promise = Promise::In(Instant::now() + wait, self.world.wall.now() + wait);
                let id = self.promised(promise);
                let start = self.engine().start(WAKE, id, &0).start_in(wait);
                start.await.expect("it starts");
            }
            Op::StartAt { seconds } => {
                let at = self.world.wall.now() + Duration::from_secs(seconds);
                let id = self.promised(Promise::At(at));
                let start = self.engine().start(WAKE, id, &0).start_at(at);
                start.await.expect("it starts");
            }
            // Second by second, so that who is late is found although it wakes in the end.
            Op::Pass { seconds } => {
                for _ in 0..seconds {
                    tokio::time::sleep(SECOND).await;
                    self.look().await;
                }
            }
            Op::Jump { steps } => self.jump(steps),
            Op::Crash { then } => {
                crash(self.engine.take().expect("one runs")).await;
                self.reopen(then).await;
            }
            Op::Close { then } => {
                close(self.engine.take().expect("one runs")).await;
                self.reopen(then).await;
            }
        }
        self.look().await;
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("one runs")
    }

    fn promised(&mut self, promise: Promise) -> String {
        let id = format!("t{}", self.started);
        self.started += 1;
        self.open.insert(id.clone(), promise);
        id
    }

    fn jump(&mut self, steps: i64) {
        self.moved = Instant::now();
        let by = STEP * u32::try_from(steps.unsigned_abs()).expect("some years");
        match steps < 0 {
            true => self.world.wall.jump_back(by),
            false => self.world.wall.jump_ahead(by),
        }
    }

    async fn reopen(&mut self, then: i64) {
        self.jump(then);
        // Some time goes by while nobody runs.
        tokio::time::sleep(3 * SECOND).await;
        self.engine = Some(self.world.open().await);
        let now = self.world.wall.now();
        self.moved = Instant::now();
        for promise in self.open.values_mut() {
            if let Promise::In(at, wall) = promise {
                *at = self.moved + wall.duration_since(now).unwrap_or_default();
            }
        }
    }

    /// Compares who has woken, and who has not, with what was promised.
    async fn look(&mut self) {
        settle().await;
        let (now, shown) = (Instant::now(), self.world.wall.now());
        for woken in self.world.woken.take() {
            self.woke(&woken);
        }
        for (id, promise) in &self.open {
            let due = match promise {
                Promise::At(at) => match shown.duration_since(*at) {
                    // Since when it has been shown without a break, under an engine that runs.
                    Ok(since) => now
                        .checked_sub(since)
                        .map_or(self.moved, |at| at.max(self.moved)),
                    Err(_) => continue,
                },
                Promise::In(at, _) => *at,
            };
            let late = now.saturating_duration_since(due);
            assert!(late <= LATE_MAX + GRAIN, "{id} is {late:?} late");
        }
    }

    fn woke(&mut self, woken: &Woken) {
        let promise = self.open.remove(&woken.id);
        let promise = promise.unwrap_or_else(|| panic!("{} woke twice", woken.id));
        let early = match promise {
            Promise::At(at) => at.duration_since(woken.wall).unwrap_or_default(),
            Promise::In(at, _) => at.saturating_duration_since(woken.at + GRAIN),
        };
        assert!(early.is_zero(), "{} is {early:?} early", woken.id);
    }

    /// Whoever still waits wakes, and each has been entered once.
    async fn finish(mut self) {
        let wall = self.world.wall.now();
        let waits = self.open.values().map(|promise| {
            let (Promise::At(at) | Promise::In(_, at)) = promise;
            at.duration_since(wall).unwrap_or_default()
        });
        // Some wait for years: a life that begins when all of it is over makes up for everything.
        let longest = waits.max().unwrap_or_default();
        let steps = longest.as_secs() / STEP.as_secs() + 1;
        close(self.engine.take().expect("one runs")).await;
        self.reopen(i64::try_from(steps).expect("some years")).await;
        self.look().await;
        tokio::time::sleep(LATE_MAX).await;
        self.look().await;
        assert!(self.open.is_empty(), "never woke: {:?}", self.open);
        tokio::time::sleep(400 * SECOND).await;
        assert_eq!(self.world.woken.take(), [], "never twice");
    }
}

async fn play(ops: &[Op]) {
    let mut pair = Pair::new().await;
    for op in ops {
        pair.step(op).await;
    }
    pair.finish().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn nobody_wakes_early_or_late_or_twice_however_the_clock_moves(
        ops in prop::collection::vec(op(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(play(&ops));
    }
}
