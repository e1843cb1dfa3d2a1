//! What a backlog costs: opens a file of a million waiting tasks and tells the time and the memory it takes.
//!
//! Each file is filled through the store, then opened by a process of its own, which reports how long the open took,
//! when a new task had run to its end, and its resident memory beside that of an engine on an empty file.

use outlive::machine::{self, Event, TurnEnd, WaitFor};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::numbers::grouped;
use outlive_benches::{Failed, host, rows};
use outlive_storage::redb::{RedbOptions, RedbStore};
use outlive_storage::row::{
    Deadline, Etag, Generation, Micros, Payload, StepRow, StepState, TaskNumber, TaskRow,
};
use outlive_storage::{Commit, Store};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Tasks in a file, unless an argument says otherwise.
const TASKS: u64 = 1_000_000;
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
}

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
    println!(
        "| {} tasks | file MiB | open ms | first new task ms | resident MiB | peak MiB |",
        grouped(tasks as f64)
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for wait in [Wait::Empty, Wait::Pending, Wait::Suspended, Wait::Sleeping] {
        let directory = tempfile::tempdir_in(host::directory())?;
        let path = directory.path().join("tasks.redb");
        fill(&path, wait, tasks)?;
        let size = std::fs::metadata(&path)?.len() / (1 << 20);
        let output = Command::new(std::env::current_exe()?)
            .arg("open")
            .arg(&path)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let told = String::from_utf8(output.stdout)?;
        println!("| {wait:?} | {size} | {} |", told.trim());
    }
    Ok(())
}

fn fill(path: &Path, wait: Wait, tasks: u64) -> Result<(), Failed> {
    let store = RedbStore::open(path, RedbOptions::default(), 1, 0)?;
    store.define(&[NO_OP.name()])?;
    if wait == Wait::Empty {
        return Ok(());
    }
    let mut number = 0;
    while number < tasks * 2 {
        let mut batch = Vec::new();
        for _ in 0..BATCH.min(tasks - number / 2) {
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
    if let (Event::Input(input), Wait::Pending) = (&mut event, wait) {
        input.start_at = Some(Deadline::wall(Micros(u64::MAX / 2)));
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

/// In a process of its own: opens the file, runs one new task, and tells what it took.
async fn opened(path: &Path) -> Result<(), Failed> {
    let began = Instant::now();
    let no_op = |_: Ctx, input| async move { Ok::<_, HandlerError>(input) };
    let engine = Engine::builder(path).task(NO_OP, no_op).open().await?;
    let open = began.elapsed();
    engine.run(NO_OP, (), &1).await?;
    let first = began.elapsed();
    // Whatever the engine does by itself after an open has been done by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (resident, peak) = memory()?;
    println!(
        "{:.1} | {:.1} | {resident:.1} | {peak:.1}",
        open.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
    );
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}

/// Resident memory of this process, now and at its peak, in MiB.
fn memory() -> Result<(f64, f64), Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mib = |name: &str| -> Result<f64, Failed> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.ok_or("the system does not tell")?.parse::<f64>()? / 1024.0)
    };
    Ok((mib("VmRSS:")?, mib("VmHWM:")?))
}
