//! The work of the killed program: what an input asks for follows from its ids, so that anybody can check its output.

use super::log::{Key, Line, Log};
use outlive::{Builder, Ctx, Engine, Entry, HandlerError, RetryPolicy, TaskDef};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Async work; some of it fails once.
pub const WORK: TaskDef<String, String> = TaskDef::new("work").retry(QUICKLY);
/// Work on a thread.
pub const BLOCKING: TaskDef<String, String> = TaskDef::new("blocking").retry(QUICKLY);
/// Work with several inputs per task.
pub const STEERED: TaskDef<String, String> = TaskDef::new("steered").retry(QUICKLY).steerable(4);

const QUICKLY: RetryPolicy = RetryPolicy::fixed()
    .attempts(3)
    .initial(Duration::from_millis(2))
    .jitter(false);

/// More than a row keeps, so it lies in a table of its own.
const LARGE: usize = 1500;

/// The definition of a task, told by the first letter of its id.
pub fn definition(id: &str) -> TaskDef<String, String> {
    match id.as_bytes().first() {
        Some(b'b') => BLOCKING,
        Some(b's') => STEERED,
        _ => WORK,
    }
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn chance(key: &Key) -> u64 {
    let hash = hash(format!("{}/{}", key.id, key.input).as_bytes());
    // The low bits of FNV depend on few bits of the last byte.
    hash ^ (hash >> 32)
}

/// The bytes a caller gives.
pub fn input(key: &Key) -> String {
    text("in", key, chance(key).is_multiple_of(11))
}

/// The output of the input.
pub fn output(key: &Key) -> String {
    text("out", key, chance(key).is_multiple_of(5))
}

fn text(kind: &str, key: &Key, large: bool) -> String {
    let text = format!("{kind}/{}/{}/", key.id, key.input);
    let width = if large { LARGE } else { 0 };
    format!("{text:.<width$}")
}

/// An engine on the file at `path` whose handlers tell the log what they do.
pub fn builder(path: &Path, log: &Arc<Log>) -> Builder {
    let (async_log, steered_log, blocking_log) =
        (Arc::clone(log), Arc::clone(log), Arc::clone(log));
    Engine::builder(path)
        .task(WORK, move |ctx: Ctx, given| {
            let log = Arc::clone(&async_log);
            async move { run(&log, &ctx, &given).await }
        })
        .task(STEERED, move |ctx: Ctx, given| {
            let log = Arc::clone(&steered_log);
            async move { run(&log, &ctx, &given).await }
        })
        .blocking(BLOCKING, move |ctx: Ctx, given: String| {
            let (key, pause) = entered(&blocking_log, &ctx, &given)?;
            std::thread::sleep(pause / 4);
            left(&blocking_log, &ctx, &key)
        })
}

async fn run(log: &Log, ctx: &Ctx, given: &str) -> Result<String, HandlerError> {
    let (key, pause) = entered(log, ctx, given)?;
    tokio::time::sleep(pause).await;
    left(log, ctx, &key)
}

fn entered(log: &Log, ctx: &Ctx, given: &str) -> Result<(Key, Duration), HandlerError> {
    let key = Key {
        id: ctx.id().to_string(),
        input: ctx.input_id().to_string(),
    };
    let entry = match ctx.entry() {
        Entry::Fresh => "fresh",
        Entry::Resumed => "resumed",
        Entry::Retried { .. } => "retried",
        Entry::Recovered { .. } => "recovered",
        _ => "unknown",
    };
    log.write(&Line::Entered {
        key: key.clone(),
        generation: ctx.generation(),
        entry: entry.to_owned(),
    });
    if given != input(&key) {
        // The task ends as failed, which nobody expects.
        return Err(HandlerError::terminal("the input is not the caller's"));
    }
    let pause = Duration::from_millis(chance(&key) % 21);
    Ok((key, pause))
}

fn left(log: &Log, ctx: &Ctx, key: &Key) -> Result<String, HandlerError> {
    let fails = chance(key).is_multiple_of(7) && ctx.attempt() == 1;
    log.write(&Line::Left {
        generation: ctx.generation(),
    });
    if fails {
        return Err("the first attempt fails".into());
    }
    Ok(output(key))
}
