//! What can be wrong with a run of a crash test.

use super::case::Crash;
use std::fmt;
use std::time::Duration;

/// What was wrong with a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A check did not hold; its message, or that of its panic.
    Check(String),
    /// The script ended with another result than undisturbed. Without a crash: two undisturbed runs differ, so time, chance
    /// or something kept outside of the world comes into it; where that must be so, see
    /// [`CrashTest::outcome_may_differ`](super::CrashTest::outcome_may_differ).
    Unequal {
        /// The result of the undisturbed run, as JSON.
        expected: String,
        /// The result of this run.
        found: String,
    },
    /// The script ended with an error. It is run again after a crash, and must go on as a caller would.
    Script(String),
    /// The script, or what sets up the engine, panicked.
    Panicked(String),
    /// The engine did not open.
    Open(String),
    /// The script had not ended after so much virtual time. Something waits for ever, or see
    /// [`CrashTest::deadline`](super::CrashTest::deadline).
    Endless {
        /// The deadline.
        deadline: Duration,
        /// What each unfinished task waits for.
        waits: Vec<String>,
    },
    /// The script had not ended after so much real time: something is busy without letting time pass. See
    /// [`CrashTest::patience`](super::CrashTest::patience).
    Busy {
        /// The patience.
        patience: Duration,
    },
    /// One engine made more commits than a crash test follows; work with fewer, smaller tasks.
    TooManyCommits {
        /// The limit.
        max: usize,
    },
    /// The run ended before it came to its crash, although an earlier one came that far: time, chance or something kept
    /// outside of the world decides what is committed.
    NotReached {
        /// The crash.
        crash: Crash,
        /// How many commits there were this time.
        commits: usize,
    },
    /// The undisturbed run made no commit, so there is nothing to test: the script starts no task.
    NothingCommitted,
    /// The test was made inside of an async runtime, and needs one of its own: call it from a plain `#[test]`.
    InsideRuntime,
    /// The result of the script has no JSON form.
    NoJson(String),
    /// No case is named so: give it as a failure has printed it.
    NoSuchCase(String),
    /// The system refused a runtime or a thread.
    System(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Check(message) => write!(f, "{message}"),
            Problem::Unequal { expected, found } => write!(
                f,
                "the result is not that of an undisturbed run\n  expected  {expected}\n  found     {found}"
            ),
            Problem::Script(error) => write!(f, "the script failed: {error}"),
            Problem::Panicked(message) => write!(f, "the script panicked: {message}"),
            Problem::Open(error) => write!(f, "the engine did not open: {error}"),
            Problem::Endless { deadline, waits } => {
                write!(
                    f,
                    "the script had not ended after {deadline:?} of virtual time"
                )?;
                if waits.is_empty() {
                    write!(f, "; every task had")?;
                }
                waits.iter().try_for_each(|wait| write!(f, "\n  {wait}"))
            }
            Problem::Busy { patience } => write!(
                f,
                "the script had not ended after {patience:?} of real time: something is busy and lets no time pass"
            ),
            Problem::TooManyCommits { max } => {
                write!(f, "one engine made more than {max} commits")
            }
            Problem::NotReached { crash, commits } => write!(
                f,
                "commit {} was not reached: there were only {commits} this time; name every id, and keep time and chance out of it",
                crash.commit
            ),
            Problem::NothingCommitted => f.write_str("the script committed nothing: there is nothing to test"),
            Problem::InsideRuntime => f.write_str(
                "a crash test has a runtime of its own; call it from a plain #[test], and not inside of another one",
            ),
            Problem::NoJson(error) => {
                write!(f, "the result of the script has no JSON form: {error}")
            }
            Problem::NoSuchCase(text) => write!(
                f,
                "`{text}` is no case of this test; one is written as `0:3-before`, or `0:3-before,2-after`"
            ),
            Problem::System(error) => write!(f, "the system refused: {error}"),
        }
    }
}
