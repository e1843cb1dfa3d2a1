//! A file whose owner stands still, or has left a process behind.

use outlive::{Ctx, Engine, HandlerError, OpenError, TaskDef};
use outlive_tests::process::{self, Other};
use rustix::process::{Pid, Signal};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TASK: TaskDef<u32, u32> = TaskDef::new("task");

async fn open(path: &Path) -> Result<Engine, OpenError> {
    let echo = |_: Ctx, n| async move { Ok::<_, HandlerError>(n) };
    Engine::builder(path).task(TASK, echo).open().await
}

fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let process = process.expect("a process id");
    rustix::process::kill_process(process, signal).expect("it lives");
}

/// Waits until the system says that the process stands still.
fn stands_still(process: u32) {
    let status = || std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it lives");
    let is_stopped = |status: String| status.rsplit(") ").next().map(|s| s.starts_with('T'));
    while is_stopped(status()) != Some(true) {
        std::thread::yield_now();
    }
}

/// Not a test of its own: has the file, and a process of its own that outlives it.
#[tokio::test]
async fn child() {
    let Some(path) = process::path() else {
        return;
    };
    let engine = open(&path).await.unwrap();
    engine.run(TASK, "a", &1).await.unwrap();
    let left_behind = Command::new("sleep")
        .arg("600")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    process::say(&left_behind.expect("a process").id().to_string());
    process::wait_for_end();
}

fn owner(path: &Path) -> (Other, u32) {
    let mut owner = Other::test("locks::child", path);
    let left_behind = owner.word().expect("it runs").parse().unwrap();
    (owner, left_behind)
}

#[tokio::test]
async fn a_process_that_stands_still_keeps_its_file_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (owner, left_behind) = owner(&path);
    signal(owner.id(), Signal::STOP);
    stands_still(owner.id());
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let opened = open(&path).await;
        longest = longest.max(began.elapsed());
        let Err(OpenError::AlreadyRunning { pid, .. }) = opened else {
            panic!("{opened:?}");
        };
        assert_eq!(pid, Some(owner.id()));
    }
    signal(owner.id(), Signal::CONT);
    owner.end();
    signal(left_behind, Signal::KILL);
    let engine = open(&path).await.unwrap();
    assert!(engine.get("a").await.unwrap().is_some());
    println!("20 opens refused while the owner stood still, the longest in {longest:?}");
}

/// A lock that a process of the owner's had with it would hold the file after the owner is gone, for as long as that
/// process likes.
#[tokio::test]
async fn a_process_that_the_owner_had_started_does_not_keep_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tasks.redb");
    let (owner, left_behind) = owner(&path);
    owner.kill();
    let began = Instant::now();
    let engine = open(&path).await.unwrap();
    println!("opened {:?} after its owner was killed", began.elapsed());
    assert!(engine.get("a").await.unwrap().is_some());
    // It lives to this moment.
    signal(left_behind, Signal::KILL);
}
