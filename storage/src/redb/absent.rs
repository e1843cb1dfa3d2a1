//! Believing that something is not there.
//!
//! A search passes by a key that damage has changed, and ends beside it. So wherever an entry is missing that was there,
//! one of the two entries between which it would lie is damaged, or the two do not lie on its two sides: both prove
//! themselves by their checksums, which cover their keys. The same holds for the two ends of a range.

use super::batch::Bytes;
use super::salvage::{Shelf, said};
use super::tables::TASKS;
use super::{RedbStore, fault};
use crate::store::StoreError;
use redb::{Key, ReadableTable};
use std::ops::Bound;

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
    /// Checks the entries around a range that was read, of which `first` and `last` are the ends; of one key they are the
    /// same.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when one of them is not what was written, and may be what is missing; what redb fails
    /// with.
    pub(super) fn check_absent<'k, K: Key + 'static>(
        &self,
        table: &impl ReadableTable<K, Bytes>,
        shelf: Shelf,
        (first, last): (K::SelfType<'k>, K::SelfType<'k>),
    ) -> Result<()> {
        if cfg!(planted = "absence_believed") {
            return Ok(());
        }
        let first_key = K::as_bytes(&first).as_ref().to_vec();
        let last_key = K::as_bytes(&last).as_ref().to_vec();
        let below = (Bound::Unbounded, Bound::Excluded(first));
        let mut before = table.range::<K::SelfType<'k>>(below).map_err(fault)?;
        if let Some((key, bytes)) = before.next_back().transpose().map_err(fault)? {
            let key = K::as_bytes(&key.value()).as_ref().to_vec();
            let in_order = K::compare(&key, &first_key).is_lt();
            self.check_beside(shelf, (&key, bytes.value(), in_order), &first_key)?;
        }
        let above = (Bound::Excluded(last), Bound::Unbounded);
        let mut after = table.range::<K::SelfType<'k>>(above).map_err(fault)?;
        if let Some((key, bytes)) = after.next().transpose().map_err(fault)? {
            let key = K::as_bytes(&key.value()).as_ref().to_vec();
            let in_order = K::compare(&key, &last_key).is_gt();
            self.check_beside(shelf, (&key, bytes.value(), in_order), &last_key)?;
        }
        Ok(())
    }

    /// Whether the entry beside a missing one is another's, whole or damaged.
    fn check_beside(
        &self,
        shelf: Shelf,
        (key, bytes, in_order): (&[u8], &[u8], bool),
        missing: &[u8],
    ) -> Result<()> {
        let corrupt = || StoreError::Corrupt {
            table: shelf.name(),
            key: format!("beside {}", hex(key)).into(),
        };
        let slot = shelf.slot(key).filter(|_| in_order).ok_or_else(corrupt)?;
        match said(slot, bytes) {
            // One of a later version of this library is as it was written.
            Ok(_) | Err(StoreError::TooNew { .. }) => return Ok(()),
            Err(_) => {}
        }
        // Either its key or its value is damaged. One whose value is whole under the missing key, or under any of the
        // task that is asked about, is what is missing.
        let is_whole = |key: &[u8]| {
            shelf
                .slot(key)
                .is_some_and(|slot| said(slot, bytes).is_ok())
        };
        let of_task = [
            &missing[..8.min(missing.len())],
            key.get(8..).unwrap_or(&[]),
        ]
        .concat();
        if is_whole(missing) || is_whole(&of_task) {
            return Err(corrupt());
        }
        // Any other one of the task may be what is missing, as one whose turn is damaged.
        let of_same_task = key.get(..8) == missing.get(..8);
        if of_same_task && !cfg!(planted = "damaged_neighbour_of_the_task_believed") {
            return Err(corrupt());
        }
        // One whose key makes sense is another's, with a damaged value: that is told to whoever asks for it.
        let tasks = self.begin_read()?.open_table(TASKS).map_err(fault)?;
        let makes_sense = match slot.task() {
            Some(task) if shelf != Shelf::Tasks => tasks.get(task.0).map_err(fault)?.is_some(),
            Some(_) | None => false,
        };
        if makes_sense {
            return Ok(());
        }
        Err(corrupt())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
