//! A disk in memory that keeps a log of what was asked of it, between the marks of those who work on it.

use super::facts::Fact;
use super::witness::{Answer, Op};
use outlive_storage::StoreError;
use outlive_storage::redb::Medium;
use parking_lot::Mutex;
use redb::StorageBackend;
use std::io;
use std::sync::Arc;
use tokio::time::Instant;

/// In what pieces bytes are shared between copies of a disk.
pub const PAGE: usize = 4096;

type Page = [u8; PAGE];

/// The bytes of a disk. Copies share their pages until one of them writes.
#[derive(Clone, Default)]
pub struct Pages {
    /// `None`: nothing but zeros.
    pages: Vec<Option<Arc<Page>>>,
    len: u64,
}

impl Pages {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What a call does to it; a sync does nothing.
    pub fn apply(&mut self, call: &Call) {
        match call {
            Call::Write { offset, bytes } => self.write(*offset, bytes),
            Call::SetLen(len) => self.set_len(*len),
            Call::Sync => {}
        }
    }

    /// Writes there; what lies beyond the end makes it longer.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if end > self.len {
            self.set_len(end);
        }
        let mut rest = bytes;
        for (page, range) in places(offset, bytes.len()) {
            let (now, later) = rest.split_at(range.len());
            let page = self.pages[page].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[range].copy_from_slice(now);
            rest = later;
        }
    }

    fn set_len(&mut self, len: u64) {
        self.pages.resize(pages_of(len), None);
        let within = (len % PAGE as u64) as usize;
        // What is cut off is zero when the file grows again.
        if len < self.len
            && within > 0
            && let Some(Some(last)) = self.pages.last_mut()
        {
            Arc::make_mut(last)[within..].fill(0);
        }
        self.len = len;
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &mut *out;
        for (page, range) in places(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(range.len());
            match &self.pages[page] {
                Some(page) => now.copy_from_slice(&page[range]),
                None => now.fill(0),
            }
            rest = later;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("len", &self.len).finish()
    }
}

fn pages_of(len: u64) -> usize {
    len.div_ceil(PAGE as u64) as usize
}

/// The pages that so many bytes from there on lie in, and where in them.
fn places(offset: u64, len: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    let end = offset + len as u64;
    let first = offset / PAGE as u64;
    let beyond = if len == 0 {
        first
    } else {
        pages_of(end) as u64
    };
    (first..beyond).map(move |page| {
        let start = page * PAGE as u64;
        let from = offset.max(start) - start;
        let to = end.min(start + PAGE as u64) - start;
        (page as usize, from as usize..to as usize)
    })
}

/// What redb asked of a disk.
#[derive(Debug, Clone)]
pub enum Call {
    /// Bytes written, not durable before a sync.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Box<[u8]>,
    },
    /// Another length, not durable before a sync.
    SetLen(u64),
    /// What was asked before is durable from here on.
    Sync,
}

/// One line of the log.
#[derive(Debug, Clone)]
pub enum Entry {
    /// The disk was asked for something.
    Call(Call),
    /// The engine asked the store to write: from here on it may be there.
    Begun(Arc<Op>, Instant),
    /// The store answered: from here on it must be there.
    Done(Answer),
    /// Somebody was told of something: from the line of this number on it must be so.
    Told {
        /// When the answer left the engine.
        since: usize,
        /// What.
        fact: Fact,
    },
    /// Somebody began to ask for the removal of a task, or it may go by itself: from here on it may be gone.
    MayGo(Box<str>),
    /// Somebody began to ask for a further run of a task, or for another task of its id: what was told of the one before
    /// may not hold from here on.
    Anew(Box<str>),
}

/// The log of one life of a disk. Clones are the same log.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    /// Adds a line.
    pub fn add(&self, entry: Entry) {
        self.0.lock().push(entry);
    }

    /// Notes what somebody learns now.
    pub fn told(&self, fact: Fact) {
        let mut entries = self.0.lock();
        let since = entries.len();
        entries.push(Entry::Told { since, fact });
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether nothing was noted yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All lines, which are then forgotten.
    pub fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// A disk in memory. It can be opened again after a clean close: clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    pages: Arc<Mutex<Pages>>,
    /// Empty: nothing is noted.
    journal: Option<Journal>,
}

impl SimDisk {
    /// A disk that has these bytes, and notes what it is asked.
    pub fn logged(pages: Pages, journal: &Journal) -> SimDisk {
        SimDisk {
            pages: Arc::new(Mutex::new(pages)),
            journal: Some(journal.clone()),
        }
    }

    /// A disk that has these bytes, and notes nothing.
    pub fn unlogged(pages: Pages) -> SimDisk {
        SimDisk {
            pages: Arc::new(Mutex::new(pages)),
            journal: None,
        }
    }

    /// What it has by now, synced or not.
    pub fn pages(&self) -> Pages {
        self.pages.lock().clone()
    }

    fn call(&self, call: Call) {
        self.pages.lock().apply(&call);
        if let Some(journal) = &self.journal {
            journal.add(Entry::Call(call));
        }
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.pages.lock().len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.pages.lock().read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(Call::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(Call::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let bytes = data.into();
        self.call(Call::Write { offset, bytes });
        Ok(())
    }
}

impl Medium for SimDisk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.clone()))
    }

    // A disk that never fails is never copied.
    fn note_failed_sync(&self) {}

    fn has_failed_to_sync(&self) -> bool {
        false
    }

    fn begin_copy(&self, _len: u64) -> io::Result<Box<dyn StorageBackend>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn publish_copy(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn abandon_copy(&self) {}

    fn check_in_place(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
