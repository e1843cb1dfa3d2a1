//! How a task ended, and how a handler failed.

use crate::row::Payload;
use serde::{Deserialize, Serialize};

/// How a handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
    /// Its output could not be kept: too large or not encodable.
    Output,
}

/// A failure as people read it, kept with the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How it failed.
    pub kind: FailureKind,
    /// The error's own text or the panic's payload, at most [`Failure::MESSAGE_MAX`] bytes.
    pub message: Box<str>,
    /// The texts of its sources, outermost first, at most [`Failure::CHAIN_MAX`] of them.
    pub chain: Vec<Box<str>>,
    /// Attempts of the turn when it was recorded, counting this one.
    pub attempts: u32,
}

impl Failure {
    /// Longest kept message, in bytes.
    pub const MESSAGE_MAX: usize = 4096;
    /// Most kept sources.
    pub const CHAIN_MAX: usize = 8;
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// Its handler returned this output.
    Succeeded(Payload),
    /// Its handler failed for good.
    Failed(Failure),
    /// It was cancelled, and its handler did not end it otherwise.
    Cancelled {
        /// The reason given with the cancel.
        reason: Box<str>,
        /// What its handler returned when it wanted to suspend.
        output: Option<Payload>,
    },
    /// It was stopped from outside, without its handler.
    Terminated {
        /// The reason given, or which limit was passed.
        reason: Box<str>,
        /// True when its time-out ran out; false when somebody asked for it.
        timed_out: bool,
    },
}

impl Outcome {
    /// What was returned, if something was.
    pub fn output(&self) -> Option<&Payload> {
        match self {
            Outcome::Succeeded(output) => Some(output),
            Outcome::Cancelled { output, .. } => output.as_ref(),
            Outcome::Failed(_) | Outcome::Terminated { .. } => None,
        }
    }
}
