//! Options of one task: said by its definition, a variant of it, or a call, each over the one before.

use crate::env::micros;
use crate::retry_policy::{InvalidRetry, RetryPolicy};
use outlive_storage::row::{Keep, OptionsRow, Priority};
use std::time::Duration;

/// How long an ended task is kept by default: 7 days.
pub const KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How long a turn has to end after its time-out by default: 5 s.
pub const GRACE: Duration = Duration::from_secs(5);
/// Turns of a living task that are kept whole by default.
pub const KEEP_TURNS: u32 = 100;

/// Options that a definition, a variant or a call may give; each is described at the method of the same name of
/// [`TaskDef`](crate::TaskDef). What is not said is left as it was.
///
/// ```
/// use outlive::TaskOptions;
/// use std::time::Duration;
/// const PATIENT: TaskOptions = TaskOptions::new().timeout(Duration::from_secs(600)).priority(7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TaskOptions {
    retry: Option<RetryPolicy>,
    timeout: Option<Duration>,
    grace: Option<Duration>,
    cancel_grace: Option<Duration>,
    priority: Option<Priority>,
    keep: Option<KeepOption>,
    keep_turns: Option<u32>,
    keep_alive_on_failure: Option<bool>,
    keep_items: Option<u64>,
    pub(crate) title: Option<&'static str>,
    pub(crate) description: Option<&'static str>,
    pub(crate) tags: Option<&'static [(&'static str, &'static str)]>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum KeepOption {
    For(Duration),
    Forever,
    Ephemeral,
}

/// The one that was said last.
const fn later<T: Copy>(earlier: Option<T>, later: Option<T>) -> Option<T> {
    match later {
        Some(_) if cfg!(planted = "first_word_counts") && earlier.is_some() => earlier,
        Some(said) => Some(said),
        None => earlier,
    }
}

impl TaskOptions {
    /// Nothing is said.
    pub const fn new() -> TaskOptions {
        TaskOptions {
            retry: None,
            timeout: None,
            grace: None,
            cancel_grace: None,
            priority: None,
            keep: None,
            keep_turns: None,
            keep_alive_on_failure: None,
            keep_items: None,
            title: None,
            description: None,
            tags: None,
        }
    }

    /// These options, with what `over` says instead where it says something.
    #[must_use]
    pub const fn and(self, over: TaskOptions) -> TaskOptions {
        TaskOptions {
            retry: later(self.retry, over.retry),
            timeout: later(self.timeout, over.timeout),
            grace: later(self.grace, over.grace),
            cancel_grace: later(self.cancel_grace, over.cancel_grace),
            priority: later(self.priority, over.priority),
            keep: later(self.keep, over.keep),
            keep_turns: later(self.keep_turns, over.keep_turns),
            keep_alive_on_failure: later(self.keep_alive_on_failure, over.keep_alive_on_failure),
            keep_items: later(self.keep_items, over.keep_items),
            title: later(self.title, over.title),
            description: later(self.description, over.description),
            tags: later(self.tags, over.tags),
        }
    }

    /// When a failed attempt is tried again.
    #[must_use]
    pub const fn retry(mut self, policy: RetryPolicy) -> TaskOptions {
        self.retry = Some(policy);
        self
    }

    /// How long one turn may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> TaskOptions {
        self.timeout = Some(timeout);
        self
    }

    /// How long a turn has to end after its time-out.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> TaskOptions {
        self.grace = Some(grace);
        self
    }

    /// How long a turn has to end after a cancel.
    #[must_use]
    pub const fn cancel_grace(mut self, grace: Duration) -> TaskOptions {
        self.cancel_grace = Some(grace);
        self
    }

    /// Rank among due tasks, 0 first to 7 last; higher numbers become 7.
    #[must_use]
    pub const fn priority(mut self, rank: u8) -> TaskOptions {
        self.priority = Some(Priority::new(rank));
        self
    }

    /// How long an ended task is kept.
    #[must_use]
    pub const fn keep_for(mut self, time: Duration) -> TaskOptions {
        self.keep = Some(KeepOption::For(time));
        self
    }

    /// Keeps the ended task until somebody deletes it.
    #[must_use]
    pub const fn keep_forever(mut self) -> TaskOptions {
        self.keep = Some(KeepOption::Forever);
        self
    }

    /// Removes the task in the commit of its end. **A result nobody had taken when the process died is gone, and
    /// the id may run again.**
    #[must_use]
    pub const fn ephemeral(mut self) -> TaskOptions {
        self.keep = Some(KeepOption::Ephemeral);
        self
    }

    /// Turns of a living task that are kept whole. As the task was first started with it, for all its runs.
    #[must_use]
    pub const fn keep_turns(mut self, turns: u32) -> TaskOptions {
        self.keep_turns = Some(turns);
        self
    }

    /// A turn that failed for good suspends the task instead of ending it.
    #[must_use]
    pub const fn keep_alive_on_failure(mut self) -> TaskOptions {
        self.keep_alive_on_failure = Some(true);
        self
    }

    /// The newest items of the task's stream that are kept, at least 1.
    #[must_use]
    pub const fn keep_items(mut self, items: u64) -> TaskOptions {
        self.keep_items = Some(if items == 0 { 1 } else { items });
        self
    }

    /// The task's title.
    #[must_use]
    pub const fn title(mut self, title: &'static str) -> TaskOptions {
        self.title = Some(title);
        self
    }

    /// The task's description.
    #[must_use]
    pub const fn description(mut self, description: &'static str) -> TaskOptions {
        self.description = Some(description);
        self
    }

    /// The task's tags.
    #[must_use]
    pub const fn tags(mut self, tags: &'static [(&'static str, &'static str)]) -> TaskOptions {
        self.tags = Some(tags);
        self
    }

    /// Checks what was said. Registering a definition and starting a task do this by themselves.
    ///
    /// # Errors
    /// [`InvalidRetry`]: the retry policy contradicts itself; what to correct.
    pub fn validate(&self) -> Result<(), InvalidRetry> {
        self.row().map(drop)
    }

    /// The options in force, with the defaults where nothing was said.
    pub(crate) fn row(&self) -> Result<OptionsRow, InvalidRetry> {
        let limit = |limit: Option<Duration>| limit.map_or(u64::MAX, micros);
        Ok(OptionsRow {
            retry: self.retry.unwrap_or_default().row()?,
            timeout_us: limit(self.timeout),
            grace_us: micros(self.grace.unwrap_or(GRACE)),
            cancel_grace_us: limit(self.cancel_grace),
            keep: match self.keep.unwrap_or(KeepOption::For(KEEP)) {
                KeepOption::For(time) => Keep::For(micros(time)),
                KeepOption::Forever => Keep::Forever,
                KeepOption::Ephemeral => Keep::Ephemeral,
            },
            keep_turns: self.keep_turns.unwrap_or(KEEP_TURNS).max(1),
            keep_alive_on_failure: self.keep_alive_on_failure.unwrap_or(false),
            keep_items: self.keep_items,
        })
    }

    pub(crate) fn rank(&self) -> Priority {
        let said = self
            .priority
            .filter(|_| !cfg!(planted = "priority_forgotten"));
        said.unwrap_or(Priority::NORMAL)
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        TaskOptions::new()
    }
}
