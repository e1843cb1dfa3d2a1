//! Handles to tasks that a turn has started, and what becomes of them.

use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Failure, TaskNumber};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// A task that a handler has started: with [`Ctx::start`](crate::Ctx::start), or many with
/// [`Ctx::start_many`](crate::Ctx::start_many).
///
/// It is recorded as the result of a step, and may be kept in another one. A child is the child of the **turn** that
/// started it. While that turn is open the child's result is kept, whatever its retention says. When the turn is over the
/// child goes on alone, with the retention of any other task; where the turn was cancelled, terminated, deleted or took
/// too long it is cancelled, unless it is detached.
///
/// ```
/// use outlive::{Ctx, HandlerError, TaskDef};
/// const PAGE: TaskDef<String, usize> = TaskDef::new("page");
/// async fn book(ctx: Ctx, pages: Vec<String>) -> Result<usize, HandlerError> {
///     let pages = ctx.start_many("pages", PAGE, pages.iter().map(|page| (page, page))).await?;
///     let mut words = 0;
///     for counted in ctx.all("counted", &pages).await? {
///         words += counted?;
///     }
///     Ok(words)
/// }
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Child<O> {
    task: u64,
    id: Box<str>,
    input_id: Box<str>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    detached: bool,
    #[serde(skip)]
    output: PhantomData<fn() -> O>,
}

impl<O> Child<O> {
    pub(crate) fn new(
        task: TaskNumber,
        id: &TaskId,
        input_id: &InputId,
        detached: bool,
    ) -> Child<O> {
        Child {
            task: task.0,
            id: id.as_str().into(),
            input_id: input_id.as_str().into(),
            detached,
            output: PhantomData,
        }
    }

    pub(crate) fn of(&self) -> ChildOf {
        ChildOf {
            task: TaskNumber(self.task),
            detached: self.detached,
        }
    }

    /// The task's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of the input it was started with.
    pub fn input_id(&self) -> &str {
        &self.input_id
    }

    /// Whether it goes on when the turn that started it is cancelled.
    pub fn is_detached(&self) -> bool {
        self.detached
    }
}

/// What of a handle a wait needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChildOf {
    pub(crate) task: TaskNumber,
    pub(crate) detached: bool,
}

impl<O> Clone for Child<O> {
    fn clone(&self) -> Self {
        Child {
            task: self.task,
            id: self.id.clone(),
            input_id: self.input_id.clone(),
            detached: self.detached,
            output: PhantomData,
        }
    }
}

impl<O> fmt::Debug for Child<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("id", &self.id)
            .field("input_id", &self.input_id)
            .field("detached", &self.detached)
            .finish_non_exhaustive()
    }
}

/// Why a child has no output, or why it cannot be waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// Its handler failed for good. Go on without it, or return the error.
    #[error("the task failed after {} attempts: {}", .0.attempts, .0.message)]
    Failed(Failure),
    /// It was cancelled. Go on without it, or return the error.
    #[error("cancelled: {reason}")]
    Cancelled {
        /// The reason given.
        reason: Box<str>,
    },
    /// It was stopped without its handler: somebody asked for it, or a turn took longer than it may. Go on without it, or
    /// return the error.
    #[error("terminated: {reason}")]
    Terminated {
        /// The reason given, or the limit that was passed.
        reason: Box<str>,
        /// True for a time-out.
        timed_out: bool,
    },
    /// It is not in the store any more: somebody deleted it, or it belonged to an earlier turn and its time has come.
    #[error("the task is not in the store any more")]
    Gone,
    /// Its row, or its output, is damaged. The rest of the file is usable; restore it from a copy.
    #[error("the task cannot be read ({damage}); restore the file from a copy")]
    Damaged {
        /// What was found.
        damage: Box<str>,
    },
    /// Its output is not an `O`. It is kept: read it with the type that wrote it.
    #[error("the output is not a {expected}")]
    Undecodable {
        /// The type asked for, and why the bytes are not one.
        expected: Box<str>,
    },
    /// It has not ended: somebody has retried it since it did. Wait for it again.
    #[error("the task runs once more; wait for it again")]
    Unfinished,
    /// It is the child of another task, which alone can wait for it: start one of your own, under
    /// another id.
    #[error("the task is the child of another one, which alone can wait for it")]
    OfAnother,
    /// No child was given, or the one whose end is recorded under this key is not among those given: give the same ones in
    /// every attempt.
    #[error("there is no child to wait for")]
    Nobody,
    /// Its output takes too much room to be recorded here: wait for all that have ended
    /// ([`Ctx::all`](crate::Ctx::all)), which reads the outputs where they are.
    #[error("the output is too large to be recorded once more; wait with all()")]
    TooLarge,
    /// The turn has as many steps as it may, and a wait is one: wait for several with one call.
    #[error("a turn has at most {max} steps; make fewer")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The turn is over, or its claim is no longer the task's. End the work.
    #[error("the turn is over; end the work")]
    TurnOver,
}
