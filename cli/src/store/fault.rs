//! What went wrong with a file, and what to do about it, as the command line says it.

use crate::error::CliError;
use crate::exit::Exit;
use crate::settings::quoted;
use outlive::store::{CopyError, ImportError, OpenError};
use std::path::Path;

/// What to do where another process has the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    /// Its program can do this itself.
    CopiesItself,
    /// It has to be stopped.
    IsStopped,
}

/// A file that was not opened.
pub(super) fn of_open(path: &Path, live: Live, error: OpenError) -> CliError {
    let what = error.to_string();
    let (exit, hint, next) = match error {
        OpenError::Missing { path } => return CliError::NoStore { path },
        OpenError::AlreadyRunning { pid, .. } => {
            let stop = match pid {
                Some(pid) => format!("stop it first (kill -TERM {pid})"),
                None => "stop it first".to_owned(),
            };
            let hint = match live {
                Live::CopiesItself => {
                    format!("that program copies its own file with Engine::backup; else {stop}")
                }
                Live::IsStopped => stop,
            };
            let info = format!("outlive store info {}", word(path));
            (Exit::Store, Some(hint), Some(info))
        }
        OpenError::Damaged { .. } => return damaged(path, what),
        // The first bytes of a damaged file may be what is damaged.
        OpenError::NotAStore { .. } => return damaged(path, what),
        OpenError::Empty { .. } | OpenError::TooNew { .. } => (Exit::Store, None, None),
        OpenError::IsDirectory { .. } | OpenError::Symlink { .. } => (Exit::Usage, None, None),
        OpenError::MissingDirectory { .. } => (Exit::NotFound, None, None),
        OpenError::ReadOnly { .. } | OpenError::PermissionDenied { .. } => {
            let doctor = format!("outlive --store {} doctor", word(path));
            (Exit::Other, None, Some(doctor))
        }
        // INVARIANT: the library and this crate are released together; what is left is the system's.
        _ => (Exit::Other, None, None),
    };
    told(what, exit, (hint, next))
}

/// A file of which nothing more than what is whole can be had.
pub(super) fn damaged(path: &Path, what: String) -> CliError {
    let next = salvage(path);
    let hint = "what is whole in it can be saved into a new file".to_owned();
    told(what, Exit::Store, (Some(hint), Some(next)))
}

/// The command that saves what is whole.
pub(super) fn salvage(path: &Path) -> String {
    let mut saved = path.as_os_str().to_owned();
    saved.push(".saved");
    let saved = word(Path::new(&saved));
    format!("outlive --store {} store salvage {saved}", word(path))
}

/// A copy that was not made.
pub(super) fn of_copy((from, to): (&Path, &Path), live: Live, error: CopyError) -> CliError {
    let what = error.to_string();
    match error {
        CopyError::From(error) => of_open(from, live, error),
        CopyError::To(error) => of_open(to, live, error),
        CopyError::Unreadable { .. } => damaged(from, what),
        CopyError::Exists { .. } => told(what, Exit::Conflict, (None, None)),
        CopyError::Full | CopyError::Failed { .. } => told(what, Exit::Other, (None, None)),
        // INVARIANT: the library and this crate are released together; what is left is of engines.
        _ => told(what, Exit::Other, (None, None)),
    }
}

/// An import that was not made.
pub(super) fn of_import((from, to): (&Path, &Path), error: ImportError) -> CliError {
    let what = format!("{}: {error}", from.display());
    match error {
        ImportError::To(error) => of_copy((from, to), Live::IsStopped, error),
        ImportError::Read { .. } => told(what, Exit::Other, (None, None)),
        ImportError::NotAnExport
        | ImportError::TooNew { .. }
        | ImportError::Line { .. }
        | ImportError::CutOff { .. } => told(what, Exit::Usage, (None, None)),
        // INVARIANT: the library and this crate are released together.
        _ => told(what, Exit::Usage, (None, None)),
    }
}

fn told(what: String, exit: Exit, (hint, next): (Option<String>, Option<String>)) -> CliError {
    CliError::Store {
        what,
        exit,
        hint,
        next,
    }
}

fn word(path: &Path) -> String {
    quoted(&path.display().to_string())
}
