//! What the machine answers: a transition and its effects, or a typed rejection.

use super::event::{Named, Overdue};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    DefNumber, Etag, EventKind, Generation, Micros, Payload, State, TaskRow, TurnResult, WaitReason,
};
use smallvec::SmallVec;
use std::sync::Arc;

/// The four names of a task's state, as callers and the wire see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Due at a time: new, delayed, waiting for a slot, backing off.
    Pending,
    /// A turn runs.
    InProgress,
    /// Waits for something other than time: an input, an operator, a program that can read it.
    Suspended,
    /// Ended, with an outcome.
    Completed,
}

impl Status {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::InProgress => "in_progress",
            Status::Suspended => "suspended",
            Status::Completed => "completed",
        }
    }

    /// The status of a row.
    pub fn of(row: &TaskRow) -> Status {
        match row.state {
            State::Pending { .. } => Status::Pending,
            State::InProgress { .. } => Status::InProgress,
            State::Suspended { .. } => Status::Suspended,
            State::Completed { .. } => Status::Completed,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an input was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accepted {
    /// A new task began with it.
    Started,
    /// It waits for the running turn to end.
    Queued,
    /// A suspended task goes on with it.
    Resumed,
    /// An ended task began a further run with it.
    Restarted,
    /// The call answers for the input of an earlier one; nothing was written.
    Attached,
}

/// What the sender of an event learns once the commit is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// For events that bring an input: how it was taken, and under which input id to ask for the result.
    Accepted {
        /// How.
        how: Accepted,
        /// The input to ask for, and its run.
        named: Named,
    },
    /// For recoveries: what became of the turn.
    Recovered(Recovered),
    /// For takes: the input, or that there is none which the turn may have.
    Taken(Option<Box<Handed>>),
    /// The event was carried out.
    Done,
}

/// An input that a running turn takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Its position among the task's inputs, under which a large one is kept.
    pub seq: u64,
    /// Its id.
    pub input_id: InputId,
    /// Its bytes.
    pub payload: Payload,
    /// When it was accepted.
    pub accepted_at: Micros,
}

/// What a recovery makes of a turn whose process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recovered {
    /// Its handler is entered again.
    Entered,
    /// It is suspected of killing its process and held back.
    Isolated,
    /// It killed its process alone and waits for an operator.
    Quarantined,
    /// It had been cancelled and is not entered again.
    Cancelled,
}

/// What a handler is told while it runs. Causes add up within a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for the end of the task or of this turn.
    CancelRequested {
        /// Why.
        reason: Box<str>,
    },
    /// A further input waits, which interrupts.
    Steered,
}

/// What the shell does once the commit is durable, never before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Enter the handler.
    Enter {
        /// Its claim.
        generation: Generation,
        /// Whether it begins with the signal set: an input waits that interrupts.
        steered: bool,
    },
    /// The task will be due: wake the engine loop then.
    Due {
        /// Its definition.
        def: DefNumber,
        /// When.
        at: Micros,
    },
    /// Tell the running handler.
    Signal(Cause),
    /// Tell the running handler how many inputs wait.
    Waiting(u64),
    /// Drop the running handler: its claim is no longer the task's.
    Fence(Option<Overdue>),
    /// Tell those who wait for this input.
    Answered {
        /// The input.
        input_id: InputId,
        /// The turn it had, from 1.
        turn: u32,
        /// What became of it.
        result: TurnResult,
    },
    /// Tell those who wait for this input that its task is parked: no turn ends before a program can read it.
    Parked {
        /// The input.
        input_id: InputId,
        /// What could not be read.
        what: Box<str>,
        /// The type expected, and why the bytes are not one.
        expected: Box<str>,
    },
    /// A turn is over whose children are to be told.
    FamilyOver,
    /// Tell the running handler that something it may wait for has come.
    Woken,
    /// The task does not run for now, and those who wait go on waiting.
    Idle,
    /// Tell those who wait for this input that its caller took it back.
    Withdrawn {
        /// The input.
        input_id: InputId,
        /// Why.
        reason: Box<str>,
    },
    /// Tell those who wait for inputs that were still queued that no turn will come.
    TaskEnded,
}

/// What to do after a commit, in this order. As a rule it is one thing or two, for which no memory of its own is taken: hence a
/// list of the crate `smallvec`, which is in the signature of the machine as the rows of `outlive-storage` are.
pub type Effects = SmallVec<[Effect; 2]>;

/// One whole transition: all of it happens, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The row it was decided on.
    pub expect: Expect,
    /// The new row; `None` when the row does not change.
    pub row: Option<Arc<TaskRow>>,
    /// Further writes of the same commit.
    pub writes: Vec<Write>,
    /// The answer to the event's sender.
    pub answer: Answer,
    /// What to do after the commit.
    pub effects: Effects,
    /// Its line in the log; empty when nothing changes or only something beside the row does.
    pub what: Option<EventKind>,
}

/// Why an event changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// There is no such task, or no such input of it.
    NotFound,
    /// There is no such task, and the event does not carry what one is created with.
    CannotCreate,
    /// The id belongs to a task of another definition.
    OtherDefinition {
        /// That definition.
        def: DefNumber,
    },
    /// The event does not fit the task as it stands.
    Conflict {
        /// How it stands.
        status: Status,
        /// What it waits for, if it waits.
        wait: Option<WaitReason>,
        /// Its etag.
        etag: Etag,
    },
    /// The task is not as the caller saw it.
    PreconditionFailed {
        /// Its etag; empty when there is no such task.
        etag: Option<Etag>,
        /// Its last accepted input; empty when there is no such task.
        last_input_id: Option<InputId>,
    },
    /// The queue of inputs is full.
    QueueFull {
        /// Its bound.
        max: u64,
    },
    /// The turn has taken as many inputs as one turn may.
    TakenFull {
        /// The bound.
        max: u64,
    },
    /// The worker's claim is no longer the task's.
    LeaseLost,
    /// A claim came before the task is due, or a stop before its turn's time is up.
    NotDue {
        /// When that is.
        due_at: Micros,
    },
    /// The engine's own event does not fit the state: it moved on in between.
    WrongState {
        /// The state.
        status: Status,
    },
    /// An answer is not taken.
    Unanswered(Unanswered),
}

/// Why an answer is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unanswered {
    /// No such question is open: it was never asked, or the turn that asked is over.
    NotAsked,
    /// It was answered before.
    Before {
        /// With the same bytes.
        same: bool,
    },
    /// Its time is over.
    TooLate,
    /// The answer is meant for another question.
    OtherQuestion {
        /// The digest of the one that is open.
        digest: Box<str>,
    },
}

impl Rejected {
    pub(super) fn wrong_state(row: &TaskRow) -> Rejected {
        Rejected::WrongState {
            status: Status::of(row),
        }
    }

    pub(super) fn conflict(row: &TaskRow) -> Rejected {
        let wait = match &row.state {
            State::Pending { wait, .. } | State::Suspended { wait, .. } => Some(wait.clone()),
            State::InProgress { .. } | State::Completed { .. } => None,
        };
        Rejected::Conflict {
            status: Status::of(row),
            wait,
            etag: row.etag,
        }
    }

    pub(super) fn precondition(row: &TaskRow) -> Rejected {
        let last = row.last_input_id.as_ref().unwrap_or(&row.input_id);
        Rejected::PreconditionFailed {
            etag: Some(row.etag),
            last_input_id: Some(last.clone()),
        }
    }
}
