//! The next turn of a task: which input it has, and what of the turn before is kept.

use super::ask::withdraw;
use super::change::{changed, claimed, enter_or_wait, written};
use super::event::Claimant;
use super::family;
use super::finish::{forget_input, receipt_of_turn, turn_over};
use super::inbox::{answered, consume, interrupts, left, put_back};
use super::view::{Now, View};
use super::{Effect, Transition};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Deadline, EntryKind, EventKind, Guard, InputRow, Payload, PreviousInput, State, TaskRow,
    TurnResult, WaitReason,
};

/// The input of a turn that begins.
pub(super) struct Following {
    pub(super) seq: u64,
    pub(super) input_id: InputId,
    pub(super) digest: [u8; 16],
    pub(super) payload: Payload,
    /// Whether it came from the queue.
    pub(super) steered: bool,
}

/// Makes `following` the input of the turn that `next` begins; everything of the turn before that is its own goes.
/// The present input becomes the previous one, and the one before that is forgotten.
pub(super) fn begin(
    view: &View<'_>,
    row: &TaskRow,
    next: &mut TaskRow,
    following: Following,
) -> Vec<Write> {
    let mut writes = Vec::new();
    let forgotten = if cfg!(planted = "next_turn_removes_its_own_value") {
        forget_input(view, &following.payload, following.seq)
    } else {
        row.previous
            .as_ref()
            .filter(|previous| {
                previous.seq != row.input_seq && !cfg!(planted = "old_input_left_behind")
            })
            .and_then(|previous| forget_input(view, &previous.payload, previous.seq))
    };
    writes.extend(forgotten);
    writes.extend(super::steps::forget(row));
    next.previous = Some(PreviousInput {
        seq: row.input_seq,
        payload: row.input.clone(),
    });
    next.turn += 1;
    next.turns_total += 1;
    next.steps_of = next.turns_total;
    if !cfg!(planted = "next_turn_keeps_attempts") {
        next.attempt = 0;
    }
    next.crashes = 0;
    next.guard = Guard::CLEAR;
    next.last_failure = None;
    next.cancel = None;
    (next.deadline, next.time_left_us) = (Deadline::NEVER, None);
    next.entry = EntryKind::Resumed;
    next.steered = following.steered;
    next.input_id = following.input_id;
    next.input_seq = following.seq;
    next.input_digest = following.digest;
    next.input = following.payload;
    if next.last_input_id.as_ref() == Some(&next.input_id) {
        next.last_input_id = None;
    }
    writes
}

/// How the next turn comes to run.
pub(super) enum Runner {
    /// The worker that ended the turn before goes on with it.
    Worker(Claimant),
    /// It waits for a slot.
    Loop,
}

/// The turn is over; the end of this turn and the start of the next, or the wait for it, are one commit.
pub(super) fn go_on(
    view: &View<'_>,
    row: &TaskRow,
    expect: Expect,
    over: Over,
    runner: Runner,
    now: Now,
) -> Transition {
    let Over {
        result,
        wait_reason,
        what,
    } = over;
    let mut effects = answered(view, row, &result);
    let family_over = family::over(view, row, family::fate(&result), &mut effects);
    let mut writes = turn_over(view, row, result, now);
    writes.extend(family_over);
    let mut next = changed(row, now);
    next.has_children = cfg!(planted = "next_turn_inherits_children") && row.has_children;
    writes.extend(consume(view, row, &mut next, now));
    writes.extend(withdraw(row, &mut next));
    let following = left(view, row).next();
    let own = following.map(|(seq, _)| *seq);
    writes.extend(put_back(view, row, own));
    let what = match following {
        Some((seq, input)) if !cfg!(planted = "suspension_ignores_queue") => {
            writes.extend(draw(view, row, &mut next, (*seq, input)));
            effects.push(match runner {
                Runner::Worker(claimant) => {
                    next.attempt += 1;
                    let kept = next.generation;
                    claimed(&mut next, claimant, now.at, now);
                    if cfg!(planted = "next_turn_keeps_generation") {
                        keep_generation(&mut next, kept);
                    }
                    Effect::Enter {
                        generation: next.generation,
                        steered: interrupts(view, own),
                    }
                }
                Runner::Loop => enter_or_wait(&mut next, None, super::change::at_once(now), now),
            });
            EventKind::NextTurn
        }
        Some(_) | None => {
            suspend(&mut next, wait_reason, now);
            what
        }
    };
    if cfg!(planted = "answered_with_next_inputs_id")
        && let Some(Effect::Answered { input_id, .. }) = effects.first_mut()
    {
        *input_id = next.input_id.clone();
    }
    Transition {
        writes,
        ..written(expect, next, what, effects)
    }
}

/// The task waits for an input, with a clean record.
fn suspend(next: &mut TaskRow, reason: Box<str>, now: Now) {
    next.chained = true;
    next.last_failure = None;
    next.cancel = None;
    (next.deadline, next.time_left_us) = (Deadline::NEVER, None);
    next.guard = Guard::CLEAR;
    next.state = State::Suspended {
        since: now.at,
        wait: WaitReason::Input { reason },
    };
}

/// How a turn is over while its task goes on.
pub(super) struct Over {
    pub(super) result: TurnResult,
    /// What the task waits for when no input does.
    pub(super) wait_reason: Box<str>,
    /// The line in the log when no input waits.
    pub(super) what: EventKind,
}

/// The oldest waiting input becomes the turn's.
fn draw(
    view: &View<'_>,
    row: &TaskRow,
    next: &mut TaskRow,
    (seq, input): (u64, &InputRow),
) -> Vec<Write> {
    let following = Following {
        seq,
        input_id: input.input_id.clone(),
        digest: input.digest,
        payload: input.payload.clone(),
        steered: true,
    };
    let mut writes = Vec::new();
    // In the commit of the turn it becomes: between two there would be an input that waits and is worked.
    if !cfg!(planted = "drained_in_two_commits") {
        writes.push(Write::PopInput { seq });
    }
    writes.extend(begin(view, row, next, following));
    next.inputs_waiting = next.inputs_waiting.saturating_sub(1);
    writes.push(Write::Receipt {
        input_id: next.input_id.clone(),
        receipt: receipt_of_turn(next),
        expires_at: None,
    });
    writes
}

fn keep_generation(next: &mut TaskRow, kept: outlive_storage::row::Generation) {
    if let State::InProgress { lease, .. } = &mut next.state {
        lease.generation = kept;
        next.generation = kept;
    }
}
