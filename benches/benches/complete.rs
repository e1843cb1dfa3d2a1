//! What does a completion cost, from the handler's return to the answer, when 512 handlers return at once?

use criterion::{Criterion, criterion_group};
use outlive::{Engine, TaskDef};
use outlive_benches::Failed;
use outlive_benches::places::{self, Gate};
use std::time::{Duration, Instant};

/// Its handler waits until the measurement begins.
const WAITS: TaskDef<u64, u64> = TaskDef::new("waits");
/// Handlers that return at once.
const AT_ONCE: u64 = 512;

fn complete(criterion: &mut Criterion) {
    for place in places::both().expect("a place to measure") {
        let name = format!("complete/{}", place.name);
        let at = place.gated(WAITS).expect("an engine opens");
        criterion.bench_function(&name, |bench| {
            bench.iter_custom(|ends| {
                let spent = at.runtime.block_on(completing(&at.engine, &at.gate, ends));
                spent.expect("every task is started and ends")
            });
        });
    }
}

/// The time of so many completions; that their tasks are started before is not counted.
async fn completing(engine: &Engine, gate: &Gate, ends: u64) -> Result<Duration, Failed> {
    let mut spent = Duration::ZERO;
    let mut left = ends;
    while left > 0 {
        let at_once = left.min(AT_ONCE);
        let tasks = (0..at_once).map(|number| ((), number));
        let runs = engine.start_many(WAITS, tasks).await;
        let began = Instant::now();
        gate.let_through(at_once as usize);
        for run in runs {
            run?.result().await?;
        }
        spent += began.elapsed();
        left -= at_once;
    }
    Ok(spent)
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = complete
}
