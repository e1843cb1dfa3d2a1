//! What does deciding cost: is the pure machine ever the bottleneck of the writer?

use criterion::{BatchSize, Criterion, criterion_group};
use outlive_benches::rows;
use outlive_storage::row::TaskNumber;
use std::hint::black_box;
use std::time::Duration;

fn machine(criterion: &mut Criterion) {
    let task = TaskNumber(1);
    let input = rows::input(1).expect("the ids are well formed");
    criterion.bench_function("machine/start", |bench| {
        bench.iter_batched(
            || input.clone(),
            |input| rows::decide(task, None, black_box(input), rows::now(1)),
            BatchSize::SmallInput,
        );
    });
    let started = rows::starts(1..2).remove(0);
    let row = rows::row_of(&started).expect("a start puts its row");
    criterion.bench_function("machine/end", |bench| {
        bench.iter_batched(
            || rows::end(row),
            |end| rows::decide(task, Some(black_box(row)), end, rows::now(2)),
            BatchSize::SmallInput,
        );
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = machine
}
