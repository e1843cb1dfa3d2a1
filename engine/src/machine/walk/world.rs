//! A state of the walk: what is held of one task, and the model of what should be.

use super::model::{End, Model, Paper, Phase, Reason, Rules, Taken, Why};
use super::ops::{ETAG, INSTANCES, STEP_US};
use crate::machine::tests::held::Held;
use crate::machine::{DefLimits, Event, Now, Rejected, Transition};
use outlive_storage::row::{EventKind, Generation, Mark, Micros, State, TaskRow, Times};
use std::hash::{Hash, Hasher};

/// Every state is moved to this moment, so that states that differ only in when they are reached are one.
pub(super) const NOW: Micros = Micros(1_000_000);
/// A turn that runs began a little earlier, so that a start that is moved by a crash is seen.
const TURN_BEGAN: Micros = Micros(NOW.0 - 1);
/// Claims are renumbered so that this one is the last, once there were more: a stale claim is as stale as an older one.
const LAST_CLAIM: u64 = 2;

/// How far a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) inputs: usize,
    /// Turns and runs in the life of a task.
    pub(super) turns: u64,
    pub(super) runs: u32,
    /// Process deaths in the life of the task.
    pub(super) deaths: u32,
    /// Lives of the id: each removal begins another one.
    pub(super) lives: u32,
    /// Inputs that retention may forget.
    pub(super) forgotten: usize,
}

impl Bounds {
    /// One more of each, where somebody asks for it.
    pub(super) fn widened(self) -> Bounds {
        if std::env::var_os("OUTLIVE_WIDE").is_none() {
            return self;
        }
        Bounds {
            inputs: self.inputs + 1,
            turns: self.turns + 1,
            runs: self.runs + 1,
            deaths: self.deaths + 1,
            lives: self.lives,
            forgotten: self.forgotten,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World {
    pub(super) now: Micros,
    pub(super) held: Held,
    pub(super) model: Model,
}

impl Hash for World {
    /// What is held follows from the model; equality looks at both.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.model.hash(state);
    }
}

impl World {
    pub(super) fn empty(rules: Rules) -> World {
        World {
            now: NOW,
            held: Held::default(),
            model: Model::new(rules),
        }
    }

    pub(super) fn within(&self, bounds: Bounds) -> bool {
        let model = &self.model;
        model.inputs.len() <= bounds.inputs
            && model.turn.total <= bounds.turns
            && model.turn.run <= bounds.runs
            && model.deaths_in_all <= bounds.deaths
            && model.lives <= bounds.lives
            && model.forgotten() <= bounds.forgotten
    }

    /// Time passes: to just before something becomes due, then to when it is.
    pub(super) fn tick(&self) -> World {
        let mut after = self.clone();
        if let Some(due) = self.model.next_moment() {
            let before = Micros(due.0 - 1);
            after.now = if self.now < before { before } else { due };
        }
        after
    }

    pub(super) fn step_back(&self) -> World {
        let mut after = self.clone();
        after.now = Micros(self.now.0 - STEP_US);
        after
    }

    /// The same state, as if it had been reached at [`NOW`], by few claims, and by the shortest of the histories that
    /// nothing decides on any more. A park and its reconsideration can go round for ever, so the states would have no end
    /// otherwise. What is changed in the model is changed in what is held, and by the same rule.
    pub(super) fn normal(mut self) -> World {
        let model = &mut self.model;
        let last = model.given.min(LAST_CLAIM);
        let claim = |claim| {
            if claim == model.generation && claim == model.given {
                last
            } else {
                0
            }
        };
        for known in &mut model.inputs {
            known.taken = known.taken.map(|taken| Taken {
                claim: claim(taken.claim),
                ..taken
            });
        }
        if model.generation == model.given {
            model.generation = last;
        }
        model.given = last;
        for (position, known) in model.inputs.iter_mut().enumerate() {
            known.like = u8::try_from(position).expect("few inputs");
            if let Some(Paper::Withdrawn(reason)) = &mut known.paper {
                *reason = Reason::First;
            }
        }
        // Results are put down and never read again by the machine; only whether a large output lies there counts.
        for kept in &mut model.kept {
            kept.end = match kept.end.is_large(kept.total) {
                true => End::Cancelled {
                    reason: Reason::First,
                    output: true,
                },
                false => End::Terminated,
            };
        }
        for ran in &mut model.runs {
            (ran.end, ran.interim) = (End::Terminated, 0);
        }
        if let Some((_, reason)) = &mut model.turn.cancel {
            *reason = Reason::First;
        }
        self.normal_phase();
        self.normal_time();
        let held = self.model.expected(&self.held);
        self.held = held;
        self
    }

    fn normal_phase(&mut self) {
        match &mut self.model.phase {
            Phase::Waiting(why) => *why = Why::More,
            // The holder of a claim is always the same process; the other one is the one that finds it dead.
            Phase::Running { instance, .. } => *instance = INSTANCES[0],
            Phase::Ended {
                end: End::Cancelled { reason, .. },
                ..
            } => *reason = Reason::First,
            Phase::Absent
            | Phase::Pending { .. }
            | Phase::Isolated
            | Phase::Parked
            | Phase::Aside { .. }
            | Phase::Quarantined
            | Phase::Ended { .. } => {}
        }
    }

    fn normal_time(&mut self) {
        let now = self.now;
        let moved = |due: &mut Micros| *due = NOW.plus(due.0.saturating_sub(now.0));
        match &mut self.model.phase {
            Phase::Pending { due, .. } => moved(due),
            Phase::Ended { expires, .. } => moved(expires),
            Phase::Absent
            | Phase::Isolated
            | Phase::Running { .. }
            | Phase::Waiting(_)
            | Phase::Parked
            | Phase::Aside { .. }
            | Phase::Quarantined => {}
        }
        self.model.turn.deadline.iter_mut().for_each(moved);
        if let Some(row) = &mut self.held.row {
            normal_row(row);
        }
        for (_, input) in &mut self.held.inbox {
            input.accepted_at = NOW;
        }
        for (_, listed) in self.held.receipts.values_mut() {
            *listed = listed.map(|_| NOW);
        }
        for turn in self.held.turns.values_mut() {
            turn.ended_at = NOW;
        }
        for run in &mut self.held.runs {
            run.ended_at = NOW;
        }
        self.now = NOW;
    }

    /// Shows the machine what a writer would, and the values it may use up.
    pub(super) fn ask(&self, event: &Event) -> Result<Transition, Rejected> {
        let limits = DefLimits {
            steerable_max: self.model.rules.steerable_max,
            present: None,
        };
        self.held.ask(event.clone(), limits, self.handed_out())
    }

    /// What the next transition may use up.
    pub(super) fn handed_out(&self) -> Now {
        let etag = outlive_storage::row::Etag(ETAG.0 + 1);
        let generation = Generation(self.model.given + 1);
        Now::new(Times::still(self.now), etag, generation)
    }
}

/// What the model does not follow.
fn normal_row(row: &mut TaskRow) {
    row.etag = ETAG;
    row.created_at = NOW;
    row.updated_at = NOW;
    if let Some(cancel) = &mut row.cancel {
        cancel.at = NOW;
    }
    // Always full, so that the next line needs room.
    let mark = Mark {
        at: NOW,
        turn: 0,
        what: EventKind::Started,
    };
    row.timeline = vec![mark; TaskRow::MARKS_MAX].into();
    match &mut row.state {
        State::Pending { .. } => {}
        State::InProgress { started_at, .. } => *started_at = TURN_BEGAN,
        State::Suspended { since, .. } => *since = NOW,
        State::Completed { at, .. } => *at = NOW,
    }
}
