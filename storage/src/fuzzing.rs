//! A door for fuzzers to what reads the bytes of the file, which no program need open.
//!
//! An entry is read as the store reads it, and what was read is written once more: bytes that are accepted must come back
//! as they were, whatever they are.
//!
//! ```
//! use outlive_storage::fuzzing::{Key, Kind, reread, seal};
//! let key = Key { kind: Kind::Value, task: 10, index: 0, text: "".into() };
//! let mut bytes = b"oV\x01\x00....[1]....".to_vec();
//! seal(&key, &mut bytes);
//! assert_eq!(reread(&key, &bytes).as_ref(), Ok(&bytes));
//! bytes[9] ^= 1;
//! assert!(reread(&key, &bytes).is_err());
//! ```

use crate::codec;
use crate::header::Header;
use crate::receipt::KeptReceipt;
use crate::row::{
    AskRow, Etag, EventRow, InputRow, LifeRow, RunRow, SegmentRow, TaskNumber, TurnRow, ValueKey,
    ValueKind,
};
use crate::slot::Slot;
use crate::store::StoreError;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A row in `tasks`.
    Task,
    /// A large value.
    Value,
    /// An input in `pending_steering_inputs`.
    Input,
    /// What became of an input.
    Receipt,
    /// How a turn ended.
    Turn,
    /// How a run ended.
    Run,
    /// A part of a stream.
    Segment,
    /// A line of the log of transitions.
    Event,
    /// A recorded step.
    Step,
    /// An open question.
    Ask,
    /// An open of the file.
    Life,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::Task,
        Kind::Value,
        Kind::Input,
        Kind::Receipt,
        Kind::Turn,
        Kind::Run,
        Kind::Segment,
        Kind::Event,
        Kind::Step,
        Kind::Ask,
        Kind::Life,
    ];
}

/// Where an entry lies: of each kind its key has some of these parts, and the others are of no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Of what.
    pub kind: Kind,
    /// The task's number; of a line of the log its etag, of an open its position.
    pub task: u64,
    /// Position, slot, turn or number among those of the task; of an open its instance. Of a value the lowest bits, and
    /// above them what it is.
    pub index: u128,
    /// The input's id, or the key of a step or question.
    pub text: Box<str>,
}

impl Key {
    fn slot(&self) -> Slot<'_> {
        let (task, index) = (TaskNumber(self.task), self.index as u64);
        match self.kind {
            Kind::Task => Slot::Task(task),
            Kind::Value => Slot::Value(ValueKey {
                task,
                kind: match (self.index >> 64) % 3 {
                    0 => ValueKind::Input,
                    1 => ValueKind::Output,
                    _ => ValueKind::Metadata,
                },
                index,
            }),
            Kind::Input => Slot::Input(task, index),
            Kind::Receipt => Slot::Receipt(task, &self.text),
            Kind::Turn => Slot::Turn(task, index),
            Kind::Run => Slot::Run(task, index as u32),
            Kind::Segment => Slot::Segment(task, index),
            Kind::Event => Slot::Event(Etag(self.task)),
            Kind::Step => Slot::Step(task, index, &self.text),
            Kind::Ask => Slot::Ask(task, &self.text),
            Kind::Life => Slot::Life(self.task, self.index),
        }
    }
}

/// Reads bytes as the entry under this key, and writes what was read once more.
///
/// # Errors
/// As the store refuses them: [`StoreError::Corrupt`], [`StoreError::TooNew`]. [`StoreError::Malformed`] would be a bug:
/// what was read could not be written.
pub fn reread(key: &Key, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    let slot = key.slot();
    let mut out = Vec::new();
    match key.kind {
        Kind::Task => {
            let task = TaskNumber(key.task);
            // Read by itself as well, as the store does before each commit.
            codec::header(task, bytes)?;
            let row = codec::decode_row(task, bytes)?;
            codec::encode_row(task, (&Header::of(&row), &row), &mut out)?;
        }
        Kind::Value => codec::encode_value(slot, &codec::decode_value(slot, bytes)?, &mut out)?,
        Kind::Step => codec::encode_step(slot, &codec::decode_step(slot, bytes)?, &mut out)?,
        Kind::Input => again::<InputRow>(slot, bytes, &mut out)?,
        Kind::Receipt => again::<KeptReceipt>(slot, bytes, &mut out)?,
        Kind::Turn => again::<TurnRow>(slot, bytes, &mut out)?,
        Kind::Run => again::<RunRow>(slot, bytes, &mut out)?,
        Kind::Segment => again::<SegmentRow>(slot, bytes, &mut out)?,
        Kind::Event => again::<EventRow>(slot, bytes, &mut out)?,
        Kind::Ask => again::<AskRow>(slot, bytes, &mut out)?,
        Kind::Life => again::<LifeRow>(slot, bytes, &mut out)?,
    }
    Ok(out)
}

fn again<E: codec::Entry>(
    slot: Slot<'_>,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    codec::encode(slot, &codec::decode::<E>(slot, bytes)?, out)
}

/// Makes the lengths and checksums of an entry right, so that whatever else is wrong with it is looked at. Bytes that
/// are too few for an entry stay as they are.
pub fn seal(key: &Key, bytes: &mut [u8]) {
    codec::seal(key.slot(), key.kind == Kind::Task, bytes);
}
