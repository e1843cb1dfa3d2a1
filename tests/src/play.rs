//! A handler that does what its input says and notes how it was entered, so that a test reads as a script.

use crate::gate::{Gate, Notes};
use outlive::{Causes, Ctx, Engine, Entry, HandlerError, Reply, Snapshot, TaskDef};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A task that takes one input at a time.
pub const PLAY: TaskDef<Act, String> = TaskDef::new("play");
/// The same name in a program whose tasks take two further inputs while they run.
pub const STEERED: TaskDef<Act, String> = PLAY.steerable(2);
/// The same name for a caller whose inputs the handler cannot read.
pub const MISREAD: TaskDef<u32, String> = TaskDef::new("play");

/// The reason of a task that [`Act::Ask`] suspended.
pub const MORE: &str = "more";

/// What a turn does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Returns the text.
    Say(String),
    /// Returns the text and waits for a further input.
    Ask(String),
    /// Fails in a way that a further attempt may mend.
    Fail(String),
    /// As `Fail`, with a delay of its own in milliseconds.
    FailFor(String, u64),
    /// Fails up to and including this attempt, then does what follows.
    FailUntil(u32, Box<Act>),
    /// Fails for good.
    Never(String),
    /// Panics.
    Panic(String),
    /// Agrees to be cancelled.
    Agree,
    /// Comes to the gate, and does what follows once it is let through.
    Held(Box<Act>),
}

/// Returns the text.
pub fn say(text: impl Into<String>) -> Act {
    Act::Say(text.into())
}

/// Returns the text and waits for a further input.
pub fn ask(text: impl Into<String>) -> Act {
    Act::Ask(text.into())
}

/// Does it once the gate lets it through.
pub fn held(act: Act) -> Act {
    Act::Held(Box::new(act))
}

/// Fails so often, then does it.
pub fn fail_until(attempt: u32, act: Act) -> Act {
    Act::FailUntil(attempt, Box::new(act))
}

/// One entry of the handler.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The task.
    pub id: String,
    /// The turn's input.
    pub act: Act,
    /// Its id.
    pub input_id: String,
    /// Why the handler was entered.
    pub entry: Entry,
    /// Whether the input came from the queue.
    pub steered: bool,
    /// The input of the turn before.
    pub previous: Option<Act>,
    /// The run.
    pub run: u32,
    /// The turn.
    pub turn: u32,
    /// The attempt.
    pub attempt: u32,
    /// Deaths of the process in this turn.
    pub crashes: u32,
    /// The claim.
    pub generation: u64,
    /// Why it may want to end at once.
    pub causes: Option<Causes>,
}

impl Seen {
    fn by(ctx: &Ctx, act: &Act) -> Seen {
        Seen {
            id: ctx.id().to_string(),
            act: act.clone(),
            input_id: ctx.input_id().to_string(),
            entry: ctx.entry(),
            steered: ctx.is_steered(),
            previous: ctx.previous_input().expect("an act"),
            run: ctx.run(),
            turn: ctx.turn(),
            attempt: ctx.attempt(),
            crashes: ctx.crashes(),
            generation: ctx.generation(),
            causes: ctx.cause(),
        }
    }

    /// Run, turn, attempt and crashes: the numbers of an entry.
    pub fn numbers(&self) -> (u32, u32, u32, u32) {
        (self.run, self.turn, self.attempt, self.crashes)
    }
}

/// The future of one entry.
pub type Acting = Pin<Box<dyn Future<Output = Result<Reply<String>, HandlerError>> + Send>>;

/// The gate and the notes of the handlers. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Play {
    /// Where held acts wait.
    pub gate: Gate,
    /// Every entry, in order.
    pub seen: Notes<Seen>,
}

impl Default for Play {
    fn default() -> Play {
        Play {
            gate: Gate::closed(),
            seen: Notes::default(),
        }
    }
}

impl Play {
    /// A handler for [`PLAY`] and whatever has its types.
    pub fn handler(&self) -> impl Fn(Ctx, Act) -> Acting + Send + Sync + 'static {
        let play = self.clone();
        move |ctx, act| {
            let play = play.clone();
            Box::pin(async move {
                play.seen.add(Seen::by(&ctx, &act));
                play.perform(&ctx, act).await
            })
        }
    }

    async fn perform(&self, ctx: &Ctx, act: Act) -> Result<Reply<String>, HandlerError> {
        let mut act = act;
        loop {
            act = match act {
                Act::Say(text) => return Ok(text.into()),
                Act::Ask(text) => return Ok(Reply::suspend(text, MORE)),
                Act::Fail(text) => return Err(text.into()),
                Act::FailFor(text, ms) => {
                    return Err(HandlerError::from(text).retry_after(Duration::from_millis(ms)));
                }
                Act::FailUntil(attempt, _) if ctx.attempt() <= attempt => {
                    return Err(format!("attempt {}", ctx.attempt()).into());
                }
                Act::FailUntil(_, then) => *then,
                Act::Never(text) => return Err(HandlerError::terminal(text)),
                Act::Panic(text) => panic!("{text}"),
                Act::Agree => return Err(HandlerError::cancelled()),
                Act::Held(then) => {
                    self.gate.pass().await;
                    *then
                }
            };
        }
    }
}

/// Looks at a task until it is as wanted, without letting time pass.
///
/// # Panics
/// When it never is.
pub async fn until(engine: &Engine, id: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    const LOOKS_MAX: usize = 100_000;
    let mut last = None;
    for _ in 0..LOOKS_MAX {
        match engine.get(id).await.expect("the store answers") {
            Some(task) if wanted(&task) => return task,
            other => last = other,
        }
        tokio::task::yield_now().await;
    }
    panic!("{id} never is as wanted, it is {last:?}");
}
