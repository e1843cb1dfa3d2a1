//! What does the engine itself cost per task, with no disk and no other thread: start to completion, one at a time?

use criterion::{Criterion, criterion_group};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use std::time::Duration;

const NO_OP: TaskDef<u32, u32> = TaskDef::new("no-op");

fn task(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime of this thread");
    let open = Engine::in_memory()
        .task(NO_OP, |_: Ctx, input| async move {
            Ok::<_, HandlerError>(input)
        })
        .open();
    let engine = runtime.block_on(open).expect("an engine in memory opens");
    criterion.bench_function("task/in_memory", |bench| {
        bench.iter(|| {
            let run = engine.run(NO_OP, (), &7);
            runtime.block_on(run).expect("the handler returns")
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = task
}
