//! The file as redb sees it: counted, not written before it has proved to be a store of ours, nor after it failed.

use super::medium::Medium;
use super::shape::Shape;
use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Calls to the operating system since the file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoCounts {
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// Counts over all handles that a store opens one after the other.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    syncs: AtomicU64,
}

impl Counters {
    /// What was asked of the operating system so far.
    pub(crate) fn counts(&self) -> IoCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoCounts {
            reads: of(&self.reads),
            read_bytes: of(&self.read_bytes),
            writes: of(&self.writes),
            written_bytes: of(&self.written_bytes),
            syncs: of(&self.syncs),
        }
    }
}

/// One thing redb asked for while writes were held.
#[derive(Debug)]
enum Held {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// The open file.
///
/// redb marks a file as in use, and repairs it, while it opens it. A file that then turns out to be somebody
/// else's must be as it was, so everything redb writes is held in memory until [`Disk::release`].
#[derive(Debug)]
pub(crate) struct Disk {
    file: Box<dyn StorageBackend>,
    /// Which part of the file is redb's. All offsets and lengths here are within that part.
    shape: Shape,
    counters: Arc<Counters>,
    holding: AtomicBool,
    held: Mutex<Vec<Held>>,
    /// Where the file lies, which is told of a failed sync at once: the process may end before it does anything else.
    medium: Arc<dyn Medium>,
    /// The handle is given up: redb, which tidies up when it is dropped, changes nothing any more.
    given_up: AtomicBool,
    /// One sync at a time: the system tells of a failed one only once, and whoever is not told would take for durable what is
    /// lost.
    syncing: Mutex<()>,
}

impl Disk {
    /// A disk whose writes are held.
    ///
    /// # Errors
    /// The head of the file is damaged, or cannot be read.
    pub(crate) fn held(
        file: Box<dyn StorageBackend>,
        counters: &Arc<Counters>,
        medium: &Arc<dyn Medium>,
    ) -> io::Result<Arc<Disk>> {
        let shape = Shape::read(&*file)?;
        Ok(Arc::new(Disk {
            file,
            shape,
            counters: Arc::clone(counters),
            holding: AtomicBool::new(!cfg!(planted = "held_writes_leak")),
            held: Mutex::new(Vec::new()),
            medium: Arc::clone(medium),
            given_up: AtomicBool::new(false),
            syncing: Mutex::new(()),
        }))
    }

    /// How the file is divided.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// All bytes of the journal; none where the file has none.
    pub(super) fn journal(&self) -> io::Result<Vec<u8>> {
        if self.shape.journal == 0 {
            return Ok(Vec::new());
        }
        let mut journal = vec![0; self.shape.journal as usize];
        self.count_read(journal.len());
        self.file.read(Shape::JOURNAL_AT, &mut journal)?;
        Ok(journal)
    }

    /// Writes a record into the journal; durable when it returns. Nothing is held any more when there are records.
    pub(super) fn put_record(&self, at: u64, record: &[u8]) -> io::Result<()> {
        let put = || {
            self.write_at(Shape::JOURNAL_AT + at, record)?;
            if cfg!(planted = "journal_not_synced") {
                return Ok(());
            }
            self.sync_through()
        };
        let done = put();
        // redb knows nothing of it, and would go on with the file.
        if done.is_err() && !cfg!(planted = "failed_record_goes_on") {
            self.give_up();
        }
        done
    }

    /// What the journal has is on the disk, and not only in the memory of the system, which a process that was killed has left
    /// it in.
    pub(super) fn sync_journal(&self) -> io::Result<()> {
        self.sync_through()
    }

    /// Writes what was held, in its order and with its syncs, and holds nothing more. Where it fails, what no sync has followed
    /// is held on, and may be written once more: the file is then as a crash between these writes leaves it.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut held = self.held.lock();
        let mut durable = 0;
        let mut write = |held: &[Held]| {
            for (at, step) in held.iter().enumerate() {
                match step {
                    Held::Write(offset, bytes) => self.write_through(*offset, bytes)?,
                    Held::SetLen(len) => self.file.set_len(self.shape.database_at() + len)?,
                    Held::Sync => {
                        self.sync_through()?;
                        durable = at + 1;
                    }
                }
            }
            Ok(())
        };
        let written = write(&held);
        if written.is_err() {
            held.drain(..durable);
            return written;
        }
        held.clear();
        self.holding.store(false, Ordering::Release);
        Ok(())
    }

    /// As [`Disk::release`]; without room everything is held on: what there is can be read, and what is to be written finds
    /// [no room](Disk::make_room).
    pub(crate) fn release_if_there_is_room(&self) -> io::Result<()> {
        match self.release() {
            Err(error) if is_no_room(&error) && !cfg!(planted = "replay_needs_room") => Ok(()),
            released => released,
        }
    }

    /// Writes what is held still, before anything else is.
    pub(super) fn make_room(&self) -> io::Result<()> {
        if self.holds() { self.release() } else { Ok(()) }
    }

    /// Nothing is written any more.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Refuses to change a file that is given up.
    fn check_in_use(&self) -> io::Result<()> {
        if self.given_up.load(Ordering::Acquire) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// True while writes are held.
    fn holds(&self) -> bool {
        self.holding.load(Ordering::Acquire)
    }

    /// Holds a step, if steps are held still. Asked once more under the lock: who waited for a release would add to what
    /// nobody writes any more.
    fn hold(&self, step: impl FnOnce() -> Held) -> bool {
        if !self.holds() {
            return false;
        }
        let mut held = self.held.lock();
        let holds = self.holds();
        if holds {
            held.push(step());
        }
        holds
    }

    fn write_through(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_at(self.shape.database_at() + offset, bytes)
    }

    /// Writes where in the file it says, whichever part that is.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters
            .written_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.check_in_use()?;
        self.file.write(offset, bytes)
    }

    fn sync_through(&self) -> io::Result<()> {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        let _alone = self.syncing.lock();
        self.check_in_use()?;
        let synced = self.file.sync_data();
        if synced.is_err() {
            self.medium.note_failed_sync();
            if !cfg!(planted = "failed_sync_told_to_one") {
                self.give_up();
            }
        }
        synced
    }

    fn read_through(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.count_read(out.len());
        self.file.read(self.shape.database_at() + offset, out)
    }

    fn count_read(&self, bytes: usize) {
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        self.counters
            .read_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len()?.saturating_sub(self.shape.database_at()))
    }

    /// Reads the file as it would be with the held steps done.
    fn read_held(&self, held: &[Held], offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > len_with(held, self.len()?) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let in_file = self.len()?.saturating_sub(offset).min(out.len() as u64) as usize;
        let (stored, beyond) = out.split_at_mut(in_file);
        if !stored.is_empty() {
            self.read_through(offset, stored)?;
        }
        beyond.fill(0);
        for step in held {
            match step {
                Held::Write(at, bytes) => overlay(offset, out, *at, bytes),
                Held::SetLen(len) => {
                    let kept = len.saturating_sub(offset).min(out.len() as u64) as usize;
                    out[kept..].fill(0);
                }
                Held::Sync => {}
            }
        }
        Ok(())
    }
}

/// The system has no room.
pub(super) fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn len_with(held: &[Held], len: u64) -> u64 {
    held.iter().fold(len, |len, step| match step {
        Held::Write(at, bytes) => len.max(at + bytes.len() as u64),
        Held::SetLen(len) => *len,
        Held::Sync => len,
    })
}

/// Copies the part of `bytes`, which lie at `at`, that falls into `out`, which lies at `offset`.
fn overlay(offset: u64, out: &mut [u8], at: u64, bytes: &[u8]) {
    let from = offset.max(at);
    let to = (offset + out.len() as u64).min(at + bytes.len() as u64);
    if from >= to {
        return;
    }
    let target = (from - offset) as usize..(to - offset) as usize;
    let source = (from - at) as usize..(to - at) as usize;
    out[target].copy_from_slice(&bytes[source]);
}

/// The handle given to redb.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Arc<Disk>);

type Range = Bound<u64>;

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        let disk = &self.0;
        if !disk.holds() {
            return disk.len();
        }
        Ok(len_with(&disk.held.lock(), disk.len()?))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = &self.0;
        if !disk.holds() {
            return disk.read_through(offset, out);
        }
        disk.read_held(&disk.held.lock(), offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.0.hold(|| Held::SetLen(len)) {
            return Ok(());
        }
        self.0.check_in_use()?;
        let from = self.0.shape.database_at();
        self.0.file.set_len(from + len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.0.hold(|| Held::Sync) {
            return Ok(());
        }
        self.0.sync_through()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.0.hold(|| Held::Write(offset, data.to_vec())) {
            return Ok(());
        }
        self.0.write_through(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    // redb falls back to no lock at all when these are missing, so each is passed on.
    fn try_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests;
