//! One batch in one write transaction: plan it on what the transaction sees, then write what was accepted.

use super::batch::Tables;
use super::tables::{ETAGS, GENERATIONS};
use super::{RedbStore, fault};
use crate::commit::{Applied, Commit, Conflict};
use crate::plan::{Plan, plan};
use crate::row::{Etag, Generation};
use crate::store::{Counters, StoreError};
use redb::{Durability, WriteTransaction};
use std::sync::atomic::Ordering;

/// How many etags and generations are reserved at once: one more write per this many transitions, and as many
/// numbers skipped at an open.
const RESERVE_BLOCK: u64 = 65_536;

type Answers = Vec<Result<Applied, Conflict>>;

impl RedbStore {
    /// Begins a durable write transaction.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.medium.check_in_place()?;
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
        let mut reserved = self.reserved.lock();
        let txn = self.begin_write()?;
        let mut tables = Tables::open(&txn)?;
        let plan = match plan(batch, &tables) {
            Ok(plan) if !plan.accepted.is_empty() => plan,
            refused => {
                drop(tables);
                txn.abort().map_err(fault)?;
                return refused.map(|plan| plan.answers);
            }
        };
        let written = tables.write(&plan.accepted);
        let (writes, bytes) = (tables.writes(), tables.bytes());
        drop(tables);
        if let Err(malformed) = written {
            txn.abort().map_err(fault)?;
            return Err(malformed);
        }
        let next = self.reserve(&txn, *reserved, &plan)?;
        txn.commit().map_err(fault)?;
        *reserved = next;
        self.btree_writes.fetch_add(writes, Ordering::Relaxed);
        self.entry_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(plan.answers)
    }

    /// Writes new reservations when the batch brings numbers beyond the present ones.
    fn reserve(
        &self,
        txn: &WriteTransaction,
        mut reserved: Counters,
        plan: &Plan<'_>,
    ) -> Result<Counters, StoreError> {
        if cfg!(planted = "counters_not_reserved") {
            return Ok(reserved);
        }
        if plan.etag > reserved.etag {
            reserved.etag = Etag(plan.etag.0.saturating_add(RESERVE_BLOCK));
            let mut etags = txn.open_table(ETAGS).map_err(fault)?;
            etags
                .insert(self.incarnation, reserved.etag.0)
                .map_err(fault)?;
        }
        if plan.generation > reserved.generation {
            reserved.generation = Generation(plan.generation.0.saturating_add(RESERVE_BLOCK));
            let mut generations = txn.open_table(GENERATIONS).map_err(fault)?;
            generations
                .insert(self.incarnation, reserved.generation.0)
                .map_err(fault)?;
        }
        Ok(reserved)
    }
}
