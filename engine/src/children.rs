//! The children of a task, as somebody outside of it sees them.

use crate::engine::Engine;
use crate::error::GetError;
use crate::list::{Cursor, LIST_LIMIT, List};
use crate::snapshot::Snapshot;
use outlive_storage::StoreError;
use outlive_storage::id::TaskId;
use outlive_storage::row::TaskRow;

impl Engine {
    /// The tasks that the open turn of this task has started, oldest first, at most [`LIST_LIMIT`] beyond `after`; without
    /// outputs and metadata. None for a task that does not exist. A turn that is over has no children any more.
    ///
    /// # Errors
    /// [`GetError`]: what to do is in each variant.
    pub async fn children(
        &self,
        id: impl AsRef<str>,
        after: Option<Cursor>,
    ) -> Result<List, GetError> {
        let id = TaskId::new(id)?;
        let after = after.map(|Cursor(after)| after);
        let registry = std::sync::Arc::clone(&self.shared().dispatcher.registry);
        let read = self.shared().dispatcher.reader.read(move |store| {
            let mut rows = Vec::new();
            let task = store.find(&id)?;
            let Some((task, row)) = task.map(|task| Ok((task, store.get(task)?))).transpose()?
            else {
                return Ok((rows, None));
            };
            let family = row.map(|row| row.family(task));
            let children = family.map(|family| store.children(family, after, LIST_LIMIT + 1));
            let mut children = children.transpose()?.unwrap_or_default();
            let more = children.len() > LIST_LIMIT;
            children.truncate(LIST_LIMIT);
            for child in &children {
                rows.push(store.get(*child));
            }
            let next = children.last().copied().filter(|_| more);
            Ok((rows, next.map(Cursor)))
        });
        let (rows, next): (Vec<Result<Option<TaskRow>, StoreError>>, _) = read.await?;
        let (mut tasks, mut damaged) = (Vec::new(), Vec::new());
        for row in rows {
            match row {
                Ok(row) => tasks.extend(row.map(|row| Snapshot::of(row, &registry))),
                Err(error) => damaged.push(error),
            }
        }
        Ok(List {
            tasks,
            damaged,
            next,
        })
    }
}
