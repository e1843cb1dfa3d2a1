//! A short run of the killed program, the same each time: one task after the other, to its own end.

use super::child::{file, log};
use super::log::{Key, Line, Log};
use super::work::{self, definition, hash, input};
use outlive::{Engine, OpenError, ResultError, RunError, StartError};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Failed = Box<dyn Error + Send + Sync>;

/// What it starts, in this order; each character is a kind of work. Two inputs go to each steered task.
const TASKS: &str = "wpsfqwp";
const STEERS: u64 = 2;

/// What has no answer by then waits for the disk, and so do all who come later.
const PATIENCE: Duration = Duration::from_millis(500);
/// On a clock that does not wait even the longest wait for a store costs nothing.
const PATIENCE_INLINE: Duration = Duration::from_secs(30);
/// An engine that has not stopped by then does not stop.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// Where the engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On threads of its own, as in a program.
    Threads,
    /// On one thread with everything else, on a clock that does not wait: every run makes the same calls in one order.
    Inline,
}

/// How such a run ended, as far as it lived to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Everything was done.
    Through,
    /// The file was not opened, for a reason that its error names.
    NotOpened,
    /// The store failed on the way, and the calls said so, or waited for it.
    Failed,
    /// The engine did not stop.
    Hangs,
}

impl Place {
    fn patience(self) -> Duration {
        match self {
            Place::Threads => PATIENCE,
            Place::Inline => PATIENCE_INLINE,
        }
    }
}

/// Runs it in the directory.
///
/// # Errors
/// An answer that no failure of the store explains.
pub fn run(directory: &Path, place: Place) -> Result<Came, Failed> {
    let mut runtime = match place {
        Place::Threads => tokio::runtime::Builder::new_multi_thread(),
        Place::Inline => tokio::runtime::Builder::new_current_thread(),
    };
    runtime.worker_threads(2).enable_time();
    if place == Place::Inline {
        runtime.start_paused(true);
    }
    runtime.build()?.block_on(all(directory, place))
}

async fn all(directory: &Path, place: Place) -> Result<Came, Failed> {
    let log = Arc::new(Log::append(&log(directory, 0))?);
    let builder = work::builder(&file(directory), &log);
    let builder = match place {
        Place::Threads => builder,
        Place::Inline => builder.inline(),
    };
    let engine = match builder.open().await {
        Ok(engine) => engine,
        Err(error @ (OpenError::File(_) | OpenError::Store(_))) => {
            println!("not opened: {error}");
            return Ok(Came::NotOpened);
        }
        Err(error) => return Err(error.into()),
    };
    log.write(&Line::Began(0));
    let mut came = Came::Through;
    for (number, kind) in TASKS.chars().enumerate() {
        let inputs = if kind == 's' { STEERS } else { 1 };
        for input in 0..inputs {
            let key = Key {
                id: format!("{kind}-{number}"),
                input: input.to_string(),
            };
            let done = tokio::time::timeout(place.patience(), one(&engine, &log, key));
            if !done.await.unwrap_or(Ok(false))? {
                came = Came::Failed;
            }
        }
    }
    let stopped = engine.shutdown(Duration::from_millis(100));
    match tokio::time::timeout(STOPS_WITHIN, stopped).await {
        Ok(_) => Ok(came),
        Err(_) => Ok(Came::Hangs),
    }
}

/// One task; `false` when the store failed on the way.
async fn one(engine: &Engine, log: &Log, key: Key) -> Result<bool, Failed> {
    let starting = engine
        .start(definition(&key.id), key.id.as_str(), &input(&key))
        .input_id(key.input.as_str());
    log.write(&Line::Told(key.clone()));
    let run = match starting.await {
        Ok(run) => run,
        Err(StartError::Unknown { .. }) => {
            log.write(&Line::Unknown(key));
            return Ok(false);
        }
        Err(StartError::Conflict { .. }) => {
            log.write(&Line::Refused(key));
            return Ok(true);
        }
        Err(error) => {
            log.write(&Line::Refused(key));
            return told(error.into());
        }
    };
    log.write(&Line::Acknowledged(key.clone()));
    match run.result().await {
        Ok(output) => {
            let output = hash(output.as_bytes());
            log.write(&Line::Returned { key, output });
            Ok(true)
        }
        Err(error) => told(error.into()),
    }
}

/// `false` where the error says that the store failed, or that the engine has stopped for it.
fn told(error: RunError) -> Result<bool, Failed> {
    let is_of_the_store = matches!(
        error,
        RunError::Start(StartError::Store(_) | StartError::ShuttingDown)
            | RunError::Result(ResultError::Store(_) | ResultError::ShuttingDown)
    );
    if is_of_the_store {
        return Ok(false);
    }
    Err(error.into())
}
