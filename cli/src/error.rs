//! What went wrong, what to do about it, and with which status the program ends.

use crate::exit::Exit;
use crate::problem::Problem;
use crate::settings::quoted;
use outlive_server::{ServeError, SettingsError};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Most candidates of a prefix that are named.
pub(crate) const CANDIDATES_MAX: usize = 10;

/// Why a verb was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The call is wrong in a way that its grammar does not tell.
    #[error("{what}")]
    Usage { what: String, hint: String },
    /// A beginning of an id that several tasks have.
    #[error("{prefix} is the beginning of several ids: {}", candidates.join(", "))]
    Ambiguous {
        prefix: String,
        candidates: Vec<String>,
    },
    /// A beginning of an id where a whole one is asked for.
    #[error(
        "{prefix} is the beginning of {id}, and only the whole id will do for what changes a task"
    )]
    NotWhole { prefix: String, id: String },
    /// Nobody said that it may be done.
    #[error("{what}: nobody has agreed to it")]
    NotConfirmed { what: String },
    /// No such file.
    #[error("there is no store {}", path.display())]
    NoStore { path: PathBuf },
    /// Another process has the file.
    #[error("{} is in use by process {}", path.display(), pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()))]
    Locked {
        path: PathBuf,
        pid: Option<u32>,
        /// Where that process listens.
        reached_at: Vec<String>,
    },
    /// The file cannot be opened.
    #[error("{error}")]
    Open {
        path: PathBuf,
        error: Box<outlive::OpenError>,
    },
    /// What is done to a file as a whole was not done.
    #[error("{what}")]
    Store {
        what: String,
        exit: Exit,
        hint: Option<String>,
        /// The whole command.
        next: Option<String>,
    },
    /// Nobody answers there.
    #[error("{at} does not answer: {why}")]
    Unreachable { at: String, why: String },
    /// The API refused it.
    #[error("{}", .0.words())]
    Refused(Box<Problem>),
    /// It took longer than it may.
    #[error("{what}")]
    TimedOut {
        what: String,
        hint: String,
        next: String,
    },
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(Box<SettingsError>),
    /// Nothing could be served.
    #[error(transparent)]
    Serve(Box<ServeError>),
    /// Standard output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(io::Error),
    /// Another call to the system failed.
    #[error("{what}: {error}")]
    System { what: String, error: io::Error },
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> CliError {
        CliError::Refused(Box::new(problem))
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> CliError {
        CliError::Settings(Box::new(error))
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> CliError {
        CliError::Serve(Box::new(error))
    }
}

impl CliError {
    /// A wrong call, and how it is right.
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> CliError {
        CliError::Usage {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// With which status the program ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            CliError::Usage { .. }
            | CliError::Ambiguous { .. }
            | CliError::NotWhole { .. }
            | CliError::NotConfirmed { .. }
            | CliError::Settings(_) => Exit::Usage,
            CliError::NoStore { .. } => Exit::NotFound,
            CliError::Locked { .. } | CliError::Open { .. } => Exit::Store,
            CliError::Store { exit, .. } => *exit,
            CliError::Unreachable { .. } => Exit::Unreachable,
            CliError::Refused(problem) => problem.exit(),
            CliError::TimedOut { .. } => Exit::TimedOut,
            // Whoever reads it has read enough.
            CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            CliError::Serve(_) | CliError::Output(_) | CliError::System { .. } => Exit::Other,
        }
    }

    /// Whether it says something of the one task that was asked for, and nothing of the others.
    pub(crate) fn is_of_one_task(&self) -> bool {
        match self {
            CliError::Refused(problem) => problem.exit() != Exit::Unreachable,
            CliError::Usage { .. } | CliError::Ambiguous { .. } | CliError::NotWhole { .. } => true,
            CliError::NotConfirmed { .. }
            | CliError::NoStore { .. }
            | CliError::Locked { .. }
            | CliError::Open { .. }
            | CliError::Store { .. }
            | CliError::Unreachable { .. }
            | CliError::TimedOut { .. }
            | CliError::Settings(_)
            | CliError::Serve(_)
            | CliError::Output(_)
            | CliError::System { .. } => false,
        }
    }

    /// Whether there is anybody left to be told.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, CliError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to think of next.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            CliError::Usage { hint, .. } => hint.clone(),
            CliError::Ambiguous { candidates, .. } if candidates.len() >= CANDIDATES_MAX => {
                "give more of the id; there may be further ones".to_owned()
            }
            CliError::Ambiguous { .. } => "give more of the id".to_owned(),
            CliError::NotWhole { .. } => "give the whole id".to_owned(),
            CliError::NotConfirmed { .. } => "give -y if it is meant".to_owned(),
            CliError::NoStore { .. } => {
                "--store FILE or OUTLIVE_STORE names it; a program with tasks makes it".to_owned()
            }
            CliError::Locked { reached_at, .. } if reached_at.is_empty() => {
                "it does not serve its tasks: stop it, or let it serve (outlive_server::serve)"
                    .to_owned()
            }
            CliError::Locked { .. } => "ask that process instead".to_owned(),
            CliError::Open { error, .. } if wants_a_key(error) => {
                "give its key in OUTLIVE_KEY, and older ones in OUTLIVE_OLDER_KEYS, as its program does".to_owned()
            }
            CliError::Open { error, .. } if is_damage(error) => {
                "nothing of it was changed; a check of the whole file says what is left".to_owned()
            }
            CliError::Open { .. } => {
                "do as the error says; a look at the machine says more".to_owned()
            }
            CliError::Store { hint, .. } => return hint.clone(),
            CliError::Unreachable { .. } => {
                "see that the server runs; --url says where, --store asks a file instead".to_owned()
            }
            CliError::Refused(problem) => return hint_of(problem),
            CliError::TimedOut { hint, .. } => hint.clone(),
            CliError::Settings(_) => "`outlive config` shows what is set, and where".to_owned(),
            CliError::Serve(_) => "see what is set, and which address is free".to_owned(),
            CliError::Output(_) => "see that there is room where it goes".to_owned(),
            CliError::System { .. } => "it is the system that refused: mend that, and call again".to_owned(),
        })
    }

    /// The command to give next; `at` are the flags that say where the tasks are.
    pub(crate) fn next(&self, at: &str) -> Option<String> {
        let command = match self {
            CliError::Locked {
                path, reached_at, ..
            } => {
                return Some(match reached_at.first() {
                    Some(url) => format!("outlive --url {url} ls"),
                    None => format!("outlive store info {}", of_path(path)),
                });
            }
            CliError::Open { path, error } => {
                let verb = match is_damage(error) {
                    true => "store verify",
                    false => "doctor",
                };
                return Some(format!("outlive --store {} {verb}", of_path(path)));
            }
            CliError::Ambiguous { candidates, .. } => format!("show {}", candidates.first()?),
            CliError::NotWhole { id, .. } => format!("show {id}"),
            CliError::TimedOut { next, .. } => next.clone(),
            CliError::Store { next, .. } => return next.clone(),
            CliError::Unreachable { .. } => "config".to_owned(),
            CliError::NoStore { .. } => return Some("outlive demo".to_owned()),
            CliError::Refused(problem) => of_problem(problem)?,
            CliError::Settings(_) => return Some("outlive config".to_owned()),
            CliError::Usage { .. } => return Some("outlive help".to_owned()),
            CliError::NotConfirmed { .. } => return Some(agreed(std::env::args_os().skip(1))),
            CliError::Serve(_) => "config".to_owned(),
            CliError::Output(_) | CliError::System { .. } => "doctor".to_owned(),
        };
        Some(format!("outlive{at} {command}"))
    }
}

fn of_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// The same call once more, with somebody's word for it.
fn agreed(words: impl Iterator<Item = OsString>) -> String {
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    let mut words: Vec<String> = words.collect();
    // What is behind `--` is no flag any more.
    let ids = words.iter().position(|word| word == "--");
    words.insert(ids.unwrap_or(words.len()), "-y".to_owned());
    format!("outlive {}", words.join(" "))
}

/// Whether the file itself is at fault, and not the call or the system.
fn is_damage(error: &outlive::OpenError) -> bool {
    use outlive::store::OpenError as FileError;
    match error {
        outlive::OpenError::Store(_) => !wants_a_key(error),
        outlive::OpenError::File(error) => matches!(error, FileError::Damaged { .. }),
        // INVARIANT: this crate and the engine are released together.
        _ => false,
    }
}

/// Whether what it says is sealed, and its key is not there.
fn wants_a_key(error: &outlive::OpenError) -> bool {
    use outlive::StoreError;
    matches!(
        error,
        outlive::OpenError::Sealed | outlive::OpenError::Store(StoreError::KeyMissing { .. })
    )
}

/// What to think of for a problem; the API's own words, unless they speak of requests.
fn hint_of(problem: &Problem) -> Option<String> {
    let words = match problem.code.as_str() {
        "not_found" | "removed" => "see which tasks there are",
        "no_handler" => {
            "see which definitions there are; on a file --new starts one it does not know yet"
        }
        "not_remote" => "its program lets no inputs come from outside (TaskDef::remote)",
        "conflict" | "steering_queue_full" => "see what it takes as it stands",
        "not_asked" => "see what is asked",
        "unknown_parameter" | "invalid_body" | "no_such_path" => {
            "the server is of another version than this program"
        }
        "unauthorized" => "give the token with --token-file FILE or OUTLIVE_TOKEN",
        "undecodable" => {
            let what = problem.what.as_deref().unwrap_or("value");
            let expected = problem
                .expected
                .as_deref()
                .unwrap_or("what its program reads");
            return Some(format!(
                "its {what} is no {expected}: start again with an input of this type, or use a program that reads it"
            ));
        }
        "invalid_cursor" => "give the cursor unchanged, or begin without one",
        _ => {
            let is_usage = problem.exit() == Exit::Usage;
            let help = is_usage.then(|| "`outlive VERB --help` says what a verb takes".to_owned());
            return problem.hint.clone().or(help);
        }
    };
    Some(words.to_owned())
}

/// What to do about a problem, as a command and not as a request.
fn of_problem(problem: &Problem) -> Option<String> {
    let id = problem.task_id.as_deref();
    Some(match problem.code.as_str() {
        "not_found" | "input_not_found" | "removed" => "ls".to_owned(),
        "conflict" | "precondition_failed" | "steering_queue_full" | "other_definition" => {
            format!("explain {}", id?)
        }
        "not_asked" | "digest_mismatch" | "already_answered" | "expired" => "asks".to_owned(),
        "corrupt" | "store_failed" => "store verify".to_owned(),
        "no_handler" | "not_remote" => "stats".to_owned(),
        "unauthorized" => "config".to_owned(),
        "unknown_parameter" | "invalid_body" | "no_such_path" => "version".to_owned(),
        "undecodable" => format!("explain {}", id?),
        _ if problem.exit() == Exit::Usage => "help".to_owned(),
        _ => "doctor".to_owned(),
    })
}
