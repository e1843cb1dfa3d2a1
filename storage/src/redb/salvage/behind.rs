//! What a damaged file has in its journal alone, done again on the rows that were saved.

use super::pages::Pages;
use crate::commit::{Commit, Write};
use crate::plan::plan;
use crate::redb::batch::Tables;
use crate::redb::copy_error::CopyError;
use crate::redb::fresh::GAP;
use crate::redb::journal::{self, Mark};
use crate::redb::lot::Lot;
use crate::row::Etag;
use crate::store::{Counters, StoreError};
use redb::WriteTransaction;

/// What became of the commits of a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalSaved {
    /// Commits that were done again.
    pub done: u64,
    /// Commits that were not: they were decided on rows that are lost, or only in an earlier version here.
    pub refused: u64,
    /// A record is damaged that others follow: what it held is lost, unless the tables have it, and so is what followed for
    /// the same tasks. They go on from what they were before.
    pub is_broken: bool,
}

/// Does again what lies behind the mark, each commit that fits. Without a mark, of all that lies there what is later than the
/// highest etag among the rows.
///
/// # Errors
/// [`CopyError`] of the new file.
pub(super) fn again(
    pages: &Pages,
    (mark, highest): (Option<Mark>, Etag),
    txn: &WriteTransaction,
    mut counters: Counters,
) -> Result<(Counters, JournalSaved), CopyError> {
    let mut saved = JournalSaved::default();
    let (bytes, is_whole) = pages.journal();
    saved.is_broken = !is_whole;
    let later_than = if mark.is_some() { Etag(0) } else { highest };
    let mark = mark.or_else(|| journal::first(pages.shape(), &bytes));
    let Some(mark) = mark.filter(|_| !cfg!(planted = "salvage_skips_journal")) else {
        return Ok((counters, saved));
    };
    let behind = journal::behind(pages.shape(), mark, &bytes);
    saved.is_broken |= behind.broken.is_some();
    let beyond = journal::beyond(pages.shape(), &behind, mark, &bytes);
    let batches = behind.batches.iter().map(|(_, batch)| batch);
    for commit in batches.chain(&beyond).flatten() {
        if later_than > Etag(0) && !is_later(commit, later_than) {
            continue;
        }
        match one(txn, commit, &mut counters).map_err(failed)? {
            true => saved.done += 1,
            false => saved.refused += 1,
        }
    }
    Ok((counters, saved))
}

/// Whether the commit was made after this etag was given, by what it says itself.
fn is_later(commit: &Commit, etag: Etag) -> bool {
    commit.writes.iter().any(|write| match write.row() {
        Some(row) => row.etag > etag,
        None => matches!(write, Write::Event(event) if event.etag > etag),
    })
}

/// Whether the commit fits.
fn one(
    txn: &WriteTransaction,
    commit: &Commit,
    counters: &mut Counters,
) -> Result<bool, StoreError> {
    let mut tables = Tables::open(txn)?;
    let plan = match plan(std::slice::from_ref(commit), &tables) {
        Err(StoreError::Malformed { .. }) => return Ok(false),
        planned => planned?,
    };
    let is_done = !plan.accepted.is_empty();
    counters.etag.0 = counters.etag.0.max(plan.etag.0.saturating_add(GAP));
    let generation = plan.generation.0.saturating_add(GAP);
    counters.generation.0 = counters.generation.0.max(generation);
    tables.write(&Lot::of(plan, Mark::default()))?;
    Ok(is_done)
}

fn failed(error: StoreError) -> CopyError {
    match error {
        StoreError::Full => CopyError::Full,
        error => CopyError::Failed {
            message: error.to_string().into(),
        },
    }
}
