//! The rows that a batch is decided on: those a lot leaves, and below it those of the database.

use super::batch::Bytes;
use super::seal::SealedTask;
use super::tables::{IDS, TASKS};
use super::tops::Tops;
use super::{RedbStore, fault, panics, seal};
use crate::codec;
use crate::header::Header;
use crate::id::TaskId;
use crate::plan::Rows;
use crate::row::{TaskNumber, TaskRow};
use crate::store::StoreError;
use redb::{ReadOnlyTable, ReadableTable};
use std::cell::OnceCell;
use std::ops::Deref;

type Result<T> = std::result::Result<T, StoreError>;

/// How commits leave what the database has otherwise.
pub(super) trait Leaves {
    /// How a task was left; `None` when the database knows.
    fn left(&self, task: TaskNumber) -> Option<Stands<'_>>;
    /// Whose an id is; `None` when the database knows.
    fn number(&self, id: &TaskId) -> Option<Option<TaskNumber>>;
}

/// A task as commits leave it.
pub(super) enum Stands<'l> {
    /// With this row, of which this is the body.
    Row(&'l Header, &'l [u8]),
    /// Removed.
    Removed,
}

impl Stands<'_> {
    /// The row; `None` where the task is removed.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when memory is damaged.
    pub(super) fn row(&self, task: TaskNumber) -> Result<Option<TaskRow>> {
        match self {
            Stands::Row(_, body) => codec::decode_row_of(task, body).map(Some),
            Stands::Removed => Ok(None),
        }
    }
}

/// Rows over other ones.
pub(super) struct Over<'r, L, R> {
    /// Asked first.
    pub(super) upper: L,
    /// Asked for what is not there.
    pub(super) below: &'r R,
}

impl<L: Deref<Target: Leaves>, R: Rows> Rows for Over<'_, L, R> {
    fn number(&self, id: &TaskId) -> Result<Option<TaskNumber>> {
        match self.upper.number(id) {
            Some(known) => Ok(known),
            None => self.below.number(id),
        }
    }

    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header>>> {
        match self.upper.left(task) {
            Some(Stands::Row(header, _)) => Ok(Some(Ok(*header))),
            Some(Stands::Removed) => Ok(None),
            None => self.below.header(task),
        }
    }

    fn header_of_new(&self, task: TaskNumber) -> Result<Option<Result<Header>>> {
        match self.upper.left(task) {
            Some(_) => self.header(task),
            None => self.below.header_of_new(task),
        }
    }

    fn row(&self, task: TaskNumber) -> Result<Result<Option<Box<TaskRow>>>> {
        match self.upper.left(task) {
            Some(left) => Ok(left.row(task).map(|row| row.map(Box::new))),
            None => self.below.row(task),
        }
    }
}

/// The rows that readers of the database see, looked at when one is asked for.
pub(super) struct Seen<'s> {
    store: &'s RedbStore,
    /// What is beyond is not looked for.
    tops: Option<&'s Tops>,
    tasks: OnceCell<ReadOnlyTable<u64, Bytes>>,
    ids: OnceCell<ReadOnlyTable<&'static str, SealedTask>>,
}

impl Seen<'_> {
    pub(super) fn by(store: &RedbStore) -> Seen<'_> {
        Seen {
            store,
            tops: None,
            tasks: OnceCell::new(),
            ids: OnceCell::new(),
        }
    }

    /// As [`Seen::by`], where nothing of the database is beyond these.
    pub(super) fn below<'s>(store: &'s RedbStore, tops: &'s Tops) -> Seen<'s> {
        Seen {
            tops: Some(tops),
            ..Seen::by(store)
        }
    }

    /// The greatest of the database, by the ends of its tables. Where one of these is not as it was written, nobody can tell what
    /// there is before it.
    ///
    /// # Errors
    /// What redb fails with.
    pub(super) fn tops(&self) -> Result<Tops> {
        match panics::told(|| self.tops_as_written()) {
            Err(StoreError::Corrupt { .. }) => Ok(Tops::Unknown),
            found => found,
        }
    }

    fn tops_as_written(&self) -> Result<Tops> {
        let believed = cfg!(planted = "tops_believed");
        let last = self.tasks()?.last().map_err(fault)?;
        let number = last.map(|(number, bytes)| {
            let number = TaskNumber(number.value());
            let header = codec::header(number, bytes.value());
            if believed {
                Ok(number)
            } else {
                header.map(|_| number)
            }
        });
        let last = self.ids()?.last().map_err(fault)?;
        let id = last.map(|(id, number)| {
            let id = id.value();
            if !believed {
                seal::open_id(id, number.value())?;
            }
            TaskId::new(id).map_err(|_| seal::corrupt_id(id))
        });
        Ok(Tops::of(number.transpose()?, id.transpose()?))
    }

    fn tasks(&self) -> Result<&ReadOnlyTable<u64, Bytes>> {
        if let Some(tasks) = self.tasks.get() {
            return Ok(tasks);
        }
        let txn = self.store.begin_read_behind()?;
        let tasks = txn.open_table(TASKS).map_err(fault)?;
        Ok(self.tasks.get_or_init(|| tasks))
    }

    fn ids(&self) -> Result<&ReadOnlyTable<&'static str, SealedTask>> {
        if let Some(ids) = self.ids.get() {
            return Ok(ids);
        }
        let txn = self.store.begin_read_behind()?;
        let ids = txn.open_table(IDS).map_err(fault)?;
        Ok(self.ids.get_or_init(|| ids))
    }
}

impl Rows for Seen<'_> {
    fn number(&self, id: &TaskId) -> Result<Option<TaskNumber>> {
        match self.tops {
            Some(tops) if tops.is_beyond_id(id) => Ok(None),
            Some(_) | None => number_in(self.ids()?, id),
        }
    }

    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header>>> {
        header_in(self.tasks()?, task)
    }

    fn header_of_new(&self, task: TaskNumber) -> Result<Option<Result<Header>>> {
        match self.tops {
            Some(tops) if tops.is_beyond(task) => Ok(None),
            Some(_) | None => self.header(task),
        }
    }

    fn row(&self, task: TaskNumber) -> Result<Result<Option<Box<TaskRow>>>> {
        row_in(self.tasks()?, task)
    }
}

/// [`Rows::number`] by a table.
pub(super) fn number_in(
    ids: &impl ReadableTable<&'static str, SealedTask>,
    id: &TaskId,
) -> Result<Option<TaskNumber>> {
    let found = ids.get(id.as_str()).map_err(fault)?;
    let number = found.map(|found| seal::open_id(id.as_str(), found.value()));
    Ok(number.transpose()?.map(TaskNumber))
}

/// [`Rows::header`] by a table.
pub(super) fn header_in(
    tasks: &impl ReadableTable<u64, Bytes>,
    task: TaskNumber,
) -> Result<Option<Result<Header>>> {
    let found = tasks.get(task.0).map_err(fault)?;
    Ok(found.map(|bytes| codec::header(task, bytes.value())))
}

/// [`Rows::row`] by a table.
pub(super) fn row_in(
    tasks: &impl ReadableTable<u64, Bytes>,
    task: TaskNumber,
) -> Result<Result<Option<Box<TaskRow>>>> {
    let found = tasks.get(task.0).map_err(fault)?;
    let row = found
        .map(|bytes| codec::decode_row(task, bytes.value()))
        .transpose();
    Ok(row.map(|row| row.map(Box::new)))
}
