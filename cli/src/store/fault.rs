//! What went wrong with a file, and what to do about it, as the command line says it.

use crate::error::CliError;
use crate::exit::Exit;
use crate::settings::quoted;
use outlive::StoreError;
use outlive::store::{CopyError, ImportError, OpenError};
use std::io;
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
        OpenError::Empty { .. } => {
            let hint = "what made it did not get far: nothing is lost with it";
            (Exit::Store, Some(hint.to_owned()), Some(doctor(path)))
        }
        OpenError::TooNew { .. } => {
            let hint = "a newer version of this program reads it";
            let version = "outlive version".to_owned();
            (Exit::Store, Some(hint.to_owned()), Some(version))
        }
        OpenError::IsDirectory { .. } | OpenError::Symlink { .. } => {
            let hint = "give the path of the file itself".to_owned();
            (Exit::Usage, Some(hint), Some(listed(path)))
        }
        OpenError::MissingDirectory { path } => {
            let hint = "make the directory, or give another path".to_owned();
            (
                Exit::NotFound,
                Some(hint),
                Some(format!("mkdir -p {}", word(&path))),
            )
        }
        OpenError::ReadOnly { .. } | OpenError::PermissionDenied { .. } => {
            let hint = "see who may write there".to_owned();
            (Exit::Other, Some(hint), Some(doctor(path)))
        }
        // INVARIANT: the library and this crate are released together; what is left is the system's.
        _ => {
            let hint = "it is the system that refused".to_owned();
            (Exit::Other, Some(hint), Some(doctor(path)))
        }
    };
    told(what, exit, (hint, next))
}

/// A file that was opened, and not sealed anew to its end.
pub(super) fn of_store(path: &Path, error: &StoreError) -> CliError {
    let what = error.to_string();
    let (hint, next) = match error {
        StoreError::KeyMissing { .. } => (
            "no value was changed: give the key of the file as an older one (--older-key-file, OUTLIVE_OLDER_KEYS)",
            "outlive store reseal --help".to_owned(),
        ),
        StoreError::Corrupt { .. } | StoreError::TooNew { .. } => return damaged(path, what),
        // INVARIANT: the library and this crate are released together; what is left is the system's.
        _ => (
            "each value is under its old key or the new one: mend the cause, and call again with both",
            doctor(path),
        ),
    };
    told(what, Exit::Store, (Some(hint.to_owned()), Some(next)))
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

/// A file of which nothing was saved: what saves is what was called.
pub(super) fn of_salvage((from, to): (&Path, &Path), error: CopyError) -> CliError {
    let is_damage = matches!(
        &error,
        CopyError::From(OpenError::NotAStore { .. } | OpenError::Damaged { .. })
            | CopyError::Unreadable { .. }
    );
    if !is_damage {
        return of_copy((from, to), Live::IsStopped, error);
    }
    let hint = "nothing in it can be saved: see that it is the file that is meant; a backup is restored into a new one";
    let next = "outlive --store NEW store restore BACKUP".to_owned();
    told(
        error.to_string(),
        Exit::Store,
        (Some(hint.to_owned()), Some(next)),
    )
}

/// A copy that was not made.
pub(super) fn of_copy((from, to): (&Path, &Path), live: Live, error: CopyError) -> CliError {
    let what = error.to_string();
    match error {
        CopyError::From(error) => of_open(from, live, error),
        CopyError::To(error) => of_open(to, live, error),
        CopyError::Unreadable { .. } => damaged(from, what),
        CopyError::Exists { .. } => {
            let hint = "give another path, or move that file away first".to_owned();
            told(what, Exit::Conflict, (Some(hint), Some(listed(to))))
        }
        CopyError::Full | CopyError::Failed { .. } => {
            let hint = "nothing of the new file is left: mend the cause, and call again".to_owned();
            told(what, Exit::Other, (Some(hint), Some(doctor(to))))
        }
        // INVARIANT: the library and this crate are released together; what is left is of engines.
        _ => told(what, Exit::Other, (None, Some(doctor(from)))),
    }
}

/// An import that was not made.
pub(super) fn of_import((from, to): (&Path, &Path), error: ImportError) -> CliError {
    let what = format!("{}: {error}", from.display());
    match error {
        ImportError::To(error) => of_copy((from, to), Live::IsStopped, error),
        ImportError::Read { .. } => {
            let hint = "see that all of it can be read, as text in UTF-8".to_owned();
            told(what, Exit::Other, (Some(hint), Some(listed(from))))
        }
        ImportError::TooNew { .. } => {
            let hint = "take the newer version of this program".to_owned();
            let version = "outlive version".to_owned();
            told(what, Exit::Usage, (Some(hint), Some(version)))
        }
        ImportError::NotAnExport => told(what, Exit::Usage, export("give what an export wrote")),
        ImportError::Line { .. } => {
            told(what, Exit::Usage, export("mend that line, or export again"))
        }
        ImportError::CutOff { .. } => told(what, Exit::Usage, export("export again, to its end")),
        // INVARIANT: the library and this crate are released together.
        _ => told(what, Exit::Usage, export("export again")),
    }
}

/// A file of lines that does not open.
pub(super) fn of_lines(from: &Path, error: &io::Error) -> CliError {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::Other,
    };
    let what = format!("{} cannot be read: {error}", from.display());
    told(what, exit, export("give the file that an export wrote"))
}

/// What to think of, and the command that makes an export.
fn export(hint: &str) -> (Option<String>, Option<String>) {
    let next = "outlive --store FILE store export LINES";
    (Some(hint.to_owned()), Some(next.to_owned()))
}

/// The command that says what is wrong with a place.
fn doctor(path: &Path) -> String {
    format!("outlive --store {} doctor", word(path))
}

/// The command that says what lies there.
fn listed(path: &Path) -> String {
    format!("ls -ld {}", word(path))
}

fn told(what: String, exit: Exit, (hint, next): (Option<String>, Option<String>)) -> CliError {
    CliError::Store {
        what,
        exit,
        hint,
        next,
    }
}

/// A path as one word of a shell.
pub(super) fn word(path: &Path) -> String {
    quoted(&path.display().to_string())
}
