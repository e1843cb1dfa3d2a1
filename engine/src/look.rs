//! Looking at tasks: none of this changes anything.

use crate::def::TaskDef;
use crate::engine::{Engine, Shared};
use crate::error::{AttachError, GetError};
use crate::list::LIST_MAX;
use crate::machine::Named;
use crate::metadata;
use crate::run::Run;
use crate::snapshot::{MetadataMap, PastRun, Snapshot};
use outlive_storage::id::TaskId;
use outlive_storage::row::{
    Keep, Outcome, Payload, State, TaskNumber, TaskRow, TurnResult, ValueKey, ValueKind,
};
use outlive_storage::{Store, StoreError};
use std::sync::Arc;

/// How often a task that changes while it is read is read again.
const READS_MAX: usize = 4;

/// A row with what lies beside it.
struct Whole {
    row: TaskRow,
    beside: Beside,
}

/// What lies beside a row.
struct Beside {
    output: Option<Vec<u8>>,
    /// The row says that an output lies beside it, and there is none: it is lost, or the row has changed since.
    output_missing: bool,
    metadata: Option<Vec<u8>>,
}

impl Engine {
    /// The task as of its last commit, or `None`. Nothing changes.
    ///
    /// # Errors
    /// [`GetError`]; a damaged row is an error, never `None`.
    pub async fn get(&self, id: impl AsRef<str>) -> Result<Option<Snapshot>, GetError> {
        let id = TaskId::new(id)?;
        let read = move |store: &dyn Store| match store.find(&id)? {
            Some(task) => whole(store, task),
            None => Ok(None),
        };
        self.shared().seen(read).await
    }

    /// The ids of tasks that begin so, in their order, at most `limit` and at most [`LIST_MAX`](crate::LIST_MAX): for who
    /// types a part of one. However many tasks there are, no others are looked at.
    ///
    /// ```
    /// # use outlive::{Ctx, Engine, HandlerError, TaskDef};
    /// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
    /// engine.start(ECHO, "invoice-17", &17).await?;
    /// assert_eq!(engine.ids("inv", 10).await?[0].as_str(), "invoice-17");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`GetError`]: what to do is in each variant.
    pub async fn ids(
        &self,
        prefix: impl Into<String>,
        limit: usize,
    ) -> Result<Vec<TaskId>, GetError> {
        let (prefix, limit) = (prefix.into(), limit.min(LIST_MAX));
        let read = move |store: &dyn Store| store.ids(&prefix, limit);
        Ok(self.shared().dispatcher.reader.read(read).await?)
    }

    /// A handle to a task that runs, waits or has ended; for the input it works or worked on last. It answers for that
    /// input: after the end of a suspended task it still gives what its last turn returned, and how the task itself
    /// ended is in [`Engine::get`].
    ///
    /// # Errors
    /// [`AttachError`]: there is no such task, it is of another definition, or it cannot be read.
    pub async fn attach<I, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl AsRef<str>,
    ) -> Result<Run<O, S>, AttachError> {
        let (task, row, id) = self.task_of(Some(def.name()), id).await?;
        self.handle((task, row), id).await
    }

    /// A handle to a task for the input it works or worked on last.
    pub(crate) async fn handle<O, S>(
        &self,
        (task, row): (TaskNumber, TaskRow),
        id: TaskId,
    ) -> Result<Run<O, S>, AttachError> {
        let shared = Arc::clone(self.shared());
        let named = Named {
            input_id: row.input_id,
            run: row.run,
        };
        let mut expecting = None;
        if row.options.keep == Keep::Ephemeral {
            expecting = shared.dispatcher.hub.expect(task, &named);
            // Looked for once more: had it ended before this, nobody would know its answer.
            let found = shared.row(id.clone()).await?;
            if found.is_none_or(|(found, _)| found != task) {
                return Err(AttachError::NotFound(id));
            }
        }
        let run = Run::new(shared, task, id, named, None);
        Ok(run.expecting(expecting))
    }

    /// The task of this id, if it is of this definition, or of any where none is named.
    pub(crate) async fn task_of(
        &self,
        def: Option<&str>,
        id: impl AsRef<str>,
    ) -> Result<(TaskNumber, TaskRow, TaskId), AttachError> {
        let id = TaskId::new(id).map_err(GetError::from)?;
        let found = self.shared().row(id.clone()).await?;
        let Some((task, row)) = found else {
            return Err(AttachError::NotFound(id));
        };
        let registry = &self.shared().dispatcher.registry;
        let name = registry.name(row.def);
        if def.is_some_and(|def| def != name) {
            let name = name.to_owned();
            return Err(AttachError::OtherDefinition { id, name });
        }
        Ok((task, row, id))
    }

    /// The earlier runs of a task that was restarted or retried, oldest first; at most 100. The latest run is the
    /// task itself.
    ///
    /// # Errors
    /// [`GetError`] when the store cannot be read; an unknown task has no runs.
    pub async fn history(&self, id: impl AsRef<str>) -> Result<Vec<PastRun>, GetError> {
        let id = TaskId::new(id)?;
        let read = move |store: &dyn Store| match store.find(&id)? {
            Some(task) => store.runs(task),
            None => Ok(Vec::new()),
        };
        let runs = self.shared().dispatcher.reader.read(read).await?;
        Ok(runs.into_iter().map(PastRun::of).collect())
    }
}

impl Shared {
    pub(crate) async fn row(&self, id: TaskId) -> Result<Option<(TaskNumber, TaskRow)>, GetError> {
        let read = move |store: &dyn Store| {
            let Some(task) = store.find(&id)? else {
                return Ok(None);
            };
            Ok(store.get(task)?.map(|row| (task, row)))
        };
        Ok(self.dispatcher.reader.read(read).await?)
    }

    /// The task of this number.
    pub(crate) async fn snapshot(&self, task: TaskNumber) -> Result<Option<Snapshot>, GetError> {
        self.seen(move |store| whole(store, task)).await
    }

    async fn seen(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<Option<Whole>, StoreError> + Send + 'static,
    ) -> Result<Option<Snapshot>, GetError> {
        let Some(whole) = self.dispatcher.reader.read(read).await? else {
            return Ok(None);
        };
        let mut snapshot = Snapshot::of(whole.row, &self.dispatcher.registry);
        // What a reader cannot take for JSON is left out: the task's own errors say what is wrong with it.
        let json = |bytes: Vec<u8>| serde_json::from_slice(&bytes).ok();
        let output = whole.beside.output;
        let text = output
            .as_ref()
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        snapshot.output_json = text.map(Box::from);
        snapshot.output = output.and_then(json);
        snapshot.metadata = whole
            .beside
            .metadata
            .map_or_else(MetadataMap::new, |bytes| {
                metadata::decode(&bytes).unwrap_or_default()
            });
        Ok(Some(snapshot))
    }
}

/// The row and what lies beside it, as of one moment: a row that changed meanwhile is read again.
fn whole(store: &dyn Store, task: TaskNumber) -> Result<Option<Whole>, StoreError> {
    let Some(mut row) = store.get(task)? else {
        return Ok(None);
    };
    for _ in 0..READS_MAX {
        let beside = Beside::of(store, task, &row)?;
        let Some(again) = store.get(task)? else {
            return Ok(None);
        };
        if again.etag == row.etag && beside.output_missing && !cfg!(planted = "lost_output_is_none")
        {
            return Err(lost_output(task, row.slot()));
        }
        if again.etag == row.etag || cfg!(planted = "torn_snapshot") {
            return Ok(Some(Whole { row, beside }));
        }
        row = again;
    }
    // A task that changes faster than it can be read is shown without its output, which may be of another turn.
    let mut beside = Beside::of(store, task, &row)?;
    beside.output = None;
    Ok(Some(Whole { row, beside }))
}

/// What a row says lies in this slot does not: it is damage.
pub(crate) fn lost_output(task: TaskNumber, slot: u64) -> StoreError {
    StoreError::Corrupt {
        table: "values",
        key: format!("{}/Output/{slot}", task.0).into(),
    }
}

impl Beside {
    fn of(store: &dyn Store, task: TaskNumber, row: &TaskRow) -> Result<Beside, StoreError> {
        let key = |kind, index| ValueKey { task, kind, index };
        let mut output_missing = false;
        let output = match last_output(store, task, row)? {
            Some(payload) => {
                let found = store.bytes(key(ValueKind::Output, row.slot()), &payload)?;
                output_missing = found.is_none();
                found
            }
            None => None,
        };
        let metadata = store.value(key(ValueKind::Metadata, 0))?;
        Ok(Beside {
            output,
            output_missing,
            metadata,
        })
    }
}

/// What the task's last turn returned, if it is over.
fn last_output(
    store: &dyn Store,
    task: TaskNumber,
    row: &TaskRow,
) -> Result<Option<Payload>, StoreError> {
    match &row.state {
        State::Completed {
            outcome: Outcome::Succeeded(output),
            ..
        } => Ok(Some(output.clone())),
        State::Completed {
            outcome: Outcome::Cancelled { output, .. },
            ..
        } => Ok(output.clone()),
        State::Completed { .. } | State::Pending { .. } | State::InProgress { .. } => Ok(None),
        State::Suspended { .. } => {
            let kept = store.turn(task, row.slot())?;
            let kept = kept.filter(|kept| kept.total == row.turns_total);
            Ok(kept.and_then(|kept| match kept.result {
                TurnResult::Replied { output, .. } => Some(output),
                TurnResult::Ended(_) => None,
            }))
        }
    }
}
