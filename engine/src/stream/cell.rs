//! What one turn has emitted and is not durable yet: filled by its handler, emptied by the writer alone.

use crate::awaited::Awaited;
use crate::env::Clock;
use crate::stream::emit::EmitError;
use crate::stream::tail::Tails;
use crate::stream::{DRAIN_AT, LINGER_US, STREAM_BUFFER, STREAM_MAX};
use crate::writer::{Refused, Stop};
use outlive_storage::StoreError;
use outlive_storage::StreamEnd;
use outlive_storage::row::{Generation, Micros, SegmentRow, StreamEntry, TaskNumber, TaskRow};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The buffer of one turn's stream.
///
/// Items get their numbers here, under one lock, and only the writer takes them out: so they are durable in the order
/// of their numbers, whatever else is under way, and the end of the turn takes the rest along in its own commit.
pub(crate) struct StreamCell {
    pub(crate) task: TaskNumber,
    pub(crate) generation: Generation,
    run: u32,
    turn: u32,
    attempt: u32,
    input_seq: u64,
    /// Whether items are evicted, so that there is no end to their numbers.
    evicts: bool,
    clock: Clock,
    /// Bytes this turn may still buffer, once it has emitted something.
    room: OnceLock<Arc<Semaphore>>,
    /// Bytes all turns may still buffer.
    budget: Arc<Semaphore>,
    /// Where items go that are not stored.
    live: Option<Arc<Tails>>,
    buffer: Mutex<Buffer>,
    progress: Awaited<Progress>,
}

struct Buffer {
    entries: Vec<StreamEntry>,
    /// Bytes of the entries.
    bytes: usize,
    /// The room they take, given back when they are durable, or dropped.
    held: Option<Held>,
    /// The sequence number of the next entry.
    next: u64,
    /// The lowest sequence number that is kept.
    first: u64,
    /// How soon the writer was told to come.
    told: Told,
    /// Whether anything was ever taken in.
    used: bool,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Soon,
    Now,
}

/// Room taken in both bounds.
struct Held {
    room: OwnedSemaphorePermit,
    budget: OwnedSemaphorePermit,
}

/// How far the turn's stream is durable, and whether it goes on.
#[derive(Debug, Clone)]
struct Progress {
    durable: u64,
    closed: Option<Closed>,
}

/// Why nothing is taken any more.
#[derive(Debug, Clone)]
pub(crate) enum Closed {
    /// The turn ended, or its claim was lost.
    TurnOver,
    /// The task, or the whole store, cannot be written to.
    Store(StoreError),
    /// The engine stopped.
    Shutdown,
}

impl From<Stop> for Closed {
    fn from(stop: Stop) -> Closed {
        match stop {
            Stop::Shutdown => Closed::Shutdown,
            Stop::Failed(error) => Closed::Store(error),
        }
    }
}

impl From<&Refused> for Closed {
    fn from(refused: &Refused) -> Closed {
        match refused {
            Refused::Rejected(_) => Closed::TurnOver,
            Refused::Unreadable(error) | Refused::Unknown(error) => Closed::Store(error.clone()),
            Refused::Stopped(stop) => stop.clone().into(),
        }
    }
}

impl From<Closed> for EmitError {
    fn from(closed: Closed) -> EmitError {
        match closed {
            Closed::TurnOver => EmitError::TurnOver,
            Closed::Store(error) => EmitError::Store(error),
            Closed::Shutdown => EmitError::ShuttingDown,
        }
    }
}

/// An entry that was taken into the buffer.
pub(crate) struct Pushed {
    pub(crate) sequence: u64,
    /// Set when the writer is to be told: by when it must have come.
    pub(crate) tell: Option<Micros>,
}

/// What the writer took out at once.
pub(crate) struct Drained {
    pub(crate) first: u64,
    pub(crate) segment: Arc<SegmentRow>,
    _held: Option<Held>,
}

impl Drained {
    /// The sequence number of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.segment.last(self.first)
    }
}

/// What one commit took out of a turn's stream, until the writer knows what became of it.
pub(crate) struct Appended {
    cell: Arc<StreamCell>,
    pub(crate) drained: Option<Drained>,
    ends: bool,
    is_told: bool,
}

impl Appended {
    /// Takes out what there is and what is said behind it; with the end of the turn, the last of it.
    pub(crate) fn take(cell: Arc<StreamCell>, mark: Option<StreamEntry>, ends: bool) -> Appended {
        if let Some(mark) = mark {
            // It goes with this very commit, so nobody is to be told of it.
            let _ = cell.mark(mark);
        }
        Appended {
            drained: if ends && cfg!(planted = "end_leaves_items_behind") {
                None
            } else {
                cell.drain(ends)
            },
            cell,
            ends,
            is_told: false,
        }
    }

    /// It is durable, or was not to be kept.
    pub(crate) fn settle(mut self) {
        self.is_told = true;
        if let Some(drained) = self.drained.take() {
            self.cell.durable(drained.last());
        }
        if self.ends {
            self.cell.close(Closed::TurnOver);
        }
    }

    /// Nothing of it is known to be durable.
    pub(crate) fn refuse(mut self, why: Closed) {
        self.is_told = true;
        self.cell.close(why);
    }
}

impl Drop for Appended {
    fn drop(&mut self) {
        if !self.is_told {
            let cause = "the writer ended without an answer".into();
            self.cell
                .close(Closed::Store(StoreError::Poisoned { cause }));
        }
    }
}

impl StreamCell {
    /// For the turn of a claim; `end` is how far the stream goes so far.
    pub(crate) fn new(
        (task, row, generation): (TaskNumber, &TaskRow, Generation),
        end: Option<&StreamEnd>,
        budget: &Arc<Semaphore>,
        live: Option<Arc<Tails>>,
        clock: Clock,
    ) -> StreamCell {
        let durable = end.map_or(0, |end| end.last);
        StreamCell {
            task,
            generation,
            run: row.run,
            turn: row.turn,
            attempt: row.attempt,
            input_seq: row.input_seq,
            evicts: row.options.keep_items.is_some(),
            clock,
            room: OnceLock::new(),
            budget: Arc::clone(budget),
            live,
            buffer: Mutex::new(Buffer {
                entries: Vec::new(),
                bytes: 0,
                held: None,
                next: durable + 1,
                first: end.map_or(1, |end| end.first),
                told: Told::Nothing,
                used: false,
                closed: false,
            }),
            progress: Awaited::new(Progress {
                durable,
                closed: None,
            }),
        }
    }

    /// Waits for room and takes an item in. `now`: its caller waits until it is durable.
    pub(crate) async fn push(
        &self,
        step: Option<Box<str>>,
        bytes: Vec<u8>,
        now: bool,
    ) -> Result<Pushed, EmitError> {
        let entry = StreamEntry::Item { step, bytes };
        if self.live.is_some() {
            return self.hand_out(entry);
        }
        if self.buffer.lock().closed && !cfg!(planted = "closed_stream_waits_for_room") {
            // Not only when there is room: it would wait for that among turns that go on.
            return Err(self.why_closed());
        }
        let held = self.hold(entry.size()).await;
        let held = held.map_err(|_| self.why_closed())?;
        self.put(entry, Some(held), now)
    }

    /// Says that something is abandoned, or kept. It takes no room: there are few. By when the writer must have come for
    /// it, if it is to be told.
    pub(crate) fn mark(&self, entry: StreamEntry) -> Option<Micros> {
        if self.live.is_some() {
            // Nobody is told of a stream that nobody keeps but those who read at the moment.
            let _ = self.hand_out(entry);
            return None;
        }
        let pushed = self.put(entry, None, false);
        pushed.ok().and_then(|pushed| pushed.tell)
    }

    fn put(&self, entry: StreamEntry, held: Option<Held>, now: bool) -> Result<Pushed, EmitError> {
        let mut buffer = self.buffer.lock();
        if buffer.closed {
            drop(buffer);
            return Err(self.why_closed());
        }
        let kept = buffer.next - buffer.first;
        let is_item = matches!(entry, StreamEntry::Item { .. });
        if kept >= STREAM_MAX && is_item && !self.evicts && !cfg!(planted = "stream_unbounded") {
            return Err(EmitError::StreamFull { max: STREAM_MAX });
        }
        let sequence = buffer.next;
        buffer.next += 1;
        buffer.used = true;
        buffer.bytes += entry.size();
        buffer.entries.push(entry);
        if let Some(held) = held {
            match &mut buffer.held {
                Some(before) => before.add(held),
                None => buffer.held = Some(held),
            }
        }
        let large = buffer.bytes >= DRAIN_AT && !cfg!(planted = "large_buffer_lingers");
        let urgent = (now && !cfg!(planted = "durable_emit_lingers")) || large;
        let tell = if urgent { Told::Now } else { Told::Soon };
        let untold = buffer.told < tell;
        buffer.told = buffer.told.max(tell);
        drop(buffer);
        let longer = cfg!(planted = "items_linger_longer");
        let linger = if longer { 4 * LINGER_US } else { LINGER_US };
        let by = |tell: Told| match tell {
            Told::Now => Micros(0),
            Told::Soon | Told::Nothing => self.clock.own().plus(linger),
        };
        Ok(Pushed {
            sequence,
            tell: untold.then(|| by(tell)),
        })
    }

    /// Gives an entry to those who read at the moment.
    fn hand_out(&self, entry: StreamEntry) -> Result<Pushed, EmitError> {
        let buffer = self.buffer.lock();
        let Some(live) = self.live.as_ref().filter(|_| !buffer.closed) else {
            drop(buffer);
            return Err(self.why_closed());
        };
        // Under the lock, so that items come in the order of their numbers.
        let sequence = live.hand_out(self.task, |first| self.segment(first, vec![entry]));
        Ok(Pushed {
            sequence,
            tell: None,
        })
    }

    async fn hold(&self, size: usize) -> Result<Held, AcquireError> {
        // An item may be as large as the whole room of a turn, and takes it whole then.
        let size = u32::try_from(size.min(STREAM_BUFFER)).unwrap_or(u32::MAX);
        let free = |unbounded: bool| if unbounded { 0 } else { size };
        let of_turn = free(cfg!(planted = "emit_never_waits"));
        let new = || Arc::new(Semaphore::new(STREAM_BUFFER));
        let room = Arc::clone(self.room.get_or_init(new));
        let room = room.acquire_many_owned(of_turn).await?;
        let of_all = free(cfg!(planted = "engine_buffers_unbounded"));
        let budget = Arc::clone(&self.budget).acquire_many_owned(of_all).await?;
        Ok(Held { room, budget })
    }

    fn segment(&self, first: u64, entries: Vec<StreamEntry>) -> Arc<SegmentRow> {
        debug_assert!(first > 0 && !entries.is_empty());
        Arc::new(SegmentRow {
            run: self.run,
            turn: self.turn,
            attempt: self.attempt,
            generation: self.generation,
            input_seq: self.input_seq,
            at: self.clock.now(),
            entries,
        })
    }

    /// Bytes that wait for the writer.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.lock().bytes
    }

    /// Takes out what there is. With the end of the turn, nothing is taken in any more.
    pub(crate) fn drain(&self, ends: bool) -> Option<Drained> {
        let mut buffer = self.buffer.lock();
        buffer.closed |= ends && !cfg!(planted = "emit_after_the_turn");
        buffer.told = Told::Nothing;
        if buffer.entries.is_empty() {
            return None;
        }
        let entries = std::mem::take(&mut buffer.entries);
        let first = buffer.next - entries.len() as u64;
        buffer.bytes = 0;
        let held = buffer.held.take();
        drop(buffer);
        Some(Drained {
            first,
            segment: self.segment(first, entries),
            _held: held,
        })
    }

    /// Ends the stream of a turn that has said nothing: its end has nothing to take along. False: it has, and the stream
    /// ends with it.
    pub(crate) fn end_unused(&self) -> bool {
        let mut buffer = self.buffer.lock();
        if buffer.used && !cfg!(planted = "turn_that_spoke_ends_in_silence") {
            return false;
        }
        buffer.closed = !cfg!(planted = "emit_after_the_turn");
        drop(buffer);
        self.close(Closed::TurnOver);
        true
    }

    /// What was taken out is durable: everything up to a sequence number.
    pub(crate) fn durable(&self, last: u64) {
        self.progress
            .change(|progress| progress.durable = progress.durable.max(last));
    }

    /// Nothing is taken any more, and what was not taken out is dropped. The first cause stays.
    pub(crate) fn close(&self, why: Closed) {
        if cfg!(planted = "emit_after_the_turn") {
            return;
        }
        let mut buffer = self.buffer.lock();
        buffer.closed = true;
        let dropped = (std::mem::take(&mut buffer.entries), buffer.held.take());
        buffer.bytes = 0;
        drop(buffer);
        drop(dropped);
        self.progress.change(|progress| {
            progress.closed.get_or_insert(why);
        });
        // Whoever waits for room learns it; who comes later learns it from the buffer.
        if let Some(room) = self.room.get() {
            room.close();
        }
    }

    fn why_closed(&self) -> EmitError {
        let closed = self.progress.lock().closed.clone();
        // Closed by the end of the turn, which is under way; or by the engine, which no longer has room for anybody.
        let unsaid = if self.budget.is_closed() {
            Closed::Shutdown
        } else {
            Closed::TurnOver
        };
        closed.unwrap_or(unsaid).into()
    }

    /// Resolves when everything up to a sequence number is durable.
    pub(crate) async fn until_durable(&self, sequence: u64) -> Result<(), EmitError> {
        if self.live.is_some() {
            return Ok(());
        }
        let settled =
            |progress: &Progress| progress.durable >= sequence || progress.closed.is_some();
        self.progress.until(settled).await;
        let progress = self.progress.lock().clone();
        match progress.closed {
            Some(why) if progress.durable < sequence => Err(why.into()),
            Some(_) | None => Ok(()),
        }
    }
}

impl Held {
    fn add(&mut self, more: Held) {
        self.room.merge(more.room);
        self.budget.merge(more.budget);
    }
}
