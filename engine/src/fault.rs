//! Every way in which a call from outside can fail, as one type: for servers and command lines, which tell others.
//!
//! Each operation has an error of its own, which says what its caller does next. Whoever carries errors over a protocol
//! needs them once, with a code that stays. The enum is exhaustive on purpose: one `match` without a wildcard says what
//! each is in that protocol, and does not compile when there is one more. What is an end of the task rather than a fault
//! of the call is no fault: [`Fault::of_result`] tells the two apart. It has so many lines because each error of each call
//! stands here twice: as a fault, and where it becomes one.

use crate::answer_ask::AnswerError;
use crate::error::{
    AttachError, ControlError, GetError, ReenterError, ResultError, RunError, StartError,
};
use crate::facts::FactsError;
use crate::feed::EventsError;
use crate::input_error::InputError;
use crate::list::InvalidCursor;
use crate::machine::Status;
use crate::resolve::ResolveError;
use crate::retry_policy::InvalidRetry;
use crate::snapshot::Ended;
use crate::stream::reader::StreamError;
use crate::value::ValueError;
use outlive_storage::StoreError;
use outlive_storage::id::{InputId, InvalidId, TaskId};
use outlive_storage::row::WaitReason;

/// Why a call failed, whatever call it was. Nothing was written unless the variant says so.
///
/// ```
/// # use outlive::{Engine, Fault};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().open().await?;
/// let refused = engine.get("no spaces").await.unwrap_err();
/// assert_eq!(Fault::from(refused).code(), "invalid_id");
/// # Ok(()) }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// An id breaks the rules: give another one.
    #[error(transparent)]
    InvalidId(InvalidId),
    /// The text is not that of a cursor: give one unchanged, or begin without one.
    #[error(transparent)]
    InvalidCursor(InvalidCursor),
    /// A retry policy contradicts itself: correct it.
    #[error(transparent)]
    InvalidRetry(InvalidRetry),
    /// A value or a text is too long: give the place of large data, shorten a text.
    #[error("the {what} takes {size} bytes, the limit is {limit}")]
    TooLarge {
        /// What: `input` or `title`, for example.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A value nests too deep: make it flatter.
    #[error("the {what} nests deeper than {limit}")]
    TooDeep {
        /// What: `input` or `answer`, for example.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A value has no JSON form: change it.
    #[error("the {what} has no JSON form: {error}")]
    NotJson {
        /// What: `input` or `answer`, for example.
        what: &'static str,
        /// Why.
        error: serde_json::Error,
    },
    /// The key of a tag is the engine's: choose another one.
    #[error("the tag {key:?} is reserved")]
    ReservedTag {
        /// The key.
        key: String,
    },
    /// The key of a tag breaks the rules: choose another one.
    #[error("{key:?} is not the key of a tag")]
    InvalidTagKey {
        /// The key.
        key: String,
    },
    /// Too many tags: leave some out.
    #[error("{count} tags are too many, the limit is {limit}")]
    TooManyTags {
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A session breaks the rules of ids: give another one.
    #[error("the session is not one: {0}")]
    InvalidSession(InvalidId),
    /// A trace context is not in its form: pass it on as it came, or leave it out.
    #[error("{given:?} is no traceparent")]
    InvalidTraceparent {
        /// What was given.
        given: String,
    },
    /// A factory of the definition failed: mend it, or say the value in the call.
    #[error("the factory of the {what} failed")]
    FactoryFailed {
        /// `title`, `description` or `tags`.
        what: &'static str,
        /// Its error.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No handler is registered under this name: register it, or use another one.
    #[error("no handler is registered for {name:?}")]
    NoHandler {
        /// The definition's name.
        name: String,
    },
    /// There is no such task: it was never started, or it was removed after its end.
    #[error("there is no task {id}")]
    NotFound {
        /// The task.
        id: TaskId,
    },
    /// The task knows no such input.
    #[error("the task {id} knows no input {input_id}")]
    InputNotFound {
        /// The task.
        id: TaskId,
        /// The input.
        input_id: InputId,
    },
    /// The task does not take this as it stands.
    #[error("task {id} is {status}")]
    Conflict {
        /// The task.
        id: TaskId,
        /// How it stands.
        status: Status,
        /// What it waits for, when it waits.
        reason: Option<WaitReason>,
        /// Its etag; empty where the call does not know it.
        etag: Option<u64>,
    },
    /// The task belongs to another definition: use that one, or another id.
    #[error("task {id} belongs to the definition {name:?}")]
    OtherDefinition {
        /// The task.
        id: TaskId,
        /// Its definition.
        name: String,
    },
    /// The task is not as the caller saw it: look at it and decide anew.
    #[error("task {id} has changed since it was looked at")]
    PreconditionFailed {
        /// The task.
        id: TaskId,
        /// Its etag; empty when there is no such task.
        etag: Option<u64>,
        /// Its last accepted input; empty where the call does not know it.
        last_input_id: Option<InputId>,
    },
    /// So many inputs wait already: try again when a turn has ended.
    #[error("{max} inputs wait already")]
    SteeringQueueFull {
        /// The definition's bound.
        max: u64,
    },
    /// What was asked for is not kept any more.
    #[error("the result of turn {turn} is not kept any more")]
    ResultGone {
        /// The turn, from 1.
        turn: u32,
    },
    /// The task was removed while it was followed.
    #[error("task {id} was removed before its run had ended")]
    Removed {
        /// The task.
        id: TaskId,
    },
    /// A value in the file is not what this program's type says; it is kept.
    #[error("the {what} of task {id} cannot be read")]
    Undecodable {
        /// The task.
        id: TaskId,
        /// What: `input` or `output`, for example.
        what: String,
        /// The type asked for, and why the bytes are not one.
        expected: String,
    },
    /// No such question is open.
    #[error("task {id} does not ask {key:?}")]
    NotAsked {
        /// The task.
        id: TaskId,
        /// The question's key.
        key: String,
    },
    /// The question was answered before: the first answer counts.
    #[error("task {id} was answered {key:?} before; the first answer counts")]
    AlreadyAnswered {
        /// The task.
        id: TaskId,
        /// The question's key.
        key: String,
        /// Whether that was the same answer.
        same: bool,
    },
    /// The time to answer is over.
    #[error("the time to answer {key:?} of task {id} is over")]
    Expired {
        /// The task.
        id: TaskId,
        /// The question's key.
        key: String,
    },
    /// The answer is for another question than the one that is open: look at it and decide anew.
    #[error("task {id} asks another question under {key:?}")]
    DigestMismatch {
        /// The task.
        id: TaskId,
        /// The question's key.
        key: String,
        /// The digest of the question that is open.
        expected: String,
    },
    /// Transitions are not logged: open the engine with that turned on.
    #[error("transitions are not logged")]
    NotLogged,
    /// The engine is shutting down: ask again at the next open.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// It may have happened or not: ask again with the same ids once the engine is open again.
    #[error("unknown whether task {id} was changed")]
    Unknown {
        /// The task.
        id: TaskId,
        /// The input, where there is one.
        input_id: Option<InputId>,
        /// How the store failed.
        cause: StoreError,
    },
    /// The store cannot answer: [`StoreError::kind`] says which of its errors it is.
    #[error(transparent)]
    Store(StoreError),
}

impl Fault {
    /// A code that stays over all versions, while texts may change.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::InvalidId(_) => "invalid_id",
            Fault::InvalidCursor(_) => "invalid_cursor",
            Fault::InvalidRetry(_) => "invalid_retry",
            Fault::TooLarge { .. } => "too_large",
            Fault::TooDeep { .. } => "too_deep",
            Fault::NotJson { .. } => "not_json",
            Fault::ReservedTag { .. } => "reserved_tag",
            Fault::InvalidTagKey { .. } => "invalid_tag_key",
            Fault::TooManyTags { .. } => "too_many_tags",
            Fault::InvalidSession(_) => "invalid_session",
            Fault::InvalidTraceparent { .. } => "invalid_traceparent",
            Fault::FactoryFailed { .. } => "factory_failed",
            Fault::NoHandler { .. } => "no_handler",
            Fault::NotFound { .. } => "not_found",
            Fault::InputNotFound { .. } => "input_not_found",
            Fault::Conflict { .. } => "conflict",
            Fault::OtherDefinition { .. } => "other_definition",
            Fault::PreconditionFailed { .. } => "precondition_failed",
            Fault::SteeringQueueFull { .. } => "steering_queue_full",
            Fault::ResultGone { .. } => "result_gone",
            Fault::Removed { .. } => "removed",
            Fault::Undecodable { .. } => "undecodable",
            Fault::NotAsked { .. } => "not_asked",
            Fault::AlreadyAnswered { .. } => "already_answered",
            Fault::Expired { .. } => "expired",
            Fault::DigestMismatch { .. } => "digest_mismatch",
            Fault::NotLogged => "not_logged",
            Fault::ShuttingDown => "shutting_down",
            Fault::Unknown { .. } => "unknown",
            Fault::Store(error) => store_code(error),
        }
    }

    /// How the task, or the turn of the input, ended; or why nobody can say.
    ///
    /// # Errors
    /// [`Fault`], where the error is one of the call and not an end.
    pub fn of_result(error: ResultError) -> Result<Ended, Fault> {
        Err(match error {
            ResultError::Failed(failure) => return Ok(Ended::Failed(failure)),
            ResultError::Cancelled { reason } => {
                let reason = reason.into();
                return Ok(Ended::Cancelled { reason });
            }
            ResultError::Terminated { reason, timed_out } => {
                let reason = reason.into();
                return Ok(Ended::Terminated { reason, timed_out });
            }
            ResultError::Gone { turn } => Fault::ResultGone { turn },
            ResultError::Conflict { id, status } => Fault::Conflict {
                id,
                status,
                reason: None,
                etag: None,
            },
            ResultError::NotFound { id } => Fault::NotFound { id },
            ResultError::Undecodable { id, what, expected } => Fault::Undecodable {
                id,
                what: what.into(),
                expected: expected.into(),
            },
            ResultError::ShuttingDown => Fault::ShuttingDown,
            ResultError::Store(error) => Fault::Store(error),
        })
    }

    /// As [`Fault::of_result`], for [`Engine::run`](crate::Engine::run).
    ///
    /// # Errors
    /// [`Fault`], where the error is one of the call and not an end.
    pub fn of_run(error: RunError) -> Result<Ended, Fault> {
        match error {
            RunError::Start(error) => Err(error.into()),
            RunError::Result(error) => Fault::of_result(error),
        }
    }
}

fn store_code(error: &StoreError) -> &'static str {
    use outlive_storage::StoreErrorKind as Kind;
    match error.kind() {
        Kind::Corrupt => "corrupt",
        Kind::TooNew => "too_new",
        Kind::KeyMissing => "key_missing",
        Kind::Full => "store_full",
        Kind::Replaced => "store_replaced",
        Kind::Failed | Kind::Poisoned => "store_failed",
        Kind::Malformed => "store_malformed",
    }
}

impl From<ValueError> for Fault {
    fn from(error: ValueError) -> Fault {
        match error {
            ValueError::TooLarge { what, size, limit } => Fault::TooLarge { what, size, limit },
            ValueError::TooDeep { what, limit } => Fault::TooDeep { what, limit },
            ValueError::NotJson { what, error } => Fault::NotJson { what, error },
        }
    }
}

impl From<FactsError> for Fault {
    fn from(error: FactsError) -> Fault {
        match error {
            FactsError::ReservedTag { key } => Fault::ReservedTag { key },
            FactsError::TagKey { key } => Fault::InvalidTagKey { key },
            FactsError::TooLarge { what, size, limit } => Fault::TooLarge {
                what,
                size: size as u64,
                limit: limit as u64,
            },
            FactsError::TooManyTags { count, limit } => Fault::TooManyTags { count, limit },
            FactsError::Session(error) => Fault::InvalidSession(error),
            FactsError::Traceparent { given } => Fault::InvalidTraceparent { given },
            FactsError::Factory { what, error } => Fault::FactoryFailed { what, error },
        }
    }
}

impl From<StartError> for Fault {
    fn from(error: StartError) -> Fault {
        match error {
            StartError::InvalidId(error) => Fault::InvalidId(error),
            StartError::InvalidRetry(error) => Fault::InvalidRetry(error),
            StartError::Input(error) => error.into(),
            StartError::Facts(error) => error.into(),
            StartError::PreconditionFailed {
                id,
                etag,
                last_input_id,
            } => Fault::PreconditionFailed {
                id,
                etag,
                last_input_id,
            },
            StartError::NotFound(id) => Fault::NotFound { id },
            StartError::NoHandler { name } => Fault::NoHandler { name: name.into() },
            StartError::Conflict {
                id,
                status,
                reason,
                etag,
            } => Fault::Conflict {
                id,
                status,
                reason,
                etag: Some(etag),
            },
            StartError::OtherDefinition { id, name } => Fault::OtherDefinition { id, name },
            StartError::SteeringQueueFull { max } => Fault::SteeringQueueFull { max },
            StartError::ShuttingDown => Fault::ShuttingDown,
            StartError::Unknown {
                task_id,
                input_id,
                cause,
            } => Fault::Unknown {
                id: task_id,
                input_id: Some(input_id),
                cause,
            },
            StartError::Store(error) => Fault::Store(error),
        }
    }
}

impl From<GetError> for Fault {
    fn from(error: GetError) -> Fault {
        match error {
            GetError::InvalidId(error) => Fault::InvalidId(error),
            GetError::ShuttingDown => Fault::ShuttingDown,
            GetError::Store(error) => Fault::Store(error),
        }
    }
}

impl From<AttachError> for Fault {
    fn from(error: AttachError) -> Fault {
        match error {
            AttachError::NotFound(id) => Fault::NotFound { id },
            AttachError::OtherDefinition { id, name } => Fault::OtherDefinition { id, name },
            AttachError::Get(error) => error.into(),
        }
    }
}

impl From<ControlError> for Fault {
    fn from(error: ControlError) -> Fault {
        match error {
            ControlError::InvalidId(error) => Fault::InvalidId(error),
            ControlError::NotFound(id) => Fault::NotFound { id },
            ControlError::Conflict {
                id,
                status,
                reason,
                etag,
            } => Fault::Conflict {
                id,
                status,
                reason,
                etag: Some(etag),
            },
            ControlError::PreconditionFailed { id, etag } => Fault::PreconditionFailed {
                id,
                etag,
                last_input_id: None,
            },
            ControlError::ShuttingDown => Fault::ShuttingDown,
            ControlError::Unknown { id, cause } => Fault::Unknown {
                id,
                input_id: None,
                cause,
            },
            ControlError::Store(error) => Fault::Store(error),
        }
    }
}

impl From<ReenterError> for Fault {
    fn from(error: ReenterError) -> Fault {
        match error {
            ReenterError::OtherDefinition { id, name } => Fault::OtherDefinition { id, name },
            ReenterError::Control(error) => error.into(),
        }
    }
}

impl From<InputError> for Fault {
    fn from(error: InputError) -> Fault {
        match error {
            InputError::InvalidId(error) => Fault::InvalidId(error),
            InputError::NotFound { id, input_id } => Fault::InputNotFound { id, input_id },
            InputError::ShuttingDown => Fault::ShuttingDown,
            InputError::Store(error) => Fault::Store(error),
        }
    }
}

impl From<AnswerError> for Fault {
    fn from(error: AnswerError) -> Fault {
        match error {
            AnswerError::Answer(error) => error.into(),
            AnswerError::NotAsked { id, key } => Fault::NotAsked { id, key },
            AnswerError::AlreadyAnswered { id, key, same } => {
                Fault::AlreadyAnswered { id, key, same }
            }
            AnswerError::Expired { id, key } => Fault::Expired { id, key },
            AnswerError::DigestMismatch { id, key, expected } => {
                Fault::DigestMismatch { id, key, expected }
            }
            AnswerError::Control(error) => error.into(),
        }
    }
}

impl From<ResolveError> for Fault {
    fn from(error: ResolveError) -> Fault {
        match error {
            ResolveError::Result(error) => error.into(),
            ResolveError::Control(error) => error.into(),
        }
    }
}

impl From<EventsError> for Fault {
    fn from(error: EventsError) -> Fault {
        match error {
            EventsError::NotLogged => Fault::NotLogged,
            EventsError::ShuttingDown => Fault::ShuttingDown,
            EventsError::Store(error) => Fault::Store(error),
        }
    }
}

impl From<StreamError> for Fault {
    fn from(error: StreamError) -> Fault {
        match error {
            StreamError::Undecodable { id, expected, .. } => Fault::Undecodable {
                id,
                what: "item".to_owned(),
                expected: expected.into(),
            },
            StreamError::Gone { id } => Fault::Removed { id },
            StreamError::ShuttingDown => Fault::ShuttingDown,
            StreamError::Store(error) => Fault::Store(error),
        }
    }
}

impl From<InvalidId> for Fault {
    fn from(error: InvalidId) -> Fault {
        Fault::InvalidId(error)
    }
}

impl From<InvalidCursor> for Fault {
    fn from(error: InvalidCursor) -> Fault {
        Fault::InvalidCursor(error)
    }
}
