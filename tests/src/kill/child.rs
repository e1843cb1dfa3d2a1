//! The killed program: it lists what it finds, then starts tasks until it is killed; the last one ends them all.

use super::log::{Key, Line, Log};
use super::long::{PIPELINE, QUESTION_KEY};
use super::owners::{Owners, Said};
use super::work::{self, definition, hash, input};
use crate::shown::Seen;
use outlive::{
    Accepted, AnswerError, ControlError, Engine, InputError, OpenError, Run, StartError, Status,
    WaitReason,
};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What the names of logs begin with.
const LOG: &str = "log-";
/// Callers that start tasks at the same time.
const CALLERS: u64 = 32;
/// Inputs a caller gives to one steered task at the same time.
const STEERS: u64 = 3;
/// How long somebody who was refused the file, or has no question to answer yet, waits.
const BETWEEN: Duration = Duration::from_millis(2);
/// Looks for a question, at most.
const LOOKS_MAX: u32 = 40;
/// Tasks listed at once.
const PAGE: usize = 500;
/// Inputs asked for at once at the end.
const ASKED: usize = 512;

type Failed = Box<dyn Error + Send + Sync>;

/// Where the file lies.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("tasks.redb")
}

/// Where the log of a life lies: the next one may begin before this one is read.
pub fn log(directory: &Path, life: u64) -> PathBuf {
    directory.join(format!("{LOG}{life}"))
}

/// Where it is told who has the file.
pub fn owners(directory: &Path) -> PathBuf {
    directory.join("owners")
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
    let (told, refused) = told(&directory)?;
    let (engine, _) = open(&directory, life).await?;
    list(&engine).await?;
    for key in refused {
        let there = match engine.input(&key.id, &key.input).await {
            Err(InputError::NotFound { .. }) => "absent",
            Ok(_) => "present",
            Err(error) => return Err(error.into()),
        };
        writeln!(io::stdout(), "P {} {} {there}", key.id, key.input)?;
    }
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

/// Opens the file, for which it waits as long as another process has it.
async fn open(directory: &Path, life: u64) -> Result<(Engine, Arc<Log>), Failed> {
    let owners = Arc::new(Owners::append(&owners(directory), life)?);
    let log = Arc::new(Log::append(&log(directory, life))?.of(&owners));
    loop {
        let began = Instant::now();
        match work::builder(&file(directory), &log).open().await {
            Err(OpenError::AlreadyRunning { pid, .. }) => {
                let us = began.elapsed().as_micros() as u64;
                owners.say(Said::Refused { by: pid, us });
                tokio::time::sleep(BETWEEN).await;
            }
            Err(error) => return Err(error.into()),
            Ok(engine) => {
                owners.say(Said::Owns);
                log.write(&Line::Began(life));
                return Ok((engine, log));
            }
        }
    }
}

/// Prints every task of the file, then an empty line.
async fn list(engine: &Engine) -> Result<(), Failed> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut after = None;
    loop {
        let page = engine.list_all().after(after).limit(PAGE).await?;
        for task in page.tasks {
            let how = match (task.status, &task.wait) {
                (Status::Completed, _) => "1",
                (_, Some(WaitReason::Quarantined { .. })) => "quarantined",
                (_, Some(WaitReason::Isolated { .. })) => "isolated",
                (_, _) => "0",
            };
            writeln!(out, "L {} {} {how}", task.id, task.generation)?;
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
        let kind = match (caller + count) % 12 {
            0 => 'b',
            1 | 2 => 's',
            3..=5 => 'p',
            6 => 'f',
            7 => 'q',
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
        if kind == 'q' && count.is_multiple_of(2) {
            let Some(run) = start(engine, log, &key).await? else {
                continue;
            };
            answer(engine, log, &key).await?;
            returned(log, key, &run).await?;
            continue;
        }
        if count.is_multiple_of(4) {
            // A caller that does not wait: its task ends in this life or in another one.
            start(engine, log, &key).await?;
            continue;
        }
        start_and_wait(engine, log, key).await?;
    }
}

async fn start(engine: &Engine, log: &Log, key: &Key) -> Result<Option<Run<String, u64>>, Failed> {
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
    returned(log, key, &run).await
}

async fn returned(log: &Log, key: Key, run: &Run<String, u64>) -> Result<(), Failed> {
    let output = hash(run.result().await?.as_bytes());
    log.write(&Line::Returned { key, output });
    Ok(())
}

/// Answers the question of a task, if it comes to ask before its time is over.
async fn answer(engine: &Engine, log: &Log, key: &Key) -> Result<(), Failed> {
    let value = hash(key.id.as_bytes()) >> 1 | 1;
    for _ in 0..LOOKS_MAX {
        match engine.answer(&key.id, QUESTION_KEY, &value).await {
            Ok(()) => {
                log.write(&Line::Answered {
                    id: key.id.clone(),
                    value,
                });
                return Ok(());
            }
            Err(AnswerError::NotAsked { .. }) => tokio::time::sleep(BETWEEN).await,
            Err(
                AnswerError::Expired { .. } | AnswerError::Control(ControlError::Conflict { .. }),
            ) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Every input that any life told of and that was not refused, and those that were.
fn told(directory: &Path) -> io::Result<(BTreeSet<Key>, BTreeSet<Key>)> {
    let mut told = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(LOG) {
            continue;
        }
        for line in std::fs::read_to_string(entry.path())?.lines() {
            match Line::parse(line) {
                Some(Line::Told(key)) => _ = told.insert(key),
                Some(Line::Refused(key)) => _ = refused.insert(key),
                Some(_) | None => {}
            }
        }
    }
    told.retain(|key| !refused.contains(key));
    Ok((told, refused))
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
    let told = format!("F {id} {input} {how} {output}");
    if definition(id).name() != PIPELINE.name() {
        return Ok(told);
    }
    Ok(format!("{told}\nZ {id} {}", whole(engine, id).await?))
}

/// The stream of an ended task.
async fn whole(engine: &Engine, id: &str) -> Result<String, Failed> {
    let mut stream = engine.stream(PIPELINE, id, 0).await?;
    let mut words = Vec::new();
    while let Some(event) = stream.next().await {
        let seen = Seen::of(event?).ok_or("an event that nobody knows")?;
        words.push(seen.word());
    }
    Ok(words.join(" "))
}

fn answered(
    asked: Option<Result<Result<String, Failed>, tokio::task::JoinError>>,
) -> Result<(), Failed> {
    if let Some(answer) = asked {
        writeln!(io::stdout().lock(), "{}", answer??)?;
    }
    Ok(())
}
