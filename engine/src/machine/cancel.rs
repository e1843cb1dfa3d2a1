//! Ends from outside: cancel, terminate, and what became overdue.

use super::answer::{Cause, Effect, Rejected, Transition};
use super::change::{by_others, by_worker, changed, check_etag, held, nothing, written};
use super::end::time_out;
use super::event::{Aim, Named, Order, Overdue};
use super::finish::{complete, turn_is_open, withdrawn};
use super::next_turn::{Over, Runner, go_on};
use super::view::{Now, View};
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    CancelRow, CancelScope, EventKind, Generation, Outcome, Receipt, State, TaskRow, TurnResult,
};
use smallvec::smallvec;
use std::sync::Arc;

/// What an order comes to on this task.
enum Target {
    /// The whole task.
    Task,
    /// The open turn of a task that goes on without it.
    Turn,
    /// An input that still waits.
    Queued,
    /// It was taken back before.
    Withdrawn,
}

/// Somebody asks for the end: at once where no handler runs, else the handler is told.
pub(super) fn cancel(
    view: &View<'_>,
    row: &TaskRow,
    order: Order,
    now: Now,
) -> Result<Transition, Rejected> {
    check_etag(row, order.if_etag)?;
    let scope = match target(view, row, &order.aim)? {
        Target::Withdrawn => return Ok(nothing(row)),
        Target::Queued => return withdraw(view, row, order, now),
        Target::Task => CancelScope::Task,
        Target::Turn => CancelScope::Turn,
    };
    let cancel = CancelRow {
        scope,
        reason: order.reason,
        at: now.at,
    };
    match &row.state {
        State::Completed { .. } => Err(Rejected::conflict(row)),
        State::InProgress { lease, .. }
            if lease.instance == order.instance || cfg!(planted = "dead_turn_awaits_recovery") =>
        {
            Ok(record(row, cancel, now))
        }
        // Nobody runs it: it waits, or its process is gone and it was not entered again yet.
        State::Pending { .. } | State::Suspended { .. } | State::InProgress { .. } => {
            Ok(cancelled_turn(view, row, by_others(row), cancel, now))
        }
    }
}

/// The cancel is on record before anybody acts on it; the first reason stays.
fn record(row: &TaskRow, cancel: CancelRow, now: Now) -> Transition {
    let known = row.cancel.as_ref();
    let covers =
        |known: &CancelRow| known.scope == CancelScope::Task || known.scope == cancel.scope;
    if known.is_some_and(covers) && !cfg!(planted = "later_reason_wins") {
        return nothing(row);
    }
    let mut next = changed(row, now);
    let reason = cancel.reason.clone();
    if !cfg!(planted = "cancel_not_durable") {
        next.cancel = Some(cancel);
    }
    let signal = Effect::Signal(Cause::CancelRequested { reason });
    written(
        by_others(row),
        next,
        EventKind::CancelRequested,
        smallvec![signal],
    )
}

fn withdraw(
    view: &View<'_>,
    row: &TaskRow,
    order: Order,
    now: Now,
) -> Result<Transition, Rejected> {
    match &order.aim {
        Aim::Input(Named { input_id, .. }) | Aim::Queued(input_id) => {
            withdrawn(view, row, input_id, order.reason, now)
        }
        Aim::Task => Err(Rejected::NotFound),
    }
}

/// The turn ends as cancelled, and with it the task unless the cancel was for the turn alone.
pub(super) fn cancelled_turn(
    view: &View<'_>,
    row: &TaskRow,
    expect: Expect,
    cancel: CancelRow,
    now: Now,
) -> Transition {
    let CancelRow { scope, reason, .. } = cancel;
    let outcome = Outcome::Cancelled {
        reason: reason.clone(),
        output: None,
    };
    match scope {
        CancelScope::Task => complete(view, row, expect, outcome, now),
        CancelScope::Turn => {
            let over = Over {
                result: TurnResult::Ended(outcome),
                wait_reason: reason,
                what: EventKind::TurnCancelled,
            };
            go_on(view, row, expect, over, Runner::Loop, now)
        }
    }
}

/// Somebody stops the task without its handler: whatever still runs is fenced off in this commit.
pub(super) fn terminate(
    view: &View<'_>,
    row: &TaskRow,
    order: Order,
    now: Now,
) -> Result<Transition, Rejected> {
    check_etag(row, order.if_etag)?;
    let scope = match target(view, row, &order.aim)? {
        Target::Withdrawn => return Ok(nothing(row)),
        Target::Queued => return withdraw(view, row, order, now),
        Target::Turn if !cfg!(planted = "handle_terminates_task") => CancelScope::Turn,
        Target::Turn | Target::Task => CancelScope::Task,
    };
    if let State::Completed { .. } = row.state {
        return Err(Rejected::conflict(row));
    }
    let wait_reason = order.reason.clone();
    let outcome = Outcome::Terminated {
        reason: order.reason,
        timed_out: false,
    };
    let expect = by_others(row);
    let transition = match scope {
        CancelScope::Task => complete(view, row, expect, outcome, now),
        CancelScope::Turn => {
            let over = Over {
                result: TurnResult::Ended(outcome),
                wait_reason,
                what: EventKind::TurnTerminated,
            };
            go_on(view, row, expect, over, Runner::Loop, now)
        }
    };
    Ok(fenced(row, transition, None, now))
}

/// A turn did not end in the time it had: it is fenced off, then dropped.
pub(super) fn stop(
    view: &View<'_>,
    row: &TaskRow,
    (generation, why): (Generation, Overdue),
    now: Now,
) -> Result<Transition, Rejected> {
    held(row, generation)?;
    let transition = match (why, &row.cancel) {
        (Overdue::TimedOut, _)
            if !now.times.reached(row.deadline) && !cfg!(planted = "stopped_early") =>
        {
            let due_at = row.deadline.at;
            return Err(Rejected::NotDue { due_at });
        }
        (Overdue::TimedOut, _) => complete(view, row, by_worker(row), time_out(row), now),
        (Overdue::CancelIgnored, Some(cancel)) => {
            cancelled_turn(view, row, by_worker(row), cancel.clone(), now)
        }
        (Overdue::CancelIgnored, None) => return Err(Rejected::wrong_state(row)),
    };
    Ok(fenced(row, transition, Some(why), now))
}

/// Takes a new generation, so that nothing the old claim still writes is accepted, and drops its handler first.
fn fenced(row: &TaskRow, mut transition: Transition, why: Option<Overdue>, now: Now) -> Transition {
    let State::InProgress { .. } = row.state else {
        return transition;
    };
    if let Some(next) = &mut transition.row
        && !cfg!(planted = "fence_keeps_generation")
    {
        Arc::make_mut(next).generation = now.generation;
    }
    transition.effects.insert(0, Effect::Fence(why));
    transition
}

/// What an order is for. A handle can never end the turn of another input.
fn target(view: &View<'_>, row: &TaskRow, aim: &Aim) -> Result<Target, Rejected> {
    let input_id = match aim {
        Aim::Task => return Ok(Target::Task),
        Aim::Input(named) if named.is_of(row) || cfg!(planted = "handle_cancels_successor") => {
            return open_turn(view, row);
        }
        Aim::Queued(_) if cfg!(planted = "withdrawal_ends_turn") => return open_turn(view, row),
        Aim::Input(named) => &named.input_id,
        Aim::Queued(input_id) => input_id,
    };
    // Its turn has begun, or a further run works the input once more.
    if row.input_id == *input_id {
        return Err(Rejected::conflict(row));
    }
    match view.receipt {
        None => Err(Rejected::NotFound),
        Some(Receipt::Queued { .. }) => Ok(Target::Queued),
        Some(Receipt::Withdrawn { .. }) => Ok(Target::Withdrawn),
        Some(Receipt::Turn { .. } | Receipt::TaskEnded) => Err(Rejected::conflict(row)),
        // INVARIANT: this crate and the storage crate are released together.
        Some(other) => unreachable!("a receipt this version does not know: {other:?}"),
    }
}

/// The turn of the row's input, if it is open: the whole task, where nothing comes after it.
fn open_turn(view: &View<'_>, row: &TaskRow) -> Result<Target, Rejected> {
    if !turn_is_open(row) {
        return Err(Rejected::conflict(row));
    }
    let goes_on = row.chained || view.limits.steerable_max.is_some();
    Ok(if goes_on { Target::Turn } else { Target::Task })
}
