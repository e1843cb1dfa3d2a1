//! A new file: built under a temporary name and published whole, so that no crash leaves half a store.

use super::journal::Mark;
use super::open::refused;
use super::open_error::OpenError;
use super::platform;
use super::shape::Shape;
use super::shifted::Shifted;
use super::tables::{
    ASKS, BY_DEFINITION, BY_LABEL, CHILDREN, DEFINITIONS, DUE, ETAGS, EVENTS, EXPIRY,
    FAMILIES_OVER, FORMAT, GARBAGE, GENERATIONS, IDS, INCARNATION, INDEXES, INPUTS, JOURNALLED,
    LIVES, META, OLD_STEPS, RECEIPT_EXPIRY, RECEIPTS, RUNNING, RUNS, STEPS, STREAM, SUPPORTED,
    TASKS, TURNS, VALUES, WAKES,
};
use redb::backends::FileBackend;
use redb::{Builder, Database, Durability, StorageBackend};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Builds a store and publishes it at `path`, where nothing was. `false` when somebody else's file appeared
/// meanwhile, which is then left as it is. The lock is held.
///
/// # Errors
/// [`OpenError`] as for an open.
pub(crate) fn create(path: &Path, instance: u128, journal_bytes: u32) -> Result<bool, OpenError> {
    let temporary = temporary_path(path, instance);
    let failed = |error: io::Error| refused(path, "create the store", &error);
    let file = platform::create(&temporary).map_err(failed)?;
    let built = build(&file, Shape::new(journal_bytes, instance), instance).map_err(|error| {
        OpenError::Io {
            what: "create the store",
            message: error.to_string().into(),
        }
    });
    let published = built.and_then(|()| {
        file.sync_all().map_err(failed)?;
        publish_durably(&temporary, path).map_err(failed)
    });
    // The temporary name has done its work, or never will; either way the next open would remove it.
    let _ = std::fs::remove_file(&temporary);
    published
}

/// The directory a path lies in.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Creates the directory, and those it lies in, where they are missing: durably, and for their owner only. What is there
/// already stays as it is.
///
/// # Errors
/// The system's refusal.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = directory(path);
    create_private_directory(parent)?;
    match platform::create_directory(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    platform::sync_directory(parent)
}

/// Gives the finished file its name; `false` when the name is taken.
///
/// A rename would replace a living engine's file, and what that engine acknowledged would vanish.
pub(crate) fn publish(temporary: &Path, path: &Path) -> io::Result<bool> {
    if cfg!(planted = "rename_instead_of_hard_link") {
        return std::fs::rename(temporary, path).map(|()| true);
    }
    match std::fs::hard_link(temporary, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// As [`publish`]; the name is on the disk when it returns, and taken back where it cannot be: a file that may be gone
/// after a power cut is none.
pub(crate) fn publish_durably(temporary: &Path, path: &Path) -> io::Result<bool> {
    if !publish(temporary, path)? {
        return Ok(false);
    }
    // The temporary name has done its work.
    let _ = std::fs::remove_file(temporary);
    let durable = platform::sync_directory(directory(path));
    if durable.is_err() {
        let _ = std::fs::remove_file(path);
    }
    durable.map(|()| true)
}

/// Removes what engines that died while creating left beside `path`. The lock is held, so none of them lives.
///
/// # Errors
/// The system's answer when the directory cannot be read.
pub(crate) fn remove_leftovers(path: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    for entry in std::fs::read_dir(directory(path))? {
        let entry = entry?;
        if is_leftover(name, &entry.file_name()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

pub(crate) fn temporary_path(path: &Path, instance: u128) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{instance:032x}.tmp"));
    PathBuf::from(name)
}

/// True for exactly the names [`temporary_path`] makes: nobody else's file is removed.
fn is_leftover(store: &OsStr, name: &OsStr) -> bool {
    let middle = name
        .as_encoded_bytes()
        .strip_prefix(store.as_encoded_bytes())
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(b".tmp"));
    middle.is_some_and(|hex| hex.len() == 32 && hex.iter().all(u8::is_ascii_hexdigit))
}

pub(super) fn build(file: &File, shape: Shape, incarnation: u128) -> Result<(), redb::Error> {
    build_on(FileBackend::new(file.try_clone()?)?, shape, incarnation)
}

/// Makes an empty store of what is empty.
///
/// # Errors
/// What redb fails with.
pub(super) fn build_on(
    empty: impl StorageBackend,
    shape: Shape,
    incarnation: u128,
) -> Result<(), redb::Error> {
    if let Some(head) = shape.head() {
        empty.set_len(shape.database_at())?;
        empty.write(0, &head)?;
    }
    let database = Builder::new().create_with_backend(Shifted::new(empty, shape))?;
    let mut txn = database.begin_write()?;
    txn.set_durability(Durability::Immediate)?;
    txn.set_quick_repair(true);
    {
        txn.open_table(TASKS)?;
        txn.open_table(IDS)?;
        txn.open_table(DEFINITIONS)?;
        txn.open_table(BY_DEFINITION)?;
        txn.open_table(BY_LABEL)?;
        txn.open_table(DUE)?;
        txn.open_table(RUNNING)?;
        txn.open_table(EXPIRY)?;
        txn.open_table(VALUES)?;
        txn.open_table(INPUTS)?;
        txn.open_table(RECEIPTS)?;
        txn.open_table(RECEIPT_EXPIRY)?;
        txn.open_table(TURNS)?;
        txn.open_table(STEPS)?;
        txn.open_table(ASKS)?;
        txn.open_table(OLD_STEPS)?;
        txn.open_table(RUNS)?;
        txn.open_table(STREAM)?;
        txn.open_table(CHILDREN)?;
        txn.open_table(WAKES)?;
        txn.open_table(FAMILIES_OVER)?;
        txn.open_table(GARBAGE)?;
        txn.open_table(EVENTS)?;
        txn.open_table(LIVES)?;
        txn.open_table(INDEXES)?;
        txn.open_table(ETAGS)?.insert(incarnation, 0)?;
        txn.open_table(GENERATIONS)?.insert(incarnation, 0)?;
        let mut meta = txn.open_table(META)?;
        meta.insert(FORMAT, u128::from(SUPPORTED))?;
        meta.insert(INCARNATION, incarnation)?;
        // From the beginning, so that who misses it later knows that it is lost.
        if shape.journal > 0 {
            meta.insert(JOURNALLED, Mark::default().to_bits())?;
        }
    }
    txn.commit()?;
    close(database)
}

/// Closes a file that is to be whole. redb writes and syncs once more as it closes; dropped, it would tell nobody that
/// this failed, and neither would a later sync of the same open file, to which the system has told it already.
pub(super) fn close(database: Database) -> Result<(), redb::Error> {
    let closed = database.close();
    if cfg!(planted = "close_error_dropped") {
        return Ok(());
    }
    closed.map_err(redb::Error::from)
}
