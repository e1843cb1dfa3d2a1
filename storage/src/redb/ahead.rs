//! What is durable in the journal and not yet in the database.
//!
//! A commit is acknowledged when its record is in the journal. The database gets it later, with many others in one lot: when
//! somebody reads what only the database can answer, when the journal is full, when the store is closed. Until then a
//! task's row and its id are answered from here.

use super::journal::Mark;
use super::lot::Lot;
use super::standing::{Leaves, Stands};
use crate::codec::Bodies;
use crate::id::TaskId;
use crate::plan::{Plan, Room};
use crate::row::TaskNumber;
use std::sync::Arc;

/// How far the journal is ahead of the database.
#[derive(Debug)]
pub(super) struct Ahead {
    /// What is being put into the database, until readers see it there.
    going: Option<Arc<Lot>>,
    /// What came after it.
    fresh: Lot,
    /// One that is empty, whose memory the next takes.
    spare: Option<Lot>,
    /// How far in its journal the database is for its readers.
    seen: Mark,
    /// How far it is on the disk.
    durable: Mark,
}

impl Ahead {
    /// Of a database that is so far, also on the disk.
    pub(super) fn of(mark: Mark) -> Ahead {
        Ahead {
            going: None,
            fresh: Lot::default(),
            spare: None,
            seen: mark,
            durable: mark,
        }
    }

    /// True when the database has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.going.is_none() && self.fresh.is_empty()
    }

    /// How far the database is for its readers.
    pub(super) fn seen(&self) -> Mark {
        self.seen
    }

    /// How far the database is on the disk.
    pub(super) fn durable(&self) -> Mark {
        self.durable
    }

    /// How far the journal is.
    pub(super) fn reached(&self) -> Mark {
        match (&self.going, self.fresh.is_empty()) {
            (_, false) => self.fresh.mark,
            (Some(going), true) => going.mark,
            (None, true) => self.seen,
        }
    }

    /// Adds a batch that is durable, of which the record has the bodies of rows and of lines for the log. The room that its plan
    /// has taken is given back.
    pub(super) fn add(&mut self, plan: Plan<'_>, record: (&[u8], Bodies), mark: Mark) -> Room {
        self.fresh.take_record(plan, record, mark)
    }

    /// What is to be put into the database next. It is kept until that is [done](Ahead::done).
    pub(super) fn next(&mut self) -> Option<Arc<Lot>> {
        if self.going.is_none() && !self.fresh.is_empty() {
            let spare = self.spare.take();
            let next = spare.unwrap_or_else(|| Lot::with_room_of(&self.fresh));
            self.going = Some(Arc::new(std::mem::replace(&mut self.fresh, next)));
        }
        self.going.clone()
    }

    /// The database has what was to be put into it.
    pub(super) fn done(&mut self) {
        if let Some(going) = self.going.take() {
            self.seen = going.mark;
        }
    }

    /// Keeps the memory of a lot that the database has.
    pub(super) fn keep(&mut self, emptied: Lot) {
        self.spare = Some(emptied);
    }

    /// All that its readers see of the database is on the disk.
    pub(super) fn is_durable(&mut self) {
        self.durable = self.seen;
    }

    /// The database has everything, on the disk, and is so far in its journal.
    pub(super) fn has_all(&mut self, mark: Mark) {
        (self.seen, self.durable) = (mark, mark);
    }
}

impl Leaves for Ahead {
    fn left(&self, task: TaskNumber) -> Option<Stands<'_>> {
        let going = || self.going.as_ref()?.left(task);
        self.fresh.left(task).or_else(going)
    }

    fn number(&self, id: &TaskId) -> Option<Option<TaskNumber>> {
        let going = || self.going.as_ref()?.number(id);
        self.fresh.number(id).or_else(going)
    }
}
