//! A caller's input: it starts a task, attaches to what an earlier call began, resumes, is queued, or is refused.

use super::answer::{Accepted, Answer, Cause, Effect, Effects, Rejected, Transition};
use super::change::{at_once, by_others, changed, check_etag, enter_or_wait, nothing, written};
use super::event::{Named, NewInput, OnConflict};
use super::family::{check_parent, taken_over};
use super::finish::run_over;
use super::inbox::waiting;
use super::next_turn::{Following, begin};
use super::park::wake;
use super::view::{Now, View};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Deadline, Delivery, EntryKind, EventKind, Generation, Guard, InputRow, Receipt, State, TaskRow,
    Timeline, WaitReason,
};
use smallvec::smallvec;
use std::sync::Arc;

/// No task has the id: it begins, claimed in the same commit when a slot is free.
pub(super) fn new_task(view: &View<'_>, input: NewInput, now: Now) -> Result<Transition, Rejected> {
    debug_assert!(view.row.is_none());
    if input.after.is_some() || input.if_etag.is_some() {
        return Err(Rejected::PreconditionFailed {
            etag: None,
            last_input_id: None,
        });
    }
    if let Some(parent) = &input.parent {
        check_parent(view, parent)?;
    }
    let Some(facts) = input.facts else {
        return Err(Rejected::CannotCreate);
    };
    let due = due(input.start_at, now);
    let mut row = TaskRow {
        etag: now.etag,
        generation: Generation(0),
        id: input.id,
        def: input.def,
        priority: input.priority,
        run: 1,
        turn: 1,
        turns_total: 1,
        attempt: 0,
        crashes: 0,
        guard: Guard::CLEAR,
        entry: EntryKind::Fresh,
        steered: false,
        chained: false,
        input_id: input.input_id.clone(),
        input_seq: 0,
        inputs_accepted: 1,
        inputs_waiting: 0,
        inputs_taken: 0,
        last_input_id: None,
        input_digest: input.digest,
        input: input.payload,
        steps_of: 1,
        previous: None,
        options: input.options,
        cancel: None,
        deadline: Deadline::NEVER,
        time_left_us: None,
        asked: false,
        parent: input.parent.map(|parent| parent.row),
        has_children: false,
        last_failure: None,
        facts,
        created_at: now.at,
        updated_at: now.at,
        timeline: Timeline::default(),
        state: State::Pending {
            due_at: due.0,
            wait: due.1.clone(),
        },
    };
    let effect = enter_or_wait(&mut row, input.claimant, due, now);
    let answer = accepted(Accepted::Started, input.input_id, row.run);
    Ok(Transition {
        answer,
        ..written(Expect::Absent, row, EventKind::Started, smallvec![effect])
    })
}

/// When a run that begins now is due. However far away its moment is, it is one: the moments after the last real one
/// stand for waits that no time ends.
fn due(start_at: Option<Deadline>, now: Now) -> (Deadline, WaitReason) {
    match start_at {
        Some(at) if !now.times.reached(at) && !cfg!(planted = "delay_ignored") => {
            (at.real(), WaitReason::Delayed)
        }
        Some(_) | None => at_once(now),
    }
}

/// The id has a task: the decision table of `start`.
pub(super) fn further_input(
    view: &View<'_>,
    row: &TaskRow,
    input: NewInput,
    now: Now,
) -> Result<Transition, Rejected> {
    // A task of a former name is one of the definition that has the name now.
    let renamed = view
        .limits
        .present
        .filter(|_| !cfg!(planted = "renamed_task_refused"));
    if row.def != input.def && renamed != Some(input.def) {
        return Err(Rejected::OtherDefinition { def: row.def });
    }
    let has_receipt = view.receipt.is_some() || row.input_id == input.input_id;
    if input.input_id_given && has_receipt && !cfg!(planted = "receipt_ignored") {
        let attached = attach_by_id(view, row, input.input_id);
        // Its turn starts it once more: from here on it is this turn's child, whoever's it was.
        let parent = input
            .parent
            .filter(|_| !cfg!(planted = "child_found_stays_astray"));
        return match parent {
            None => Ok(attached),
            Some(parent) => Ok(Transition {
                answer: attached.answer,
                ..taken_over(view, row, *parent, now)?
            }),
        };
    }
    if input.parent.is_some() && !cfg!(planted = "child_joins_another_task") {
        return Err(Rejected::conflict(row));
    }
    check_preconditions(row, &input)?;
    match &row.state {
        State::Suspended {
            wait: WaitReason::Input { .. },
            ..
        } if !cfg!(planted = "suspended_input_queued") => Ok(resume(view, row, input, now)),
        // A wait for anything else is never broken by an input. One that its handler asked for is a part of the turn.
        State::Suspended { wait, .. } if wait.parked_until().is_none() => {
            queue(view, row, input, now)
        }
        State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => {
            if repeats_first_input(view, row, &input) {
                return Ok(attach(row, current(row)));
            }
            queue(view, row, input, now)
        }
        State::Completed { outcome, at, .. } => match input.on_conflict {
            OnConflict::Restart => {
                let history = run_over(view, row, outcome, *at, now);
                Ok(restart(view, row, input, history, now))
            }
            OnConflict::Attach => Ok(attach(row, current(row))),
            OnConflict::Refuse if cfg!(planted = "terminal_overwritten") => {
                Ok(restart(view, row, input, Vec::new(), now))
            }
            OnConflict::Refuse if cfg!(planted = "pushed_into_ended") => {
                queue(view, row, input, now)
            }
            OnConflict::Refuse => Err(Rejected::conflict(row)),
        },
    }
}

fn check_preconditions(row: &TaskRow, input: &NewInput) -> Result<(), Rejected> {
    check_etag(row, input.if_etag)?;
    let last = row.last_input_id.as_ref().unwrap_or(&row.input_id);
    match &input.after {
        Some(after) if after != last && !cfg!(planted = "after_ignored") => {
            Err(Rejected::precondition(row))
        }
        Some(_) | None => Ok(()),
    }
}

/// A restarted program calls `start` again with what it had given before the crash.
fn repeats_first_input(view: &View<'_>, row: &TaskRow, input: &NewInput) -> bool {
    let same_bytes = row.input_digest == input.digest || cfg!(planted = "attach_ignores_digest");
    let steerable =
        view.limits.steerable_max.is_some() && !cfg!(planted = "steered_input_attaches");
    let first_turn = row.turn == 1 || cfg!(planted = "later_turn_attaches");
    let own_id = input.input_id_given && !cfg!(planted = "other_input_id_attaches");
    !steerable && first_turn && !own_id && same_bytes
}

fn accepted(how: Accepted, input_id: InputId, run: u32) -> Answer {
    let named = Named { input_id, run };
    Answer::Accepted { how, named }
}

/// What the row's turn works or worked on.
fn current(row: &TaskRow) -> Named {
    Named {
        input_id: row.input_id.clone(),
        run: row.run,
    }
}

/// The call answers for an input that was accepted before: in its latest run, when it had several.
pub(super) fn attach_by_id(view: &View<'_>, row: &TaskRow, input_id: InputId) -> Transition {
    let run = match view.receipt {
        Some(Receipt::Turn { run, .. }) if row.input_id != input_id => *run,
        Some(_) | None => row.run,
    };
    attach(row, Named { input_id, run })
}

fn attach(row: &TaskRow, named: Named) -> Transition {
    let writes_row = cfg!(planted = "attach_writes");
    let how = Accepted::Attached;
    Transition {
        row: writes_row.then(|| Arc::new(row.clone())),
        answer: Answer::Accepted { how, named },
        ..nothing(row)
    }
}

/// A suspended task goes on with the input, in one commit.
fn resume(view: &View<'_>, row: &TaskRow, input: NewInput, now: Now) -> Transition {
    let answer = accepted(Accepted::Resumed, input.input_id.clone(), row.run);
    let mut next = changed(row, now);
    let following = Following {
        seq: next.inputs_accepted,
        input_id: input.input_id,
        digest: input.digest,
        payload: input.payload,
        steered: false,
    };
    next.inputs_accepted += 1;
    next.last_input_id = None;
    let writes = begin(view, row, &mut next, following);
    let effect = enter_or_wait(&mut next, input.claimant, at_once(now), now);
    Transition {
        writes,
        answer,
        ..written(by_others(row), next, EventKind::Resumed, smallvec![effect])
    }
}

/// An ended task begins a further run with the input; the old outcome is among `history`.
fn restart(
    view: &View<'_>,
    row: &TaskRow,
    input: NewInput,
    mut history: Vec<Write>,
    now: Now,
) -> Transition {
    let answer = accepted(Accepted::Restarted, input.input_id.clone(), row.run + 1);
    let mut next = changed(row, now);
    let following = Following {
        seq: next.inputs_accepted,
        input_id: input.input_id,
        digest: input.digest,
        payload: input.payload,
        steered: false,
    };
    next.inputs_accepted += 1;
    next.last_input_id = None;
    history.extend(begin(view, row, &mut next, following));
    if let Some(previous) = next.previous.take() {
        history.extend(super::finish::forget_input(
            view,
            &previous.payload,
            previous.seq,
        ));
    }
    next.run += 1;
    next.turn = 1;
    next.chained = next.chained && cfg!(planted = "restart_keeps_chain");
    next.entry = EntryKind::Fresh;
    // Turns are found by their slots, and slots do not move while one is kept.
    let keep_turns = row.options.keep_turns;
    next.options = input.options;
    if next.options.keep_turns != keep_turns {
        Arc::make_mut(&mut next.options).keep_turns = keep_turns;
    }
    next.priority = input.priority;
    let effect = enter_or_wait(&mut next, input.claimant, due(input.start_at, now), now);
    Transition {
        writes: history,
        answer,
        ..written(
            by_others(row),
            next,
            EventKind::Restarted,
            smallvec![effect],
        )
    }
}

fn queue(
    view: &View<'_>,
    row: &TaskRow,
    input: NewInput,
    now: Now,
) -> Result<Transition, Rejected> {
    let Some(max) = view.limits.steerable_max else {
        if input.on_conflict == OnConflict::Attach {
            return Ok(attach(row, current(row)));
        }
        return Err(Rejected::conflict(row));
    };
    if row.inputs_waiting >= max && !cfg!(planted = "queue_unbounded") {
        return Err(Rejected::QueueFull { max });
    }
    let seq = row.inputs_accepted;
    let mut next = changed(row, now);
    next.inputs_accepted += 1;
    next.inputs_waiting += 1;
    next.last_input_id = Some(input.input_id.clone());
    let queued = InputRow {
        input_id: input.input_id.clone(),
        digest: input.digest,
        payload: input.payload,
        accepted_at: now.at,
        delivery: input.delivery,
        taken: None,
    };
    // The count first: whoever wakes up by the signal sees it.
    let mut effects: Effects = waiting(&next).into_iter().collect();
    let interrupts =
        input.delivery == Delivery::Interrupt || cfg!(planted = "every_delivery_signals");
    if interrupts {
        if !effects.is_empty() {
            effects.push(Effect::Signal(Cause::Steered));
        }
        if !cfg!(planted = "parked_turn_not_told") {
            effects.extend(wake(&mut next, now));
        }
    }
    let writes = vec![
        Write::PushInput { seq, input: queued },
        Write::Receipt {
            input_id: input.input_id.clone(),
            receipt: Receipt::Queued { seq },
            expires_at: None,
        },
    ];
    Ok(Transition {
        writes,
        answer: accepted(Accepted::Queued, input.input_id, row.run),
        ..written(by_others(row), next, EventKind::InputQueued, effects)
    })
}
