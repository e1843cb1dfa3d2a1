//! A research pipeline of twelve recorded steps over real documents, killed after each of them: it ends with the same
//! report, and no stage's work is done twice.
//!
//! `steps [DIR]` reads the documents of a directory; without one, those of this project.

mod documents;
mod pipeline;

use outlive::{Engine, Entry};
use pipeline::{RESEARCH, STAGES};
use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tells a process of this program that it is the one that works, and where.
const HOME: &str = "OUTLIVE_STEPS_HOME";
/// Tells it to wait for its end after this many stages of its own.
const STAGES_PER_LIFE: &str = "OUTLIVE_STEPS_PER_LIFE";

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).map_or_else(documents, PathBuf::from);
    match env::var_os(HOME) {
        Some(home) => work(&directory, Path::new(&home)),
        None => supervise(&directory),
    }
}

/// The documents of this project.
fn documents() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Lets one process work in peace, and another one die after every stage, and compares what they come to.
fn supervise(directory: &Path) -> Result<(), Box<dyn Error>> {
    let (peaceful, deadly) = (tempfile::tempdir()?, tempfile::tempdir()?);
    life(directory, peaceful.path(), None)?;
    let mut deaths = 0;
    while life(directory, deadly.path(), Some(1))? {
        deaths += 1;
        println!("  killed after stage {deaths}");
    }
    let report = |home: &Path| std::fs::read_to_string(home.join("report.md"));
    let (expected, found) = (report(peaceful.path())?, report(deadly.path())?);
    assert_eq!(expected, found, "the same report, byte by byte");
    let worked = std::fs::read_to_string(deadly.path().join("work.log"))?;
    let worked: Vec<&str> = worked.lines().collect();
    assert_eq!(worked, STAGES, "each stage's work was done once, in order");
    assert_eq!(deaths, STAGES.len());
    println!("\n{found}");
    println!("{deaths} deaths, one after each stage: the same report, each stage's work done once");
    Ok(())
}

/// One life of the working process. True: it was killed.
fn life(directory: &Path, home: &Path, stages: Option<usize>) -> Result<bool, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(directory)
        .env(HOME, home)
        .stdout(Stdio::piped());
    if let Some(stages) = stages {
        command.env(STAGES_PER_LIFE, stages.to_string());
    }
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or("a process without output")?;
    for line in BufReader::new(output).lines() {
        // It waits for its end: nothing it still could do is left undone by chance.
        if line? == "waiting" {
            child.kill()?;
            child.wait()?;
            return Ok(true);
        }
    }
    let status = child.wait()?;
    status
        .success()
        .then_some(false)
        .ok_or_else(|| format!("the work ended with {status}").into())
}

/// The process that works: opens the file, and waits for the report.
#[tokio::main]
async fn work(directory: &Path, home: &Path) -> Result<(), Box<dyn Error>> {
    let per_life = env::var(STAGES_PER_LIFE).ok();
    let limit = per_life.map(|stages| stages.parse()).transpose()?;
    let (log, directory) = (home.join("work.log"), directory.to_owned());
    let handler = move |ctx: outlive::Ctx, input: PathBuf| {
        let log = log.clone();
        async move {
            if let Entry::Recovered { crashes } = ctx.entry() {
                eprintln!("  going on after {crashes} deaths");
            }
            pipeline::research(&ctx, &input, &pipeline::Work { log, limit }).await
        }
    };
    // Twelve deaths in a row would look like a task that kills its process; a recorded step is the proof of the contrary.
    let builder = Engine::builder(home.join("steps.redb"));
    let engine = builder.task(RESEARCH, handler).open().await?;
    let run = engine.start(RESEARCH, "report", &directory).await?;
    std::fs::write(home.join("report.md"), run.result().await?)?;
    engine.shutdown(std::time::Duration::from_secs(5)).await;
    Ok(())
}
