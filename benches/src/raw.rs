//! The store without an engine: what redb itself does with as little per operation as a task could need.

use crate::Failed;
use redb::{Database, TableDefinition};
use std::path::Path;
use std::time::{Duration, Instant};

const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
const BY_TIME: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("by_time");
const SEGMENTS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("segments");
const BY_KIND: TableDefinition<'_, (u32, u64), ()> = TableDefinition::new("by_kind");

/// Bytes of one row.
const ROW_BYTES: usize = 256;
/// Bytes of a small recorded step.
const STEP_BYTES: usize = 64;
/// As the engine's own default.
const CACHE_BYTES: usize = 64 << 20;

/// Operations a second on a new file: each puts a row and two index rows, all keys ascend, `batch` of them share
/// one durable commit with quick-repair on. One thread, so nothing but redb and the disk is in it.
///
/// # Errors
/// The store's.
pub fn operations_per_second(
    path: &Path,
    batch: u64,
    warm_up: Duration,
    measured: Duration,
) -> Result<f64, Failed> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)?;
    let mut number = 0;
    let mut run = |span: Duration| -> Result<f64, Failed> {
        let (began, first) = (Instant::now(), number);
        while began.elapsed() < span {
            commit(&database, number..number + batch)?;
            number += batch;
        }
        Ok((number - first) as f64 / began.elapsed().as_secs_f64())
    };
    run(warm_up)?;
    run(measured)
}

/// Rows a second on a new file: each is put under an ascending key, and nothing beside it; `batch` of them share one
/// durable commit with quick-repair on. As little as a recorded step could need.
///
/// # Errors
/// The store's.
pub fn rows_per_second(
    path: &Path,
    batch: u64,
    warm_up: Duration,
    measured: Duration,
) -> Result<f64, Failed> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)?;
    let mut number = 0;
    let mut run = |span: Duration| -> Result<f64, Failed> {
        let (began, first) = (Instant::now(), number);
        while began.elapsed() < span {
            let mut txn = database.begin_write()?;
            txn.set_quick_repair(true);
            {
                let mut rows = txn.open_table(ROWS)?;
                for number in number..number + batch {
                    rows.insert(number, [7; STEP_BYTES].as_slice())?;
                }
            }
            txn.commit()?;
            number += batch;
        }
        Ok((number - first) as f64 / began.elapsed().as_secs_f64())
    };
    run(warm_up)?;
    run(measured)
}

/// Bytes a second on a new file: segments of so many bytes under ascending keys, `at_once` of them in one durable commit
/// with quick-repair on.
///
/// # Errors
/// The store's.
pub fn segment_bytes_per_second(
    path: &Path,
    segment: usize,
    at_once: u64,
    measured: Duration,
) -> Result<f64, Failed> {
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create(path)?;
    let bytes = vec![7; segment];
    let (began, mut number) = (Instant::now(), 0);
    while began.elapsed() < measured {
        let mut txn = database.begin_write()?;
        txn.set_quick_repair(true);
        {
            let mut segments = txn.open_table(SEGMENTS)?;
            for _ in 0..at_once {
                segments.insert((number % at_once, number), bytes.as_slice())?;
                number += 1;
            }
        }
        txn.commit()?;
    }
    Ok((number as usize * segment) as f64 / began.elapsed().as_secs_f64())
}

fn commit(database: &Database, numbers: std::ops::Range<u64>) -> Result<(), Failed> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    {
        let mut rows = txn.open_table(ROWS)?;
        let mut by_time = txn.open_table(BY_TIME)?;
        let mut by_kind = txn.open_table(BY_KIND)?;
        for number in numbers {
            rows.insert(number, [7; ROW_BYTES].as_slice())?;
            by_time.insert((number, number), ())?;
            by_kind.insert((1, number), ())?;
        }
    }
    txn.commit()?;
    Ok(())
}
