//! What does a step cost that is recorded, when 64 tasks record one after another each?

use criterion::{Criterion, criterion_group};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::{Failed, places};
use std::time::{Duration, Instant};

/// Its input is how many steps it records.
const LOOP: TaskDef<u64, ()> = TaskDef::new("loop");
const TASKS: u64 = 64;
/// Steps of a task at most.
const STEPS: u64 = 256;

fn step(criterion: &mut Criterion) {
    for place in places::both().expect("a place to measure") {
        let builder = place.builder.task(LOOP, record);
        let runtime = place.runtime;
        let engine = runtime.block_on(builder.open()).expect("an engine opens");
        criterion.bench_function(&format!("step/{}", place.name), |bench| {
            bench.iter_custom(|steps| {
                let spent = runtime.block_on(recording(&engine, steps));
                spent.expect("every task records its steps")
            });
        });
    }
}

async fn record(ctx: Ctx, steps: u64) -> Result<(), HandlerError> {
    for number in 0..steps {
        ctx.step(("step", number), || async { Ok::<_, Failed>(number) })
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The time of so many steps, or more: each task records as many as the others. What a task costs beside its steps is
/// in it, too.
async fn recording(engine: &Engine, steps: u64) -> Result<Duration, Failed> {
    let mut spent = Duration::ZERO;
    let mut recorded = 0;
    while recorded < steps {
        let each = (steps - recorded).div_ceil(TASKS).min(STEPS);
        let began = Instant::now();
        let tasks = (0..TASKS).map(|_| ((), each));
        for run in engine.start_many(LOOP, tasks).await {
            run?.result().await?;
        }
        spent += began.elapsed();
        recorded += each * TASKS;
    }
    Ok(spent.mul_f64(steps as f64 / recorded as f64))
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = step
}
