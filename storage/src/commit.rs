//! What a writer asks of a store: one commit per task, each with the row it was decided on.

use crate::id::InputId;
use crate::row::{Etag, Generation, InputRow, Receipt, TaskNumber, TaskRow, ValueKey};
use crate::store::StoreError;

/// The row a commit was decided on. Compared for equality inside the transaction, never for order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// No task has this id: a start. The commit's first write must be the row.
    Absent,
    /// The task runs under this generation: everything a running turn writes.
    Lease(Generation),
    /// The row still carries this etag: everything everybody else writes.
    Etag(Etag),
}

/// One change within a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put the row; the store moves its index entries from where the old row had them.
    Row(Box<TaskRow>),
    /// Put a large value.
    Value {
        /// Its key; `key.task` is the commit's task.
        key: ValueKey,
        /// The user's bytes, as given.
        bytes: Vec<u8>,
    },
    /// Remove a large value; nothing happens when it is not there.
    RemoveValue(ValueKey),
    /// Append to `pending_steering_inputs`.
    PushInput {
        /// Position among the task's inputs; ascends.
        seq: u64,
        /// The input.
        input: InputRow,
    },
    /// Take one input out of `pending_steering_inputs`.
    PopInput {
        /// Its position.
        seq: u64,
    },
    /// Put the receipt of an input.
    Receipt {
        /// The input.
        input_id: InputId,
        /// What became of it.
        receipt: Receipt,
    },
}

/// All that changes in one task at once: the unit of atomicity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The task; for a start its new number.
    pub task: TaskNumber,
    /// What must still be true.
    pub expect: Expect,
    /// What to write, in this order, after every expectation of the commit was checked.
    pub writes: Vec<Write>,
}

/// A commit took place; it is durable when `Store::commit` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The etag of the row afterwards.
    pub etag: Etag,
}

/// A commit was refused and changed nothing; its neighbours in the batch are not hindered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The number under which the row was found: another one when an id was already taken.
    pub task: TaskNumber,
    /// The row as it is, `None` when there is none, or that it is damaged.
    pub found: Result<Option<Box<TaskRow>>, StoreError>,
}
