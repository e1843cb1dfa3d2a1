//! Whether the tables of a file are of one moment, by how many entries each says it has.
//!
//! A disk that brings back an old version of a page brings back an old table: each of its entries is one that was
//! written. Three tables have one entry for each task, and the three between which tasks move no more than that; asking for
//! their lengths reads none of their pages.

use super::tables::{BY_DEFINITION, DUE, EXPIRY, IDS, RUNNING, TASKS};
use redb::{ReadTransaction, ReadableTableMetadata};

/// True when the lengths can be those of one moment.
///
/// # Errors
/// What redb fails with.
pub(super) fn agree(txn: &ReadTransaction) -> Result<bool, redb::Error> {
    if cfg!(planted = "lengths_not_compared") {
        return Ok(true);
    }
    let tasks = txn.open_table(TASKS)?.len()?;
    let named = txn.open_table(IDS)?.len()?;
    let listed = txn.open_table(BY_DEFINITION)?.len()?;
    let due = txn.open_table(DUE)?.len()?;
    let running = txn.open_table(RUNNING)?.len()?;
    let expiring = txn.open_table(EXPIRY)?.len()?;
    let placed = due
        .checked_add(running)
        .and_then(|sum| sum.checked_add(expiring));
    Ok((named, listed) == (tasks, tasks) && placed.is_some_and(|placed| placed <= tasks))
}
