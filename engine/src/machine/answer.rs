//! What the machine answers: a transition and its effects, or a typed rejection.

use outlive_storage::commit::{Expect, Write};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    DefNumber, Failure, Generation, Micros, Payload, State, TaskRow, WaitReason,
};

/// The four names of a task's state, as callers and the wire see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Due at a time: new, waiting for a slot, backing off.
    Pending,
    /// A turn runs.
    InProgress,
    /// Waits for something other than time.
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
    /// It is the input of an earlier call; nothing was written.
    Attached,
}

/// What the sender of an event learns once the commit is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// For [`Event::Input`](super::Event::Input): how, and under which input id to ask for the result.
    Accepted {
        /// How.
        how: Accepted,
        /// The input to ask for.
        input_id: InputId,
    },
    /// The event was carried out.
    Done,
}

/// What became of one input's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnAnswer {
    /// Its output, and whether a queued input took over.
    Output {
        /// The output.
        payload: Payload,
        /// The turn.
        turn: u32,
        /// True when the next queued input followed at once.
        superseded: bool,
    },
    /// It failed for good.
    Failed(Failure),
}

/// What the shell does once the commit is durable, never before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Enter the handler under this claim.
    Enter(Generation),
    /// The task will be due: wake the engine loop then.
    Due {
        /// Its definition.
        def: DefNumber,
        /// When.
        at: Micros,
    },
    /// Tell those who wait for this input.
    Answered {
        /// The input.
        input_id: InputId,
        /// What became of it.
        answer: TurnAnswer,
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
    /// Tell those who wait for inputs that were still queued that no turn will come.
    TaskEnded,
}

/// One whole transition: all of it happens, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The row it was decided on.
    pub expect: Expect,
    /// The new row; `None` when nothing changes (an attach).
    pub row: Option<Box<TaskRow>>,
    /// Further writes of the same commit.
    pub writes: Vec<Write>,
    /// The answer to the event's sender.
    pub answer: Answer,
    /// What to do after the commit.
    pub effects: Vec<Effect>,
}

/// Why an event changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// There is no such task.
    NotFound,
    /// The id belongs to a task of another definition.
    OtherDefinition {
        /// That definition.
        def: DefNumber,
    },
    /// The task takes no input as it stands.
    Conflict {
        /// How it stands.
        status: Status,
        /// What it waits for, if it waits.
        wait: Option<WaitReason>,
    },
    /// The queue of inputs is full.
    QueueFull {
        /// Its bound.
        max: u64,
    },
    /// The worker's claim is no longer the task's.
    LeaseLost,
    /// A claim came before the task is due.
    NotDue {
        /// When it is due.
        due_at: Micros,
    },
    /// The event does not fit the state.
    WrongState {
        /// The state.
        status: Status,
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
        }
    }
}
