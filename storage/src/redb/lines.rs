//! A store as lines of JSON: what each line says, and the entry it stands for.
//!
//! The first line says what follows and in which version, the last one that nothing is missing. Between them come the
//! names of definitions, then each task with all that hangs on it behind it, then the log of transitions and the lives of
//! the file. Rows have the fields of the types in [`row`](crate::row).

use crate::codec;
use crate::header::Header;
use crate::receipt::KeptReceipt;
use crate::row::{
    AskRow, Etag, EventRow, InputRow, LifeRow, RunRow, SegmentRow, StepRow, TaskNumber, TaskRow,
    TurnRow, UserBytes, ValueKey, ValueKind,
};
use crate::slot::Slot;
use crate::store::StoreError;
use serde::{Deserialize, Serialize};

/// The version of the lines this library writes, and the newest it reads. It changes with the format of rows too.
pub const EXPORT_VERSION: u32 = 1;

/// What the first line must say, whatever else it says in a later version.
#[derive(Serialize, Deserialize)]
pub(super) struct First {
    pub(super) outlive_export: Version,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) version: u32,
}

/// The first line: which file it was, and how far its numbers had come.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) version: u32,
    /// The file's incarnation; an import has one of its own.
    #[serde(with = "crate::row::chance")]
    pub(super) incarnation: u128,
    /// No etag and no task number is above this.
    pub(super) etag: u64,
    /// No generation is above this.
    pub(super) generation: u64,
    /// The log is whole above this etag.
    pub(super) log_whole_above: u64,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct End {
    /// Tasks.
    pub(super) tasks: u64,
    /// All lines before this one.
    pub(super) lines: u64,
    /// Damaged entries that were left out.
    pub(super) left_out: u64,
}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    OutliveExport(Head),
    Definition {
        number: u32,
        name: Box<str>,
    },
    Task {
        task: u64,
        /// The name that the number in the row stands for.
        definition: Box<str>,
        row: Box<TaskRow>,
    },
    Value {
        task: u64,
        kind: ValueKind,
        index: u64,
        value: UserBytes,
    },
    Input {
        task: u64,
        seq: u64,
        row: InputRow,
    },
    Receipt {
        task: u64,
        input_id: Box<str>,
        row: KeptReceipt,
    },
    Turn {
        task: u64,
        slot: u64,
        row: TurnRow,
    },
    Step {
        task: u64,
        /// The turn that recorded it first, over all runs.
        turn: u64,
        key: Box<str>,
        row: StepRow,
        value: UserBytes,
    },
    Ask {
        task: u64,
        key: Box<str>,
        row: AskRow,
    },
    Run {
        task: u64,
        place: u32,
        row: RunRow,
    },
    Segment {
        task: u64,
        /// The sequence number of its first entry.
        first: u64,
        row: SegmentRow,
    },
    /// How many children of a turn have ended.
    ChildrenEnded {
        task: u64,
        turn: u64,
        ended: u64,
    },
    /// A turn is over, and its children are to be told.
    FamilyOver {
        task: u64,
        turn: u64,
        /// Why they are cancelled; empty when they go on.
        cancelled: Option<Box<str>>,
    },
    Event {
        etag: u64,
        row: EventRow,
    },
    Life {
        position: u64,
        #[serde(with = "crate::row::chance")]
        instance: u128,
        row: LifeRow,
    },
    End(End),
}

impl Line {
    /// Where the entry lies that it stands for; `None` for a line that is no entry of a table whose entries prove
    /// themselves.
    pub(super) fn slot(&self) -> Option<Slot<'_>> {
        let number = |task: &u64| TaskNumber(*task);
        Some(match self {
            Line::Task { task, .. } => Slot::Task(number(task)),
            Line::Value {
                task, kind, index, ..
            } => Slot::Value(ValueKey {
                task: number(task),
                kind: *kind,
                index: *index,
            }),
            Line::Input { task, seq, .. } => Slot::Input(number(task), *seq),
            Line::Receipt { task, input_id, .. } => Slot::Receipt(number(task), input_id),
            Line::Turn { task, slot, .. } => Slot::Turn(number(task), *slot),
            Line::Step {
                task, turn, key, ..
            } => Slot::Step(number(task), *turn, key),
            Line::Ask { task, key, .. } => Slot::Ask(number(task), key),
            Line::Run { task, place, .. } => Slot::Run(number(task), *place),
            Line::Segment { task, first, .. } => Slot::Segment(number(task), *first),
            Line::Event { etag, .. } => Slot::Event(Etag(*etag)),
            Line::Life {
                position, instance, ..
            } => Slot::Life(*position, *instance),
            Line::OutliveExport(_)
            | Line::Definition { .. }
            | Line::ChildrenEnded { .. }
            | Line::FamilyOver { .. }
            | Line::End(_) => return None,
        })
    }

    /// Encodes the entry that it stands for, if it is one.
    ///
    /// # Errors
    /// [`StoreError::Malformed`]: it is larger than any entry may be.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let Some(slot) = self.slot() else {
            return Ok(());
        };
        match self {
            Line::Task { task, row, .. } => {
                codec::encode_row(TaskNumber(*task), (&Header::of(row), row), out)
            }
            Line::Value { value, .. } => codec::encode_value(slot, &value.0, out),
            Line::Input { row, .. } => codec::encode(slot, row, out),
            Line::Receipt { row, .. } => codec::encode(slot, row, out),
            Line::Turn { row, .. } => codec::encode(slot, row, out),
            Line::Step { row, value, .. } => {
                let mut step = row.clone();
                step.value.clone_from(&value.0);
                codec::encode_step(slot, &step, out)
            }
            Line::Ask { row, .. } => codec::encode(slot, row, out),
            Line::Run { row, .. } => codec::encode(slot, row, out),
            Line::Segment { row, .. } => codec::encode(slot, row, out),
            Line::Event { row, .. } => codec::encode(slot, row, out),
            Line::Life { row, .. } => codec::encode(slot, row, out),
            Line::OutliveExport(_)
            | Line::Definition { .. }
            | Line::ChildrenEnded { .. }
            | Line::FamilyOver { .. }
            | Line::End(_) => Ok(()),
        }
    }
}
