//! A state of the walk: a store of one task, and the model of what should be in it.

use super::model::{Model, Phase};
use crate::machine::{DefLimits, Event, Now, Transition, View};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Etag, Generation, InputRow, Micros, Payload, Receipt, State, TaskNumber, TaskRow, ValueKey,
    ValueKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// Every state is moved to this moment, so that states that differ only in when they are reached are one.
pub(super) const NOW: Micros = Micros(1_000_000);
/// A turn that runs began a little earlier, so that a start that is moved by a crash is seen.
pub(super) const TURN_BEGAN: Micros = Micros(NOW.0 - 1);
/// Claims are renumbered so that this one is the last, once there were more: a stale claim is as stale as an older one.
const LAST_CLAIM: u64 = 3;
/// And to this etag, which the next transition must exceed.
const ETAG: Etag = Etag(10);
const TASK: TaskNumber = TaskNumber(1);

/// How far the walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) steerable_max: Option<u64>,
    pub(super) attempts_max: u32,
    pub(super) inputs: usize,
    /// Process deaths in the life of the task.
    pub(super) deaths: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct World {
    pub(super) bounds: Bounds,
    pub(super) now: Micros,
    pub(super) row: Option<TaskRow>,
    pub(super) inbox: BTreeMap<u64, InputRow>,
    pub(super) receipts: BTreeMap<InputId, Receipt>,
    /// Positions of the large inputs that are kept.
    pub(super) values: BTreeSet<u64>,
    pub(super) model: Model,
}

impl Hash for World {
    /// Only what differs most: equality looks at everything.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let model = &self.model;
        (
            model.inputs.len(),
            model.failures,
            model.deaths,
            model.given,
        )
            .hash(state);
        (self.inbox.len(), model.deaths_in_all).hash(state);
        std::mem::discriminant(&model.phase).hash(state);
        if let Some(row) = &self.row {
            (row.turn, row.attempt, row.crashes, row.generation).hash(state);
        }
    }
}

impl World {
    pub(super) fn empty(bounds: Bounds) -> World {
        World {
            bounds,
            now: NOW,
            row: None,
            inbox: BTreeMap::new(),
            receipts: BTreeMap::new(),
            values: BTreeSet::new(),
            model: Model::new(bounds.steerable_max),
        }
    }

    pub(super) fn within(&self, bounds: Bounds) -> bool {
        self.model.inputs.len() <= bounds.inputs && self.model.deaths_in_all <= bounds.deaths
    }

    /// Time passes: to just before the task is due, then to when it is.
    pub(super) fn tick(&self) -> World {
        let mut after = self.clone();
        if let Some(due) = self.model.due() {
            let before = Micros(due.0 - 1);
            after.now = if self.now < before { before } else { due };
        }
        after
    }

    /// The same state, as if it had been reached at [`NOW`] and by few claims. A park and its reconsideration can go
    /// round for ever, so the states would have no end otherwise.
    pub(super) fn normal(mut self) -> World {
        let last = self.model.given.min(LAST_CLAIM);
        self.model.given = last;
        if let Phase::Running { generation, .. } = &mut self.model.phase {
            *generation = last;
        }
        let now = self.now;
        let moved = |due: Micros| NOW.plus(due.0.saturating_sub(now.0));
        if let Some(row) = &mut self.row {
            row.etag = ETAG;
            row.created_at = NOW;
            row.updated_at = NOW;
            row.generation = Generation(last);
            match &mut row.state {
                State::Pending { due_at, .. } => *due_at = moved(*due_at),
                State::InProgress { started_at, lease } => {
                    *started_at = TURN_BEGAN;
                    lease.generation = Generation(last);
                }
                State::Suspended { since, .. } => *since = NOW,
                State::Completed { at, .. } => *at = NOW,
            }
        }
        for input in self.inbox.values_mut() {
            input.accepted_at = NOW;
        }
        if let Phase::Slot { due } | Phase::BackOff { due } | Phase::WaitingHandler { due } =
            &mut self.model.phase
        {
            *due = moved(*due);
        }
        self.now = NOW;
        self
    }

    /// Shows the machine what a writer would, and the values it may use up.
    pub(super) fn look<T>(&self, event: &Event, ask: impl FnOnce(&View<'_>, Now) -> T) -> T {
        let receipt = match event {
            Event::Input(input) => self.receipts.get(&input.input_id),
            Event::Claim(_)
            | Event::Recover(_)
            | Event::Orphan(_)
            | Event::Reconsider
            | Event::End { .. } => None,
        };
        let view = View {
            task: TASK,
            row: self.row.as_ref(),
            inbox_len: self.inbox.len() as u64,
            inbox_head: self.inbox.iter().next().map(|(seq, input)| (*seq, input)),
            receipt,
            limits: DefLimits {
                steerable_max: self.bounds.steerable_max,
            },
        };
        let now = Now {
            at: self.now,
            etag: Etag(ETAG.0 + 1),
            generation: Generation(self.model.given + 1),
        };
        ask(&view, now)
    }

    /// Does what a store does: nothing, unless the row is the one the commit expects.
    pub(super) fn apply(&mut self, event: &Event, transition: &Transition) -> Result<(), String> {
        let Some(next) = &transition.row else {
            if transition.writes.is_empty() {
                return Ok(());
            }
            return Err("a transition without a row writes".into());
        };
        let met = match (&transition.expect, &self.row) {
            (Expect::Absent, None) => true,
            (Expect::Etag(etag), Some(row)) => row.etag == *etag,
            (Expect::Lease(generation), Some(row)) => {
                matches!(row.state, State::InProgress { .. }) && row.generation == *generation
            }
            (Expect::Absent, Some(_)) | (Expect::Etag(_) | Expect::Lease(_), None) => false,
        };
        if !met {
            return Err(format!("a store refuses {:?}", transition.expect));
        }
        // A large input is written beside the row by the shell.
        if let Event::Input(input) = event
            && let Payload::Stored { .. } = input.payload
        {
            let accepted = self.row.as_ref().map_or(0, |row| row.inputs_accepted);
            self.values.insert(accepted);
        }
        self.row = Some(TaskRow::clone(next));
        transition
            .writes
            .iter()
            .try_for_each(|write| self.write(write))
    }

    fn write(&mut self, write: &Write) -> Result<(), String> {
        let fits = match write {
            Write::Row(_) | Write::Value { .. } => false,
            Write::RemoveValue(ValueKey { task, kind, index }) => {
                *task == TASK && *kind == ValueKind::Input && self.values.remove(index)
            }
            Write::PushInput { seq, input } => self.inbox.insert(*seq, input.clone()).is_none(),
            Write::PopInput { seq } => self.inbox.remove(seq).is_some(),
            Write::Receipt { input_id, receipt } => {
                self.receipts.insert(input_id.clone(), receipt.clone());
                true
            }
        };
        if fits {
            return Ok(());
        }
        Err(format!("{write:?} does not fit the store"))
    }
}
