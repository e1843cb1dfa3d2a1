//! What does an open cost after a crash, until the last of 100 handlers that ran has been entered again?

use criterion::{Criterion, criterion_group};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::{Failed, host, rows};
use outlive_storage::Store;
use outlive_storage::redb::{RedbOptions, RedbStore};
use std::path::Path;
use std::time::{Duration, Instant};

/// As the rows say, its input and output are numbers.
const WAITS: TaskDef<u64, u64> = TaskDef::new("waits");
/// Tasks that ran.
const RAN: u64 = 100;

fn recover(criterion: &mut Criterion) {
    let directory = tempfile::tempdir_in(host::directory()).expect("a directory for the files");
    let crashed = directory.path().join("crashed.redb");
    fill(&crashed).expect("the file of a crashed engine");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    criterion.bench_function("recover/100_of_a_file", |bench| {
        bench.iter_custom(|opens| {
            let mut spent = Duration::ZERO;
            for _ in 0..opens {
                let path = directory.path().join("again.redb");
                std::fs::copy(&crashed, &path).expect("room for a copy");
                spent += runtime.block_on(open(&path)).expect("an engine opens");
            }
            spent
        });
    });
}

/// The file that an engine left behind which was killed while so many tasks ran.
fn fill(path: &Path) -> Result<(), Failed> {
    let store = RedbStore::open(path, RedbOptions::default(), 1, 0)?;
    store.define(&[WAITS.name()])?;
    for answer in store.commit(&rows::starts(1..RAN + 1))? {
        answer.map_err(|conflict| format!("{conflict:?}"))?;
    }
    Ok(())
}

async fn open(path: &Path) -> Result<Duration, Failed> {
    let began = Instant::now();
    let builder = Engine::builder(path).task(WAITS, |_: Ctx, input| async move {
        std::future::pending::<()>().await;
        Ok::<_, HandlerError>(input)
    });
    let engine = builder.open().await?;
    let report = engine.recovery().await;
    let spent = began.elapsed();
    assert_eq!(report.dispatched, RAN, "all of them are entered again");
    engine.shutdown(Duration::ZERO).await;
    Ok(spent)
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = recover
}
