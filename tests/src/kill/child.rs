//! The killed program: it lists what it finds, then starts tasks until it is killed; the last one ends them all.

use super::log::{Key, Line, Log};
use super::work::{self, definition, hash, input};
use outlive::{Accepted, Engine, Run, StartError, Status};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Callers that start tasks at the same time.
const CALLERS: u64 = 32;
/// Inputs a caller gives to one steered task at the same time.
const STEERS: u64 = 3;
/// Tasks listed at once.
const PAGE: usize = 500;
/// Inputs asked for at once at the end.
const ASKED: usize = 512;

type Failed = Box<dyn Error + Send + Sync>;

/// Where the file lies.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("tasks.redb")
}

/// Where the log lies.
pub fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}

/// One life, which only a kill ends.
///
/// # Errors
/// The first thing that failed: a life that ends by itself is a violation.
pub async fn live(directory: PathBuf, life: u64) -> Result<(), Failed> {
    let (engine, log) = open(&directory, life).await?;
    list(&engine).await?;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (engine, log) = (engine.clone(), Arc::clone(&log));
        callers.spawn(async move { call(&engine, &log, life, caller).await });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

/// The last life: asks for every input that was ever told, and says what it got.
///
/// # Errors
/// The first thing that failed.
pub async fn finish(directory: PathBuf, life: u64) -> Result<(), Failed> {
    let told = told(&std::fs::read_to_string(log(&directory))?);
    let (engine, _) = open(&directory, life).await?;
    list(&engine).await?;
    let mut asked = JoinSet::new();
    for key in told {
        if asked.len() >= ASKED {
            answered(asked.join_next().await)?;
        }
        let engine = engine.clone();
        asked.spawn(async move { ask(&engine, key).await });
    }
    while !asked.is_empty() {
        answered(asked.join_next().await)?;
    }
    list(&engine).await?;
    engine.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

async fn open(directory: &Path, life: u64) -> Result<(Engine, Arc<Log>), Failed> {
    let log = Arc::new(Log::append(&log(directory))?);
    log.write(&Line::Began(life));
    let engine = work::builder(&file(directory), &log).open().await?;
    Ok((engine, log))
}

/// Prints every task of the file, then an empty line.
async fn list(engine: &Engine) -> Result<(), Failed> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut after = None;
    loop {
        let page = engine.list_all().after(after).limit(PAGE).await?;
        for task in page.tasks {
            let ended = task.status == Status::Completed;
            writeln!(out, "L {} {} {}", task.id, task.generation, u8::from(ended))?;
        }
        if let Some(damage) = page.damaged.into_iter().next() {
            return Err(damage.into());
        }
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

async fn call(engine: &Engine, log: &Arc<Log>, life: u64, caller: u64) -> Result<(), Failed> {
    let mut count = 0_u64;
    loop {
        let kind = match (caller + count) % 8 {
            0 => 'b',
            1 | 2 => 's',
            _ => 'w',
        };
        let id = format!("{kind}-{life}-{caller}-{count}");
        count += 1;
        if kind == 's' {
            let mut steers = JoinSet::new();
            for input in 0..STEERS {
                let key = Key {
                    id: id.clone(),
                    input: input.to_string(),
                };
                let (engine, log) = (engine.clone(), Arc::clone(log));
                steers.spawn(async move { start_and_wait(&engine, &log, key).await });
            }
            while let Some(steered) = steers.join_next().await {
                steered??;
            }
            continue;
        }
        let key = Key {
            id,
            input: "0".to_owned(),
        };
        if count.is_multiple_of(4) {
            // A caller that does not wait: its task ends in this life or in another one.
            start(engine, log, &key).await?;
            continue;
        }
        start_and_wait(engine, log, key).await?;
    }
}

async fn start(engine: &Engine, log: &Log, key: &Key) -> Result<Option<Run<String>>, Failed> {
    let starting = engine
        .start(definition(&key.id), key.id.as_str(), &input(key))
        .input_id(key.input.as_str());
    log.write(&Line::Told(key.clone()));
    match starting.await {
        Ok(run) => {
            log.write(&Line::Acknowledged(key.clone()));
            Ok(Some(run))
        }
        // A steered task may end before its further inputs come.
        Err(StartError::Conflict { .. } | StartError::SteeringQueueFull { .. }) => {
            log.write(&Line::Refused(key.clone()));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn start_and_wait(engine: &Engine, log: &Log, key: Key) -> Result<(), Failed> {
    let Some(run) = start(engine, log, &key).await? else {
        return Ok(());
    };
    let output = hash(run.result().await?.as_bytes());
    log.write(&Line::Returned { key, output });
    Ok(())
}

/// Every input that was told of, and not refused.
fn told(log: &str) -> BTreeSet<Key> {
    let mut told = BTreeSet::new();
    for line in log.lines().filter_map(Line::parse) {
        match line {
            Line::Told(key) => {
                told.insert(key);
            }
            Line::Refused(key) => {
                told.remove(&key);
            }
            Line::Began(_)
            | Line::Acknowledged(_)
            | Line::Entered { .. }
            | Line::Left { .. }
            | Line::Returned { .. } => {}
        }
    }
    told
}

/// Starts once more with the same ids: what was acknowledged is attached to, and ends.
async fn ask(engine: &Engine, key: Key) -> Result<String, Failed> {
    let starting = engine
        .start(definition(&key.id), key.id.as_str(), &input(&key))
        .input_id(key.input.as_str());
    let Key { id, input } = &key;
    let run = match starting.await {
        Ok(run) => run,
        Err(StartError::Conflict { .. } | StartError::SteeringQueueFull { .. }) => {
            return Ok(format!("F {id} {input} refused 0"));
        }
        Err(error) => return Err(error.into()),
    };
    let how = match run.accepted() {
        Some(Accepted::Attached) => "attached",
        Some(Accepted::Started) => "started",
        Some(Accepted::Queued) => "queued",
        Some(Accepted::Resumed) => "resumed",
        Some(Accepted::Restarted) => "restarted",
        None => "unknown",
    };
    let output = hash(run.result().await?.as_bytes());
    Ok(format!("F {id} {input} {how} {output}"))
}

fn answered(
    asked: Option<Result<Result<String, Failed>, tokio::task::JoinError>>,
) -> Result<(), Failed> {
    if let Some(answer) = asked {
        writeln!(io::stdout().lock(), "{}", answer??)?;
    }
    Ok(())
}
