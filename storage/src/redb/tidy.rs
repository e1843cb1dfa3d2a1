//! Removing what nobody needs any more: what hangs on removed tasks, and old transitions.

use super::hanging::Hanging;
use super::tables::{EVENTS, GARBAGE, META, OLD_STEPS, TRIMMED};
use super::{RedbStore, fault};
use crate::codec;
use crate::row::{Etag, EventRow, TaskNumber};
use crate::slot::Slot;
use crate::store::{EventsKept, PAGE_MAX, StoreError};
use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use std::sync::atomic::Ordering;

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
    /// Removes at most `limit` entries in one transaction. True when there is more to remove.
    pub(crate) fn tidy_once(&self, events: EventsKept, limit: usize) -> Result<bool> {
        // Looked at in a read first: a write transaction costs a sync, and mostly there is nothing to do.
        if !cfg!(planted = "tidy_always_writes") && !self.is_untidy(events)? {
            return Ok(false);
        }
        let mut room = if cfg!(planted = "tidy_unbounded") {
            usize::MAX
        } else {
            limit.min(PAGE_MAX)
        };
        let txn = self.begin_write()?;
        let (swept, mut more) = sweep(&txn, &mut room)?;
        let mut writes = swept;
        if !more {
            let (trimmed, events_left) = trim(&txn, events, room)?;
            writes += trimmed;
            more = events_left;
        }
        txn.commit().map_err(fault)?;
        self.btree_writes.fetch_add(writes, Ordering::Relaxed);
        Ok(more)
    }

    fn is_untidy(&self, kept: EventsKept) -> Result<bool> {
        let txn = self.begin_read()?;
        let garbage = txn.open_table(GARBAGE).map_err(fault)?;
        if !garbage.is_empty().map_err(fault)? {
            return Ok(true);
        }
        let old_steps = txn.open_table(OLD_STEPS).map_err(fault)?;
        if !old_steps.is_empty().map_err(fault)? {
            return Ok(true);
        }
        let events = txn.open_table(EVENTS).map_err(fault)?;
        Ok(!removable(&events, kept, 1)?.is_empty())
    }
}

/// Removes what hangs on removed tasks, then the steps of former turns, as far as there is room. The entries put or removed, and whether there is more.
fn sweep(txn: &WriteTransaction, room: &mut usize) -> Result<(u64, bool)> {
    let mut garbage = txn.open_table(GARBAGE).map_err(fault)?;
    let mut hanging = Hanging::in_transaction(txn);
    let mut numbers = 0;
    while let Some(task) = first(&garbage)? {
        if hanging.sweep(task, room)? {
            return Ok((numbers + hanging.writes(), true));
        }
        garbage.remove(task.0).map_err(fault)?;
        numbers += 1;
    }
    let more = hanging.sweep_old_steps(room)?;
    Ok((numbers + hanging.writes(), more))
}

fn first(garbage: &Table<'_, u64, ()>) -> Result<Option<TaskNumber>> {
    let first = garbage.first().map_err(fault)?;
    Ok(first.map(|(number, _)| TaskNumber(number.value())))
}

/// Removes at most `room` transitions. How many, and whether there are more.
fn trim(txn: &WriteTransaction, kept: EventsKept, room: usize) -> Result<(u64, bool)> {
    let mut events = txn.open_table(EVENTS).map_err(fault)?;
    let mut going = removable(&events, kept, room.saturating_add(1))?;
    let more = going.len() > room;
    going.truncate(room);
    for etag in &going {
        events.remove(etag.0).map_err(fault)?;
    }
    if let Some(highest) = going.last()
        && !cfg!(planted = "tidy_forgets_trim")
    {
        let mut meta = txn.open_table(META).map_err(fault)?;
        meta.insert(TRIMMED, u128::from(highest.0)).map_err(fault)?;
    }
    Ok((going.len() as u64, more))
}

/// The oldest transitions up to the first that stays: at least `limit`, where there are as many.
///
/// A damaged one that only its moment could condemn goes with the first readable one after it, which is younger:
/// else it would keep for ever what comes after it.
fn removable(
    events: &impl ReadableTable<u64, &'static [u8]>,
    kept: EventsKept,
    limit: usize,
) -> Result<Vec<Etag>> {
    let mut going = Vec::new();
    let mut decided = 0;
    let len = events.len().map_err(fault)?;
    for (entry, left) in (events.iter().map_err(fault)?)
        .take(limit.max(PAGE_MAX))
        .zip((1..=len).rev())
    {
        if decided >= limit {
            break;
        }
        let (etag, bytes) = entry.map_err(fault)?;
        let etag = Etag(etag.value());
        let event: Result<EventRow> = codec::decode(Slot::Event(etag), bytes.value());
        going.push(etag);
        match event {
            Ok(event) if kept.removes(&event, left) => decided = going.len(),
            Ok(_) => break,
            Err(_) if left > kept.newest => decided = going.len(),
            Err(_) => {}
        }
    }
    going.truncate(decided);
    Ok(going)
}
