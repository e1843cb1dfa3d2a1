//! What a writer asks of a store: one commit per task, each with the row it was decided on.

use crate::id::InputId;
use crate::row::{
    AskRow, Etag, EventRow, Family, Fate, Generation, InputRow, Micros, Receipt, RunRow,
    SegmentRow, StepRow, TaskNumber, TaskRow, TurnRow, ValueKey,
};
use crate::row::{user, whole};
use crate::store::StoreError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Most segments that one [`Write::EvictSegments`] removes.
pub const EVICTED_AT_ONCE: usize = 16;

/// The segments that [`Write::EvictSegments`] removes, of those with these first sequence numbers, oldest first.
pub(crate) fn evicted(firsts: impl Iterator<Item = u64>, below: u64) -> Vec<u64> {
    let most = if cfg!(planted = "evicts_without_bound") {
        usize::MAX
    } else {
        EVICTED_AT_ONCE
    };
    let firsts: Vec<u64> = firsts.take(most.saturating_add(1)).collect();
    // A segment ends where the next one begins, so the last one is never among them.
    let mut gone: Vec<u64> = (firsts.windows(2))
        .filter(|pair| pair[1] <= below)
        .map(|pair| pair[0])
        .collect();
    if cfg!(planted = "last_segment_evicted") && firsts.len() <= most {
        gone.extend(firsts.last().filter(|first| **first < below));
    }
    gone
}

/// The row a commit was decided on. Compared for equality inside the transaction, never for order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// No task has this id: a start. The commit's first write must be the row.
    Absent,
    /// The task runs under this generation: everything a running turn writes.
    Lease(Generation),
    /// The row still carries this etag: everything everybody else writes.
    Etag(Etag),
}

/// One change within a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// Put the row; the store moves its index entries from where the old row had them.
    Row(Arc<TaskRow>),
    /// Put a large value.
    Value {
        /// Its key; `key.task` is the commit's task.
        key: ValueKey,
        /// The user's bytes, as given.
        #[serde(with = "user")]
        bytes: Vec<u8>,
    },
    /// Remove a large value; nothing happens when it is not there.
    RemoveValue(ValueKey),
    /// Put into `pending_steering_inputs`: an input that is there under its position is replaced, so that a mark on it
    /// does not move it.
    PushInput {
        /// Position among the task's inputs; a new one ascends.
        seq: u64,
        /// The input.
        input: InputRow,
    },
    /// Take one input out of `pending_steering_inputs`.
    PopInput {
        /// Its position.
        seq: u64,
    },
    /// Put the receipt of an input; where the one before was listed, it is not any more.
    Receipt {
        /// The input.
        input_id: InputId,
        /// What became of it.
        receipt: Receipt,
        /// Lists it in `receipt_expiry` under this moment; empty while its turn has not ended.
        expires_at: Option<Micros>,
    },
    /// Lists a receipt under a later moment; nothing happens when it is not listed under `listed_at`.
    KeepReceipt {
        /// The input.
        input_id: InputId,
        /// The moment it is listed under.
        listed_at: Micros,
        /// The moment to list it under.
        until: Micros,
    },
    /// Remove a receipt and its entry in `receipt_expiry`; a receipt that is not listed under `listed_at` stays.
    RemoveReceipt {
        /// The input.
        input_id: InputId,
        /// The moment it is listed under.
        listed_at: Micros,
    },
    /// Put how a turn ended.
    Turn {
        /// Where: a later turn of the task overwrites it.
        slot: u64,
        /// The turn.
        turn: Box<TurnRow>,
    },
    /// Put a step of a turn, over one of the same key.
    Step {
        /// The turn's number over all runs.
        turn: u64,
        /// The key.
        key: Box<str>,
        /// The step.
        #[serde(with = "whole")]
        step: Box<StepRow>,
    },
    /// Remove a step; nothing happens when it is not there.
    RemoveStep {
        /// The turn's number over all runs.
        turn: u64,
        /// The key.
        key: Box<str>,
    },
    /// Nobody asks for the steps of a turn any more: they go at once where they are few, else with `Store::tidy`.
    ForgetSteps {
        /// The turn's number over all runs.
        turn: u64,
    },
    /// Put an open question, over one of the same key.
    Ask {
        /// The key.
        key: Box<str>,
        /// The question.
        ask: Box<AskRow>,
    },
    /// Remove an open question; nothing happens when it is not there.
    RemoveAsk {
        /// The key.
        key: Box<str>,
    },
    /// Remove all open questions of the task, at once.
    RemoveAsks,
    /// Put how a run ended, under its number modulo [`TaskRow::RUNS_KEPT`].
    Run(Box<RunRow>),
    /// Put a segment of the task's stream.
    Segment {
        /// The sequence number of its first entry, from 1: above that of every entry before.
        first: u64,
        /// The segment, with at least one entry.
        segment: Arc<SegmentRow>,
    },
    /// Remove the oldest segments of the stream, at most [`EVICTED_AT_ONCE`], as far as they lie wholly below a sequence
    /// number. The last segment stays, so that it is always known how far the stream goes.
    EvictSegments {
        /// The lowest sequence number to keep.
        below: u64,
    },
    /// A child ends: counted in `wakes` of its parent, whose row is neither asked nor touched, so this cannot be refused.
    /// It need not be the last word of the child, which may be retried, and end once more.
    ChildEnded(Family),
    /// A turn of the commit's task is over: its children are listed in `families_over` until each of them was told, that is,
    /// until none is listed as a child of the turn. Then what is known of the family goes. Where there are no children it
    /// goes at once.
    FamilyOver {
        /// The turn's number over all runs.
        turn: u64,
        /// What becomes of them.
        fate: Fate,
    },
    /// Append to the log of transitions, under its etag. Its task is the commit's.
    Event(EventRow),
    /// Remove the task: its row, its id and its index entries. What hangs on it (values, inputs, receipts, turns,
    /// runs, stream, questions) is gone for every reader at once, and goes from the file at once where it is little, else with
    /// `Store::tidy`. At most one, and no [`Write::Row`] after it. Of the commit's other writes, wherever they
    /// stand, only its events and what it says to other tasks ([`Write::ChildEnded`], [`Write::FamilyOver`]) remain.
    RemoveTask,
}

/// What of a write the whole commit is judged by: its shape, the numbers it brings, the trace it leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bears<'w> {
    /// The row of the task.
    Row(&'w Arc<TaskRow>),
    /// An entry in the log of transitions.
    Event(&'w EventRow),
    /// A segment of the stream, under the number of its first entry.
    Segment(u64, &'w SegmentRow),
    /// A large value, put or removed.
    Value(ValueKey),
    /// The end of the task.
    Removal,
    /// Nothing: it changes what hangs on the task, or counts for another one.
    Nothing,
}

impl Write {
    /// What of it the whole commit is judged by. Whoever judges commits asks this, so that a new write is thought of once.
    pub(crate) fn bears(&self) -> Bears<'_> {
        match self {
            Write::Row(row) => Bears::Row(row),
            Write::Event(event) => Bears::Event(event),
            Write::Segment { first, segment } => Bears::Segment(*first, segment),
            Write::Value { key, .. } | Write::RemoveValue(key) => Bears::Value(*key),
            Write::RemoveTask => Bears::Removal,
            Write::PushInput { .. }
            | Write::PopInput { .. }
            | Write::Receipt { .. }
            | Write::KeepReceipt { .. }
            | Write::RemoveReceipt { .. }
            | Write::Turn { .. }
            | Write::Step { .. }
            | Write::RemoveStep { .. }
            | Write::ForgetSteps { .. }
            | Write::Ask { .. }
            | Write::RemoveAsk { .. }
            | Write::RemoveAsks
            | Write::Run(_)
            | Write::EvictSegments { .. }
            | Write::ChildEnded(_)
            | Write::FamilyOver { .. } => Bears::Nothing,
        }
    }

    /// The row it puts; `None` for any other change.
    pub fn row(&self) -> Option<&TaskRow> {
        match self.bears() {
            Bears::Row(row) => Some(row),
            Bears::Event(_)
            | Bears::Segment(..)
            | Bears::Value(_)
            | Bears::Removal
            | Bears::Nothing => None,
        }
    }
}

/// All that changes in one task at once: the unit of atomicity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The task; for a start its new number.
    pub task: TaskNumber,
    /// What must still be true.
    pub expect: Expect,
    /// What to write, in this order, after every expectation of the commit was checked.
    pub writes: Vec<Write>,
}

/// A commit took place; it is durable when `Store::commit` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The etag of the row afterwards.
    pub etag: Etag,
}

/// A commit was refused and changed nothing; its neighbours in the batch are not hindered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The number under which the row was found: another one when an id was already taken.
    pub task: TaskNumber,
    /// The row as it is, `None` when there is none, or that it is damaged.
    pub found: Result<Option<Box<TaskRow>>, StoreError>,
}
