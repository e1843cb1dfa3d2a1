//! What does a start cost, its claim included, when 512 are given at once?

use criterion::{Criterion, criterion_group};
use outlive::{Engine, TaskDef};
use outlive_benches::Failed;
use outlive_benches::places::{self, Gate};
use std::time::{Duration, Instant};

/// Its handler waits until the measurement is over.
const WAITS: TaskDef<u64, u64> = TaskDef::new("waits");
/// Started at once: as many as share a commit at least.
const AT_ONCE: u64 = 512;

fn start(criterion: &mut Criterion) {
    for place in places::both().expect("a place to measure") {
        let name = format!("start/{}", place.name);
        let at = place.gated(WAITS).expect("an engine opens");
        criterion.bench_function(&name, |bench| {
            bench.iter_custom(|starts| {
                let spent = at.runtime.block_on(starting(&at.engine, &at.gate, starts));
                spent.expect("every task is started and ends")
            });
        });
    }
}

/// The time of so many starts; that their tasks end afterwards is not counted.
async fn starting(engine: &Engine, gate: &Gate, starts: u64) -> Result<Duration, Failed> {
    let mut spent = Duration::ZERO;
    let mut left = starts;
    while left > 0 {
        let at_once = left.min(AT_ONCE);
        let tasks = (0..at_once).map(|number| ((), number));
        let began = Instant::now();
        let runs = engine.start_many(WAITS, tasks).await;
        spent += began.elapsed();
        gate.let_through(at_once as usize);
        for run in runs {
            run?.result().await?;
        }
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
    targets = start
}
