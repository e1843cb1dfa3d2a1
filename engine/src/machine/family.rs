//! Tasks that a turn of another task has started: born under its claim, counted when they end, told when it is over.
//!
//! A family is a parent's turn with its children. The parent's row is not touched by what happens to them, until as many
//! have ended as its handler waits for.

use super::answer::{Effect, Effects, Rejected, Transition};
use super::cancel::cancel;
use super::change::{by_others, by_worker, changed, held, nothing, written};
use super::event::{Aim, NewParent, Order, ParentOver, Wait, WaitFor};
use super::finish::expiry;
use super::park::wake;
use super::view::{Now, View};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    Deadline, EventKind, Fate, Generation, Keep, Outcome, State, TaskRow, TurnResult, WaitReason,
};
use smallvec::smallvec;

/// The turn is about to start its first child. It is said before, so that the end of the turn knows of children however
/// their starts end.
pub(super) fn becomes_parent(
    row: &TaskRow,
    generation: Generation,
    now: Now,
) -> Result<Transition, Rejected> {
    held(row, generation)?;
    if row.has_children {
        return Ok(nothing(row));
    }
    let mut next = changed(row, now);
    next.has_children = !cfg!(planted = "parent_not_marked");
    Ok(written(
        by_worker(row),
        next,
        EventKind::BecameParent,
        Effects::new(),
    ))
}

/// A child begins only while the turn that starts it holds its claim: one that began after that turn's end would be
/// nobody's, and what cancels the others would pass it by.
pub(super) fn check_parent(view: &View<'_>, parent: &NewParent) -> Result<(), Rejected> {
    let Some(row) = view.family.parent else {
        return Err(Rejected::LeaseLost);
    };
    let its_turn = row.turns_total == parent.row.family.turn;
    if cfg!(planted = "child_begins_after_its_parent") {
        return Ok(());
    }
    held(row, parent.generation)?;
    its_turn.then_some(()).ok_or(Rejected::LeaseLost)
}

/// A turn waits for a task that another turn had started and that is nobody's child now, or that of an earlier turn.
pub(super) fn taken_over(
    view: &View<'_>,
    row: &TaskRow,
    parent: NewParent,
    now: Now,
) -> Result<Transition, Rejected> {
    check_parent(view, &parent)?;
    if let State::Completed { .. } = row.state {
        return Ok(nothing(row));
    }
    match &row.parent {
        Some(present) if present.family == parent.row.family => return Ok(nothing(row)),
        Some(present) if present.family.task != parent.row.family.task => {
            return Err(Rejected::conflict(row));
        }
        Some(_) | None => {}
    }
    let mut next = changed(row, now);
    next.parent = Some(parent.row);
    Ok(written(
        by_others(row),
        next,
        EventKind::TakenOver,
        Effects::new(),
    ))
}

/// What a task says to its parent with its end.
pub(super) fn counted(row: &TaskRow) -> Option<Write> {
    let parent = row.parent.as_ref()?;
    (!cfg!(planted = "child_end_not_counted")).then_some(Write::ChildEnded(parent.family))
}

/// What a turn that is over leaves to its children, who are to be told.
pub(super) fn over(
    view: &View<'_>,
    row: &TaskRow,
    fate: Fate,
    effects: &mut Effects,
) -> Option<Write> {
    if !row.has_children {
        return None;
    }
    effects.push(Effect::FamilyOver);
    let turn = row.family(view.task).turn;
    Some(Write::FamilyOver { turn, fate })
}

/// What becomes of the children of a turn that ended so: whoever cancels or stops it means them as well.
pub(super) fn fate(result: &TurnResult) -> Fate {
    let TurnResult::Ended(outcome) = result else {
        return Fate::Alone;
    };
    match outcome {
        Outcome::Succeeded(_) | Outcome::Failed(_) => Fate::Alone,
        Outcome::Cancelled { .. } | Outcome::Terminated { .. }
            if cfg!(planted = "cancel_spares_children") =>
        {
            Fate::Alone
        }
        Outcome::Cancelled { reason, .. } | Outcome::Terminated { reason, .. } => {
            let reason = reason.clone();
            Fate::Cancelled { reason }
        }
        // INVARIANT: this crate and the storage crate are released together.
        other => unreachable!("an outcome this version does not know: {other:?}"),
    }
}

/// As many of its children have ended as one of these waits is for.
pub(super) fn has_come(view: &View<'_>, waits: &[Wait]) -> bool {
    let ended = view.family.ended;
    waits.iter().any(|wait| match wait.wait_for {
        WaitFor::Children { ended: target } => ended >= target,
        WaitFor::Time { .. } | WaitFor::Answer { .. } => false,
    }) && !cfg!(planted = "end_before_park_lost")
}

/// How many ends of children must be counted for the first wait for children to come, if one of the waits is for them.
pub(super) fn ends_needed(waits: &[Wait]) -> Option<u64> {
    let needed = waits.iter().filter_map(|wait| match wait.wait_for {
        WaitFor::Children { ended } => Some(ended),
        WaitFor::Time { .. } | WaitFor::Answer { .. } => None,
    });
    needed.min()
}

/// How a turn with these waits waits for children, if one of them is for children: for the first of them to come, or for
/// `until`.
pub(super) fn for_children(waits: &[Wait], until: Deadline, now: Now) -> Option<State> {
    let ended = ends_needed(waits)?;
    let for_children = |wait: &&Wait| matches!(wait.wait_for, WaitFor::Children { .. });
    let keys = waits.iter().filter(for_children).map(|wait| &wait.key);
    let step = keys.min()?.clone();
    let wait = WaitReason::Children { step, ended, until };
    let since = now.at;
    Some(State::Suspended { since, wait })
}

/// Children of the task have ended, in the commits beside this one. Its row changes only when that is what it waits for.
pub(super) fn child_ended(view: &View<'_>, row: &TaskRow, now: Now) -> Transition {
    let come = match &row.state {
        State::InProgress { .. } => {
            return Transition {
                effects: smallvec![Effect::Woken],
                ..nothing(row)
            };
        }
        State::Suspended {
            wait: WaitReason::Children { ended, .. } | WaitReason::Answer { ended, .. },
            ..
        } => view.family.ended >= *ended || cfg!(planted = "woken_by_each_child"),
        State::Pending { .. } | State::Suspended { .. } | State::Completed { .. } => false,
    };
    if !come {
        return nothing(row);
    }
    let mut next = changed(row, now);
    let effects = wake(&mut next, now).into_iter().collect();
    written(by_others(row), next, EventKind::Woken, effects)
}

/// The turn that started the task is over: it goes on alone, is cancelled, or, if it has ended, is kept no longer than
/// any other. Told twice, it does nothing.
pub(super) fn let_go(
    view: &View<'_>,
    row: &TaskRow,
    told: ParentOver,
    now: Now,
) -> Result<Transition, Rejected> {
    let ParentOver {
        family,
        reason,
        instance,
    } = told;
    let Some(parent) = row.parent.as_ref().filter(|p| p.family == family) else {
        return Ok(nothing(row));
    };
    let alone = TaskRow {
        parent: None,
        ..row.clone()
    };
    let mut next = changed(&alone, now);
    if let State::Completed { expires_at, .. } = &mut next.state {
        if row.options.keep == Keep::Ephemeral && !cfg!(planted = "ephemeral_child_stays") {
            return Ok(Transition {
                writes: vec![Write::RemoveTask],
                what: Some(EventKind::Removed),
                ..nothing(row)
            });
        }
        *expires_at = expiry(&alone, now);
        return Ok(written(
            by_others(row),
            next,
            EventKind::LetGo,
            Effects::new(),
        ));
    }
    let spared = parent.detached && !cfg!(planted = "detached_child_cancelled");
    if let Some(reason) = reason.filter(|_| !spared) {
        let order = Order {
            aim: Aim::Task,
            reason,
            if_etag: None,
            instance,
        };
        let cancelled = cancel(view, &alone, order, now)?;
        if cancelled.row.is_some() {
            return Ok(cancelled);
        }
    }
    Ok(written(
        by_others(row),
        next,
        EventKind::LetGo,
        Effects::new(),
    ))
}
