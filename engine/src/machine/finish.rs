//! The end of a turn and the end of a task: what is kept, who is told, what becomes of the queue.

use super::answer::{Effect, Effects, Rejected, Transition};
use super::ask::withdraw;
use super::change::{changed, written};
use super::family;
use super::inbox::{answered, consume, left, waiting};
use super::view::{Now, View};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Deadline, EventKind, Guard, Keep, Micros, Outcome, Payload, Receipt, RunRow, State, TaskRow,
    TurnResult, TurnRow, ValueKey, ValueKind, WaitReason,
};
use smallvec::smallvec;

/// Whether the turn of the row's input is still open: it runs, waits to, or is parked.
pub fn turn_is_open(row: &TaskRow) -> bool {
    match &row.state {
        State::Pending { .. } | State::InProgress { .. } => true,
        State::Suspended { wait, .. } => !matches!(wait, WaitReason::Input { .. }),
        State::Completed { .. } => false,
    }
}

/// The task ends: in this commit its queue is answered, and an ephemeral one is gone.
pub(super) fn complete(
    view: &View<'_>,
    row: &TaskRow,
    expect: Expect,
    outcome: Outcome,
    now: Now,
) -> Transition {
    let mut next = changed(row, now);
    (next.deadline, next.time_left_us) = (Deadline::NEVER, None);
    next.guard = Guard::CLEAR;
    next.cancel = None;
    // A failure is told by the outcome, and is past after a success; whoever cancels or stops a turn that was failing
    // still finds out why it did.
    if matches!(outcome, Outcome::Succeeded(_) | Outcome::Failed(_)) {
        next.last_failure = None;
    }
    next.has_children = false;
    let expires_at = expiry(row, now);
    let mut effects = Effects::new();
    let mut writes = Vec::new();
    let result = result_of(&outcome);
    if turn_is_open(row) {
        if keeps_turns(row) {
            writes = turn_over(view, row, result.clone(), now);
        }
        effects = answered(view, row, &result);
    }
    effects.push(Effect::TaskEnded);
    let what = kind_of(&outcome);
    let fate = family::fate(&result);
    let family_over = family::over(view, row, fate, &mut effects);
    next.state = State::Completed {
        at: now.at,
        outcome,
        expires_at,
    };
    // What its parent may still ask for stays until the parent needs it no more.
    let is_awaited = row.parent.is_some() && !cfg!(planted = "ephemeral_child_gone");
    if row.options.keep == Keep::Ephemeral && !is_awaited && !cfg!(planted = "ephemeral_kept") {
        writes = vec![Write::RemoveTask];
    } else {
        writes.extend(consume(view, row, &mut next, now));
        writes.extend(drain(view, row, &mut next, now));
        writes.extend(withdraw(row, &mut next));
    }
    writes.extend(family::counted(row));
    writes.extend(family_over);
    Transition {
        writes,
        ..written(expect, next, what, effects)
    }
}

/// When retention may remove the ended task. The result of a child is kept for its parent, whatever time that takes.
pub(super) fn expiry(row: &TaskRow, now: Now) -> Micros {
    if row.parent.is_some() && !cfg!(planted = "child_expires_before_parent") {
        return Micros::NEVER;
    }
    match row.options.keep {
        Keep::For(us) => now.at.plus(us),
        Keep::Forever | Keep::Ephemeral => Micros::NEVER,
    }
}

/// What the callers of the last turn are told of a task's outcome.
fn result_of(outcome: &Outcome) -> TurnResult {
    match outcome {
        Outcome::Succeeded(output) => TurnResult::Replied {
            output: output.clone(),
            suspended: None,
            superseded: false,
        },
        other => TurnResult::Ended(other.clone()),
    }
}

fn kind_of(outcome: &Outcome) -> EventKind {
    match outcome {
        Outcome::Succeeded(_) => EventKind::Succeeded,
        Outcome::Failed(_) => EventKind::Failed,
        Outcome::Cancelled { .. } => EventKind::Cancelled,
        Outcome::Terminated {
            timed_out: false, ..
        } => EventKind::Terminated,
        Outcome::Terminated {
            timed_out: true, ..
        } => EventKind::TimedOut,
        // INVARIANT: this crate and the storage crate are released together.
        other => unreachable!("an outcome this version does not know: {other:?}"),
    }
}

/// Inputs that still wait when a task ends get their receipts in the commit of that end, so that no later run can
/// meet them.
fn drain(view: &View<'_>, row: &TaskRow, next: &mut TaskRow, now: Now) -> Vec<Write> {
    if cfg!(planted = "queue_outlives_task") {
        return Vec::new();
    }
    next.inputs_waiting = 0;
    let mut writes = Vec::new();
    for (seq, input) in left(view, row) {
        writes.push(Write::PopInput { seq: *seq });
        if !cfg!(planted = "drained_values_left_behind") {
            writes.extend(forget_input(view, &input.payload, *seq));
        }
        writes.push(Write::Receipt {
            input_id: input.input_id.clone(),
            receipt: Receipt::TaskEnded,
            expires_at: forgotten_at(row, now),
        });
    }
    writes
}

/// Whether each turn of the task is put down when it is over. The only turn of a task is told by the row alone, until
/// another run needs the row: most tasks are done with a row. A turn that suspended its task was put down then, so what
/// became of the task later is not taken for its result.
/// A task of several inputs may have a turn that took some: their callers find its result there alone.
fn keeps_turns(row: &TaskRow) -> bool {
    let several_inputs = row.inputs_accepted > 1 && !cfg!(planted = "turn_of_taken_not_kept");
    let several = row.turns_total > 1 || several_inputs;
    (several && !cfg!(planted = "last_turn_not_kept")) || row.chained
}

/// A turn is over: how it ended is kept in the turn's slot and in its input's receipt.
pub(super) fn turn_over(
    view: &View<'_>,
    row: &TaskRow,
    result: TurnResult,
    now: Now,
) -> Vec<Write> {
    let stored = result.output().is_some_and(Payload::is_stored);
    let turn = TurnRow {
        run: row.run,
        turn: row.turn,
        total: row.turns_total,
        input_id: row.input_id.clone(),
        result,
        ended_at: now.at,
    };
    let mut writes = vec![
        Write::Turn {
            slot: row.slot(),
            turn: Box::new(turn),
        },
        Write::Receipt {
            input_id: row.input_id.clone(),
            receipt: receipt_of_turn(row),
            expires_at: forgotten_at(row, now),
        },
    ];
    if !stored && !cfg!(planted = "old_output_left_behind") {
        // The turn that had the slot before may have left a large output in it.
        writes.push(Write::RemoveValue(ValueKey {
            task: view.task,
            kind: ValueKind::Output,
            index: row.slot(),
        }));
    }
    writes
}

/// The receipt of the input that a row's turn works or worked on.
pub(super) fn receipt_of_turn(row: &TaskRow) -> Receipt {
    Receipt::Turn {
        run: row.run,
        turn: row.turn,
        total: row.turns_total,
        step: None,
    }
}

/// A run is over and another one begins: the old outcome becomes history.
pub(super) fn run_over(
    view: &View<'_>,
    row: &TaskRow,
    outcome: &Outcome,
    ended_at: Micros,
    now: Now,
) -> Vec<Write> {
    if cfg!(planted = "old_outcome_dropped") {
        return Vec::new();
    }
    let run = RunRow {
        run: row.run,
        turns: row.turn,
        outcome: outcome.clone(),
        last_failure: row.last_failure.clone(),
        last_total: row.turns_total,
        ended_at,
    };
    let mut writes = vec![Write::Run(Box::new(run))];
    if !keeps_turns(row) || cfg!(planted = "end_overwrites_reply") {
        writes.extend(turn_over(view, row, result_of(outcome), now));
    }
    writes
}

/// When the receipt of an input that is done with may be forgotten; never for a task that is kept for ever.
pub(super) fn forgotten_at(row: &TaskRow, now: Now) -> Option<Micros> {
    match row.options.keep_receipts_us() {
        u64::MAX => None,
        us => Some(now.at.plus(us)),
    }
}

/// Removes the bytes of an input that no row names any more, if they lay beside the row.
pub(super) fn forget_input(view: &View<'_>, payload: &Payload, seq: u64) -> Option<Write> {
    let Payload::Stored { .. } = payload else {
        return None;
    };
    Some(Write::RemoveValue(ValueKey {
        task: view.task,
        kind: ValueKind::Input,
        index: seq,
    }))
}

/// What the machine makes of an input that will get no turn: its row goes, its receipt says why.
pub(super) fn withdrawn(
    view: &View<'_>,
    row: &TaskRow,
    input_id: &InputId,
    reason: Box<str>,
    now: Now,
) -> Result<Transition, Rejected> {
    let mut inbox = view.inbox.iter();
    let found = inbox.find(|(_, input)| input.input_id == *input_id);
    let Some((seq, input)) = found else {
        return Err(Rejected::NotFound);
    };
    // It is being worked on: taken back now, its caller would be told that it never was.
    if input.taken.is_some() && !cfg!(planted = "taken_input_withdrawn") {
        return Err(Rejected::conflict(row));
    }
    let mut next = changed(row, now);
    next.inputs_waiting -= 1;
    let mut writes = vec![Write::PopInput { seq: *seq }];
    writes.extend(forget_input(view, &input.payload, *seq));
    writes.push(Write::Receipt {
        input_id: input_id.clone(),
        receipt: Receipt::Withdrawn {
            reason: reason.clone(),
        },
        expires_at: forgotten_at(row, now),
    });
    let mut effects: Effects = smallvec![Effect::Withdrawn {
        input_id: input_id.clone(),
        reason,
    }];
    effects.extend(waiting(&next));
    let expect = super::change::by_others(row);
    Ok(Transition {
        writes,
        ..written(expect, next, EventKind::InputWithdrawn, effects)
    })
}
