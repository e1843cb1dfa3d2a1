//! A store in front of another one: whatever asks, notes or refuses before a call goes on says so here, once for all calls.

use crate::commit::{Applied, Commit, Conflict};
use crate::id::{InputId, TaskId};
use crate::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use crate::store::{
    Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk, Inbox, Page, Scan, Segment,
    Sharing, Store, StoreError, StreamEnd,
};
use std::ops::Bound;

/// A [`Store`] that hands its calls on to another one, and has a word in them: to fail in a test, to ask again, to take notes.
///
/// Only [`Front::behind`] must be said. What answers reads differently one by one implements [`Store`] itself.
///
/// ```
/// use outlive_storage::{Front, MemStore, Store, StoreError};
/// use std::sync::atomic::{AtomicU64, Ordering};
/// #[derive(Default)]
/// struct Counted { store: MemStore, reads: AtomicU64 }
/// impl Front for Counted {
///     fn behind(&self) -> &dyn Store {
///         &self.store
///     }
///     fn read<T>(&self, call: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
///         self.reads.fetch_add(1, Ordering::Relaxed);
///         call(self.behind())
///     }
/// }
/// let counted = Counted::default();
/// counted.lives()?;
/// counted.definitions()?;
/// assert_eq!(counted.reads.into_inner(), 2);
/// # Ok::<(), StoreError>(())
/// ```
pub trait Front: Send + Sync + 'static {
    /// The store behind.
    fn behind(&self) -> &dyn Store;

    /// Makes a call that only reads, and may be made again.
    ///
    /// # Errors
    /// What the call fails with.
    fn read<T>(&self, call: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        call(self.behind())
    }

    /// [`Store::sharing`].
    fn sharing(&self) -> Sharing {
        self.behind().sharing()
    }

    /// [`Store::define`].
    ///
    /// # Errors
    /// As there.
    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        self.behind().define(names)
    }

    /// [`Store::put_life`].
    ///
    /// # Errors
    /// As there.
    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        self.behind().put_life(life)
    }

    /// [`Store::put_indexes`].
    ///
    /// # Errors
    /// As there.
    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        self.behind().put_indexes(indexes)
    }

    /// [`Store::tidy`].
    ///
    /// # Errors
    /// As there.
    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        self.behind().tidy(events, limit)
    }

    /// [`Store::is_behind`].
    fn is_behind(&self) -> bool {
        self.behind().is_behind()
    }

    /// [`Store::catch_up`].
    ///
    /// # Errors
    /// As there.
    fn catch_up(&self) -> Result<(), StoreError> {
        self.behind().catch_up()
    }

    /// [`Store::leaving`].
    fn leaving(&self, still_running: usize) {
        self.behind().leaving(still_running);
    }

    /// [`Store::reached_at`].
    fn reached_at(&self, addresses: &[String]) {
        self.behind().reached_at(addresses);
    }

    /// [`Store::reopen`].
    ///
    /// # Errors
    /// As there.
    fn reopen(&self) -> Result<(), StoreError> {
        self.behind().reopen()
    }

    /// [`Store::commit`].
    ///
    /// # Errors
    /// As there.
    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        self.behind().commit(batch)
    }
}

impl<F: Front> Store for F {
    fn sharing(&self) -> Sharing {
        Front::sharing(self)
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        self.read(|store| store.counters())
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        Front::define(self, names)
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError> {
        self.read(|store| store.definitions())
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        self.read(|store| store.find(id))
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        self.read(|store| store.ids(prefix, limit))
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        self.read(|store| store.get(task))
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.value(key))
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox, StoreError> {
        self.read(|store| store.inbox(task))
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>, StoreError> {
        self.read(|store| store.inputs(task, limit))
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>, StoreError> {
        self.read(|store| store.receipt(task, input_id))
    }

    fn scan(
        &self,
        scan: Scan,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.read(|store| store.scan(scan.clone(), after, limit))
    }

    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due, StoreError> {
        self.read(|store| store.due(def, times, limit))
    }

    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.read(|store| store.due_exactly(def, at, after, limit))
    }

    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>, StoreError> {
        self.read(|store| store.turn(task, slot))
    }

    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>, StoreError> {
        self.read(|store| store.step(task, turn, key))
    }

    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>, StoreError> {
        self.read(|store| store.steps(task, turn, after, limit))
    }

    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>, StoreError> {
        self.read(|store| store.ask(task, key))
    }

    fn asks(
        &self,
        from: Bound<(TaskNumber, &str)>,
        limit: usize,
    ) -> Result<Vec<FoundAsk>, StoreError> {
        self.read(|store| store.asks(from, limit))
    }

    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>, StoreError> {
        self.read(|store| store.runs(task))
    }

    fn segments(
        &self,
        task: TaskNumber,
        after: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        self.read(|store| store.segments(task, after, limit_bytes))
    }

    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>, StoreError> {
        self.read(|store| store.stream_end(task))
    }

    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>, StoreError> {
        self.read(|store| store.expired(now, limit))
    }

    fn expired_receipts(
        &self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<ExpiredReceipt>, StoreError> {
        self.read(|store| store.expired_receipts(now, limit))
    }

    fn events(&self, after: Etag, limit: usize) -> Result<EventPage, StoreError> {
        self.read(|store| store.events(after, limit))
    }

    fn ended_children(&self, family: Family) -> Result<u64, StoreError> {
        self.read(|store| store.ended_children(family))
    }

    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.read(|store| store.children(family, after, limit))
    }

    fn families_over(
        &self,
        after: Option<Family>,
        limit: usize,
    ) -> Result<Vec<(Family, Fate)>, StoreError> {
        self.read(|store| store.families_over(after, limit))
    }

    fn lives(&self) -> Result<Vec<LifeRow>, StoreError> {
        self.read(|store| store.lives())
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        Front::put_life(self, life)
    }

    fn indexes(&self) -> Result<Vec<IndexRow>, StoreError> {
        self.read(|store| store.indexes())
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        Front::put_indexes(self, indexes)
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        Front::tidy(self, events, limit)
    }

    fn is_behind(&self) -> bool {
        Front::is_behind(self)
    }

    fn catch_up(&self) -> Result<(), StoreError> {
        Front::catch_up(self)
    }

    fn leaving(&self, still_running: usize) {
        Front::leaving(self, still_running);
    }

    fn reached_at(&self, addresses: &[String]) {
        Front::reached_at(self, addresses);
    }

    fn reopen(&self) -> Result<(), StoreError> {
        Front::reopen(self)
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        Front::commit(self, batch)
    }
}
