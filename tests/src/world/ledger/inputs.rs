//! What must hold of a task's inputs: each is queued, or had by one turn of a run, or its receipt says why it never will be.

use super::{Findings, Ledger, Seen, rows};
use outlive_storage::id::InputId;
use outlive_storage::row::{EventKind, Receipt, TaskNumber, TaskRow};
use outlive_storage::{Commit, MemStore, Store};
use std::collections::BTreeMap;

/// Holds the inputs of one task against what they were.
pub(super) fn check(
    ledger: &mut Ledger,
    task: TaskNumber,
    pre: Option<&Seen>,
    post: &Seen,
    truth: &MemStore,
    wrong: &mut Findings,
) {
    let id = post.row.id.as_str();
    let before: BTreeMap<u64, &InputId> = queue(pre);
    let after: BTreeMap<u64, &InputId> = queue(Some(post));
    let seen = pre.map_or(0, |pre| pre.row.inputs_accepted);
    for (seq, input) in &after {
        if !before.contains_key(seq) {
            if *seq < seen {
                wrong.push(format!("{id} queued {} once more", input.as_str()));
            }
            ledger.accepted.entry((task, (*input).clone())).or_default();
        }
    }
    begun(ledger, (task, pre.map(|pre| &pre.row)), post, &after, wrong);
    for (seq, input) in &before {
        if after.contains_key(seq) || post.row.input_id == **input {
            continue;
        }
        match truth.receipt(task, input).ok().flatten() {
            Some(Receipt::Queued { .. }) | None => {
                let lost = format!("{id} has lost {}: {post:?}", input.as_str());
                wrong.push(lost);
            }
            Some(Receipt::Turn { .. } | Receipt::Withdrawn { .. } | Receipt::TaskEnded) => {}
            Some(other) => wrong.push(format!("an unknown receipt: {other:?}")),
        }
    }
    settled(ledger, task, post, truth, wrong);
}

fn queue(seen: Option<&Seen>) -> BTreeMap<u64, &InputId> {
    let inputs = seen.into_iter().flat_map(|seen| &seen.queue);
    inputs.map(|(seq, input)| (*seq, &input.input_id)).collect()
}

/// A turn begins with an input that has had none in this run, and none before it in the queue.
fn begun(
    ledger: &mut Ledger,
    (task, pre): (TaskNumber, Option<&TaskRow>),
    post: &Seen,
    queue: &BTreeMap<u64, &InputId>,
    wrong: &mut Findings,
) {
    let row = &post.row;
    let place = (row.run, row.turn);
    if pre.is_some_and(|pre| (pre.run, pre.turn) == place && pre.input_id == row.input_id) {
        return;
    }
    let (id, input) = (row.id.as_str(), &row.input_id);
    if pre.is_some_and(|pre| (pre.run, pre.turn) == place) {
        wrong.push(format!("{id} has another input in one turn: {row:?}"));
    }
    let accepted = ledger.accepted.entry((task, input.clone())).or_default();
    if accepted.turns.iter().any(|(run, _)| *run == row.run) {
        wrong.push(format!("{id} works {} twice: {row:?}", input.as_str()));
    }
    if accepted
        .fate
        .as_ref()
        .is_some_and(|fate| *fate == Receipt::TaskEnded)
    {
        wrong.push(format!(
            "{id} works {}, which it had refused",
            input.as_str()
        ));
    }
    accepted.turns.push(place);
    if row.steered
        && queue
            .keys()
            .next()
            .is_some_and(|first| *first < row.input_seq)
    {
        wrong.push(format!(
            "{id} works {} before its turn: {post:?}",
            input.as_str()
        ));
    }
}

/// A task succeeds only when nobody waits for a turn, unless it was to be cancelled.
pub(super) fn spares_the_queue(
    commit: &Commit,
    pre: Option<&Seen>,
    post: &Seen,
    truth: &MemStore,
    wrong: &mut Findings,
) {
    let Some(pre) = pre.filter(|pre| pre.row.cancel.is_none()) else {
        return;
    };
    let mut kinds = rows::new_marks(&pre.row, &post.row)
        .iter()
        .map(|mark| mark.what);
    let ordered = |kind| matches!(kind, EventKind::CancelRequested | EventKind::TurnCancelled);
    let succeeded = rows::has_succeeded(&post.row) && !rows::has_succeeded(&pre.row);
    if !succeeded || kinds.any(ordered) {
        return;
    }
    for (_, waits) in pre.queue.iter().filter(|(_, input)| input.taken.is_none()) {
        let receipt = truth.receipt(commit.task, &waits.input_id).ok().flatten();
        if receipt == Some(Receipt::TaskEnded) {
            let (id, input) = (post.row.id.as_str(), waits.input_id.as_str());
            wrong.push(format!("{id} succeeded, and {input} waited"));
        }
    }
}

/// What became of an input for good stays so.
fn settled(
    ledger: &mut Ledger,
    task: TaskNumber,
    post: &Seen,
    truth: &MemStore,
    wrong: &mut Findings,
) {
    let id = post.row.id.as_str();
    for ((of, input), accepted) in &mut ledger.accepted {
        if *of != task {
            continue;
        }
        let now = truth.receipt(task, input).ok().flatten();
        let now = now.filter(|now| matches!(now, Receipt::Withdrawn { .. } | Receipt::TaskEnded));
        match (&accepted.fate, &now) {
            (Some(known), Some(now)) if known != now => {
                wrong.push(format!(
                    "{} of {id} was {known:?} and is {now:?}",
                    input.as_str()
                ));
            }
            (None, Some(now)) => accepted.fate = Some(now.clone()),
            (Some(_) | None, _) => {}
        }
    }
}
