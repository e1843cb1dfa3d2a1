//! Looking up an id, so that damage can neither give it to another task nor hide the one that has it.

use super::batch::Bytes;
use super::seal::SealedTask;
use super::{fault, seal};
use crate::codec;
use crate::id::TaskId;
use crate::row::TaskNumber;
use crate::store::StoreError;
use redb::ReadableTable;

type Result<T> = std::result::Result<T, StoreError>;

/// The number of the task with this id. The rows are asked only where an entry is damaged.
///
/// A search passes by a key that damage has changed, and ends beside it: wherever an id is missing that was there, one
/// of its neighbours is damaged, or the two do not stand on its two sides. So an id is believed to be free when both
/// neighbours are as they were written, or are of other tasks by the rows they name.
///
/// # Errors
/// [`StoreError::Corrupt`] when nobody can say; what redb fails with.
pub(super) fn number<T: ReadableTable<u64, Bytes>>(
    ids: &impl ReadableTable<&'static str, SealedTask>,
    tasks: impl Fn() -> Result<T>,
    id: &str,
) -> Result<Option<TaskNumber>> {
    if let Some(found) = ids.get(id).map_err(fault)? {
        return seal::open_id(id, found.value()).map(|number| Some(TaskNumber(number)));
    }
    if cfg!(planted = "free_id_believed") {
        return Ok(None);
    }
    let check = |key: &str, sealed: SealedTask, in_order: bool| {
        if !in_order {
            return Err(seal::corrupt_id(key));
        }
        match seal::open_id(key, sealed) {
            Ok(_) => Ok(()),
            Err(_) if is_of_another(&tasks()?, sealed.0, id)? => Ok(()),
            Err(damaged) => Err(damaged),
        }
    };
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

/// The ids that begin so, in their order. An entry that is not as it was written is no id.
///
/// # Errors
/// What redb fails with.
pub(super) fn beginning(
    ids: &impl ReadableTable<&'static str, SealedTask>,
    prefix: &str,
    limit: usize,
) -> Result<Vec<TaskId>> {
    let mut found = Vec::new();
    for entry in ids.range::<&str>(prefix..).map_err(fault)? {
        let (key, sealed) = entry.map_err(fault)?;
        let key = key.value();
        if found.len() >= limit || (!key.starts_with(prefix) && !cfg!(planted = "ids_run_on")) {
            break;
        }
        if seal::open_id(key, sealed.value()).is_ok() {
            found.extend(TaskId::new(key).ok());
        }
    }
    Ok(found)
}

fn is_of_another(tasks: &impl ReadableTable<u64, Bytes>, number: u64, id: &str) -> Result<bool> {
    let found = tasks.get(number).map_err(fault)?;
    let row = found.map(|bytes| codec::decode_row(TaskNumber(number), bytes.value()));
    Ok(matches!(row, Some(Ok(row)) if row.id.as_str() != id))
}
