//! The user's bytes: in a row, or beside it in the table of values.

use crate::row::TaskNumber;
use serde::{Deserialize, Serialize};

/// Bytes of the user, exactly as given (JSON), or where they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// At most [`Payload::INLINE_MAX`] bytes, in the row itself.
    Inline(Vec<u8>),
    /// A larger value, in the table of values under [`ValueKey`], `len` bytes long.
    Stored {
        /// Length in bytes.
        len: u64,
    },
}

impl Payload {
    /// Largest value kept in its row, in bytes: a transition rewrites the row, so rows stay small.
    pub const INLINE_MAX: usize = 1024;

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Stored { len } => *len,
        }
    }

    /// True for a value that lies beside its row.
    pub fn is_stored(&self) -> bool {
        matches!(self, Payload::Stored { .. })
    }

    /// True for a value of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a value in the table of values is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ValueKind {
    /// The input of a turn; `index` is the sequence number of the input in its task.
    Input,
    /// The output of a turn; `index` is the turn's [`TaskRow::slot`](crate::row::TaskRow::slot).
    Output,
    /// All metadata of the task, as one JSON object of namespaces; `index` is 0.
    Metadata,
}

impl ValueKind {
    /// The byte that stands for it in a key.
    pub const fn byte(self) -> u8 {
        match self {
            ValueKind::Input => 1,
            ValueKind::Output => 2,
            ValueKind::Metadata => 3,
        }
    }

    /// The kind that this byte stands for.
    pub const fn of_byte(byte: u8) -> Option<ValueKind> {
        match byte {
            1 => Some(ValueKind::Input),
            2 => Some(ValueKind::Output),
            3 => Some(ValueKind::Metadata),
            _ => None,
        }
    }
}

/// The key of one large value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueKey {
    /// The task it hangs on.
    pub task: TaskNumber,
    /// What it is.
    pub kind: ValueKind,
    /// Which one of its kind.
    pub index: u64,
}
