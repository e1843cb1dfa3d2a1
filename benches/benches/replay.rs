//! What does a recorded step cost when it is found again, per step: with no disk, and from a file?

use criterion::{Criterion, criterion_group};
use outlive::{Builder, Ctx, Engine, HandlerError, RetryPolicy, TaskDef};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Its input is how many attempts it takes.
const REPLAYS: TaskDef<u32, ()> = TaskDef::new("replays");
/// Steps of the turn: found again in each attempt but the first.
const STEPS: u64 = 500;

fn replay(criterion: &mut Criterion) {
    let here = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime of this thread");
    measure(criterion, "replay/in_memory", &here, Engine::in_memory());
    let threads = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let file = Engine::builder(directory.path().join("steps.redb"));
    measure(criterion, "replay/on_a_file", &threads, file);
}

fn measure(criterion: &mut Criterion, name: &str, runtime: &Runtime, builder: Builder) {
    let replayed_ns = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&replayed_ns);
    let builder = builder.task(REPLAYS, move |ctx, last| {
        replays(ctx, last, Arc::clone(&shared))
    });
    let engine = runtime.block_on(builder.open()).expect("an engine opens");
    criterion.bench_function(name, |bench| {
        bench.iter_custom(|steps| {
            // Replays of a whole turn, at least one.
            let turns = steps.div_ceil(STEPS) as u32;
            replayed_ns.store(0, Ordering::Relaxed);
            let again = RetryPolicy::fixed()
                .attempts(turns + 1)
                .initial(Duration::ZERO);
            let ended = runtime.block_on(async {
                let start = engine.start(REPLAYS, (), &(turns + 1)).retry(again);
                start.await.expect("it is started").result().await
            });
            ended.expect("the handler returns");
            let of_all = replayed_ns.load(Ordering::Relaxed) as f64;
            let of_one = of_all / (f64::from(turns) * STEPS as f64);
            Duration::from_nanos((of_one * steps as f64) as u64)
        });
    });
}

async fn replays(ctx: Ctx, last: u32, replayed_ns: Arc<AtomicU64>) -> Result<(), HandlerError> {
    let began = Instant::now();
    for number in 0..STEPS {
        ctx.step(("step", number), || async {
            Ok::<_, std::io::Error>(number)
        })
        .await?;
    }
    if ctx.attempt() > 1 {
        let took = began.elapsed().as_nanos() as u64;
        replayed_ns.fetch_add(took, Ordering::Relaxed);
    }
    if ctx.attempt() < last {
        return Err("once more".into());
    }
    Ok(())
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = replay
}
