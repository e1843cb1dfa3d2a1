//! What comes after an end or a wait: another run, a resumption, removal.

use super::answer::{Accepted, Answer, Effect, Effects, Rejected, Transition};
use super::change::{at_once, by_others, changed, check_etag, enter_or_wait, nothing, written};
use super::event::{Claimant, Named};
use super::family;
use super::finish::{run_over, turn_is_open};
use super::inbox::answered;
use super::next_turn::{Following, begin};
use super::start::attach_by_id;
use super::turn::released;
use super::view::{Now, View};
use outlive_storage::commit::Write;
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Deadline, EntryKind, Etag, EventKind, Fate, Guard, Micros, Outcome, Receipt, State, TaskRow,
    TurnResult, WaitReason,
};
use smallvec::smallvec;
use std::sync::Arc;

/// A task that waits for an input goes on without one: with the bytes of the last, under an id of their own.
pub(super) fn resume(
    view: &View<'_>,
    row: &TaskRow,
    (input_id, if_etag, claimant): (InputId, Option<Etag>, Option<Claimant>),
    now: Now,
) -> Result<Transition, Rejected> {
    let known = view.receipt.is_some() || row.input_id == input_id;
    if known && !cfg!(planted = "resumed_twice_by_one_id") {
        return Ok(attach_by_id(view, row, input_id));
    }
    check_etag(row, if_etag)?;
    let State::Suspended {
        wait: WaitReason::Input { .. },
        ..
    } = row.state
    else {
        return Err(Rejected::conflict(row));
    };
    let mut next = changed(row, now);
    let following = Following {
        seq: row.input_seq,
        input_id: input_id.clone(),
        digest: row.input_digest,
        payload: row.input.clone(),
        steered: false,
    };
    next.inputs_accepted += 1;
    next.last_input_id = None;
    let writes = begin(view, row, &mut next, following);
    let effect = enter_or_wait(&mut next, claimant, at_once(now), now);
    Ok(Transition {
        writes,
        answer: Answer::Accepted {
            how: Accepted::Resumed,
            named: Named {
                input_id,
                run: row.run,
            },
        },
        ..written(by_others(row), next, EventKind::Resumed, smallvec![effect])
    })
}

/// A further run of a task that did not succeed, with the same input; or the release of a parked turn.
pub(super) fn retry(
    view: &View<'_>,
    row: &TaskRow,
    (from_start, if_etag, claimant): (bool, Option<Etag>, Option<Claimant>),
    now: Now,
) -> Result<Transition, Rejected> {
    check_etag(row, if_etag)?;
    let attached = |transition: Transition| {
        let run = transition.row.as_ref().map_or(row.run, |next| next.run);
        let input_id = row.input_id.clone();
        Ok(Transition {
            answer: Answer::Accepted {
                how: Accepted::Restarted,
                named: Named { input_id, run },
            },
            ..transition
        })
    };
    match &row.state {
        State::Completed {
            outcome: Outcome::Succeeded(_),
            ..
        } if !cfg!(planted = "success_retried") => Err(Rejected::conflict(row)),
        State::Completed { outcome, at, .. } => {
            let mut writes = run_over(view, row, outcome, *at, now);
            let mut further = another_run(row, claimant, now);
            if from_start && let Some(next) = &mut further.row {
                Arc::make_mut(next).steps_of = next.turns_total;
                writes.extend(super::steps::forget(row));
            }
            attached(Transition { writes, ..further })
        }
        State::Suspended {
            wait:
                WaitReason::Quarantined { .. }
                | WaitReason::Undecodable { .. }
                | WaitReason::DuplicateStep { .. },
            ..
        }
        | State::Pending {
            wait: WaitReason::Isolated { .. },
            ..
        } => {
            // A turn that goes on keeps its steps: to be without them is for another run.
            if from_start && !cfg!(planted = "from_start_ignored") {
                return Err(Rejected::conflict(row));
            }
            attached(released(row, EventKind::Released, now))
        }
        State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => {
            Err(Rejected::conflict(row))
        }
    }
}

/// Causes and counters start clear; the input, its place in the chain and what was recorded stay.
fn another_run(row: &TaskRow, claimant: Option<Claimant>, now: Now) -> Transition {
    let mut next = changed(row, now);
    next.run += 1;
    next.turn = 1;
    next.turns_total += 1;
    if !cfg!(planted = "retry_keeps_attempts") {
        next.attempt = 0;
    }
    next.crashes = 0;
    next.guard = Guard::CLEAR;
    next.entry = EntryKind::Resumed;
    next.cancel = None;
    (next.deadline, next.time_left_us) = (Deadline::NEVER, None);
    next.last_failure = None;
    let effect = enter_or_wait(&mut next, claimant, at_once(now), now);
    written(
        by_others(row),
        next,
        EventKind::RetriedAfterEnd,
        smallvec![effect],
    )
}

/// Somebody removes the task. What runs is removed only by force, and its handler dropped.
pub(super) fn delete(
    view: &View<'_>,
    row: &TaskRow,
    force: bool,
    if_etag: Option<Etag>,
) -> Result<Transition, Rejected> {
    check_etag(row, if_etag)?;
    let runs = matches!(row.state, State::InProgress { .. });
    if runs && !force && !cfg!(planted = "running_task_deleted") {
        return Err(Rejected::conflict(row));
    }
    let mut effects = Effects::new();
    if runs {
        effects.push(Effect::Fence(None));
    }
    if turn_is_open(row) || cfg!(planted = "suspended_turn_answered_twice") {
        let outcome = Outcome::Cancelled {
            reason: "the task was deleted".into(),
            output: None,
        };
        effects.extend(answered(view, row, &TurnResult::Ended(outcome)));
    }
    effects.push(Effect::TaskEnded);
    let reason = "its parent was deleted".into();
    let over = family::over(view, row, Fate::Cancelled { reason }, &mut effects);
    let mut removal = removed(row, effects);
    removal.writes.extend(over);
    if !matches!(row.state, State::Completed { .. }) {
        removal.writes.extend(family::counted(row));
    }
    Ok(removal)
}

/// Retention removes the ended task; one that was restarted in between stays.
pub(super) fn expire(row: &TaskRow, now: Now) -> Result<Transition, Rejected> {
    match row.state {
        State::Completed { expires_at, .. } if expires_at <= now.times.wall => {
            Ok(removed(row, Effects::new()))
        }
        State::Completed { .. } if cfg!(planted = "retention_ignores_time") => {
            Ok(removed(row, Effects::new()))
        }
        State::Completed { .. }
        | State::Pending { .. }
        | State::InProgress { .. }
        | State::Suspended { .. } => Err(Rejected::wrong_state(row)),
    }
}

fn removed(row: &TaskRow, effects: Effects) -> Transition {
    Transition {
        writes: vec![Write::RemoveTask],
        effects,
        what: Some(EventKind::Removed),
        ..nothing(row)
    }
}

/// The time of a receipt has come: it goes, unless its turn is still kept whole.
pub(super) fn forget_input(
    view: &View<'_>,
    row: &TaskRow,
    (input_id, listed_at): (InputId, Micros),
    now: Now,
) -> Result<Transition, Rejected> {
    let kept_whole = match view.receipt {
        // The row still names it, whatever its receipt says: a task of one input is asked without it.
        _ if row.input_id == input_id && !cfg!(planted = "latest_receipt_forgotten") => true,
        Some(Receipt::Turn { total, .. }) => {
            let kept = u64::from(row.options.keep_turns.max(1));
            total.saturating_add(kept) > row.turns_total
        }
        Some(Receipt::Queued { .. }) => true,
        Some(Receipt::Withdrawn { .. } | Receipt::TaskEnded) | None => false,
        // INVARIANT: this crate and the storage crate are released together.
        Some(other) => unreachable!("a receipt this version does not know: {other:?}"),
    };
    let kept_on_us = if cfg!(planted = "receipts_rewritten_each_minute") {
        KEPT_ON_US / 60
    } else {
        KEPT_ON_US
    };
    let write = if kept_whole && !cfg!(planted = "young_receipts_forgotten") {
        Write::KeepReceipt {
            input_id,
            listed_at,
            until: now.at.plus(row.options.keep_receipts_us().max(kept_on_us)),
        }
    } else {
        Write::RemoveReceipt {
            input_id,
            listed_at,
        }
    };
    Ok(Transition {
        writes: vec![write],
        ..nothing(row)
    })
}

/// A receipt that stays is looked at again no sooner than after an hour, whatever its task's retention: each look is a
/// write, and a living chain has as many such receipts as it keeps turns.
pub(super) const KEPT_ON_US: u64 = 3_600_000_000;
