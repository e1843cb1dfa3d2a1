//! What some commits come to, in the order and in the shape in which the database gets it.
//!
//! A task that begins, runs and ends within one lot is written to the database once, as it ended, and its index entries in
//! between never are. What hangs on tasks, and what is said to others, goes in the order of the commits: some of it
//! depends on what is there.

use super::journal::Mark;
use crate::codec::Bodies;
use crate::commit::{Commit, Write};
use crate::id::TaskId;
use crate::plan::{Accepted, Net, Plan};
use crate::row::{Etag, EventRow, Family, Generation, TaskNumber, TaskRow};
use foldhash::{HashMap, HashMapExt};
use std::ops::Range;
use std::sync::Arc;

/// One change beside the rows.
#[derive(Debug)]
pub(super) enum Beside {
    /// What a commit says to others than its task, but for the log.
    Told(Write),
    /// What hangs on the task changes.
    Hangs(Write),
    /// The task is another turn's child than it was.
    Moved {
        from: Option<Family>,
        to: Option<Family>,
    },
    /// The task is removed, and goes from among the children of this turn.
    Removed(Option<Family>),
}

/// What some commits come to.
#[derive(Debug, Default)]
pub(super) struct Lot {
    /// What becomes of rows.
    pub(super) tasks: HashMap<TaskNumber, Net>,
    /// Ids given (`Some`) or freed (`None`).
    pub(super) ids: HashMap<TaskId, Option<TaskNumber>>,
    /// Transitions for the log, in their order.
    pub(super) events: Vec<EventRow>,
    /// Everything else, in its order.
    pub(super) beside: Vec<(TaskNumber, Beside)>,
    /// The highest etag or task number in it.
    pub(super) etag: Etag,
    /// The highest generation in it.
    pub(super) generation: Generation,
    /// How far the database is in its journal when it has all this.
    pub(super) mark: Mark,
    /// The last bodies of rows, encoded, and where they are; of a lot that never was in a record, none.
    encoded: Vec<u8>,
    bodies: HashMap<TaskNumber, Range<usize>>,
    /// How many batches it is of.
    batches: u64,
}

impl Lot {
    /// What one batch comes to.
    pub(super) fn of(plan: Plan<'_>, mark: Mark) -> Lot {
        let mut lot = Lot::default();
        lot.take(plan, mark);
        lot
    }

    /// An empty one with room for as much as another has: the next one has about as much.
    pub(super) fn with_room_of(other: &Lot) -> Lot {
        Lot {
            tasks: HashMap::with_capacity(other.tasks.len()),
            ids: HashMap::with_capacity(other.ids.len()),
            events: Vec::with_capacity(other.events.len()),
            beside: Vec::with_capacity(other.beside.len()),
            encoded: Vec::with_capacity(other.encoded.len()),
            bodies: HashMap::with_capacity(other.bodies.len()),
            ..Lot::default()
        }
    }

    /// Adds a batch, which was decided on what is in the lot.
    pub(super) fn take(&mut self, plan: Plan<'_>, mark: Mark) {
        for accepted in &plan.accepted {
            self.take_beside(accepted);
        }
        for (task, net) in plan.tasks {
            Net::put(&mut self.tasks, task, net);
        }
        self.ids.extend(plan.ids);
        self.etag = self.etag.max(plan.etag);
        self.generation = self.generation.max(plan.generation);
        self.mark = mark;
        self.batches += 1;
    }

    /// Adds the bodies of rows of the batch that was taken last.
    pub(super) fn take_bodies(&mut self, record: &[u8], bodies: &Bodies) {
        for (task, at) in bodies {
            if cfg!(planted = "first_body_kept") && self.bodies.contains_key(task) {
                continue;
            }
            let from = self.encoded.len();
            self.encoded.extend_from_slice(&record[at.clone()]);
            self.bodies.insert(*task, from..self.encoded.len());
        }
    }

    /// The body of the row that a task is left with, if it was encoded for the journal.
    pub(super) fn body(&self, task: TaskNumber) -> Option<&[u8]> {
        self.bodies.get(&task).map(|at| &self.encoded[at.clone()])
    }

    /// Adds what a commit that is left out says to others than its task.
    pub(super) fn tell(&mut self, commit: &Commit) {
        for write in &commit.writes {
            if says_to_others(write) {
                self.say(commit.task, write);
            }
        }
    }

    fn say(&mut self, task: TaskNumber, told: &Write) {
        match told {
            Write::Event(event) => self.events.push(EventRow::clone(event)),
            told => self.beside.push((task, Beside::Told(told.clone()))),
        }
    }

    /// True when it is of no batch, be it one that changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.batches == 0
    }

    fn take_beside(&mut self, accepted: &Accepted<'_>) {
        let task = accepted.commit.task;
        let mut family = accepted.old.and_then(|old| old.family);
        let is_removed = accepted.removed.is_some();
        for write in &accepted.commit.writes {
            match write {
                // The last row of a task that is removed is never written: it would be gone at once.
                Write::Row(_) if is_removed => {}
                Write::Row(row) => {
                    let from = std::mem::replace(&mut family, family_of(row));
                    if from != family {
                        let moved = Beside::Moved { from, to: family };
                        self.beside.push((task, moved));
                    }
                }
                Write::RemoveTask => {}
                told if says_to_others(told) => {
                    if !(is_removed && cfg!(planted = "last_words_lost")) {
                        self.say(task, told);
                    }
                }
                _ if is_removed => {}
                hangs => self.beside.push((task, Beside::Hangs(hangs.clone()))),
            }
        }
        // Last: what is counted for a family goes with the last of its children.
        if is_removed {
            self.beside.push((task, Beside::Removed(family)));
        }
    }
}

fn says_to_others(write: &Write) -> bool {
    match write {
        Write::Event(_) | Write::ChildEnded(_) | Write::FamilyOver { .. } => true,
        Write::Row(_)
        | Write::Value { .. }
        | Write::RemoveValue(_)
        | Write::PushInput { .. }
        | Write::PopInput { .. }
        | Write::Receipt { .. }
        | Write::KeepReceipt { .. }
        | Write::RemoveReceipt { .. }
        | Write::Turn { .. }
        | Write::Run(_)
        | Write::Step { .. }
        | Write::RemoveStep { .. }
        | Write::ForgetSteps { .. }
        | Write::Ask { .. }
        | Write::RemoveAsk { .. }
        | Write::RemoveAsks
        | Write::Segment { .. }
        | Write::EvictSegments { .. }
        | Write::RemoveTask => false,
    }
}

fn family_of(row: &Arc<TaskRow>) -> Option<Family> {
    row.parent.as_ref().map(|parent| parent.family)
}
