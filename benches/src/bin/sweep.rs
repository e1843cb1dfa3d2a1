//! What callers notice of a sweep: the latency of their starts before, during and after one of 100,000 ended tasks.
//!
//! Each round lays down a file of tasks whose time has come, opens an engine on it, and lets callers start and end tasks
//! without a pause. The engine sweeps by itself, beside them. Its log says from when to when; every answer is counted to
//! one side or the other by the moment of its call. So both figures come from one run of one process on one file, and
//! the rounds are interleaved: without, with, without, with.
//!
//! `OUTLIVE_BENCH_TASKS` sets how many tasks are swept, `OUTLIVE_BENCH_DIR` chooses the disk.

use outlive::{Ctx, Engine, EventKind, HandlerError, LogItem, TaskDef, TaskId};
use outlive_benches::numbers::{grouped, median, percentile};
use outlive_benches::{Failed, host, rows};
use outlive_storage::redb::RedbOptions;
use outlive_storage::row::{Etag, Generation, Micros, TaskNumber, Times};
use outlive_storage::{RedbStore, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NO_OP: TaskDef<u32, u32> = TaskDef::new("no-op");
/// Tasks swept in each round.
const TASKS: u64 = 100_000;
const ROUNDS: usize = 3;
const CALLERS: [usize; 2] = [1, 64];
/// What the p99 during a sweep may be, as a multiple of the p99 without one.
const RATIO_MAX: f64 = 2.0;
/// The tasks ended so long ago: their time has come, and the clock is not so far ahead that it may be wrong.
const AGE: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// Commits of the file that is laid down.
const BATCH: u64 = 1024;
/// How long callers go on after the sweep.
const AFTER: Duration = Duration::from_secs(3);
/// The first answers are not counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// A sweep that takes longer has hung.
const SWEEP_MAX: Duration = Duration::from_secs(600);

/// One answered call.
struct Call {
    began_us: u64,
    ms: f64,
}

/// The latencies of one round, in milliseconds.
#[derive(Default)]
struct Round {
    without: Vec<f64>,
    during: Vec<f64>,
    sweep_seconds: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let given = std::env::var("OUTLIVE_BENCH_TASKS").ok();
    let tasks = given.and_then(|text| text.parse().ok()).unwrap_or(TASKS);
    let mut rounds: [Vec<Round>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (rounds, callers) in rounds.iter_mut().zip(CALLERS) {
            let directory = tempfile::tempdir_in(host::directory())?;
            let path = directory.path().join("tasks.redb");
            let last = lay_down(&path, tasks)?;
            rounds.push(one_round(&path, last, callers).await?);
        }
    }
    println!("{}", host::describe("sweep"));
    report(&rounds, tasks);
    Ok(())
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

/// A file of so many ended tasks whose time has come. The one that goes last.
fn lay_down(path: &Path, tasks: u64) -> Result<TaskId, Failed> {
    let store = RedbStore::open(path, RedbOptions::default(), 1, now_us())?;
    store.define(&[NO_OP.name()])?;
    let at = now_us() - u64::try_from(AGE.as_micros())?;
    let times = Times::still(Micros(at));
    let moment = |number| outlive::machine::Now::new(times, Etag(number), Generation(number));
    for first in (1..=tasks).step_by(BATCH as usize) {
        let numbers = first..(first + BATCH).min(tasks + 1);
        let mut starts = Vec::new();
        let mut ends = Vec::new();
        for number in numbers {
            let task = TaskNumber(number);
            let started = rows::decide(task, None, rows::input(number)?, moment(number));
            let started = rows::commit(task, started.map_err(|_| "a start was refused")?);
            let row = rows::row_of(&started).ok_or("a start puts its row")?;
            let ended = rows::decide(task, Some(row), rows::end(row), moment(tasks + number));
            ends.push(rows::commit(task, ended.map_err(|_| "an end was refused")?));
            starts.push(started);
        }
        for batch in [starts, ends] {
            if store.commit(&batch)?.iter().any(Result::is_err) {
                return Err("the store refused a commit".into());
            }
        }
    }
    let last = store.get(TaskNumber(tasks))?;
    Ok(last.ok_or("a row that was put")?.id)
}

async fn one_round(path: &Path, last: TaskId, callers: usize) -> Result<Round, Failed> {
    let handler = |_: Ctx, input| async move { Ok::<_, HandlerError>(input) };
    let engine = Engine::builder(path).task(NO_OP, handler).open().await?;
    engine.recovery().await;
    let began_us = now_us();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..callers)
        .map(|_| tokio::spawn(call(engine.clone(), Arc::clone(&over))))
        .collect();
    let swept = tokio::time::timeout(SWEEP_MAX, swept(&engine, &last)).await?;
    tokio::time::sleep(AFTER).await;
    over.store(true, Ordering::Relaxed);
    let mut calls = Vec::new();
    for caller in callers {
        calls.extend(caller.await??);
    }
    swept?;
    let (first_us, last_us) = span(&engine).await?;
    engine.shutdown(Duration::from_secs(1)).await;
    let warm_us = began_us + u64::try_from(WARM_UP.as_micros())?;
    let mut round = Round {
        sweep_seconds: (last_us - first_us) as f64 / 1e6,
        ..Round::default()
    };
    for call in calls.iter().filter(|call| call.began_us > warm_us) {
        if (first_us..last_us).contains(&call.began_us) {
            round.during.push(call.ms);
        } else {
            round.without.push(call.ms);
        }
    }
    Ok(round)
}

/// Starts and ends tasks until it is over. The latency is that of the start: one durable commit.
async fn call(engine: Engine, over: Arc<AtomicBool>) -> Result<Vec<Call>, Failed> {
    let mut calls = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let (began_us, sent) = (now_us(), std::time::Instant::now());
        let run = engine.start(NO_OP, (), &7).await?;
        let ms = sent.elapsed().as_secs_f64() * 1e3;
        calls.push(Call { began_us, ms });
        run.result().await?;
    }
    Ok(calls)
}

/// Waits until nothing of what was laid down is left. It looks seldom, so as not to be a load of its own.
async fn swept(engine: &Engine, last: &TaskId) -> Result<(), Failed> {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if engine.get(last.as_str()).await?.is_none() {
            return Ok(());
        }
    }
}

/// When the first and when the last task was removed, by the log.
async fn span(engine: &Engine) -> Result<(u64, u64), Failed> {
    let mut events = engine.events(None);
    let mut removed = Vec::new();
    while let Some(item) = events.try_next().await? {
        if let LogItem::Event(event) = item
            && event.what == EventKind::Removed
        {
            removed.push(event.at_us);
        }
    }
    match (removed.first(), removed.last()) {
        (Some(first), Some(last)) => Ok((*first, *last)),
        _ => Err("nothing was swept".into()),
    }
}

fn report(rounds: &[Vec<Round>; 2], tasks: u64) {
    println!(
        "Starts of callers in a closed loop, without and during a sweep of {} tasks; medians of {ROUNDS} rounds, in milliseconds.\n",
        grouped(tasks as f64)
    );
    println!(
        "| callers | p50 without | p50 during | p99 without | p99 during | ratio of p99 | calls without / during | sweep s |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (callers, rounds) in CALLERS.iter().zip(rounds) {
        let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
        let without = |share| of(&|round| percentile(round.without.iter().copied(), share));
        let during = |share| of(&|round| percentile(round.during.iter().copied(), share));
        let ratio = of(&|round| {
            let p99 = |calls: &[f64]| percentile(calls.iter().copied(), 0.99);
            p99(&round.during) / p99(&round.without)
        });
        println!(
            "| {callers} | {:.2} | {:.2} | {:.2} | {:.2} | {ratio:.2} | {} / {} | {:.1} |",
            without(0.5),
            during(0.5),
            without(0.99),
            during(0.99),
            grouped(of(&|round| round.without.len() as f64)),
            grouped(of(&|round| round.during.len() as f64)),
            of(&|round| round.sweep_seconds),
        );
    }
    println!("\nThe p99 during a sweep may be {RATIO_MAX:.0} times that without one.");
}
