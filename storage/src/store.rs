//! The trait every store keeps: small, object-safe, blocking. It has so many lines because each promise is said here.

use crate::commit::{Applied, Commit, Conflict};
use crate::id::{InputId, TaskId};
use crate::row::{
    AskRow, DefNumber, Etag, EventRow, Family, Fate, Generation, IndexRow, InputRow, LifeRow,
    Micros, Payload, Receipt, RunRow, SegmentRow, StepRow, TaskNumber, TaskRow, Times, TurnRow,
    ValueKey,
};
use std::ops::Bound;
use std::sync::Arc;

/// Most rows, entries or events one call returns or removes; larger limits are cut to it.
pub const PAGE_MAX: usize = 1024;

/// Values handed out so far; the next ones are larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// No etag or task number in the file, now or ever before, is above this.
    pub etag: Etag,
    /// No generation in the file, now or ever before, is above this.
    pub generation: Generation,
}

/// Whether other processes may write to the same store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One process at a time: leases do not expire, nothing waits for them.
    Exclusive,
    /// Many processes: leases expire and are renewed.
    Shared,
}

/// Which rows a scan visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// Claimed tasks, by ascending number.
    Running,
    /// Every task, newest first.
    All,
    /// Tasks of one definition, newest first.
    Definition(DefNumber),
    /// Tasks of one definition that carry a label, newest first.
    Label(DefNumber, Box<str>),
}

/// One row of a page. A row that cannot be read does not hide its neighbours.
#[derive(Debug)]
pub struct Found {
    /// The task's number.
    pub task: TaskNumber,
    /// The row, or that it is damaged.
    pub row: Result<TaskRow, StoreError>,
}

/// One page of a scan.
#[derive(Debug)]
pub struct Page {
    /// At most `limit` rows.
    pub rows: Vec<Found>,
    /// Give it to the next call; `None` when there is no more.
    pub next: Option<TaskNumber>,
}

/// Tasks of one definition that may be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Those due at the asked times, by priority, then by moment, then by number.
    pub ready: Vec<TaskNumber>,
    /// How long until another one becomes due, if no clock jumps in between; `None` when none will by itself.
    pub wait_us: Option<u64>,
}

/// A receipt whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredReceipt {
    /// The moment it is listed under.
    pub listed_at: Micros,
    /// The task.
    pub task: TaskNumber,
    /// The input.
    pub input_id: InputId,
}

/// A page of the log of transitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventPage {
    /// Ascending by etag.
    pub events: Vec<EventRow>,
    /// The highest etag whose event may have been removed: nothing is missing above it.
    pub trimmed: Etag,
}

/// What [`Store::tidy`] may remove from the log of transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventsKept {
    /// No more than so many stay, the newest ones.
    pub newest: u64,
    /// Events before this moment go.
    pub since: Micros,
}

impl EventsKept {
    /// True when this event may go: the oldest of `left` events that are there.
    pub(crate) fn removes(&self, event: &EventRow, left: u64) -> bool {
        let too_many = left > self.newest && !cfg!(planted = "log_grows_for_ever");
        too_many || event.at < self.since
    }
}

/// One open question. One that cannot be read does not hide its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAsk {
    /// The task that asks.
    pub task: TaskNumber,
    /// The question's key.
    pub key: Box<str>,
    /// The question, or that it is damaged.
    pub ask: Result<AskRow, StoreError>,
}

/// The waiting inputs of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inbox {
    /// How many wait.
    pub len: u64,
    /// The oldest and its position; `None` when none waits.
    pub head: Option<(u64, InputRow)>,
}

/// One segment of a stream. One that cannot be read does not hide its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The sequence number of its first entry.
    pub first: u64,
    /// The segment, or that it is damaged.
    pub row: Result<Arc<SegmentRow>, StoreError>,
}

/// How far a stream goes, and who wrote last to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamEnd {
    /// The lowest sequence number that is kept.
    pub first: u64,
    /// The highest one.
    pub last: u64,
    /// The run of the last segment.
    pub run: u32,
    /// Its turn of the run.
    pub turn: u32,
    /// The claim that wrote it.
    pub generation: Generation,
    /// Position of its turn's input among the task's inputs.
    pub input_seq: u64,
}

impl StreamEnd {
    /// Of a stream that begins at `first` and whose last segment, at `last_first`, is this one.
    pub(crate) fn of(first: u64, last_first: u64, last: &SegmentRow) -> StreamEnd {
        StreamEnd {
            first,
            last: last.last(last_first),
            run: last.run,
            turn: last.turn,
            generation: last.generation,
            input_seq: last.input_seq,
        }
    }
}

/// Why a store could not answer. Nothing was changed unless the variant says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A row or value does not match its checksum, or cannot be decoded. The rest of the store is usable;
    /// restore the file from a copy.
    #[error(
        "damaged entry {key} in table {table}; the rest of the file is usable; restore it from a copy"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The key, as text.
        key: Box<str>,
    },
    /// An entry was written by a newer version of this library; open the file with that version.
    #[error(
        "table {table} holds format {found}, this version reads up to {supported}; open the file with the newer version"
    )]
    TooNew {
        /// The table.
        table: &'static str,
        /// The format found.
        found: u8,
        /// The newest format this version reads.
        supported: u8,
    },
    /// A value is sealed under a key that was not given. Give that key among the older ones, or keep it until the file was
    /// [resealed](crate::sealed); without it the value cannot be read. The rest of the store is usable.
    #[error(
        "entry {key} of table {table} is sealed under the key {under}, which was not given; give it among the older keys"
    )]
    KeyMissing {
        /// The table.
        table: &'static str,
        /// The key of the entry, as text.
        key: Box<str>,
        /// How the missing key is called.
        under: Box<str>,
    },
    /// The disk is full or a quota is reached: make room, and ask again with the same ids. Whether a call that fails with
    /// it has changed anything is said by the call.
    #[error("no space left for the store; make room and ask again with the same ids")]
    Full,
    /// The file under the path is no longer the file that is open. Nothing more is written to it: stop, and
    /// look at what replaced or removed it.
    #[error("{path} was replaced or removed while it was open; stop and look at what did it")]
    Replaced {
        /// The path.
        path: Box<str>,
    },
    /// The operating system failed a call, or the store gave up after it did. A failed commit may or may not
    /// be in the file: open it again and ask with the same ids.
    #[error("the store failed ({message}); open it again and ask with the same ids")]
    Failed {
        /// What happened.
        message: Box<str>,
    },
    /// An earlier call failed, so this handle takes no more; open the store again.
    #[error("the store stopped after an earlier failure ({cause}); open it again")]
    Poisoned {
        /// The first failure.
        cause: Box<str>,
    },
    /// The commit breaks a rule of the format: a bug of the caller, who should report it. Nothing was written.
    #[error("refused a malformed commit: {what}")]
    Malformed {
        /// The rule.
        what: &'static str,
    },
}

/// What went wrong in a store, without the details: each kind is a [`StoreError`], and there are no others.
///
/// It may be matched without a wildcard: whoever tells a store's errors to others, by a protocol of its own, is told by the
/// compiler when there is one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// [`StoreError::Corrupt`].
    Corrupt,
    /// [`StoreError::TooNew`].
    TooNew,
    /// [`StoreError::KeyMissing`].
    KeyMissing,
    /// [`StoreError::Full`].
    Full,
    /// [`StoreError::Replaced`].
    Replaced,
    /// [`StoreError::Failed`].
    Failed,
    /// [`StoreError::Poisoned`].
    Poisoned,
    /// [`StoreError::Malformed`].
    Malformed,
}

impl StoreError {
    /// Which error it is.
    pub fn kind(&self) -> StoreErrorKind {
        match self {
            StoreError::Corrupt { .. } => StoreErrorKind::Corrupt,
            StoreError::TooNew { .. } => StoreErrorKind::TooNew,
            StoreError::KeyMissing { .. } => StoreErrorKind::KeyMissing,
            StoreError::Full => StoreErrorKind::Full,
            StoreError::Replaced { .. } => StoreErrorKind::Replaced,
            StoreError::Failed { .. } => StoreErrorKind::Failed,
            StoreError::Poisoned { .. } => StoreErrorKind::Poisoned,
            StoreError::Malformed { .. } => StoreErrorKind::Malformed,
        }
    }

    /// True when one entry or one commit is at fault and the rest of the store is usable; false when the store
    /// takes no more calls.
    pub fn is_of_one_entry(&self) -> bool {
        match self {
            StoreError::Corrupt { .. }
            | StoreError::TooNew { .. }
            | StoreError::KeyMissing { .. }
            | StoreError::Malformed { .. } => true,
            StoreError::Full
            | StoreError::Replaced { .. }
            | StoreError::Failed { .. }
            | StoreError::Poisoned { .. } => false,
        }
    }

    /// True when the store may be well once it was opened again, or when there is room; false when asking again is of no
    /// use.
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Full | StoreError::Failed { .. } | StoreError::Poisoned { .. } => true,
            StoreError::Replaced { .. }
            | StoreError::Corrupt { .. }
            | StoreError::TooNew { .. }
            | StoreError::KeyMissing { .. }
            | StoreError::Malformed { .. } => false,
        }
    }
}

/// Rows and the one way to change them.
///
/// All calls block; a store that needs a runtime owns one. Reads see only what is durable. A removed task is gone for
/// every read by its number, also while what hung on it is still in the file.
pub trait Store: Send + Sync + 'static {
    /// Whether other processes may write.
    fn sharing(&self) -> Sharing;

    /// The highest values handed out. Read once at open; the writer counts from there on an exclusive store.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn counters(&self) -> Result<Counters, StoreError>;

    /// Gives each name its number, new ones durably; the same name has the same number for ever.
    ///
    /// # Errors
    /// [`StoreError`]; after [`StoreError::Failed`] a number may or may not have been given.
    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError>;

    /// Every name that was ever defined, with its number.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError>;

    /// The number of the task with this id.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError>;

    /// The ids that begin so, in their order, at most `limit`. What is damaged is passed over.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>, StoreError>;

    /// The row of a task.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a damaged row, never `None`; other [`StoreError`]s when the store cannot be read.
    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError>;

    /// A large value, as given.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a damaged value; other [`StoreError`]s when the store cannot be read.
    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, StoreError>;

    /// The bytes of a payload, which lie under this key where they lie beside their row. `None` when they are not there:
    /// whoever has read the row before finds out whether it has changed since, or what it says is lost.
    ///
    /// # Errors
    /// As [`Store::value`].
    fn bytes(&self, key: ValueKey, payload: &Payload) -> Result<Option<Vec<u8>>, StoreError> {
        if let Payload::Inline(bytes) = payload {
            return Ok(Some(bytes.clone()));
        }
        let found = self.value(key)?;
        Ok(found.filter(|bytes| payload.is_of(bytes) || cfg!(planted = "former_value_served")))
    }

    /// The inputs that wait for this task.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn inbox(&self, task: TaskNumber) -> Result<Inbox, StoreError>;

    /// The waiting inputs, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>, StoreError>;

    /// What became of an input.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>, StoreError>;

    /// A page of rows beyond `after` (exclusive, in the scan's direction), at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read; a damaged row is in the page instead.
    fn scan(&self, scan: Scan, after: Option<TaskNumber>, limit: usize)
    -> Result<Page, StoreError>;

    /// The tasks of a definition that are due, each by its own line of time, at most `limit`, and when the next one is.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due, StoreError>;

    /// The tasks of a definition listed in `due` under exactly this moment of [`Line::Own`](crate::row::Line::Own)
    /// ([`Micros::AT_OPEN`], [`Micros::ISOLATED`]), beyond `after`, by number, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError>;

    /// The turn that ended in this slot, `None` when none did.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>, StoreError>;

    /// The step of this key of a turn, by the turn's number over all runs.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>, StoreError>;

    /// The steps of a turn beyond `after`, by key, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>, StoreError>;

    /// The open question of this key.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>, StoreError>;

    /// Open questions from there on, by task number and key, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read; a damaged question is in the page instead.
    fn asks(
        &self,
        from: Bound<(TaskNumber, &str)>,
        limit: usize,
    ) -> Result<Vec<FoundAsk>, StoreError>;

    /// The ended runs of a task that were followed by another one, oldest first; at most [`TaskRow::RUNS_KEPT`].
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>, StoreError>;

    /// The segments of a task's stream that hold sequence numbers above `after`, ascending: at least one where there
    /// is one, then more until their sizes reach `limit_bytes`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read; a damaged segment is in the page instead.
    fn segments(
        &self,
        task: TaskNumber,
        after: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError>;

    /// How far a task's stream goes; `None` when nothing was emitted.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>, StoreError>;

    /// Ended tasks that retention may remove at `now`, earliest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>, StoreError>;

    /// Receipts listed under a moment up to `now`, earliest first, at most `limit`. Those of a removed task are among
    /// them until [`Store::tidy`] has come to them.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn expired_receipts(
        &self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<ExpiredReceipt>, StoreError>;

    /// The log of transitions beyond `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn events(&self, after: Etag, limit: usize) -> Result<EventPage, StoreError>;

    /// How often a child of this turn has ended, as long as the turn is open or some of its children were not told that it
    /// is over; zero after that.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn ended_children(&self, family: Family) -> Result<u64, StoreError>;

    /// The children of a turn beyond `after`, oldest first, at most `limit`: all whose rows name it as their parent.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError>;

    /// The turns beyond `after` that are over while some of their children were not told so, at most `limit`, and what
    /// becomes of these.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn families_over(
        &self,
        after: Option<Family>,
        limit: usize,
    ) -> Result<Vec<(Family, Fate)>, StoreError>;

    /// The lives of the file, newest first, at most [`LifeRow::KEPT_MAX`].
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::get`].
    fn lives(&self) -> Result<Vec<LifeRow>, StoreError>;

    /// Puts a life, durably, and forgets the oldest ones beyond [`LifeRow::KEPT_MAX`].
    ///
    /// # Errors
    /// As for [`Store::commit`].
    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError>;

    /// Since which task the labels of definitions tell the whole truth, by definition and kind.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn indexes(&self) -> Result<Vec<IndexRow>, StoreError>;

    /// Replaces all that [`Store::indexes`] answers, durably.
    ///
    /// # Errors
    /// As for [`Store::commit`].
    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError>;

    /// Removes, durably and in one transaction, at most `limit` entries (and at most [`PAGE_MAX`]) of what hangs on
    /// removed tasks, then of the log of transitions, oldest first up to the first event that stays. True when there
    /// is more to remove. Writes nothing when there is nothing to remove.
    ///
    /// # Errors
    /// As for [`Store::commit`].
    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError>;

    /// True when a thread beside the one that commits should [catch up](Store::catch_up) by now, because commits would have to
    /// wait for it later. Cheap: asked after each commit.
    fn is_behind(&self) -> bool {
        false
    }

    /// Does what commits have put off, beside them: it may be called while another thread commits or reads. Nobody needs to:
    /// a commit or a read does itself what it cannot do without.
    ///
    /// # Errors
    /// As for [`Store::commit`]: the handle takes no more, and nothing of what is durable is lost.
    fn catch_up(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The engine has stopped but for so many handlers that do not end: a store that only one process may open says so
    /// to whoever comes second.
    fn leaving(&self, still_running: usize) {
        let _ = still_running;
    }

    /// The engine is reached at these addresses from now on: a store that only one process may open says so to whoever comes
    /// second.
    fn reached_at(&self, addresses: &[String]) {
        let _ = addresses;
    }

    /// Opens the store again after a call has failed as a whole; does nothing while it is well. What is durable is there
    /// afterwards. Where a sync had failed, the file is copied to a new one first, for the old one cannot be trusted.
    ///
    /// A store that never fails as a whole needs nothing of it.
    ///
    /// # Errors
    /// [`StoreError::Replaced`]: somebody else's file is there, so give up. Any other [`StoreError`]: try again later.
    fn reopen(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Applies a batch in one transaction, in order; each commit sees those before it. A refused commit changes
    /// nothing and does not hinder its neighbours. Durable when this returns `Ok`.
    ///
    /// # Errors
    /// On any [`StoreError`] other than [`StoreError::Malformed`] the outcome of the whole batch is unknown and the
    /// handle takes no more: [`Store::reopen`] it, and ask [`settle`](crate::settle()) what became of the batch. After [`StoreError::Malformed`] nothing was written.
    /// A damaged row refuses only its own commit.
    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError>;
}
