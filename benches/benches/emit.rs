//! What does an item of 100 bytes cost that a task emits, until the last one is durable?

use criterion::{Criterion, criterion_group};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::{Failed, places};
use std::time::{Duration, Instant};

/// Its input is how many items it emits. It ends when they are durable.
const EMITS: TaskDef<u64, (), String> = TaskDef::new("emits").keep_items(100_000);
/// Items of a task at most.
const ITEMS: u64 = 50_000;
/// Bytes of an item; two quotes belong to its JSON.
const BYTES: usize = 100 - 2;

fn emit(criterion: &mut Criterion) {
    for place in places::both().expect("a place to measure") {
        let builder = place.builder.task(EMITS, emits);
        let runtime = place.runtime;
        let engine = runtime.block_on(builder.open()).expect("an engine opens");
        criterion.bench_function(&format!("emit/{}", place.name), |bench| {
            bench.iter_custom(|items| {
                let spent = runtime.block_on(emitting(&engine, items));
                spent.expect("every item is emitted")
            });
        });
    }
}

async fn emits(ctx: Ctx<String>, items: u64) -> Result<(), HandlerError> {
    let item = "x".repeat(BYTES);
    for _ in 0..items {
        ctx.emit(item.clone()).await?;
    }
    Ok(())
}

/// The time of so many items; what their task costs beside them is in it, too.
async fn emitting(engine: &Engine, items: u64) -> Result<Duration, Failed> {
    let began = Instant::now();
    let mut left = items;
    while left > 0 {
        let of_one = left.min(ITEMS);
        engine.run(EMITS, (), &of_one).await?;
        left -= of_one;
    }
    Ok(began.elapsed())
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = emit
}
