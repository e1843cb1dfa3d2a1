//! What does a page of 50 tasks cost, the newest of 10,000: as they stand, by a state, and by a tag that is indexed?

use criterion::{Criterion, criterion_group};
use outlive::{Ctx, Engine, HandlerError, Index, Status, TaskDef};
use outlive_benches::{Failed, places};
use std::time::Duration;

const NO_OP: TaskDef<u64, u64> = TaskDef::new("no-op").index(&[Index::Tag("customer")]);
const TASKS: u64 = 10_000;
/// Tasks of a page.
const PAGE: usize = 50;
/// Customers that the tasks have, in turn.
const CUSTOMERS: u64 = 100;

fn list(criterion: &mut Criterion) {
    for place in places::both().expect("a place to measure") {
        let builder = place.builder.task(NO_OP, |_: Ctx, input| async move {
            Ok::<_, HandlerError>(input)
        });
        let runtime = place.runtime;
        let engine = runtime.block_on(builder.open()).expect("an engine opens");
        runtime.block_on(fill(&engine)).expect("every task ends");
        let pages = [
            ("newest", engine.list(NO_OP)),
            ("completed", engine.list(NO_OP).status(Status::Completed)),
            ("tagged", engine.list(NO_OP).tag("customer", "17")),
        ];
        for (what, page) in pages {
            let page = page.limit(PAGE);
            criterion.bench_function(&format!("list/{what}/{}", place.name), |bench| {
                bench.iter(|| {
                    let read = runtime.block_on(page.clone().into_future());
                    let found = read.expect("the store is read").tasks.len();
                    assert_eq!(found, PAGE, "the page is full");
                });
            });
        }
    }
}

/// Runs all tasks to their end.
async fn fill(engine: &Engine) -> Result<(), Failed> {
    let starts = (0..TASKS).map(|number| {
        let start = engine.start(NO_OP, (), &number);
        start.tag("customer", (number % CUSTOMERS).to_string())
    });
    for run in engine.start_all(starts).await {
        run?.result().await?;
    }
    Ok(())
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = list
}
