//! What a commit must know of a row: the part of it that is read without decoding the rest.

use crate::due::DueKey;
use crate::row::{DefNumber, Etag, Family, Generation, Place, Priority, TaskNumber, TaskRow};

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
    /// Whose child it is.
    pub(crate) family: Option<Family>,
    /// CRC of what a task keeps for ever, its id and its labels: shows that a new row is of the same task and has the
    /// same index entries, without decoding the old one.
    pub(crate) identity_crc: u32,
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
            family: row.parent.as_ref().map(|parent| parent.family),
            identity_crc: identity_crc(row),
        }
    }

    /// The row's one index entry, `None` for a row that is kept for ever.
    pub(crate) fn entry(&self, task: TaskNumber) -> Option<Entry> {
        match self.place {
            Place::Due(due) => {
                let (life, ahead_us) = due.line.parts();
                let (def, rank) = (self.def.0, self.priority.rank());
                Some(Entry::Due((def, rank, life, ahead_us, due.at.0, task.0)))
            }
            Place::Running => Some(Entry::Running(task.0)),
            Place::Ended(at) => Some(Entry::Expiry((at.0, task.0))),
            Place::Kept => None,
        }
    }
}

fn identity_crc(row: &TaskRow) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(row.id.as_str().as_bytes());
    for label in &row.facts.labels {
        if cfg!(planted = "labels_may_change") {
            break;
        }
        // A byte that no text contains, so that two labels are not one longer label.
        hasher.update(&[0xff]);
        hasher.update(label.as_bytes());
    }
    hasher.finalize()
}

/// A key of one of the three state indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// In `due`.
    Due(DueKey),
    /// In `running`: task.
    Running(u64),
    /// In `expiry`: time, task.
    Expiry((u64, u64)),
}
