//! Streams: what handlers emit, durable in segments, followed by any number of readers.

pub(crate) mod cell;
pub(crate) mod emit;
pub(crate) mod follow;
pub(crate) mod linger;
pub(crate) mod pump;
pub(crate) mod reader;
pub(crate) mod sink;
pub(crate) mod tail;

use pump::Pumps;
use std::sync::Arc;
use tail::Tails;
use tokio::sync::Semaphore;

/// Largest stream item, in bytes of JSON: 256 KiB.
pub const ITEM_MAX: u64 = 256 * 1024;
/// Most items that one task's stream takes: 1,000,000. With [`TaskDef::keep_items`](crate::TaskDef::keep_items) there is
/// no end to it.
pub const STREAM_MAX: u64 = 1_000_000;
/// Most bytes one turn may have emitted that are not durable yet: 256 KiB; then [`Ctx::emit`](crate::Ctx::emit) waits.
pub const STREAM_BUFFER: usize = 256 * 1024;
/// Most bytes all turns of an engine may have emitted that are not durable yet: 16 MiB; then emits wait.
pub const STREAM_BUFFERS: usize = 16 * 1024 * 1024;
/// Most bytes that one reader holds in memory, however far it is behind: 512 KiB.
pub const STREAM_READER_MAX: usize = 2 * PAGE_BYTES;

/// The commit of an item begins at the latest after this, in microseconds, when nothing else is committed before: 5 ms.
pub(crate) const LINGER_US: u64 = 5_000;
/// A turn that has emitted so many bytes is not kept waiting.
pub(crate) const DRAIN_AT: usize = 64 * 1024;
/// Most bytes of segments in one commit.
pub(crate) const SEGMENTS_MAX: usize = 1024 * 1024;
/// Bytes a reader takes at once; the last segment of a page may exceed it by its own size.
pub(crate) const PAGE_BYTES: usize = 256 * 1024;

/// What the streams of one engine share.
pub(crate) struct Streams {
    pub(crate) tails: Arc<Tails>,
    /// Bytes that may still be emitted ahead of the disk.
    pub(crate) budget: Arc<Semaphore>,
    pub(crate) pumps: Pumps,
}

impl Streams {
    /// `live` is the sequence number after which items come that are not stored.
    pub(crate) fn new(live: u64) -> Streams {
        Streams {
            tails: Arc::new(Tails::new(live)),
            budget: Arc::new(Semaphore::new(STREAM_BUFFERS)),
            pumps: Pumps::default(),
        }
    }

    /// The engine stopped: readers learn it, and who waits for room.
    pub(crate) fn close(&self) {
        self.tails.close();
        self.budget.close();
    }

    /// What is held in memory at the moment.
    pub(crate) fn memory(&self) -> StreamMemory {
        StreamMemory {
            emitted: STREAM_BUFFERS.saturating_sub(self.budget.available_permits()),
            followed: self.tails.bytes(),
        }
    }
}

/// What the streams of an engine hold in memory, about, in bytes; see
/// [`Engine::stream_memory`](crate::Engine::stream_memory).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamMemory {
    /// Items emitted and not durable yet: at most [`STREAM_BUFFERS`].
    pub emitted: usize,
    /// Durable items of streams that somebody follows, kept so that readers need not go to the store: at most 256 KiB
    /// for each of them, and 16 MiB in all.
    pub followed: usize,
}
