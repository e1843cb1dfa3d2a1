//! Waits of a handler that take long: its turn leaves memory, and is entered again when what it waits for has come.
//!
//! The turn stays open. What a wait found out is put down as a step, so the handler, entered again from the top, comes to
//! the same call and is not held up there once more.

use super::answer::{Effect, Transition};
use super::ask::asked;
use super::change::{at_once, by_worker, written};
use super::event::{Wait, WaitFor};
use super::family::{ends_needed, for_children, has_come};
use super::steps::written_step;
use super::view::{Now, View};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    Deadline, EventKind, Place, State, StepRow, StepState, TaskRow, WaitReason,
};
use smallvec::smallvec;

/// The turn of `row`, put aside as `next`, waits for the first of `waits` to come. All is one commit: what is waited for,
/// and that it is.
pub(super) fn park(
    view: &View<'_>,
    row: &TaskRow,
    mut next: TaskRow,
    waits: Vec<Wait>,
    now: Now,
) -> Transition {
    let soonest = waits
        .iter()
        .min_by_key(|wait| now.times.left_us(until(wait)));
    let woken = matches!(row.state, State::InProgress { woken: true, .. });
    let come = woken || has_come(view, &waits);
    next.state = match soonest {
        Some(soonest) if !come || cfg!(planted = "wake_lost_before_park") => {
            waiting(&waits, soonest, now)
        }
        // It has come already, or may have.
        Some(_) | None => {
            let (due_at, wait) = at_once(now);
            State::Pending { due_at, wait }
        }
    };
    if row.deadline != Deadline::NEVER && !cfg!(planted = "wait_counts_against_timeout") {
        // A clock that was set back gives it no more than a whole one.
        let left = now.times.left_us(row.deadline);
        next.time_left_us = Some(left.min(row.options.timeout_us));
        next.deadline = Deadline::NEVER;
    }
    let due = match next.place() {
        Place::Due(due) if due != Deadline::NEVER => Effect::Due {
            def: row.def,
            at: due.at,
        },
        Place::Due(_) | Place::Running | Place::Ended(_) | Place::Kept => Effect::Idle,
    };
    let mut writes = Vec::new();
    for wait in waits {
        if let WaitFor::Answer { ask: Some(ask), .. } = wait.wait_for {
            writes.extend(asked(row, &mut next, (wait.key, ask), now));
        } else if let Some(step) = wait.step {
            writes.push(written_step(row, wait.key, Some(step), now));
        }
    }
    Transition {
        writes,
        ..written(by_worker(row), next, EventKind::Waits, smallvec![due])
    }
}

/// How a task stands whose handler waits: who waits for somebody else is suspended, although a time may end that, too.
fn waiting(waits: &[Wait], soonest: &Wait, now: Now) -> State {
    let asks = waits
        .iter()
        .filter(|wait| matches!(wait.wait_for, WaitFor::Answer { .. }));
    let due_at = until(soonest);
    match asks.map(|wait| &wait.key).min() {
        Some(key) => {
            let (step, until) = (key.clone(), due_at);
            let ended = ends_needed(waits).unwrap_or(u64::MAX);
            let wait = WaitReason::Answer { step, ended, until };
            State::Suspended {
                since: now.at,
                wait,
            }
        }
        None => for_children(waits, due_at, now).unwrap_or_else(|| {
            let step = soonest.key.clone();
            let wait = WaitReason::Sleeping { step };
            State::Pending { due_at, wait }
        }),
    }
}

fn until(wait: &Wait) -> Deadline {
    match wait.wait_for {
        WaitFor::Time { until } | WaitFor::Answer { until, .. } => until,
        WaitFor::Children { .. } => Deadline::NEVER,
    }
}

/// Something came that a waiting handler looks at: it is entered again, and a running one looks before it goes to wait.
pub(super) fn wake(next: &mut TaskRow, now: Now) -> Option<Effect> {
    let parked = match &mut next.state {
        State::InProgress { woken, .. } => {
            *woken = true;
            return Some(Effect::Woken);
        }
        State::Pending { wait, .. } => matches!(wait, WaitReason::Sleeping { .. }),
        State::Suspended { wait, .. } => wait.parked_until().is_some(),
        State::Completed { .. } => false,
    };
    if !parked {
        return None;
    }
    let (due_at, wait) = at_once(now);
    next.state = State::Pending { due_at, wait };
    Some(Effect::Due {
        def: next.def,
        at: now.at,
    })
}

/// The sleep whose time has come with this claim is over for good, whatever a clock says later.
pub(super) fn slept(row: &TaskRow, now: Now) -> Option<Write> {
    let State::Pending {
        wait: WaitReason::Sleeping { step },
        ..
    } = &row.state
    else {
        return None;
    };
    let over = StepRow {
        state: StepState::Done,
        attempt: 0,
        at: now.at,
        type_name: "()".into(),
        value: b"null".to_vec(),
    };
    let write = written_step(row, step.clone(), Some(Box::new(over)), now);
    (!cfg!(planted = "sleep_not_over_for_good")).then_some(write)
}
