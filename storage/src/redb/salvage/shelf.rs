//! The tables whose entries prove themselves: which they are, what their keys look like, and what an entry says.

use super::pages::{Widths, u32_at, u64_at};
use crate::codec;
use crate::receipt::KeptReceipt;
use crate::row::{
    AskRow, Etag, EventRow, Generation, InputRow, LifeRow, Receipt, RunRow, SegmentRow, TaskNumber,
    TurnRow, ValueKey, ValueKind,
};
use crate::slot::Slot;
use crate::store::StoreError;

/// A table whose entries carry a checksum that covers their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::redb) enum Shelf {
    Tasks,
    Values,
    Inputs,
    Receipts,
    Turns,
    Steps,
    Asks,
    Runs,
    Stream,
    Events,
    Lives,
}

impl Shelf {
    /// What hangs on tasks comes after them.
    pub(super) const ALL: [Shelf; 11] = [
        Shelf::Events,
        Shelf::Tasks,
        Shelf::Values,
        Shelf::Inputs,
        Shelf::Receipts,
        Shelf::Turns,
        Shelf::Steps,
        Shelf::Asks,
        Shelf::Runs,
        Shelf::Stream,
        Shelf::Lives,
    ];

    /// The table's name, as errors have it.
    pub(in crate::redb) fn name(self) -> &'static str {
        match self {
            Shelf::Tasks => "tasks",
            Shelf::Values => "values",
            Shelf::Inputs => "pending_steering_inputs",
            Shelf::Receipts => "receipts",
            Shelf::Turns => "turns",
            Shelf::Steps => "steps",
            Shelf::Asks => "asks",
            Shelf::Runs => "runs",
            Shelf::Stream => "stream",
            Shelf::Events => "events",
            Shelf::Lives => "lives",
        }
    }

    pub(super) fn widths(self) -> Widths {
        let key = match self {
            Shelf::Tasks | Shelf::Events => Some(8),
            Shelf::Values => Some(17),
            Shelf::Inputs | Shelf::Turns | Shelf::Stream => Some(16),
            Shelf::Runs => Some(12),
            Shelf::Lives => Some(24),
            Shelf::Receipts | Shelf::Steps | Shelf::Asks => None,
        };
        Widths { key, value: None }
    }

    /// The place that the bytes of a key name; `None` for bytes that are no key.
    pub(in crate::redb) fn slot(self, key: &[u8]) -> Option<Slot<'_>> {
        if self.widths().key.is_some_and(|width| width != key.len()) {
            return None;
        }
        let first = u64_at(key, 0)?;
        let task = TaskNumber(first);
        let text = |at: usize| std::str::from_utf8(key.get(at..)?).ok();
        Some(match self {
            Shelf::Tasks => Slot::Task(task),
            Shelf::Values => Slot::Value(ValueKey {
                task,
                kind: ValueKind::of_byte(*key.get(8)?)?,
                index: u64_at(key, 9)?,
            }),
            Shelf::Inputs => Slot::Input(task, u64_at(key, 8)?),
            Shelf::Receipts => Slot::Receipt(task, text(8)?),
            Shelf::Turns => Slot::Turn(task, u64_at(key, 8)?),
            Shelf::Steps => Slot::Step(task, u64_at(key, 8)?, text(16)?),
            Shelf::Asks => Slot::Ask(task, text(8)?),
            Shelf::Runs => Slot::Run(task, u32_at(key, 8)?),
            Shelf::Stream => Slot::Segment(task, u64_at(key, 8)?),
            Shelf::Events => Slot::Event(Etag(first)),
            Shelf::Lives => Slot::Life(first, u128::from_le_bytes(*key.get(8..)?.first_chunk()?)),
        })
    }

    /// Whether bytes begin like an entry of this table.
    pub(super) fn begins(self, value: &[u8]) -> bool {
        let magic = match self {
            Shelf::Tasks => b"oT",
            Shelf::Values => b"oV",
            Shelf::Inputs => b"oI",
            Shelf::Receipts => b"oR",
            Shelf::Turns => b"oU",
            Shelf::Steps | Shelf::Stream => b"oS",
            Shelf::Asks => b"oQ",
            Shelf::Runs => b"oN",
            Shelf::Events => b"oE",
            Shelf::Lives => b"oL",
        };
        value.starts_with(magic)
    }
}

/// What a whole entry says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::redb) struct Said {
    /// Of two versions of an entry the later one has the higher of these.
    pub(super) age: (u64, u64),
    /// The highest etag in it.
    pub(in crate::redb) etag: u64,
    /// The highest generation in it.
    pub(in crate::redb) generation: u64,
}

/// Decodes an entry.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::TooNew`].
pub(in crate::redb) fn said(slot: Slot<'_>, value: &[u8]) -> Result<Said, StoreError> {
    let of_age = |first, second| Said {
        age: (first, second),
        ..Said::default()
    };
    Ok(match slot {
        Slot::Task(task) => {
            let row = codec::decode_row(task, value)?;
            Said {
                age: (row.etag.0, row.updated_at.0),
                etag: row.etag.0.max(task.0),
                generation: row.generation.0,
            }
        }
        Slot::Value(_) => codec::check_value_of(slot, value).map(|()| Said::default())?,
        Slot::Input(..) => {
            let row: InputRow = codec::decode(slot, value)?;
            let Generation(taken) = row.taken.map_or_else(Generation::default, |t| t.generation);
            Said {
                generation: taken,
                ..of_age(taken, row.accepted_at.0)
            }
        }
        Slot::Receipt(..) => {
            let kept: KeptReceipt = codec::decode(slot, value)?;
            let stage = u64::from(!matches!(kept.receipt, Receipt::Queued { .. }));
            of_age(stage, kept.listed_at.map_or(0, |at| at.0))
        }
        Slot::Turn(..) => {
            let row: TurnRow = codec::decode(slot, value)?;
            of_age(row.total, row.ended_at.0)
        }
        Slot::Run(..) => {
            let row: RunRow = codec::decode(slot, value)?;
            of_age(u64::from(row.run), row.ended_at.0)
        }
        Slot::Segment(..) => {
            let row: SegmentRow = codec::decode(slot, value)?;
            Said {
                generation: row.generation.0,
                ..of_age(row.generation.0, row.at.0)
            }
        }
        Slot::Event(etag) => {
            let row: EventRow = codec::decode(slot, value)?;
            Said {
                age: (etag.0, 0),
                etag: etag.0,
                generation: row.generation.0,
            }
        }
        Slot::Step(..) => {
            let row = codec::decode_step(slot, value)?;
            of_age(row.at.0, u64::from(row.attempt))
        }
        Slot::Ask(..) => {
            let row: AskRow = codec::decode(slot, value)?;
            of_age(row.asked_at.0, 0)
        }
        Slot::Life(..) => {
            let row: LifeRow = codec::decode(slot, value)?;
            of_age(row.stopped_at.map_or(0, |at| at.0), row.opened_at.0)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_has_the_name_of_its_slots() {
        let key = [7; 24];
        for shelf in Shelf::ALL {
            let mut key = key.to_vec();
            key[8] = 2;
            key.truncate(shelf.widths().key.unwrap_or(24));
            let slot = shelf.slot(&key).expect("a key");
            assert_eq!(slot.table(), shelf.name());
        }
    }
}
