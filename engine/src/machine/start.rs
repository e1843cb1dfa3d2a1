//! A caller's input: it starts a task, attaches to what an earlier call began, is queued, or is refused.

use super::answer::{Accepted, Answer, Effect, Rejected, Transition};
use super::event::NewInput;
use super::turn::lease;
use super::view::{Now, View};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{EntryKind, Generation, InputRow, Receipt, State, TaskRow, WaitReason};

/// No task has the id: it begins, claimed in the same commit when a slot is free.
pub(super) fn new_task(view: &View<'_>, input: NewInput, now: Now) -> Transition {
    let claimed = input.claimant.is_some();
    let (state, effect) = match input.claimant {
        Some(claimant) => {
            let lease = lease(claimant, now);
            (
                State::InProgress {
                    lease,
                    started_at: now.at,
                },
                Effect::Enter(now.generation),
            )
        }
        None => (
            State::Pending {
                due_at: now.at,
                wait: WaitReason::Slot,
            },
            Effect::Due {
                def: input.def,
                at: now.at,
            },
        ),
    };
    let row = TaskRow {
        etag: now.etag,
        generation: if claimed {
            now.generation
        } else {
            Generation(0)
        },
        id: input.id,
        def: input.def,
        priority: input.priority,
        run: 1,
        turn: 1,
        attempt: u32::from(claimed),
        crashes: 0,
        entry: EntryKind::Fresh,
        input_id: input.input_id.clone(),
        input_seq: 0,
        inputs_accepted: 1,
        input_digest: input.digest,
        input: input.payload,
        retry: input.retry,
        keep_us: input.keep_us,
        last_failure: None,
        owner: input.owner,
        created_at: now.at,
        updated_at: now.at,
        state,
    };
    debug_assert!(view.row.is_none());
    Transition {
        expect: Expect::Absent,
        row: Some(Box::new(row)),
        writes: Vec::new(),
        answer: Answer::Accepted {
            how: Accepted::Started,
            input_id: input.input_id,
        },
        effects: vec![effect],
    }
}

/// The id has a task: the decision table of `start`.
pub(super) fn further_input(
    view: &View<'_>,
    row: &TaskRow,
    input: Box<NewInput>,
    now: Now,
) -> Result<Transition, Rejected> {
    if row.def != input.def {
        return Err(Rejected::OtherDefinition { def: row.def });
    }
    let has_receipt = view.receipt.is_some() || row.input_id == input.input_id;
    if input.input_id_given && has_receipt && !cfg!(planted = "receipt_ignored") {
        return Ok(attach(row, input.input_id));
    }
    match &row.state {
        State::Pending { .. } | State::InProgress { .. } => {
            if repeats_first_input(view, row, &input) {
                return Ok(attach(row, row.input_id.clone()));
            }
            queue(view, row, *input, now)
        }
        State::Suspended { .. } => queue(view, row, *input, now),
        State::Completed { .. } => {
            if cfg!(planted = "terminal_overwritten") {
                let mut transition = new_task(&View { row: None, ..*view }, *input, now);
                transition.expect = Expect::Etag(row.etag);
                return Ok(transition);
            }
            Err(Rejected::conflict(row))
        }
    }
}

/// A restarted program calls `start` again with what it had given before the crash.
fn repeats_first_input(view: &View<'_>, row: &TaskRow, input: &NewInput) -> bool {
    let same_bytes = row.input_digest == input.digest || cfg!(planted = "attach_ignores_digest");
    view.limits.steerable_max.is_none() && row.turn == 1 && !input.input_id_given && same_bytes
}

fn attach(row: &TaskRow, input_id: outlive_storage::id::InputId) -> Transition {
    let writes_row = cfg!(planted = "attach_writes");
    Transition {
        expect: Expect::Etag(row.etag),
        row: writes_row.then(|| Box::new(row.clone())),
        writes: Vec::new(),
        answer: Answer::Accepted {
            how: Accepted::Attached,
            input_id,
        },
        effects: Vec::new(),
    }
}

fn queue(
    view: &View<'_>,
    row: &TaskRow,
    input: NewInput,
    now: Now,
) -> Result<Transition, Rejected> {
    let Some(max) = view.limits.steerable_max else {
        return Err(Rejected::conflict(row));
    };
    if view.inbox_len >= max && !cfg!(planted = "queue_unbounded") {
        return Err(Rejected::QueueFull { max });
    }
    let seq = row.inputs_accepted;
    let mut next = row.clone();
    next.etag = now.etag;
    next.updated_at = now.at;
    next.inputs_accepted += 1;
    let waiting = InputRow {
        input_id: input.input_id.clone(),
        digest: input.digest,
        payload: input.payload,
        accepted_at: now.at,
    };
    Ok(Transition {
        expect: Expect::Etag(row.etag),
        row: Some(Box::new(next)),
        writes: vec![
            Write::PushInput {
                seq,
                input: waiting,
            },
            Write::Receipt {
                input_id: input.input_id.clone(),
                receipt: Receipt::Queued { seq },
            },
        ],
        answer: Answer::Accepted {
            how: Accepted::Queued,
            input_id: input.input_id,
        },
        effects: Vec::new(),
    })
}
