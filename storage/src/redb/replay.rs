//! What is durable in the journal alone, done again in the database.

use super::batch::Tables;
use super::catch_up::reserve;
use super::fault;
use super::journal::{Behind, Mark};
use super::lot::Lot;
use super::standing::Over;
use super::tables::{JOURNALLED, META};
use crate::commit::{Commit, Conflict, Expect};
use crate::plan::plan;
use crate::store::{Counters, StoreError};
use redb::{Database, Durability, WriteTransaction};

/// Does the batches behind the database's mark, in one transaction. True when there were some.
///
/// # Errors
/// [`StoreError::Malformed`] when one of them does not fit the database; what redb fails with. Nothing of them is done then.
pub(super) fn replay(
    database: &Database,
    behind: &Behind,
    (incarnation, reserved): (u128, Counters),
) -> Result<bool, StoreError> {
    let Some((mark, _)) = behind.batches.last() else {
        return Ok(false);
    };
    if cfg!(planted = "journal_not_replayed") {
        return Ok(false);
    }
    let mut txn = database.begin_write().map_err(fault)?;
    txn.set_durability(Durability::Immediate).map_err(fault)?;
    txn.set_quick_repair(true);
    let mut tables = Tables::open(&txn)?;
    let mut lot = Lot::default();
    for (mark, batch) in &behind.batches {
        again(&tables, (*mark, batch), &mut lot)?;
    }
    tables.write(&lot)?;
    drop(tables);
    reserve(&txn, (incarnation, reserved), &lot)?;
    put_mark(&txn, *mark)?;
    txn.commit().map_err(fault)?;
    Ok(true)
}

/// As the batch was done the first time: all of it was accepted then. Of a commit whose row was damaged since, only what it says
/// to others is done: its task is damaged, and all others go on.
fn again(
    tables: &Tables<'_>,
    (mark, batch): (Mark, &[Commit]),
    lot: &mut Lot,
) -> Result<(), StoreError> {
    let (upper, below) = (&*lot, tables);
    let plan = plan(batch, &Over { upper, below })?;
    for (commit, answer) in batch.iter().zip(&plan.answers) {
        match answer {
            Ok(_) => {}
            Err(conflict) if is_of_damage(commit, conflict) => {
                tracing::error!(
                    task = commit.task.0,
                    "its row is damaged: what the journal has of it is left out"
                );
                lot.tell(commit)?;
            }
            Err(_) => {
                return Err(StoreError::Malformed {
                    what: "a batch of the journal does not fit the rows",
                });
            }
        }
    }
    lot.take(plan, mark)
}

/// Says in the database how far it is in its journal.
pub(super) fn put_mark(txn: &WriteTransaction, mark: Mark) -> Result<(), StoreError> {
    let mut meta = txn.open_table(META).map_err(fault)?;
    let put = meta.insert(JOURNALLED, mark.to_bits());
    put.map(drop).map_err(fault)
}

/// The commit is refused because the row of its own task is damaged. A start that finds somebody else's damaged row under its id
/// is another matter: nothing of it may be left out.
fn is_of_damage(commit: &Commit, conflict: &Conflict) -> bool {
    let is_own = conflict.task == commit.task && commit.expect != Expect::Absent;
    is_own && conflict.found.is_err() && !cfg!(planted = "replay_stops_at_damage")
}
