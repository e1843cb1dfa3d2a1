//! A new file that is filled under a temporary name and appears whole, or not at all.

use super::copy_error::CopyError;
use super::create;
use super::lengths;
use super::lock::Lock;
use super::open::{is_damage, refused};
use super::open_error::OpenError;
use super::options::JOURNAL_BYTES;
use super::platform;
use super::shape::Shape;
use super::shifted::Shifted;
use super::tables::{ETAGS, GENERATIONS};
use crate::store::Counters;
use redb::backends::FileBackend;
use redb::{Builder, Database, Durability, ReadableDatabase, WriteTransaction};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How far the numbers of a copy begin above those of its original: more than the original can hand out meanwhile, and
/// little enough for as many copies of copies.
pub(super) const GAP: u64 = 1 << 32;

/// The file under its temporary name. Dropped before [`Fresh::publish`], it leaves nothing behind.
pub(super) struct Fresh {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    database: Option<Database>,
    incarnation: u128,
    // Until the file has its name: whoever opens the path meanwhile is told.
    _lock: Lock,
}

impl Fresh {
    /// An empty store for `path`, where nothing may lie, with an incarnation of its own.
    pub(super) fn begin(path: &Path, instance: u128, now_us: u64) -> Result<Fresh, CopyError> {
        let path = std::path::absolute(path)
            .map_err(|error| CopyError::To(refused(path, "find the new file", &error)))?;
        // Looked at before the lock is taken, so that no lock file appears beside what is not ours.
        if std::fs::symlink_metadata(&path).is_ok() && !cfg!(planted = "restore_overwrites") {
            return Err(CopyError::Exists { path });
        }
        let lock = Lock::take(&path, instance, now_us).map_err(CopyError::To)?;
        let failed = |error: io::Error| system(&path, &error);
        create::remove_leftovers(&path).map_err(failed)?;
        let temporary = create::temporary_path(&path, instance);
        let file = platform::create(&temporary).map_err(failed)?;
        let mut fresh = Fresh {
            path,
            temporary,
            file,
            database: None,
            incarnation: instance,
            _lock: lock,
        };
        let shape = Shape::new(JOURNAL_BYTES, instance);
        create::build(&fresh.file, shape, instance).map_err(written)?;
        let copy = fresh.file.try_clone();
        let copy = copy.map_err(|error| system(&fresh.path, &error))?;
        let backend = FileBackend::new(copy).map_err(written)?;
        let database = Builder::new()
            .set_cache_size(64 << 20)
            .create_with_backend(Shifted::new(backend, shape));
        fresh.database = Some(database.map_err(written)?);
        Ok(fresh)
    }

    /// The one transaction in which the file is filled.
    pub(super) fn fill<E: From<CopyError>>(
        &self,
        fill: impl FnOnce(&WriteTransaction) -> Result<Counters, E>,
    ) -> Result<(), E> {
        let Some(database) = &self.database else {
            return Err(CopyError::NoFile.into());
        };
        let mut txn = database.begin_write().map_err(written)?;
        txn.set_durability(Durability::Immediate).map_err(written)?;
        txn.set_quick_repair(true);
        let counters = fill(&txn)?;
        {
            let mut etags = txn.open_table(ETAGS).map_err(written)?;
            etags
                .insert(self.incarnation, counters.etag.0)
                .map_err(written)?;
            let mut generations = txn.open_table(GENERATIONS).map_err(written)?;
            generations
                .insert(self.incarnation, counters.generation.0)
                .map_err(written)?;
        }
        Ok(txn.commit().map_err(written)?)
    }

    /// The incarnation of the new file.
    pub(super) fn incarnation(&self) -> u128 {
        self.incarnation
    }

    /// Gives the file its name, durably, if it is one that opens.
    ///
    /// # Errors
    /// [`CopyError::Unreadable`] when so much is missing that no open would take it; otherwise why it is not there.
    pub(super) fn publish(mut self) -> Result<(), CopyError> {
        if let Some(database) = self.database.take() {
            let txn = database.begin_read().map_err(written)?;
            if !lengths::agree(&txn).map_err(written)? && !cfg!(planted = "copy_that_does_not_open")
            {
                return Err(CopyError::Unreadable {
                    message: "its tables are not of one moment".into(),
                });
            }
            drop(txn);
            // Closed first: what redb writes as it closes belongs to the file.
            create::close(database).map_err(written)?;
        }
        let failed = |error: io::Error| system(&self.path, &error);
        self.file.sync_all().map_err(failed)?;
        if cfg!(planted = "restore_overwrites") {
            return std::fs::rename(&self.temporary, &self.path).map_err(failed);
        }
        if !create::publish_durably(&self.temporary, &self.path).map_err(failed)? {
            let path = self.path.clone();
            return Err(CopyError::Exists { path });
        }
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        drop(self.database.take());
        // The next open of the path would remove it as well.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn system(path: &Path, error: &io::Error) -> CopyError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => CopyError::Full,
        _ => CopyError::To(refused(path, "write the new file", error)),
    }
}

/// What a failure of redb at the new file is.
pub(super) fn written(error: impl Into<redb::Error>) -> CopyError {
    match error.into() {
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            CopyError::Full
        }
        error => CopyError::Failed {
            message: error.to_string().into(),
        },
    }
}

/// What a failure of redb at the file that is copied is. One of the system says nothing of what is in it.
pub(super) fn unread(error: impl Into<redb::Error>) -> CopyError {
    let error = error.into();
    let is_of_system = match &error {
        redb::Error::Io(error) => !is_damage(error),
        redb::Error::PreviousIo => true,
        _ => false,
    };
    let message = error.to_string().into();
    if is_of_system && !cfg!(planted = "read_failure_called_damage") {
        let what = "read the file to copy";
        return CopyError::From(OpenError::Io { what, message });
    }
    CopyError::Unreadable { message }
}
