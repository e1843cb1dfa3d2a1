//! Inputs that wait, what became of them, and the turns and runs that were worked.

use crate::id::InputId;
use crate::row::{EventKind, Failure, Generation, Micros, Outcome, Payload};
use serde::{Deserialize, Serialize};

/// How an input that waits comes to the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Delivery {
    /// The running turn is told that it waits, and the next turn begins with it.
    #[default]
    Interrupt,
    /// Nobody is told. The running turn may take it at a boundary of its own; else the next turn begins with it.
    AtBoundary,
    /// Nobody is told, and the next turn begins with it.
    AfterTurn,
}

/// That the open turn has taken an input that waited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The key it was taken under: the same one finds it again in a later attempt of the turn.
    pub key: Box<str>,
    /// The claim that took it last.
    pub generation: Generation,
}

/// One input that waits its turn, or that the open turn has taken; in `pending_steering_inputs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRow {
    /// Its idempotency key.
    pub input_id: InputId,
    /// The first 16 bytes of its SHA-256.
    #[serde(with = "super::bytes::digest")]
    pub digest: [u8; 16],
    /// Its bytes.
    pub payload: Payload,
    /// When it was accepted.
    pub accepted_at: Micros,
    /// How it comes to the task.
    pub delivery: Delivery,
    /// Set when the open turn takes it, and by each later attempt that takes it again. Empty while it waits. The end of
    /// the turn consumes what its claim took, and empties the rest, which wait again.
    pub taken: Option<Taken>,
}

/// What became of one accepted input of a task with more than one; in `receipts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Receipt {
    /// Waits its turn, or was taken by the turn that is open; its row, which says so, is in `pending_steering_inputs`
    /// under this number.
    Queued {
        /// Position among the task's inputs.
        seq: u64,
    },
    /// A turn works or worked on it. Its answer is in the task's row while that turn is the latest one, then in
    /// [`TurnRow`] while it is kept whole.
    Turn {
        /// The run.
        run: u32,
        /// The turn of the run.
        turn: u32,
        /// The turn's number over all runs.
        total: u64,
        /// The key under which the turn took it, and then the turn is over; empty when the turn began with it.
        step: Option<Box<str>>,
    },
    /// Its caller took it back before a turn began with it.
    Withdrawn {
        /// The reason given.
        reason: Box<str>,
    },
    /// Its task's run ended first: no turn will come.
    TaskEnded,
}

/// How one turn ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TurnResult {
    /// Its handler returned.
    Replied {
        /// The output.
        output: Payload,
        /// The reason of a reply that suspended the task; empty for one that did not.
        suspended: Option<Box<str>>,
        /// True when a queued input took over at once.
        superseded: bool,
    },
    /// It was the last turn of its run, or failed or was cancelled while the task went on.
    Ended(Outcome),
}

impl TurnResult {
    /// What the turn returned, if it returned something.
    pub fn output(&self) -> Option<&Payload> {
        match self {
            TurnResult::Replied { output, .. } => Some(output),
            TurnResult::Ended(outcome) => outcome.output(),
        }
    }
}

/// One turn that has ended while its task went on; in `turns` under its slot, so that a later turn overwrites it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnRow {
    /// The run.
    pub run: u32,
    /// The turn of the run.
    pub turn: u32,
    /// The turn's number over all runs: another one in the slot means that this turn is not kept any more.
    pub total: u64,
    /// The input it worked on.
    pub input_id: InputId,
    /// How it ended.
    pub result: TurnResult,
    /// When.
    pub ended_at: Micros,
}

/// One run that has ended and was followed by another one; in `runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// The run, from 1.
    pub run: u32,
    /// Its turns.
    pub turns: u32,
    /// How it ended. An output above 1 KiB is that of the run's last turn and kept as long as that.
    pub outcome: Outcome,
    /// The last interim failure of a run that was cancelled or stopped while its turn was failing.
    pub last_failure: Option<Failure>,
    /// The number of its last turn over all runs.
    pub last_total: u64,
    /// When it ended.
    pub ended_at: Micros,
}

/// One line of the task's own timeline: 16 bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at: Micros,
    /// In which turn.
    pub turn: u32,
    /// What.
    pub what: EventKind,
}
