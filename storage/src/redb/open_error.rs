//! Why a store was not opened, and what to do.

use std::path::PathBuf;

/// Why a store was not opened. In every case the path and what it names are as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another engine has the file: use that one, or end it first.
    #[error("{} is in use by process {}{}; use that engine or stop it first", path.display(), pid_text(*pid), stopped_text(*still_running))]
    AlreadyRunning {
        /// Its process; `None` when it could not be learnt.
        pid: Option<u32>,
        /// Set when that engine has stopped but for so many handlers, which do not end.
        still_running: Option<usize>,
        /// Where that engine is reached, if it serves its tasks.
        reached_at: Vec<String>,
        /// The store.
        path: PathBuf,
    },
    /// The path names a directory: add a file name.
    #[error("{} is a directory; give the path of a file in it", path.display())]
    IsDirectory {
        /// The path.
        path: PathBuf,
    },
    /// The file is empty, which no store ever is: remove it, or give another path.
    #[error("{} is empty, which no store ever is; remove it or give another path", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// The file is something else: give another path.
    #[error("{} is not a store of tasks; give another path", path.display())]
    NotAStore {
        /// The path.
        path: PathBuf,
    },
    /// The path or its lock file is a symlink, which could be turned elsewhere: give the path it leads to.
    #[error("{} is a symbolic link; give the path it leads to", path.display())]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// The directory of the path does not exist: create it first.
    #[error("the directory {} does not exist; create it first", path.display())]
    MissingDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// There is no file under the path of one that is to be read: look for it elsewhere.
    #[error("there is no file {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file system is read-only: choose a path that can be written.
    #[error("{} is on a read-only file system; choose a path that can be written", path.display())]
    ReadOnly {
        /// The path.
        path: PathBuf,
    },
    /// This user may not read and write the path: change its owner or mode, or choose another.
    #[error("no permission to read and write {}; change its owner or mode, or choose another path", path.display())]
    PermissionDenied {
        /// The path.
        path: PathBuf,
    },
    /// A newer version of this library wrote the file: open it with that version.
    #[error(
        "the store has format {found}, this version reads up to {supported}; open it with the newer version"
    )]
    TooNew {
        /// The format found.
        found: u32,
        /// The newest format this version reads.
        supported: u32,
    },
    /// The file's structure is damaged: restore it from a copy.
    #[error("the store is damaged ({message}); restore it from a copy")]
    Damaged {
        /// What was found.
        message: Box<str>,
    },
    /// The operating system failed a call: mend its cause and open again.
    #[error("could not {what}: {message}; mend the cause and open again")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        message: Box<str>,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
}

fn stopped_text(still_running: Option<usize>) -> String {
    still_running.map_or_else(String::new, |count| {
        format!(", whose engine has stopped but for {count} handlers")
    })
}
