//! One batch: plan it on what is durable, make it durable in the journal, and let the database have it later.

use super::batch::Tables;
use super::journal::{self, Mark};
use super::lot::Lot;
use super::open::Facts;
use super::standing::{Over, Seen};
use super::tables::{ETAGS, GENERATIONS};
use super::{RedbStore, fault, replay};
use crate::commit::{Applied, Commit, Conflict};
use crate::plan::{Plan, plan};
use crate::row::{Etag, Generation};
use crate::store::{Counters, StoreError};
use redb::{Durability, WriteTransaction};
use std::sync::atomic::Ordering;

/// How many etags and generations are reserved at once: one more write per this many transitions, and as many
/// numbers skipped at an open.
const RESERVE_BLOCK: u64 = 65_536;

/// How much of the journal is taken when it is time to make room in it.
const FOLLOWS_FROM: f64 = 0.5;

/// How much of it may be taken when that is done: there must be time left to make it durable.
const DONE_BY: f64 = 0.75;

/// How far a file is in its journal.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Behind the last record.
    pub(super) mark: Mark,
    /// The last record, whose memory the next one takes.
    record: Vec<u8>,
}

impl Reached {
    /// As a file says when it is opened.
    pub(super) fn of(facts: &Facts) -> Reached {
        Reached {
            mark: facts.mark,
            record: Vec::new(),
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
    fn begin_write_behind(&self) -> Result<WriteTransaction, StoreError> {
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
        let mut plan = {
            // Held to the end of the plan: what is not found there is in the database then.
            let upper = self.ahead.lock();
            let below = &Seen::by(self);
            plan(batch, &Over { upper, below })?
        };
        let answers = std::mem::take(&mut plan.answers);
        if plan.accepted.is_empty() {
            return Ok(answers);
        }
        let mut mark = self.put_record(&plan, &mut reached)?;
        if mark.is_none() && self.has_been_made_room() {
            mark = self.put_record(&plan, &mut reached)?;
        }
        match mark {
            Some(mark) => {
                reached.mark = mark;
                self.ahead.lock().add(plan, mark);
            }
            None => self.put_through(plan, &reached)?,
        }
        Ok(answers)
    }

    /// Makes a batch durable in the journal. `None`: there is no journal, or no room in it.
    fn put_record(
        &self,
        plan: &Plan<'_>,
        reached: &mut Reached,
    ) -> Result<Option<Mark>, StoreError> {
        let Some(disk) = self.disk().filter(|disk| disk.shape().journal > 0) else {
            return Ok(None);
        };
        let commits: Vec<&Commit> = (plan.accepted.iter())
            .map(|accepted| accepted.commit)
            .collect();
        let marks = (reached.mark, self.ahead.lock().durable());
        let record = journal::record(disk.shape(), marks, &commits, &mut reached.record)?;
        let Some((from, next)) = record else {
            // Of one that is larger than any that is put, nothing is kept in memory.
            reached.record.clear();
            reached.record.shrink_to(disk.shape().journal as usize);
            return Ok(None);
        };
        let put = disk.put_record(from, &reached.record);
        put.map_err(|error| fault(redb::StorageError::from(error)))?;
        Ok(Some(next))
    }

    /// Waits for whoever is making room in the journal. False when nobody did.
    fn has_been_made_room(&self) -> bool {
        let durable = || self.ahead.lock().durable();
        let before = durable();
        drop(self.reserved.lock());
        durable() != before
    }

    /// Makes a batch durable in the database, and all that came before it: then there is room in the journal.
    fn put_through(&self, plan: Plan<'_>, reached: &Reached) -> Result<(), StoreError> {
        self.bring()?;
        let mut reserved = self.reserved.lock();
        let txn = self.begin_write_behind()?;
        let lot = Lot::of(plan, reached.mark);
        self.commit_lot(txn, (&lot, false), &mut reserved)?;
        self.ahead.lock().is_durable();
        Ok(())
    }

    /// Lets the database have everything that is durable. It need not be made durable there: the journal has it.
    pub(super) fn bring(&self) -> Result<(), StoreError> {
        if self.ahead.lock().is_empty() {
            return Ok(());
        }
        let mut reserved = self.reserved.lock();
        loop {
            let Some(lot) = self.ahead.lock().next() else {
                return Ok(());
            };
            let mut txn = self.begin_write_behind()?;
            txn.set_durability(Durability::None).map_err(fault)?;
            txn.set_quick_repair(false);
            self.commit_lot(txn, (&lot, false), &mut reserved)?;
            self.ahead.lock().done();
        }
    }

    /// True when half of the journal is behind what the database has on the disk.
    pub(super) fn is_far_behind(&self) -> bool {
        self.taken() > FOLLOWS_FROM
    }

    /// How much of the journal is behind what the database has on the disk, from 0 to 1.
    fn taken(&self) -> f64 {
        let Some(disk) = self.disk().filter(|disk| disk.shape().journal > 0) else {
            return 0.0;
        };
        let ahead = self.ahead.lock();
        let taken = journal::between(disk.shape(), (ahead.durable(), ahead.reached()));
        taken as f64 / f64::from(disk.shape().journal)
    }

    /// Who makes room in the journal, and is so far with it, lets others go on, as long as it is ahead of those who take it.
    fn give_way(&self, done: f64) {
        let pressed = (self.taken() - FOLLOWS_FROM) / (DONE_BY - FOLLOWS_FROM);
        if done >= pressed {
            std::thread::yield_now();
        }
    }

    /// Makes durable in the database what is durable in the journal alone. What comes meanwhile may be left to the next time.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let mut reserved = self.reserved.lock();
        let (lot, reached) = {
            let mut ahead = self.ahead.lock();
            let reached = ahead.reached();
            if ahead.durable() == reached {
                return Ok(());
            }
            (ahead.next(), reached)
        };
        let txn = self.begin_write_behind()?;
        match lot {
            Some(lot) => self.commit_lot(txn, (&lot, true), &mut reserved)?,
            // Readers have it all: what is left is to make it durable.
            None => {
                replay::put_mark(&txn, reached)?;
                txn.commit().map_err(fault)?;
            }
        }
        let mut ahead = self.ahead.lock();
        ahead.done();
        ahead.is_durable();
        Ok(())
    }

    /// Writes a lot, giving way to others or not, and commits it; nothing of it, where it cannot be written.
    fn commit_lot(
        &self,
        txn: WriteTransaction,
        (lot, gives_way): (&Lot, bool),
        reserved: &mut Counters,
    ) -> Result<(), StoreError> {
        match self.put_lot(&txn, (lot, gives_way), *reserved) {
            Ok(next) => {
                txn.commit().map_err(fault)?;
                *reserved = next;
                Ok(())
            }
            Err(failure) => {
                txn.abort().map_err(fault)?;
                Err(failure)
            }
        }
    }

    /// Writes a lot, and the numbers that are reserved then.
    fn put_lot(
        &self,
        txn: &WriteTransaction,
        (lot, gives_way): (&Lot, bool),
        reserved: Counters,
    ) -> Result<Counters, StoreError> {
        let mut tables = Tables::open(txn)?;
        match gives_way {
            true => tables.write_politely(lot, |done| self.give_way(done))?,
            false => tables.write(lot)?,
        }
        self.btree_writes
            .fetch_add(tables.writes(), Ordering::Relaxed);
        self.entry_bytes
            .fetch_add(tables.bytes(), Ordering::Relaxed);
        drop(tables);
        if self.disk().is_some_and(|disk| disk.shape().journal > 0) {
            replay::put_mark(txn, lot.mark)?;
        }
        reserve(txn, (self.incarnation, reserved), lot)
    }
}

/// Writes new reservations when a lot brings numbers beyond the present ones.
pub(super) fn reserve(
    txn: &WriteTransaction,
    (incarnation, mut reserved): (u128, Counters),
    lot: &Lot,
) -> Result<Counters, StoreError> {
    if cfg!(planted = "counters_not_reserved") {
        return Ok(reserved);
    }
    if lot.etag > reserved.etag {
        reserved.etag = Etag(lot.etag.0.saturating_add(RESERVE_BLOCK));
        let mut etags = txn.open_table(ETAGS).map_err(fault)?;
        etags.insert(incarnation, reserved.etag.0).map_err(fault)?;
    }
    if lot.generation > reserved.generation {
        reserved.generation = Generation(lot.generation.0.saturating_add(RESERVE_BLOCK));
        let mut generations = txn.open_table(GENERATIONS).map_err(fault)?;
        generations
            .insert(incarnation, reserved.generation.0)
            .map_err(fault)?;
    }
    Ok(reserved)
}
