//! What does sealing cost, from start to completion, when 512 tasks are given at once, each with 256 bytes in and out?

use criterion::{Criterion, criterion_group};
use outlive::sealed::{Key, Keys};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::Failed;
use outlive_benches::places;
use std::time::{Duration, Instant};

const ECHO: TaskDef<String, String> = TaskDef::new("echo");
/// Started at once: as many as share a commit at least.
const AT_ONCE: u64 = 512;
/// Bytes of an input, and of an output.
const BYTES: usize = 256;

fn sealed(criterion: &mut Criterion) {
    for is_sealed in [false, true] {
        for place in places::both().expect("a place to measure") {
            let form = if is_sealed { "sealed" } else { "clear" };
            let name = format!("sealed/{form}/{}", place.name);
            let echo = |_: Ctx, text| async move { Ok::<_, HandlerError>(text) };
            let mut builder = place.builder.task(ECHO, echo);
            if is_sealed {
                builder = builder.payload_codec(Keys::new(Key::new([7; 32])));
            }
            let engine = place.runtime.block_on(builder.open());
            let engine = engine.expect("an engine opens");
            criterion.bench_function(&name, |bench| {
                bench.iter_custom(|tasks| {
                    let spent = place.runtime.block_on(running(&engine, tasks));
                    spent.expect("every task ends")
                });
            });
        }
    }
}

/// The time of so many tasks.
async fn running(engine: &Engine, tasks: u64) -> Result<Duration, Failed> {
    let text = "x".repeat(BYTES);
    let began = Instant::now();
    let mut left = tasks;
    while left > 0 {
        let at_once = left.min(AT_ONCE);
        let starts = (0..at_once).map(|_| ((), text.clone()));
        for run in engine.start_many(ECHO, starts).await {
            run?.result().await?;
        }
        left -= at_once;
    }
    Ok(began.elapsed())
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = sealed
}
