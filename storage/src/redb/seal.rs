//! The checksum of an entry that answers without a row behind it: which number an id or a name has.
//!
//! Other index entries name a row, which says itself whether they are right. These are believed, and one that damage
//! turned into another would be a second task under a taken id, or a task in the hands of another handler.

use crate::store::StoreError;

/// The number and the seal of an entry of `ids`.
pub(super) type SealedTask = (u64, u32);
/// The number and the seal of an entry of `definitions`.
pub(super) type SealedDef = (u32, u32);

const IDS: &str = "ids";
const DEFINITIONS: &str = "definitions";

/// What lies in `ids` under this id.
pub(super) fn of_id(id: &str, number: u64) -> SealedTask {
    (number, seal(IDS, id, number))
}

/// What lies in `definitions` under this name.
pub(super) fn of_name(name: &str, number: u32) -> SealedDef {
    (number, seal(DEFINITIONS, name, u64::from(number)))
}

/// The number of an id, if the entry is the one that was written.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub(super) fn open_id(id: &str, (number, found): SealedTask) -> Result<u64, StoreError> {
    check(IDS, id, (number, found)).map(|()| number)
}

/// The number of a name, if the entry is the one that was written.
///
/// # Errors
/// [`StoreError::Corrupt`].
pub(super) fn open_name(name: &str, (number, found): SealedDef) -> Result<u32, StoreError> {
    check(DEFINITIONS, name, (u64::from(number), found)).map(|()| number)
}

fn check(table: &'static str, key: &str, (number, found): (u64, u32)) -> Result<(), StoreError> {
    if seal(table, key, number) != found && !cfg!(planted = "seal_not_checked") {
        return Err(corrupt(table, key));
    }
    Ok(())
}

/// The error of an entry of `ids` that cannot be what was written.
pub(super) fn corrupt_id(id: &str) -> StoreError {
    corrupt(IDS, id)
}

/// The error of an entry of `definitions` with a number that cannot have been given.
pub(super) fn corrupt_number(number: u32) -> StoreError {
    corrupt(DEFINITIONS, &number.to_string())
}

fn corrupt(table: &'static str, key: &str) -> StoreError {
    let key = key.escape_debug().to_string().into();
    StoreError::Corrupt { table, key }
}

fn seal(table: &str, key: &str, number: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(table.as_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(key.as_bytes());
    hasher.finalize()
}
