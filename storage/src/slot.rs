//! The place of one entry: its table and key, named in errors and bound into its checksum.

use crate::row::{Etag, TaskNumber, ValueKey};
use crate::store::StoreError;
use std::fmt;

/// Where an encoded entry lies.
///
/// Its checksum covers the key too, so that an entry which damage moved under another key is refused.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "redb"), allow(dead_code))] // Only what lies in a file has some of them.
pub(crate) enum Slot<'a> {
    /// A row in `tasks`.
    Task(TaskNumber),
    /// A value in `values`.
    Value(ValueKey),
    /// An input in `pending_steering_inputs`.
    Input(TaskNumber, u64),
    /// A receipt in `receipts`.
    Receipt(TaskNumber, &'a str),
    /// An ended turn in `turns`.
    Turn(TaskNumber, u64),
    /// An ended run in `runs`.
    Run(TaskNumber, u32),
    /// A segment in `stream`.
    Segment(TaskNumber, u64),
    /// A transition in `events`.
    Event(Etag),
    /// A recorded step in `steps`: the turn's number over all runs, and the key.
    Step(TaskNumber, u64, &'a str),
    /// An open question in `asks`: its key.
    Ask(TaskNumber, &'a str),
    /// An open of the file in `lives`: its position, and its instance.
    Life(u64, u128),
}

impl Slot<'_> {
    /// The table's name.
    pub(crate) fn table(&self) -> &'static str {
        match self {
            Slot::Task(_) => "tasks",
            Slot::Value(_) => "values",
            Slot::Input(..) => "pending_steering_inputs",
            Slot::Receipt(..) => "receipts",
            Slot::Turn(..) => "turns",
            Slot::Run(..) => "runs",
            Slot::Segment(..) => "stream",
            Slot::Event(_) => "events",
            Slot::Step(..) => "steps",
            Slot::Ask(..) => "asks",
            Slot::Life(..) => "lives",
        }
    }

    /// The task it is of, if it is of one.
    pub(crate) fn task(&self) -> Option<TaskNumber> {
        match self {
            Slot::Task(task)
            | Slot::Input(task, _)
            | Slot::Receipt(task, _)
            | Slot::Turn(task, _)
            | Slot::Run(task, _)
            | Slot::Segment(task, _)
            | Slot::Step(task, ..)
            | Slot::Ask(task, _) => Some(*task),
            Slot::Value(key) => Some(key.task),
            Slot::Event(_) | Slot::Life(..) => None,
        }
    }

    /// A hasher that has already seen the key.
    #[cfg(feature = "redb")]
    pub(crate) fn hasher(&self) -> crc32fast::Hasher {
        let mut hasher = crc32fast::Hasher::new();
        if cfg!(planted = "key_not_in_crc") {
            return hasher;
        }
        match self {
            Slot::Task(task) => hasher.update(&task.0.to_le_bytes()),
            Slot::Value(key) => {
                hasher.update(&key.task.0.to_le_bytes());
                hasher.update(&[key.kind.byte()]);
                hasher.update(&key.index.to_le_bytes());
            }
            Slot::Input(task, seq) => {
                hasher.update(&task.0.to_le_bytes());
                hasher.update(&seq.to_le_bytes());
            }
            Slot::Receipt(task, input_id) => {
                hasher.update(&task.0.to_le_bytes());
                hasher.update(input_id.as_bytes());
            }
            Slot::Turn(task, slot) => {
                hasher.update(&task.0.to_le_bytes());
                hasher.update(&slot.to_le_bytes());
            }
            Slot::Run(task, place) => {
                hasher.update(&task.0.to_le_bytes());
                hasher.update(&place.to_le_bytes());
            }
            Slot::Segment(task, first) => {
                hasher.update(&task.0.to_le_bytes());
                hasher.update(&first.to_le_bytes());
            }
            Slot::Event(etag) => hasher.update(&etag.0.to_le_bytes()),
            Slot::Step(task, turn, key) => {
                hasher.update(&task.0.to_le_bytes());
                hasher.update(&turn.to_le_bytes());
                hasher.update(key.as_bytes());
            }
            Slot::Ask(task, key) => {
                hasher.update(&task.0.to_le_bytes());
                hasher.update(key.as_bytes());
            }
            Slot::Life(position, instance) => {
                hasher.update(&position.to_le_bytes());
                hasher.update(&instance.to_le_bytes());
            }
        }
        hasher
    }

    /// The error of an entry that cannot be what was written.
    pub(crate) fn corrupt(&self) -> StoreError {
        StoreError::Corrupt {
            table: self.table(),
            key: self.to_string().into(),
        }
    }
}

impl fmt::Display for Slot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Task(task) => write!(f, "{}", task.0),
            Slot::Value(key) => write!(f, "{}/{:?}/{}", key.task.0, key.kind, key.index),
            Slot::Input(task, seq) => write!(f, "{}/{seq}", task.0),
            Slot::Receipt(task, input_id) => write!(f, "{}/{input_id}", task.0),
            Slot::Turn(task, slot) => write!(f, "{}/{slot}", task.0),
            Slot::Run(task, place) => write!(f, "{}/{place}", task.0),
            Slot::Segment(task, first) => write!(f, "{}/{first}", task.0),
            Slot::Event(etag) => write!(f, "{}", etag.0),
            Slot::Step(task, turn, key) => write!(f, "{}/{turn}/{key}", task.0),
            Slot::Ask(task, key) => write!(f, "{}/{key}", task.0),
            Slot::Life(position, instance) => write!(f, "{position}/{instance:032x}"),
        }
    }
}
