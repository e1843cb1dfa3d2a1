//! What waits for a task, and what its open turn has taken of it: who gets an input, and what the end of a turn leaves.
//!
//! A taken input stays where it waited, with a mark. The mark is the record by which a later attempt of the turn finds
//! it again, and it names the claim that took it last: what the ending claim took ends with the turn, what only an
//! earlier attempt took waits again, at the place it always had.

use super::answer::{Answer, Effect, Effects, Handed, Rejected, Transition};
use super::change::{by_worker, changed, held, nothing, written};
use super::finish::{forget_input, forgotten_at};
use super::view::{Now, View};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    Delivery, EventKind, Generation, InputRow, Receipt, State, Taken, TaskRow, TurnResult,
};
use std::collections::VecDeque;

/// The running turn asks for the oldest input that waits. One that may not be taken is
/// never overtaken, and what an earlier attempt took is taken again before anything new is, so that every attempt sees
/// the same inputs in the same order.
pub(super) fn take(
    view: &View<'_>,
    row: &TaskRow,
    (generation, key): (Generation, Box<str>),
    now: Now,
) -> Result<Transition, Rejected> {
    held(row, generation)?;
    let mark = Taken {
        key,
        generation: row.generation,
    };
    let recorded = view.inbox.iter().find(|(_, input)| {
        let taken = input.taken.as_ref();
        taken.is_some_and(|taken| taken.key == mark.key) && !cfg!(planted = "take_not_recorded")
    });
    if let Some((seq, input)) = recorded {
        return Ok(again(row, (*seq, input), mark));
    }
    let Some((seq, input)) = takeable(view, row) else {
        return Ok(Transition {
            expect: by_worker(row),
            answer: Answer::Taken(None),
            ..nothing(row)
        });
    };
    if row.inputs_taken >= TaskRow::TAKEN_MAX && !cfg!(planted = "takes_unbounded") {
        let max = TaskRow::TAKEN_MAX;
        return Err(Rejected::TakenFull { max });
    }
    let mut next = changed(row, now);
    next.inputs_waiting -= 1;
    next.inputs_taken += 1;
    let effects = waiting(&next).into_iter().collect();
    Ok(Transition {
        writes: vec![marked(*seq, input, Some(mark))],
        answer: handed(*seq, input),
        ..written(by_worker(row), next, EventKind::InputTaken, effects)
    })
}

/// The oldest input that waits, if the turn may have it.
fn takeable<'a>(view: &View<'a>, row: &TaskRow) -> Option<&'a (u64, InputRow)> {
    let left_over = view.inbox.iter().any(|(_, input)| {
        let taken = input.taken.as_ref();
        taken.is_some_and(|taken| taken.generation != row.generation)
    });
    if left_over && !cfg!(planted = "take_overtakes_record") {
        return None;
    }
    let may = |input: &InputRow| input.delivery == Delivery::AtBoundary;
    let mut waiting = view.inbox.iter().filter(|(_, input)| input.taken.is_none());
    if cfg!(planted = "take_overtakes_queue") {
        return waiting.find(|(_, input)| may(input));
    }
    let oldest = waiting.next();
    oldest.filter(|(_, input)| may(input) || cfg!(planted = "take_ignores_delivery"))
}

/// What an attempt took is handed out again; a later claim puts its own mark on it.
fn again(row: &TaskRow, (seq, input): (u64, &InputRow), mark: Taken) -> Transition {
    let known = input.taken.as_ref() == Some(&mark) || cfg!(planted = "retake_keeps_old_mark");
    let remarked = (!known).then(|| marked(seq, input, Some(mark)));
    Transition {
        expect: by_worker(row),
        writes: remarked.into_iter().collect(),
        answer: handed(seq, input),
        ..nothing(row)
    }
}

fn handed(seq: u64, input: &InputRow) -> Answer {
    Answer::Taken(Some(Box::new(Handed {
        seq,
        input_id: input.input_id.clone(),
        payload: input.payload.clone(),
        accepted_at: input.accepted_at,
    })))
}

fn marked(seq: u64, input: &InputRow, taken: Option<Taken>) -> Write {
    let input = InputRow {
        taken,
        ..input.clone()
    };
    Write::PushInput { seq, input }
}

/// The running handler is told how many inputs wait, whenever that changes.
pub(super) fn waiting(next: &TaskRow) -> Option<Effect> {
    match &next.state {
        State::InProgress { .. } => Some(Effect::Waiting(next.inputs_waiting)),
        State::Pending { .. } | State::Suspended { .. } | State::Completed { .. } => None,
    }
}

/// Whether a turn that is entered begins with the signal set: an input waits that interrupts, beside the one at `own`,
/// which the turn begins with.
pub(super) fn interrupts(view: &View<'_>, own: Option<u64>) -> bool {
    let mut others = view.inbox.iter().filter(|(seq, _)| Some(*seq) != own);
    others.any(|(_, input)| {
        input.delivery == Delivery::Interrupt || cfg!(planted = "every_delivery_interrupts")
    })
}

/// Whether the input ends with the turn: the claim that ends has taken it.
fn ends_with(row: &TaskRow, input: &InputRow) -> bool {
    let taken = input.taken.as_ref();
    let by = |taken: &Taken| {
        taken.generation == row.generation || cfg!(planted = "left_over_take_consumed")
    };
    taken.is_some_and(by) && !cfg!(planted = "taken_input_worked_again")
}

/// The inputs that do not end with the turn, oldest first: the next turn begins with the first.
pub(super) fn left<'a>(
    view: &View<'a>,
    row: &TaskRow,
) -> impl Iterator<Item = &'a (u64, InputRow)> {
    let inbox = view.inbox.iter();
    inbox.filter(|(_, input)| !ends_with(row, input))
}

/// The inputs that end with the turn, oldest first.
fn ended<'a>(view: &View<'a>, row: &TaskRow) -> impl Iterator<Item = &'a (u64, InputRow)> {
    let inbox = view.inbox.iter();
    inbox.filter(|(_, input)| ends_with(row, input))
}

/// What the turn took is consumed: it is out of the queue, and its receipt says which turn had it.
pub(super) fn consume(view: &View<'_>, row: &TaskRow, next: &mut TaskRow, now: Now) -> Vec<Write> {
    let mut writes = Vec::new();
    for (seq, input) in ended(view, row) {
        writes.push(Write::PopInput { seq: *seq });
        if !cfg!(planted = "taken_value_left_behind") {
            writes.extend(forget_input(view, &input.payload, *seq));
        }
        writes.push(Write::Receipt {
            input_id: input.input_id.clone(),
            receipt: Receipt::Turn {
                run: row.run,
                turn: row.turn,
                total: row.turns_total,
                step: input.taken.as_ref().map(|taken| taken.key.clone()),
            },
            expires_at: forgotten_at(row, now),
        });
    }
    next.inputs_taken = 0;
    next.inputs_waiting = left(view, row).count() as u64;
    writes
}

/// What only an earlier attempt of the turn took waits again; the next turn begins with the one at `own`.
pub(super) fn put_back(view: &View<'_>, row: &TaskRow, own: Option<u64>) -> Vec<Write> {
    if cfg!(planted = "left_over_mark_stays") {
        return Vec::new();
    }
    left(view, row)
        .filter(|(seq, input)| input.taken.is_some() && Some(*seq) != own)
        .map(|(seq, input)| marked(*seq, input, None))
        .collect()
}

/// Who is told of the end of the turn: the caller of its input, and those of what it took.
pub(super) fn answered(view: &View<'_>, row: &TaskRow, result: &TurnResult) -> Effects {
    let taken = ended(view, row).map(|(_, input)| &input.input_id);
    let taken = taken.filter(|_| !cfg!(planted = "taken_input_unanswered"));
    let inputs = std::iter::once(&row.input_id).chain(taken);
    inputs
        .map(|input_id| Effect::Answered {
            input_id: input_id.clone(),
            turn: row.turn,
            result: result.clone(),
        })
        .collect()
}

/// The inbox as if nobody had taken the inputs under these keys: they were handed out, but the handler was not there to
/// get them.
pub(super) fn without_missed(
    inbox: &VecDeque<(u64, InputRow)>,
    missed: &[Box<str>],
) -> VecDeque<(u64, InputRow)> {
    let mut inbox = inbox.clone();
    for (_, input) in &mut inbox {
        if let Some(taken) = &mut input.taken
            && missed.contains(&taken.key)
            && !cfg!(planted = "missed_take_consumed")
        {
            taken.generation = Generation(0);
        }
    }
    inbox
}
