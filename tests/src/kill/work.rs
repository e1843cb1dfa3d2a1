//! The work of the killed program: what an input asks for follows from its ids, so that anybody can check its output.

use super::log::{Key, Line, Log};
use super::long::{self, FAMILY, PIPELINE, QUESTION};
use outlive::{Builder, Ctx, Engine, Entry, HandlerError, RetryPolicy, TaskDef};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Async work; some of it fails once.
pub const WORK: TaskDef<String, String, u64> = TaskDef::new("work").retry(QUICKLY);
/// Work on a thread.
pub const BLOCKING: TaskDef<String, String, u64> = TaskDef::new("blocking").retry(QUICKLY);
/// Work with several inputs per task.
pub const STEERED: TaskDef<String, String, u64> =
    TaskDef::new("steered").retry(QUICKLY).steerable(4);

pub(super) const QUICKLY: RetryPolicy = RetryPolicy::fixed()
    .attempts(3)
    .initial(Duration::from_millis(2))
    .jitter(false);

/// More than a row keeps, so it lies in a table of its own.
const LARGE: usize = 1500;

/// The definition of a task, told by the first letter of its id.
pub fn definition(id: &str) -> TaskDef<String, String, u64> {
    match id.as_bytes().first() {
        Some(b'b') => BLOCKING,
        Some(b's') => STEERED,
        Some(b'p') => PIPELINE,
        Some(b'f') => FAMILY,
        Some(b'q') => QUESTION,
        _ => WORK,
    }
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

pub(super) fn chance(key: &Key) -> u64 {
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
    long::handlers(Engine::builder(path), log)
        .task(WORK, move |ctx: Ctx<u64>, given| {
            let log = Arc::clone(&async_log);
            async move { run(&log, &ctx, &given).await }
        })
        .task(STEERED, move |ctx: Ctx<u64>, given| {
            let log = Arc::clone(&steered_log);
            async move { run(&log, &ctx, &given).await }
        })
        .blocking(BLOCKING, move |ctx: Ctx<u64>, given: String| {
            let key = key_of(&ctx);
            let _running = runs(&blocking_log, &ctx, &key);
            std::thread::sleep(pause(&key, &given)? / 4);
            outcome(&ctx, &key)
        })
}

async fn run(log: &Log, ctx: &Ctx<u64>, given: &str) -> Result<String, HandlerError> {
    let key = key_of(ctx);
    let _running = runs(log, ctx, &key);
    tokio::time::sleep(pause(&key, given)?).await;
    outcome(ctx, &key)
}

/// What a handler works on.
pub(super) fn key_of<S>(ctx: &Ctx<S>) -> Key {
    Key {
        id: ctx.id().to_string(),
        input: ctx.input_id().to_string(),
    }
}

/// While it lives a handler runs; when it goes the log is told, however it goes: a handler that leaves memory is dropped.
pub(super) struct Running<'a> {
    log: &'a Log,
    generation: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.log.write(&Line::Left {
            generation: self.generation,
        });
    }
}

/// Tells the log that a handler was entered, and when it has gone.
pub(super) fn runs<'a, S>(log: &'a Log, ctx: &Ctx<S>, key: &Key) -> Running<'a> {
    let entry = match ctx.entry() {
        Entry::Fresh => "fresh",
        Entry::Resumed => "resumed",
        Entry::Retried { .. } => "retried",
        Entry::Recovered { .. } => "recovered",
        _ => "unknown",
    };
    let generation = ctx.generation();
    log.write(&Line::Entered {
        key: key.clone(),
        generation,
        entry: entry.to_owned(),
    });
    Running { log, generation }
}

/// Requires that the input is the caller's; how long the work takes.
pub(super) fn pause(key: &Key, given: &str) -> Result<Duration, HandlerError> {
    if given != input(key) {
        // The task ends as failed, which nobody expects.
        return Err(HandlerError::terminal("the input is not the caller's"));
    }
    Ok(Duration::from_millis(chance(key) % 21))
}

/// The output, or the failure of some first attempts.
pub(super) fn outcome<S>(ctx: &Ctx<S>, key: &Key) -> Result<String, HandlerError> {
    if chance(key).is_multiple_of(7) && ctx.attempt() == 1 {
        return Err("the first attempt fails".into());
    }
    Ok(output(key))
}
