//! Streams in the file: segments put, evicted and read.

use super::batch::{Bytes, opened};
use super::salvage::Shelf;
use super::tables::STREAM;
use super::{RedbStore, fault};
use crate::codec;
use crate::commit::evicted;
use crate::row::{SegmentRow, TaskNumber};
use crate::slot::Slot;
use crate::store::{PAGE_MAX, Segment, StoreError, StreamEnd};
use redb::{ReadableTable, Table, WriteTransaction};
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// The table of streams within one write transaction, opened at its first use.
pub(super) struct Streams<'t> {
    txn: &'t WriteTransaction,
    table: Option<Table<'t, (u64, u64), Bytes>>,
}

impl<'t> Streams<'t> {
    pub(super) fn in_transaction(txn: &'t WriteTransaction) -> Streams<'t> {
        Streams { txn, table: None }
    }

    pub(super) fn table(&mut self) -> Result<&mut Table<'t, (u64, u64), Bytes>> {
        opened(&mut self.table, || self.txn.open_table(STREAM))
    }

    /// Puts a segment, encoded into `buffer`, which is emptied first.
    pub(super) fn put(
        &mut self,
        (task, first): (TaskNumber, u64),
        segment: &SegmentRow,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        codec::encode(Slot::Segment(task, first), segment, buffer)?;
        let put = self.table()?.insert((task.0, first), buffer.as_slice());
        put.map(drop).map_err(fault)
    }

    /// Removes the oldest segments below a sequence number; how many.
    pub(super) fn evict(&mut self, task: TaskNumber, below: u64) -> Result<u64> {
        let table = self.table()?;
        let mut firsts = Vec::new();
        // Those from `below` on stay, but for the first of them, which says where the one before it ends.
        for entry in table
            .range((task.0, 0)..=(task.0, u64::MAX))
            .map_err(fault)?
        {
            let (_, first) = entry.map_err(fault)?.0.value();
            firsts.push(first);
            if first >= below || firsts.len() > PAGE_MAX {
                break;
            }
        }
        let gone = evicted(firsts.into_iter(), below);
        for first in &gone {
            table.remove((task.0, *first)).map_err(fault)?;
        }
        Ok(gone.len() as u64)
    }
}

impl RedbStore {
    pub(crate) fn read_segments(
        &self,
        task: TaskNumber,
        after: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Segment>> {
        let mut page = Vec::new();
        let Some(table) = self.hanging(task, STREAM)? else {
            return Ok(page);
        };
        let all = ((task.0, 0), (task.0, u64::MAX));
        self.check_absent(&table, Shelf::Stream, all)?;
        let wanted = (task.0, after.saturating_add(1));
        // The one that holds the next sequence number may begin before it.
        let before = table
            .range((task.0, 0)..=wanted)
            .map_err(fault)?
            .next_back();
        let from = match before.transpose().map_err(fault)? {
            Some((key, _)) if !cfg!(planted = "segment_read_from_its_first") => key.value(),
            Some(_) | None => wanted,
        };
        let mut bytes = 0;
        for entry in table.range(from..=(task.0, u64::MAX)).map_err(fault)? {
            let full = page.len() >= PAGE_MAX || (!page.is_empty() && bytes >= limit_bytes);
            if full && !cfg!(planted = "segment_page_unbounded") {
                break;
            }
            let (key, encoded) = entry.map_err(fault)?;
            let (_, first) = key.value();
            let encoded = encoded.value();
            let row: Result<SegmentRow> = codec::decode(Slot::Segment(task, first), encoded);
            match &row {
                Ok(row) if row.last(first) <= after => continue,
                Ok(row) => bytes += row.size(),
                Err(_) => bytes += encoded.len(),
            }
            let row = row.map(Arc::new);
            page.push(Segment { first, row });
        }
        Ok(page)
    }

    pub(crate) fn read_stream_end(&self, task: TaskNumber) -> Result<Option<StreamEnd>> {
        let Some(table) = self.hanging(task, STREAM)? else {
            return Ok(None);
        };
        let ends = ((task.0, 0), (task.0, u64::MAX));
        self.check_absent(&table, Shelf::Stream, ends)?;
        let mut all = table.range(ends.0..=ends.1).map_err(fault)?;
        let Some(last) = all.next_back().transpose().map_err(fault)? else {
            return Ok(None);
        };
        let (_, last_first) = last.0.value();
        // A stream of one segment begins with its last.
        let first = match all.next().transpose().map_err(fault)? {
            Some((key, _)) => key.value().1,
            None => last_first,
        };
        let row = codec::decode(Slot::Segment(task, last_first), last.1.value())?;
        Ok(Some(StreamEnd::of(first, last_first, &row)))
    }
}
