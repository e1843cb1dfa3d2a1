//! What hangs on tasks, made to agree with their rows. A row may be of a later moment than what was found beside it, and what is
//! left of an earlier one would never end by itself: an input that was consumed, a caller that waits for a turn, a question.

use super::rows::Rows;
use crate::codec;
use crate::id::InputId;
use crate::receipt::KeptReceipt;
use crate::redb::copy_error::CopyError;
use crate::redb::fresh::written;
use crate::redb::report::{Findings, Wrong};
use crate::row::{
    AskRow, Deadline, InputRow, Micros, Payload, Receipt, State, StepState, TaskNumber, TaskRow,
    TurnRow, ValueKey, ValueKind, WaitReason,
};
use crate::sealed::may_be;
use crate::slot::Slot;
use redb::ReadableTable;

type Result<T> = std::result::Result<T, CopyError>;

/// Makes what hangs on tasks agree with them. `now` is the wall clock.
///
/// # Errors
/// [`CopyError`] of the new file.
pub(super) fn agree(rows: &mut Rows<'_>, now: Micros, findings: &mut Findings) -> Result<()> {
    drop_consumed(rows)?;
    mend_receipts(rows, findings)?;
    withdraw_questions(rows)?;
    wake_unasked(rows, now)
}

/// The row of a task; the last one that was asked for is kept, for what hangs on a task lies together.
#[derive(Default)]
struct Last(Option<(u64, Option<TaskRow>)>);

impl Last {
    fn row(&mut self, rows: &Rows<'_>, number: u64) -> Result<Option<&TaskRow>> {
        if self.0.as_ref().is_none_or(|(last, _)| *last != number) {
            self.0 = Some((number, rows.row(number)?));
        }
        Ok(self.0.as_ref().and_then(|(_, row)| row.as_ref()))
    }
}

/// Where a row says that no input waits, each that is there was consumed or withdrawn since.
fn drop_consumed(rows: &mut Rows<'_>) -> Result<()> {
    let (mut last, mut consumed) = (Last::default(), Vec::new());
    for entry in rows.inputs.iter().map_err(written)? {
        let (number, seq) = entry.map_err(written)?.0.value();
        let row = last.row(rows, number)?;
        let none = row.is_some_and(|row| (row.inputs_waiting, row.inputs_taken) == (0, 0));
        if none && !cfg!(planted = "salvage_keeps_consumed_inputs") {
            consumed.push((number, seq));
        }
    }
    for key in consumed {
        rows.inputs.remove(key).map_err(written)?;
    }
    Ok(())
}

/// What is to become of a receipt.
enum Mended {
    Stays,
    Says(Receipt),
    Goes,
}

/// A receipt that says of an input that it waits, or is worked on, must be right: whoever asks with its id waits for that.
fn mend_receipts(rows: &mut Rows<'_>, findings: &mut Findings) -> Result<()> {
    let (mut last, mut mended) = (Last::default(), Vec::new());
    for entry in rows.receipts.iter().map_err(written)? {
        let (key, bytes) = entry.map_err(written)?;
        let (number, input_id) = key.value();
        let Some(row) = last.row(rows, number)? else {
            continue;
        };
        let (task, slot) = (
            TaskNumber(number),
            Slot::Receipt(TaskNumber(number), input_id),
        );
        // What was put is whole.
        let (Ok(id), Ok(kept)) = (
            InputId::new(input_id),
            codec::decode::<KeptReceipt>(slot, bytes.value()),
        ) else {
            continue;
        };
        match receipt_of(rows, (task, row), (&id, &kept.receipt))? {
            Mended::Stays => {}
            _ if cfg!(planted = "salvage_keeps_receipts_of_nothing") => {}
            Mended::Says(receipt) => {
                mended.push((task, id, Some(KeptReceipt { receipt, ..kept })));
            }
            Mended::Goes => {
                findings.add(slot.table(), slot, Wrong::Damaged);
                mended.push((task, id, None));
            }
        }
    }
    for (task, id, kept) in mended {
        let key = (task.0, id.as_str());
        let Some(kept) = kept else {
            rows.receipts.remove(key).map_err(written)?;
            continue;
        };
        let mut bytes = Vec::new();
        codec::encode(Slot::Receipt(task, id.as_str()), &kept, &mut bytes)
            .map_err(super::malformed)?;
        let put = rows.receipts.insert(key, bytes.as_slice());
        put.map_err(written)?;
    }
    Ok(())
}

fn receipt_of(
    rows: &Rows<'_>,
    (task, row): (TaskNumber, &TaskRow),
    (input_id, receipt): (&InputId, &Receipt),
) -> Result<Mended> {
    let is_of_row = row.input_id == *input_id;
    Ok(match receipt {
        Receipt::Queued { seq } => {
            let is_there = rows.inputs.get((task.0, *seq)).map_err(written)?.is_some();
            let of_row = Receipt::Turn {
                run: row.run,
                turn: row.turn,
                total: row.turns_total,
                step: None,
            };
            match is_of_row {
                _ if is_there && *seq > row.input_seq => Mended::Stays,
                true => Mended::Says(of_row),
                false => match turn_of(rows, task, input_id)? {
                    Some(turn) => Mended::Says(turn),
                    None => Mended::Goes,
                },
            }
        }
        Receipt::Turn { total, step, .. } => {
            let is_ahead = *total > row.turns_total;
            let is_open = *total == row.turns_total && step.is_none() && !is_of_row;
            match is_ahead || is_open {
                true => Mended::Goes,
                false => Mended::Stays,
            }
        }
        Receipt::Withdrawn { .. } | Receipt::TaskEnded => Mended::Stays,
    })
}

/// The turn that worked on an input, if it is kept.
fn turn_of(rows: &Rows<'_>, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>> {
    let of_task = (task.0, 0)..=(task.0, u64::MAX);
    for entry in rows.turns.range(of_task).map_err(written)? {
        let (key, bytes) = entry.map_err(written)?;
        let slot = Slot::Turn(task, key.value().1);
        let found = codec::decode::<TurnRow>(slot, bytes.value());
        if let Ok(turn) = found
            && turn.input_id == *input_id
        {
            let TurnRow { run, total, .. } = turn;
            let (turn, step) = (turn.turn, None);
            return Ok(Some(Receipt::Turn {
                run,
                turn,
                total,
                step,
            }));
        }
    }
    Ok(None)
}

/// A question goes with the turn that asked.
fn withdraw_questions(rows: &mut Rows<'_>) -> Result<()> {
    let (mut last, mut withdrawn) = (Last::default(), Vec::new());
    for entry in rows.asks.iter().map_err(written)? {
        let (key, bytes) = entry.map_err(written)?;
        let (number, key) = key.value();
        let Some(row) = last.row(rows, number)? else {
            continue;
        };
        let ask = codec::decode::<AskRow>(Slot::Ask(TaskNumber(number), key), bytes.value());
        let is_open = |ask: AskRow| row.asked && (ask.run, ask.turn) == (row.run, row.turn);
        if !ask.is_ok_and(is_open) && !cfg!(planted = "salvage_keeps_old_questions") {
            withdrawn.push((number, Box::<str>::from(key)));
        }
    }
    for (number, key) in withdrawn {
        rows.asks.remove((number, &*key)).map_err(written)?;
    }
    Ok(())
}

/// Whoever waits for the answer to a question that is lost is entered again, and asks once more.
fn wake_unasked(rows: &mut Rows<'_>, now: Micros) -> Result<()> {
    let mut woken = Vec::new();
    for entry in rows.tasks.iter().map_err(written)? {
        let number = entry.map_err(written)?.0.value();
        let Some(mut row) = rows.row(number)? else {
            continue;
        };
        let State::Suspended {
            wait: WaitReason::Answer { step, .. },
            ..
        } = &row.state
        else {
            continue;
        };
        if is_asked(rows, (number, &row), step)? || cfg!(planted = "salvage_lets_unasked_sleep") {
            continue;
        }
        row.state = State::Pending {
            due_at: Deadline::at_once(now),
            wait: WaitReason::Slot,
        };
        woken.push((number, row));
    }
    for (number, row) in woken {
        rows.put_row(number, &row)?;
    }
    Ok(())
}

/// Whether each question for which the open turn waits can be answered.
fn is_asked(rows: &Rows<'_>, (number, row): (u64, &TaskRow), key: &str) -> Result<bool> {
    let is_there = |key: &str| Ok(rows.asks.get((number, key)).map_err(written)?.is_some());
    if !is_there(key)? {
        return Ok(false);
    }
    let of_turn = (number, row.steps_of, "")..(number, row.steps_of.saturating_add(1), "");
    for entry in rows.steps.range(of_turn).map_err(written)? {
        let (of, bytes) = entry.map_err(written)?;
        let (_, turn, key) = of.value();
        let step = codec::decode_step(Slot::Step(TaskNumber(number), turn, key), bytes.value());
        let asked = step.is_ok_and(|step| matches!(step.state, StepState::Asked { .. }));
        if asked && !is_there(key)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells of each large value that a row names and that is not there, or is another one. Answers how many there are.
///
/// # Errors
/// [`CopyError`] of the new file.
pub(super) fn tell_missing_values(rows: &Rows<'_>, findings: &mut Findings) -> Result<u64> {
    let before = findings.total();
    if cfg!(planted = "salvage_tells_of_no_missing_value") {
        return Ok(0);
    }
    let mut last = Last::default();
    for entry in rows.tasks.iter().map_err(written)? {
        let number = entry.map_err(written)?.0.value();
        let task = TaskNumber(number);
        let Some(row) = last.row(rows, number)? else {
            continue;
        };
        let (kind, index, payload) = match &row.state {
            State::Completed { outcome, .. } => match outcome.output() {
                Some(output) => (ValueKind::Output, row.slot(), output),
                None => continue,
            },
            State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => {
                (ValueKind::Input, row.input_seq, &row.input)
            }
        };
        let key = ValueKey { task, kind, index };
        tell_missing(rows, (Slot::Task(task), key, payload), findings)?;
    }
    for entry in rows.inputs.iter().map_err(written)? {
        let (key, bytes) = entry.map_err(written)?;
        let (number, index) = key.value();
        let (task, kind) = (TaskNumber(number), ValueKind::Input);
        let slot = Slot::Input(task, index);
        if let Ok(input) = codec::decode::<InputRow>(slot, bytes.value()) {
            let key = ValueKey { task, kind, index };
            tell_missing(rows, (slot, key, &input.payload), findings)?;
        }
    }
    for entry in rows.turns.iter().map_err(written)? {
        let (key, bytes) = entry.map_err(written)?;
        let (number, index) = key.value();
        let (task, kind) = (TaskNumber(number), ValueKind::Output);
        let slot = Slot::Turn(task, index);
        let turn = codec::decode::<TurnRow>(slot, bytes.value());
        if let Some(output) = turn.as_ref().ok().and_then(|turn| turn.result.output()) {
            let key = ValueKey { task, kind, index };
            tell_missing(rows, (slot, key, output), findings)?;
        }
    }
    Ok(findings.total() - before)
}

fn tell_missing(
    rows: &Rows<'_>,
    (of, key, payload): (Slot<'_>, ValueKey, &Payload),
    findings: &mut Findings,
) -> Result<()> {
    if !payload.is_stored() {
        return Ok(());
    }
    let found = (rows.values)
        .get((key.task.0, key.kind.byte(), key.index))
        .map_err(written)?;
    let value = found.and_then(|bytes| codec::decode_value(Slot::Value(key), bytes.value()).ok());
    if !value.is_some_and(|value| may_be(payload, &value)) {
        findings.add(of.table(), of, Wrong::ValueMissing);
    }
    Ok(())
}
