//! How the program ends: one number for each kind of an end, for scripts to decide by.

use std::process::ExitCode;

/// The status of the process. `2` is also what a wrong call ends with, before anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Done,
    /// Whatever has no number of its own.
    Other,
    /// The call is wrong.
    Usage,
    /// There is no such task, input, question or file.
    NotFound,
    /// The task does not take it as it stands.
    Conflict,
    /// The task failed, or was terminated.
    Failed,
    /// The task was cancelled.
    Cancelled,
    /// The task is suspended.
    Suspended,
    /// The store is held by another process, or is damaged.
    Store,
    /// Nobody answers.
    Unreachable,
    /// It took longer than it may.
    TimedOut,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Other => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Conflict => 4,
            Exit::Failed => 5,
            Exit::Cancelled => 6,
            Exit::Suspended => 7,
            Exit::Store => 8,
            Exit::Unreachable => 9,
            Exit::TimedOut => 124,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
