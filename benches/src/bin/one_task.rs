//! Whether a single task is a bottleneck: 64 callers queue inputs on one task and take them back, then on 64 tasks.
//!
//! The writer decides, so callers of one task share a commit instead of losing races against each other: the rate on
//! one task must be at least half of that on 64. The handlers wait, so every call is an input that is queued durably,
//! and its withdrawal, which keeps the queue within its bound.

use outlive::{Ctx, Engine, HandlerError, STEERABLE_MAX, TaskDef};
use outlive_benches::callers::{Load, Seen};
use outlive_benches::numbers::{grouped, median};
use outlive_benches::{Failed, host};
use std::path::Path;
use std::time::Duration;

/// Its handler waits, so its queue takes whatever is sent meanwhile.
const WAITS: TaskDef<u32, u32> = TaskDef::new("waits").steerable(STEERABLE_MAX);
const ROUNDS: usize = 5;
const CALLERS: usize = 64;
const TASKS: [usize; 2] = [1, CALLERS];
/// The least rate on one task, as a share of the rate on 64.
const RATIO_MIN: f64 = 0.5;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let measured = host::measurement();
    let load = Load {
        callers: CALLERS,
        warm_up: measured / 10,
        measured,
    };
    let mut seen: [Vec<Seen>; 2] = Default::default();
    for round in 0..ROUNDS {
        let directory = tempfile::tempdir_in(host::directory())?;
        for at in [round % 2, (round + 1) % 2] {
            seen[at].push(inputs(directory.path(), load, TASKS[at]).await?);
        }
    }
    println!("{}", host::describe("one_task"));
    report(&seen, measured);
    Ok(())
}

async fn inputs(directory: &Path, load: Load, tasks: usize) -> Result<Seen, Failed> {
    let engine = Engine::builder(directory.join(format!("tasks-{tasks}.redb")))
        .task(WAITS, |ctx: Ctx, input| async move {
            ctx.shutdown().await;
            std::future::pending::<()>().await;
            Ok::<_, HandlerError>(input)
        })
        .open()
        .await?;
    engine.recovery().await;
    for task in 0..tasks {
        engine.start(WAITS, task.to_string(), &0).await?;
    }
    let callers = engine.clone();
    let seen = load
        .run(move |number| {
            let engine = callers.clone();
            async move {
                let task = (number % tasks).to_string();
                let run = engine.start(WAITS, task, &(number as u32)).await?;
                assert!(run.is_queued(), "every counted call commits an input");
                run.cancel("taken back").await?;
                Ok(())
            }
        })
        .await?;
    engine.shutdown(Duration::ZERO).await;
    Ok(seen)
}

fn report(seen: &[Vec<Seen>; 2], measured: Duration) {
    println!("Medians of {ROUNDS} interleaved rounds of {measured:?} each.\n");
    println!("| {CALLERS} callers on | inputs queued and taken back/s | p50 ms | p99 ms |");
    println!("|---|---:|---:|---:|");
    for (tasks, seen) in TASKS.iter().zip(seen) {
        println!(
            "| {tasks} task{} | {} | {:.2} | {:.2} |",
            if *tasks == 1 { "" } else { "s" },
            grouped(median(seen.iter().map(|seen| seen.per_second))),
            median(seen.iter().map(|seen| seen.latency_ms(0.5))),
            median(seen.iter().map(|seen| seen.latency_ms(0.99))),
        );
    }
    let [one, many] = seen;
    let ratios = one
        .iter()
        .zip(many)
        .map(|(one, many)| one.per_second / many.per_second);
    println!(
        "\nOne task against {CALLERS}: {:.2} (at least {RATIO_MIN}).",
        median(ratios)
    );
}
