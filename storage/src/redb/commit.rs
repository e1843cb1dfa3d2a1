//! One batch in one write transaction: plan it on what the transaction sees, then write what was accepted.

use super::batch::Tables;
use super::journal::{self, Mark};
use super::open::Facts;
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

/// How far a file is.
#[derive(Debug)]
pub(crate) struct Reached {
    /// The numbers it reserves.
    pub(super) counters: Counters,
    /// How far the database is in its journal.
    pub(super) mark: Mark,
    /// The last record, whose memory the next one takes.
    record: Vec<u8>,
}

impl Reached {
    /// As a file says when it is opened.
    pub(super) fn of(facts: &Facts) -> Reached {
        Reached {
            counters: facts.counters,
            mark: facts.mark,
            record: Vec::new(),
        }
    }
}

type Answers = Vec<Result<Applied, Conflict>>;

impl RedbStore {
    /// Begins a durable write transaction.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        self.medium.check_in_place()?;
        if let Some(disk) = self.disk() {
            let made = disk.make_room();
            made.map_err(|error| fault(redb::StorageError::from(error)))?;
        }
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
        let mut txn = self.begin_write()?;
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
        let counters = reserve(&txn, (self.incarnation, reached.counters), &plan)?;
        let mark = self.put_record(&mut txn, &plan, &mut reached)?;
        txn.commit().map_err(fault)?;
        (reached.counters, reached.mark) = (counters, mark);
        self.btree_writes.fetch_add(writes, Ordering::Relaxed);
        self.entry_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(plan.answers)
    }

    /// Makes durable in the database what is durable in the journal alone.
    pub(super) fn settle(&self, reached: &mut Reached) -> Result<(), StoreError> {
        let rewound = reached.mark.rewound();
        if reached.mark == rewound {
            return Ok(());
        }
        let txn = self.begin_write()?;
        replay::put_mark(&txn, rewound)?;
        txn.commit().map_err(fault)?;
        reached.mark = rewound;
        Ok(())
    }

    /// Makes a batch durable in the journal, so that redb need not. Where there is none, or no room in it, redb makes durable
    /// all there is, and the journal begins anew.
    fn put_record(
        &self,
        txn: &mut WriteTransaction,
        plan: &Plan<'_>,
        reached: &mut Reached,
    ) -> Result<Mark, StoreError> {
        let Some(disk) = self.disk().filter(|disk| disk.shape().journal > 0) else {
            return Ok(reached.mark);
        };
        let commits: Vec<&Commit> = plan
            .accepted
            .iter()
            .map(|accepted| accepted.commit)
            .collect();
        let next = journal::record(disk.shape(), reached.mark, &commits, &mut reached.record)?;
        let Some(next) = next else {
            // Of one that is larger than any that is put, nothing is kept in memory.
            reached.record.clear();
            reached.record.shrink_to(disk.shape().journal as usize);
            let rewound = reached.mark.rewound();
            replay::put_mark(txn, rewound)?;
            return Ok(rewound);
        };
        replay::put_mark(txn, next)?;
        let put = disk.put_record(reached.mark.at(), &reached.record);
        put.map_err(|error| fault(redb::StorageError::from(error)))?;
        // Before the commit, which shows the batch to readers: what they see is durable.
        txn.set_durability(Durability::None).map_err(fault)?;
        txn.set_quick_repair(false);
        Ok(next)
    }
}

/// Writes new reservations when the batch brings numbers beyond the present ones.
pub(super) fn reserve(
    txn: &WriteTransaction,
    (incarnation, mut reserved): (u128, Counters),
    plan: &Plan<'_>,
) -> Result<Counters, StoreError> {
    if cfg!(planted = "counters_not_reserved") {
        return Ok(reserved);
    }
    if plan.etag > reserved.etag {
        reserved.etag = Etag(plan.etag.0.saturating_add(RESERVE_BLOCK));
        let mut etags = txn.open_table(ETAGS).map_err(fault)?;
        etags.insert(incarnation, reserved.etag.0).map_err(fault)?;
    }
    if plan.generation > reserved.generation {
        reserved.generation = Generation(plan.generation.0.saturating_add(RESERVE_BLOCK));
        let mut generations = txn.open_table(GENERATIONS).map_err(fault)?;
        generations
            .insert(incarnation, reserved.generation.0)
            .map_err(fault)?;
    }
    Ok(reserved)
}
