//! How a turn comes to run: claimed, recovered after a death, put back where nobody can run it.

use super::answer::{Answer, Effect, Effects, Recovered, Rejected, Transition};
use super::cancel::cancelled_turn;
use super::change::{at_once, by_others, changed, claimed, written};
use super::end::time_out;
use super::event::{Claimant, Parting, Verdict};
use super::finish::complete;
use super::guard::{Suspicion, died};
use super::inbox::interrupts;
use super::park::slept;
use super::view::{Now, View};
use outlive_storage::row::{
    CancelRow, Deadline, EntryKind, EventKind, Guard, Micros, State, TaskRow, WaitReason,
};
use smallvec::smallvec;

/// A due task gets a slot. The attempt is counted here, durably, before the handler runs.
pub(super) fn claim(
    view: &View<'_>,
    row: &TaskRow,
    claimant: Claimant,
    now: Now,
) -> Result<Transition, Rejected> {
    let due_at = match &row.state {
        // Only the poison guard enters these.
        State::Pending {
            wait: WaitReason::Isolated { .. },
            ..
        } => Deadline::ISOLATED,
        State::Pending { due_at, .. } => *due_at,
        State::Suspended { wait, .. } => {
            let until = wait.parked_until();
            until.ok_or_else(|| Rejected::wrong_state(row))?
        }
        State::InProgress { .. } | State::Completed { .. } => {
            return Err(Rejected::wrong_state(row));
        }
    };
    if !now.times.reached(due_at) && !cfg!(planted = "claim_before_due") {
        return Err(Rejected::NotDue { due_at: due_at.at });
    }
    if now.times.reached(row.deadline) && !cfg!(planted = "timeout_sleeps_in_back_off") {
        return Ok(complete(view, row, by_others(row), time_out(row), now));
    }
    let mut next = changed(row, now);
    // An attempt the process died in was counted when it was claimed; going on with it is not another one.
    if row.entry != EntryKind::Recovered || cfg!(planted = "recovered_claim_charged") {
        next.attempt += 1;
    }
    claimed(&mut next, claimant, now.at, now);
    let enter = smallvec![enter(view, &next)];
    Ok(Transition {
        writes: slept(row, now).into_iter().collect(),
        ..written(by_others(row), next, EventKind::Claimed, enter)
    })
}

/// The handler of a claimed turn is entered, and told at once what interrupts it.
pub(super) fn enter(view: &View<'_>, next: &TaskRow) -> Effect {
    Effect::Enter {
        generation: next.generation,
        steered: interrupts(view, None),
    }
}

/// The time-out of a turn has come while it waits to be claimed: it ends without a slot. Who is held back by the poison
/// guard waits without its doing, so its time does not run.
pub(super) fn lapse(view: &View<'_>, row: &TaskRow, now: Now) -> Result<Transition, Rejected> {
    match &row.state {
        State::Pending {
            wait: WaitReason::Isolated { .. },
            ..
        } => Err(Rejected::NotDue {
            due_at: Micros::ISOLATED,
        }),
        State::Pending { .. }
            if now.times.reached(row.deadline) || cfg!(planted = "lapsed_early") =>
        {
            Ok(complete(view, row, by_others(row), time_out(row), now))
        }
        State::Pending { .. } => Err(Rejected::NotDue {
            due_at: row.deadline.at,
        }),
        State::InProgress { .. } | State::Suspended { .. } | State::Completed { .. } => {
            Err(Rejected::wrong_state(row))
        }
    }
}

/// Who found the turn of a process that is gone, and what is known of its end.
pub(super) struct Finder {
    pub(super) claimant: Claimant,
    pub(super) parting: Parting,
    pub(super) verdict: Verdict,
}

impl From<(Claimant, Parting, Verdict)> for Finder {
    fn from((claimant, parting, verdict): (Claimant, Parting, Verdict)) -> Finder {
        Finder {
            claimant,
            parting,
            verdict,
        }
    }
}

/// The process that ran the turn is gone: it is entered again, without a charge to its retry budget, unless it was
/// cancelled or is suspected of having killed the process.
pub(super) fn recover(
    view: &View<'_>,
    row: &TaskRow,
    finder: Finder,
    now: Now,
) -> Result<Transition, Rejected> {
    let own = cfg!(planted = "recovery_adopts_own");
    let started_at = check_abandoned(row, &finder.claimant, own)?;
    if let Some(cancel) = open_cancel(row) {
        return Ok(Transition {
            answer: Answer::Recovered(Recovered::Cancelled),
            ..cancelled_turn(view, row, by_others(row), cancel, now)
        });
    }
    let mut next = recovered(row, finder.parting, now);
    let suspicion = died(row, &mut next, finder.parting, finder.verdict);
    let (fate, what, effects) = match held_back(&mut next, suspicion, now) {
        Some((fate, what)) => (fate, what, Effects::new()),
        None => {
            // A crash does not move the start of the attempt.
            let started_at = if cfg!(planted = "crash_moves_start") {
                now.at
            } else {
                started_at
            };
            claimed(&mut next, finder.claimant, started_at, now);
            let enter = smallvec![enter(view, &next)];
            (Recovered::Entered, EventKind::Recovered, enter)
        }
    };
    Ok(Transition {
        answer: Answer::Recovered(fate),
        ..written(by_others(row), next, what, effects)
    })
}

/// As [`recover`], but nobody here can run it now: it waits for a program that can, or for others to end.
pub(super) fn orphan(
    view: &View<'_>,
    row: &TaskRow,
    finder: Finder,
    now: Now,
) -> Result<Transition, Rejected> {
    check_abandoned(row, &finder.claimant, cfg!(planted = "orphan_adopts_own"))?;
    if let Some(cancel) = open_cancel(row) {
        return Ok(cancelled_turn(view, row, by_others(row), cancel, now));
    }
    let mut next = recovered(row, finder.parting, now);
    // Whoever claims it later asks no more how its process went, so what this death says of it is said here.
    if !cfg!(planted = "orphan_stays_on_probation") {
        let suspicion = died(row, &mut next, finder.parting, finder.verdict);
        let runs_on = cfg!(planted = "orphan_not_held_back");
        if let Some((fate, what)) = held_back(&mut next, suspicion, now).filter(|_| !runs_on) {
            return Ok(Transition {
                answer: Answer::Recovered(fate),
                ..written(by_others(row), next, what, Effects::new())
            });
        }
    }
    next.state = State::Pending {
        due_at: Deadline::at_once(now.at),
        wait: WaitReason::WaitingHandler,
    };
    Ok(written(
        by_others(row),
        next,
        EventKind::Orphaned,
        Effects::new(),
    ))
}

/// Holds back a turn that is suspected, and tells as what.
fn held_back(next: &mut TaskRow, suspicion: Suspicion, now: Now) -> Option<(Recovered, EventKind)> {
    let deaths = next.guard.deaths;
    match suspicion {
        Suspicion::None => None,
        Suspicion::Isolate => {
            next.state = State::Pending {
                due_at: Deadline::ISOLATED,
                wait: WaitReason::Isolated { deaths },
            };
            Some((Recovered::Isolated, EventKind::Isolated))
        }
        Suspicion::Quarantine => {
            if !cfg!(planted = "quarantine_not_fenced") {
                next.generation = now.generation;
            }
            next.state = State::Suspended {
                since: now.at,
                wait: WaitReason::Quarantined { deaths },
            };
            Some((Recovered::Quarantined, EventKind::Quarantined))
        }
    }
}

/// What could not be read is tried once more.
pub(super) fn reconsider(row: &TaskRow, now: Now) -> Result<Transition, Rejected> {
    match &row.state {
        State::Suspended {
            wait: WaitReason::Undecodable { .. },
            ..
        } => Ok(released(row, EventKind::Reconsidered, now)),
        State::Suspended { .. }
        | State::Pending { .. }
        | State::InProgress { .. }
        | State::Completed { .. } => Err(Rejected::wrong_state(row)),
    }
}

/// When the turn to take over began. Refuses one that does not run, or runs in the very process that asks; a planted
/// bug lets the latter pass.
fn check_abandoned(row: &TaskRow, claimant: &Claimant, own: bool) -> Result<Micros, Rejected> {
    match &row.state {
        State::InProgress {
            lease, started_at, ..
        } if lease.instance != claimant.instance || own => Ok(*started_at),
        State::Completed { at, .. } if cfg!(planted = "rescued_after_its_end") => Ok(*at),
        State::InProgress { .. }
        | State::Pending { .. }
        | State::Suspended { .. }
        | State::Completed { .. } => Err(Rejected::wrong_state(row)),
    }
}

/// A turn that was held back is due at once, with a clear record. The time it waited for somebody to release it is not
/// its own, so its time-out begins anew with the next claim.
pub(super) fn released(row: &TaskRow, what: EventKind, now: Now) -> Transition {
    let mut next = changed(row, now);
    if !cfg!(planted = "release_keeps_suspicion") {
        next.guard = Guard::CLEAR;
    }
    if !cfg!(planted = "park_counts_against_timeout") {
        next.deadline = Deadline::NEVER;
    }
    let (due_at, wait) = at_once(now);
    next.state = State::Pending { due_at, wait };
    let due = Effect::Due {
        def: row.def,
        at: now.at,
    };
    written(by_others(row), next, what, smallvec![due])
}

/// A turn that was cancelled is not entered again after a crash.
fn open_cancel(row: &TaskRow) -> Option<CancelRow> {
    let cancel = row.cancel.clone();
    cancel.filter(|_| !cfg!(planted = "cancelled_turn_recovered"))
}

fn recovered(row: &TaskRow, parting: Parting, now: Now) -> TaskRow {
    let mut next = changed(row, now);
    if parting == Parting::Died || cfg!(planted = "stop_counts_as_crash") {
        next.crashes = next.crashes.saturating_add(1);
    }
    next.entry = EntryKind::Recovered;
    if cfg!(planted = "crash_charges_attempt") {
        next.attempt += 1;
    }
    next
}
