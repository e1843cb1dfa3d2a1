//! What a damaged file has in its journal alone, done again on the rows that were saved.

use super::again::Again;
use super::gather::Gathered;
use super::pages::Pages;
use crate::commit::{Commit, Write};
use crate::redb::copy_error::CopyError;
use crate::redb::journal::{self, Broken, Mark};
use crate::row::Etag;
use crate::store::{Counters, StoreError};
use redb::WriteTransaction;

/// What became of the commits of a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalSaved {
    /// Commits that were done again as they were.
    pub done: u64,
    /// Commits that were taken although an earlier one of the same task is lost, or its row is. The task goes on from the last
    /// version of its row, and an input or a large value that is missing beside it is among the findings. What the lost
    /// commit said and no row repeats, nobody can miss: a step runs again, items are missing in a stream, metadata are
    /// those of before.
    pub taken: u64,
    /// Commits that were not done: no row of their task was found, or one that is later.
    pub refused: u64,
    /// A record is damaged that others follow: what it held is lost, unless the tables have it.
    pub is_broken: bool,
}

/// Does again what lies behind the mark. Without a mark, of all that lies there what is later than the highest etag among the
/// rows. Answers the highest numbers among what was done.
///
/// # Errors
/// [`CopyError`] of the new file.
pub(super) fn again(
    pages: &Pages,
    highest: Etag,
    txn: &WriteTransaction,
    gathered: &mut Gathered,
) -> Result<(Counters, JournalSaved), CopyError> {
    let shape = pages.shape_of(gathered.incarnation);
    let (bytes, is_whole) = pages.journal(shape);
    // Without any row in the tables the journal has all there is, from its first record on.
    let of_empty = (highest == Etag(0)).then(Mark::default);
    let known = gathered.mark.or(of_empty);
    let mark = known.or_else(|| journal::first(shape, &bytes));
    let mark = mark.filter(|_| !cfg!(planted = "salvage_skips_journal"));
    let mut again = Again::begin(txn, gathered).map_err(failed)?;
    again.saved.is_broken = !is_whole;
    if let Some(mark) = mark {
        let behind = journal::behind(shape, mark, &bytes);
        let beyond = journal::beyond(shape, &behind, mark, &bytes);
        again.saved.is_broken |= match behind.broken {
            Some(Broken::Unread) => true,
            // What is left of earlier rounds is no gap.
            Some(Broken::Gap) => {
                known.is_some() || cfg!(planted = "salvage_sees_a_gap_in_what_is_left")
            }
            None => false,
        };
        let behind = behind.batches.iter().map(|(mark, batch)| (mark.seq, batch));
        let beyond = beyond.iter().map(|(seq, batch)| (*seq, batch));
        let mut last = known.map(|mark| mark.seq);
        for (seq, batch) in behind.chain(beyond) {
            again.saved.is_broken |= last.is_some_and(|last| seq != last + 1);
            for commit in batch {
                // They lie in their order: from the first later one on all are.
                if last.is_some() || is_later(commit, highest) {
                    again.commit(commit).map_err(failed)?;
                    last = Some(seq);
                }
            }
            last = last.map(|_| seq);
        }
    }
    again.end();
    let counters = Counters {
        etag: again.etag,
        generation: again.generation,
    };
    Ok((counters, again.saved))
}

/// Whether the commit was made after this etag was given, by what it says itself.
fn is_later(commit: &Commit, etag: Etag) -> bool {
    commit.writes.iter().any(|write| match write.row() {
        Some(row) => row.etag > etag,
        None => matches!(write, Write::Event(event) if event.etag > etag),
    })
}

fn failed(error: StoreError) -> CopyError {
    match error {
        StoreError::Full => CopyError::Full,
        error => CopyError::Failed {
            message: error.to_string().into(),
        },
    }
}
