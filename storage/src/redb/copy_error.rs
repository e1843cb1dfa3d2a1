//! Why a file was not copied, and what to do.

use super::open_error::OpenError;
use std::path::PathBuf;

/// Why no new file was made. Nothing lies under its path, and the file it was to be made of is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// Something lies under the path of the new file already, and is never written over: give another path, or move it
    /// away first.
    #[error("{} is there already and is not written over; give another path", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The file to copy cannot be had, or fails as it is read; the error inside says what to do.
    #[error(transparent)]
    From(OpenError),
    /// The new file cannot be written; the error inside says what to do with its path.
    #[error(transparent)]
    To(OpenError),
    /// The file to copy could not be read to its end: salvage it.
    #[error("the file to copy cannot be read to its end ({message}); salvage it")]
    Unreadable {
        /// What was found.
        message: Box<str>,
    },
    /// There is no room for the new file: make some, or give a path elsewhere.
    #[error("no space left for the new file; make room, or give a path elsewhere")]
    Full,
    /// The new file could not be written: mend the cause and try again.
    #[error("the new file could not be written ({message}); mend the cause and try again")]
    Failed {
        /// What happened.
        message: Box<str>,
    },
    /// The store has no file that could be copied.
    #[error("there is no file to copy: the tasks are not kept in one of this library")]
    NoFile,
    /// The engine has stopped: open the file again, or copy it with `restore`.
    #[error("the engine has stopped; open the file again, or copy the file itself")]
    Stopped,
}
