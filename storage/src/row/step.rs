//! Recorded steps: what a turn did once and for all, found again by their keys.

use crate::row::{Deadline, Micros};
use serde::{Deserialize, Serialize};

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepState {
    /// A step that may run only once was begun: until its result is recorded, nobody knows what became of it.
    Begun,
    /// Its result is recorded; it never runs again.
    Done,
    /// It is a sleep, over at this moment.
    Sleeping {
        /// The moment.
        until: Deadline,
    },
    /// It is a question; in `asks` while it is open, and withdrawn when it is not there.
    Asked {
        /// From when on no answer is taken; [`Deadline::NEVER`] without such a moment.
        until: Deadline,
    },
    /// It was a question, and its answer is recorded.
    Answered {
        /// The digest of what was asked.
        #[serde(with = "super::bytes::digest")]
        digest: [u8; 16],
    },
    /// It was a question that nobody answered in time: its default is recorded, or nothing where it had none.
    Expired {
        /// The digest of what was asked.
        #[serde(with = "super::bytes::digest")]
        digest: [u8; 16],
    },
}

impl StepState {
    /// Whether it is a wait of the handler, and not a step that runs.
    pub fn is_wait(self) -> bool {
        match self {
            StepState::Begun | StepState::Done => false,
            StepState::Sleeping { .. }
            | StepState::Asked { .. }
            | StepState::Answered { .. }
            | StepState::Expired { .. } => true,
        }
    }
}

/// One step of a turn; in `steps`, under its task, the number of the turn that recorded it first, and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRow {
    /// How far it is.
    pub state: StepState,
    /// The attempt of the turn that wrote this.
    pub attempt: u32,
    /// When.
    pub at: Micros,
    /// The type of the result in the program that recorded it, for people.
    pub type_name: Box<str>,
    /// The result as JSON, exactly as given; empty while the step is only begun. It follows the rest of the row on disk.
    #[serde(skip)]
    pub value: Vec<u8>,
}

impl StepRow {
    /// Longest key of a step, in bytes.
    pub const KEY_MAX: usize = 256;
    /// Most steps of one turn.
    pub const STEPS_MAX: usize = 10_000;
}

/// A step with its result, in one piece.
pub(crate) mod whole {
    use super::StepRow;
    use crate::row::UserBytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(step: &StepRow, to: S) -> Result<S::Ok, S::Error> {
        struct Bytes<'a>(&'a [u8]);
        impl Serialize for Bytes<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_bytes(self.0)
            }
        }
        (step, Bytes(&step.value)).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Box<StepRow>, D::Error> {
        let (mut step, UserBytes(value)) = <(Box<StepRow>, UserBytes)>::deserialize(from)?;
        step.value = value;
        Ok(step)
    }
}
