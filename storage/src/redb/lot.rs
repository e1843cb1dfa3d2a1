//! What some commits come to, in the order and in the shape in which the database gets it.
//!
//! A task that begins, runs and ends within one lot is written to the database once, as it ended, and its index entries in
//! between never are. What hangs on tasks, and what is said to others, goes in the order of the commits: some of it
//! depends on what is there.
//!
//! Rows and lines for the log are here as the bytes that the database gets: thousands of tasks may be in a lot, and to give
//! back the memory of each row long after it was used takes longer than to write it.

use super::journal::Mark;
use super::standing::{Leaves, Stands};
use crate::codec::{self, Bodies};
use crate::commit::{Commit, Write};
use crate::header::Header;
use crate::id::TaskId;
use crate::plan::{self, Accepted, Plan, Removed, Room};
use crate::roll::Roll;
use crate::row::{Etag, Facts, Family, Generation, TaskNumber, TaskRow};
use crate::store::StoreError;
use foldhash::{HashMap, HashMapExt};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of room that are kept from one lot to the next: those of half of a journal take less, if it has its default size.
const KEPT: usize = 8 << 20;

/// Where a body is that is not here yet: of a row, none is empty.
const NOWHERE: Range<usize> = 0..0;

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

/// What some commits come to for one task.
#[derive(Debug)]
pub(super) struct Net {
    /// The header of the row before them; `None` when they start the task.
    pub(super) was: Option<Header>,
    /// How they leave it.
    pub(super) is: Left,
}

/// A task as the last commit for it leaves it.
#[derive(Debug)]
pub(super) enum Left {
    /// With a row.
    Row {
        header: Header,
        /// Where in the lot its body is.
        body: Range<usize>,
        /// What has the labels of the task, if there are any.
        labelled: Option<Arc<Facts>>,
    },
    /// Removed.
    Removed(Removed),
}

/// What some commits come to.
#[derive(Debug, Default)]
pub(super) struct Lot {
    /// What becomes of rows.
    pub(super) tasks: Roll<Net>,
    /// Ids given (`Some`) or freed (`None`).
    pub(super) ids: HashMap<TaskId, Option<TaskNumber>>,
    /// Transitions for the log, in their order: their etags, and where in the lot their bodies are.
    pub(super) events: Vec<(Etag, Range<usize>)>,
    /// Everything else, in its order.
    pub(super) beside: Vec<(TaskNumber, Beside)>,
    /// The highest etag or task number in it.
    pub(super) etag: Etag,
    /// The highest generation in it.
    pub(super) generation: Generation,
    /// How far the database is in its journal when it has all this.
    pub(super) mark: Mark,
    /// Bodies of rows and of lines for the log, also of rows that were replaced since.
    encoded: Vec<u8>,
    /// How many batches it is of.
    batches: u64,
}

impl Lot {
    /// What one batch comes to.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] when it cannot be encoded.
    pub(super) fn of(plan: Plan<'_>, mark: Mark) -> Result<Lot, StoreError> {
        let mut lot = Lot::default();
        lot.take(plan, mark)?;
        Ok(lot)
    }

    /// Bytes that its lists take, without what hangs on their entries.
    fn room(&self) -> usize {
        fn of<T>(entries: usize) -> usize {
            entries * size_of::<T>()
        }
        self.encoded.capacity()
            + of::<(TaskNumber, Net)>(self.tasks.room())
            + of::<(TaskId, TaskNumber)>(self.ids.capacity())
            + of::<(Etag, Range<usize>)>(self.events.capacity())
            + of::<(TaskNumber, Beside)>(self.beside.capacity())
    }

    /// This one without all that was in it; `None` where it has taken more memory than is kept for the next one.
    pub(super) fn emptied(mut self) -> Option<Lot> {
        if self.room() > KEPT && !cfg!(planted = "room_of_any_lot_kept") {
            return None;
        }
        if !cfg!(planted = "lot_not_emptied") {
            drop(self.tasks.drain());
            self.beside.clear();
        }
        self.ids.clear();
        self.events.clear();
        self.encoded.clear();
        Some(Lot {
            tasks: self.tasks,
            ids: self.ids,
            events: self.events,
            beside: self.beside,
            encoded: self.encoded,
            ..Lot::default()
        })
    }

    /// An empty one with room for as much as another has: the next one has about as much.
    pub(super) fn with_room_of(other: &Lot) -> Lot {
        Lot {
            tasks: Roll::with_room(other.tasks.len()),
            ids: HashMap::with_capacity(other.ids.len()),
            events: Vec::with_capacity(other.events.len()),
            beside: Vec::with_capacity(other.beside.len()),
            encoded: Vec::with_capacity(other.encoded.len()),
            ..Lot::default()
        }
    }

    /// Adds a batch, which was decided on what is in the lot.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] when it cannot be encoded.
    pub(super) fn take(&mut self, plan: Plan<'_>, mark: Mark) -> Result<(), StoreError> {
        let mut bodies = Bodies::default();
        for accepted in &plan.accepted {
            let mut last = None;
            for write in &accepted.commit.writes {
                match write {
                    Write::Row(row) => last = Some(row),
                    Write::Event(event) => {
                        let body = codec::append_body(event, &mut self.encoded)?;
                        bodies.events.push((event.etag, body));
                    }
                    _ => {}
                }
            }
            if let Some(row) = last.filter(|_| accepted.removed.is_none()) {
                let body = codec::append_body(&**row, &mut self.encoded)?;
                bodies.rows.push((accepted.commit.task, body));
            }
        }
        self.adopt(plan, bodies, mark);
        Ok(())
    }

    /// As [`Lot::take`], of a batch that is encoded in a record.
    pub(super) fn take_record(
        &mut self,
        plan: Plan<'_>,
        (record, mut bodies): (&[u8], Bodies),
        mark: Mark,
    ) -> Room {
        let here = |at: &mut Range<usize>| {
            let from = self.encoded.len();
            self.encoded.extend_from_slice(&record[at.clone()]);
            *at = from..self.encoded.len();
        };
        let Bodies { rows, events } = &mut bodies;
        let rows = rows.iter_mut().map(|(_, at)| at);
        rows.chain(events.iter_mut().map(|(_, at)| at))
            .for_each(here);
        self.adopt(plan, bodies, mark)
    }

    /// Adds a batch whose bodies are here, and gives back the room that its plan has taken.
    fn adopt(&mut self, mut plan: Plan<'_>, bodies: Bodies, mark: Mark) -> Room {
        let mut events = bodies.events.into_iter();
        for accepted in &plan.accepted {
            self.take_beside(accepted, &mut events);
        }
        for (task, net) in plan.tasks.drain() {
            self.leave(task, net);
        }
        for (task, at) in bodies.rows {
            let left = self.tasks.get_mut(task).map(|net| &mut net.is);
            if let Some(Left::Row { body, .. }) = left
                && (*body == NOWHERE || !cfg!(planted = "first_body_kept"))
            {
                *body = at;
            }
        }
        self.ids.extend(plan.ids.drain());
        self.etag = self.etag.max(plan.etag);
        self.generation = self.generation.max(plan.generation);
        self.mark = mark;
        self.batches += 1;
        plan.room()
    }

    /// What a task comes to with a batch: the row before it all stays what it was. The body follows.
    fn leave(&mut self, task: TaskNumber, net: plan::Net) {
        let is = match net.is {
            plan::Left::Removed(removed) => Left::Removed(removed),
            plan::Left::Row(header, row) => Left::Row {
                header,
                body: NOWHERE,
                labelled: (!row.facts.labels.is_empty()).then(|| Arc::clone(&row.facts)),
            },
        };
        let net = Net { was: net.was, is };
        self.tasks.put(task, net, |there, net| {
            there.is = match (&there.is, net.is) {
                (
                    Left::Row { body, .. },
                    Left::Row {
                        header, labelled, ..
                    },
                ) => Left::Row {
                    header,
                    body: body.clone(),
                    labelled,
                },
                (_, is) => is,
            };
        });
    }

    /// The bytes of a body.
    pub(super) fn bytes(&self, body: &Range<usize>) -> &[u8] {
        &self.encoded[body.clone()]
    }

    /// Adds what a commit that is left out says to others than its task.
    ///
    /// # Errors
    /// [`StoreError::Malformed`] when it cannot be encoded.
    pub(super) fn tell(&mut self, commit: &Commit) -> Result<(), StoreError> {
        for write in &commit.writes {
            if let Write::Event(event) = write {
                let body = codec::append_body(event, &mut self.encoded)?;
                self.events.push((event.etag, body));
            } else if says_to_others(write) {
                self.say(commit.task, write);
            }
        }
        Ok(())
    }

    fn say(&mut self, task: TaskNumber, told: &Write) {
        self.beside.push((task, Beside::Told(told.clone())));
    }

    /// True when it is of no batch, be it one that changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.batches == 0
    }

    fn take_beside(
        &mut self,
        accepted: &Accepted<'_>,
        events: &mut impl Iterator<Item = (Etag, Range<usize>)>,
    ) {
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
                Write::Event(_) => {
                    let last_words = is_removed && cfg!(planted = "last_words_lost");
                    self.events.extend(events.next().filter(|_| !last_words));
                }
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

impl Leaves for Lot {
    fn left(&self, task: TaskNumber) -> Option<Stands<'_>> {
        let net = self.tasks.get(task)?;
        Some(match &net.is {
            Left::Row { header, body, .. } => Stands::Row(header, self.bytes(body)),
            Left::Removed(_) => Stands::Removed,
        })
    }

    fn number(&self, id: &TaskId) -> Option<Option<TaskNumber>> {
        self.ids.get(id).copied()
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
