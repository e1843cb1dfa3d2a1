//! What the store, or the hub, knows of an input: its answer, that there is none yet, or that there never will be.

use crate::error::ResultError;
use crate::look::lost_output;
use crate::machine::{Named, Status};
use outlive_storage::id::TaskId;
use outlive_storage::row::{
    Outcome, Payload, Receipt, State, TaskNumber, TaskRow, TurnResult, ValueKey, ValueKind,
    WaitReason,
};
use outlive_storage::{Store, StoreError};

/// What became of an input, as bytes.
pub(crate) enum Answered {
    Replied {
        bytes: Vec<u8>,
        turn: u32,
        suspended: Option<Box<str>>,
        superseded: bool,
    },
    Error(ResultError),
}

/// What the store knows of an input.
pub(crate) enum Stored {
    Answered(Answered),
    Parked { what: Box<str>, expected: Box<str> },
    Waits,
    Missing,
}

/// What is known of a turn without its large output.
pub(crate) enum Known {
    Answered(Answered),
    /// The answer once these bytes are read.
    Stored(Payload, Box<dyn FnOnce(Vec<u8>) -> Answered>),
}

/// The answer a turn's result is.
pub(crate) fn from_result(result: TurnResult, turn: u32) -> Known {
    let error = match result {
        TurnResult::Replied {
            output,
            suspended,
            superseded,
        } => {
            let replied = move |bytes| Answered::Replied {
                bytes,
                turn,
                suspended,
                superseded,
            };
            return match output {
                Payload::Inline(bytes) => Known::Answered(replied(bytes)),
                stored @ Payload::Stored { .. } => Known::Stored(stored, Box::new(replied)),
            };
        }
        TurnResult::Ended(Outcome::Succeeded(output)) => {
            let result = TurnResult::Replied {
                output,
                suspended: None,
                superseded: false,
            };
            return from_result(result, turn);
        }
        TurnResult::Ended(Outcome::Failed(failure)) => ResultError::Failed(failure),
        TurnResult::Ended(Outcome::Cancelled { reason, .. }) => ResultError::Cancelled { reason },
        TurnResult::Ended(Outcome::Terminated { reason, timed_out }) => {
            ResultError::Terminated { reason, timed_out }
        }
        // INVARIANT: this crate and the storage crate are released together.
        TurnResult::Ended(other) => {
            unreachable!("an outcome this version does not know: {other:?}")
        }
    };
    Known::Answered(Answered::Error(error))
}

/// What the store knows of an input. A turn and its large output are read one after the other, and a later turn may
/// have taken their slot in between: then both are read again, as what they are now.
pub(crate) fn look(
    store: &dyn Store,
    task: TaskNumber,
    named: &Named,
) -> Result<Stored, StoreError> {
    let mut before = None;
    loop {
        let Some(row) = store.get(task)? else {
            return Ok(Stored::Missing);
        };
        let (etag, slot) = (row.etag, row.slot());
        if let Some(stored) = look_once(store, (task, row), named)? {
            return Ok(stored);
        }
        // A turn takes its slot in the commit that changes the row. Where the row is as it was, what does not belong
        // together is of two moments, and would be the same at every look.
        if before == Some(etag) && !cfg!(planted = "row_of_another_time_awaited") {
            let key = format!("{}/{slot}", task.0).into();
            return Err(StoreError::Corrupt {
                table: "turns",
                key,
            });
        }
        before = Some(etag);
    }
}

/// What the store knows of an input; nothing when it changed meanwhile.
fn look_once(
    store: &dyn Store,
    (task, row): (TaskNumber, TaskRow),
    named: &Named,
) -> Result<Option<Stored>, StoreError> {
    if named.is_of(&row) || cfg!(planted = "handle_answers_for_latest_turn") {
        return look_at_latest(store, task, row);
    }
    let ended = |error| Ok(Some(Stored::Answered(Answered::Error(error))));
    match store.receipt(task, &named.input_id)? {
        // Between the look at the row and the look at the receipt the turn may have begun.
        Some(Receipt::Queued { .. }) => Ok(Some(Stored::Waits)),
        // A later run worked the input again.
        Some(Receipt::Turn { run, .. }) if run != named.run => {
            look_at_run(store, task, (&row, named))
        }
        // One that a turn took has this receipt only since that turn is over.
        Some(Receipt::Turn { total, step, .. })
            if total >= row.turns_total
                && (step.is_none() || cfg!(planted = "taken_input_waits_for_ever")) =>
        {
            Ok(Some(Stored::Waits))
        }
        Some(Receipt::Turn { turn, total, .. }) => {
            OfTurn::of(&row, task, (turn, total)).kept(store)
        }
        Some(Receipt::Withdrawn { reason }) => ended(ResultError::Cancelled { reason }),
        Some(Receipt::TaskEnded) => ended(ended_without(&row.id)),
        // INVARIANT: this crate and the storage crate are released together.
        Some(other) => unreachable!("a receipt this version does not know: {other:?}"),
        None => Ok(Some(Stored::Missing)),
    }
}

/// The answer of the last turn of an earlier run: only its input can be worked again.
fn look_at_run(
    store: &dyn Store,
    task: TaskNumber,
    (row, named): (&TaskRow, &Named),
) -> Result<Option<Stored>, StoreError> {
    let runs = store.runs(task)?;
    match runs.into_iter().find(|run| run.run == named.run) {
        Some(run) => OfTurn::of(row, task, (run.turns, run.last_total)).kept(store),
        None => Ok(Some(Stored::Missing)),
    }
}

/// The task ended before the input got a turn.
pub(crate) fn ended_without(id: &TaskId) -> ResultError {
    ResultError::Conflict {
        id: id.clone(),
        status: Status::Completed,
    }
}

/// The answer of the task's latest turn.
fn look_at_latest(
    store: &dyn Store,
    task: TaskNumber,
    row: TaskRow,
) -> Result<Option<Stored>, StoreError> {
    let slot = row.slot();
    let of = OfTurn::of(&row, task, (row.turn, row.turns_total));
    match row.state {
        State::Completed { outcome, .. } => {
            // A turn that suspended its task replied before; what became of the task then is not its result.
            let kept = match row.chained {
                true => store.turn(task, slot)?,
                false => None,
            };
            let kept = kept.filter(|kept| kept.total == row.turns_total);
            let result = kept.map_or(TurnResult::Ended(outcome), |kept| kept.result);
            of.result(store, result)
        }
        State::Suspended {
            wait: WaitReason::Undecodable { what, expected },
            ..
        } => Ok(Some(Stored::Parked { what, expected })),
        State::Suspended {
            wait: WaitReason::Input { .. },
            ..
        } => match store.turn(task, slot)? {
            Some(kept) if kept.total == row.turns_total => of.result(store, kept.result),
            // The task has gone on since its row was read, or the two are of two moments, or the turn is lost.
            Some(_) | None => Ok(None),
        },
        State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => {
            Ok(Some(Stored::Waits))
        }
    }
}

/// Which turn an answer is of, and where its large output lies.
struct OfTurn {
    task: TaskNumber,
    slot: u64,
    total: u64,
    turn: u32,
}

impl OfTurn {
    fn of(row: &TaskRow, task: TaskNumber, (turn, total): (u32, u64)) -> OfTurn {
        OfTurn {
            task,
            slot: row.slot_of(total),
            total,
            turn,
        }
    }

    /// The answer of a turn that is over, if it is still kept whole.
    fn kept(&self, store: &dyn Store) -> Result<Option<Stored>, StoreError> {
        let kept = store.turn(self.task, self.slot)?;
        let own = |total| total == self.total || cfg!(planted = "place_taken_for_turn");
        match kept.filter(|kept| own(kept.total)) {
            Some(kept) => self.result(store, kept.result),
            None => {
                let gone = ResultError::Gone { turn: self.turn };
                Ok(Some(Stored::Answered(Answered::Error(gone))))
            }
        }
    }

    /// The answer; nothing when a later turn has taken the slot meanwhile.
    fn result(&self, store: &dyn Store, result: TurnResult) -> Result<Option<Stored>, StoreError> {
        let (payload, replied) = match from_result(result, self.turn) {
            Known::Answered(answered) => return Ok(Some(Stored::Answered(answered))),
            Known::Stored(payload, replied) => (payload, replied),
        };
        let (task, kind, index) = (self.task, ValueKind::Output, self.slot);
        let bytes = store.bytes(ValueKey { task, kind, index }, &payload)?;
        if !self.is_still_there(store)? && !cfg!(planted = "output_of_another_turn") {
            return Ok(None);
        }
        let bytes = bytes.ok_or_else(|| lost_output(task, index))?;
        Ok(Some(Stored::Answered(replied(bytes))))
    }

    /// Whether the slot was this turn's when its output was read: the turn is the task's latest one, or the last that
    /// has ended in the slot.
    fn is_still_there(&self, store: &dyn Store) -> Result<bool, StoreError> {
        let Some(row) = store.get(self.task)? else {
            return Ok(false);
        };
        if row.turns_total == self.total {
            return Ok(true);
        }
        let kept = store.turn(self.task, self.slot)?;
        // A turn that runs may write into the slot with its end; only an ended one has done so.
        Ok(kept.is_some_and(|kept| kept.total == self.total))
    }
}
