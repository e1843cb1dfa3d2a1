//! The parts of a row that are the user's: what is sealed, and nothing else, in one place for both directions.

use super::location::{Field, Which};
use crate::row::{
    AskRow, Failure, InputRow, Outcome, Payload, Receipt, RunRow, SegmentRow, State, StepRow,
    StreamEntry, TaskRow, TurnResult, TurnRow, WaitReason,
};
use crate::store::StoreError;

type Done = Result<(), StoreError>;

/// One part.
pub(crate) enum Part<'p> {
    /// Bytes.
    Bytes(&'p mut Vec<u8>),
    /// What must stay a text.
    Text(&'p mut Box<str>),
}

/// What is done with each part.
pub(crate) type Visit<'v> = dyn FnMut(Which, Part<'_>) -> Done + 'v;

/// A row with parts of the user's.
pub(crate) trait Parts {
    /// What tells this version of the row from others under the same key, of what stays clear in it.
    fn version(&self) -> u64;

    /// Visits each part.
    ///
    /// # Errors
    /// What the visit fails with.
    fn each(&mut self, visit: &mut Visit<'_>) -> Done;
}

/// Bytes that lie alone under their key: a large value.
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Parts for Raw {
    fn version(&self) -> u64 {
        0
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        visit((Field::Value, 0), Part::Bytes(&mut self.0))
    }
}

/// A text that lies alone: why the children of a turn are cancelled.
pub(crate) struct Reason {
    pub(crate) turn: u64,
    pub(crate) text: Box<str>,
}

impl Parts for Reason {
    fn version(&self) -> u64 {
        self.turn
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        visit((Field::Fate, 0), Part::Text(&mut self.text))
    }
}

impl Parts for TaskRow {
    fn version(&self) -> u64 {
        self.etag.0
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        payload(Field::Input, &mut self.input, visit)?;
        if let Some(previous) = &mut self.previous {
            payload(Field::Previous, &mut previous.payload, visit)?;
        }
        if let Some(cancel) = &mut self.cancel {
            text(Field::Cancel, &mut cancel.reason, visit)?;
        }
        if let Some(last) = &mut self.last_failure {
            failure(Field::LastFailure, last, visit)?;
        }
        match &mut self.state {
            State::Pending { wait, .. } | State::Suspended { wait, .. } => waits(wait, visit),
            State::InProgress { .. } => Ok(()),
            State::Completed { outcome: ended, .. } => outcome(ended, visit),
        }
    }
}

impl Parts for InputRow {
    fn version(&self) -> u64 {
        0
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        payload(Field::Input, &mut self.payload, visit)
    }
}

impl Parts for Receipt {
    fn version(&self) -> u64 {
        0
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        match self {
            Receipt::Withdrawn { reason } => text(Field::Reason, reason, visit),
            Receipt::Queued { .. } | Receipt::Turn { .. } | Receipt::TaskEnded => Ok(()),
        }
    }
}

impl Parts for TurnRow {
    fn version(&self) -> u64 {
        self.total
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        match &mut self.result {
            TurnResult::Replied {
                output, suspended, ..
            } => {
                payload(Field::Output, output, visit)?;
                match suspended {
                    Some(reason) => text(Field::Suspended, reason, visit),
                    None => Ok(()),
                }
            }
            TurnResult::Ended(ended) => outcome(ended, visit),
        }
    }
}

impl Parts for RunRow {
    fn version(&self) -> u64 {
        u64::from(self.run)
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        outcome(&mut self.outcome, visit)?;
        match &mut self.last_failure {
            Some(last) => failure(Field::LastFailure, last, visit),
            None => Ok(()),
        }
    }
}

impl Parts for StepRow {
    fn version(&self) -> u64 {
        u64::from(self.attempt)
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        visit((Field::Step, 0), Part::Bytes(&mut self.value))
    }
}

impl Parts for AskRow {
    fn version(&self) -> u64 {
        self.asked_at.0
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        visit((Field::Question, 0), Part::Bytes(&mut self.question))?;
        if let Some(schema) = &mut self.schema {
            visit((Field::Schema, 0), Part::Bytes(schema))?;
        }
        match &mut self.default {
            Some(default) => visit((Field::Default, 0), Part::Bytes(default)),
            None => Ok(()),
        }
    }
}

impl Parts for SegmentRow {
    fn version(&self) -> u64 {
        self.generation.0
    }

    fn each(&mut self, visit: &mut Visit<'_>) -> Done {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            match entry {
                StreamEntry::Item { bytes, .. } => {
                    visit((Field::Item, index as u64), Part::Bytes(bytes))?;
                }
                StreamEntry::Reset { .. } | StreamEntry::Kept { .. } => {}
            }
        }
        Ok(())
    }
}

fn payload(field: Field, payload: &mut Payload, visit: &mut Visit<'_>) -> Done {
    match payload {
        Payload::Inline(bytes) => visit((field, 0), Part::Bytes(bytes)),
        // The length of the clear value: the value itself says what it takes sealed.
        Payload::Stored { .. } => Ok(()),
    }
}

fn text(field: Field, text: &mut Box<str>, visit: &mut Visit<'_>) -> Done {
    visit((field, 0), Part::Text(text))
}

fn failure(field: Field, failure: &mut Failure, visit: &mut Visit<'_>) -> Done {
    if cfg!(planted = "failure_written_clear") {
        return Ok(());
    }
    visit((field, 0), Part::Text(&mut failure.message))?;
    for (index, source) in failure.chain.iter_mut().enumerate() {
        visit((field, index as u64 + 1), Part::Text(source))?;
    }
    Ok(())
}

fn outcome(outcome: &mut Outcome, visit: &mut Visit<'_>) -> Done {
    match outcome {
        Outcome::Succeeded(output) => payload(Field::Output, output, visit),
        Outcome::Failed(failed) => failure(Field::Failure, failed, visit),
        Outcome::Cancelled { reason, output } => {
            text(Field::Reason, reason, visit)?;
            match output {
                Some(output) => payload(Field::Output, output, visit),
                None => Ok(()),
            }
        }
        Outcome::Terminated { reason, .. } => text(Field::Reason, reason, visit),
    }
}

fn waits(wait: &mut WaitReason, visit: &mut Visit<'_>) -> Done {
    match wait {
        WaitReason::Input { reason } => text(Field::Suspended, reason, visit),
        WaitReason::Undecodable { expected, .. } => text(Field::Expected, expected, visit),
        WaitReason::Slot
        | WaitReason::Delayed
        | WaitReason::BackOff
        | WaitReason::WaitingHandler
        | WaitReason::Isolated { .. }
        | WaitReason::Quarantined { .. }
        | WaitReason::DuplicateStep { .. }
        | WaitReason::UnknownOutcome { .. }
        | WaitReason::Sleeping { .. }
        | WaitReason::Answer { .. }
        | WaitReason::Children { .. } => Ok(()),
    }
}
