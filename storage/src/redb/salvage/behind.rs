//! What a damaged file has in its journal alone, done again on the rows that were saved.

use super::again::Again;
use super::gather::Gathered;
use super::pages::Pages;
use crate::commit::{Bears, Commit, Write};
use crate::redb::copy_error::CopyError;
use crate::redb::journal::{self, Broken, Mark};
use crate::redb::report::{Findings, Wrong};
use crate::redb::tables::JOURNALLED;
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

/// Does again what lies behind the mark. Without a mark, which is told, of all that lies there what is later than the highest
/// etag among the rows, and what no etag tells of that came right before that. Answers the highest numbers among what was done.
///
/// # Errors
/// [`CopyError`] of the new file.
pub(super) fn again(
    pages: &Pages,
    highest: Etag,
    (txn, findings): (&WriteTransaction, &mut Findings),
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
        if known.is_none() {
            findings.add("meta", JOURNALLED, Wrong::Damaged);
        }
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
        let all: Vec<_> = behind.chain(beyond).collect();
        let from = match known {
            Some(_) => 0,
            None => first_to_do(&all, highest),
        };
        // They lie in their order: from the first later one on all are.
        let mut begun = known.is_some();
        let mut last = known.map(|mark| mark.seq);
        for (seq, batch) in all.into_iter().skip(from) {
            again.saved.is_broken |= last.is_some_and(|last| seq != last + 1);
            for commit in batch {
                let is_later = later(commit, highest);
                if begun || is_later != Some(false) {
                    again.commit(commit).map_err(failed)?;
                }
                begun |= is_later == Some(true);
            }
            last = begun.then_some(seq);
        }
    }
    again.end();
    let counters = Counters {
        etag: again.etag,
        generation: again.generation,
    };
    Ok((counters, again.saved))
}

/// Where to begin without a mark: with the first batch of which something is later than this etag, and before it with those that
/// no etag tells of, as steps and items of streams. They came after the last one that the tables have for certain, and putting
/// once more what they have changes nothing. What is left of earlier rounds is not among them: it is not what came right before.
fn first_to_do(all: &[(u64, &Vec<Commit>)], highest: Etag) -> usize {
    let tells = |batch: &[Commit], is: Option<bool>| {
        (batch.iter()).any(|commit| later(commit, highest) == is)
    };
    let later = all.iter().position(|(_, batch)| tells(batch, Some(true)));
    let mut from = later.unwrap_or(all.len());
    while let Some(before) = from.checked_sub(1) {
        let (seq, batch) = &all[before];
        let is_next = all.get(from).is_none_or(|(next, _)| seq + 1 == *next);
        let is_known =
            tells(batch, Some(false)) || cfg!(planted = "salvage_leaves_out_without_etag");
        if !is_next || is_known {
            break;
        }
        from = before;
    }
    from
}

/// Whether the commit was made after this etag was given, by what it says itself; `None` where it says nothing of that, and may
/// be done once more. What counts for another task, and a removal, may not.
fn later(commit: &Commit, etag: Etag) -> Option<bool> {
    let mut last = None;
    let mut once = false;
    for write in &commit.writes {
        match write.bears() {
            Bears::Row(row) => last = last.max(Some(row.etag)),
            Bears::Event(event) => last = last.max(Some(event.etag)),
            Bears::Removal => once = true,
            Bears::Segment(..) | Bears::Value(_) => {}
            Bears::Nothing => once |= matches!(write, Write::ChildEnded(_)),
        }
    }
    match last {
        None if !once => None,
        last => Some(last.is_some_and(|last| last > etag)),
    }
}

fn failed(error: StoreError) -> CopyError {
    match error {
        StoreError::Full => CopyError::Full,
        error => CopyError::Failed {
            message: error.to_string().into(),
        },
    }
}
