//! Why a turn gets no input, and why nothing is known of one; each variant says what to do next.

use crate::machine::Rejected;
use crate::reader::ReadError;
use crate::writer::{Refused, Stop};
use outlive_storage::StoreError;
use outlive_storage::id::{InputId, InvalidId, TaskId};

/// Why a turn took no input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The turn is over, or its claim is no longer the task's: nothing was taken. End the handler.
    #[error("the turn is over; end the handler")]
    TurnOver,
    /// This attempt has taken an input under the key already, or is about to: give each place of the handler a key of
    /// its own. Nothing more was taken.
    #[error("the key {key:?} was used in this attempt; give each take a key of its own")]
    KeyUsed {
        /// The key.
        key: Box<str>,
    },
    /// The key is empty, longer than [`TAKE_KEY_MAX`](crate::TAKE_KEY_MAX) bytes, or has control characters. Nothing
    /// was taken.
    #[error("a key has 1 to 128 bytes and no control characters, this one has {bytes} bytes")]
    InvalidKey {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The turn has taken as many inputs as one turn may: end it, and the next one goes on. Nothing was taken.
    #[error("a turn takes at most {max} inputs; end it, and the next one goes on")]
    TooMany {
        /// The bound.
        max: u64,
    },
    /// The input was taken and is not of the expected type. Returned from the handler it parks the task until a program
    /// can read it, and the key gets it then; whoever goes on works without it.
    #[error("the input {input_id} is not a {expected}")]
    Undecodable {
        /// The input.
        input_id: InputId,
        /// The type expected, and why the bytes are not one.
        expected: Box<str>,
    },
    /// The engine has stopped; the turn is recovered at the next open, and the key gets what was taken.
    #[error("the engine has stopped; the turn is recovered at the next open")]
    ShuttingDown,
    /// The store failed: whether an input was taken is found at the next open, which recovers the turn.
    #[error("the store failed ({0}); the turn is recovered at the next open")]
    Store(StoreError),
}

impl TakeError {
    pub(crate) fn from_refused(refused: Refused) -> TakeError {
        match refused {
            Refused::Rejected(Rejected::TakenFull { max }) => TakeError::TooMany { max },
            Refused::Rejected(_) => TakeError::TurnOver,
            Refused::Stopped(Stop::Shutdown) => TakeError::ShuttingDown,
            Refused::Unreadable(error)
            | Refused::Unknown(error)
            | Refused::Stopped(Stop::Failed(error)) => TakeError::Store(error),
        }
    }

    pub(crate) fn from_read(error: ReadError) -> TakeError {
        match error {
            ReadError::Stopped => TakeError::ShuttingDown,
            ReadError::Store(error) => TakeError::Store(error),
        }
    }
}

/// Why the inputs that wait cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PendingError {
    /// An input that waits is not of the expected type: its own turn will say so, or read it with another type.
    #[error("the input {input_id} is not a {expected}")]
    Undecodable {
        /// The input.
        input_id: InputId,
        /// The type expected, and why the bytes are not one.
        expected: Box<str>,
    },
    /// The engine has stopped; the turn is recovered at the next open.
    #[error("the engine has stopped; the turn is recovered at the next open")]
    ShuttingDown,
    /// The store could not be read.
    #[error("the store failed ({0})")]
    Store(StoreError),
}

impl PendingError {
    pub(crate) fn from_read(error: ReadError) -> PendingError {
        match error {
            ReadError::Stopped => PendingError::ShuttingDown,
            ReadError::Store(error) => PendingError::Store(error),
        }
    }
}

/// Why nothing is known of an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The task's or the input's id keeps not the rules of ids.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// There is no such task, or it never had this input, or retention has forgotten it.
    #[error("the task {id} knows no input {input_id}")]
    NotFound {
        /// The task.
        id: TaskId,
        /// The input.
        input_id: InputId,
    },
    /// The engine has stopped: open it again and ask again.
    #[error("the engine has stopped; open it again and ask again")]
    ShuttingDown,
    /// The store could not be read.
    #[error("the store failed ({0})")]
    Store(StoreError),
}

impl InputError {
    pub(crate) fn from_read(error: ReadError) -> InputError {
        match error {
            ReadError::Stopped => InputError::ShuttingDown,
            ReadError::Store(error) => InputError::Store(error),
        }
    }
}
