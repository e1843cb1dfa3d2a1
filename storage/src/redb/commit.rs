//! One batch: plan it on what is durable, make it durable in the journal, and let the database have it later.

use super::journal::{self, Mark, Placed};
use super::lot::Lot;
use super::open::Facts;
use super::standing::{Over, Seen};
use super::tops::Tops;
use super::{RedbStore, fault};
use crate::commit::{Applied, Commit, Conflict};
use crate::plan::{Plan, Room, plan_in};
use crate::store::StoreError;
use redb::{Durability, WriteTransaction};

/// How far a file is in its journal.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Behind the last record.
    pub(super) mark: Mark,
    /// The last record, whose memory the next one takes.
    record: Vec<u8>,
    /// Known from the first batch on.
    tops: Option<Tops>,
    /// The memory of the last plan, for the next one.
    room: Room,
}

impl Reached {
    /// As a file says when it is opened.
    pub(super) fn of(facts: &Facts) -> Reached {
        Reached {
            mark: facts.mark,
            record: Vec::new(),
            tops: None,
            room: Room::default(),
        }
    }
}

type Answers = Vec<Result<Applied, Conflict>>;

impl RedbStore {
    /// Refuses to write to a file that is no longer the one under its path, or where there is no room for what is held.
    fn check_writable(&self) -> Result<(), StoreError> {
        self.medium.check_in_place()?;
        if let Some(disk) = self.disk() {
            let made = disk.make_room();
            made.map_err(|error| fault(redb::StorageError::from(error)))?;
        }
        Ok(())
    }

    /// Begins a durable write transaction on a database that has everything that is durable.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.bring()?;
        self.begin_write_behind()
    }

    /// Begins a durable write transaction on the database as it is.
    pub(super) fn begin_write_behind(&self) -> Result<WriteTransaction, StoreError> {
        self.check_writable()?;
        let begun = self.database(|database| database.begin_write())?;
        let mut txn = begun.map_err(fault)?;
        let durability = if cfg!(planted = "commit_not_synced") {
            Durability::None
        } else {
            Durability::Immediate
        };
        txn.set_durability(durability).map_err(fault)?;
        txn.set_quick_repair(self.options.quick_repair && !cfg!(planted = "quick_repair_off"));
        Ok(txn)
    }

    /// Applies a batch.
    pub(crate) fn apply(&self, batch: &[Commit]) -> Result<Answers, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut reached = self.reached.lock();
        self.check_writable()?;
        let tops = match reached.tops.take() {
            Some(tops) => tops,
            // The database has everything: nothing was committed yet.
            None => Seen::by(self).tops()?,
        };
        let room = std::mem::take(&mut reached.room);
        let tops = reached.tops.insert(tops);
        let mut plan = {
            // Held to the end of the plan: what is not found there is in the database then.
            let upper = self.ahead.lock();
            let below = &Seen::below(self, tops);
            plan_in(room, batch, &Over { upper, below })?
        };
        tops.take(&plan);
        let answers = std::mem::take(&mut plan.answers);
        if plan.accepted.is_empty() {
            return Ok(answers);
        }
        let mut placed = self.put_record(&plan, &mut reached)?;
        if placed.is_none() && self.has_been_made_room() {
            placed = self.put_record(&plan, &mut reached)?;
        }
        match placed {
            Some(Placed { next, bodies, .. }) => {
                reached.mark = next;
                let record = (&*reached.record, bodies);
                let room = self.ahead.lock().add(plan, record, next);
                reached.room = room;
            }
            None => self.put_through(plan, &mut reached)?,
        }
        Ok(answers)
    }

    /// Makes a batch durable in the journal. `None`: there is no journal, or no room in it.
    fn put_record(
        &self,
        plan: &Plan<'_>,
        reached: &mut Reached,
    ) -> Result<Option<Placed>, StoreError> {
        let Some(disk) = self.disk().filter(|disk| disk.shape().journal > 0) else {
            return Ok(None);
        };
        let commits: Vec<&Commit> = (plan.accepted.iter())
            .map(|accepted| accepted.commit)
            .collect();
        let marks = (reached.mark, self.ahead.lock().durable());
        let record = journal::record(disk.shape(), marks, &commits, &mut reached.record)?;
        let Some(placed) = record else {
            // Of one that is larger than any that is put, nothing is kept in memory.
            reached.record.clear();
            reached.record.shrink_to(disk.shape().journal as usize);
            return Ok(None);
        };
        let put = disk.put_record(placed.at, &reached.record);
        put.map_err(|error| fault(redb::StorageError::from(error)))?;
        Ok(Some(placed))
    }

    /// Waits for whoever is making room in the journal. False when nobody did.
    fn has_been_made_room(&self) -> bool {
        let durable = || self.ahead.lock().durable();
        let before = durable();
        drop(self.reserved.lock());
        durable() != before
    }

    /// Makes a batch durable in the database, and all that came before it: then the whole journal is free.
    fn put_through(&self, plan: Plan<'_>, reached: &mut Reached) -> Result<(), StoreError> {
        self.bring()?;
        let lot = Lot::of(plan, reached.mark.rewound())?;
        let mut reserved = self.reserved.lock();
        let txn = self.begin_write_behind()?;
        self.commit_lot(txn, (&lot, false), &mut reserved)?;
        reached.mark = lot.mark;
        self.ahead.lock().has_all(lot.mark);
        Ok(())
    }
}
