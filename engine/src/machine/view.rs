//! What the machine is shown: the row, its inbox, and the values it may hand out.

use super::ask::Question;
use outlive_storage::row::{
    DefNumber, Etag, Generation, InputRow, Micros, Receipt, TaskNumber, TaskRow, Times,
};
use std::collections::VecDeque;

/// The limits of a task's definition as the running program registered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefLimits {
    /// How many inputs may wait while a turn runs; `None`: the definition takes one input.
    pub steerable_max: Option<u64>,
    /// The number its new tasks get, where the task's own is that of a former name; else `None`.
    pub present: Option<DefNumber>,
}

/// What the writer knows of the task's parent and children. Only events that ask for it are shown it.
#[derive(Debug, Clone, Copy, Default)]
pub struct FamilyView<'a> {
    /// The parent that the event names, if there is such a task.
    pub parent: Option<&'a TaskRow>,
    /// How often children of the open turn have ended.
    pub ended: u64,
}

/// One task as the writer's batch has left it. [`step`](super::step) reads nothing else.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The task's number; for an absent task the number it will get.
    pub task: TaskNumber,
    /// The row, if there is one.
    pub row: Option<&'a TaskRow>,
    /// The inputs that wait and those the open turn has taken, oldest first, with their positions: all of them.
    pub inbox: &'a VecDeque<(u64, InputRow)>,
    /// The receipt of the input the event names, where it names one that has a receipt.
    pub receipt: Option<&'a Receipt>,
    /// The question the event names, where there is or was one of the open turn.
    pub question: Option<&'a Question>,
    /// Its parent and its children.
    pub family: FamilyView<'a>,
    /// The definition's limits.
    pub limits: DefLimits,
}

/// The moment of a decision and the values a transition may use up.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The time that is written down: [`Times::now`].
    pub at: Micros,
    /// What the lines of time show: deadlines are made of it, and compared with it.
    pub times: Times,
    /// The etag the row gets if this event changes it.
    pub etag: Etag,
    /// The generation a claim or a fence gets if this event makes one.
    pub generation: Generation,
}

impl Now {
    /// At this look at the clocks, with these values to use up.
    pub fn new(times: Times, etag: Etag, generation: Generation) -> Now {
        Now {
            at: times.now(),
            times,
            etag,
            generation,
        }
    }
}
