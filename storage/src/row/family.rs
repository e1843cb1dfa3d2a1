//! Tasks that a turn of another task has started: whose they are, and what becomes of them when that turn is over.

use crate::id::TaskId;
use crate::row::TaskNumber;
use serde::{Deserialize, Serialize};

/// The children of one turn of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Family {
    /// The parent.
    pub task: TaskNumber,
    /// Its turn, by its number over all runs.
    pub turn: u64,
}

/// Whose child a task is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentRow {
    /// The turn that started it, or took it over.
    pub family: Family,
    /// The id of the parent, for people.
    pub id: TaskId,
    /// It goes on when its parent is cancelled.
    pub detached: bool,
}

/// What becomes of the children of a turn that is over, one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// They go on alone.
    Alone,
    /// Those that are not detached are cancelled.
    Cancelled {
        /// Why.
        reason: Box<str>,
    },
}
