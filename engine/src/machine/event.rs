//! Everything that can happen to a task.

use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{DefNumber, Failure, Generation, Payload, Priority, RetryRow};

/// The process that wants to run a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// The engine's owner name.
    pub owner: Box<str>,
    /// The id of this open of the engine.
    pub instance: u128,
}

/// An input as a caller gave it, with the options of a start.
#[derive(Debug, Clone)]
pub struct NewInput {
    /// The task it is for.
    pub id: TaskId,
    /// The definition the caller named.
    pub def: DefNumber,
    /// The input's id.
    pub input_id: InputId,
    /// True when the caller chose `input_id`; a generated one never attaches by id.
    pub input_id_given: bool,
    /// The first 16 bytes of the SHA-256 of the input.
    pub digest: [u8; 16],
    /// The input.
    pub payload: Payload,
    /// Rank among due tasks.
    pub priority: Priority,
    /// The retry policy.
    pub retry: RetryRow,
    /// How long the ended row is kept, in microseconds.
    pub keep_us: u64,
    /// The engine's owner name.
    pub owner: Box<str>,
    /// Set when a slot is free: the start claims at once, in the same commit.
    pub claimant: Option<Claimant>,
}

/// How a turn ended, as the shell saw it.
#[derive(Debug, Clone)]
pub enum TurnEnd {
    /// The handler returned this output.
    Succeeded(Payload),
    /// The handler failed.
    Failed {
        /// How; its attempt count is filled in by the machine.
        failure: Failure,
        /// No further attempt makes sense.
        terminal: bool,
        /// The delay the error asked for, in microseconds, instead of the policy's.
        retry_after_us: Option<u64>,
    },
    /// The handler was not entered: its stored input cannot be read by this program.
    Undecodable {
        /// What could not be read.
        what: Box<str>,
        /// The type expected, and why the bytes are not one.
        expected: Box<str>,
    },
}

/// What can happen to a task.
#[derive(Debug, Clone)]
pub enum Event {
    /// A caller's input: starts the task, is queued, or attaches.
    Input(Box<NewInput>),
    /// A free slot for a due task.
    Claim(Claimant),
    /// The start-up scan found a turn whose process is gone.
    Recover(Claimant),
    /// As [`Event::Recover`], but this program has no handler of that name.
    Orphan(Claimant),
    /// The engine was opened anew: what could not be read may be readable now.
    Reconsider,
    /// A turn's end, as its worker reports it.
    End {
        /// The claim the worker holds.
        generation: Generation,
        /// How the turn ended.
        end: TurnEnd,
        /// Who would run the next turn, if an input waits.
        claimant: Claimant,
    },
}
