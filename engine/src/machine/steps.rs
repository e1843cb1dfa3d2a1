//! Recorded steps: what a turn puts down, and what somebody says of one that was begun and not recorded.

use super::answer::{Effects, Rejected, Transition};
use super::change::{by_others, by_worker, changed, check_etag, held, kept, written};
use super::event::Resolution;
use super::finish::complete;
use super::turn::released;
use super::view::{Now, View};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    Etag, EventKind, Failure, Generation, Guard, Outcome, State, StepRow, StepState, TaskRow,
    WaitReason,
};

/// A step is put down beside the row, which stays as it is: unless its turn is suspected of killing its process, for
/// which a recorded step is the proof of the contrary.
pub(super) fn record(
    row: &TaskRow,
    generation: Generation,
    (key, step): (Box<str>, Option<Box<StepRow>>),
    now: Now,
) -> Result<Transition, Rejected> {
    held(row, generation)?;
    let progress = step
        .as_deref()
        .is_some_and(|step| step.state == StepState::Done);
    let write = written_step(row, key, step, now);
    if row.guard == Guard::CLEAR || !progress || cfg!(planted = "step_is_no_progress") {
        return Ok(Transition {
            writes: vec![write],
            ..kept(row, generation)
        });
    }
    let mut next = changed(row, now);
    next.guard = Guard::CLEAR;
    Ok(Transition {
        writes: vec![write],
        ..written(by_worker(row), next, EventKind::Acquitted, Effects::new())
    })
}

pub(super) fn written_step(
    row: &TaskRow,
    key: Box<str>,
    step: Option<Box<StepRow>>,
    now: Now,
) -> Write {
    let turn = row.steps_of;
    match step {
        None => Write::RemoveStep { turn, key },
        Some(mut step) => {
            (step.at, step.attempt) = (now.at, row.attempt);
            Write::Step { turn, key, step }
        }
    }
}

/// The steps of the turn before are nobody's any more.
pub(super) fn forget(row: &TaskRow) -> Option<Write> {
    let turn = row.steps_of;
    (!cfg!(planted = "old_steps_left_behind")).then_some(Write::ForgetSteps { turn })
}

/// Somebody says what became of the step the task waits for.
pub(super) fn resolve(
    view: &View<'_>,
    row: &TaskRow,
    (key, resolution, if_etag): (Box<str>, Resolution, Option<Etag>),
    now: Now,
) -> Result<Transition, Rejected> {
    check_etag(row, if_etag)?;
    let waits = match &row.state {
        State::Suspended {
            wait: WaitReason::UnknownOutcome { step },
            ..
        } => *step == key || cfg!(planted = "any_step_resolved"),
        State::Suspended { .. }
        | State::Pending { .. }
        | State::InProgress { .. }
        | State::Completed { .. } => false,
    };
    if !waits {
        return Err(Rejected::conflict(row));
    }
    let step = match resolution {
        Resolution::Done(step) => Some(step),
        Resolution::NotDone => None,
        Resolution::Failed(failure) => {
            let failure = Failure {
                attempts: row.attempt,
                ..failure
            };
            let outcome = Outcome::Failed(failure);
            return Ok(complete(view, row, by_others(row), outcome, now));
        }
    };
    let write = written_step(row, key, step, now);
    let mut transition = released(row, EventKind::Resolved, now);
    transition.writes.push(write);
    Ok(transition)
}
