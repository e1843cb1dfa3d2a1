//! A database that does not begin where its file does.

use super::shape::Shape;
use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;

/// The part of a file that is redb's.
#[derive(Debug)]
pub(super) struct Shifted<F> {
    pub(super) file: F,
    pub(super) shape: Shape,
    /// Where redb's part begins.
    from: u64,
}

impl<F: StorageBackend> Shifted<F> {
    /// The database of a file that is divided so.
    pub(super) fn new(file: F, shape: Shape) -> Shifted<F> {
        let from = shape.database_at();
        Shifted { file, shape, from }
    }

    /// Reads how the file is divided.
    ///
    /// # Errors
    /// As for [`Shape::read`].
    pub(super) fn of(file: F) -> io::Result<Shifted<F>> {
        let shape = Shape::read(&file)?;
        Ok(Shifted::new(file, shape))
    }

    /// All bytes of the journal; none where the file has none.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn journal(&self) -> io::Result<Vec<u8>> {
        let mut journal = vec![0; self.shape.journal as usize];
        if !journal.is_empty() {
            self.file.read(Shape::JOURNAL_AT, &mut journal)?;
        }
        Ok(journal)
    }
}

/// The database in the file at `path`, which no store may have open, for tests that look into it or break it. What is
/// durable in the journal alone is not seen.
///
/// # Errors
/// What redb says.
#[cfg(any(test, feature = "simulation"))]
pub fn bare_database(path: &std::path::Path) -> Result<redb::Database, redb::DatabaseError> {
    let open = || {
        let mut writable = std::fs::OpenOptions::new();
        let file = writable.read(true).write(true).open(path)?;
        let file = redb::backends::FileBackend::new(file).map_err(io::Error::other)?;
        Shifted::of(file)
    };
    let shifted = open().map_err(redb::StorageError::Io)?;
    redb::Builder::new().create_with_backend(shifted)
}

type Range = Bound<u64>;

impl<F: StorageBackend> StorageBackend for Shifted<F> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.len()?.saturating_sub(self.from))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(self.from + offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(self.from + len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(self.from + offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    // The lock is on the file, wherever in it the database begins.
    fn try_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Range, end: Range) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Range, end: Range) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
