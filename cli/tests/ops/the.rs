//! The program and what it says, and files for it.

use outlive::{Builder, Ctx, Engine, HandlerError, TaskDef};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const ECHO: TaskDef<String, String> = TaskDef::new("echo");
/// Tasks of the large file, unless `OUTLIVE_LARGE` says another number.
const LARGE: usize = 10_000;
/// Starts of one call.
const BATCH: usize = 500;

/// The program, on nobody's settings.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlive"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OUTLIVE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("COMPLETE").stdin(Stdio::null());
    command
}

/// Runs it, and answers with which status it ended, what it printed, and what it said beside that.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> (i32, String, String) {
    said(program().args(args).output().expect("it runs"))
}

pub(crate) fn said(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let code = output.status.code().unwrap_or(-1);
    (code, text(output.stdout), text(output.stderr))
}

/// Runs a verb on a file.
#[track_caller]
pub(crate) fn on(store: &Path, args: &[&str]) -> (i32, String, String) {
    let store = store.to_str().expect("a path of text");
    run(&[&["--store", store], args].concat())
}

/// As [`on`], where it must be done; its output as JSON.
#[track_caller]
pub(crate) fn done(store: &Path, args: &[&str]) -> serde_json::Value {
    let (code, out, err) = on(store, &[args, &["-o", "json"]].concat());
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    serde_json::from_str(&out).expect("JSON")
}

pub(crate) fn echo(builder: Builder) -> Builder {
    builder.task(
        ECHO,
        |_: Ctx, text| async move { Ok::<_, HandlerError>(text) },
    )
}

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// A file with some ended tasks, some that are due in a day, and large values.
pub(crate) fn filled(path: &Path, tasks: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let engine = echo(Engine::builder(path)).open().await.expect("it opens");
        for n in 0..5 {
            let input = format!("ended {n} ").repeat(400);
            let id = format!("ended-{n}");
            engine
                .run(ECHO, id.as_str(), &input)
                .await
                .expect("it ends");
        }
        let day = Duration::from_secs(24 * 3600);
        for from in (0..tasks).step_by(BATCH) {
            let starts = (from..tasks.min(from + BATCH)).map(|n| {
                let input = format!("input of {n}, which is not long");
                let start = engine.start(ECHO, format!("later-{n:05}"), &input);
                start.start_in(day)
            });
            let started = engine.start_all(starts).await;
            assert!(started.iter().all(Result::is_ok));
        }
        engine.shutdown(Duration::ZERO).await;
    });
}

/// Tasks that are due in a day in the large file.
pub(crate) fn later() -> usize {
    let asked = std::env::var("OUTLIVE_LARGE").ok();
    asked.map_or(LARGE, |asked| asked.parse().expect("a number of tasks"))
}

/// A copy of a file of [`later`] tasks, which is made once.
pub(crate) fn large(directory: &Path) -> PathBuf {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, made) = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("large.redb");
        filled(&path, later());
        (directory, path)
    });
    let path = directory.join("large.redb");
    std::fs::copy(made, &path).expect("a copy");
    path
}

/// Files in a directory that begin so, but for locks.
pub(crate) fn files(directory: &Path, begin: &str) -> Vec<String> {
    let names = std::fs::read_dir(directory).expect("a directory");
    let names = names.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().expect("text"))
        .collect();
    names.retain(|name| name.starts_with(begin) && !name.ends_with(".lock"));
    names
}
