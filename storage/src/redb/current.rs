//! The open handle of a store, and how it is replaced after a failure.
//!
//! After one failed call, even a read, redb answers nothing but that. And after a failed sync the system may show pages
//! of the file that will never be on the disk: going on with that file has left it unreadable after the next power cut.
//! So the handle is closed, a file that failed to sync is copied whole to a new one, which is synced and takes its
//! place, and what is then there is opened as after a crash.

use super::backend::{Counters as IoCounters, Disk};
use super::medium::Medium;
use super::open::{self, Facts};
use super::{OpenError, RedbOptions};
use crate::store::StoreError;
use parking_lot::Mutex;
use redb::{Database, StorageBackend};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// The open file.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) database: Database,
    pub(crate) disk: Arc<Disk>,
}

/// What a failed store needs to be opened again.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    /// The first failure; `None` while the store is well.
    cause: Mutex<Option<Box<str>>>,
}

impl Failure {
    /// Refuses to go on after a failure.
    ///
    /// # Errors
    /// [`StoreError::Poisoned`].
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &*self.cause.lock() {
            None => Ok(()),
            Some(cause) => Err(StoreError::Poisoned {
                cause: cause.clone(),
            }),
        }
    }

    /// The store has failed; the first cause stays.
    pub(crate) fn set(&self, failure: &StoreError) {
        self.cause.lock().get_or_insert(failure.to_string().into());
    }

    /// Opens again what is on the medium: first the old handle is closed, then a file that failed to sync is copied.
    ///
    /// # Errors
    /// [`StoreError::Replaced`] when something else is there; otherwise why it cannot be opened. It may be tried again.
    pub(crate) fn reopen(
        &self,
        current: &mut Option<Current>,
        medium: &Arc<dyn Medium>,
        (path, options, io): (&Path, &RedbOptions, &Arc<IoCounters>),
    ) -> Result<Facts, StoreError> {
        if let Some(Current { database, disk }) = current.take() {
            disk.give_up();
            super::panics::closed(database);
        }
        medium.check_in_place()?;
        let copies = medium.has_failed_to_sync() && !cfg!(planted = "failed_sync_reopened");
        let backend = if copies {
            copied_out(&**medium)?
        } else {
            medium.open().map_err(failed)?
        };
        let disk = Disk::held(backend, io, medium).map_err(failed)?;
        let repaired = Arc::new(AtomicBool::new(false));
        let opened = open::load(path, options, &disk, &repaired);
        let (database, facts) = opened.map_err(|error: OpenError| StoreError::Failed {
            message: error.to_string().into(),
        })?;
        let released = disk.release_if_there_is_room();
        // Kept also when it failed: the next try closes it first.
        *current = Some(Current { database, disk });
        released.map_err(failed)?;
        *self.cause.lock() = None;
        Ok(facts)
    }
}

/// Copies every byte to a new file, which takes the place of the old one; where that fails, nothing is left of it.
///
/// # Errors
/// [`StoreError::Full`] without room for it, [`StoreError::Replaced`], or what the system says. It may be tried again.
pub(super) fn copied_out(medium: &dyn Medium) -> Result<Box<dyn StorageBackend>, StoreError> {
    let copied = copied(medium).and_then(|copy| {
        // Once more, since copying takes its time: whoever has put something else there would lose it.
        if !cfg!(planted = "copy_over_another") {
            medium.check_in_place()?;
        }
        medium.publish_copy().map_err(failed)?;
        Ok(copy)
    });
    if copied.is_err() && !cfg!(planted = "half_copy_kept") {
        medium.abandon_copy();
    }
    copied
}

fn copied(medium: &dyn Medium) -> Result<Box<dyn StorageBackend>, StoreError> {
    let source = medium.open().map_err(failed)?;
    let len = source.len().map_err(failed)?;
    let copy = medium.begin_copy(len).map_err(failed)?;
    let write = || {
        copy.set_len(len)?;
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        while at < len {
            let take = (len - at).min(CHUNK as u64);
            let part = &mut chunk[..take as usize];
            source.read(at, part)?;
            copy.write(at, part)?;
            at += take;
        }
        copy.sync_data()?;
        source.close()
    };
    write().map_err(failed)?;
    Ok(copy)
}

fn failed(error: io::Error) -> StoreError {
    super::fault(redb::StorageError::from(error))
}
