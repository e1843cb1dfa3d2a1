//! What became of a batch whose commit failed.
//!
//! A failed commit says nothing: it may be in the store, as one does that fails after its sync. A batch is one
//! transaction, though, so any trace of one of its commits that cannot be older than the batch tells of all of them.

use crate::commit::{Applied, Bears, Commit, Conflict, Expect};
use crate::row::{Etag, TaskNumber, TaskRow};
use crate::store::{Store, StoreError};

/// The answers of a batch that was applied.
type Answers = Vec<Result<Applied, Conflict>>;

/// Looks whether a batch whose commit failed is in the store, which was opened again since. Nobody else has written
/// meanwhile.
///
/// Its answers, when it is; a commit to a row that cannot be read is among them as the [`Conflict`] that it would be.
/// `None` when it is not, or when nothing tells: committing it again then changes what it would have changed, once.
///
/// ```
/// use outlive_storage::{MemStore, settle};
/// assert_eq!(settle(&MemStore::new(), &[]), Ok(None));
/// ```
///
/// # Errors
/// [`StoreError`] when the store cannot be read: open it again, and ask again.
pub fn settle(store: &dyn Store, batch: &[Commit]) -> Result<Option<Answers>, StoreError> {
    for commit in batch {
        // One that is missing may have been refused alone, for damage that its row had.
        if left_a_trace(store, commit, batch)? && !cfg!(planted = "settled_as_missing") {
            let answers = batch.iter().map(|commit| answer(store, commit));
            return answers.collect::<Result<_, _>>().map(Some);
        }
    }
    Ok(None)
}

/// Whether the store shows what this commit alone can have left: an etag, a number in the log or in a stream is given
/// once. False also where it would look the same either way.
fn left_a_trace(store: &dyn Store, commit: &Commit, batch: &[Commit]) -> Result<bool, StoreError> {
    let mut row = None;
    let mut event = None;
    let mut segment = None;
    let mut removes = false;
    for write in &commit.writes {
        match write.bears() {
            Bears::Row(written) => row = Some(written.etag),
            Bears::Event(written) => event = Some(written.etag),
            Bears::Segment(written, _) => segment = Some(written),
            Bears::Removal => removes = true,
            Bears::Value(_) | Bears::Nothing => {}
        }
    }
    let Some(found) = readable(store, commit)? else {
        return Ok(false);
    };
    if let Some(etag) = event {
        let page = store.events(Etag(etag.0 - 1), 1)?;
        let is_there = page.events.first().is_some_and(|found| found.etag == etag);
        return Ok(is_there);
    }
    if removes {
        // What was started and removed by one batch leaves no trace but in the log.
        return Ok(found.is_none() && !begins(batch, commit.task));
    }
    if let Some(etag) = row {
        return Ok(found.is_some_and(|found| found.etag == etag));
    }
    if let Some(first) = segment {
        return match store.segments(commit.task, first - 1, 1) {
            Ok(segments) => Ok(segments.iter().any(|found| found.first == first)),
            Err(damage) if damage.is_of_one_entry() => Ok(false),
            Err(failure) => Err(failure),
        };
    }
    Ok(false)
}

/// Whether the task is not older than the batch, in which its removal is a commit of its own.
fn begins(batch: &[Commit], task: TaskNumber) -> bool {
    let of_task = |commit: &&Commit| commit.task == task;
    let mut commits = batch.iter().filter(of_task);
    commits.any(|commit| commit.expect == Expect::Absent)
        && !cfg!(planted = "removed_newcomer_taken_for_trace")
}

/// The row of a commit's task, if it can be read.
fn readable(store: &dyn Store, commit: &Commit) -> Result<Option<Option<TaskRow>>, StoreError> {
    match store.get(commit.task) {
        Ok(row) => Ok(Some(row)),
        Err(damage) if damage.is_of_one_entry() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What the commit of an applied batch was answered.
fn answer(store: &dyn Store, commit: &Commit) -> Result<Result<Applied, Conflict>, StoreError> {
    match store.get(commit.task) {
        Ok(row) => {
            let etag = row.map_or(Etag(commit.task.0), |row| row.etag);
            Ok(Ok(Applied { etag }))
        }
        Err(damage) if damage.is_of_one_entry() => Ok(Err(Conflict {
            task: commit.task,
            found: Err(damage),
        })),
        Err(failure) => Err(failure),
    }
}
