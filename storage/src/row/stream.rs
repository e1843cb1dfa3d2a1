//! What handlers emitted: a task's stream, kept in segments.

use crate::row::{Generation, Micros};
use serde::{Deserialize, Serialize};

/// What one claim of a turn added to its task's stream at once, in `stream` under the sequence number of its first
/// entry. Each entry takes one number, from 1, without a gap over all turns, attempts and runs of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    /// The run.
    pub run: u32,
    /// The turn of the run.
    pub turn: u32,
    /// The attempt of the turn.
    pub attempt: u32,
    /// The claim that wrote it.
    pub generation: Generation,
    /// Position of the turn's input among the task's inputs: a turn that is tried again, also in a further run, has the
    /// same.
    pub input_seq: u64,
    /// When it was written.
    pub at: Micros,
    /// At least one.
    pub entries: Vec<StreamEntry>,
}

/// One entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamEntry {
    /// An item.
    Item {
        /// The recorded step it belongs to; empty for one that belongs to its attempt.
        step: Option<Box<str>>,
        /// The user's JSON bytes, exactly as given.
        #[serde(with = "super::bytes::user")]
        bytes: Vec<u8>,
    },
    /// What was emitted before is abandoned.
    Reset {
        /// By earlier tries of this step; empty: by earlier attempts of this turn, but for the steps that are kept.
        step: Option<Box<str>>,
        /// Also what steps of earlier runs had kept: the run begins without them.
        all: bool,
    },
    /// A step is recorded, in the same commit: what it emitted since its last reset stays, whatever becomes of its
    /// attempt.
    Kept {
        /// The step.
        step: Box<str>,
    },
}

impl StreamEntry {
    /// What an entry takes beside its bytes, about.
    pub const OVERHEAD: usize = 64;

    /// What it takes in memory, about, in bytes.
    pub fn size(&self) -> usize {
        match self {
            StreamEntry::Item { step, bytes } => {
                bytes.len() + step.as_ref().map_or(0, |step| step.len()) + Self::OVERHEAD
            }
            StreamEntry::Reset { step, .. } => {
                step.as_ref().map_or(0, |step| step.len()) + Self::OVERHEAD
            }
            StreamEntry::Kept { step } => step.len() + Self::OVERHEAD,
        }
    }
}

impl SegmentRow {
    /// The sequence number of its last entry, when `first` is that of its first.
    pub fn last(&self, first: u64) -> u64 {
        (first + self.entries.len() as u64).saturating_sub(1)
    }

    /// What it takes in memory, about, in bytes.
    pub fn size(&self) -> usize {
        self.entries.iter().map(StreamEntry::size).sum()
    }
}
