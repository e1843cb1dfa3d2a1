//! Looking up an id, so that damage can neither give it to another task nor hide the one that has it.

use super::seal::SealedTask as Sealed;
use super::{fault, seal};
use crate::row::TaskNumber;
use crate::store::StoreError;
use redb::ReadableTable;

/// The number of the task with this id.
///
/// A search passes by a key that damage has changed, and ends beside it: wherever an id is missing that was there, one
/// of its neighbours is damaged, or the two do not stand on its two sides. So an id is believed to be free when both
/// neighbours are as they were written.
///
/// # Errors
/// [`StoreError::Corrupt`] when nobody can say; what redb fails with.
pub(super) fn number(
    ids: &impl ReadableTable<&'static str, Sealed>,
    id: &str,
) -> Result<Option<TaskNumber>, StoreError> {
    if let Some(found) = ids.get(id).map_err(fault)? {
        return seal::open_id(id, found.value()).map(|number| Some(TaskNumber(number)));
    }
    if cfg!(planted = "free_id_believed") {
        return Ok(None);
    }
    let before = ids.range::<&str>(..id).map_err(fault)?.next_back();
    if let Some((key, sealed)) = before.transpose().map_err(fault)? {
        check(key.value(), sealed.value(), key.value() < id)?;
    }
    let after = ids.range::<&str>(id..).map_err(fault)?.next();
    if let Some((key, sealed)) = after.transpose().map_err(fault)? {
        check(key.value(), sealed.value(), key.value() > id)?;
    }
    Ok(None)
}

fn check(key: &str, sealed: Sealed, in_order: bool) -> Result<(), StoreError> {
    seal::open_id(key, sealed)?;
    if !in_order {
        return Err(seal::corrupt_id(key));
    }
    Ok(())
}
