//! How many small steps a second tasks record, beside what the store could do.
//!
//! Each task is a loop of steps that do nothing but give a number; each step is durable before the next one begins, so a
//! task has one under way. Every figure is a median of rounds in which engine, raw store and disk take turns.
//!
//! `OUTLIVE_BENCH_SECONDS` shortens each measurement, `OUTLIVE_BENCH_DIR` chooses the disk.

use outlive::{Ctx, Engine, HandlerError, STEPS_MAX, TaskDef};
use outlive_benches::numbers::{grouped, median};
use outlive_benches::{Failed, disk, host, raw};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LOOP: TaskDef<u32, ()> = TaskDef::new("loop");
const ROUNDS: usize = 5;
const TASKS: [usize; 3] = [1, 64, 512];

/// What the handlers of one measurement share.
struct Span {
    begin: Instant,
    end: Instant,
    /// Steps recorded within.
    recorded: AtomicU64,
}

/// One measurement of each kind, taken one after the other.
struct Round {
    per_second: f64,
    raw_per_second: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let measured = host::measurement();
    let mut syncs_ms = Vec::new();
    let mut rounds: [Vec<Round>; 3] = Default::default();
    for round in 0..ROUNDS {
        let directory = tempfile::tempdir_in(host::directory())?;
        syncs_ms.push(median(disk::syncs_ms(directory.path(), measured / 4)?));
        for (rounds, tasks) in rounds.iter_mut().zip(TASKS) {
            let engine_first = round % 2 == 0;
            rounds.push(one_round(directory.path(), tasks, measured, engine_first).await?);
        }
    }
    println!("{}", host::describe("steps"));
    report(&rounds, median(syncs_ms), measured);
    Ok(())
}

/// Which of the two goes first changes from round to round, so that a drift of the machine favours neither.
async fn one_round(
    directory: &Path,
    tasks: usize,
    measured: Duration,
    engine_first: bool,
) -> Result<Round, Failed> {
    let raw_path = directory.join(format!("raw-{tasks}.redb"));
    let raw = || raw::rows_per_second(&raw_path, tasks as u64, measured / 10, measured);
    if engine_first {
        let per_second = steps(directory, tasks, measured).await?;
        return Ok(Round {
            per_second,
            raw_per_second: raw()?,
        });
    }
    Ok(Round {
        raw_per_second: raw()?,
        per_second: steps(directory, tasks, measured).await?,
    })
}

/// Steps a second that so many tasks record together.
async fn steps(directory: &Path, tasks: usize, measured: Duration) -> Result<f64, Failed> {
    let begin = Instant::now() + measured / 10;
    let span = Arc::new(Span {
        begin,
        end: begin + measured,
        recorded: AtomicU64::new(0),
    });
    let shared = Arc::clone(&span);
    let path = directory.join(format!("outlive-{tasks}.redb"));
    let engine = Engine::builder(path)
        .task(LOOP, move |ctx, _| record(ctx, Arc::clone(&shared)))
        .open()
        .await?;
    let starts = (0..tasks as u32).map(|task| (format!("t{task}"), task));
    let runs = engine.start_many(LOOP, starts).await;
    for run in runs {
        run?.result().await?;
    }
    engine.shutdown(Duration::from_secs(1)).await;
    Ok(span.recorded.load(Ordering::Relaxed) as f64 / measured.as_secs_f64())
}

async fn record(ctx: Ctx, span: Arc<Span>) -> Result<(), HandlerError> {
    for number in 0..STEPS_MAX as u64 {
        if Instant::now() >= span.end {
            return Ok(());
        }
        ctx.step(("step", number), || async { Ok::<_, Failed>(number) })
            .await
            .map_err(|error| error.to_string())?;
        if (span.begin..span.end).contains(&Instant::now()) {
            span.recorded.fetch_add(1, Ordering::Relaxed);
        }
    }
    Err(HandlerError::terminal(
        "a turn has no more steps; measure for a shorter time",
    ))
}

fn report(rounds: &[Vec<Round>; 3], sync_ms: f64, measured: Duration) {
    println!(
        "Medians of {ROUNDS} interleaved rounds of {measured:?} each. The disk's append of 4 KiB with fdatasync: p50 {sync_ms:.3} ms.\n"
    );
    println!("| tasks | steps/s | raw redb rows/s | ratio | steps/s of one task |");
    println!("|---:|---:|---:|---:|---:|");
    for (tasks, rounds) in TASKS.iter().zip(rounds) {
        let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
        let per_second = of(&|round| round.per_second);
        println!(
            "| {tasks} | {} | {} | {:.2} | {} |",
            grouped(per_second),
            grouped(of(&|round| round.raw_per_second)),
            of(&|round| round.per_second / round.raw_per_second),
            grouped(per_second / *tasks as f64),
        );
    }
    println!(
        "\nThe raw store puts rows of 64 bytes under ascending keys, as many in a commit as there are tasks. Quick-repair is on\nin both."
    );
}
