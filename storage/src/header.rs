//! What a commit must know of a row: the part of it that is read without decoding the rest.

use crate::row::{DefNumber, Etag, Generation, Place, Priority, TaskNumber, TaskRow};

/// The facts of a row that expectations and indexes need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The row's etag.
    pub(crate) etag: Etag,
    /// The row's generation; while the task runs, that of its lease.
    pub(crate) generation: Generation,
    /// The definition's number.
    pub(crate) def: DefNumber,
    /// The rank among due tasks.
    pub(crate) priority: Priority,
    /// Where its index entry is.
    pub(crate) place: Place,
    /// The run of the id.
    pub(crate) run: u32,
    /// CRC of the caller's id: shows that a new row is of the same task, without decoding the old one.
    pub(crate) id_crc: u32,
}

impl Header {
    /// The header of a row.
    pub(crate) fn of(row: &TaskRow) -> Header {
        Header {
            etag: row.etag,
            generation: row.generation,
            def: row.def,
            priority: row.priority,
            place: row.place(),
            run: row.run,
            id_crc: crc32fast::hash(row.id.as_str().as_bytes()),
        }
    }

    /// The row's one index entry, `None` for a row that is kept for ever.
    pub(crate) fn entry(&self, task: TaskNumber) -> Option<Entry> {
        match self.place {
            Place::Due(at) => Some(Entry::Due((self.def.0, self.priority.rank(), at.0, task.0))),
            Place::Running => Some(Entry::Running(task.0)),
            Place::Ended(at) => Some(Entry::Expiry((at.0, task.0))),
            Place::Kept => None,
        }
    }
}

/// A key of one of the three state indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// In `due`: definition, rank, time, task.
    Due((u32, u8, u64, u64)),
    /// In `running`: task.
    Running(u64),
    /// In `expiry`: time, task.
    Expiry((u64, u64)),
}
