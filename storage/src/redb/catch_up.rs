//! Letting the database have what is durable in the journal alone: before it is read, and from time to time.

use super::batch::Tables;
use super::lot::Lot;
use super::tables::{ETAGS, GENERATIONS};
use super::{RedbStore, fault, journal, panics, replay};
use crate::row::{Etag, Generation};
use crate::store::{Counters, StoreError};
use redb::{Durability, WriteTransaction};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many etags and generations are reserved at once: one more write per this many transitions, and as many
/// numbers skipped at an open.
const RESERVE_BLOCK: u64 = 65_536;

/// How much of the journal is taken when it is time to make room in it.
const FOLLOWS_FROM: f64 = 0.5;

/// How much of it may be taken when that is done: there must be time left to make it durable.
const DONE_BY: f64 = 0.75;

impl RedbStore {
    /// Lets the database have everything that is durable by now. It need not be made durable there: the journal has it.
    pub(super) fn bring(&self) -> Result<(), StoreError> {
        let wanted = {
            let ahead = self.ahead.lock();
            if ahead.is_empty() {
                return Ok(());
            }
            ahead.reached()
        };
        let mut reserved = self.reserved.lock();
        loop {
            let lot = {
                let mut ahead = self.ahead.lock();
                // Not what others have added since: whoever commits is never done.
                if ahead.seen().is_at_least(wanted) {
                    return Ok(());
                }
                ahead.next()
            };
            let Some(lot) = lot else { return Ok(()) };
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
        match &lot {
            Some(lot) => self.commit_lot(txn, (lot, true), &mut reserved)?,
            // Readers have it all: what is left is to make it durable.
            None => {
                replay::put_mark(&txn, reached)?;
                txn.commit().map_err(fault)?;
            }
        }
        {
            let mut ahead = self.ahead.lock();
            ahead.done();
            ahead.is_durable();
        }
        // Not under the lock: there is much to give back in it.
        if let Some(emptied) = lot.and_then(Arc::into_inner).and_then(Lot::emptied) {
            self.ahead.lock().keep(emptied);
        }
        Ok(())
    }

    /// Writes a lot, giving way to others or not, and commits it; nothing of it, where it cannot be written.
    pub(super) fn commit_lot(
        &self,
        txn: WriteTransaction,
        (lot, gives_way): (&Lot, bool),
        reserved: &mut Counters,
    ) -> Result<(), StoreError> {
        panics::written(|| match self.put_lot(&txn, (lot, gives_way), *reserved) {
            Ok(next) => {
                txn.commit().map_err(fault)?;
                *reserved = next;
                Ok(())
            }
            Err(failure) => {
                txn.abort().map_err(fault)?;
                Err(failure)
            }
        })
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
