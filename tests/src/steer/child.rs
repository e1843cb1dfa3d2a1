//! The killed program: it steers tasks until it is killed; the last one tells what became of every input.

use super::log::{Key, Log, What, parse};
use super::work::{self, CHAIN, TASKS, delivery, id, is_taken_back};
use outlive::{Accepted, ControlError, Engine, InputError, InputStatus, StartError, Status};
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a caller waits for room in a queue.
const ROOM: Duration = Duration::from_millis(1);
/// Inputs asked for at once at the end.
const ASKED: usize = 256;

type Failed = Box<dyn Error + Send + Sync>;

/// Where the file lies.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("steered.redb")
}

/// Where the log lies.
pub fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}

/// What a caller had told before its process was killed.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// The next number; the one before may have no answer.
    next: u64,
    answered: bool,
}

fn told(directory: &Path) -> io::Result<Vec<Told>> {
    let mut told = vec![Told::default(); TASKS];
    let path = log(directory);
    let text = if path.exists() {
        std::fs::read_to_string(path)?
    } else {
        String::new()
    };
    for (what, (task, number)) in text.lines().filter_map(parse) {
        match what {
            What::Told => {
                (told[task].next, told[task].answered) = (number + 1, false);
            }
            What::Accepted => told[task].answered = true,
            What::TakingBack | What::TakenBack | What::Kept => {}
        }
    }
    Ok(told)
}

/// One life, which only a kill ends.
///
/// # Errors
/// The first thing that failed: a life that ends by itself is a violation.
pub async fn live(directory: PathBuf) -> Result<(), Failed> {
    let told = told(&directory)?;
    let log = Arc::new(Log::append(&log(&directory))?);
    let engine = work::builder(&file(&directory)).open().await?;
    writeln!(io::stdout(), "open")?;
    let mut callers = JoinSet::new();
    for (task, told) in told.into_iter().enumerate() {
        let (engine, log) = (engine.clone(), Arc::clone(&log));
        callers.spawn(async move { call(&engine, &log, task, told).await });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

/// One caller of one task: it gives an input when the one before was accepted, so their order is known.
async fn call(engine: &Engine, log: &Log, task: usize, told: Told) -> Result<(), Failed> {
    let mut number = told.next;
    if !told.answered {
        // Whether the last one was accepted is not known: it is given again, under its id.
        number = number.saturating_sub(1);
    }
    loop {
        let key = (task, number);
        log.write(What::Told, key);
        give(engine, key).await?;
        log.write(What::Accepted, key);
        if is_taken_back(task, number) {
            log.write(What::TakingBack, key);
            let back = engine.withdraw(id(task), number.to_string(), "not needed");
            match back.await {
                Ok(()) => log.write(What::TakenBack, key),
                Err(ControlError::Conflict { .. }) => log.write(What::Kept, key),
                Err(error) => return Err(error.into()),
            }
        }
        number += 1;
    }
}

async fn give(engine: &Engine, (task, number): Key) -> Result<(), Failed> {
    loop {
        let start = engine.start(CHAIN, id(task), &number);
        let start = start.input_id(number.to_string());
        match start.delivery(delivery(task, number)).await {
            Ok(_) => return Ok(()),
            Err(StartError::SteeringQueueFull { .. }) => tokio::time::sleep(ROOM).await,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The last life: works off what waits, then tells of every input that was ever told of.
///
/// # Errors
/// The first thing that failed.
pub async fn finish(directory: PathBuf) -> Result<(), Failed> {
    let told = told(&directory)?;
    let engine = work::builder(&file(&directory)).open().await?;
    for task in 0..TASKS {
        while !rests(&engine, task).await? {
            tokio::time::sleep(ROOM).await;
        }
    }
    let mut asked = JoinSet::new();
    for (task, told) in told.into_iter().enumerate() {
        for number in 0..told.next {
            if asked.len() >= ASKED {
                say(asked.join_next().await)?;
            }
            let engine = engine.clone();
            asked.spawn(async move { ask(&engine, (task, number)).await });
        }
    }
    while !asked.is_empty() {
        say(asked.join_next().await)?;
    }
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

async fn rests(engine: &Engine, task: usize) -> Result<bool, Failed> {
    let found = engine.get(id(task)).await?;
    Ok(found.is_none_or(|task| match task.status {
        Status::Suspended | Status::Completed => true,
        Status::Pending | Status::InProgress => false,
    }))
}

/// Where an input stands, and what its caller is answered with.
async fn ask(engine: &Engine, (task, number): Key) -> Result<String, Failed> {
    let status = match engine.input(id(task), number.to_string()).await {
        Ok(status) => status,
        Err(InputError::NotFound { .. }) => return Ok(format!("{task} {number} absent")),
        Err(error) => return Err(error.into()),
    };
    let (turn, step) = match status {
        InputStatus::Consumed { turn, step, .. } => (turn, step),
        InputStatus::Withdrawn { .. } => return Ok(format!("{task} {number} withdrawn")),
        other => return Ok(format!("{task} {number} left {other:?}")),
    };
    let run = engine.start(CHAIN, id(task), &number);
    let run = run.input_id(number.to_string()).await?;
    if run.accepted() != Some(Accepted::Attached) {
        return Ok(format!("{task} {number} left {:?}", run.accepted()));
    }
    let outcome = run.outcome().await?;
    let boundary = step.as_deref().map_or("-", |key| &key["boundary ".len()..]);
    let numbers: Vec<String> = outcome.output().iter().map(u64::to_string).collect();
    Ok(format!(
        "{task} {number} consumed {turn} {boundary} {} {}",
        outcome.turn(),
        numbers.join(",")
    ))
}

fn say(
    asked: Option<Result<Result<String, Failed>, tokio::task::JoinError>>,
) -> Result<(), Failed> {
    if let Some(answer) = asked {
        writeln!(io::stdout().lock(), "{}", answer??)?;
    }
    Ok(())
}
