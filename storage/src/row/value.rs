//! The user's bytes: in a row, or beside it in the table of values.

use crate::row::TaskNumber;
use serde::{Deserialize, Serialize};

/// Bytes of the user, exactly as given (JSON), or where they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// At most [`Payload::INLINE_MAX`] bytes, in the row itself.
    Inline(#[serde(with = "super::bytes::user")] Vec<u8>),
    /// A larger value, in the table of values under [`ValueKey`]. What else was ever under that key has another length or
    /// another checksum: a disk may bring an old page back, which is whole.
    Stored {
        /// Length in bytes.
        len: u64,
        /// CRC-32 of the bytes.
        crc: u32,
    },
}

impl Payload {
    /// Largest value kept in its row, in bytes: a transition rewrites the row, so rows stay small.
    pub const INLINE_MAX: usize = 1024;

    /// What a row says of a value that is to lie beside it.
    pub fn stored(bytes: &[u8]) -> Payload {
        Payload::Stored {
            len: bytes.len() as u64,
            crc: crc32fast::hash(bytes),
        }
    }

    /// Whether these are its bytes.
    ///
    /// ```
    /// use outlive_storage::row::Payload;
    /// let payload = Payload::stored(b"[1, 2]");
    /// assert!(payload.is_of(b"[1, 2]") && !payload.is_of(b"[1, 3]"));
    /// ```
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        match self {
            Payload::Inline(own) => own == bytes,
            Payload::Stored { len, crc } => {
                bytes.len() as u64 == *len && crc32fast::hash(bytes) == *crc
            }
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Stored { len, .. } => *len,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ValueKey {
    /// The task it hangs on.
    pub task: TaskNumber,
    /// What it is.
    pub kind: ValueKind,
    /// Which one of its kind.
    pub index: u64,
}
