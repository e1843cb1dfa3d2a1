//! Where the bytes of a store lie: a file, and the copy that may take its place.

use super::create::{self, directory, temporary_path};
use super::lock::Lock;
use super::open::examine;
use super::platform::{self, FileId};
use crate::store::StoreError;
use parking_lot::Mutex;
use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What a store opens, and opens again after a failure.
///
/// [`RedbStore::open`](super::RedbStore::open) has the one of a real file. A simulation brings its own, to
/// [`RedbStore::on_medium`](super::RedbStore::on_medium).
#[cfg_attr(
    not(feature = "simulation"),
    expect(unreachable_pub, reason = "seen from outside by simulations alone")
)]
pub trait Medium: fmt::Debug + Send + Sync + 'static {
    /// Opens what is there, with nothing of it held back by an earlier handle, which is closed. An empty medium has the
    /// length zero.
    ///
    /// # Errors
    /// The system's refusal.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// A sync of what is there has failed: what the system shows of it may never be on the disk. It is remembered until a
    /// copy has taken its place, also by another process that opens it later; but over no power cut, after which the
    /// system shows what is on the disk.
    fn note_failed_sync(&self);

    /// True from a failed sync to the copy.
    fn has_failed_to_sync(&self) -> bool;

    /// Begins a copy beside what is there, which will have `len` bytes: empty, and seen by nobody else. It replaces one
    /// that was begun before.
    ///
    /// # Errors
    /// The system's refusal, or that there is no room for so many bytes.
    fn begin_copy(&self, len: u64) -> io::Result<Box<dyn StorageBackend>>;

    /// The copy, which is synced, takes the place of what is there; durable when it returns. A failed sync is then
    /// forgotten.
    ///
    /// # Errors
    /// The system's refusal; what was there may then still be there.
    fn publish_copy(&self) -> io::Result<()>;

    /// Nothing is left of a copy that was begun and has not taken the place of what is there.
    fn abandon_copy(&self);

    /// Refuses to go on when something else has taken the place of what is open.
    ///
    /// # Errors
    /// [`StoreError::Replaced`].
    fn check_in_place(&self) -> Result<(), StoreError>;

    /// The engine has stopped but for so many handlers, for those who come second.
    fn leaving(&self, still_running: usize) {
        let _ = still_running;
    }

    /// Where the engine is reached, for those who come second.
    fn reached_at(&self, addresses: &[String]) {
        let _ = addresses;
    }
}

/// A file and its lock, which is held as long as this lives.
#[derive(Debug)]
pub(crate) struct FileMedium {
    lock: Lock,
    path: PathBuf,
    instance: u128,
    /// The file that is open.
    file_id: Mutex<FileId>,
    /// The copy that was begun.
    copy: Mutex<Option<FileId>>,
}

impl FileMedium {
    /// The file `file_id`, which `path` names.
    pub(crate) fn new(path: PathBuf, lock: Lock, instance: u128, file_id: FileId) -> FileMedium {
        FileMedium {
            lock,
            path,
            instance,
            file_id: Mutex::new(file_id),
            copy: Mutex::new(None),
        }
    }
}

impl Medium for FileMedium {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        let there = examine(&self.path).map_err(io::Error::other)?;
        let file = there.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }

    fn note_failed_sync(&self) {
        self.lock.note_unsynced();
    }

    fn has_failed_to_sync(&self) -> bool {
        self.lock.is_unsynced()
    }

    fn begin_copy(&self, len: u64) -> io::Result<Box<dyn StorageBackend>> {
        create::remove_leftovers(&self.path)?;
        // Asked for first: half a copy would take the last room there is from everybody else.
        let free = platform::free_bytes(directory(&self.path))?;
        if free.is_some_and(|free| free < len) && !cfg!(planted = "room_not_asked_for") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = platform::create(&temporary_path(&self.path, self.instance))?;
        *self.copy.lock() = Some(FileId::of(&file)?);
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }

    fn publish_copy(&self) -> io::Result<()> {
        let copy = (*self.copy.lock()).ok_or(io::ErrorKind::NotFound)?;
        std::fs::rename(temporary_path(&self.path, self.instance), &self.path)?;
        // From here on the name leads to the copy, whether or not that is durable yet.
        *self.copy.lock() = None;
        *self.file_id.lock() = copy;
        platform::sync_directory(directory(&self.path))?;
        self.lock.forget_unsynced();
        Ok(())
    }

    fn abandon_copy(&self) {
        if self.copy.lock().take().is_some() {
            // The next open would remove it as well.
            let _ = std::fs::remove_file(temporary_path(&self.path, self.instance));
        }
    }

    /// The locks are on the files, not on their names: after a move and a second start two engines would run.
    fn check_in_place(&self) -> Result<(), StoreError> {
        let replaced = |path: &Path| StoreError::Replaced {
            path: path.display().to_string().into(),
        };
        if cfg!(planted = "inode_not_checked") {
            return Ok(());
        }
        let file_id = *self.file_id.lock();
        if !FileId::at(&self.path).is_ok_and(|named| named == file_id) {
            return Err(replaced(&self.path));
        }
        if !self.lock.is_in_place() {
            return Err(replaced(self.lock.path()));
        }
        Ok(())
    }

    fn leaving(&self, still_running: usize) {
        self.lock.leave(still_running);
    }

    fn reached_at(&self, addresses: &[String]) {
        self.lock.reached_at(addresses);
    }
}
