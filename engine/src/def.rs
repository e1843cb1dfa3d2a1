//! The typed name of a task: the anchor by which a restarted program finds its work again.

use crate::inbox::TAKEN_MAX;
use crate::options::TaskOptions;
use crate::retry_policy::RetryPolicy;
use outlive_storage::id::{self, InvalidId};
use outlive_storage::store::PAGE_MAX;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// A typed, `const` name for a kind of task: input `I`, output `O`, stream item `S`.
///
/// What is on disk names the task by this text alone, so the Rust function behind it may be renamed or moved.
/// Defaults are named with each option. What [`TaskOptions`] say can also be said by a variant
/// ([`TaskDef::with`]) and by a call; the rest belongs to the definition that was registered.
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

/// What a definition says: about its handler, and about each of its tasks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DefOptions {
    pub(crate) task: TaskOptions,
    pub(crate) steerable_max: Option<u64>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) remote: bool,
    pub(crate) live_items: bool,
    pub(crate) index: &'static [Index],
    pub(crate) former: FormerNames,
}

/// Most [former names](TaskDef::formerly) of one definition.
pub const FORMER_NAMES_MAX: usize = 8;

/// The names a definition had before; an empty one stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormerNames([&'static str; FORMER_NAMES_MAX]);

impl FormerNames {
    const NONE: FormerNames = FormerNames([""; FORMER_NAMES_MAX]);

    const fn and(mut self, name: &'static str) -> FormerNames {
        assert!(
            id::is_name(name),
            "a task name is 1 to 128 characters of A-Z a-z 0-9 . _ : - and not . or .."
        );
        let mut at = 0;
        while at < FORMER_NAMES_MAX && !self.0[at].is_empty() {
            at += 1;
        }
        assert!(at < FORMER_NAMES_MAX, "at most 8 former names");
        self.0[at] = name;
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.0.into_iter().filter(|name| !name.is_empty())
    }
}

/// By what, beside their definition, tasks are found without looking at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Index {
    /// By session.
    Session,
    /// By owner.
    Owner,
    /// By the value of the tag of this key.
    Tag(&'static str),
}

/// Inputs that may wait on a [`TaskDef::steerable`] task unless another number is given.
pub const STEERABLE_DEFAULT: u64 = 9;
/// Most inputs that may ever wait on a task, 768. With those its open turn has taken they are no more than a page of the
/// store, so the writer always knows all of them.
pub const STEERABLE_MAX: u64 = PAGE_MAX as u64 - TAKEN_MAX;

impl<I, O, S> TaskDef<I, O, S> {
    /// A definition of this name: 1 to 128 characters of `A-Za-z0-9._:-`, not `.` or `..`. A constant of another name
    /// does not compile:
    ///
    /// ```compile_fail
    /// const FETCH: outlive::TaskDef<String, usize> = outlive::TaskDef::new("fetch a page");
    /// assert_eq!(FETCH.name(), "fetch a page");
    /// ```
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
                task: TaskOptions::new(),
                steerable_max: None,
                concurrency: None,
                remote: false,
                live_items: false,
                index: &[],
                former: FormerNames::NONE,
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

    /// A name this definition had in earlier versions of the program: the tasks that were started under it are its own
    /// from now on, whatever state they are in, under its present name. Said again, each further name counts: a program
    /// may have skipped versions. Nothing in the file is changed by it: a program that still has the old name finds those
    /// tasks again, and what was started under the new one waits there for a handler. Tasks keep the
    /// [indexes](TaskDef::index) they were started with.
    ///
    /// It takes effect where the definition is registered. Keep it as long as tasks of the old name may be in a file;
    /// without it they wait as [`WaitReason::WaitingHandler`](crate::WaitReason::WaitingHandler).
    ///
    /// ```
    /// use outlive::TaskDef;
    /// const REVIEW: TaskDef<String, bool> = TaskDef::new("review").formerly("check").formerly("lint");
    /// assert_eq!(REVIEW.name(), "review");
    /// ```
    ///
    /// # Panics
    /// On a text that is no name ([`TaskDef::new`]), and for more than [`FORMER_NAMES_MAX`] of them; in a `const` that is
    /// an error of the compiler. A former name that another definition has or had is told at
    /// [`Builder::open`](crate::Builder::open).
    #[must_use]
    pub const fn formerly(mut self, name: &'static str) -> Self {
        self.options.former = self.options.former.and(name);
        self
    }

    /// A variant under the same name, which needs no registration of its own: where `options` say something, it
    /// replaces what this definition says. What a variant changes is stored with the tasks started by it.
    ///
    /// ```
    /// use outlive::{RetryPolicy, TaskDef, TaskOptions};
    /// const FETCH: TaskDef<String, usize> = TaskDef::new("fetch");
    /// const FETCH_ONCE: TaskDef<String, usize> = FETCH.with(TaskOptions::new().retry(RetryPolicy::none()));
    /// assert_eq!(FETCH_ONCE.name(), FETCH.name());
    /// ```
    #[must_use]
    pub const fn with(mut self, options: TaskOptions) -> Self {
        self.options.task = self.options.task.and(options);
        self
    }

    /// When a failed attempt is tried again; [`RetryPolicy::exponential`] by default.
    #[must_use]
    pub const fn retry(self, policy: RetryPolicy) -> Self {
        self.with(TaskOptions::new().retry(policy))
    }

    /// How long one turn may take, over all its attempts and also through crashes; by default as long as it likes.
    /// When the time is up the handler is told ([`Causes::timed_out`](crate::Causes::timed_out)); when the
    /// [grace](TaskDef::grace) is over as well its future is dropped and the task ends as terminated. A blocking
    /// handler cannot be dropped: its task ends all the same, its thread runs on.
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        self.with(TaskOptions::new().timeout(timeout))
    }

    /// How long a turn has to end after its time-out; 5 s by default.
    #[must_use]
    pub const fn grace(self, grace: Duration) -> Self {
        self.with(TaskOptions::new().grace(grace))
    }

    /// How long a turn has to end after a cancel before it is dropped; by default as long as it likes.
    #[must_use]
    pub const fn cancel_grace(self, grace: Duration) -> Self {
        self.with(TaskOptions::new().cancel_grace(grace))
    }

    /// Rank among due tasks of this definition, 0 first to 7 last; 4 by default.
    #[must_use]
    pub const fn priority(self, rank: u8) -> Self {
        self.with(TaskOptions::new().priority(rank))
    }

    /// How long an ended task is kept; 7 days by default. Then the next sweep removes it: one comes each minute.
    #[must_use]
    pub const fn keep_for(self, time: Duration) -> Self {
        self.with(TaskOptions::new().keep_for(time))
    }

    /// Keeps ended tasks until somebody deletes them.
    #[must_use]
    pub const fn keep_forever(self) -> Self {
        self.with(TaskOptions::new().keep_forever())
    }

    /// Removes a task in the commit of its end. **A result nobody had taken when the process died is gone, and the
    /// id may run again.**
    #[must_use]
    pub const fn ephemeral(self) -> Self {
        self.with(TaskOptions::new().ephemeral())
    }

    /// Turns of a living task whose results are kept whole, from 1; 100 by default. Of older ones only the receipt
    /// of the input is kept, as long as the task would be after its end. A further run of a task keeps as many as its
    /// first.
    #[must_use]
    pub const fn keep_turns(self, turns: u32) -> Self {
        self.with(TaskOptions::new().keep_turns(turns))
    }

    /// For chains of turns: a turn that failed for good suspends the task, which waits for the next input, instead
    /// of ending it.
    #[must_use]
    pub const fn keep_alive_on_failure(self) -> Self {
        self.with(TaskOptions::new().keep_alive_on_failure())
    }

    /// The newest items of each task's stream that are kept, at least 1; by default all, up to
    /// [`STREAM_MAX`](crate::STREAM_MAX). Older ones are removed a segment at a time, in the commits that bring new ones,
    /// so that somewhat more are there than asked for. Who reads from before them is told of the
    /// [gap](crate::StreamEvent::Gap).
    #[must_use]
    pub const fn keep_items(self, items: u64) -> Self {
        self.with(TaskOptions::new().keep_items(items))
    }

    /// A title for each task; at most 256 bytes.
    #[must_use]
    pub const fn title(self, title: &'static str) -> Self {
        self.with(TaskOptions::new().title(title))
    }

    /// A description for each task; at most 1,024 bytes.
    #[must_use]
    pub const fn description(self, description: &'static str) -> Self {
        self.with(TaskOptions::new().description(description))
    }

    /// Tags for each task; those of a call are merged over them.
    #[must_use]
    pub const fn tags(self, tags: &'static [(&'static str, &'static str)]) -> Self {
        self.with(TaskOptions::new().tags(tags))
    }

    /// Takes further inputs while a turn runs: up to `max` wait, each becomes a turn of its own, in order.
    /// [`STEERABLE_DEFAULT`] is a good number.
    ///
    /// ```compile_fail
    /// const CHAT: outlive::TaskDef<String, usize> = outlive::TaskDef::new("chat").steerable(1_000_000);
    /// assert_eq!(CHAT.name(), "chat");
    /// ```
    ///
    /// # Panics
    /// When `max` is above [`STEERABLE_MAX`]; in a `const` that is an error of the compiler.
    #[must_use]
    pub const fn steerable(mut self, max: u64) -> Self {
        assert!(max <= STEERABLE_MAX, "at most 768 inputs may wait");
        self.options.steerable_max = Some(max);
        self
    }

    /// How many tasks of this definition run at once, at least 1; by default as many as the engine's slots allow.
    #[must_use]
    pub const fn concurrency(mut self, max: usize) -> Self {
        self.options.concurrency = Some(if max == 0 { 1 } else { max });
        self
    }

    /// Tasks of this definition may be started, and given further inputs, from outside the program: by a server over
    /// HTTP, for example. Nothing of this crate listens to the outside; who does asks [`Engine::definitions`] first.
    ///
    /// [`Engine::definitions`]: crate::Engine::definitions
    #[must_use]
    pub const fn remote(mut self) -> Self {
        self.options.remote = true;
        self
    }

    /// Hands stream items only to those who read at the moment, and stores none of them: for what is of no use a moment
    /// later. **Who comes late, or after a crash, never sees them**, a reader that falls more than 256 KiB behind is told
    /// of a [gap](crate::StreamEvent::Gap), and [`Ctx::emit_durable`](crate::Ctx::emit_durable) promises no more than
    /// [`Ctx::emit`](crate::Ctx::emit). Their sequence numbers ascend, also over restarts, but with gaps.
    #[must_use]
    pub const fn live_items(mut self) -> Self {
        self.options.live_items = true;
        self
    }

    /// Lists tasks by these as well, at the price of one more entry each per task; without an index a list looks at
    /// each task of the definition. It holds for tasks started from now on: older ones are listed as well, by looking
    /// at each.
    #[must_use]
    pub const fn index(mut self, index: &'static [Index]) -> Self {
        self.options.index = index;
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
