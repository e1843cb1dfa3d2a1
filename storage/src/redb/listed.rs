//! Whether a range of an index is whole at its two ends.
//!
//! Entries of an index have no checksum of their own: the row that one names says whether it is right. What lies within
//! a range is met when it is read. An entry that damage has moved out of the range lies beside it, and is asked for here.

use super::fault;
use crate::codec;
use crate::row::{TaskNumber, TaskRow};
use crate::store::StoreError;
use redb::{Key, ReadableTable};
use std::ops::Bound;

type Result<T> = std::result::Result<T, StoreError>;

/// A key of an index whose entries stay for as long as their tasks do.
pub(super) trait ListedKey: Key {
    /// The table's name.
    const TABLE: &'static str;
    /// The task that the key names, and whether its row says that it is listed under this key.
    fn task(key: &Self::SelfType<'_>) -> u64;
    /// Whether the row of the task says that it is listed under this key.
    fn is_of(key: &Self::SelfType<'_>, row: &TaskRow) -> bool;
}

impl ListedKey for (u32, u64) {
    const TABLE: &'static str = "by_definition";

    fn task(key: &(u32, u64)) -> u64 {
        key.1
    }

    fn is_of(key: &(u32, u64), row: &TaskRow) -> bool {
        row.def.0 == key.0
    }
}

impl ListedKey for (u32, &'static str, u64) {
    const TABLE: &'static str = "by_label";

    fn task(key: &(u32, &str, u64)) -> u64 {
        key.2
    }

    fn is_of(key: &(u32, &str, u64), row: &TaskRow) -> bool {
        row.def.0 == key.0 && row.facts.labels.iter().any(|label| **label == *key.1)
    }
}

/// Checks the entries before `from` and from `to` on.
///
/// # Errors
/// [`StoreError::Corrupt`] when one of them is not what was written, so that something may be missing between them; what
/// redb fails with.
pub(super) fn check_ends<'k, K: ListedKey + 'static>(
    index: &impl ReadableTable<K, ()>,
    (from, to): (K::SelfType<'k>, K::SelfType<'k>),
    tasks: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<()> {
    if cfg!(planted = "list_ends_believed") {
        return Ok(());
    }
    let from_key = K::as_bytes(&from).as_ref().to_vec();
    let to_key = K::as_bytes(&to).as_ref().to_vec();
    let below = (Bound::Unbounded, Bound::Excluded(from));
    let mut before = index.range::<K::SelfType<'k>>(below).map_err(fault)?;
    if let Some(key) = key_of(before.next_back())? {
        check_one::<K>(&key, K::compare(&key, &from_key).is_lt(), tasks)?;
    }
    let above = (Bound::Included(to), Bound::Unbounded);
    let mut after = index.range::<K::SelfType<'k>>(above).map_err(fault)?;
    if let Some(key) = key_of(after.next())? {
        check_one::<K>(&key, K::compare(&key, &to_key).is_ge(), tasks)?;
    }
    Ok(())
}

type Entry<'a, K> = (redb::AccessGuard<'a, K>, redb::AccessGuard<'a, ()>);

fn key_of<K: Key + 'static>(
    entry: Option<std::result::Result<Entry<'_, K>, redb::StorageError>>,
) -> Result<Option<Vec<u8>>> {
    let entry = entry.transpose().map_err(fault)?;
    Ok(entry.map(|(key, _)| K::as_bytes(&key.value()).as_ref().to_vec()))
}

fn check_one<K: ListedKey>(
    key: &[u8],
    in_order: bool,
    tasks: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<()> {
    let key = K::from_bytes(key);
    let number = K::task(&key);
    let bytes = tasks.get(number).map_err(fault)?;
    let row = bytes.map(|bytes| codec::decode_row(TaskNumber(number), bytes.value()));
    let right = match row {
        Some(Ok(row)) => K::is_of(&key, &row),
        // It is reported where it is listed.
        Some(Err(_)) => true,
        None => false,
    };
    if right && in_order {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        table: K::TABLE,
        key: number.to_string().into(),
    })
}
