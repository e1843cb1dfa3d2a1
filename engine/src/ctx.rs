//! What a handler knows about its turn.

use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{EntryKind, Failure, Generation, TaskNumber, TaskRow};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::watch;

/// Why the handler was entered.
///
/// A handler is entered **at least once**: after a crash it may find work of its former self in the outside world.
/// Branch on `Recovered` where that matters, and use the task's id as idempotency key there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// First turn, first attempt.
    Fresh,
    /// A later turn of the task.
    Resumed,
    /// A later attempt, because the one before failed.
    Retried {
        /// Counts attempts of this turn, from 2.
        attempt: u32,
        /// How the attempt before failed.
        error: Failure,
    },
    /// Again, because the process died while the turn ran. Not charged to the retry budget.
    Recovered {
        /// How often the process died in this turn.
        crashes: u32,
    },
}

pub(crate) struct CtxCore {
    pub(crate) task: TaskNumber,
    pub(crate) row: Arc<TaskRow>,
    pub(crate) name: Box<str>,
    pub(crate) generation: Generation,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// A handler's view of its turn. `S` is the item type of the task's definition.
///
/// It is `Clone`, `Send` and `'static`, so it can be moved into tasks of the handler's own.
///
/// ```
/// use outlive::{Ctx, Entry, HandlerError};
/// async fn fetch(ctx: Ctx, url: String) -> Result<usize, HandlerError> {
///     if let Entry::Recovered { crashes } = ctx.entry() {
///         println!("{}: going on after {crashes} crashes", ctx.id());
///     }
///     Ok(url.len())
/// }
/// ```
pub struct Ctx<S = ()> {
    core: Arc<CtxCore>,
    items: PhantomData<fn(S)>,
}

impl<S> Ctx<S> {
    pub(crate) fn new(core: Arc<CtxCore>) -> Ctx<S> {
        Ctx {
            core,
            items: PhantomData,
        }
    }

    /// The task's id, as its caller chose it.
    pub fn id(&self) -> &TaskId {
        &self.core.row.id
    }

    /// The id of the input this turn works on: the same after every crash, so it serves as idempotency key.
    pub fn input_id(&self) -> &InputId {
        &self.core.row.input_id
    }

    /// The name of the task's definition.
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// The owner name of the engine that started the task.
    pub fn owner(&self) -> &str {
        &self.core.row.owner
    }

    /// Why the handler was entered.
    pub fn entry(&self) -> Entry {
        let row = &self.core.row;
        match (row.entry, &row.last_failure) {
            (EntryKind::Fresh, _) => Entry::Fresh,
            (EntryKind::Resumed, _) => Entry::Resumed,
            (EntryKind::Recovered, _) => Entry::Recovered {
                crashes: row.crashes,
            },
            (EntryKind::Retried, Some(error)) => Entry::Retried {
                attempt: row.attempt,
                error: error.clone(),
            },
            // INVARIANT: a retry follows a recorded failure; should the row lack it, the count still tells.
            (EntryKind::Retried, None) => Entry::Recovered {
                crashes: row.crashes,
            },
        }
    }

    /// Counts the runs of this id, from 1.
    pub fn run(&self) -> u32 {
        self.core.row.run
    }

    /// Counts the turns of this run, from 1.
    pub fn turn(&self) -> u32 {
        self.core.row.turn
    }

    /// Counts the attempts of this turn, from 1; a recovery after a crash is not another attempt.
    pub fn attempt(&self) -> u32 {
        self.core.row.attempt
    }

    /// How often the process ended during this turn, whether it died or was stopped.
    pub fn crashes(&self) -> u32 {
        self.core.row.crashes
    }

    /// The lease generation of this claim: larger than that of every claim before, in the whole file. Give it to
    /// outside systems that can refuse a stale writer.
    pub fn generation(&self) -> u64 {
        self.core.generation.0
    }

    /// Whether the engine is shutting down.
    pub fn is_shutting_down(&self) -> bool {
        *self.core.shutdown.borrow()
    }

    /// Resolves when the engine begins to shut down. A turn that does not end in time is dropped and recovered
    /// at the next open.
    pub async fn shutdown(&self) {
        let mut shutdown = self.core.shutdown.clone();
        // A sender that is gone means the engine is as well.
        let _ = shutdown.wait_for(|stopping| *stopping).await;
    }
}

impl<S> Clone for Ctx<S> {
    fn clone(&self) -> Self {
        Ctx::new(Arc::clone(&self.core))
    }
}

impl<S> fmt::Debug for Ctx<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("id", self.id())
            .field("turn", &self.turn())
            .field("attempt", &self.attempt())
            .field("generation", &self.core.generation)
            .field("task", &self.core.task)
            .finish()
    }
}
