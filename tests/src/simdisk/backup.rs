//! A copy of a store that works: it says what the store says, and counts on above it.

use super::dump::{Dump, Given};
use outlive_storage::redb::RedbOptions;
use outlive_storage::{RedbStore, Store};

/// Makes a copy and compares it.
///
/// # Errors
/// What is not as it must be.
pub(super) fn compare(store: &RedbStore, given: &Given) -> Result<(), String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = place.path().join("copy.redb");
    let report = store.backup(&path, 3, 0);
    report.map_err(|error| format!("no backup is made: {error:?}"))?;
    let copy = RedbStore::open(&path, RedbOptions::default(), 4, 0);
    let copy = copy.map_err(|error| format!("the backup does not open: {error:?}"))?;
    let dump = |store: &RedbStore| Dump::of(store, given).map_err(|error| format!("{error:?}"));
    let (here, there) = (dump(store)?, dump(&copy)?);
    let contradictions = there.contradictions();
    if here != there || !contradictions.is_empty() {
        let difference = there.difference(&here);
        return Err(format!(
            "the backup says something else: {difference:?} {contradictions:?}"
        ));
    }
    let counters = |store: &RedbStore| store.counters().map_err(|error| format!("{error:?}"));
    let (here, there) = (counters(store)?, counters(&copy)?);
    if there.etag <= here.etag || there.generation <= here.generation {
        return Err(format!("the backup counts from {there:?} beside {here:?}"));
    }
    Ok(())
}
