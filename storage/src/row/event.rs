//! The log of transitions: one line for each, in the order of their commits.

use crate::id::TaskId;
use crate::row::{DefNumber, Etag, Generation, Micros, TaskNumber};
use serde::{Deserialize, Serialize};

/// What happened to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// It was started.
    Started,
    /// A turn was claimed.
    Claimed,
    /// A turn whose process was gone was claimed again.
    Recovered,
    /// A turn whose process was gone waits for a program with its handler.
    Orphaned,
    /// A further input was queued.
    InputQueued,
    /// A queued input was taken back.
    InputWithdrawn,
    /// A queued input was taken by the turn that runs.
    InputTaken,
    /// An attempt failed and another one follows.
    BackedOff,
    /// A turn ended and the next one began with a queued input.
    NextTurn,
    /// A turn ended and the task waits for an input.
    Suspended,
    /// A suspended task got an input.
    Resumed,
    /// Its input cannot be read by this program.
    Parked,
    /// What could not be read is tried again.
    Reconsidered,
    /// It is suspected of killing its process and held back.
    Isolated,
    /// It was entered apart from others, to see whether it kills its process.
    Probed,
    /// The suspicion was dropped.
    Acquitted,
    /// It killed its process alone and is held until somebody releases it.
    Quarantined,
    /// Somebody asked for its end.
    CancelRequested,
    /// A turn was cancelled and the task goes on.
    TurnCancelled,
    /// A turn was stopped by somebody and the task goes on.
    TurnTerminated,
    /// It ended with an output.
    Succeeded,
    /// It ended with a failure.
    Failed,
    /// It ended as cancelled.
    Cancelled,
    /// It was stopped by somebody.
    Terminated,
    /// It was stopped by its time-out.
    TimedOut,
    /// A further run began, with a new input.
    Restarted,
    /// A further run began, with the same input.
    RetriedAfterEnd,
    /// A task was released by an operator.
    Released,
    /// Its handler waits for an operator.
    Held,
    /// Somebody said what became of a step.
    Resolved,
    /// Its handler waits, outside of memory, for a time, an answer or other tasks.
    Waits,
    /// What its handler waits for has come, or somebody wants its attention.
    Woken,
    /// Its handler asked a question, which is open from then on.
    Asked,
    /// Somebody answered a question of its handler.
    Answered,
    /// Nobody answered a question of its handler in time.
    AskExpired,
    /// It is about to start tasks of its own.
    BecameParent,
    /// A later turn of the task that started it took it over.
    TakenOver,
    /// The turn that started it is over: it is nobody's child any more.
    LetGo,
    /// It was removed from the store.
    Removed,
}

/// One committed transition; in `events`, under its etag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// The etag the transition gave the row: the position in the log.
    pub etag: Etag,
    /// The task.
    pub task: TaskNumber,
    /// The caller's id of it.
    pub id: TaskId,
    /// Its definition.
    pub def: DefNumber,
    /// When.
    pub at: Micros,
    /// What.
    pub kind: EventKind,
    /// The run afterwards.
    pub run: u32,
    /// The turn afterwards.
    pub turn: u32,
    /// The attempt afterwards.
    pub attempt: u32,
    /// The generation afterwards.
    pub generation: Generation,
}
