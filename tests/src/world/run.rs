//! Plays a world: one engine after the other, until everything has come to its end.

use super::faults::{FaultStore, Plan};
use super::life::{End, Play, Plot, live};
use super::plan::{Happening, Planner, Settings};
use super::scene::{Counts, World};
use super::summary::summary;
use outlive::testing::{Failpoint, arm};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// More lives than any world needs.
const LIVES_MAX: u32 = 80;

/// What a world came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Counts.
    pub counts: Counts,
    /// Of all that happened, in order: the same seed has the same.
    pub digest: u64,
    /// How much that was.
    pub lines: u64,
    /// The first thing that was wrong.
    pub broken: Option<String>,
    /// All that happened, if it was to be kept.
    pub text: String,
}

/// A death that is written down: at this point of the engine's code, when it comes by for the how manieth time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Where.
    pub point: Failpoint,
    /// When, from 1.
    pub nth: u64,
}

/// What a written world came to.
#[derive(Debug, Clone)]
pub struct Written {
    /// As of every world.
    pub report: Report,
    /// What must be the same whoever dies meanwhile.
    pub summary: Vec<String>,
    /// How often the engines came by each point.
    pub reached: BTreeMap<Failpoint, u64>,
    /// How many of the deaths took place.
    pub deaths: usize,
}

/// Plays the world of a seed; whether its story is kept as text.
pub fn play(seed: u64, kept: bool) -> Report {
    let world = World::new(Plan::new(seed), kept);
    let settings = Settings::of(seed);
    let plot = Plot::ByChance(Planner::new(seed, &settings));
    all_lives(
        &world,
        &mut Play::new(seed, settings, plot),
        &Points::default(),
    );
    report(&world, seed)
}

/// Plays what is written down, through these deaths, one after the other.
pub fn play_written(happenings: &[Happening], deaths: &[Death], kept: bool) -> Written {
    let world = World::new(Plan::none(), kept);
    let settings = Settings::written(happenings.len() as u64);
    let points = Points::new(deaths);
    let mut play = Play::new(0, settings, Plot::Written(happenings.to_vec()));
    all_lives(&world, &mut play, &points);
    let deaths = deaths.len() - points.0.lock().deaths.len();
    let reached = points.0.lock().reached.clone();
    Written {
        report: report(&world, 0),
        summary: summary(&world, &play.given()),
        reached,
        deaths,
    }
}

fn report(world: &World, seed: u64) -> Report {
    let mut state = world.state.lock();
    Report {
        seed,
        counts: state.counts,
        digest: state.trace.digest(),
        lines: state.trace.lines(),
        broken: state.broken.clone(),
        text: state.trace.take_text(),
    }
}

/// The points that engines come by, and the deaths that wait there.
#[derive(Debug, Clone, Default)]
struct Points(Arc<Mutex<Passed>>);

#[derive(Debug, Default)]
struct Passed {
    reached: BTreeMap<Failpoint, u64>,
    /// How often the next death's point was passed since the one before.
    since: u64,
    /// Those to come, the next one last.
    deaths: Vec<Death>,
}

impl Points {
    fn new(deaths: &[Death]) -> Points {
        Points(Arc::new(Mutex::new(Passed {
            deaths: deaths.iter().rev().copied().collect(),
            ..Passed::default()
        })))
    }

    /// An engine comes by. True when it dies here.
    fn pass(&self, point: Failpoint) -> bool {
        let mut passed = self.0.lock();
        *passed.reached.entry(point).or_default() += 1;
        let Some(death) = passed.deaths.last().copied() else {
            return false;
        };
        if death.point != point {
            return false;
        }
        passed.since += 1;
        if passed.since < death.nth {
            return false;
        }
        passed.since = 0;
        passed.deaths.pop();
        true
    }
}

/// One life after the other.
fn all_lives(world: &Arc<World>, play: &mut Play, points: &Points) {
    let mut shows = None;
    for life in 0..LIVES_MAX {
        world.state.lock().trace.line(format_args!("life {life}"));
        let (end, shown) = one_life(world, play, points, shows);
        shows = Some(shown);
        world.state.lock().witness.begin_anew();
        if end == End::Over {
            return;
        }
    }
    let mut state = world.state.lock();
    state.wrong("its engines come to no end".to_owned());
}

/// One life, and what the wall clock shows at its end. Everything that was spawned in it goes with its runtime.
fn one_life(
    world: &Arc<World>,
    play: &mut Play,
    points: &Points,
    since: Option<Duration>,
) -> (End, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // Between any two tasks it looks whether the life is over: then nobody else goes on.
        .event_interval(1)
        .build()
        .expect("a runtime of this thread alone");
    let store = FaultStore::new(world);
    let (dies, passed) = (Arc::clone(&store), points.clone());
    let scene = Arc::clone(world);
    let armed = arm(move |point| {
        if passed.pass(point) {
            let mut state = scene.state.lock();
            state.counts.crashes += 1;
            state.trace.line(format_args!("dies at {point:?}"));
            drop(state);
            dies.kill();
            // Nothing of what was polled goes on, and no hook prints it.
            resume_unwind(Box::new("the process is dead"));
        }
    });
    let lived = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            world.set_wall(since);
            tokio::select! {
                biased;
                () = store.over.notified() => End::Next,
                end = live(world, play, &store) => end,
            }
        })
    }));
    let shown = runtime.block_on(async { world.shows() });
    drop(armed);
    drop(runtime);
    // What unwinds to here died in the middle of an open, or of a call that nobody spawned.
    let end = lived.unwrap_or_else(|panic| {
        if store.is_dead() {
            End::Next
        } else {
            resume_unwind(panic)
        }
    });
    (end, shown)
}
