//! One run of a crash test: one world, and as many engines in turn as die in it.

use super::case::Crash;
use super::crash_test::CrashTest;
use super::effects;
use super::problem::Problem;
use super::store::{COMMITS_MAX, CrashStore, Stop};
use crate::builder::Builder;
use crate::engine::Engine;
use crate::env::{self, Elapsed, VirtualRuntime, Watchdog};
use crate::machine::Status;
use outlive_storage::MemStore;
use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Most unfinished tasks that a run without an end names.
const WAITS_MAX: usize = 20;

/// A run that is over.
pub(super) struct Played<W, T> {
    pub(super) world: W,
    pub(super) outcome: Result<T, Problem>,
    /// The commits of each engine, in words.
    pub(super) lives: Vec<Vec<String>>,
}

/// How one engine came to its end.
enum End<T> {
    Killed,
    Ended(T),
    Broken(Problem),
}

/// Plays the script to its end, through these deaths.
pub(super) fn play<W, T>(test: &CrashTest<'_, W, T>, crashes: &[Crash]) -> Played<W, T> {
    let truth = Arc::new(MemStore::new());
    let mut world = (test.world)();
    let (mut gone, mut lives) = (Duration::ZERO, Vec::new());
    let outcome = loop {
        let crash = crashes.get(lives.len()).copied();
        let store = CrashStore::new(&truth, crash);
        let (end, took) = live(test, &world, &store, gone);
        let commits = store.commits();
        gone += took;
        lives.push(commits);
        if cfg!(planted = "kit_world_lost_at_crash") {
            world = (test.world)();
        }
        match (end, crash) {
            (End::Killed, _) => {}
            (End::Ended(_), Some(crash)) if !cfg!(planted = "kit_unreached_case_passes") => {
                let commits = lives.last().map_or(0, Vec::len);
                break Err(Problem::NotReached { crash, commits });
            }
            (End::Ended(result), _) => break Ok(result),
            (End::Broken(problem), _) => break Err(problem),
        }
    };
    Played {
        world,
        outcome,
        lives,
    }
}

/// One engine from its open to its death or to the end of the script, and how long that took. The engines before it took
/// the time that is gone.
fn live<W, T>(
    test: &CrashTest<'_, W, T>,
    world: &W,
    store: &Arc<CrashStore>,
    gone: Duration,
) -> (End<T>, Duration) {
    let runtime = match VirtualRuntime::new() {
        Ok(runtime) => runtime,
        Err(error) => return (End::Broken(Problem::System(error.to_string())), gone),
    };
    effects::live();
    let took = Cell::new(Duration::ZERO);
    let life = async {
        let began = Elapsed::since_now();
        let end = watched(test, world, store, gone).await;
        took.set(began.time());
        end
    };
    let ahead = match cfg!(planted = "kit_clock_begins_anew") {
        false => gone,
        true => Duration::ZERO,
    };
    let lived = runtime.run(ahead, life);
    // A killed process runs no destructor: what is dropped now acts on nothing.
    effects::die();
    runtime.end();
    effects::live();
    let panicked = |panic: Box<dyn Any + Send>| End::Broken(Problem::Panicked(message(&*panic)));
    (lived.unwrap_or_else(panicked), took.get())
}

/// The script, unless the engine dies before it ends, or nothing ever does.
async fn watched<W, T>(
    test: &CrashTest<'_, W, T>,
    world: &W,
    store: &Arc<CrashStore>,
    gone: Duration,
) -> End<T> {
    let busy = Arc::new(Notify::new());
    let wake = Arc::clone(&busy);
    let patience = test.patience;
    let _watchdog = match Watchdog::new(patience, move || wake.notify_one()) {
        Ok(watchdog) => watchdog,
        Err(error) => return End::Broken(Problem::System(error.to_string())),
    };
    let stopped = async {
        store.stopped.notified().await;
        if cfg!(planted = "kit_script_hears_of_its_death") {
            tokio::task::yield_now().await;
        }
    };
    // In this order: a script whose engine is dead hears nothing more.
    tokio::select! {
        biased;
        () = stopped => match store.why() {
            Some(Stop::TooManyCommits) => End::Broken(Problem::TooManyCommits { max: COMMITS_MAX }),
            Some(Stop::Killed) | None => End::Killed,
        },
        () = busy.notified() => End::Broken(Problem::Busy { patience }),
        end = script(test, world, store, gone) => end,
    }
}

async fn script<W, T>(
    test: &CrashTest<'_, W, T>,
    world: &W,
    store: &Arc<CrashStore>,
    gone: Duration,
) -> End<T> {
    // Kills are the test's own doing; a guard that is wanted is turned on by the test.
    let builder = Builder::store(Arc::<CrashStore>::clone(store)).poison_guard(false);
    let builder = (test.engine)(builder.inline(), world);
    let engine = match builder.open().await {
        Ok(engine) => engine,
        Err(error) => return End::Broken(Problem::Open(error.to_string())),
    };
    let deadline = test.deadline;
    let most = match cfg!(planted = "kit_deadline_is_late") {
        true => deadline * 2,
        false => deadline,
    };
    let left = most.saturating_sub(gone);
    tokio::select! {
        biased;
        result = test.script.play(&engine, world) => match result {
            Ok(result) => End::Ended(result),
            Err(error) => End::Broken(Problem::Script(error.to_string())),
        },
        () = env::sleep(left) => {
            let waits = waits(&engine).await;
            End::Broken(Problem::Endless { deadline, waits })
        }
    }
}

/// What each unfinished task waits for.
async fn waits(engine: &Engine) -> Vec<String> {
    let mut waits = Vec::new();
    let Ok(page) = engine.list_all().await else {
        return waits;
    };
    for task in page.tasks {
        if task.status == Status::Completed || waits.len() == WAITS_MAX {
            continue;
        }
        if let Ok(Some(explanation)) = engine.explain(&task.id).await {
            waits.push(explanation.to_string());
        }
    }
    waits
}

/// What a panic said.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a text".to_owned())
}
