//! How the turn of one input ended, as its caller sees it.

/// How the turn of an input ended, when it ended well.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, Outcome, Reply, TaskDef};
/// # const CHAT: TaskDef<String, usize> = TaskDef::new("chat");
/// # async fn chat(_: Ctx, line: String) -> Result<Reply<usize>, HandlerError> { Ok(Reply::suspend(line.len(), "next line")) }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(CHAT, chat).open().await?;
/// let outcome = engine.start(CHAT, "a", &"hello".to_owned()).await?.outcome().await?;
/// assert_eq!(outcome.reason(), Some("next line"));
/// assert_eq!(*outcome.output(), 5);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<O> {
    /// The handler returned an output.
    Completed {
        /// The output.
        output: O,
        /// Which turn it was, from 1.
        turn: u32,
        /// True when the turn was steered out: a queued input took over and the task went on.
        superseded: bool,
    },
    /// The handler returned an output and suspended the task.
    Suspended {
        /// The output.
        output: O,
        /// What the task waits for, in the handler's words.
        reason: Box<str>,
        /// Which turn it was, from 1.
        turn: u32,
        /// True when a queued input took over at once, so that the task did not come to rest.
        superseded: bool,
    },
}

impl<O> Outcome<O> {
    /// The output.
    pub fn output(&self) -> &O {
        match self {
            Outcome::Completed { output, .. } | Outcome::Suspended { output, .. } => output,
        }
    }

    /// The output itself.
    pub fn into_output(self) -> O {
        match self {
            Outcome::Completed { output, .. } | Outcome::Suspended { output, .. } => output,
        }
    }

    /// What the task waits for, if the turn suspended it.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Outcome::Completed { .. } => None,
            Outcome::Suspended { reason, .. } => Some(reason),
        }
    }

    /// Which turn it was, from 1.
    pub fn turn(&self) -> u32 {
        match self {
            Outcome::Completed { turn, .. } | Outcome::Suspended { turn, .. } => *turn,
        }
    }

    /// Whether the turn returned an output for good.
    pub fn is_completed(&self) -> bool {
        matches!(self, Outcome::Completed { .. })
    }

    /// Whether the turn wanted to wait for a further input.
    pub fn is_suspended(&self) -> bool {
        matches!(self, Outcome::Suspended { .. })
    }

    /// Whether a queued input took over.
    pub fn is_superseded(&self) -> bool {
        match self {
            Outcome::Completed { superseded, .. } | Outcome::Suspended { superseded, .. } => {
                *superseded
            }
        }
    }
}
