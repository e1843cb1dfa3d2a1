//! The newest durable part of each stream that somebody follows, so that readers who keep up need not read the store.

use crate::machine::Status;
use foldhash::{HashMap, HashMapExt};
use outlive_storage::row::{SegmentRow, TaskNumber, TaskRow};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::watch;

/// Most bytes kept of one stream.
const TAIL_BYTES: usize = 256 * 1024;
/// Most bytes kept of all streams.
const TAILS_BYTES: usize = 16 * 1024 * 1024;

/// The tails of all streams that are followed.
pub(crate) struct Tails {
    /// `None` once the engine stopped.
    followed: Mutex<Option<HashMap<TaskNumber, Followed>>>,
    /// How many there are: nobody takes a lock for streams that nobody follows.
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// The last sequence number of an item that is not stored.
    live: AtomicU64,
}

struct Followed {
    tail: Arc<Tail>,
    followers: usize,
}

struct Tail {
    state: Mutex<State>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Ascending, with no gap between stored ones.
    segments: VecDeque<Kept>,
    bytes: usize,
    /// The highest sequence number that passed and is not kept here any more.
    dropped: u64,
    /// The highest of these that is nowhere any more.
    lost: u64,
    standing: Standing,
    /// Nobody follows any more: what passes from here on is kept for nobody.
    left: bool,
}

impl State {
    /// This one passed, and is not kept here.
    fn drop_behind(&mut self, kept: &Kept) {
        self.dropped = kept.last();
        if kept.live || cfg!(planted = "dropped_segment_taken_for_lost") {
            self.lost = kept.last();
        }
    }
}

/// A segment of a tail, or of a page.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) first: u64,
    pub(crate) row: Arc<SegmentRow>,
    /// It is nowhere else.
    pub(crate) live: bool,
}

impl Kept {
    pub(crate) fn last(&self) -> u64 {
        self.row.last(self.first)
    }
}

/// How the task stood at the last commit that passed.
#[derive(Debug, Clone, Default)]
pub(crate) enum Standing {
    /// None passed.
    #[default]
    Unknown,
    /// So.
    Row(Arc<TaskRow>),
    /// It was removed, and stood so with the commit of its removal.
    Removed(Option<Arc<TaskRow>>),
    /// The engine stopped.
    Stopped,
}

impl Standing {
    /// The last commit of the task there will be, or of its run.
    fn is_end(&self) -> bool {
        match self {
            Standing::Removed(_) => true,
            Standing::Row(row) => Status::of(row) == Status::Completed,
            Standing::Unknown | Standing::Stopped => false,
        }
    }
}

/// What a tail has for a reader.
pub(crate) enum Taken {
    /// The next segments.
    Segments(Vec<Kept>),
    /// Live items up to this sequence number are gone; those after it are next.
    Lost(u64),
    /// The reader must look into the store first.
    Behind,
    /// Nothing that the reader has not had; so the task stands.
    Nothing(Standing),
}

/// A place among the followers of a stream, given up when dropped.
pub(crate) struct Following {
    tails: Arc<Tails>,
    task: TaskNumber,
    tail: Arc<Tail>,
    news: watch::Receiver<()>,
}

impl Tails {
    pub(crate) fn new(live: u64) -> Tails {
        Tails {
            followed: Mutex::new(Some(HashMap::new())),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            live: AtomicU64::new(live),
        }
    }

    /// Bytes kept of all streams.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Begins to follow a stream; `None` once the engine stopped.
    pub(crate) fn follow(self: &Arc<Self>, task: TaskNumber) -> Option<Following> {
        let mut followed = self.followed.lock();
        let entry = followed.as_mut()?.entry(task).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::SeqCst);
            Followed {
                tail: Arc::new(Tail {
                    state: Mutex::default(),
                    news: watch::Sender::new(()),
                }),
                followers: 0,
            }
        });
        entry.followers += 1;
        Some(Following {
            tails: Arc::clone(self),
            task,
            tail: Arc::clone(&entry.tail),
            news: entry.tail.news.subscribe(),
        })
    }

    fn tail(&self, task: TaskNumber) -> Option<Arc<Tail>> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let followed = self.followed.lock();
        let entry = followed.as_ref()?.get(&task)?;
        Some(Arc::clone(&entry.tail))
    }

    /// A commit of the task is durable: with this segment, or with the task standing so.
    pub(crate) fn passed(
        &self,
        task: TaskNumber,
        segment: Option<(u64, &Arc<SegmentRow>)>,
        standing: Option<Standing>,
    ) {
        let Some(tail) = self.tail(task) else { return };
        {
            let mut state = tail.state.lock();
            if let Some((first, row)) = segment {
                let row = Arc::clone(row);
                self.keep(
                    &mut state,
                    Kept {
                        first,
                        row,
                        live: false,
                    },
                );
            }
            if let Some(standing) = standing {
                state.standing = standing;
            }
        }
        tail.news.send_replace(());
    }

    /// Gives an entry that is not stored to those who follow; its sequence number.
    pub(crate) fn hand_out(
        &self,
        task: TaskNumber,
        segment: impl FnOnce(u64) -> Arc<SegmentRow>,
    ) -> u64 {
        let first = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(tail) = self.tail(task) {
            let row = segment(first);
            self.keep(
                &mut tail.state.lock(),
                Kept {
                    first,
                    row,
                    live: true,
                },
            );
            tail.news.send_replace(());
        }
        first
    }

    fn keep(&self, state: &mut State, kept: Kept) {
        if state.left && !cfg!(planted = "left_tail_kept") {
            return;
        }
        let size = kept.row.size();
        let all = self.bytes.load(Ordering::Relaxed) + size;
        if all > TAILS_BYTES && !cfg!(planted = "tails_unbounded") {
            // Its readers find it in the store, as if they were slow.
            self.forget(state, usize::MAX);
            state.drop_behind(&kept);
            return;
        }
        state.bytes += size;
        self.bytes.fetch_add(size, Ordering::Relaxed);
        state.segments.push_back(kept);
        let over = state.bytes.saturating_sub(TAIL_BYTES);
        if !cfg!(planted = "tail_unbounded") {
            self.forget(state, over);
        }
    }

    /// Forgets the oldest segments, at least so many bytes.
    fn forget(&self, state: &mut State, bytes: usize) {
        let mut freed = 0;
        while freed < bytes
            && let Some(oldest) = state.segments.pop_front()
        {
            freed += oldest.row.size();
            state.drop_behind(&oldest);
        }
        state.bytes -= freed;
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    fn leave(&self, task: TaskNumber) {
        let mut followed = self.followed.lock();
        let Some(followed) = followed.as_mut() else {
            return;
        };
        let Some(entry) = followed.get_mut(&task) else {
            return;
        };
        entry.followers -= 1;
        if entry.followers == 0
            && let Some(entry) = followed.remove(&task)
        {
            self.count.fetch_sub(1, Ordering::SeqCst);
            let mut state = entry.tail.state.lock();
            self.forget(&mut state, usize::MAX);
            state.left = true;
        }
    }

    /// Nothing will pass any more: whoever follows is told.
    pub(crate) fn close(&self) {
        if cfg!(planted = "readers_not_told_of_stop") {
            return;
        }
        let followed = self.followed.lock().take();
        for entry in followed.into_iter().flatten().map(|(_, entry)| entry) {
            {
                let mut state = entry.tail.state.lock();
                if !state.standing.is_end() {
                    state.standing = Standing::Stopped;
                }
            }
            entry.tail.news.send_replace(());
        }
    }
}

impl Following {
    /// From here on a commit is news.
    pub(crate) fn mark(&mut self) {
        self.news.borrow_and_update();
    }

    /// Resolves when something passed since the mark.
    pub(crate) async fn news(&mut self) {
        // The sender lives in the tail, which this holds.
        let _ = self.news.changed().await;
    }

    /// How the task stood at the last commit that passed.
    pub(crate) fn standing(&self) -> Standing {
        self.tail.state.lock().standing.clone()
    }

    /// What there is beyond `after`, about `limit` bytes at most. Who has looked into the store since it began to follow
    /// is `caught_up`: whatever the store did not show comes through here.
    pub(crate) fn take(&self, after: u64, caught_up: bool, limit: usize) -> Taken {
        let state = self.tail.state.lock();
        let ahead = |kept: &&Kept| kept.last() > after;
        let mut next = state.segments.iter().filter(ahead).peekable();
        let found = next.peek().map(|kept| (kept.first, kept.live));
        match found {
            Some((first, false))
                if first > after.saturating_add(1) && !cfg!(planted = "slow_reader_skips") =>
            {
                return Taken::Behind;
            }
            Some((_, true)) if state.lost > after => return Taken::Lost(state.lost),
            Some((_, true)) if state.dropped > after || !caught_up => return Taken::Behind,
            None if state.dropped > after || !caught_up => return Taken::Behind,
            None => return Taken::Nothing(state.standing.clone()),
            Some(_) => {}
        }
        let mut bytes = 0;
        let mut segments = Vec::new();
        for kept in next {
            if bytes >= limit {
                break;
            }
            bytes += kept.row.size();
            segments.push(kept.clone());
        }
        Taken::Segments(segments)
    }

    /// What is left for a reader that the store has nothing more for: beyond `after`, whatever is missing in between.
    pub(crate) fn rest(&self, after: u64) -> Vec<Kept> {
        let state = self.tail.state.lock();
        let ahead = |kept: &&Kept| kept.last() > after;
        state.segments.iter().filter(ahead).cloned().collect()
    }

    /// The highest sequence number that passed and is nowhere any more.
    pub(crate) fn lost(&self) -> u64 {
        self.tail.state.lock().lost
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.tails.leave(self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outlive_storage::row::{Generation, Micros, StreamEntry};

    fn segment(bytes: usize) -> Arc<SegmentRow> {
        Arc::new(SegmentRow {
            run: 1,
            turn: 1,
            attempt: 1,
            generation: Generation(1),
            input_seq: 1,
            at: Micros(1),
            entries: vec![StreamEntry::Item {
                step: None,
                bytes: vec![1; bytes],
            }],
        })
    }

    /// Segments that passed while a reader looked into the store, and had left the tail when it came back, were taken for items
    /// that are not stored: it was told that they are missing, and never had them.
    #[test]
    fn what_has_left_the_tail_is_lost_only_where_it_is_not_stored() {
        let tails = Arc::new(Tails::new(0));
        let following = tails.follow(TaskNumber(1)).expect("open");
        // Of two of these the first leaves.
        let large = segment(TAIL_BYTES / 2 + 1);
        for first in 1..=3 {
            tails.passed(TaskNumber(1), Some((first, &large)), None);
        }
        assert_eq!(following.lost(), 0);
        assert!(matches!(following.take(0, true, 1), Taken::Behind));
        let live = tails.follow(TaskNumber(2)).expect("open");
        for _ in 1..=3 {
            tails.hand_out(TaskNumber(2), |_| Arc::clone(&large));
        }
        assert_eq!(live.lost(), 2);
        assert!(matches!(live.take(0, true, 1), Taken::Lost(2)));
    }

    /// What passed in the moment its last reader left was counted for ever, until no stream had room any more.
    #[test]
    fn what_passes_after_the_last_reader_left_is_not_counted() {
        let tails = Arc::new(Tails::new(0));
        let task = TaskNumber(1);
        let following = tails.follow(task);
        let tail = tails.tail(task).expect("somebody follows");
        drop(following);
        let row = segment(1);
        let kept = Kept {
            first: 1,
            row,
            live: false,
        };
        tails.keep(&mut tail.state.lock(), kept);
        assert_eq!(tails.bytes(), 0);
    }
}
