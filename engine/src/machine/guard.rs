//! The poison guard: deaths are counted before a turn is entered again, suspects are held back and entered in ever
//! smaller groups, and only what kills its process alone, twice, is quarantined.

use super::answer::{Effects, Rejected, Transition};
use super::change::{by_others, changed, claimed, written};
use super::event::{Claimant, Parting, Verdict};
use super::turn::{enter, released};
use super::view::{Now, View};
use outlive_storage::row::{Deadline, EventKind, Guard, Probation, State, TaskRow, WaitReason};
use smallvec::smallvec;

/// Deaths in a row after which a turn is not entered with everybody else.
pub const SUSPECT_DEATHS: u32 = 3;
/// Deaths alone after which a turn is quarantined.
pub const ALONE_DEATHS: u32 = 2;

/// What a death makes of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    None,
    Isolate,
    Quarantine,
}

/// Whether a recovery will hold the turn back instead of entering it.
pub fn would_hold_back(row: &TaskRow, parting: Parting, verdict: Verdict) -> bool {
    let (_, suspicion) = judged(row.guard, parting, verdict);
    suspicion != Suspicion::None
}

/// Counts a death against the turn that ran, as the guard says.
pub(super) fn died(
    row: &TaskRow,
    next: &mut TaskRow,
    parting: Parting,
    verdict: Verdict,
) -> Suspicion {
    let (guard, suspicion) = judged(row.guard, parting, verdict);
    next.guard = guard;
    suspicion
}

fn judged(before: Guard, parting: Parting, verdict: Verdict) -> (Guard, Suspicion) {
    if parting == Parting::Stopped || verdict == Verdict::Innocent {
        return (Guard::CLEAR, Suspicion::None);
    }
    let mut guard = Guard {
        deaths: before.deaths.saturating_add(1),
        probation: Probation::No,
        ..before
    };
    if verdict == Verdict::Off {
        return (guard, Suspicion::None);
    }
    if before.probation == Probation::Alone || cfg!(planted = "quarantine_by_count") {
        guard.alone = before.alone.saturating_add(1);
    }
    if guard.alone >= ALONE_DEATHS {
        return (guard, Suspicion::Quarantine);
    }
    if guard.deaths >= SUSPECT_DEATHS && !cfg!(planted = "suspects_run_with_everybody") {
        return (guard, Suspicion::Isolate);
    }
    (guard, Suspicion::None)
}

/// A suspect is entered, apart from others.
pub(super) fn probe(
    view: &View<'_>,
    row: &TaskRow,
    (claimant, alone): (Claimant, bool),
    now: Now,
) -> Result<Transition, Rejected> {
    match &row.state {
        State::Pending {
            wait: WaitReason::Isolated { .. },
            ..
        } => {}
        State::Pending { .. }
        | State::InProgress { .. }
        | State::Suspended { .. }
        | State::Completed { .. } => return Err(Rejected::wrong_state(row)),
    }
    let mut next = changed(row, now);
    next.guard.probation = if alone {
        Probation::Alone
    } else {
        Probation::Group
    };
    // It was held back without its doing, so its time begins anew: an innocent is not stopped for having waited.
    if !cfg!(planted = "suspect_pays_for_waiting") {
        next.deadline = Deadline::NEVER;
    }
    claimed(&mut next, claimant, now.at, now);
    let enter = smallvec![enter(view, &next)];
    Ok(written(by_others(row), next, EventKind::Probed, enter))
}

/// The turn survived its probation, or somebody else was to blame.
pub(super) fn acquit(row: &TaskRow, now: Now) -> Result<Transition, Rejected> {
    match &row.state {
        State::InProgress { .. } if row.guard != Guard::CLEAR => {
            let mut next = changed(row, now);
            next.guard = Guard::CLEAR;
            Ok(written(
                by_others(row),
                next,
                EventKind::Acquitted,
                Effects::new(),
            ))
        }
        State::Pending {
            wait: WaitReason::Isolated { .. },
            ..
        } => Ok(released(row, EventKind::Acquitted, now)),
        State::InProgress { .. }
        | State::Pending { .. }
        | State::Suspended { .. }
        | State::Completed { .. } => Err(Rejected::wrong_state(row)),
    }
}
