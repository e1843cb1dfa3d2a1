//! One error enum per operation; each variant says what the caller does next. It has so many lines because those of most
//! operations are here.

use crate::facts::FactsError;
use crate::machine::{Rejected, Status};
use crate::reader::ReadError;
use crate::retry_policy::InvalidRetry;
use crate::value::ValueError;
use crate::writer::{Refused, Stop};
use outlive_storage::StoreError;
use outlive_storage::id::{InputId, InvalidId, TaskId};
use outlive_storage::row::{Failure, WaitReason};

/// Why an engine did not open. Nothing was written unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another engine holds the file. Reach the tasks through it, or stop it first.
    #[error("process {} already runs an engine on {path}; reach the tasks through it, or stop it first", .pid.map_or("?".to_owned(), |pid| pid.to_string()))]
    AlreadyRunning {
        /// The process that holds it; empty when its lock file does not say.
        pid: Option<u32>,
        /// Set when that engine has stopped but for so many handlers, which do not end; see
        /// [`Engine::abandon`](crate::Engine::abandon).
        still_running: Option<usize>,
        /// Where that engine is reached, if it serves its tasks; see [`Engine::reached_at`](crate::Engine::reached_at).
        reached_at: Vec<String>,
        /// The file.
        path: String,
    },
    /// Two handlers were registered under one name: rename one definition.
    #[error("two handlers are registered under the name {name:?}; rename one definition")]
    Duplicate {
        /// The name.
        name: &'static str,
    },
    /// A [former name](crate::TaskDef::formerly) of a definition is registered by itself, or is a former name of another
    /// definition as well, so nobody could say whose its tasks are: take it from one of them.
    #[error(
        "{name:?}, a former name of {of:?}, belongs to {also:?} as well; take it from one of them"
    )]
    FormerName {
        /// The former name.
        name: &'static str,
        /// The definition that says it had it.
        of: &'static str,
        /// The definition that has it, or says so too.
        also: &'static str,
    },
    /// The default session breaks the rules of ids: correct it, or unset `OUTLIVE_SESSION`.
    #[error("the engine's session is not one ({0}); correct it, or unset OUTLIVE_SESSION")]
    Session(InvalidId),
    /// A factory or predicate is for a definition that is not registered: register it first.
    #[error("{name:?} has a factory or a predicate and no handler; register the handler first")]
    NoHandler {
        /// The definition.
        name: &'static str,
    },
    /// A definition's retry policy contradicts itself: correct it.
    #[error("the retry policy of {name:?} is invalid: {error}")]
    InvalidRetry {
        /// The definition.
        name: &'static str,
        /// What to correct.
        error: InvalidRetry,
    },
    /// The file cannot be used; the error inside says what to do.
    #[cfg(feature = "redb")]
    #[error(transparent)]
    File(outlive_storage::redb::OpenError),
    /// The store could not be read; the error inside says what to do. [`StoreError::KeyMissing`]: it is sealed, and none of
    /// the keys given was ever its current one.
    #[error(transparent)]
    Store(StoreError),
    /// The values of the store are sealed: give its keys with
    /// [`Builder::payload_codec`](crate::Builder::payload_codec).
    #[error("the values of the store are sealed; give its keys with Builder::payload_codec")]
    Sealed,
    /// `open` was awaited outside a tokio runtime and none was handed in: do one of the two.
    #[error("no tokio runtime: await open() inside one, or hand one in with Builder::runtime")]
    NoRuntime,
    /// `open_blocking` was called inside an async runtime, whose thread it would hold up: await `open()` there.
    #[error("open_blocking() was called inside an async runtime; await open() there")]
    InsideRuntime,
    /// The system refused a thread: raise its limit, or stop something else.
    #[error("the system refused a thread for the engine: {0}")]
    Thread(std::io::Error),
}

/// Why an input was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The id breaks the rules; nothing was read or written. Give another one.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The call's retry policy contradicts itself; nothing was read or written. Correct it.
    #[error(transparent)]
    InvalidRetry(#[from] InvalidRetry),
    /// The input cannot be kept; nothing was read or written. The error inside says what to change.
    #[error(transparent)]
    Input(#[from] ValueError),
    /// What is said about the task cannot be kept; nothing was written. The error inside says what to change.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The task is not as the caller saw it; nothing was written. Look at it again and decide anew.
    #[error(
        "task {id} has changed: its etag is {etag:?}, its last input {last_input_id:?}; look at it and decide anew"
    )]
    PreconditionFailed {
        /// The task.
        id: TaskId,
        /// Its etag; empty when there is no such task.
        etag: Option<u64>,
        /// Its last accepted input; empty when there is no such task.
        last_input_id: Option<InputId>,
    },
    /// There is no such task, and the call was for one that is there
    /// ([`Start::must_exist`](crate::Start::must_exist)); nothing was written. Start it without that.
    #[error("there is no task {0}; start it first")]
    NotFound(TaskId),
    /// No handler is registered under this name; nothing was written. Register it before `open`.
    #[error("no handler is registered for {name:?}; register it with Builder::task before open()")]
    NoHandler {
        /// The definition's name.
        name: &'static str,
    },
    /// The task exists and takes no input as it stands; nothing was written. Attach to it, or use another id.
    #[error("task {id} exists and is {status}; attach to it, or use another id")]
    Conflict {
        /// The task.
        id: TaskId,
        /// How it stands.
        status: Status,
        /// What it waits for, when it waits.
        reason: Option<WaitReason>,
        /// Its etag: for a call that is to hold only while it stands so.
        etag: u64,
    },
    /// The id belongs to a task of another definition; nothing was written. Use another id.
    #[error("task {id} belongs to the definition {name:?}; use another id")]
    OtherDefinition {
        /// The task.
        id: TaskId,
        /// Its definition.
        name: String,
    },
    /// So many inputs wait already; nothing was written. Try again when a turn has ended.
    #[error("{max} inputs wait already; try again when a turn has ended")]
    SteeringQueueFull {
        /// The definition's bound.
        max: u64,
    },
    /// The engine is shutting down; nothing was written. Start it at the next open.
    #[error("the engine is shutting down; start the task at the next open")]
    ShuttingDown,
    /// The store failed during the commit: the input may or may not be accepted. Open the engine again and start
    /// with the same ids; nothing happens twice.
    #[error(
        "unknown whether input {input_id} of task {task_id} was accepted ({cause}); open again and start with the same ids"
    )]
    Unknown {
        /// The task.
        task_id: TaskId,
        /// The input.
        input_id: InputId,
        /// How the store failed.
        cause: StoreError,
    },
    /// The store cannot answer; nothing was written. The error inside says what to do.
    #[error(transparent)]
    Store(StoreError),
}

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The id breaks the rules, so no task has it.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The engine has stopped. Open it again.
    #[error("the engine has stopped; open it again")]
    ShuttingDown,
    /// The store cannot answer; a damaged row is reported here, never as a missing task.
    #[error(transparent)]
    Store(StoreError),
}

/// Why there is no handle to a task.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// No task has this id: it was never started, or it was removed after its end.
    #[error("there is no task {0}")]
    NotFound(TaskId),
    /// The task belongs to another definition: attach with that one.
    #[error("task {id} belongs to the definition {name:?}; attach with that one")]
    OtherDefinition {
        /// The task.
        id: TaskId,
        /// Its definition.
        name: String,
    },
    /// The task could not be read.
    #[error(transparent)]
    Get(#[from] GetError),
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The handler failed for good; the task keeps the failure.
    #[error("the task failed after {} attempts: {}", .0.attempts, .0.message)]
    Failed(Failure),
    /// The task, or the turn of this input, was cancelled, or the input was taken back before it had a turn. Start
    /// it again with another input id, or retry the task.
    #[error("cancelled: {reason}")]
    Cancelled {
        /// The reason given.
        reason: Box<str>,
    },
    /// The task was stopped without its handler: somebody asked for it, or a turn took longer than it may. Retry
    /// it, or give its definition a longer time-out.
    #[error("terminated: {reason}")]
    Terminated {
        /// The reason given, or the limit that was passed.
        reason: Box<str>,
        /// True for a time-out.
        timed_out: bool,
    },
    /// So many turns came after this input's that its result is not kept any more; see
    /// [`TaskDef::keep_turns`](crate::TaskDef::keep_turns).
    #[error("the result of turn {turn} is not kept any more")]
    Gone {
        /// The turn, from 1.
        turn: u32,
    },
    /// The task ended before this input got a turn, and takes none any more. Start a new task with it, or this one
    /// once more with [`OnConflict::Restart`](crate::OnConflict::Restart).
    #[error(
        "task {id} is {status}: it ended before this input got a turn; start a new task with it"
    )]
    Conflict {
        /// The task.
        id: TaskId,
        /// How it stands.
        status: Status,
    },
    /// The task or the input is not in the store: it was removed after its end.
    #[error("task {id} is not in the store any more")]
    NotFound {
        /// The task.
        id: TaskId,
    },
    /// The input or the output is not what this program's type says. It is kept. An output is read with the type
    /// that wrote it; a task whose input cannot be read is parked and tried again once at every open.
    #[error("the {what} of task {id} is not a {expected}")]
    Undecodable {
        /// The task.
        id: TaskId,
        /// `input` or `output`.
        what: Box<str>,
        /// The type asked for, and why the bytes are not one.
        expected: Box<str>,
    },
    /// The engine stopped first. The task goes on at the next open; attach to it there.
    #[error("the engine stopped first; attach to the task at the next open")]
    ShuttingDown,
    /// The store cannot answer. The error inside says what to do.
    #[error(transparent)]
    Store(StoreError),
}

/// Why [`Engine::run`](crate::Engine::run) gave no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The input was not accepted.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It was accepted, but there is no output.
    #[error(transparent)]
    Result(#[from] ResultError),
}

/// Why a task was not cancelled, terminated or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The id breaks the rules, so no task has it.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// No task has this id, or the task has no such input; nothing was written.
    #[error("there is no task {0}, or no such input of it")]
    NotFound(TaskId),
    /// The task, or the turn of this input, has ended, or runs and may not be removed; nothing was written.
    #[error("task {id} is {status}; nothing was changed")]
    Conflict {
        /// The task.
        id: TaskId,
        /// How it stands.
        status: Status,
        /// What it waits for, when it waits.
        reason: Option<WaitReason>,
        /// Its etag: for an order that is to hold only while it stands so.
        etag: u64,
    },
    /// The task is not as the caller saw it; nothing was written. Look at it again and decide anew.
    #[error("task {id} has changed: its etag is {etag:?}; look at it and decide anew")]
    PreconditionFailed {
        /// The task.
        id: TaskId,
        /// Its etag; empty when there is no such task.
        etag: Option<u64>,
    },
    /// The engine has stopped; nothing was written. Ask again at the next open.
    #[error("the engine has stopped; ask again at the next open")]
    ShuttingDown,
    /// The store failed during the commit: it may or may not have happened. Open the engine again and look.
    #[error("unknown whether task {id} was changed ({cause}); open again and look at it")]
    Unknown {
        /// The task.
        id: TaskId,
        /// How the store failed.
        cause: StoreError,
    },
    /// The store cannot answer; nothing was written. The error inside says what to do.
    #[error(transparent)]
    Store(StoreError),
}

/// Why a task was not resumed or retried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReenterError {
    /// The task belongs to another definition; nothing was written. Use that one.
    #[error("task {id} belongs to the definition {name:?}; use that one")]
    OtherDefinition {
        /// The task.
        id: TaskId,
        /// Its definition.
        name: String,
    },
    /// Nothing was changed, for this reason. A conflict says how the task stands: `resume` is for a task that waits
    /// for an input, `retry` for one that failed, was cancelled or terminated, or is parked.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Why metadata is not known to be durable. It is still in memory, and is tried again with the turn's end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// The turn is over, or its claim is no longer the task's: nothing more is recorded. End the handler.
    #[error("the turn is over; end the handler")]
    TurnOver,
    /// The engine has stopped; the turn is recovered at the next open, without what was not flushed.
    #[error("the engine has stopped; the turn is recovered at the next open")]
    ShuttingDown,
    /// The store failed: it may or may not be durable. The turn is recovered at the next open.
    #[error("the store failed ({0}); the turn is recovered at the next open")]
    Store(StoreError),
}

/// The engine is not shutting down, so a turn cannot be left to the next open: go on, or return an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine is not shutting down; go on, or return an error")]
pub struct NotShuttingDown;

impl FlushError {
    pub(crate) fn from_refused(refused: Refused) -> FlushError {
        match refused {
            Refused::Rejected(_) => FlushError::TurnOver,
            Refused::Stopped(Stop::Shutdown) => FlushError::ShuttingDown,
            Refused::Unreadable(error)
            | Refused::Unknown(error)
            | Refused::Stopped(Stop::Failed(error)) => FlushError::Store(error),
        }
    }
}

impl ControlError {
    /// The writer's refusal in the caller's words.
    pub(crate) fn from_refused(refused: Refused, id: TaskId) -> ControlError {
        match refused {
            Refused::Rejected(Rejected::Conflict { status, wait, etag }) => {
                ControlError::Conflict {
                    id,
                    status,
                    reason: wait,
                    etag: etag.0,
                }
            }
            Refused::Rejected(Rejected::PreconditionFailed { etag, .. }) => {
                ControlError::PreconditionFailed {
                    id,
                    etag: etag.map(|etag| etag.0),
                }
            }
            Refused::Rejected(Rejected::NotFound | Rejected::CannotCreate) => {
                ControlError::NotFound(id)
            }
            Refused::Rejected(
                Rejected::OtherDefinition { .. }
                | Rejected::QueueFull { .. }
                | Rejected::TakenFull { .. }
                | Rejected::LeaseLost
                | Rejected::NotDue { .. }
                | Rejected::Unanswered(_)
                | Rejected::WrongState { .. },
            ) => {
                // The machine answers an order with none of these.
                ControlError::Store(StoreError::Malformed {
                    what: "an order was answered as another event",
                })
            }
            Refused::Unreadable(error) | Refused::Stopped(Stop::Failed(error)) => {
                ControlError::Store(error)
            }
            Refused::Unknown(cause) => ControlError::Unknown { id, cause },
            Refused::Stopped(Stop::Shutdown) => ControlError::ShuttingDown,
        }
    }
}

impl From<GetError> for ControlError {
    fn from(error: GetError) -> Self {
        match error {
            GetError::InvalidId(error) => ControlError::InvalidId(error),
            GetError::ShuttingDown => ControlError::ShuttingDown,
            GetError::Store(error) => ControlError::Store(error),
        }
    }
}

impl From<ReadError> for GetError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopped => GetError::ShuttingDown,
            ReadError::Store(error) => GetError::Store(error),
        }
    }
}

impl From<ReadError> for ResultError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopped => ResultError::ShuttingDown,
            ReadError::Store(error) => ResultError::Store(error),
        }
    }
}

impl StartError {
    /// The writer's refusal in the caller's words. `name` finds the name of a definition.
    pub(crate) fn from_refused(
        refused: Refused,
        task_id: TaskId,
        input_id: InputId,
        name: impl Fn(outlive_storage::row::DefNumber) -> String,
    ) -> StartError {
        match refused {
            Refused::Rejected(Rejected::Conflict { status, wait, etag }) => StartError::Conflict {
                id: task_id,
                status,
                reason: wait,
                etag: etag.0,
            },
            Refused::Rejected(Rejected::OtherDefinition { def }) => StartError::OtherDefinition {
                id: task_id,
                name: name(def),
            },
            Refused::Rejected(Rejected::QueueFull { max }) => StartError::SteeringQueueFull { max },
            Refused::Rejected(Rejected::PreconditionFailed {
                etag,
                last_input_id,
            }) => StartError::PreconditionFailed {
                id: task_id,
                etag: etag.map(|etag| etag.0),
                last_input_id,
            },
            Refused::Rejected(
                Rejected::NotFound
                | Rejected::CannotCreate
                | Rejected::TakenFull { .. }
                | Rejected::LeaseLost
                | Rejected::NotDue { .. }
                | Rejected::Unanswered(_)
                | Rejected::WrongState { .. },
            ) => {
                // The machine answers an input with none of these.
                StartError::Store(StoreError::Malformed {
                    what: "an input was answered as another event",
                })
            }
            Refused::Unreadable(error) | Refused::Stopped(Stop::Failed(error)) => {
                StartError::Store(error)
            }
            Refused::Unknown(cause) => StartError::Unknown {
                task_id,
                input_id,
                cause,
            },
            Refused::Stopped(Stop::Shutdown) => StartError::ShuttingDown,
        }
    }
}
