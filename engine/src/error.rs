//! One error enum per operation; each variant says what the caller does next.

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
        /// The file.
        path: String,
    },
    /// Two handlers were registered under one name: rename one definition.
    #[error("two handlers are registered under the name {name:?}; rename one definition")]
    Duplicate {
        /// The name.
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
    /// The store could not be read; the error inside says what to do.
    #[error(transparent)]
    Store(StoreError),
    /// `open` was awaited outside a tokio runtime and none was handed in: do one of the two.
    #[error("no tokio runtime: await open() inside one, or hand one in with Builder::runtime")]
    NoRuntime,
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
    /// The task ended before this input got a turn. Start a new task with it.
    #[error("the task ended before this input got a turn; start a new task with it")]
    TaskEnded,
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
            Refused::Rejected(Rejected::Conflict { status, wait }) => StartError::Conflict {
                id: task_id,
                status,
                reason: wait,
            },
            Refused::Rejected(Rejected::OtherDefinition { def }) => StartError::OtherDefinition {
                id: task_id,
                name: name(def),
            },
            Refused::Rejected(Rejected::QueueFull { max }) => StartError::SteeringQueueFull { max },
            Refused::Rejected(
                Rejected::NotFound
                | Rejected::LeaseLost
                | Rejected::NotDue { .. }
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
