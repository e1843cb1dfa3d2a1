//! The steered task: a turn works on its input, and on what it takes at its boundaries, and replies with their numbers.

use outlive::{Builder, Ctx, Delivery, Engine, HandlerError, Reply, RetryPolicy, TaskDef};
use std::path::Path;
use std::time::Duration;

/// Tasks that are steered at the same time.
pub const TASKS: usize = 64;
/// Inputs that may wait on each.
pub const QUEUE: u64 = 6;
/// Boundaries of a turn.
const BOUNDARIES: u64 = 3;

/// A chain of turns, every one of which is kept: the last process asks for each.
pub const CHAIN: TaskDef<u64, Vec<u64>> = TaskDef::new("chain")
    .steerable(QUEUE)
    .keep_turns(1_000_000)
    .retry(
        RetryPolicy::fixed()
            .attempts(3)
            .initial(Duration::from_millis(1))
            .jitter(false),
    );

/// The id of a task.
pub fn id(task: usize) -> String {
    format!("chain-{task}")
}

/// The key of a boundary, and the number in it.
pub fn key(boundary: u64) -> String {
    format!("boundary {boundary}")
}

/// Spreads numbers: what a caller and a handler do follows from their ids alone.
pub fn chance(task: usize, number: u64, salt: u64) -> u64 {
    let mixed = (task as u64) << 48 ^ number << 8 ^ salt;
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// How an input comes to its task.
pub fn delivery(task: usize, number: u64) -> Delivery {
    match chance(task, number, 1) % 5 {
        0 => Delivery::Interrupt,
        1 => Delivery::AfterTurn,
        _ => Delivery::AtBoundary,
    }
}

/// Whether its caller takes it back.
pub fn is_taken_back(task: usize, number: u64) -> bool {
    chance(task, number, 2).is_multiple_of(23)
}

/// An engine on the file at `path`.
pub fn builder(path: &Path) -> Builder {
    Engine::builder(path).task(CHAIN, work)
}

async fn work(ctx: Ctx, own: u64) -> Result<Reply<Vec<u64>>, HandlerError> {
    if ctx.input_id().as_str() != own.to_string() {
        return Err(HandlerError::terminal("another input's bytes"));
    }
    let attempt = u64::from(ctx.attempt());
    let mut numbers = vec![own];
    // A later attempt has fewer boundaries, so that something is left for the next turn.
    for boundary in 0..(BOUNDARIES + 1).saturating_sub(attempt) {
        tokio::time::sleep(Duration::from_micros(chance(0, own, 3 + boundary) % 1_500)).await;
        let taken = ctx.inbox().take::<u64>(&key(boundary)).await?;
        numbers.extend(taken.map(|taken| taken.input));
    }
    if chance(0, own, 9).is_multiple_of(9) && attempt == 1 {
        return Err("the first attempt fails".into());
    }
    Ok(Reply::suspend(numbers, "the next input"))
}
