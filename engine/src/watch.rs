//! One task, watched: the newest snapshot whenever it changes.

use crate::engine::{Engine, Shared};
use crate::error::GetError;
use crate::feed::Feeds;
use crate::snapshot::{MetadataMap, Snapshot};
use crate::writer::Stop;
use foldhash::{HashMap, HashMapExt};
use outlive_storage::Store;
use outlive_storage::id::{InvalidId, TaskId};
use outlive_storage::row::TaskNumber;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::watch;

/// How those who watch a task are woken. They are told that it changed, never how: each reads the newest state for
/// itself, so one that is slow holds up nobody and keeps nothing in memory.
pub(crate) struct Watchers {
    /// `None` once the engine stopped.
    tasks: Mutex<Option<HashMap<TaskNumber, Watched>>>,
}

struct Watched {
    changed: watch::Sender<()>,
    /// How many watch the task.
    count: usize,
}

impl Default for Watchers {
    fn default() -> Watchers {
        Watchers {
            tasks: Mutex::new(Some(HashMap::new())),
        }
    }
}

impl Watchers {
    /// The task, or what lies beside its row, has changed durably.
    pub(crate) fn changed(&self, task: TaskNumber) {
        let changed = {
            let tasks = self.tasks.lock();
            let watched = tasks.as_ref().and_then(|tasks| tasks.get(&task));
            watched.map(|watched| watched.changed.clone())
        };
        if let Some(changed) = changed {
            changed.send_replace(());
        }
    }

    /// Nothing will change any more: whoever waits is told.
    pub(crate) fn close(&self) {
        drop(self.tasks.lock().take());
    }

    /// Begins to watch a task; `None` once the engine stopped.
    fn begin(&self, task: TaskNumber) -> Option<watch::Receiver<()>> {
        let mut tasks = self.tasks.lock();
        let watched = tasks.as_mut()?.entry(task).or_insert_with(|| Watched {
            changed: watch::Sender::new(()),
            count: 0,
        });
        watched.count += 1;
        Some(watched.changed.subscribe())
    }

    fn end(&self, task: TaskNumber) {
        let mut tasks = self.tasks.lock();
        let Some(tasks) = tasks.as_mut() else {
            return;
        };
        if let Some(watched) = tasks.get_mut(&task) {
            watched.count -= 1;
            if watched.count == 0 {
                tasks.remove(&task);
            }
        }
    }
}

/// A place among those who watch a task, given up when dropped.
struct Watching {
    task: TaskNumber,
    changed: watch::Receiver<()>,
    feeds: Arc<Feeds>,
    /// It changed since it was last shown, or was not shown yet.
    is_news: bool,
    shown: Option<Shown>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.feeds.watchers.end(self.task);
    }
}

/// What tells one snapshot from another.
#[derive(PartialEq)]
struct Shown {
    etag: u64,
    metadata: MetadataMap,
}

impl Shown {
    fn of(snapshot: &Snapshot) -> Shown {
        Shown {
            etag: snapshot.etag,
            metadata: snapshot.metadata.clone(),
        }
    }
}

enum Sight {
    /// Not looked for yet.
    Ahead(Result<TaskId, InvalidId>),
    There(Watching),
    Gone,
}

/// Watches one task; see [`Engine::watch`].
///
/// It shows the newest state, not every state: who asks late is shown what there is now. A progress bar:
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, Status, TaskDef};
/// # const IMPORT: TaskDef<u32, ()> = TaskDef::new("import");
/// # async fn import(ctx: Ctx, files: u32) -> Result<(), HandlerError> {
/// #     for _ in 0..files { ctx.metadata().increment("done", 1)?; ctx.flush_metadata().await?; }
/// #     Ok(())
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(IMPORT, import).open().await?;
/// # engine.start(IMPORT, "import-7", &3).await?;
/// # let mut last = None;
/// let mut watch = engine.watch("import-7");
/// while let Some(task) = watch.changed().await? {
///     let done = task.metadata.get("default").and_then(|progress| progress.get("done"));
///     println!("{}: {} files", task.status, done.unwrap_or(&0.into()));
/// #   last = done.cloned();
///     if task.status == Status::Completed { break; }
/// }
/// # assert_eq!(last, Some(3.into()));
/// # Ok(()) }
/// ```
pub struct Watch {
    shared: Arc<Shared>,
    sight: Sight,
}

impl Watch {
    /// The task as of its last commit: at once for the first time, then whenever its etag or its metadata has changed
    /// since it was last shown. `None` when there is no such task, or once it was removed; an
    /// [ephemeral](crate::TaskDef::ephemeral) one is removed with its end. The same id started anew is another task.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`GetError`]: what to do is in each variant.
    pub async fn changed(&mut self) -> Result<Option<Snapshot>, GetError> {
        loop {
            match &mut self.sight {
                Sight::Gone => return Ok(None),
                Sight::Ahead(id) => {
                    let id = id.clone()?;
                    self.sight = self.shared.look_for(id).await?;
                }
                Sight::There(watching) => {
                    if !watching.is_news {
                        let changed = watching.changed.changed().await;
                        changed.map_err(|_| self.shared.stopped())?;
                        watching.is_news = true;
                    }
                    // Marked before the look: a change after it is another one.
                    watching.changed.borrow_and_update();
                    let Some(snapshot) = self.shared.snapshot(watching.task).await? else {
                        self.sight = Sight::Gone;
                        return Ok(None);
                    };
                    watching.is_news = false;
                    let shown = Shown::of(&snapshot);
                    if watching.shown.as_ref() != Some(&shown) {
                        watching.shown = Some(shown);
                        return Ok(Some(snapshot));
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Shared {
    async fn look_for(&self, id: TaskId) -> Result<Sight, GetError> {
        let find = move |store: &dyn Store| store.find(&id);
        let Some(task) = self.dispatcher.reader.read(find).await? else {
            return Ok(Sight::Gone);
        };
        let changed = self.feeds.watchers.begin(task);
        Ok(Sight::There(Watching {
            task,
            changed: changed.ok_or_else(|| self.stopped())?,
            feeds: Arc::clone(&self.feeds),
            is_news: true,
            shown: None,
        }))
    }

    fn stopped(&self) -> GetError {
        match self.dispatcher.writer.poison.get() {
            Some(Stop::Failed(error)) => GetError::Store(error),
            Some(Stop::Shutdown) | None => GetError::ShuttingDown,
        }
    }
}

impl Engine {
    /// Watches one task: the newest snapshot whenever it changes. The task is looked for at the first
    /// [`Watch::changed`]; any number may watch it, and those who do not look cost it nothing.
    pub fn watch(&self, id: impl AsRef<str>) -> Watch {
        Watch {
            shared: Arc::clone(self.shared()),
            sight: Sight::Ahead(TaskId::new(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_nobody_watches_any_more_keeps_no_place() {
        let watchers = Watchers::default();
        let first = watchers.begin(TaskNumber(1));
        let second = watchers.begin(TaskNumber(1));
        assert!(first.is_some() && second.is_some());
        watchers.end(TaskNumber(1));
        let len = |watchers: &Watchers| watchers.tasks.lock().as_ref().map(HashMap::len);
        assert_eq!(len(&watchers), Some(1));
        watchers.end(TaskNumber(1));
        assert_eq!(len(&watchers), Some(0));
    }
}
