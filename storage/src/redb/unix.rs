//! What is Unix about the file: modes, refusing symlinks, syncing a directory, and which inode a path names.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file an open handle refers to.
    pub(crate) fn of(file: &File) -> io::Result<FileId> {
        Ok(FileId::from(&file.metadata()?))
    }

    /// The file a path names, without following a symlink.
    pub(crate) fn at(path: &Path) -> io::Result<FileId> {
        Ok(FileId::from(&std::fs::symlink_metadata(path)?))
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> FileId {
        FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // The standard library always adds O_CLOEXEC.
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(no_follow);
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

/// Creates a file that must not be there, readable by its owner only.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    options().create_new(true).open(path)
}

/// Opens a file, or creates it readable by its owner only; what it holds stays.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    options().create(true).truncate(false).open(path)
}

/// True when an open was refused because the path is a symlink.
pub(crate) fn is_symlink_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Creates a directory that only its owner may enter.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes that may still be written beside this directory's files; `None` where the system does not say.
pub(crate) fn free_bytes(directory: &Path) -> io::Result<Option<u64>> {
    let found = rustix::fs::statvfs(directory)?;
    let told = found.f_blocks > 0;
    Ok(told.then(|| found.f_bavail.saturating_mul(found.f_frsize)))
}

/// True unless no process has this id. A process of another user counts as alive.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    else {
        return false;
    };
    rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}
