//! Many entries of one table at once.

use super::fault;
use crate::store::StoreError;
use redb::{CursorError, Key, Table, Value};
use std::ops::{Bound, Range};

/// So few are each put alone: to find the place for a run costs as much as to put one.
const FEW: usize = 3;

/// Puts entries, given in the order of their keys. Those that come behind everything in the table up to this bound are put there as
/// one run, which costs a third of putting each; any other is put in its own place, over what has its key.
///
/// # Errors
/// What redb fails with: the transaction is not to be committed.
pub(super) fn append<'e, K, V, E>(
    table: &mut Table<'_, K, V>,
    up_to: Bound<K::SelfType<'e>>,
    entries: &'e [E],
    entry: impl Fn(&'e E) -> (K::SelfType<'e>, V::SelfType<'e>),
) -> Result<(), StoreError>
where
    K: Key + 'static,
    V: Value + 'static,
{
    let elsewhere = match entries.len() <= FEW {
        true => entries.iter().collect(),
        false => put_run(table, up_to, entries, &entry)?,
    };
    for one in elsewhere {
        let (key, value) = entry(one);
        table.insert(key, value).map_err(fault)?;
    }
    Ok(())
}

/// Puts those entries that come behind everything up to the bound; the others are given back.
fn put_run<'e, K, V, E>(
    table: &mut Table<'_, K, V>,
    up_to: Bound<K::SelfType<'e>>,
    entries: &'e [E],
    entry: &impl Fn(&'e E) -> (K::SelfType<'e>, V::SelfType<'e>),
) -> Result<Vec<&'e E>, StoreError>
where
    K: Key + 'static,
    V: Value + 'static,
{
    let (mut rest, mut elsewhere) = (entries, Vec::new());
    let mut cursor = table.upper_bound_mut(up_to).map_err(fault)?;
    // To be refused costs as much as the last page of the table has, so more and more are left out at once: all those that are
    // not beyond it are among the first.
    let mut step = 1;
    while let Some(one) = rest.first() {
        let (key, value) = entry(one);
        let taken = match cursor.insert_before(key, value) {
            Ok(()) => 1,
            Err(CursorError::UnorderedKey) => {
                let left_out = &rest[..step.min(rest.len())];
                if !cfg!(planted = "misplaced_entry_left_out") {
                    elsewhere.extend(left_out);
                }
                step *= 2;
                left_out.len()
            }
            Err(error) => return Err(fault(error)),
        };
        rest = &rest[taken..];
    }
    cursor.close().map_err(fault)?;
    Ok(elsewhere)
}

/// Encoded values under their keys, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    bytes: Vec<u8>,
    entries: Vec<(u64, Range<usize>)>,
}

impl Sheet {
    /// Forgets what was on it.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Adds what is written behind the others, and says how many bytes it has.
    ///
    /// # Errors
    /// What it cannot be written for: the sheet is to be cleared then.
    pub(super) fn add(
        &mut self,
        key: u64,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let from = self.bytes.len();
        write(&mut self.bytes)?;
        let to = self.bytes.len();
        self.entries.push((key, from..to));
        Ok((to - from) as u64)
    }

    /// How many entries are on it.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Puts all that is on it, which was added in the order of the keys, as [`append`] does.
    pub(super) fn append_to(
        &self,
        table: &mut Table<'_, u64, &'static [u8]>,
    ) -> Result<(), StoreError> {
        append(table, Bound::Unbounded, &self.entries, |(key, at)| {
            (*key, &self.bytes[at.clone()])
        })
    }
}
