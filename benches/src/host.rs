//! Where a number was measured: a number without its machine, commit and command means nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long one measurement lasts unless `OUTLIVE_BENCH_SECONDS` says otherwise, in seconds.
const SECONDS: f64 = 1.0;

/// The length of one measurement: `OUTLIVE_BENCH_SECONDS`, which may be a fraction, or one second.
#[must_use]
pub fn measurement() -> Duration {
    let given = std::env::var("OUTLIVE_BENCH_SECONDS").ok();
    let seconds = given.and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    Duration::from_secs_f64(seconds.clamp(0.01, 600.0))
}

/// Where the files go: `OUTLIVE_BENCH_DIR`, or the system's directory for temporary files.
#[must_use]
pub fn directory() -> PathBuf {
    std::env::var_os("OUTLIVE_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// Machine, file system, commit and command, as lines of Markdown.
#[must_use]
pub fn describe(binary: &str) -> String {
    format!(
        "{}\n- command: `{}cargo run --release -p outlive-benches --bin {binary}`\n",
        machine(),
        settings(),
    )
}

/// Machine, file system and commit, as lines of Markdown.
#[must_use]
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = said(Command::new("uname").arg("-sr"));
    let directory = directory();
    let file_system = file_system(&directory);
    let mut text = format!(
        "- machine: {cpus} CPUs ({}), {}; {file_system} under the file\n- commit: {}",
        std::env::consts::ARCH,
        kernel.unwrap_or_else(|| std::env::consts::OS.to_owned()),
        commit(),
    );
    if file_system == "tmpfs" {
        text.push_str("\n- **not a disk**: a sync costs nothing here; set OUTLIVE_BENCH_DIR");
    }
    if cfg!(debug_assertions) {
        text.push_str("\n- **a debug build**: run it with --release");
    }
    text
}

fn settings() -> String {
    ["OUTLIVE_BENCH_SECONDS", "OUTLIVE_BENCH_DIR"]
        .iter()
        .filter_map(|name| Some(format!("{name}={} ", std::env::var(name).ok()?)))
        .collect()
}

fn commit() -> String {
    let Some(commit) = said(Command::new("git").args(["rev-parse", "--short", "--verify", "HEAD"]))
    else {
        return "unknown".to_owned();
    };
    match said(Command::new("git").args(["status", "--porcelain"])) {
        Some(changes) if !changes.is_empty() => format!("{commit} with changes"),
        Some(_) | None => commit,
    }
}

fn file_system(directory: &Path) -> String {
    let table = said(Command::new("df").arg("--output=fstype").arg(directory));
    let kind = table.and_then(|table| Some(table.lines().last()?.trim().to_owned()));
    kind.unwrap_or_else(|| "unknown file system".to_owned())
}

/// What a program said, if it ended well.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
