//! How fast handlers emit and readers read, beside what memory alone and what the store alone could do.
//!
//! Items a second for few and many emitting tasks and readers, beside broadcast channels that keep nothing; bytes a
//! second to the disk, beside redb writing as large segments; how long a late reader takes for a long stream; and what
//! tasks that emit cost those that do not. Every figure is taken in one interleaved run, because only ratios mean
//! anything on a shared machine.
//!
//! `OUTLIVE_BENCH_SECONDS` shortens each measurement, `OUTLIVE_BENCH_DIR` chooses the disk.

use outlive::{Ctx, Engine, HandlerError, StreamEvent, TaskDef};
use outlive_benches::callers::Load;
use outlive_benches::numbers::{grouped, median};
use outlive_benches::{Failed, host, raw};
use outlive_storage::redb::RedbOptions;
use outlive_storage::{RedbStore, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

const NO_OP: TaskDef<u32, u32> = TaskDef::new("no-op");
/// Emits items of so many bytes until it is told to stop, at most so many, with a pause after each.
const EMITS: TaskDef<Emits, u64, String> = TaskDef::new("emits").keep_items(100_000);
/// As [`EMITS`], and keeps every item.
const KEEPS: TaskDef<Emits, u64, String> = TaskDef::new("keeps");

type Emits = (usize, u64, u64);

const ROUNDS: usize = 3;
const TASKS: [usize; 2] = [1, 100];
const READERS: [usize; 3] = [1, 10, 100];
/// Bytes of a small item: a few words of a token stream, or a line of a log.
const SMALL: usize = 100;
/// Bytes of an item where bytes are measured.
const LARGE: usize = 4096;
const LATE_ITEMS: u64 = 100_000;
/// Items a second of a task that emits beside others: a fast token stream.
const PACE_US: u64 = 10_000;
/// The least rate of bytes, as a share of what redb does with as large segments.
const BYTES_MIN: f64 = 0.5;
/// The largest p99 of tasks beside emitting ones, as a multiple of their own.
const BESIDE_MAX: f64 = 2.0;

/// Told to the handlers of one measurement.
#[derive(Debug, Clone, Default)]
struct Running {
    stop: Arc<AtomicBool>,
    emitted: Arc<AtomicU64>,
}

impl Running {
    async fn open(&self, path: &Path) -> Result<Engine, Failed> {
        let emits = |running: Running| {
            move |ctx: Ctx<String>, input: Emits| {
                let running = running.clone();
                async move { running.emit(ctx, input).await }
            }
        };
        let builder = Engine::builder(path)
            .task(EMITS, emits(self.clone()))
            .task(KEEPS, emits(self.clone()))
            .task(NO_OP, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) });
        let engine = builder.open().await?;
        engine.recovery().await;
        Ok(engine)
    }

    async fn emit(
        &self,
        ctx: Ctx<String>,
        (bytes, most, pause_us): Emits,
    ) -> Result<u64, HandlerError> {
        // Two quotes belong to its JSON.
        let item = "x".repeat(bytes - 2);
        let mut emitted = 0;
        while emitted < most && !self.stop.load(Ordering::Relaxed) {
            ctx.emit(item.clone()).await?;
            emitted += 1;
            self.emitted.fetch_add(1, Ordering::Relaxed);
            if pause_us > 0 {
                tokio::time::sleep(Duration::from_micros(pause_us)).await;
            }
        }
        Ok(emitted)
    }
}

/// Items a second: emitted, and shown to all readers together.
#[derive(Debug, Clone, Copy)]
struct Rates {
    emitted: f64,
    shown: f64,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let measured = host::measurement();
    let directory = tempfile::tempdir_in(host::directory())?;
    let mut rates = Vec::new();
    for (tasks, readers) in TASKS
        .into_iter()
        .flat_map(|tasks| READERS.map(|n| (tasks, n)))
    {
        let path = directory
            .path()
            .join(format!("rates-{tasks}-{readers}.redb"));
        let durable = durable_rates(&path, (tasks, readers), measured).await?;
        let memory = memory_rates((tasks, readers), measured).await;
        rates.push(((tasks, readers), durable, memory));
    }
    let mut bytes: [Vec<Bytes>; 2] = Default::default();
    for round in 0..ROUNDS {
        for (bytes, tasks) in bytes.iter_mut().zip(TASKS) {
            let name = format!("bytes-{tasks}-{round}");
            bytes.push(one_of_bytes(directory.path(), &name, tasks, measured).await?);
        }
    }
    let late = late_join(&directory.path().join("late.redb")).await?;
    let mut beside: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for (at, beside) in beside.iter_mut().enumerate() {
            let path = directory.path().join(format!("beside-{at}-{round}.redb"));
            beside.push(p99_beside(&path, BESIDE[at], measured).await?);
        }
    }
    println!("{}", host::describe("streams"));
    report_rates(&rates, measured);
    report_bytes(&bytes);
    println!(
        "\nA late reader of a stream of {} items of {SMALL} bytes: {:.0} ms, {} items/s.",
        grouped(LATE_ITEMS as f64),
        late.as_secs_f64() * 1e3,
        grouped(LATE_ITEMS as f64 / late.as_secs_f64())
    );
    report_beside(&beside);
    Ok(())
}

async fn durable_rates(
    path: &Path,
    (tasks, readers): (usize, usize),
    measured: Duration,
) -> Result<Rates, Failed> {
    let running = Running::default();
    let engine = running.open(path).await?;
    let mut runs = Vec::new();
    for task in 0..tasks {
        let input = (SMALL, u64::MAX, 0);
        runs.push(engine.start(EMITS, task.to_string(), &input).await?);
    }
    let shown = Arc::new(AtomicU64::new(0));
    let mut reading = JoinSet::new();
    for reader in 0..readers {
        let (mut stream, shown) = (runs[reader % tasks].stream(0), Arc::clone(&shown));
        reading.spawn(async move {
            while let Some(Ok(event)) = stream.next().await {
                let is_item = u64::from(matches!(event, StreamEvent::Item { .. }));
                shown.fetch_add(is_item, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(measured / 5).await;
    let count = || {
        let emitted = running.emitted.load(Ordering::Relaxed);
        (emitted, shown.load(Ordering::Relaxed), Instant::now())
    };
    let began = count();
    tokio::time::sleep(measured).await;
    let ended = count();
    running.stop.store(true, Ordering::Relaxed);
    engine.shutdown(Duration::from_secs(1)).await;
    reading.shutdown().await;
    let seconds = (ended.2 - began.2).as_secs_f64();
    Ok(Rates {
        emitted: (ended.0 - began.0) as f64 / seconds,
        shown: (ended.1 - began.1) as f64 / seconds,
    })
}

/// The same with channels in memory, which keep nothing: a reader that is too slow loses items.
async fn memory_rates((tasks, readers): (usize, usize), measured: Duration) -> Rates {
    const CAPACITY: usize = 4096;
    let (stop, emitted, shown) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let channels: Vec<_> = (0..tasks)
        .map(|_| broadcast::channel::<Arc<str>>(CAPACITY).0)
        .collect();
    let mut working = JoinSet::new();
    for reader in 0..readers {
        let (mut items, shown) = (channels[reader % tasks].subscribe(), Arc::clone(&shown));
        working.spawn(async move {
            loop {
                match items.recv().await {
                    Ok(_) => {
                        shown.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }
    for channel in channels {
        let (stop, emitted) = (Arc::clone(&stop), Arc::clone(&emitted));
        working.spawn(async move {
            let item = "x".repeat(SMALL);
            while !stop.load(Ordering::Relaxed) {
                let _ = channel.send(item.as_str().into());
                emitted.fetch_add(1, Ordering::Relaxed);
                tokio::task::consume_budget().await;
            }
        });
    }
    tokio::time::sleep(measured / 5).await;
    let count = || {
        (
            emitted.load(Ordering::Relaxed),
            shown.load(Ordering::Relaxed),
        )
    };
    let (began, at) = (count(), Instant::now());
    tokio::time::sleep(measured).await;
    let (ended, seconds) = (count(), at.elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    working.shutdown().await;
    Rates {
        emitted: (ended.0 - began.0) as f64 / seconds,
        shown: (ended.1 - began.1) as f64 / seconds,
    }
}

/// Bytes a second of the engine, and of redb writing as large segments.
#[derive(Debug)]
struct Bytes {
    engine: f64,
    raw: f64,
    segment: u64,
}

async fn one_of_bytes(
    directory: &Path,
    name: &str,
    tasks: usize,
    measured: Duration,
) -> Result<Bytes, Failed> {
    let path = directory.join(format!("{name}.redb"));
    let running = Running::default();
    let engine = running.open(&path).await?;
    for task in 0..tasks {
        let input = (LARGE, u64::MAX, 0);
        engine.start(KEEPS, task.to_string(), &input).await?;
    }
    let (began, before) = (Instant::now(), running.emitted.load(Ordering::Relaxed));
    tokio::time::sleep(measured).await;
    let emitted = running.emitted.load(Ordering::Relaxed) - before;
    let engine_rate = (emitted as usize * LARGE) as f64 / began.elapsed().as_secs_f64();
    running.stop.store(true, Ordering::Relaxed);
    engine.shutdown(Duration::from_secs(5)).await;
    drop(engine);
    let segment = mean_segment(&path)?;
    // As many in a commit as a commit of the engine takes at most.
    let at_once = if tasks == 1 {
        1
    } else {
        (1 << 20) / segment.max(1)
    };
    let path = directory.join(format!("{name}-raw.redb"));
    let raw = raw::segment_bytes_per_second(&path, segment as usize, at_once, measured)?;
    Ok(Bytes {
        engine: engine_rate,
        raw,
        segment,
    })
}

/// The mean size of the segments in a file, in bytes.
fn mean_segment(path: &Path) -> Result<u64, Failed> {
    let store = RedbStore::open(path, RedbOptions::default(), 1, 1)?;
    let (mut segments, mut bytes) = (0, 0);
    for found in store.scan(outlive_storage::Scan::All, None, 1024)?.rows {
        let mut after = 0;
        loop {
            let page = store.segments(found.task, after, 1 << 22)?;
            let Some(last) = page.last() else { break };
            let row = last.row.clone()?;
            after = row.last(last.first);
            for segment in &page {
                segments += 1;
                bytes += segment.row.clone()?.size() as u64;
            }
        }
    }
    Ok(bytes / std::cmp::max(segments, 1))
}

/// How long a reader takes for a stream that is there already.
async fn late_join(path: &Path) -> Result<Duration, Failed> {
    let running = Running::default();
    let engine = running.open(path).await?;
    let emitted = engine.run(KEEPS, "late", &(SMALL, LATE_ITEMS, 0)).await?;
    let began = Instant::now();
    let mut stream = engine.stream(KEEPS, "late", 0).await?;
    let mut shown = 0;
    while let Some(event) = stream.next().await {
        shown += u64::from(event?.into_item().is_some());
    }
    let took = began.elapsed();
    assert_eq!((emitted, shown), (LATE_ITEMS, LATE_ITEMS));
    engine.shutdown(Duration::from_secs(1)).await;
    Ok(took)
}

/// What emits beside the measured tasks.
#[derive(Debug, Clone, Copy)]
struct Beside {
    name: &'static str,
    tasks: usize,
    pause_us: u64,
}

const BESIDE: [Beside; 3] = [
    Beside {
        name: "nothing",
        tasks: 0,
        pause_us: 0,
    },
    Beside {
        name: "100 tasks, 100 items/s each",
        tasks: 100,
        pause_us: PACE_US,
    },
    Beside {
        name: "1 task, as fast as it can",
        tasks: 1,
        pause_us: 0,
    },
];

/// The p99 from start to completion of tasks that emit nothing, in milliseconds.
async fn p99_beside(path: &Path, beside: Beside, measured: Duration) -> Result<f64, Failed> {
    let running = Running::default();
    let engine = running.open(path).await?;
    for task in 0..beside.tasks {
        let input = (SMALL, u64::MAX, beside.pause_us);
        engine.start(EMITS, format!("e{task}"), &input).await?;
    }
    let callers = engine.clone();
    let load = Load {
        callers: 64,
        warm_up: measured / 5,
        measured,
    };
    let seen = load.run(move |number| {
        let engine = callers.clone();
        async move {
            engine.run(NO_OP, (), &(number as u32)).await?;
            Ok(())
        }
    });
    let p99 = seen.await?.latency_ms(0.99);
    running.stop.store(true, Ordering::Relaxed);
    engine.shutdown(Duration::from_secs(1)).await;
    Ok(p99)
}

fn report_rates(rates: &[((usize, usize), Rates, Rates)], measured: Duration) {
    println!("Items of {SMALL} bytes, one measurement of {measured:?} each.\n");
    println!(
        "| tasks | readers | emitted/s | shown/s | in memory: sent/s | in memory: received/s |"
    );
    println!("|---:|---:|---:|---:|---:|---:|");
    for ((tasks, readers), durable, memory) in rates {
        println!(
            "| {tasks} | {readers} | {} | {} | {} | {} |",
            grouped(durable.emitted),
            grouped(durable.shown),
            grouped(memory.emitted),
            grouped(memory.shown),
        );
    }
    println!(
        "\nEach reader reads one task's stream. The engine shows it every item, once it is durable; a channel that keeps {} items\ndrops what its readers do not take in time.\n",
        grouped(4096.0)
    );
}

fn report_bytes(bytes: &[Vec<Bytes>; 2]) {
    println!("Items of {LARGE} bytes, medians of {ROUNDS} interleaved rounds.\n");
    println!("| tasks | durable MB/s | raw redb MB/s | ratio | mean segment, KiB |");
    println!("|---:|---:|---:|---:|---:|");
    for (tasks, rounds) in TASKS.iter().zip(bytes) {
        let of = |figure: &dyn Fn(&Bytes) -> f64| median(rounds.iter().map(figure));
        println!(
            "| {tasks} | {:.1} | {:.1} | {:.2} | {:.0} |",
            of(&|bytes| bytes.engine / 1e6),
            of(&|bytes| bytes.raw / 1e6),
            of(&|bytes| bytes.engine / bytes.raw),
            of(&|bytes| bytes.segment as f64 / 1024.0),
        );
    }
    println!(
        "\nAt least {BYTES_MIN} of what redb does with segments of the same size, as many in a commit."
    );
}

fn report_beside(beside: &[Vec<f64>; 3]) {
    println!("\nFrom start to completion, 64 callers, medians of {ROUNDS} interleaved rounds.\n");
    println!("| emitting beside them | p99 ms | times alone |");
    println!("|---|---:|---:|");
    let alone = median(beside[0].iter().copied());
    for (what, p99) in BESIDE.iter().zip(beside) {
        let p99 = median(p99.iter().copied());
        println!("| {} | {p99:.2} | {:.2} |", what.name, p99 / alone);
    }
    println!("\nAt most {BESIDE_MAX} times.");
}
