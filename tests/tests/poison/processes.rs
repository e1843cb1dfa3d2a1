//! Real processes that a handler ends, each in its own way, and processes that are killed from outside.

use crate::simulated::Dice;
use outlive::{Ctx, Engine, HandlerError, TaskDef, WaitReason};
use outlive_tests::process::{self, Other};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

const HOLD: TaskDef<u32, u32> = TaskDef::new("hold");
const POISON: TaskDef<(), ()> = TaskDef::new("poison");
const INNOCENTS: u32 = 12;
/// Instead of the guard's five seconds: far longer than a handler below takes to end its process.
const WATCH: Duration = Duration::from_millis(300);
/// A process that has not settled by then hangs; it ends, and counts as one more death.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The promise for one poisonous turn among thirteen: 5 + 2·log2(13).
const DEATHS_MAX: u32 = 12;

/// How a handler ends its process; the name of the file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Poison {
    Aborts,
    Overflows,
    Exits,
    #[cfg(target_os = "linux")]
    Exhausts,
    None,
}

impl Poison {
    const ALL: &[(Poison, &str)] = &[
        (Poison::Aborts, "aborts"),
        (Poison::Overflows, "overflows"),
        (Poison::Exits, "exits"),
        #[cfg(target_os = "linux")]
        (Poison::Exhausts, "exhausts"),
        (Poison::None, "none"),
    ];

    fn of(path: &Path) -> Poison {
        let named = Poison::ALL.iter().find(|(_, name)| path.ends_with(name));
        named.expect("a poison by this name").0
    }

    fn path(self, directory: &Path) -> PathBuf {
        let named = Poison::ALL.iter().find(|(poison, _)| *poison == self);
        directory.join(named.expect("each has a name").1)
    }

    fn acts(self) {
        match self {
            Poison::Aborts => std::process::abort(),
            Poison::Overflows => {
                overflow(0);
            }
            Poison::Exits => std::process::exit(0),
            #[cfg(target_os = "linux")]
            Poison::Exhausts => exhaust(),
            Poison::None => {}
        }
    }
}

/// Takes memory until there is none: more than so much the process may not have.
#[cfg(target_os = "linux")]
fn exhaust() {
    const ALL: u64 = 4 << 30;
    const PART: usize = 64 << 20;
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit {
        current: Some(ALL),
        maximum: Some(ALL),
    };
    setrlimit(Resource::As, limit).expect("a limit");
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(black_box(Vec::with_capacity(PART)));
    }
}

fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 512]);
    if black_box(true) {
        return overflow(depth + 1) + frame[1];
    }
    depth
}

/// What the handlers of a process wait for.
#[derive(Clone)]
struct Gates {
    /// The innocents hold until this opens.
    ends: watch::Sender<bool>,
    /// Nothing ends the process before everybody is there.
    complete: watch::Sender<bool>,
}

impl Gates {
    fn closed() -> Gates {
        Gates {
            ends: watch::Sender::new(false),
            complete: watch::Sender::new(false),
        }
    }
}

async fn opens(gate: &watch::Sender<bool>) {
    let waited = gate.subscribe().wait_for(|open| *open).await.map(drop);
    waited.expect("the gate is there");
}

/// Handlers that hold until they are let go, and one that ends its process.
async fn open(path: &Path, gates: &Gates) -> Engine {
    let poison = Poison::of(path);
    let (ends, complete) = (gates.ends.clone(), gates.complete.clone());
    let hold = move |_: Ctx, n| {
        let ends = ends.clone();
        async move {
            opens(&ends).await;
            Ok::<_, HandlerError>(n)
        }
    };
    let act = move |_: Ctx, ()| {
        let complete = complete.clone();
        async move {
            opens(&complete).await;
            poison.acts();
            Ok::<_, HandlerError>(())
        }
    };
    let builder = Engine::builder(path.with_extension("redb"))
        .poison_guard_floor(WATCH)
        .task(HOLD, hold)
        .task(POISON, act);
    builder.open().await.unwrap()
}

/// Starts what is not there yet, the one that ends the process among the others.
async fn start(engine: &Engine, poison: Poison, gates: &Gates) {
    for n in 0..INNOCENTS {
        if poison != Poison::None && n == INNOCENTS / 3 && !exists(engine, "poison").await {
            engine.start(POISON, "poison", &()).await.unwrap();
        }
        let id = format!("t{n}");
        if !exists(engine, &id).await {
            engine.start(HOLD, id, &n).await.unwrap();
        }
    }
    gates.complete.send_replace(true);
}

async fn exists(engine: &Engine, id: &str) -> bool {
    engine.get(id).await.unwrap().is_some()
}

/// Waits until what is poisonous is held; without poison, until the process is let go.
async fn settles(engine: &Engine, poison: Poison) {
    if poison == Poison::None {
        assert!(process::wait_for_go());
        return;
    }
    while !is_quarantined(engine, "poison").await {
        tokio::time::sleep(POLL).await;
    }
}

async fn is_quarantined(engine: &Engine, id: &str) -> bool {
    let snapshot = engine.get(id).await.unwrap().unwrap();
    matches!(snapshot.wait, Some(WaitReason::Quarantined { .. }))
}

/// Requires that every innocent ends as if nothing had happened.
async fn all_end(engine: &Engine) {
    for n in 0..INNOCENTS {
        let id = format!("t{n}");
        assert!(!is_quarantined(engine, &id).await, "{id} is innocent");
        let run = engine.attach(HOLD, id).await.unwrap();
        assert_eq!(run.result().await.unwrap(), n);
    }
}

/// Not a test of its own: a process with innocents and perhaps one that ends it. It says when all innocents have ended,
/// which they may once what is poisonous is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let poison = Poison::of(&path);
    let gates = Gates::closed();
    let engine = open(&path, &gates).await;
    start(&engine, poison, &gates).await;
    let settled = tokio::time::timeout(PATIENCE, async {
        settles(&engine, poison).await;
        gates.ends.send_replace(true);
        all_end(&engine).await;
    });
    settled.await.expect("it settles");
    engine.shutdown(Duration::ZERO).await;
    process::say("ended");
    process::wait_for_end();
}

/// Lives until one settles. How many died before.
fn deaths_until_settled(path: &Path) -> u32 {
    for deaths in 0..=DEATHS_MAX {
        let mut other = Other::test("processes::child", path);
        if other.word().as_deref() == Some("ended") {
            other.end();
            return deaths;
        }
        let _by_its_own_hand = other.died();
    }
    panic!("more than {DEATHS_MAX} deaths");
}

fn is_found(poison: Poison) {
    let directory = tempfile::tempdir().unwrap();
    let deaths = deaths_until_settled(&poison.path(directory.path()));
    println!("{poison:?} among {INNOCENTS}: {deaths} deaths");
    assert!(deaths > 0, "it was meant to end its process");
}

#[test]
fn a_handler_that_aborts_is_found_and_the_innocents_end() {
    is_found(Poison::Aborts);
}

#[test]
fn a_handler_that_overflows_its_stack_is_found_and_the_innocents_end() {
    is_found(Poison::Overflows);
}

#[test]
fn a_handler_that_exits_as_if_all_were_well_is_found_and_the_innocents_end() {
    is_found(Poison::Exits);
}

#[cfg(target_os = "linux")]
#[test]
fn a_handler_that_takes_all_memory_is_found_and_the_innocents_end() {
    is_found(Poison::Exhausts);
}

/// `OUTLIVE_POISON_KILLS` says how many (15); `OUTLIVE_SEED` repeats the moments of an earlier run.
#[test]
fn processes_killed_from_outside_quarantine_nobody() {
    let kills = std::env::var("OUTLIVE_POISON_KILLS").map_or(15, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = Poison::None.path(directory.path());
    let seed = std::env::var("OUTLIVE_SEED").map(|seed| seed.parse().unwrap());
    let mut dice = Dice::seeded(seed.unwrap_or_else(|_| u64::from(std::process::id())));
    for _ in 0..kills {
        let other = Other::test("processes::child", &path);
        let (from, to) = (Duration::from_millis(20), Duration::from_millis(220));
        std::thread::sleep(dice.between(from, to));
        other.kill();
    }
    let mut last = Other::test("processes::child", &path);
    last.go();
    assert_eq!(last.word().as_deref(), Some("ended"));
    last.end();
    println!("{kills} kills from outside: nobody is quarantined");
}

/// Not a test of its own: a process that drops its engine while work is under way, and is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_drops_its_engine() {
    let Some(path) = process::path() else {
        return;
    };
    let gates = Gates::closed();
    let engine = open(&path, &gates).await;
    start(&engine, Poison::None, &gates).await;
    drop(engine);
    std::process::exit(0);
}

/// A program that returned from its main function once had ended before its stop was put down: three runs of it, and what
/// they worked on was suspected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_drops_its_engine_and_ends_has_stopped_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = Poison::None.path(directory.path());
    for _ in 0..4 {
        let other = Other::test("processes::child_that_drops_its_engine", &path);
        assert!(other.died().success());
    }
    let engine = open(&path, &Gates::closed()).await;
    assert_eq!(engine.recovery().await.isolated, 0);
    for n in 0..INNOCENTS {
        let snapshot = engine.get(format!("t{n}")).await.unwrap().unwrap();
        assert_eq!(snapshot.crashes, 0);
    }
}
