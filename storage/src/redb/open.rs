//! Opening a store: what is checked before anything is touched, and in which order.

use super::backend::{Backend, Counters as IoCounters, Disk};
use super::create;
use super::current::{self, Current};
use super::journal::{self, Mark};
use super::lengths;
use super::lock::Lock;
use super::medium::{FileMedium, Medium};
use super::open_error::OpenError;
use super::platform::{self, FileId};
use super::shape::{self, Shape};
use super::tables::{ETAGS, FORMAT, GENERATIONS, INCARNATION, JOURNALLED, META, SUPPORTED};
use super::{Opened, RedbOptions, notes, replay};
use crate::row::{Etag, Generation};
use crate::store::{Counters, StoreError};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, TableError,
};
use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds of waiting for the file of a process that is dead, which the system closes after its lock.
const CLOSING_ROUNDS_MAX: u32 = 200;

/// Everything an open store is made of.
pub(crate) struct Parts {
    pub(crate) current: Current,
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) path: PathBuf,
    pub(crate) io: Arc<IoCounters>,
    pub(crate) facts: Facts,
    pub(crate) opened: Opened,
}

/// What the file says of itself.
pub(crate) struct Facts {
    pub(crate) format: u32,
    pub(crate) incarnation: u128,
    pub(crate) counters: Counters,
    pub(crate) mark: Mark,
}

/// Opens or creates the store at `path`.
///
/// # Errors
/// [`OpenError`]; nothing was changed.
pub(crate) fn open(
    path: &Path,
    options: &RedbOptions,
    instance: u128,
    now_us: u64,
) -> Result<Parts, OpenError> {
    let path =
        std::path::absolute(path).map_err(|error| refused(path, "find the store", &error))?;
    // Looked at before the lock is taken, so that no lock file appears beside what is not ours.
    let mut there = examine(&path)?.is_some();
    let lock = Lock::take(&path, instance, now_us)?;
    create::remove_leftovers(&path)
        .map_err(|error| refused(&path, "look for leftovers", &error))?;
    there = there || examine(&path)?.is_some();
    let created = !there && create::create(&path, instance, options.journal_bytes)?;
    let Some(file) = examine(&path)? else {
        return Err(OpenError::Io {
            what: "open the store",
            message: "it was removed meanwhile".into(),
        });
    };
    let failed = |error: io::Error| refused(&path, "open the store", &error);
    let file_id = FileId::of(&file).map_err(failed)?;
    drop(file);
    let medium = Arc::new(FileMedium::new(path.clone(), lock, instance, file_id));
    let mut rounds = 0;
    loop {
        let backend = medium.open().map_err(failed)?;
        let found = Found { backend, created };
        let medium: Arc<dyn Medium> = Arc::<FileMedium>::clone(&medium);
        match assemble(path.clone(), medium, found, options) {
            // The lock is ours: the one before us is dead, and the system has yet to close its file.
            Err(OpenError::AlreadyRunning { .. }) if rounds < CLOSING_ROUNDS_MAX => {
                rounds += 1;
                std::thread::yield_now();
            }
            assembled => return assembled,
        }
    }
}

/// Opens or creates the store on a medium.
///
/// # Errors
/// [`OpenError`]; nothing was changed.
#[cfg(feature = "simulation")]
pub(crate) fn open_medium(
    medium: Arc<dyn Medium>,
    options: &RedbOptions,
    instance: u128,
) -> Result<Parts, OpenError> {
    let path = PathBuf::from("a simulated medium");
    let failed = |error: io::Error| refused(&path, "open the store", &error);
    let mut backend = medium.open().map_err(failed)?;
    let created = backend.len().map_err(failed)? == 0;
    if created {
        let empty = Disk::held(backend, &Arc::default(), &medium).map_err(failed)?;
        empty.release().map_err(failed)?;
        let shape = Shape::new(options.journal_bytes, instance);
        create::build_on(Backend(empty), shape, instance).map_err(|error| OpenError::Io {
            what: "create the store",
            message: error.to_string().into(),
        })?;
        backend = medium.open().map_err(failed)?;
    }
    assemble(path, medium, Found { backend, created }, options)
}

/// What is there, or was just made.
struct Found {
    backend: Box<dyn StorageBackend>,
    created: bool,
}

fn assemble(
    path: PathBuf,
    medium: Arc<dyn Medium>,
    Found { backend, created }: Found,
    options: &RedbOptions,
) -> Result<Parts, OpenError> {
    let failed = |error: io::Error| refused(&path, "open the store", &error);
    let file_bytes = backend.len().map_err(failed)?;
    let io = Arc::default();
    let held =
        |backend| Disk::held(backend, &io, &medium).map_err(|error| head_error(&path, error));
    let mut disk = held(backend)?;
    let repaired = Arc::new(AtomicBool::new(false));
    let (mut database, mut facts) = load(&path, options, &disk, &repaired)?;
    // Another process has left it so. By now it is known to be a store of ours that nobody else has open.
    if medium.has_failed_to_sync() && !cfg!(planted = "failed_sync_forgotten") {
        disk.give_up();
        super::panics::closed(database);
        let copy = current::copied_out(&*medium).map_err(|error| OpenError::Io {
            what: "copy the store, which had failed to sync",
            message: error.to_string().into(),
        })?;
        disk = held(copy)?;
        (database, facts) = load(&path, options, &disk, &repaired)?;
    }
    disk.release_if_there_is_room().map_err(failed)?;
    let opened = Opened {
        created,
        repaired: repaired.load(Ordering::Relaxed),
        file_bytes,
        format: facts.format,
    };
    Ok(Parts {
        current: Current { database, disk },
        medium,
        path,
        io,
        facts,
        opened,
    })
}

/// Opens the file at `path` if it may be a store; `None` when nothing is there.
pub(super) fn examine(path: &Path) -> Result<Option<File>, OpenError> {
    examine_by(path, platform::open)
}

/// As [`examine`], for reading alone: nothing of it can be changed, and it may lie where nothing can.
pub(super) fn examine_to_read(path: &Path) -> Result<Option<File>, OpenError> {
    if cfg!(planted = "read_to_write") {
        return examine(path);
    }
    examine_by(path, platform::open_to_read)
}

fn examine_by(
    path: &Path,
    open: impl FnOnce(&Path) -> io::Result<File>,
) -> Result<Option<File>, OpenError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(path),
        Err(error) => return Err(refused(path, "look at the store", &error)),
    };
    let path = path.to_owned();
    if found.is_symlink() {
        return Err(OpenError::Symlink { path });
    }
    if found.is_dir() {
        return Err(OpenError::IsDirectory { path });
    }
    if !found.is_file() {
        return Err(OpenError::NotAStore { path });
    }
    if found.len() == 0 && !cfg!(planted = "empty_file_filled") {
        return Err(OpenError::Empty { path });
    }
    let mut file = open(&path).map_err(|error| refused(&path, "open the store", &error))?;
    let mut start = [0; shape::MAGIC.len()];
    match file.read_exact(&mut start) {
        Ok(()) if [shape::MAGIC, shape::REDB_MAGIC].contains(&start) => Ok(Some(file)),
        Err(_) if found.len() == 0 => Ok(Some(file)),
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(refused(&path, "read the store", &error))
        }
        Ok(()) | Err(_) => Err(OpenError::NotAStore { path }),
    }
}

fn missing(path: &Path) -> Result<Option<File>, OpenError> {
    let directory = create::directory(path);
    if path.file_name().is_none() {
        return Err(OpenError::IsDirectory {
            path: path.to_owned(),
        });
    }
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(None),
        Ok(_) => Err(OpenError::MissingDirectory {
            path: directory.to_owned(),
        }),
        Err(error) => Err(refused(path, "look at the store's directory", &error)),
    }
}

/// Lets redb open the file and asks it what it is; everything redb writes meanwhile is held by `disk`.
pub(crate) fn load(
    path: &Path,
    options: &RedbOptions,
    disk: &Arc<Disk>,
    repaired: &Arc<AtomicBool>,
) -> Result<(Database, Facts), OpenError> {
    let mut builder = Builder::new();
    builder
        .set_cache_size(options.cache_bytes)
        .set_check_integrity_on_open(options.verify_on_open);
    let (flag, on_repair) = (Arc::clone(repaired), options.on_repair.clone());
    builder.set_repair_callback(move |session| {
        flag.store(true, Ordering::Relaxed);
        if let Some(on_repair) = &on_repair {
            on_repair(session.progress());
        }
    });
    let journal = || disk.journal().map_err(|error| head_error(path, error));
    // redb may panic on pages that do not fit together. Everything it writes in here is held, so a caught panic leaves
    // nothing half done.
    let file = Backend(Arc::clone(disk));
    let loaded = catch_unwind(AssertUnwindSafe(|| {
        notes::check(path, &file)?;
        let database = builder
            .create_with_backend(file)
            .map_err(|error| database_error(path, error))?;
        let facts = replayed(path, &database, (disk.shape(), &journal()?), || {
            disk.sync_journal()
        })?;
        Ok((database, facts))
    }));
    loaded.unwrap_or_else(|_| {
        Err(OpenError::Damaged {
            message: "its pages do not fit together".into(),
        })
    })
}

/// Does again what is durable in the journal alone, and says what the file then says of itself.
///
/// `made_sure` makes durable what the system shows of the journal, before anybody sees it.
///
/// # Errors
/// [`OpenError::Damaged`] when something of the journal is missing; the others as for an open.
pub(super) fn replayed(
    path: &Path,
    database: &Database,
    (shape, journal): (Shape, &[u8]),
    made_sure: impl FnOnce() -> io::Result<()>,
) -> Result<Facts, OpenError> {
    let found = facts(path, database)?;
    let behind = journal::behind(shape, found.mark, journal);
    if let Some(broken) = behind.broken {
        let message = broken.message().into();
        return Err(OpenError::Damaged { message });
    }
    if !behind.batches.is_empty() {
        made_sure().map_err(|error| refused(path, "make the journal durable", &error))?;
    }
    let again = replay::replay(database, &behind, (found.incarnation, found.counters));
    let again = again.map_err(|error| match error {
        StoreError::Malformed { .. } | StoreError::Corrupt { .. } => OpenError::Damaged {
            message: error.to_string().into(),
        },
        error => OpenError::Io {
            what: "do again what is in the journal",
            message: error.to_string().into(),
        },
    })?;
    if again {
        facts(path, database)
    } else {
        Ok(found)
    }
}

fn facts(path: &Path, database: &Database) -> Result<Facts, OpenError> {
    let damaged = |error: redb::Error| OpenError::Damaged {
        message: error.to_string().into(),
    };
    let not_ours = || OpenError::NotAStore {
        path: path.to_owned(),
    };
    let txn = database
        .begin_read()
        .map_err(|error| damaged(error.into()))?;
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(damaged(error.into())),
        Err(_) => return Err(not_ours()),
    };
    let fact = |name| -> Result<u128, OpenError> {
        let found = meta.get(name).map_err(|error| damaged(error.into()))?;
        found.map(|found| found.value()).ok_or_else(not_ours)
    };
    let format = u32::try_from(fact(FORMAT)?).unwrap_or(u32::MAX);
    if format > SUPPORTED {
        return Err(OpenError::TooNew {
            found: format,
            supported: SUPPORTED,
        });
    }
    let incarnation = fact(INCARNATION)?;
    if !lengths::agree(&txn).map_err(damaged)? {
        return Err(OpenError::Damaged {
            message: "its tables are not of one moment".into(),
        });
    }
    let mark = meta
        .get(JOURNALLED)
        .map_err(|error| damaged(error.into()))?;
    let mark = mark.map_or(Some(Mark::default()), |mark| Mark::of_bits(mark.value()));
    let Some(mark) = mark else {
        return Err(OpenError::Damaged {
            message: "it does not know how far it is in its journal".into(),
        });
    };
    let highest = |table| -> Result<u64, redb::Error> {
        let mut highest = 0;
        for entry in txn.open_table::<u128, u64>(table)?.iter()? {
            highest = highest.max(entry?.1.value());
        }
        Ok(highest)
    };
    let etag = Etag(highest(ETAGS).map_err(damaged)?);
    let generation = Generation(highest(GENERATIONS).map_err(damaged)?);
    Ok(Facts {
        format,
        incarnation,
        counters: Counters { etag, generation },
        mark,
    })
}

pub(super) fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        // The lock file was removed under a living engine, or the file has a second name.
        DatabaseError::DatabaseAlreadyOpen => OpenError::AlreadyRunning {
            pid: None,
            still_running: None,
            reached_at: Vec::new(),
            path: path.to_owned(),
        },
        DatabaseError::Storage(StorageError::Io(error)) if !is_damage(&error) => {
            refused(path, "open the store", &error)
        }
        other => OpenError::Damaged {
            message: other.to_string().into(),
        },
    }
}

/// The head or the journal of the file cannot be read.
pub(super) fn head_error(path: &Path, error: io::Error) -> OpenError {
    database_error(path, DatabaseError::Storage(StorageError::Io(error)))
}

/// Errors by which redb says that the file is too short or is no database although it begins like one.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// The open error an answer of the operating system stands for.
pub(crate) fn refused(path: &Path, what: &'static str, error: &io::Error) -> OpenError {
    let owned = path.to_owned();
    if platform::is_symlink_refusal(error) {
        return OpenError::Symlink { path: owned };
    }
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::MissingDirectory {
            path: create::directory(path).to_owned(),
        },
        io::ErrorKind::PermissionDenied => OpenError::PermissionDenied { path: owned },
        io::ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path: owned },
        _ => OpenError::Io {
            what,
            message: error.to_string().into(),
        },
    }
}
