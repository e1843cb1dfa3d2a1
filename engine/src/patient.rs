//! A store that fails for a moment only: whatever may be asked twice is asked again once the store was opened again.
//!
//! A failed commit is none of it: what became of it must be found out first, which is the writer's part.

use crate::env::{self, Clock, Place};
use crate::poison::Poison;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use outlive_storage::{
    Applied, Commit, Conflict, Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk,
    Inbox, Page, Scan, Segment, Sharing, Store, StoreError, StreamEnd,
};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// How long a store may fail before its engine stops, unless said otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause between two tries, which doubles up to the longest one.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(10);
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(500);

type Result<T> = std::result::Result<T, StoreError>;

/// The longest time for which somebody who waits does not notice that the engine ends.
const NOTICE: Duration = Duration::from_millis(20);

/// The store of an engine. Its calls are made on threads of the engine, which may wait.
pub(crate) struct Patient {
    store: Arc<dyn Store>,
    place: Place,
    clock: Clock,
    patience: Duration,
    /// Tells when waiting is of no use any more.
    poison: Arc<Poison>,
}

impl Patient {
    pub(crate) fn around(
        store: &Arc<dyn Store>,
        (place, clock): (Place, Clock),
        patience: Duration,
        poison: &Arc<Poison>,
    ) -> Arc<dyn Store> {
        Arc::new(Patient {
            store: Arc::clone(store),
            place,
            clock,
            patience,
            poison: Arc::clone(poison),
        })
    }

    /// Makes a call that changes nothing when it is made twice.
    fn patiently<T>(&self, call: impl Fn(&dyn Store) -> Result<T>) -> Result<T> {
        match call(&*self.store) {
            Err(failure)
                if failure.may_pass() && !cfg!(planted = "failed_read_not_asked_again") =>
            {
                self.again(call)
            }
            answer => answer,
        }
    }

    /// Makes it until it is answered, or nobody waits any longer: then all others who wait learn it from the engine's end.
    fn again<T>(&self, call: impl Fn(&dyn Store) -> Result<T>) -> Result<T> {
        let since = self.clock.own();
        let until = since.plus(env::micros(self.patience));
        let mut pause = PAUSE_MIN;
        loop {
            let answer = self.store.reopen().and_then(|()| call(&*self.store));
            let Err(failure) = &answer else {
                return answer;
            };
            // Where no thread may wait, it is asked again once; and room may take any time, which is up to who asks.
            let waits = self.place == Place::Threads
                && failure.may_pass()
                && !matches!(failure, StoreError::Full);
            if !waits || self.poison.is_hurried() || self.clock.own() >= until {
                return answer;
            }
            self.pause(pause);
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    /// Pauses, unless the engine ends.
    fn pause(&self, mut time: Duration) {
        while !time.is_zero() && !self.poison.is_hurried() {
            let part = time.min(NOTICE);
            env::pause(part);
            time -= part;
        }
    }
}

impl Store for Patient {
    fn sharing(&self) -> Sharing {
        self.store.sharing()
    }

    fn counters(&self) -> Result<Counters> {
        self.patiently(|store| store.counters())
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>> {
        self.patiently(|store| store.define(names))
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>> {
        self.patiently(|store| store.definitions())
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>> {
        self.patiently(|store| store.find(id))
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>> {
        self.patiently(|store| store.ids(prefix, limit))
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>> {
        self.patiently(|store| store.get(task))
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>> {
        self.patiently(|store| store.value(key))
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox> {
        self.patiently(|store| store.inbox(task))
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>> {
        self.patiently(|store| store.inputs(task, limit))
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>> {
        self.patiently(|store| store.receipt(task, input_id))
    }

    fn scan(&self, scan: Scan, after: Option<TaskNumber>, limit: usize) -> Result<Page> {
        self.patiently(|store| store.scan(scan.clone(), after, limit))
    }

    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due> {
        self.patiently(|store| store.due(def, times, limit))
    }

    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>> {
        self.patiently(|store| store.due_exactly(def, at, after, limit))
    }

    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>> {
        self.patiently(|store| store.turn(task, slot))
    }

    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>> {
        self.patiently(|store| store.step(task, turn, key))
    }

    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>> {
        self.patiently(|store| store.steps(task, turn, after, limit))
    }

    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>> {
        self.patiently(|store| store.ask(task, key))
    }

    fn asks(&self, from: Bound<(TaskNumber, &str)>, limit: usize) -> Result<Vec<FoundAsk>> {
        self.patiently(|store| store.asks(from, limit))
    }

    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>> {
        self.patiently(|store| store.runs(task))
    }

    fn segments(&self, task: TaskNumber, after: u64, limit_bytes: usize) -> Result<Vec<Segment>> {
        self.patiently(|store| store.segments(task, after, limit_bytes))
    }

    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>> {
        self.patiently(|store| store.stream_end(task))
    }

    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>> {
        self.patiently(|store| store.expired(now, limit))
    }

    fn expired_receipts(&self, now: Micros, limit: usize) -> Result<Vec<ExpiredReceipt>> {
        self.patiently(|store| store.expired_receipts(now, limit))
    }

    fn events(&self, after: Etag, limit: usize) -> Result<EventPage> {
        self.patiently(|store| store.events(after, limit))
    }

    fn ended_children(&self, family: Family) -> Result<u64> {
        self.patiently(|store| store.ended_children(family))
    }

    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>> {
        self.patiently(|store| store.children(family, after, limit))
    }

    fn families_over(&self, after: Option<Family>, limit: usize) -> Result<Vec<(Family, Fate)>> {
        self.patiently(|store| store.families_over(after, limit))
    }

    fn lives(&self) -> Result<Vec<LifeRow>> {
        self.patiently(|store| store.lives())
    }

    fn put_life(&self, life: &LifeRow) -> Result<()> {
        self.patiently(|store| store.put_life(life))
    }

    fn indexes(&self) -> Result<Vec<IndexRow>> {
        self.patiently(|store| store.indexes())
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<()> {
        self.patiently(|store| store.put_indexes(indexes))
    }

    fn reached_at(&self, addresses: &[String]) {
        self.store.reached_at(addresses);
    }

    fn leaving(&self, still_running: usize) {
        self.store.leaving(still_running);
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool> {
        // Without room nothing can be removed either, and whoever tidies comes again.
        match self.store.tidy(events, limit) {
            Err(StoreError::Full) => {
                // Whether it opens is seen by the next call.
                let _ = self.store.reopen();
                Err(StoreError::Full)
            }
            Err(failure) if failure.is_of_one_entry() => Err(failure),
            Err(_) => self.patiently(|store| store.tidy(events, limit)),
            tidied => tidied,
        }
    }

    fn reopen(&self) -> Result<()> {
        self.store.reopen()
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<std::result::Result<Applied, Conflict>>> {
        self.store.commit(batch)
    }
}
