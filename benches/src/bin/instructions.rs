//! How many instructions a start, a completion, a step and an item cost: a figure that the machine's mood does not move.
//!
//! Each operation is done so many times, then more often, by this program itself under `valgrind --tool=callgrind`; the
//! difference is what the further ones cost. The engine runs as tasks of one thread, so that both runs do the same. In
//! memory the figure is the engine's own, on a file the store's work is in it; what the kernel does is in neither.
//!
//! `cargo run --release -p outlive-benches --bin instructions`; valgrind is among the packages of every distribution.
//! With an operation, a place and a count as arguments it does just that, for a profile:
//! `valgrind --tool=callgrind target/release/instructions start file-64 2000`, then `callgrind_annotate`.

use outlive::sealed::{Key, Keys};
use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_benches::numbers::grouped;
use outlive_benches::places::Gate;
use outlive_benches::{Failed, host};
use std::process::Command;
use std::time::Duration;

/// Its handler waits until it is let through.
const WAITS: TaskDef<u64, u64> = TaskDef::new("waits");
/// Its input is how many steps it records.
const LOOP: TaskDef<u64, ()> = TaskDef::new("loop");
/// Its input is how many items it emits.
const EMITS: TaskDef<u64, (), String> = TaskDef::new("emits").keep_items(100_000);
/// Bytes of an item; two quotes belong to its JSON.
const ITEM_BYTES: usize = 100 - 2;
/// Items after which a task waits until they are durable.
const ITEMS_AT_ONCE: u64 = 64;

/// How often an operation is done, in the two runs whose difference is told.
const FEW: u64 = 128;
const MANY: u64 = FEW + 256;

const OPERATIONS: [&str; 4] = ["start", "complete", "step", "emit"];
const PLACES: [Place; 5] = [
    Place {
        name: "memory",
        file: false,
        at_once: 1,
        sealed: false,
    },
    Place {
        name: "file",
        file: true,
        at_once: 1,
        sealed: false,
    },
    Place {
        name: "file-64",
        file: true,
        at_once: 64,
        sealed: false,
    },
    Place {
        name: "memory-sealed",
        file: false,
        at_once: 1,
        sealed: true,
    },
    Place {
        name: "file-64-sealed",
        file: true,
        at_once: 64,
        sealed: true,
    },
];

/// Where an operation is done, and how many callers or tasks do it at once.
#[derive(Debug, Clone, Copy)]
struct Place {
    name: &'static str,
    file: bool,
    at_once: u64,
    /// Whether its values are sealed.
    sealed: bool,
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [operation, place, count] = arguments.as_slice() else {
        return measure();
    };
    let place = PLACES.iter().find(|known| known.name == *place);
    let place = place.ok_or("a place is memory, file, file-64, memory-sealed or file-64-sealed")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    runtime.block_on(work(operation, *place, count.parse()?))
}

fn measure() -> Result<(), Failed> {
    println!("{}", host::describe("instructions"));
    println!(
        "Instructions for each, the mean of {} of them.\n",
        MANY - FEW
    );
    println!(
        "| | in memory | on a file, one at a time | on a file, 64 at once | in memory, sealed | on a file, 64 at once, sealed |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    // A completion cannot be had without its start, which is taken off.
    let mut starts = [0.0; PLACES.len()];
    for operation in OPERATIONS {
        let mut cells = Vec::new();
        for (place, start) in PLACES.iter().zip(&mut starts) {
            let (few, many) = (
                counted(operation, place, FEW)?,
                counted(operation, place, MANY)?,
            );
            let mut each = (many - few) / (MANY - FEW) as f64;
            match operation {
                "start" => *start = each,
                "complete" => each -= *start,
                _ => {}
            }
            cells.push(grouped(each));
        }
        println!("| {operation} | {} |", cells.join(" | "));
    }
    Ok(())
}

/// The instructions of a process that does an operation so often.
fn counted(operation: &str, place: &Place, count: u64) -> Result<f64, Failed> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([operation, place.name, &count.to_string()])
        .output()
        .map_err(|error| format!("valgrind does not run, is it installed? {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(told.into_owned().into());
    }
    let line = told
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, collected) = line.ok_or("callgrind does not tell what it collected")?;
    Ok(collected.trim().parse()?)
}

/// Does an operation `count` times.
async fn work(operation: &str, place: Place, count: u64) -> Result<(), Failed> {
    let directory = tempfile::tempdir_in(host::directory())?;
    let gate = Gate::default();
    let waiting = gate.clone();
    let mut builder = if place.file {
        Engine::builder(directory.path().join("engine.redb"))
    } else {
        Engine::in_memory()
    };
    if place.sealed {
        builder = builder.payload_codec(Keys::new(Key::new([7; 32])));
    }
    let engine = builder
        .inline()
        .task(WAITS, move |_: Ctx, input| {
            let gate = waiting.clone();
            async move {
                gate.pass().await;
                Ok::<_, HandlerError>(input)
            }
        })
        .task(LOOP, record)
        .task(EMITS, emit)
        .open()
        .await?;
    match operation {
        "start" => start(&engine, place, count).await.map(drop)?,
        "complete" => {
            let runs = start(&engine, place, count).await?;
            // As many return at once as were started at once.
            for group in runs.chunks(place.at_once as usize) {
                gate.let_through(group.len());
                for run in group {
                    run.result().await?;
                }
            }
        }
        "step" | "emit" => {
            let each = count / place.at_once;
            let tasks = (0..place.at_once).map(|_| ((), each));
            if operation == "step" {
                for run in engine.start_many(LOOP, tasks).await {
                    run?.result().await?;
                }
            } else {
                for run in engine.start_many(EMITS, tasks).await {
                    run?.result().await?;
                }
            }
        }
        other => return Err(format!("{other} is none of {OPERATIONS:?}").into()),
    }
    engine.shutdown(Duration::ZERO).await;
    Ok(())
}

async fn start(
    engine: &Engine,
    place: Place,
    count: u64,
) -> Result<Vec<outlive::Run<u64>>, Failed> {
    let mut runs = Vec::new();
    for _ in 0..count / place.at_once {
        let tasks = (0..place.at_once).map(|number| ((), number));
        for run in engine.start_many(WAITS, tasks).await {
            runs.push(run?);
        }
    }
    Ok(runs)
}

async fn record(ctx: Ctx, steps: u64) -> Result<(), HandlerError> {
    for number in 0..steps {
        ctx.step(("step", number), || async { Ok::<_, Failed>(number) })
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn emit(ctx: Ctx<String>, items: u64) -> Result<(), HandlerError> {
    let item = "x".repeat(ITEM_BYTES);
    for number in 1..=items {
        if number.is_multiple_of(ITEMS_AT_ONCE) || number == items {
            ctx.emit_durable(item.clone()).await?;
        } else {
            ctx.emit(item.clone()).await?;
        }
    }
    Ok(())
}
