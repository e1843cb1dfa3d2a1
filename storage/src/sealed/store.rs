//! A store whose values are sealed in the store below it.

use super::codec::PayloadCodec;
use super::mark;
use super::parts::{Parts, Raw, Reason};
use super::sealer::Sealer;
use crate::commit::{Applied, Commit, Conflict, Write};
use crate::id::{InputId, TaskId};
use crate::row::{
    AskRow, DefNumber, Etag, Family, Fate, IndexRow, InputRow, LifeRow, Micros, Receipt, RunRow,
    StepRow, TaskNumber, TaskRow, Times, TurnRow, ValueKey,
};
use crate::slot::Slot;
use crate::store::{
    Counters, Due, EventPage, EventsKept, ExpiredReceipt, FoundAsk, Inbox, PAGE_MAX, Page, Scan,
    Segment, Sharing, Store, StoreError, StreamEnd,
};
use std::ops::Bound;
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// What children are told whose parent's reason is damaged, or sealed under a key that is missing.
const UNREADABLE: &str = "the reason cannot be read";

/// A store over a store: clear above, sealed below.
///
/// ```
/// # #[cfg(feature = "seal")] {
/// use outlive_storage::sealed::{Key, Keys, SealedStore, is_sealed};
/// use outlive_storage::{MemStore, Store};
/// use std::sync::Arc;
/// let below = Arc::new(MemStore::new());
/// let keys = Keys::new(Key::generate().unwrap());
/// let store = SealedStore::open(below.clone(), Arc::new(keys)).unwrap();
/// assert_eq!(is_sealed(&*below), Ok(true));
/// assert!(store.definitions().unwrap().is_empty());
/// # }
/// ```
pub struct SealedStore {
    inner: Arc<dyn Store>,
    sealer: Sealer,
}

impl std::fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedStore").finish_non_exhaustive()
    }
}

impl SealedStore {
    /// Seals whatever is written from now on. The store below is marked as sealed, durably, and once more under each
    /// further current key.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`] when the store is sealed and none of the codec's keys was ever its current one;
    /// otherwise as for [`Store::define`].
    pub fn open(inner: Arc<dyn Store>, codec: Arc<dyn PayloadCodec>) -> Result<SealedStore> {
        let sealer = mark::begin(&*inner, codec, true)?;
        let Some(sealer) = sealer else {
            let what = "a store that may be written to has no mark";
            return Err(StoreError::Malformed { what });
        };
        Ok(SealedStore { inner, sealer })
    }

    /// As [`SealedStore::open`], for looking only: nothing is written, and what is not sealed is handed through.
    ///
    /// # Errors
    /// As for [`SealedStore::open`].
    pub fn look(inner: Arc<dyn Store>, codec: Arc<dyn PayloadCodec>) -> Result<Arc<dyn Store>> {
        Ok(match mark::begin(&*inner, codec, false)? {
            Some(sealer) => Arc::new(SealedStore { inner, sealer }),
            None => inner,
        })
    }

    /// The secret of this file with which digests of values are keyed: the same under each key, and in each copy of the
    /// file.
    pub fn digest_secret(&self) -> [u8; 32] {
        self.sealer.digests
    }

    /// Opens a row that was read.
    fn opened<P: Parts>(&self, slot: Slot<'_>, mut row: P) -> Result<P> {
        self.sealer.open(slot, &mut row)?;
        Ok(row)
    }

    /// A sealed copy of what is to be written.
    fn sealed<P: Parts + Clone>(&self, slot: Slot<'_>, row: &P) -> Result<P> {
        let mut row = row.clone();
        self.sealer.seal(slot, &mut row)?;
        Ok(row)
    }

    fn sealed_commit(&self, commit: &Commit) -> Result<Commit> {
        let writes = commit.writes.iter();
        let writes = writes.map(|write| self.sealed_write(commit.task, write));
        Ok(Commit {
            task: commit.task,
            expect: commit.expect.clone(),
            writes: writes.collect::<Result<_>>()?,
        })
    }

    fn sealed_write(&self, task: TaskNumber, write: &Write) -> Result<Write> {
        Ok(match write {
            Write::Row(row) => Write::Row(Arc::new(self.sealed(Slot::Task(task), &**row)?)),
            Write::Value { key, bytes } => {
                let mut raw = Raw(bytes.clone());
                self.sealer.seal(Slot::Value(*key), &mut raw)?;
                let bytes = raw.0;
                Write::Value { key: *key, bytes }
            }
            Write::PushInput { seq, input } => Write::PushInput {
                seq: *seq,
                input: self.sealed(Slot::Input(task, *seq), input)?,
            },
            Write::Receipt {
                input_id,
                receipt,
                expires_at,
            } => Write::Receipt {
                input_id: input_id.clone(),
                receipt: self.sealed(Slot::Receipt(task, input_id.as_str()), receipt)?,
                expires_at: *expires_at,
            },
            Write::Turn { slot, turn } => Write::Turn {
                slot: *slot,
                turn: Box::new(self.sealed(Slot::Turn(task, *slot), &**turn)?),
            },
            Write::Step { turn, key, step } => Write::Step {
                turn: *turn,
                key: key.clone(),
                step: Box::new(self.sealed(Slot::Step(task, *turn, key), &**step)?),
            },
            Write::Ask { key, ask } => Write::Ask {
                key: key.clone(),
                ask: Box::new(self.sealed(Slot::Ask(task, key), &**ask)?),
            },
            Write::Run(run) => {
                let place = run.run % TaskRow::RUNS_KEPT;
                Write::Run(Box::new(self.sealed(Slot::Run(task, place), &**run)?))
            }
            Write::Segment { first, segment } => Write::Segment {
                first: *first,
                segment: Arc::new(self.sealed(Slot::Segment(task, *first), &**segment)?),
            },
            Write::FamilyOver { turn, fate } => {
                let family = Family { task, turn: *turn };
                let fate = self.fate(fate.clone(), family, Sealer::seal)?;
                Write::FamilyOver { turn: *turn, fate }
            }
            Write::RemoveValue(_)
            | Write::PopInput { .. }
            | Write::KeepReceipt { .. }
            | Write::RemoveReceipt { .. }
            | Write::RemoveStep { .. }
            | Write::ForgetSteps { .. }
            | Write::RemoveAsk { .. }
            | Write::RemoveAsks
            | Write::EvictSegments { .. }
            | Write::ChildEnded(_)
            | Write::Event(_)
            | Write::RemoveTask => write.clone(),
        })
    }

    fn fate(
        &self,
        fate: Fate,
        family: Family,
        way: impl FnOnce(&Sealer, Slot<'_>, &mut Reason) -> Result<()>,
    ) -> Result<Fate> {
        let Fate::Cancelled { reason: text } = fate else {
            return Ok(fate);
        };
        let turn = family.turn;
        let mut reason = Reason { turn, text };
        way(&self.sealer, Slot::Task(family.task), &mut reason)?;
        Ok(Fate::Cancelled {
            reason: reason.text,
        })
    }

    fn open_segment(&self, task: TaskNumber, found: &mut Segment) -> Result<()> {
        let Ok(row) = &mut found.row else {
            return Ok(());
        };
        let slot = Slot::Segment(task, found.first);
        if let Err(error) = self.sealer.open(slot, Arc::make_mut(row)) {
            found.row = Err(of_one_entry(error)?);
        }
        Ok(())
    }

    /// What a refused commit found.
    fn found(&self, conflict: Conflict) -> Conflict {
        let Conflict { task, found } = conflict;
        let opened = |row: Box<TaskRow>| self.opened(Slot::Task(task), *row).map(Box::new);
        let found = found.and_then(|row| row.map(opened).transpose());
        Conflict { task, found }
    }
}

impl Store for SealedStore {
    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }

    fn counters(&self) -> Result<Counters> {
        self.inner.counters()
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>> {
        self.inner.define(names)
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>> {
        let mut names = self.inner.definitions()?;
        names.retain(|(_, name)| !mark::is_mark(name));
        Ok(names)
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>> {
        self.inner.find(id)
    }

    fn ids(&self, prefix: &str, limit: usize) -> Result<Vec<TaskId>> {
        self.inner.ids(prefix, limit)
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>> {
        let row = self.inner.get(task)?;
        row.map(|row| self.opened(Slot::Task(task), row))
            .transpose()
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.inner.value(key)? else {
            return Ok(None);
        };
        self.opened(Slot::Value(key), Raw(bytes))
            .map(|raw| Some(raw.0))
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox> {
        let Inbox { len, head } = self.inner.inbox(task)?;
        let head = head.map(|(seq, input)| {
            let input = self.opened(Slot::Input(task, seq), input)?;
            Ok((seq, input))
        });
        let head = head.transpose()?;
        Ok(Inbox { len, head })
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>> {
        let inputs = self.inner.inputs(task, limit)?.into_iter();
        let opened = inputs.map(|(seq, input)| {
            let input = self.opened(Slot::Input(task, seq), input)?;
            Ok((seq, input))
        });
        opened.collect()
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>> {
        let receipt = self.inner.receipt(task, input_id)?;
        let slot = Slot::Receipt(task, input_id.as_str());
        receipt
            .map(|receipt| self.opened(slot, receipt))
            .transpose()
    }

    fn scan(&self, scan: Scan, after: Option<TaskNumber>, limit: usize) -> Result<Page> {
        let mut page = self.inner.scan(scan, after, limit)?;
        for found in &mut page.rows {
            if let Ok(row) = &mut found.row
                && let Err(error) = self.sealer.open(Slot::Task(found.task), row)
            {
                found.row = Err(of_one_entry(error)?);
            }
        }
        Ok(page)
    }

    fn due(&self, def: DefNumber, times: Times, limit: usize) -> Result<Due> {
        self.inner.due(def, times, limit)
    }

    fn due_exactly(
        &self,
        def: DefNumber,
        at: Micros,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>> {
        self.inner.due_exactly(def, at, after, limit)
    }

    fn turn(&self, task: TaskNumber, slot: u64) -> Result<Option<TurnRow>> {
        let turn = self.inner.turn(task, slot)?;
        turn.map(|turn| self.opened(Slot::Turn(task, slot), turn))
            .transpose()
    }

    fn step(&self, task: TaskNumber, turn: u64, key: &str) -> Result<Option<StepRow>> {
        let step = self.inner.step(task, turn, key)?;
        step.map(|step| self.opened(Slot::Step(task, turn, key), step))
            .transpose()
    }

    fn steps(
        &self,
        task: TaskNumber,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(Box<str>, StepRow)>> {
        let steps = self.inner.steps(task, turn, after, limit)?.into_iter();
        let opened = steps.map(|(key, step)| {
            let step = self.opened(Slot::Step(task, turn, &key), step)?;
            Ok((key, step))
        });
        opened.collect()
    }

    fn ask(&self, task: TaskNumber, key: &str) -> Result<Option<AskRow>> {
        let ask = self.inner.ask(task, key)?;
        ask.map(|ask| self.opened(Slot::Ask(task, key), ask))
            .transpose()
    }

    fn asks(&self, from: Bound<(TaskNumber, &str)>, limit: usize) -> Result<Vec<FoundAsk>> {
        let mut asks = self.inner.asks(from, limit)?;
        for found in &mut asks {
            if let Ok(ask) = &mut found.ask
                && let Err(error) = self.sealer.open(Slot::Ask(found.task, &found.key), ask)
            {
                found.ask = Err(of_one_entry(error)?);
            }
        }
        Ok(asks)
    }

    fn runs(&self, task: TaskNumber) -> Result<Vec<RunRow>> {
        let runs = self.inner.runs(task)?.into_iter();
        let opened = runs.map(|run| {
            let place = run.run % TaskRow::RUNS_KEPT;
            self.opened(Slot::Run(task, place), run)
        });
        opened.collect()
    }

    /// Sealed segments are longer, so the pages below are shorter than the one that was asked for.
    fn segments(&self, task: TaskNumber, after: u64, limit_bytes: usize) -> Result<Vec<Segment>> {
        let mut page: Vec<Segment> = Vec::new();
        let (mut after, mut bytes) = (after, 0);
        loop {
            let left = limit_bytes.saturating_sub(bytes);
            let part = self.inner.segments(task, after, left)?;
            let Some(last) = part.last() else {
                return Ok(page);
            };
            // Nobody knows where a damaged segment ends.
            let last = last.row.as_ref().ok().map(|row| row.last(last.first));
            for mut found in part {
                self.open_segment(task, &mut found)?;
                bytes += found.row.as_ref().map_or(0, |row| row.size());
                page.push(found);
            }
            let is_full = bytes >= limit_bytes || page.len() >= PAGE_MAX;
            match last {
                Some(last) if !is_full => after = last,
                Some(_) | None => return Ok(page),
            }
        }
    }

    fn stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>> {
        self.inner.stream_end(task)
    }

    fn expired(&self, now: Micros, limit: usize) -> Result<Vec<TaskNumber>> {
        self.inner.expired(now, limit)
    }

    fn expired_receipts(&self, now: Micros, limit: usize) -> Result<Vec<ExpiredReceipt>> {
        self.inner.expired_receipts(now, limit)
    }

    fn events(&self, after: Etag, limit: usize) -> Result<EventPage> {
        self.inner.events(after, limit)
    }

    fn ended_children(&self, family: Family) -> Result<u64> {
        self.inner.ended_children(family)
    }

    fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>> {
        self.inner.children(family, after, limit)
    }

    fn families_over(&self, after: Option<Family>, limit: usize) -> Result<Vec<(Family, Fate)>> {
        let families = self.inner.families_over(after, limit)?.into_iter();
        let opened = families.map(|(family, fate)| {
            let fate = match self.fate(fate, family, Sealer::open) {
                // Its children are cancelled all the same, and those of the turns after it.
                Err(error) if error.is_of_one_entry() => Fate::Cancelled {
                    reason: UNREADABLE.into(),
                },
                fate => fate?,
            };
            Ok((family, fate))
        });
        opened.collect()
    }

    fn lives(&self) -> Result<Vec<LifeRow>> {
        self.inner.lives()
    }

    fn put_life(&self, life: &LifeRow) -> Result<()> {
        self.inner.put_life(life)
    }

    fn indexes(&self) -> Result<Vec<IndexRow>> {
        self.inner.indexes()
    }

    fn put_indexes(&self, indexes: &[IndexRow]) -> Result<()> {
        self.inner.put_indexes(indexes)
    }

    fn tidy(&self, events: EventsKept, limit: usize) -> Result<bool> {
        self.inner.tidy(events, limit)
    }

    fn is_behind(&self) -> bool {
        self.inner.is_behind()
    }

    fn catch_up(&self) -> Result<()> {
        self.inner.catch_up()
    }

    fn leaving(&self, still_running: usize) {
        self.inner.leaving(still_running);
    }

    fn reached_at(&self, addresses: &[String]) {
        if !cfg!(planted = "sealed_address_lost") {
            self.inner.reached_at(addresses);
        }
    }

    fn reopen(&self) -> Result<()> {
        self.inner.reopen()
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<std::result::Result<Applied, Conflict>>> {
        let sealed = batch.iter().map(|commit| self.sealed_commit(commit));
        let sealed: Vec<Commit> = sealed.collect::<Result<_>>()?;
        let answers = self.inner.commit(&sealed)?.into_iter();
        let opened = answers.map(|answer| answer.map_err(|conflict| self.found(conflict)));
        Ok(opened.collect())
    }
}

/// The error of one entry, which does not hide its neighbours; any other ends the call.
fn of_one_entry(error: StoreError) -> Result<StoreError> {
    match error.is_of_one_entry() {
        true => Ok(error),
        false => Err(error),
    }
}
