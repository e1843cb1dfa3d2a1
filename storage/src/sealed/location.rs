//! The place a value is sealed for, which is a part of what is sealed.

use crate::row::TaskNumber;
use crate::slot::Slot;

/// Which part of a row a value is. The numbers are a part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Field {
    /// The mark of the file.
    Mark = 0,
    /// An input.
    Input = 1,
    /// The input of the turn before.
    Previous = 2,
    /// An output.
    Output = 3,
    /// The text of a failure, then those of its sources.
    Failure = 4,
    /// The text of the last failed attempt, then those of its sources.
    LastFailure = 5,
    /// The reason of a cancel or a stop.
    Reason = 6,
    /// The reason of a suspension.
    Suspended = 7,
    /// Why an input cannot be read.
    Expected = 8,
    /// The reason of a cancel on record.
    Cancel = 9,
    /// A large value.
    Value = 10,
    /// The result of a step.
    Step = 11,
    /// An item of a stream.
    Item = 12,
    /// A question.
    Question = 13,
    /// The schema of its answer.
    Schema = 14,
    /// Its default.
    Default = 15,
    /// Why children are cancelled.
    Fate = 16,
}

/// One of the parts of a row, where there are several of a kind by their number.
pub(crate) type Which = (Field, u64);

/// Where a sealed value belongs.
#[derive(Debug, Clone, Copy)]
pub struct Location<'l> {
    /// The number of the file.
    pub(super) file: u128,
    pub(super) slot: Slot<'l>,
    /// The version of the row: its etag, or the number of its turn.
    pub(super) version: u64,
    pub(super) which: Which,
}

impl Location<'_> {
    /// The place in bytes, different for each: what a cipher authenticates beside the value. It is not stored, and the
    /// same for as long as the value stays where it is, also in a copy of the file.
    pub fn aad(&self) -> Vec<u8> {
        if cfg!(planted = "aad_ignored") {
            return Vec::new();
        }
        let (field, index) = self.which;
        let (file, version) = (self.file, self.version);
        let table = self.slot.table();
        // Numbers first: a key of the user's, which may have any characters, is the last.
        let slot = self.slot;
        format!(
            "outlive.sealed.1/{file:032x}/{table}/{version}/{}/{index}/{slot}",
            field as u8
        )
        .into_bytes()
    }

    /// The task it belongs to; `None` for the mark of the file.
    pub fn task(&self) -> Option<TaskNumber> {
        let is_mark = self.which.0 == Field::Mark;
        self.slot.task().filter(|_| !is_mark)
    }

    /// The part of the row.
    pub fn field(&self) -> Field {
        self.which.0
    }
}
