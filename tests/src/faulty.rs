//! A store that fails, forgets or waits when told to, on top of one that does neither.

use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use outlive_storage::{
    Applied, Commit, Conflict, Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk,
    Inbox, MemStore, Page, Scan, Segment, Sharing, Store, StoreError, StreamEnd, Write,
};
use parking_lot::Mutex;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// The store that is there in truth can be shared with an engine that comes later.
#[derive(Debug, Default)]
pub struct Faulty {
    inner: Arc<MemStore>,
    /// Commits, and whatever else writes, fail, and are not in the store.
    pub fail_before_commit: AtomicBool,
    /// Commits, and whatever else writes, fail, and are in the store.
    pub fail_after_commit: AtomicBool,
    /// Something that was to be written has failed so.
    pub has_failed: AtomicBool,
    /// Reads of rows and definitions fail.
    pub fail_reads: AtomicBool,
    /// What is known of earlier processes cannot be read.
    pub damage_lives: AtomicBool,
    /// Rows are gone, although their ids are known.
    pub forget_rows: AtomicBool,
    /// The segment of this first number, unless it is zero, is damaged; with `u64::MAX` the last one is.
    pub damaged_segment: AtomicU64,
    /// The row of the task of this number, unless it is zero, is found damaged by scans.
    pub damaged_row: AtomicU64,
    /// The recorded steps of the task of this number, unless it is zero, are damaged.
    pub damaged_steps: AtomicU64,
    /// Every row that a commit is about is damaged: nothing of the commit is written.
    pub damaged_rows: AtomicBool,
    /// When it is opened again it is well, and fails at nothing that it was told before. Otherwise it stays failed.
    pub heals: AtomicBool,
    /// It panics when a life is put down.
    pub panic_at_life: AtomicBool,
    /// It has no room: commits fail, and are not in the store.
    pub full: AtomicBool,
    /// It must be opened again before it is read, for which there must be room.
    pub shut: AtomicBool,
    /// What is kept of a turn says that it is of so many turns later.
    pub turn_off: AtomicI64,
    /// Rows are read so often, unless it is zero; the next time it panics.
    pub gets_max: AtomicU64,
    /// It lists somebody who is isolated, once.
    pub lists_suspect: AtomicBool,
    /// How often it was opened again.
    pub reopens: AtomicU64,
    /// Called before the next large value is read, on the thread that reads it.
    pub before_value: Hook,
    /// Called before the next commit, on the thread that writes.
    pub before_commit: Hook,
    /// Called when a commit, or a life, has been written.
    pub after_write: Hook,
    /// How many rows were read one by one.
    pub gets: AtomicU64,
    /// How many commits were asked for.
    pub commits: AtomicU64,
    /// The commit of this number, from 1, fails, and every one after it; zero for none.
    pub broken_from: AtomicU64,
    /// The first commit that fails so is in the store all the same: only its answer is lost.
    pub answer_lost: AtomicBool,
    /// How many tasks the largest commit so far was for.
    pub largest_commit: AtomicUsize,
    /// How many bytes of stream items the largest commit so far had.
    pub largest_segments: AtomicUsize,
    /// What the log was last to be trimmed to.
    pub kept: Mutex<Option<EventsKept>>,
}

/// Something to do, once.
#[derive(Default)]
pub struct Hook(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Hook {
    /// This is done the next time.
    pub fn set(&self, hook: impl FnOnce() + Send + 'static) {
        *self.0.lock() = Some(Box::new(hook));
    }

    fn run(&self) {
        let hook = self.0.lock().take();
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook")
            .field(&self.0.lock().is_some())
            .finish()
    }
}

impl Faulty {
    /// A store that does as `inner` does until told otherwise.
    pub fn on(inner: &Arc<MemStore>) -> Arc<Faulty> {
        Arc::new(Faulty {
            inner: Arc::clone(inner),
            ..Faulty::default()
        })
    }

    /// Writes to the store, or fails before or after it as told.
    fn written<T>(
        &self,
        write: impl FnOnce(&MemStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if is_set(&self.full) {
            return Err(StoreError::Full);
        }
        if is_set(&self.fail_before_commit) {
            return Err(self.fails());
        }
        let answer = write(&self.inner)?;
        if is_set(&self.fail_after_commit) {
            return Err(self.fails());
        }
        Ok(answer)
    }

    /// Whether rows, steps and definitions can be read.
    fn read(&self) -> Result<(), StoreError> {
        if is_set(&self.fail_reads) {
            return Err(failure());
        }
        if is_set(&self.shut) {
            let cause = "told to be shut".into();
            return Err(StoreError::Poisoned { cause });
        }
        Ok(())
    }

    fn fails(&self) -> StoreError {
        self.has_failed.store(true, Ordering::SeqCst);
        failure()
    }
}

/// The failure it fails with.
pub fn failure() -> StoreError {
    StoreError::Failed {
        message: "told to fail".into(),
    }
}

fn damage(table: &'static str) -> StoreError {
    StoreError::Corrupt {
        table,
        key: "told to be damaged".into(),
    }
}

/// Bytes of stream items in a batch.
fn segments(batch: &[Commit]) -> usize {
    let writes = batch.iter().flat_map(|commit| &commit.writes);
    let sizes = writes.map(|write| match write {
        Write::Segment { segment, .. } => segment.size(),
        _ => 0,
    });
    sizes.sum()
}

fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

impl Store for Faulty {
    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        self.inner.counters()
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        self.inner.define(names)
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError> {
        self.read()?;
        self.inner.definitions()
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        self.read()?;
        self.inner.find(id)
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        self.read()?;
        self.inner.ids(prefix, limit)
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        let before = self.gets.fetch_add(1, Ordering::SeqCst);
        let most = self.gets_max.load(Ordering::SeqCst);
        assert!(most == 0 || before < most, "it is read for ever");
        if is_set(&self.forget_rows) {
            return Ok(None);
        }
        self.read()?;
        self.inner.get(task)
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.before_value.run();
        self.inner.value(key)
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox, StoreError> {
        self.inner.inbox(task)
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>, StoreError> {
        self.inner.inputs(task, limit)
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>, StoreError> {
        self.inner.receipt(task, input_id)
    }

    fn scan(
        &self,
        scan: Scan,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.read()?;
        let mut page = self.inner.scan(scan, after, limit)?;
        let damaged = self.damaged_row.load(Ordering::SeqCst);
        for found in &mut page.rows {
            if found.task.0 == damaged {
                found.row = Err(damage("tasks"));
            }
        }
        Ok(page)
    }

    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due, StoreError> {
        self.read()?;
        self.inner.due(def, times, limit)
    }

    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        if at == Micros::ISOLATED && self.lists_suspect.swap(false, Ordering::SeqCst) {
            return Ok(vec![TaskNumber(u64::MAX)]);
        }
        self.inner.due_exactly(def, at, after, limit)
    }

    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>, StoreError> {
        let mut turn = self.inner.turn(task, slot)?;
        if let Some(turn) = &mut turn {
            let off = self.turn_off.load(Ordering::SeqCst);
            turn.total = turn.total.saturating_add_signed(off);
        }
        Ok(turn)
    }

    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>, StoreError> {
        self.read()?;
        self.inner.step(task, turn, key)
    }

    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>, StoreError> {
        if task.0 == self.damaged_steps.load(Ordering::SeqCst) {
            return Err(damage("steps"));
        }
        self.read()?;
        self.inner.steps(task, turn, after, limit)
    }

    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>, StoreError> {
        self.inner.ask(task, key)
    }

    fn asks(
        &self,
        from: Bound<(TaskNumber, &str)>,
        limit: usize,
    ) -> Result<Vec<FoundAsk>, StoreError> {
        self.inner.asks(from, limit)
    }

    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>, StoreError> {
        self.inner.runs(task)
    }

    fn segments(
        &self,
        task: TaskNumber,
        after: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Segment>, StoreError> {
        let mut segments = self.inner.segments(task, after, limit_bytes)?;
        let damaged = self.damaged_segment.load(Ordering::SeqCst);
        for segment in &mut segments {
            if segment.first == damaged {
                segment.row = Err(StoreError::Corrupt {
                    table: "stream",
                    key: "told to be damaged".into(),
                });
            }
        }
        Ok(segments)
    }

    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>, StoreError> {
        if self.damaged_segment.load(Ordering::SeqCst) == u64::MAX {
            return Err(StoreError::Corrupt {
                table: "stream",
                key: "told to be damaged".into(),
            });
        }
        self.inner.stream_end(task)
    }

    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>, StoreError> {
        self.inner.expired(now, limit)
    }

    fn expired_receipts(
        &self,
        now: Micros,
        limit: usize,
    ) -> Result<Vec<ExpiredReceipt>, StoreError> {
        self.inner.expired_receipts(now, limit)
    }

    fn events(&self, after: Etag, limit: usize) -> Result<EventPage, StoreError> {
        self.inner.events(after, limit)
    }

    fn ended_children(&self, family: Family) -> Result<u64, StoreError> {
        self.inner.ended_children(family)
    }

    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        self.inner.children(family, after, limit)
    }

    fn families_over(
        &self,
        after: Option<Family>,
        limit: usize,
    ) -> Result<Vec<(Family, Fate)>, StoreError> {
        self.inner.families_over(after, limit)
    }

    fn lives(&self) -> Result<Vec<LifeRow>, StoreError> {
        if is_set(&self.damage_lives) {
            return Err(StoreError::Corrupt {
                table: "lives",
                key: "told to be damaged".into(),
            });
        }
        self.inner.lives()
    }

    fn put_life(&self, life: &LifeRow) -> Result<(), StoreError> {
        assert!(
            !self.panic_at_life.load(Ordering::SeqCst),
            "on a damaged page"
        );
        self.written(|store| store.put_life(life))?;
        self.after_write.run();
        Ok(())
    }

    fn indexes(&self) -> Result<Vec<IndexRow>, StoreError> {
        self.inner.indexes()
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<(), StoreError> {
        self.written(|store| store.put_indexes(indexes))
    }

    fn reopen(&self) -> Result<(), StoreError> {
        self.reopens.fetch_add(1, Ordering::SeqCst);
        if is_set(&self.shut) {
            if is_set(&self.full) {
                return Err(StoreError::Full);
            }
            self.shut.store(false, Ordering::SeqCst);
        }
        let broken_from = self.broken_from.load(Ordering::SeqCst);
        let broken = broken_from > 0 && self.commits.load(Ordering::SeqCst) >= broken_from;
        let told = [
            &self.fail_before_commit,
            &self.fail_after_commit,
            &self.fail_reads,
        ];
        if is_set(&self.heals) {
            for flag in told {
                flag.store(false, Ordering::SeqCst);
            }
            self.broken_from.store(0, Ordering::SeqCst);
        } else if broken || told.into_iter().any(is_set) {
            return Err(failure());
        }
        Ok(())
    }

    fn leaving(&self, still_running: usize) {
        self.inner.leaving(still_running);
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool, StoreError> {
        *self.kept.lock() = Some(events);
        let would_fail = is_set(&self.fail_before_commit) || is_set(&self.fail_after_commit);
        if would_fail && !is_set(&self.has_failed) {
            // Nothing is written to a tidy store: that writes fail is found out by what has something to write.
            return Ok(false);
        }
        self.written(|store| store.tidy(events, limit))
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        self.before_commit.run();
        self.largest_commit.fetch_max(batch.len(), Ordering::SeqCst);
        self.largest_segments
            .fetch_max(segments(batch), Ordering::SeqCst);
        if is_set(&self.damaged_rows) {
            let damaged = |commit: &Commit| {
                Err(Conflict {
                    task: commit.task,
                    found: Err(StoreError::Corrupt {
                        table: "tasks",
                        key: "told to be damaged".into(),
                    }),
                })
            };
            return Ok(batch.iter().map(damaged).collect());
        }
        let number = self.commits.fetch_add(1, Ordering::SeqCst) + 1;
        let broken_from = self.broken_from.load(Ordering::SeqCst);
        if broken_from == 0 || number < broken_from {
            let answers = self.written(|store| store.commit(batch))?;
            self.after_write.run();
            return Ok(answers);
        }
        if number == broken_from && is_set(&self.answer_lost) {
            self.inner.commit(batch)?;
        }
        Err(failure())
    }
}
