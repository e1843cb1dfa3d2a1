//! What somebody was told, which must therefore be so after every crash from then on.

use super::dump::{Dump, Whole};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Receipt, State, StepState, StreamEntry, ValueKind};
use std::collections::BTreeSet;

/// What a caller or a handler was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The task.
    pub task: TaskId,
    /// What of it.
    pub what: What,
}

/// What of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The input is accepted.
    Accepted(InputId),
    /// The input is refused.
    Refused(InputId),
    /// The input has its answer.
    Answered {
        /// The input.
        input: InputId,
        /// The answer.
        told: String,
    },
    /// The input is taken back.
    Withdrawn(InputId),
    /// The task is to end.
    Cancelled,
    /// The task begins a further run.
    Retried {
        /// The run.
        run: u32,
    },
    /// The task is removed.
    Removed,
    /// A question of this turn is answered.
    AskAnswered {
        /// The turn.
        turn: u32,
        /// The key of the question.
        key: String,
    },
    /// The handler was entered with the input under this claim.
    Entered {
        /// The input.
        input: InputId,
        /// The claim.
        generation: u64,
    },
    /// The handler has the result of a step.
    Step {
        /// The input of its turn.
        input: InputId,
        /// The key.
        key: String,
        /// The result, as JSON.
        value: String,
    },
    /// The item has this number in the stream.
    Item {
        /// The number.
        sequence: u64,
        /// The item, as JSON.
        item: String,
    },
    /// The handler's metadata counts so far.
    Noted(i64),
    /// The open turn has taken an input.
    Taken(InputId),
    /// Somebody looked at the task.
    Seen {
        /// Its etag.
        etag: u64,
        /// Its generation.
        generation: u64,
    },
}

impl Fact {
    /// Whether it stays so. A turn that fails gives back what it took and noted.
    pub fn lasts(&self) -> bool {
        !matches!(self.what, What::Noted(_) | What::Taken(_))
    }

    /// The claim it names.
    pub fn generation(&self) -> Option<u64> {
        match self.what {
            What::Entered { generation, .. } | What::Seen { generation, .. } => Some(generation),
            What::Accepted(_)
            | What::Refused(_)
            | What::Answered { .. }
            | What::Withdrawn(_)
            | What::Cancelled
            | What::Retried { .. }
            | What::Removed
            | What::AskAnswered { .. }
            | What::Step { .. }
            | What::Item { .. }
            | What::Noted(_)
            | What::Taken(_) => None,
        }
    }

    /// What contradicts it, with the tasks that may be gone by now.
    pub fn contradiction(&self, dump: &Dump, may_be_gone: &BTreeSet<Box<str>>) -> Option<String> {
        let holds = match (dump.task(&self.task), &self.what) {
            (None, What::Removed | What::Refused(_)) => true,
            (None, _) => may_be_gone.contains(self.task.as_str()),
            (Some(_), What::Removed) => false,
            (Some(whole), what) => {
                // Begun anew under its id it waits for a claim, which will be a later one.
                let waits = whole.row.generation.0 == 0 && may_be_gone.contains(self.task.as_str());
                what.holds(whole, |generation| {
                    waits || whole.row.generation.0 >= generation
                })
            }
        };
        (!holds).then(|| {
            let row = dump.task(&self.task).map(|whole| &whole.row);
            format!("{self:?} was told, and the task is {row:?}")
        })
    }
}

impl What {
    fn holds(&self, whole: &Whole, claimed: impl Fn(u64) -> bool) -> bool {
        let row = &whole.row;
        match self {
            What::Accepted(input) => whole.knows(input),
            What::Refused(input) => !whole.knows(input),
            What::Answered { input, .. } => is_answered(whole, input),
            What::Withdrawn(input) => {
                matches!(whole.receipt(input), Some(Receipt::Withdrawn { .. }))
            }
            What::Cancelled => row.cancel.is_some() || matches!(row.state, State::Completed { .. }),
            What::Retried { run } => row.run >= *run,
            What::AskAnswered { turn, key } => {
                let answered = |state| matches!(state, StepState::Answered { .. });
                let mut steps = whole.steps.iter();
                let is_turn = row.turn == *turn && whole.is_open();
                !is_turn || steps.any(|(at, step)| **at == **key && answered(step.state))
            }
            What::Entered { generation, .. } => claimed(*generation),
            What::Step { input, key, value } => {
                let is_turn = row.input_id == *input && whole.is_open();
                let mut steps = whole.steps.iter();
                !is_turn || steps.any(|(at, step)| **at == **key && step.value == value.as_bytes())
            }
            What::Item { sequence, item } => has_item(whole, *sequence, item),
            What::Noted(count) => notes(whole) >= *count,
            What::Taken(input) => {
                let mut inputs = whole.inputs.iter().map(|(_, input)| input);
                inputs.any(|at| at.input_id == *input && at.taken.is_some())
            }
            What::Seen { etag, generation } => row.etag.0 >= *etag && claimed(*generation),
            What::Removed => false,
        }
    }
}

/// Whether an input's turn is over, or never comes.
pub fn is_answered(whole: &Whole, input: &InputId) -> bool {
    let row = &whole.row;
    if row.input_id == *input {
        return !whole.is_open();
    }
    match whole.receipt(input) {
        Some(Receipt::Turn { total, .. }) => *total < row.turns_total || !whole.is_open(),
        Some(Receipt::Withdrawn { .. } | Receipt::TaskEnded) => true,
        // Those of a later version are not known here.
        Some(_) | None => false,
    }
}

fn has_item(whole: &Whole, sequence: u64, item: &str) -> bool {
    whole.segments.iter().any(|segment| {
        let Ok(row) = &segment.row else { return false };
        let at = sequence.checked_sub(segment.first);
        let entry = at.and_then(|at| row.entries.get(at as usize));
        matches!(entry, Some(StreamEntry::Item { bytes, .. }) if bytes == item.as_bytes())
    })
}

/// How far the metadata of a task counts.
fn notes(whole: &Whole) -> i64 {
    let is_metadata = |(kind, ..): &&(ValueKind, u64, _)| *kind == ValueKind::Metadata;
    let bytes = whole.values.iter().find(is_metadata);
    let json: Option<serde_json::Value> = bytes
        .and_then(|(_, _, bytes)| bytes.as_deref())
        .and_then(|bytes| serde_json::from_slice(bytes).ok());
    let count = json
        .as_ref()
        .and_then(|json| json.pointer("/default/notes"));
    count.and_then(serde_json::Value::as_i64).unwrap_or(0)
}
