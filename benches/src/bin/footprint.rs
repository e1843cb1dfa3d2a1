//! What a program pays that has outlive in it and does not use it: wake-ups, writes, memory, threads; and bytes, crates
//! and the time of a build.
//!
//! `cargo run --release -p outlive-benches --bin footprint` watches an idle engine beside a program that is tokio alone,
//! each in a process of its own. With `-- build` it also builds two programs from nothing, hello and an empty one of
//! tokio, and compares them: minutes, and the directory of the registry must be filled.

use outlive::{Ctx, Engine, HandlerError, Reply, TaskDef};
use outlive_benches::process::{self, Process};
use outlive_benches::{Failed, host};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const NO_OP: TaskDef<u64, u64> = TaskDef::new("no-op");
const SUSPENDS: TaskDef<u64, u64> = TaskDef::new("suspends");
const SLEEPS: TaskDef<u64, u64> = TaskDef::new("sleeps");
/// Tasks of each kind that wait while the engine is idle.
const WAITING: u64 = 1000;
const DAY: Duration = Duration::from_secs(86_400);
/// What follows an open and the last task is over by then.
const SETTLED: Duration = Duration::from_secs(6);
/// How long an idle process is watched, unless `OUTLIVE_BENCH_SECONDS` says otherwise.
const WATCHED: Duration = Duration::from_secs(10);

/// A program of tokio that does nothing, the same with what hello has beside outlive, and hello.
const EMPTY: &str = "#[tokio::main]\nasync fn main() {\n    println!(\"hello, world\");\n}\n";
const TRACED: &str = "#[tokio::main]\nasync fn main() {\n    let filter = tracing_subscriber::EnvFilter::from_default_env();\n    tracing_subscriber::fmt().with_env_filter(filter).init();\n    println!(\"hello, world\");\n}\n";
const HELLO: &str = include_str!("../../../examples/hello.rs");
const TOKIO: &str = "tokio = { version = \"1\", default-features = false, features = [\"macros\", \"rt-multi-thread\", \"sync\", \"time\"] }\n";
const TRACING: &str = "tracing-subscriber = { version = \"0.3\", default-features = false, features = [\"fmt\", \"env-filter\", \"ansi\"] }\n";

fn main() -> Result<(), Failed> {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        None => idle(),
        Some("build") => {
            idle()?;
            build()
        }
        Some(which) => {
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(watched(which))
        }
    }
}

fn idle() -> Result<(), Failed> {
    println!("{}", host::describe("footprint"));
    println!(
        "| idle for {} s | wake-ups/s | bytes written | resident MiB | threads |",
        watch().as_secs()
    );
    println!("|---|---:|---:|---:|---:|");
    for (which, name) in [
        ("tokio", "tokio alone"),
        ("engine", "an engine that has run one task"),
        (
            "waiting",
            "one with 1,000 suspended and 1,000 sleeping tasks",
        ),
    ] {
        let output = Command::new(std::env::current_exe()?).arg(which).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        println!("| {name} | {} |", String::from_utf8(output.stdout)?.trim());
    }
    Ok(())
}

fn watch() -> Duration {
    if std::env::var_os("OUTLIVE_BENCH_SECONDS").is_some() {
        return host::measurement();
    }
    WATCHED
}

/// In a process of its own: opens what `which` says, does nothing, and tells what that took.
async fn watched(which: &str) -> Result<(), Failed> {
    let directory = tempfile::tempdir_in(host::directory())?;
    let engine = match which {
        "tokio" => None,
        "engine" | "waiting" => Some(open(directory.path()).await?),
        other => return Err(format!("{other} is not watched").into()),
    };
    if let Some(engine) = &engine {
        engine.run(NO_OP, (), &1).await?;
    }
    if let (Some(engine), "waiting") = (&engine, which) {
        for def in [SUSPENDS, SLEEPS] {
            let tasks = (0..WAITING).map(|number| ((), number));
            for run in engine.start_many(def, tasks).await {
                run?;
            }
        }
    }
    tokio::time::sleep(SETTLED).await;
    // A thread of its own waits: a timer of the runtime would count among the wake-ups.
    let seen = std::thread::spawn(|| -> Result<_, Failed> {
        let before = process::now()?;
        let began = Instant::now();
        std::thread::sleep(watch());
        Ok((before, process::now()?, began.elapsed()))
    });
    let (before, after, span) = seen.join().map_err(|_| "the watching thread panicked")??;
    println!("{}", told(before, after, span));
    if let Some(engine) = engine {
        engine.shutdown(Duration::ZERO).await;
    }
    Ok(())
}

async fn open(directory: &Path) -> Result<Engine, Failed> {
    let builder = Engine::builder(directory.join("idle.redb"))
        .task(NO_OP, |_: Ctx, input| async move {
            Ok::<_, HandlerError>(input)
        })
        .task(SUSPENDS, |_: Ctx, input| async move {
            Ok::<_, HandlerError>(Reply::suspend(input, "waits for an input"))
        })
        .task(SLEEPS, |ctx: Ctx, input| async move {
            ctx.sleep("a day", DAY).await?;
            Ok::<_, HandlerError>(input)
        });
    Ok(builder.open().await?)
}

fn told(before: Process, after: Process, span: Duration) -> String {
    // The thread that watches, and its one sleep, are not the program's.
    let wake_ups = (after.wake_ups - before.wake_ups).saturating_sub(1);
    format!(
        "{:.1} | {} | {:.1} | {}",
        wake_ups as f64 / span.as_secs_f64(),
        after.written - before.written,
        after.resident_mib,
        after.threads - 1,
    )
}

/// What a build of a program says of it.
struct Built {
    crates: usize,
    stripped: u64,
    took: Duration,
}

fn build() -> Result<(), Failed> {
    let engine = format!(
        "outlive = {{ path = \"{}/../engine\" }}\n",
        env!("CARGO_MANIFEST_DIR")
    );
    println!(
        "\n| release build | crates | stripped, KiB | from nothing, s |\n|---|---:|---:|---:|"
    );
    let mut stripped = Vec::new();
    for (name, main, dependencies) in [
        ("an empty program of tokio", EMPTY, TOKIO.to_owned()),
        (
            "the same with tracing-subscriber",
            TRACED,
            format!("{TOKIO}{TRACING}"),
        ),
        (
            "hello: outlive and both",
            HELLO,
            format!("{engine}{TOKIO}{TRACING}"),
        ),
    ] {
        let built = build_one(main, &dependencies)?;
        println!(
            "| {name} | {} | {} | {:.0} |",
            built.crates,
            built.stripped / 1024,
            built.took.as_secs_f64(),
        );
        stripped.push(built.stripped);
    }
    if let [_, without, hello] = stripped[..] {
        println!(
            "\noutlive adds {} KiB.",
            hello.saturating_sub(without) / 1024
        );
    }
    Ok(())
}

fn build_one(main: &str, dependencies: &str) -> Result<Built, Failed> {
    let directory = tempfile::tempdir_in(host::directory())?;
    let root = directory.path();
    std::fs::create_dir(root.join("src"))?;
    std::fs::write(root.join("src/main.rs"), main)?;
    let manifest = format!(
        "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{dependencies}\n[profile.release]\nstrip = true\n"
    );
    std::fs::write(root.join("Cargo.toml"), manifest)?;
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    // The versions of the workspace; cargo takes away what is not needed.
    std::fs::copy(lock, root.join("Cargo.lock"))?;
    let cargo = |arguments: &[&str]| -> Result<String, Failed> {
        let output = Command::new("cargo")
            .args(arguments)
            .current_dir(root)
            .env("CARGO_TARGET_DIR", root.join("target"))
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    };
    let tree = cargo(&[
        "tree",
        "--prefix",
        "none",
        "--edges",
        "normal,build",
        "--format",
        "{p}",
    ])?;
    let crates: BTreeSet<_> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    let began = Instant::now();
    cargo(&["build", "--release"])?;
    Ok(Built {
        // The program is none of them.
        crates: crates.len() - 1,
        stripped: std::fs::metadata(root.join("target/release/program"))?.len(),
        took: began.elapsed(),
    })
}
