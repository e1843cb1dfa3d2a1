//! What does a store cost per operation: the reference without a disk, the file at batches of 1 and 64, and one read?
//!
//! A read of the file is a short transaction, the way down the tree, and the row's checksums and decoding: the codec
//! as the engine meets it. Encoding is in the commits.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use outlive_benches::rows;
use outlive_storage::redb::{RedbOptions, RedbStore};
use outlive_storage::row::TaskNumber;
use outlive_storage::{MemStore, Store};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The time of `rounds` pairs of commits: `batch` starts, then their completions. Making them is not counted.
fn start_and_end(store: &dyn Store, next: &mut u64, batch: u64, rounds: u64) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..rounds {
        let starts = rows::starts(*next..*next + batch);
        let ends = rows::ends(&starts, *next + batch);
        *next += 2 * batch;
        let began = Instant::now();
        let answers = [store.commit(&starts), store.commit(&ends)];
        spent += began.elapsed();
        for answers in answers {
            let answers = answers.expect("the store works");
            assert!(answers.iter().all(Result::is_ok), "a commit was refused");
        }
    }
    spent
}

fn commits(criterion: &mut Criterion, name: &str, store: &dyn Store) {
    let mut next = 1;
    let mut group = criterion.benchmark_group(name);
    for batch in [1, 64] {
        // Two operations of each task.
        group.throughput(Throughput::Elements(2 * batch));
        group.bench_function(BenchmarkId::new("start_and_end", batch), |bench| {
            bench.iter_custom(|rounds| start_and_end(store, &mut next, batch, rounds));
        });
    }
    group.finish();
}

fn stores(criterion: &mut Criterion) {
    commits(criterion, "commit/mem", &MemStore::new());
    let directory = tempfile::tempdir().expect("a directory for the file");
    let path = directory.path().join("store.redb");
    let store = RedbStore::open(path, RedbOptions::default(), 1, 0).expect("a new file opens");
    commits(criterion, "commit/redb", &store);
    let read = |bench: &mut criterion::Bencher<'_>| {
        bench.iter(|| {
            store
                .get(black_box(TaskNumber(1)))
                .expect("the store works")
        });
    };
    criterion.bench_function("commit/get", read);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = stores
}
