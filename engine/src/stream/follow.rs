//! Follows one stream: replayed from the store, then live, with no gap and no duplicate, in bounded memory.

use crate::machine::Status;
use crate::reader::{ReadError, Reader};
use crate::stream::PAGE_BYTES;
use crate::stream::tail::{Following, Kept, Standing, Tails, Taken};
use outlive_storage::row::{SegmentRow, TaskNumber, TaskRow};
use outlive_storage::{Segment, Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;

/// What comes next in a stream.
#[derive(Debug)]
pub(crate) enum Next {
    /// An entry of a segment: its sequence number, and its place.
    Entry(u64, Arc<SegmentRow>, usize),
    /// Entries up to this sequence number are not there any more.
    Gap(u64),
    /// A segment is damaged.
    Damaged(StoreError),
    /// The task's run has ended so, and there is nothing more.
    End(Arc<TaskRow>),
    /// The task was removed before its run had ended.
    Gone,
    /// The engine stopped first.
    Stopped,
}

/// A reader of one stream, before its items are decoded.
///
/// It holds at most one page. First it looks into the store: whatever that does not show it is told by the tail, which
/// it began to follow before. If it falls behind the tail, it looks into the store again.
pub(crate) struct Follower {
    reader: Arc<Reader>,
    /// `None`: the engine had stopped before.
    following: Option<Following>,
    task: TaskNumber,
    /// The last sequence number that was given, or passed over.
    after: u64,
    page: VecDeque<Piece>,
    page_bytes: usize,
    caught_up: bool,
    /// The damaged segment that was told of last.
    damaged: Option<u64>,
    over: bool,
}

/// What a page is made of.
enum Piece {
    Segment(Kept, usize),
    Other(Next),
}

/// What the store shows: the row was read first, so that whatever the run emitted before it ended is among the rest.
struct Seen {
    row: Option<TaskRow>,
    segments: Vec<Segment>,
}

impl Follower {
    pub(crate) fn new(
        reader: &Arc<Reader>,
        tails: &Arc<Tails>,
        task: TaskNumber,
        after: u64,
    ) -> Follower {
        Follower {
            reader: Arc::clone(reader),
            following: tails.follow(task),
            task,
            after,
            page: VecDeque::new(),
            page_bytes: 0,
            caught_up: cfg!(planted = "tail_trusted_at_once"),
            damaged: None,
            over: false,
        }
    }

    /// The last sequence number that was given.
    pub(crate) fn position(&self) -> u64 {
        self.after
    }

    /// Bytes that are held for the reader, about.
    pub(crate) fn held(&self) -> usize {
        self.page_bytes
    }

    /// Nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.over && self.page.is_empty()
    }

    /// What is next of what was fetched.
    pub(crate) fn ready(&mut self) -> Option<Next> {
        loop {
            match self.page.front_mut()? {
                Piece::Other(_) => {
                    let Some(Piece::Other(next)) = self.page.pop_front() else {
                        return None;
                    };
                    if let Next::Gap(until) = &next {
                        self.after = self.after.max(*until);
                    }
                    return Some(next);
                }
                Piece::Segment(kept, at) => {
                    let begun = usize::try_from((self.after + 1).saturating_sub(kept.first));
                    *at = (*at).max(begun.unwrap_or(usize::MAX));
                    if *at < kept.row.entries.len() {
                        let sequence = kept.first + *at as u64;
                        let next = Next::Entry(sequence, Arc::clone(&kept.row), *at);
                        *at += 1;
                        self.after = sequence;
                        return Some(next);
                    }
                    self.page_bytes -= kept.row.size();
                    self.page.pop_front();
                }
            }
        }
    }

    /// Waits until there is something, or the stream is over, or the reader has everything and `pauses` says of the task
    /// that it need not wait on: the row then. Dropping the future loses nothing.
    pub(crate) async fn fetch(
        &mut self,
        pauses: impl Fn(&TaskRow) -> bool,
    ) -> Result<Option<Arc<TaskRow>>, ReadError> {
        while self.page.is_empty() && !self.over {
            let Some(following) = &mut self.following else {
                self.finish(Next::Stopped);
                break;
            };
            following.mark();
            match following.take(self.after, self.caught_up, PAGE_BYTES) {
                Taken::Segments(segments) => self.fill(segments),
                Taken::Lost(until) => self.page.push_back(Piece::Other(Next::Gap(until))),
                Taken::Behind => self.look().await?,
                Taken::Nothing(Standing::Row(row)) if is_over(&row) => {
                    self.finish(Next::End(row));
                }
                Taken::Nothing(Standing::Row(row)) if pauses(&row) => return Ok(Some(row)),
                Taken::Nothing(Standing::Removed(row)) => self.removed(row),
                Taken::Nothing(Standing::Stopped) => self.finish(Next::Stopped),
                Taken::Nothing(Standing::Row(_) | Standing::Unknown) => following.news().await,
            }
        }
        Ok(None)
    }

    fn finish(&mut self, end: Next) {
        self.over = true;
        self.page.push_back(Piece::Other(end));
    }

    /// The task is gone. How its run had ended, if it had.
    fn removed(&mut self, row: Option<Arc<TaskRow>>) {
        match row.filter(|row| is_over(row)) {
            Some(row) => self.finish(Next::End(row)),
            None => self.finish(Next::Gone),
        }
    }

    fn fill(&mut self, segments: Vec<Kept>) {
        for kept in segments {
            self.page_bytes += kept.row.size();
            self.page.push_back(Piece::Segment(kept, 0));
        }
    }

    /// Looks into the store.
    async fn look(&mut self) -> Result<(), ReadError> {
        let (task, after) = (self.task, self.after);
        let read = move |store: &dyn Store| seen(store, task, after);
        let Seen { row, segments } = match self.reader.read(read).await {
            Ok(seen) => seen,
            Err(ReadError::Stopped) => {
                self.finish(Next::Stopped);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let told_of = self.damaged;
        let new = |segment: &Segment| segment.row.is_ok() || told_of != Some(segment.first);
        if segments.iter().any(new) {
            self.page_of(segments);
            return Ok(());
        }
        let (Some(row), Some(following)) = (row, &self.following) else {
            self.look_at_the_rest();
            return Ok(());
        };
        self.caught_up = true;
        // Live items that passed meanwhile and are nowhere any more.
        let lost = following.lost();
        if lost > self.after {
            self.page.push_back(Piece::Other(Next::Gap(lost)));
            return Ok(());
        }
        if is_over(&row) && following.rest(self.after).is_empty() {
            self.finish(Next::End(Arc::new(row)));
        }
        Ok(())
    }

    /// What the store showed, with a mark where something is missing.
    fn page_of(&mut self, segments: Vec<Segment>) {
        let mut next = self.after.saturating_add(1);
        for Segment { first, row } in segments {
            if first > next && !cfg!(planted = "gap_untold") {
                self.page.push_back(Piece::Other(Next::Gap(first - 1)));
            }
            match row {
                Ok(row) => {
                    let kept = Kept {
                        first,
                        row,
                        live: false,
                    };
                    next = kept.last().saturating_add(1);
                    self.fill(vec![kept]);
                }
                Err(error) => {
                    // How much of it there is, the segment after it will say.
                    next = next.max(first);
                    if self.damaged.replace(first) != Some(first) {
                        self.page.push_back(Piece::Other(Next::Damaged(error)));
                    }
                }
            }
        }
    }

    /// The task was removed while it was followed: the tail has the last word on it.
    fn look_at_the_rest(&mut self) {
        let Some(following) = &self.following else {
            return self.finish(Next::Stopped);
        };
        let (rest, standing) = (following.rest(self.after), following.standing());
        if let Some(first) = rest.first().map(|kept| kept.first)
            && first > self.after.saturating_add(1)
        {
            self.page.push_back(Piece::Other(Next::Gap(first - 1)));
        }
        self.fill(rest);
        match standing {
            Standing::Row(row) | Standing::Removed(Some(row)) => self.removed(Some(row)),
            Standing::Removed(None) | Standing::Unknown | Standing::Stopped => self.removed(None),
        }
    }
}

/// Whether the task's run has ended.
fn is_over(row: &TaskRow) -> bool {
    Status::of(row) == Status::Completed
}

fn seen(store: &dyn Store, task: TaskNumber, after: u64) -> Result<Seen, StoreError> {
    let row = store.get(task)?;
    let segments = store.segments(task, after, PAGE_BYTES)?;
    Ok(Seen { row, segments })
}
