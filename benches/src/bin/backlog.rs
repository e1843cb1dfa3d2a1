//! What a million tasks in a file cost: whether they wait or have ended, beside an empty file.
//!
//! Each file is filled through the store, then opened by processes of their own, which report how long the open took, when a
//! task that ran as the file was left had been entered again, when a new task had run to its end, resident memory, the rate
//! of further tasks with generated ids and with random ones, and how long a look at a task and a page of a list take. The
//! files take turns, so that a drift of the machine favours none; figures are medians of the rounds.

use outlive::machine::{self, Event, TurnEnd, WaitFor};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::callers::Load;
use outlive_benches::numbers::{grouped, median};
use outlive_benches::rows::id_of;
use outlive_benches::{Failed, host, process, rows};
use outlive_storage::redb::{RedbOptions, RedbStore};
use outlive_storage::row::{
    Deadline, Etag, Generation, Keep, Micros, Payload, StepRow, StepState, TaskNumber, TaskRow,
};
use outlive_storage::{Commit, Store};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// Tasks in a file, unless an argument says otherwise.
const TASKS: u64 = 1_000_000;
/// How often each file is opened.
const ROUNDS: usize = 3;
/// Callers of further tasks, for so long.
const CALLERS: usize = 64;
const CALLED_FOR: Duration = Duration::from_secs(2);
/// Looks of each kind.
const CALLS: usize = 100;
/// The number of the task that runs as a file is left.
const RUNNING: u64 = 2;
/// Numbers of ids by chance; those of another process are others.
static IDS: LazyLock<AtomicU64> =
    LazyLock::new(|| AtomicU64::new(u64::from(std::process::id()) << 32));
/// Tasks filled in with one commit.
const BATCH: u64 = 512;
const NO_OP: TaskDef<u64, u64> = TaskDef::new("no-op");

/// What the tasks of a file wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// There are none.
    Empty,
    /// A moment far ahead.
    Pending,
    /// An input.
    Suspended,
    /// The end of a long sleep of its handler.
    Sleeping,
    /// Nothing: they have ended, and are kept for ever.
    Finished,
}

/// What a process that opened a file reports, in this order.
const REPORTED: [&str; 9] = [
    "open ms",
    "entered again ms",
    "first new task ms",
    "resident MiB",
    "peak MiB",
    "tasks/s, ids made",
    "tasks/s, ids by chance",
    "get us",
    "list of 100 ms",
];

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next() {
        Some(open) if open == "open" => {
            let path = arguments.next().ok_or("a path follows open")?;
            tokio::runtime::Runtime::new()?.block_on(opened(Path::new(&path)))
        }
        count => measure(count.map_or(Ok(TASKS), |count| count.parse())?),
    }
}

fn measure(tasks: u64) -> Result<(), Failed> {
    println!("{}", host::describe("backlog"));
    let waits = [
        Wait::Empty,
        Wait::Pending,
        Wait::Suspended,
        Wait::Sleeping,
        Wait::Finished,
    ];
    let directory = tempfile::tempdir_in(host::directory())?;
    let path = |wait: Wait| directory.path().join(format!("{wait:?}.redb"));
    for wait in waits {
        fill(&path(wait), wait, tasks)?;
    }
    let mut rounds: Vec<Vec<Vec<f64>>> = vec![Vec::new(); waits.len()];
    for _ in 0..ROUNDS {
        for (rounds, wait) in rounds.iter_mut().zip(waits) {
            rounds.push(opened_apart(&path(wait))?);
        }
    }
    let tasks = grouped(tasks as f64);
    println!("| {tasks} tasks | file MiB | {} |", REPORTED.join(" | "));
    println!("|---|---:|{}", "---:|".repeat(REPORTED.len()));
    for (rounds, wait) in rounds.iter().zip(waits) {
        let size = std::fs::metadata(path(wait))?.len() / (1 << 20);
        let of = |at: usize| median(rounds.iter().map(|round| round[at]));
        let figures: Vec<String> = (0..REPORTED.len()).map(|at| shown(of(at))).collect();
        println!("| {wait:?} | {size} | {} |", figures.join(" | "));
    }
    let compacted = Instant::now();
    let report = outlive::store::compact(path(Wait::Finished))?;
    println!(
        "\nThe file of finished tasks was compacted from {} to {} MiB in {:.1} s.",
        report.bytes_before >> 20,
        report.bytes_after >> 20,
        compacted.elapsed().as_secs_f64()
    );
    Ok(())
}

fn shown(figure: f64) -> String {
    if figure < 1_000.0 {
        format!("{figure:.1}")
    } else {
        grouped(figure)
    }
}

/// Opens the file in a process of its own.
fn opened_apart(path: &Path) -> Result<Vec<f64>, Failed> {
    let output = Command::new(std::env::current_exe()?)
        .arg("open")
        .arg(path)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let told = String::from_utf8(output.stdout)?;
    let figures = told.split_whitespace().map(str::parse);
    Ok(figures.collect::<Result<_, _>>()?)
}

fn fill(path: &Path, wait: Wait, tasks: u64) -> Result<(), Failed> {
    let store = RedbStore::open(path, RedbOptions::default(), 1, 0)?;
    store.define(&[NO_OP.name()])?;
    let tasks = if wait == Wait::Empty { 0 } else { tasks };
    // One task ran as the file was left.
    let mut running = waiting(RUNNING, Wait::Empty)?;
    let mut number = RUNNING;
    while number < tasks * 2 || !running.is_empty() {
        let mut batch = std::mem::take(&mut running);
        for _ in 0..BATCH.min(tasks.saturating_sub(number / 2)) {
            number += 2;
            batch.extend(waiting(number, wait)?);
        }
        for answer in store.commit(&batch)? {
            answer.map_err(|conflict| format!("{conflict:?}"))?;
        }
    }
    Ok(())
}

/// The commits that make one waiting task.
fn waiting(number: u64, wait: Wait) -> Result<Vec<Commit>, Failed> {
    let task = TaskNumber(number);
    let mut event = rows::input(number)?;
    if let Event::Input(input) = &mut event {
        Arc::make_mut(&mut input.options).keep = Keep::Forever;
        let far = Deadline::wall(Micros(u64::MAX / 2));
        input.start_at = (wait == Wait::Pending).then_some(far);
    }
    let decide = |row: Option<&TaskRow>, event, number| {
        rows::decide(task, row, event, rows::now(number)).map_err(|refused| format!("{refused:?}"))
    };
    let started = decide(None, event, number)?;
    let Some(row) = started.row.clone() else {
        return Err("a start writes a row".into());
    };
    let mut commits = vec![rows::commit(task, started)];
    let end = match wait {
        Wait::Suspended => Some(TurnEnd::Suspended {
            output: Payload::Inline(b"1".to_vec()),
            reason: "the next input".into(),
        }),
        Wait::Sleeping => Some(TurnEnd::Parked(vec![sleep()])),
        Wait::Finished => Some(TurnEnd::Succeeded(Payload::Inline(b"1".to_vec()))),
        Wait::Empty | Wait::Pending => None,
    };
    if let Some(end) = end {
        let end = Event::End {
            generation: Generation(number),
            end,
            claimant: rows::claimant(),
            missed: Vec::new(),
        };
        debug_assert!(row.etag < Etag(number + 1));
        commits.push(rows::commit(task, decide(Some(&row), end, number + 1)?));
    }
    Ok(commits)
}

/// A sleep that no measurement lives to see the end of.
fn sleep() -> machine::Wait {
    let until = Deadline::own(Micros(u64::MAX / 2));
    let step = StepRow {
        state: StepState::Sleeping { until },
        attempt: 0,
        at: Micros(0),
        type_name: "()".into(),
        value: Vec::new(),
    };
    machine::Wait {
        key: "until then".into(),
        wait_for: WaitFor::Time { until },
        step: Some(Box::new(step)),
    }
}

/// In a process of its own: opens the file, runs new tasks, looks at old ones, and tells what it took.
async fn opened(path: &Path) -> Result<(), Failed> {
    let began = Instant::now();
    let (entered, mut entries) = tokio::sync::mpsc::unbounded_channel();
    let running = id_of(RUNNING);
    let no_op = move |ctx: Ctx, input: u64| {
        let is_old = ctx.id().as_str() == running;
        let entered = entered.clone();
        async move {
            if is_old {
                // It runs on, so that the next open enters it again.
                entered.send(began.elapsed())?;
                std::future::pending::<()>().await;
            }
            Ok::<_, HandlerError>(input)
        }
    };
    let engine = Engine::builder(path).task(NO_OP, no_op).open().await?;
    let open = began.elapsed();
    let again = entries
        .recv()
        .await
        .ok_or("a task ran as the file was left")?;
    let called = Instant::now();
    engine.run(NO_OP, (), &1).await?;
    let first = open + called.elapsed();
    // Whatever the engine does by itself after an open has been done by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = process::now()?;
    let (resident, peak) = (seen.resident_mib, seen.peak_mib);
    let made = rate(&engine, false).await?;
    let by_chance = rate(&engine, true).await?;
    let old = id_of(RUNNING);
    let get = 1e3 * each(|| engine.get(&old)).await?;
    let list = each(|| engine.list(NO_OP).limit(100).into_future()).await?;
    let [open, again, first] = [open, again, first].map(|time| time.as_secs_f64() * 1e3);
    println!("{open} {again} {first} {resident} {peak} {made} {by_chance} {get} {list}");
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}

/// Further tasks a second, under ids that the engine makes or that a chance number is the beginning of.
async fn rate(engine: &Engine, by_chance: bool) -> Result<f64, Failed> {
    let load = Load {
        callers: CALLERS,
        warm_up: CALLED_FOR / 4,
        measured: CALLED_FOR,
    };
    let engine = engine.clone();
    let seen = load.run(move |_| {
        let engine = engine.clone();
        async move {
            if by_chance {
                let chance = IDS.fetch_add(1, Ordering::Relaxed);
                let chance = chance.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                engine.run(NO_OP, format!("{chance:016x}"), &1).await?;
            } else {
                engine.run(NO_OP, (), &1).await?;
            }
            Ok(())
        }
    });
    Ok(seen.await?.per_second)
}

/// The median of [`CALLS`] calls, in milliseconds.
async fn each<T, E: Into<Failed>, F: Future<Output = Result<T, E>>>(
    mut call: impl FnMut() -> F,
) -> Result<f64, Failed> {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let began = Instant::now();
        call().await.map_err(Into::into)?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}
