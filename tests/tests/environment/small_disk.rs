//! A real disk that is full: a file system of three megabytes, where one may be mounted.

use outlive::{
    Accepted, ControlError, Ctx, Engine, HandlerError, OpenError, RunError, StartError, StoreError,
    TaskDef,
};
use outlive_tests::process::{self, Other};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TASK: TaskDef<String, u32> = TaskDef::new("task");
/// An input; some tens of them fill the disk.
const INPUT_BYTES: usize = 20 * 1024;
const TASKS_MAX: u32 = 1000;
/// What is on the disk beside the file, until there is room again.
const BALLAST_BYTES: usize = 1 << 20;
/// An end that is not durable by then waits for room.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Work that has not gone on by then does not by itself.
const RESUMES_WITHIN: Duration = Duration::from_secs(10);

/// In a mount namespace of its own, so that nobody else sees it and it goes with the process.
const MOUNTED: [&str; 5] = [
    "unshare",
    "-m",
    "sh",
    "-c",
    "mount -t tmpfs -o size=5m,mode=700 tmpfs \"$OUTLIVE_CHILD_PATH\" && exec \"$@\"",
];

fn may_mount(directory: &Path) -> bool {
    let tried = Command::new(MOUNTED[0])
        .args(&MOUNTED[1..])
        .args(["sh", "true"])
        .env("OUTLIVE_CHILD_PATH", directory)
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// What the process on the small disk has to say, to its last word.
fn told(name: &str) -> Option<Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    if !may_mount(directory.path()) {
        println!("not run: no file system may be mounted here");
        return None;
    }
    let by: Vec<&str> = MOUNTED.into_iter().chain(["sh"]).collect();
    let mut other = Other::test_by(&by, name, directory.path());
    let told: Vec<String> = std::iter::from_fn(|| other.word()).collect();
    other.end();
    Some(told)
}

async fn open(path: &Path) -> Result<Engine, OpenError> {
    let count = |_: Ctx, text: String| async move { Ok::<_, HandlerError>(text.len() as u32) };
    Engine::builder(path).task(TASK, count).open().await
}

fn input() -> String {
    "x".repeat(INPUT_BYTES)
}

fn id(n: u32) -> String {
    format!("t{n}")
}

/// Fills the disk up to the last byte.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    let page = [7; 4096];
    while file.write_all(&page).is_ok() {}
}

/// What was acknowledged before the disk was full, and what became of the last start.
struct Full {
    acknowledged: Vec<u32>,
    unknown: Option<u32>,
    refused: Option<u32>,
    /// Ends of handlers that wait for room.
    waiting: u32,
}

async fn until_full(engine: &Engine) -> Full {
    let mut full = Full {
        acknowledged: Vec::new(),
        unknown: None,
        refused: None,
        waiting: 0,
    };
    for n in 0..TASKS_MAX {
        match engine.start(TASK, id(n), &input()).input_id("one").await {
            Ok(run) => {
                full.acknowledged.push(n);
                match tokio::time::timeout(ENDS_WITHIN, run.result()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(other)) => panic!("{other:?}"),
                    Err(_) => full.waiting += 1,
                }
            }
            Err(StartError::Store(StoreError::Full)) => {
                full.refused = Some(n);
                return full;
            }
            Err(StartError::Unknown { .. }) => {
                full.unknown = Some(n);
                return full;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("the disk takes everything");
}

/// Starts something until it is taken; `None` when that does not come to pass.
async fn resumes(engine: &Engine) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < RESUMES_WITHIN {
        match engine.run(TASK, "after", &input()).await {
            Ok(_) => return Some(began.elapsed()),
            Err(RunError::Start(StartError::Store(StoreError::Full))) => {}
            Err(other) => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// Everything that was acknowledged is there, and what is unknown is settled by asking again.
async fn all_there(engine: &Engine, full: &Full) {
    for n in &full.acknowledged {
        let run = engine.start(TASK, id(*n), &input()).input_id("one").await;
        let run = run.unwrap();
        assert_eq!(run.accepted(), Some(Accepted::Attached), "{n} is lost");
        assert_eq!(run.result().await.unwrap(), INPUT_BYTES as u32);
    }
    if let Some(n) = full.refused {
        let found = engine.get(id(n)).await.unwrap();
        assert!(found.is_none(), "{n} was refused and is there");
    }
    if let Some(n) = full.unknown {
        let run = engine.start(TASK, id(n), &input()).input_id("one").await;
        assert_eq!(run.unwrap().result().await.unwrap(), INPUT_BYTES as u32);
    }
}

/// Not a test of its own: fills the disk with tasks, makes room, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_commits() {
    let Some(disk) = process::path() else {
        return;
    };
    let (path, ballast) = (disk.join("tasks.redb"), disk.join("ballast"));
    let engine = open(&path).await.unwrap();
    std::fs::write(&ballast, vec![7; BALLAST_BYTES]).unwrap();
    let full = until_full(&engine).await;
    process::say(&format!(
        "full after {} tasks, {} ends wait",
        full.acknowledged.len(),
        full.waiting
    ));
    assert!(full.refused.is_some(), "whoever comes is told");
    let read = engine.get(id(full.acknowledged[0])).await.unwrap();
    assert!(read.is_some(), "reads go on");
    process::say(match engine.delete(id(full.acknowledged[0])).await {
        Ok(true) => "a removal found room",
        Ok(false) => "a task is lost",
        Err(ControlError::Store(StoreError::Full)) => "a removal is refused",
        Err(_) => "another error",
    });
    std::fs::remove_file(&ballast).unwrap();
    let resumed = resumes(&engine).await.expect("there is room");
    process::say(&format!("resumed by itself after {resumed:?}"));
    let mut full = full;
    full.acknowledged.remove(0);
    all_there(&engine, &full).await;
    engine.shutdown(Duration::from_secs(1)).await;
    process::say("all there");
}

#[test]
fn a_disk_that_is_full_loses_nothing_and_work_goes_on_when_there_is_room() {
    let Some(told) = told("small_disk::child_that_commits") else {
        return;
    };
    println!("{}", told.join("; "));
    assert!(told[0].starts_with("full after"), "{told:?}");
    assert!(told[1].starts_with("a removal"), "{told:?}");
    assert!(told[2].starts_with("resumed by itself"), "{told:?}");
    assert_eq!(told[3], "all there");
}

/// Not a test of its own: creates and opens where there is no room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_opens() {
    let Some(disk) = process::path() else {
        return;
    };
    let (path, other) = (disk.join("tasks.redb"), disk.join("other.redb"));
    let (room, ballast) = (disk.join("room"), disk.join("ballast"));
    let engine = open(&path).await.unwrap();
    std::fs::write(&room, vec![7; BALLAST_BYTES]).unwrap();
    let full = until_full(&engine).await;
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    fill(&ballast);

    let created = open(&other).await;
    assert!(matches!(created, Err(OpenError::File(_))), "{created:?}");
    assert!(!other.exists(), "half a file has its name");
    process::say("no file is created");
    match open(&path).await {
        Ok(engine) => {
            process::say("opened without room");
            engine.shutdown(Duration::ZERO).await;
        }
        Err(OpenError::File(_) | OpenError::Store(_)) => process::say("not opened without room"),
        Err(other) => panic!("{other:?}"),
    }
    let looks = Engine::builder(&path).open().await.unwrap();
    let found = looks.get(id(full.acknowledged[0])).await.unwrap();
    assert!(found.is_some());
    looks.shutdown(Duration::ZERO).await;
    drop(looks);
    process::say("looked at without room");
    std::fs::remove_file(&room).unwrap();
    let engine = open(&path).await.unwrap();
    all_there(&engine, &full).await;
    engine.shutdown(Duration::from_secs(1)).await;
    open(&other).await.unwrap();
    process::say("all there");
}

#[test]
fn an_open_on_a_full_disk_is_refused_or_works_and_leaves_everything_there() {
    let Some(told) = told("small_disk::child_that_opens") else {
        return;
    };
    println!("{}", told.join("; "));
    assert_eq!(told.first().map(String::as_str), Some("no file is created"));
    assert!(
        told.iter().any(|told| told == "looked at without room"),
        "{told:?}"
    );
    assert_eq!(told.last().map(String::as_str), Some("all there"));
}
