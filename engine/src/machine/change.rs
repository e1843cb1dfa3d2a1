//! The parts every transition is made of: a changed row, a claim on it, whose word it is.

use super::answer::{Answer, Effect, Effects, Rejected, Transition};
use super::event::Claimant;
use super::view::Now;
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    Deadline, Etag, EventKind, Generation, Lease, Mark, Micros, State, TaskRow, WaitReason,
};
use std::sync::Arc;

/// The row with the etag and the time of this transition.
pub(super) fn changed(row: &TaskRow, now: Now) -> TaskRow {
    let mut next = row.clone();
    next.etag = now.etag;
    next.updated_at = now.at;
    next
}

/// The row claimed: from here on the handler may run.
pub(super) fn claimed(next: &mut TaskRow, claimant: Claimant, started_at: Micros, now: Now) {
    let mut lease = lease(claimant, now);
    if cfg!(planted = "generation_from_lease") {
        lease.generation = outlive_storage::row::Generation(next.generation.0.max(1));
    }
    // The deadline of a turn runs from its first claim over all attempts; a clock that was set back in between does not
    // give it more than a whole time-out.
    let whole = next.options.timeout_us;
    if whole != u64::MAX {
        let latest = now.times.after(next.time_left_us.take().unwrap_or(whole));
        let runs = next.deadline != Deadline::NEVER && !cfg!(planted = "crash_restarts_timeout");
        let late =
            now.times.left_us(next.deadline) > whole && !cfg!(planted = "timeout_not_clamped");
        if !runs || late {
            next.deadline = latest;
        }
    }
    next.generation = lease.generation;
    next.state = State::InProgress {
        lease,
        started_at,
        woken: false,
    };
}

/// The lease of a claim made now. On an exclusive store it does not expire: the file's lock stands for it.
fn lease(claimant: Claimant, now: Now) -> Lease {
    Lease {
        owner: claimant.owner,
        instance: claimant.instance,
        generation: now.generation,
        expires_at: Micros::NEVER,
    }
}

/// A turn that has not run yet: claimed at once when there is somebody to run it, else due.
pub(super) fn enter_or_wait(
    next: &mut TaskRow,
    claimant: Option<Claimant>,
    due: (Deadline, WaitReason),
    now: Now,
) -> Effect {
    let (due_at, wait) = due;
    let Some(claimant) = claimant.filter(|_| now.times.reached(due_at)) else {
        next.state = State::Pending { due_at, wait };
        return Effect::Due {
            def: next.def,
            at: due_at.at,
        };
    };
    next.attempt += 1;
    claimed(next, claimant, now.at, now);
    // No input waits for a turn that begins like this.
    Effect::Enter {
        generation: next.generation,
        steered: false,
    }
}

/// Due now, waiting for a slot.
pub(super) fn at_once(now: Now) -> (Deadline, WaitReason) {
    (Deadline::at_once(now.at), WaitReason::Slot)
}

/// A transition that writes nothing but the row, which gets its line in the timeline.
pub(super) fn written(
    expect: Expect,
    mut next: TaskRow,
    what: EventKind,
    effects: Effects,
) -> Transition {
    if next.timeline.len() >= TaskRow::MARKS_MAX && !cfg!(planted = "timeline_unbounded") {
        next.timeline.forget_oldest();
    }
    next.timeline.push(Mark {
        at: next.updated_at,
        turn: next.turn,
        what,
    });
    Transition {
        expect,
        row: Some(Arc::new(next)),
        writes: Vec::new(),
        answer: Answer::Done,
        effects,
        what: Some(what),
    }
}

/// What a running turn writes names its generation.
pub(super) fn by_worker(row: &TaskRow) -> Expect {
    if cfg!(planted = "end_names_etag") {
        return Expect::Etag(row.etag);
    }
    Expect::Lease(row.generation)
}

/// What everybody else writes names the etag it was decided on.
pub(super) fn by_others(row: &TaskRow) -> Expect {
    Expect::Etag(row.etag)
}

/// The event was carried out before, or there is nothing to carry out: nothing is written.
pub(super) fn nothing(row: &TaskRow) -> Transition {
    Transition {
        expect: Expect::Etag(row.etag),
        row: None,
        writes: Vec::new(),
        answer: Answer::Done,
        effects: Effects::new(),
        what: None,
    }
}

/// What a running turn keeps beside its row: the row does not change.
pub(super) fn kept(row: &TaskRow, generation: Generation) -> Transition {
    let mut kept = nothing(row);
    if !cfg!(planted = "metadata_names_etag") {
        kept.expect = Expect::Lease(generation);
    }
    kept
}

/// What a running turn keeps beside its row, which stays as it is.
pub(super) fn keep(row: &TaskRow, generation: Generation) -> Result<Transition, Rejected> {
    held(row, generation)?;
    Ok(kept(row, generation))
}

/// What a worker writes counts only while its claim is the task's.
pub(super) fn held(row: &TaskRow, generation: Generation) -> Result<(), Rejected> {
    match &row.state {
        State::InProgress { lease, .. }
            if lease.generation == generation || cfg!(planted = "stale_end_accepted") =>
        {
            Ok(())
        }
        State::InProgress { .. }
        | State::Pending { .. }
        | State::Suspended { .. }
        | State::Completed { .. } => Err(Rejected::LeaseLost),
    }
}

/// Refuses what was decided on another version of the row.
pub(super) fn check_etag(row: &TaskRow, if_etag: Option<Etag>) -> Result<(), Rejected> {
    match if_etag {
        Some(etag) if etag != row.etag && !cfg!(planted = "if_etag_ignored") => {
            Err(Rejected::precondition(row))
        }
        Some(_) | None => Ok(()),
    }
}
