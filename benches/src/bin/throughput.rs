//! How many tasks a second go from start to durable completion, beside what the store and the disk could do.
//!
//! The handler does nothing, so what is measured is the engine: two durable commits per task (start with claim, and
//! completion), on a new file with the default settings. Every figure is a median of rounds in which engine, raw store
//! and disk take turns, because only ratios of one interleaved run mean anything on a shared machine.
//!
//! `OUTLIVE_BENCH_SECONDS` shortens each measurement, `OUTLIVE_BENCH_DIR` chooses the disk.

use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::callers::{Load, Seen};
use outlive_benches::numbers::{grouped, median};
use outlive_benches::{Failed, disk, host, raw};
use std::path::Path;
use std::time::Duration;

const NO_OP: TaskDef<u32, u32> = TaskDef::new("no-op");
const ROUNDS: usize = 5;
const CALLERS: [usize; 3] = [1, 64, 512];
/// Start with claim, and completion.
const COMMITS_PER_TASK: f64 = 2.0;

/// One measurement of each kind, taken one after the other.
struct Round {
    engine: Seen,
    raw_per_second: f64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.engine.per_second * COMMITS_PER_TASK / self.raw_per_second
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let measured = host::measurement();
    let mut syncs_ms = Vec::new();
    let mut rounds: [Vec<Round>; 3] = Default::default();
    for round in 0..ROUNDS {
        let directory = tempfile::tempdir_in(host::directory())?;
        syncs_ms.push(median(disk::syncs_ms(directory.path(), measured / 4)?));
        for (rounds, callers) in rounds.iter_mut().zip(CALLERS) {
            let load = Load {
                callers,
                warm_up: measured / 10,
                measured,
            };
            rounds.push(one_round(directory.path(), load, round % 2 == 0).await?);
        }
    }
    println!("{}", host::describe("throughput"));
    report(&rounds, median(syncs_ms), measured);
    Ok(())
}

/// Which of the two goes first changes from round to round, so that a drift of the machine favours neither.
async fn one_round(directory: &Path, load: Load, engine_first: bool) -> Result<Round, Failed> {
    let raw_path = directory.join(format!("raw-{}.redb", load.callers));
    let raw =
        || raw::operations_per_second(&raw_path, load.callers as u64, load.warm_up, load.measured);
    if engine_first {
        let engine = tasks(directory, load).await?;
        return Ok(Round {
            engine,
            raw_per_second: raw()?,
        });
    }
    Ok(Round {
        raw_per_second: raw()?,
        engine: tasks(directory, load).await?,
    })
}

async fn tasks(directory: &Path, load: Load) -> Result<Seen, Failed> {
    let path = directory.join(format!("outlive-{}.redb", load.callers));
    let engine = Engine::builder(path)
        .task(NO_OP, |_: Ctx, input| async move {
            Ok::<_, HandlerError>(input)
        })
        .open()
        .await?;
    engine.recovery().await;
    let callers = engine.clone();
    let seen = load
        .run(move |number| {
            let engine = callers.clone();
            async move {
                engine.run(NO_OP, (), &(number as u32)).await?;
                Ok(())
            }
        })
        .await?;
    engine.shutdown(Duration::from_secs(1)).await;
    Ok(seen)
}

fn report(rounds: &[Vec<Round>; 3], sync_ms: f64, measured: Duration) {
    println!(
        "Medians of {ROUNDS} interleaved rounds of {measured:?} each. The disk's append of 4 KiB with fdatasync: p50 {sync_ms:.3} ms.\n"
    );
    println!(
        "| callers | tasks/s | durable ops/s | raw redb ops/s | ratio | p50 ms | p99 ms | p50 in syncs |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (callers, rounds) in CALLERS.iter().zip(rounds) {
        let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure));
        let per_second = of(&|round| round.engine.per_second);
        let p50 = of(&|round| round.engine.latency_ms(0.5));
        println!(
            "| {callers} | {} | {} | {} | {:.2} | {p50:.2} | {:.2} | {:.1} |",
            grouped(per_second),
            grouped(per_second * COMMITS_PER_TASK),
            grouped(of(&|round| round.raw_per_second)),
            of(&Round::ratio),
            of(&|round| round.engine.latency_ms(0.99)),
            p50 / sync_ms,
        );
    }
    println!(
        "\nA durable op of the engine is a start with its claim, or a completion; one of the raw store puts a row of 256 bytes and\ntwo index rows with ascending keys, as many in a commit as there are callers. Quick-repair is on in both."
    );
}
