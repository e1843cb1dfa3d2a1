//! What must hold of a task's row, and of each change of it.

use super::super::handler::SURE;
use super::{Findings, LifeEnd, Seen};
use outlive_storage::row::{
    CancelScope, EntryKind, Keep, Mark, Micros, Outcome, State, TaskRow, WaitReason,
};
use std::collections::HashMap;

/// Whether a turn of it runs.
pub(super) fn runs(row: &TaskRow) -> bool {
    matches!(row.state, State::InProgress { .. })
}

/// Whether this turn of it, over all runs, has not ended.
pub(super) fn is_open_turn(row: &TaskRow, turn: u64) -> bool {
    let open = match &row.state {
        State::Pending { .. } | State::InProgress { .. } => true,
        State::Suspended { wait, .. } => !matches!(wait, WaitReason::Input { .. }),
        State::Completed { .. } => false,
    };
    open && row.steps_of == turn
}

/// When it may be removed; empty before its end.
pub(super) fn expiry(row: &TaskRow) -> Option<u64> {
    match &row.state {
        State::Completed { expires_at, .. } => Some(expires_at.0),
        State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => None,
    }
}

/// Whether it ended with an output.
pub(super) fn has_succeeded(row: &TaskRow) -> bool {
    matches!(outcome(row), Some(Outcome::Succeeded(_)))
}

/// Whether it goes with its end.
pub(super) fn is_ephemeral(row: &TaskRow) -> bool {
    row.options.keep == Keep::Ephemeral
}

/// One change of a task, seen from before and after.
struct Change<'s> {
    pre: &'s TaskRow,
    post: &'s TaskRow,
}

/// Holds a row against what it was, and against what the file had given before.
pub(super) fn check(
    pre: Option<&Seen>,
    post: &Seen,
    (etag, generation): (u64, u64),
    lives: &HashMap<u128, LifeEnd>,
    wrong: &mut Findings,
) {
    let row = &post.row;
    let mut refuse = |broken: bool, what: &str| {
        if broken {
            let before = pre.map(|pre| &pre.row);
            wrong.push(format!("{what}: {before:?}, then {row:?}"));
        }
    };
    whole(post, &mut refuse);
    let changed = pre.is_none_or(|pre| pre.row != *row);
    refuse(changed && row.etag.0 <= etag, "the etag does not grow");
    let Some(pre) = pre else {
        refuse(
            runs(row) && row.generation.0 <= generation,
            "a generation is given twice",
        );
        return;
    };
    let change = Change {
        pre: &pre.row,
        post: row,
    };
    let claimed = change.is_claimed();
    refuse(
        claimed && row.generation.0 <= generation,
        "a generation is given twice",
    );
    refuse(
        row.generation < pre.row.generation,
        "a generation goes back",
    );
    refuse(
        change.keeps_its_claim(),
        "a turn runs under the claim of another",
    );
    refuse(change.breaks_an_end(), "an ended run has changed");
    refuse(
        claimed && change.was_cancelled(),
        "a cancelled task is entered",
    );
    refuse(
        change.charges_wrongly(),
        "an attempt is charged for no failure",
    );
    refuse(
        change.counts_wrongly(lives),
        "a crash is counted that was none",
    );
    refuse(post.stream < pre.stream, "a stream has lost items");
    refuse(
        row.inputs_accepted < pre.row.inputs_accepted,
        "inputs are forgotten",
    );
    refuse(
        (row.run, row.turn) < (pre.row.run, pre.row.turn),
        "a turn comes twice",
    );
}

/// What must hold of a row at each moment.
fn whole(seen: &Seen, refuse: &mut impl FnMut(bool, &str)) {
    let row = &seen.row;
    let taken = seen.queue.iter().filter(|(_, input)| input.taken.is_some());
    let taken = taken.count() as u64;
    let waiting = seen.queue.len() as u64 - taken;
    refuse(
        row.inputs_waiting != waiting,
        "the row counts other inputs than wait",
    );
    refuse(
        row.inputs_taken != taken,
        "the row counts other inputs than were taken",
    );
    let attempts = row.options.retry.attempts_max;
    refuse(row.attempt > attempts, "an attempt is over the budget");
    match &row.state {
        State::InProgress { lease, .. } => {
            refuse(
                lease.generation != row.generation,
                "the lease is not the row's",
            );
            refuse(row.attempt == 0, "a turn runs in no attempt");
        }
        State::Completed { .. } => {
            refuse(!seen.queue.is_empty(), "an ended task has inputs");
            refuse(row.cancel.is_some(), "an ended task is to be cancelled");
        }
        State::Suspended { wait, .. } => {
            let idle = matches!(wait, WaitReason::Input { .. });
            let unknown =
                matches!(wait, WaitReason::UnknownOutcome { step } if step.starts_with(SURE));
            refuse(unknown, "nobody asked what became of a step");
            refuse(
                idle && !seen.queue.is_empty(),
                "an input waits, and nobody works it",
            );
        }
        State::Pending { due_at, .. } => {
            refuse(due_at.at == Micros::NEVER, "a pending task is never due");
        }
    }
}

impl Change<'_> {
    /// It runs under a claim it did not have.
    fn is_claimed(&self) -> bool {
        runs(self.post) && self.post.generation != self.pre.generation
    }

    /// Another turn of it runs, under the same claim.
    fn keeps_its_claim(&self) -> bool {
        let runs_on = runs(self.pre) && runs(self.post);
        runs_on && !self.same_turn() && self.post.generation == self.pre.generation
    }

    fn breaks_an_end(&self) -> bool {
        let State::Completed { .. } = &self.pre.state else {
            return false;
        };
        if self.post.run > self.pre.run {
            // A success is not tried again; a restart has an input of its own.
            let again = self.post.input_id == self.pre.input_id;
            return again && matches!(outcome(self.pre), Some(Outcome::Succeeded(_)));
        }
        let family_told = TaskRow {
            etag: self.pre.etag,
            parent: self.pre.parent.clone(),
            updated_at: self.pre.updated_at,
            timeline: self.pre.timeline.clone(),
            state: self.pre.state.clone(),
            ..self.post.clone()
        };
        family_told != *self.pre || outcome(self.pre) != outcome(self.post)
    }

    fn was_cancelled(&self) -> bool {
        let cancel = self.pre.cancel.as_ref();
        let ordered = cancel.is_some_and(|cancel| cancel.scope == CancelScope::Task);
        ordered && self.pre.run == self.post.run
    }

    fn same_turn(&self) -> bool {
        (self.pre.run, self.pre.turn) == (self.post.run, self.post.turn)
    }

    /// An attempt more comes after a failure, never after a crash.
    fn charges_wrongly(&self) -> bool {
        let more = self.same_turn() && self.post.attempt > self.pre.attempt;
        let recovered = self.post.entry == EntryKind::Recovered && self.is_claimed();
        let first = self.pre.attempt == 0;
        more && (self.post.attempt > self.pre.attempt + 1
            || recovered && !first
            || self.post.attempt > 1 && self.post.last_failure.is_none())
    }

    /// Only a turn whose process died has crashed, and once for each death.
    fn counts_wrongly(&self, lives: &HashMap<u128, LifeEnd>) -> bool {
        if !self.same_turn() || self.post.crashes <= self.pre.crashes {
            return false;
        }
        let State::InProgress { lease, .. } = &self.pre.state else {
            return true;
        };
        let died = lives.get(&lease.instance) == Some(&LifeEnd::Died);
        !died || self.post.crashes > self.pre.crashes + 1
    }
}

fn outcome(row: &TaskRow) -> Option<&Outcome> {
    match &row.state {
        State::Completed { outcome, .. } => Some(outcome),
        State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => None,
    }
}

/// What the timeline of a row tells of what came since an earlier one. It keeps the last lines alone.
pub(super) fn new_marks<'a>(pre: &TaskRow, post: &'a TaskRow) -> &'a [Mark] {
    let known = (0..=post.timeline.len()).rev();
    let mut known = known.filter(|known| pre.timeline.ends_with(&post.timeline[..*known]));
    &post.timeline[known.next().unwrap_or_default()..]
}
