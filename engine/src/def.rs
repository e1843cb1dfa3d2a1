//! The typed name of a task: the anchor by which a restarted program finds its work again.

use crate::retry_policy::RetryPolicy;
use outlive_storage::id::{self, InvalidId};
use std::fmt;
use std::marker::PhantomData;

/// A typed, `const` name for a kind of task: input `I`, output `O`, stream item `S`.
///
/// What is on disk names the task by this text alone, so the Rust function behind it may be renamed or moved.
/// Defaults: [`RetryPolicy::exponential`], one input.
///
/// ```
/// use outlive::TaskDef;
/// const SUMMARIZE: TaskDef<String, usize> = TaskDef::new("summarize");
/// assert_eq!(SUMMARIZE.name(), "summarize");
/// ```
pub struct TaskDef<I, O, S = ()> {
    name: &'static str,
    pub(crate) options: DefOptions,
    types: PhantomData<fn(I, S) -> O>,
}

/// What a definition says about each of its tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DefOptions {
    pub(crate) retry: RetryPolicy,
    pub(crate) steerable_max: Option<u64>,
}

/// Inputs that may wait on a [`TaskDef::steerable`] task unless another number is given.
pub const STEERABLE_DEFAULT: u64 = 9;

impl<I, O, S> TaskDef<I, O, S> {
    /// A definition of this name: 1 to 128 characters of `A-Za-z0-9._:-`, not `.` or `..`.
    ///
    /// # Panics
    /// On any other name; in a `const` that is an error of the compiler. Use [`TaskDef::try_new`] for names that
    /// are not literals.
    pub const fn new(name: &'static str) -> TaskDef<I, O, S> {
        assert!(
            id::is_name(name),
            "a task name is 1 to 128 characters of A-Z a-z 0-9 . _ : - and not . or .."
        );
        TaskDef {
            name,
            options: DefOptions {
                retry: RetryPolicy::exponential(),
                steerable_max: None,
            },
            types: PhantomData,
        }
    }

    /// As [`TaskDef::new`], for a name that is not a literal.
    ///
    /// # Errors
    /// [`InvalidId`]: what is wrong with the name.
    pub fn try_new(name: &'static str) -> Result<TaskDef<I, O, S>, InvalidId> {
        id::check(name, id::NAME_MAX)?;
        Ok(TaskDef::new(name))
    }

    /// The name on disk.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// When a failed attempt is tried again, unless the call says otherwise.
    #[must_use]
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options.retry = policy;
        self
    }

    /// Takes further inputs while a turn runs: up to `max` wait, each becomes a turn of its own, in order.
    /// [`STEERABLE_DEFAULT`] is a good number.
    #[must_use]
    pub const fn steerable(mut self, max: u64) -> Self {
        self.options.steerable_max = Some(max);
        self
    }
}

impl<I, O, S> Clone for TaskDef<I, O, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, O, S> Copy for TaskDef<I, O, S> {}

impl<I, O, S> fmt::Debug for TaskDef<I, O, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskDef")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish()
    }
}
