//! What [`unix`](super) does, as far as the standard library can do it elsewhere.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Which file it is; elsewhere the open file cannot be removed or replaced, so one value is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId;

impl FileId {
    /// The file an open handle refers to.
    pub(crate) fn of(file: &File) -> io::Result<FileId> {
        file.metadata().map(|_| FileId)
    }

    /// The file a path names, without following a symlink.
    pub(crate) fn at(path: &Path) -> io::Result<FileId> {
        std::fs::symlink_metadata(path).map(|_| FileId)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

/// Opens a file that is there, for reading and writing.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    options().open(path)
}

/// Opens a file that is there, for reading alone.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    options().write(false).open(path)
}

/// Creates a file that must not be there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    options().create_new(true).open(path)
}

/// Opens a file, or creates it; what it holds stays.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    options().create(true).truncate(false).open(path)
}

/// True when an open was refused because the path is a symlink.
pub(crate) fn is_symlink_refusal(_error: &io::Error) -> bool {
    false
}

/// Creates a directory; who may enter it, its parent says.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Makes the names in a directory durable: a directory cannot be synced here.
pub(crate) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes that may still be written beside this directory's files: unknown here.
pub(crate) fn free_bytes(_directory: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

/// True unless no process has this id; unknown here, so what a lock file says is believed.
pub(crate) fn is_alive(_pid: u32) -> bool {
    true
}
