//! What does an input cost that is queued for a running task, when 64 are given to it at once?

use criterion::{Criterion, criterion_group};
use outlive::{Ctx, Engine, HandlerError, STEERABLE_MAX, TaskDef};
use outlive_benches::{Failed, places};
use std::time::{Duration, Instant};

/// Its handler waits, so its queue takes whatever is sent meanwhile.
const WAITS: TaskDef<u64, u64> = TaskDef::new("waits").steerable(STEERABLE_MAX);
const TASK: &str = "task";
/// Inputs given at once.
const AT_ONCE: u64 = 64;

fn steer(criterion: &mut Criterion) {
    for place in places::both().expect("a place to measure") {
        let builder = place.builder.task(WAITS, |ctx: Ctx, input| async move {
            ctx.shutdown().await;
            std::future::pending::<()>().await;
            Ok::<_, HandlerError>(input)
        });
        let runtime = place.runtime;
        let engine = runtime.block_on(async {
            let engine = builder.open().await.expect("an engine opens");
            let begun = engine.start(WAITS, TASK, &u64::MAX).await;
            begun.expect("the task is started");
            engine
        });
        criterion.bench_function(&format!("steer/{}", place.name), |bench| {
            bench.iter_custom(|inputs| {
                let spent = runtime.block_on(steering(&engine, inputs));
                spent.expect("every input is queued and taken back")
            });
        });
        runtime.block_on(engine.shutdown(Duration::ZERO));
    }
}

/// The time of so many inputs; that each is taken back afterwards is not counted.
async fn steering(engine: &Engine, inputs: u64) -> Result<Duration, Failed> {
    let mut spent = Duration::ZERO;
    let mut left = inputs;
    while left > 0 {
        let at_once = left.min(AT_ONCE);
        let given = (0..at_once).map(|number| (TASK, number));
        let began = Instant::now();
        let runs = engine.start_many(WAITS, given).await;
        spent += began.elapsed();
        for run in runs {
            let run = run?;
            assert!(run.is_queued(), "every counted call queues an input");
            run.cancel("taken back").await?;
        }
        left -= at_once;
    }
    Ok(spent)
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = steer
}
