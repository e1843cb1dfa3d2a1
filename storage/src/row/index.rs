//! Since which task the labels of a definition tell the whole truth.

use crate::row::{DefNumber, TaskNumber};

/// One kind of label of one definition; in `indexes`.
///
/// Labels are given at a task's start alone, so a task that was started before its definition was indexed stands under
/// none. Whoever looks for tasks by a label finds all of them only from [`IndexRow::from`] on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexRow {
    /// The definition.
    pub def: DefNumber,
    /// The kind of label, in the engine's words. Set at the open that first indexes by it.
    pub by: Box<str>,
    /// No task with this number or a higher one lacks its label of this kind. Removed, not moved, when the definition
    /// is opened without the index: tasks started then have no label.
    pub from: TaskNumber,
}
