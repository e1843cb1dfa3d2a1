//! Every value of a file sealed anew under the current key: a change of keys, and the adoption of one.
//!
//! Entries are rewritten where they lie, a bounded number in each transaction. What is under the current key already is
//! left alone, so whoever is interrupted begins again and does not repeat what was done.

use super::progress::{Counted, Watch};
use super::report::Findings;
use super::salvage::Shelf;
use super::tables::{
    ASKS, FAMILIES_OVER, INPUTS, RECEIPTS, RUNS, STEPS, STREAM, TASKS, TURNS, VALUES,
};
use super::verify::undecoded;
use super::{OpenError, RedbOptions, RedbStore, fault, open, panics};
use crate::codec;
use crate::header::Header;
use crate::receipt::KeptReceipt;
use crate::row::{AskRow, InputRow, RunRow, SegmentRow, TaskNumber, TurnRow};
use crate::sealed::{self, Parts, PayloadCodec, Raw, Reason, Sealer};
use crate::slot::Slot;
use crate::store::StoreError;
use redb::{Key, ReadableTable, TableDefinition};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;
type Bytes = &'static [u8];

/// Most entries that one transaction looks at.
const ENTRIES_AT_ONCE: usize = 1024;
/// No further entry is rewritten in a transaction that holds so many bytes.
const BYTES_AT_ONCE: usize = 4 << 20;

/// What a change of keys came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ResealReport {
    /// Entries that were sealed anew.
    pub resealed: u64,
    /// Entries under the current key already, or with nothing in them to seal.
    pub current: u64,
    /// Entries that could not be opened, and are as they were. While there are any, the keys they need are needed.
    pub unreadable: Findings,
}

impl ResealReport {
    /// True when everything is under the current key, and no other one is needed.
    pub fn is_whole(&self) -> bool {
        self.unreadable.is_empty()
    }
}

/// Why a file was not, or not wholly, sealed anew. Every value is readable with the keys given all the same: do what the
/// error inside says, and begin again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// The file was not opened.
    #[error(transparent)]
    Open(OpenError),
    /// The store failed, or none of the keys is one of the file's.
    #[error(transparent)]
    Store(StoreError),
}

/// Seals every value of the file at `path`, which no engine may be on, anew under the codec's current key, clear values
/// too. When it returns with a whole report, older keys are not needed any more, and no clear value is taken for one of
/// the file's. Its lock is held meanwhile; `instance` is a fresh chance number, `now_us` the wall clock in microseconds,
/// both for the lock file.
///
/// After a crash at any moment each value is under its old key or the new one; begin again. Old versions lie in unused
/// pages of the file until those are used again: [`compact`](super::compact) it.
///
/// ```
/// # #[cfg(feature = "seal")] {
/// use outlive_storage::redb::{RedbOptions, RedbStore, reseal};
/// use outlive_storage::sealed::{Key, Keys};
/// use std::sync::Arc;
/// let directory = tempfile::tempdir().unwrap();
/// let path = directory.path().join("tasks.redb");
/// drop(RedbStore::open(&path, RedbOptions::default(), 1, 0).unwrap());
/// let keys = Keys::new(Key::generate().unwrap());
/// assert!(reseal(&path, Arc::new(keys), 2, 0).unwrap().is_whole());
/// # }
/// ```
///
/// # Errors
/// [`ResealError`]: what to do is in each variant.
pub fn reseal(
    path: &Path,
    codec: Arc<dyn PayloadCodec>,
    instance: u128,
    now_us: u64,
) -> std::result::Result<ResealReport, ResealError> {
    reseal_watched(path, codec, (instance, now_us), &Watch::default())
}

/// As [`reseal`], and somebody is told how far it has come: what is read are the entries, and not the pages they lie in, so
/// it ends below the length of the file.
///
/// # Errors
/// As for [`reseal`].
pub fn reseal_watched(
    path: &Path,
    codec: Arc<dyn PayloadCodec>,
    (instance, now_us): (u128, u64),
    watch: &Watch,
) -> std::result::Result<ResealReport, ResealError> {
    let missing = || OpenError::Missing {
        path: path.to_owned(),
    };
    // An open would make a file where there is none.
    let found = open::examine_to_read(path).map_err(ResealError::Open)?;
    found.ok_or_else(missing).map_err(ResealError::Open)?;
    let store = RedbStore::open(path, RedbOptions::default(), instance, now_us)
        .map_err(ResealError::Open)?;
    let counted = Counted::new(watch, store.opened().file_bytes);
    let report = store.reseal_counted(codec, &counted);
    report.map_err(ResealError::Store)
}

impl RedbStore {
    /// Seals every value anew under the codec's current key; see [`reseal`]. Nobody else may write meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]; what was sealed until then stays so.
    pub fn reseal(&self, codec: Arc<dyn PayloadCodec>) -> Result<ResealReport> {
        self.reseal_counted(codec, &Counted::new(&Watch::default(), 0))
    }

    fn reseal_counted(
        &self,
        codec: Arc<dyn PayloadCodec>,
        counted: &Counted,
    ) -> Result<ResealReport> {
        let sealer = sealed::begin(self, codec, true)?.ok_or(StoreError::Malformed {
            what: "a store that may be written to has no mark",
        })?;
        let mut report = ResealReport::default();
        let mut pass = Pass {
            store: self,
            sealer: &sealer,
            report: &mut report,
            counted,
        };
        self.guarded(|| panics::told(|| pass.renew_all()))?;
        if report.is_whole() {
            sealed::finish(self)?;
        }
        Ok(report)
    }
}

/// One way through the file.
struct Pass<'p> {
    store: &'p RedbStore,
    sealer: &'p Sealer,
    report: &'p mut ResealReport,
    counted: &'p Counted,
}

/// What one transaction does.
#[derive(Default)]
struct Step {
    /// Keys and values to put.
    renewed: Vec<(Vec<u8>, Vec<u8>)>,
    /// The last key looked at; `None` at the end of the table.
    last: Option<Vec<u8>>,
}

impl Pass<'_> {
    fn renew_all(&mut self) -> Result<()> {
        self.table(TASKS, Shelf::Tasks)?;
        if !cfg!(planted = "reseal_skips_values") {
            self.table(VALUES, Shelf::Values)?;
        }
        self.table(INPUTS, Shelf::Inputs)?;
        self.table(RECEIPTS, Shelf::Receipts)?;
        self.table(TURNS, Shelf::Turns)?;
        self.table(STEPS, Shelf::Steps)?;
        self.table(ASKS, Shelf::Asks)?;
        self.table(RUNS, Shelf::Runs)?;
        self.table(STREAM, Shelf::Stream)?;
        self.families()
    }

    fn table<K: Key + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, Bytes>,
        shelf: Shelf,
    ) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let txn = self.store.begin_write()?;
            let mut table = txn.open_table(definition).map_err(fault)?;
            let step = self.step(&table, shelf, after.as_deref())?;
            for (key, value) in &step.renewed {
                let put = table.insert(K::from_bytes(key), value.as_slice());
                put.map(drop).map_err(fault)?;
            }
            drop(table);
            if step.renewed.is_empty() {
                txn.abort().map_err(fault)?;
            } else {
                txn.commit().map_err(fault)?;
            }
            if step.last.is_none() {
                return Ok(());
            }
            after = step.last;
        }
    }

    /// The next entries of a table, those that are to be put again sealed anew.
    fn step<K: Key + 'static>(
        &mut self,
        table: &impl ReadableTable<K, Bytes>,
        shelf: Shelf,
        after: Option<&[u8]>,
    ) -> Result<Step> {
        let from = after.map_or(Bound::Unbounded, |after| {
            Bound::Excluded(K::from_bytes(after))
        });
        let mut step = Step::default();
        let mut bytes = 0;
        let entries = table.range::<K::SelfType<'_>>((from, Bound::Unbounded));
        for (seen, entry) in entries.map_err(fault)?.enumerate() {
            if seen == ENTRIES_AT_ONCE || bytes >= BYTES_AT_ONCE {
                return Ok(step);
            }
            let (key, value) = entry.map_err(fault)?;
            let key = K::as_bytes(&key.value()).as_ref().to_vec();
            self.counted.add((key.len() + value.value().len()) as u64);
            if let Some(value) = self.entry(shelf, &key, value.value())? {
                bytes += value.len();
                step.renewed.push((key.clone(), value));
            }
            step.last = Some(key);
        }
        step.last = None;
        Ok(step)
    }

    /// What is to be put in the place of an entry, if it is not as it should be.
    fn entry(&mut self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(slot) = shelf.slot(key) else {
            let key = format!("{key:02x?}");
            let table = shelf.name();
            let wrong = super::Wrong::Damaged;
            self.report.unreadable.add(table, key, wrong);
            return Ok(None);
        };
        let renewed = renewed(self.sealer, slot, value);
        self.counted(slot, renewed)
    }

    fn counted<T>(&mut self, slot: Slot<'_>, renewed: Result<Option<T>>) -> Result<Option<T>> {
        match &renewed {
            Ok(Some(_)) => self.report.resealed += 1,
            Ok(None) => self.report.current += 1,
            Err(error) if error.is_of_one_entry() => {
                let wrong = undecoded(error);
                self.report.unreadable.add(slot.table(), slot, wrong);
                return Ok(None);
            }
            Err(_) => {}
        }
        renewed
    }

    /// Why the children of turns that are over are cancelled: few, and each one short.
    fn families(&mut self) -> Result<()> {
        let txn = self.store.begin_write()?;
        let mut table = txn.open_table(FAMILIES_OVER).map_err(fault)?;
        let mut renewed = Vec::new();
        for entry in table.iter().map_err(fault)? {
            let (key, reason) = entry.map_err(fault)?;
            let (task, turn) = key.value();
            let Some(text) = reason.value() else { continue };
            let text = text.into();
            let mut reason = Reason { turn, text };
            let slot = Slot::Task(TaskNumber(task));
            let is_new = self.sealer.renew(slot, &mut reason);
            let is_new = is_new.map(|is_new| is_new.then_some(reason.text));
            if let Some(text) = self.counted(slot, is_new)? {
                renewed.push(((task, turn), text));
            }
        }
        for (key, text) in renewed {
            table.insert(key, Some(&*text)).map_err(fault)?;
        }
        drop(table);
        txn.commit().map_err(fault)
    }
}

/// An entry sealed anew; `None` for one that may stay.
fn renewed(sealer: &Sealer, slot: Slot<'_>, value: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let is_new = match slot {
        Slot::Task(task) => {
            let mut row = codec::decode_row(task, value)?;
            let is_new = sealer.renew(slot, &mut row)?;
            codec::encode_row(task, (&Header::of(&row), &row), &mut out)?;
            is_new
        }
        Slot::Value(_) => {
            let mut raw = Raw(codec::decode_value(slot, value)?);
            let is_new = sealer.renew(slot, &mut raw)?;
            codec::encode_value(slot, &raw.0, &mut out)?;
            is_new
        }
        Slot::Step(..) => {
            let mut step = codec::decode_step(slot, value)?;
            let is_new = sealer.renew(slot, &mut step)?;
            codec::encode_step(slot, &step, &mut out)?;
            is_new
        }
        Slot::Receipt(..) => {
            let mut kept: KeptReceipt = codec::decode(slot, value)?;
            let is_new = sealer.renew(slot, &mut kept.receipt)?;
            codec::encode(slot, &kept, &mut out)?;
            is_new
        }
        Slot::Input(..) => entry::<InputRow>(sealer, slot, (value, &mut out))?,
        Slot::Turn(..) => entry::<TurnRow>(sealer, slot, (value, &mut out))?,
        Slot::Run(..) => entry::<RunRow>(sealer, slot, (value, &mut out))?,
        Slot::Segment(..) => entry::<SegmentRow>(sealer, slot, (value, &mut out))?,
        Slot::Ask(..) => entry::<AskRow>(sealer, slot, (value, &mut out))?,
        // Nothing of theirs is the user's.
        Slot::Event(_) | Slot::Life(..) => false,
    };
    Ok(is_new.then_some(out))
}

fn entry<E: codec::Entry + Parts>(
    sealer: &Sealer,
    slot: Slot<'_>,
    (value, out): (&[u8], &mut Vec<u8>),
) -> Result<bool> {
    let mut row: E = codec::decode(slot, value)?;
    let is_new = sealer.renew(slot, &mut row)?;
    codec::encode(slot, &row, out)?;
    Ok(is_new)
}
