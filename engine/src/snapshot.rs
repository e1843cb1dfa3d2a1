//! A task as readers see it: durable, whole, without side effects.

use crate::machine::Status;
use crate::registry::Registry;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Failure, Micros, Outcome, State, TaskNumber, TaskRow, WaitReason};

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// Its handler returned; ask [`Run::result`](crate::Run::result) for the output.
    Succeeded,
    /// Its handler failed for good.
    Failed(Failure),
}

/// A task at one moment, as of its last commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The caller's id.
    pub id: TaskId,
    /// The definition's name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// What it waits for; empty while it runs and after its end.
    pub wait: Option<WaitReason>,
    /// When it is due, in microseconds since 1970 UTC; empty unless it is pending.
    pub due_at_us: Option<u64>,
    /// How it ended; empty before.
    pub ended: Option<Ended>,
    /// The last failed attempt of the current turn; cleared by success.
    pub last_failure: Option<Failure>,
    /// Changes with every transition; only grows.
    pub etag: u64,
    /// The highest lease generation it was claimed under; zero before the first claim.
    pub generation: u64,
    /// Counts the runs of the id, from 1.
    pub run: u32,
    /// Counts the turns of the run, from 1.
    pub turn: u32,
    /// Counts the attempts of the turn, from 1; zero before the first claim.
    pub attempt: u32,
    /// How often the process died during the turn.
    pub crashes: u32,
    /// The input the turn works or worked on.
    pub input_id: InputId,
    /// The engine's owner name at start.
    pub owner: String,
    /// When it was started, in microseconds since 1970 UTC.
    pub created_at_us: u64,
    /// When it last changed, in microseconds since 1970 UTC.
    pub updated_at_us: u64,
}

impl Snapshot {
    pub(crate) fn of(row: TaskRow, registry: &Registry) -> Snapshot {
        let status = Status::of(&row);
        let known = registry.get(row.def).is_some();
        let (wait, due_at, ended) = match row.state {
            // Its row says why it was put there; that nobody here could run it is known only to this program.
            State::Pending { due_at, .. } if !known => {
                (Some(WaitReason::WaitingHandler), Some(due_at), None)
            }
            State::Pending {
                due_at,
                wait: WaitReason::WaitingHandler,
            } => (Some(WaitReason::Slot), Some(due_at), None),
            State::Pending { due_at, wait } => (Some(wait), Some(due_at), None),
            State::InProgress { .. } => (None, None, None),
            State::Suspended { wait, .. } => (Some(wait), None, None),
            State::Completed { outcome, .. } => (None, None, Some(Ended::of(outcome))),
        };
        Snapshot {
            name: registry.name(row.def).to_owned(),
            id: row.id,
            status,
            wait,
            due_at_us: due_at.map(|Micros(us)| us),
            ended,
            last_failure: row.last_failure,
            etag: row.etag.0,
            generation: row.generation.0,
            run: row.run,
            turn: row.turn,
            attempt: row.attempt,
            crashes: row.crashes,
            input_id: row.input_id,
            owner: row.owner.into(),
            created_at_us: row.created_at.0,
            updated_at_us: row.updated_at.0,
        }
    }
}

impl Ended {
    fn of(outcome: Outcome) -> Ended {
        match outcome {
            Outcome::Succeeded(_) => Ended::Succeeded,
            Outcome::Failed(failure) => Ended::Failed(failure),
            // INVARIANT: this crate and the storage crate are released together.
            other => unreachable!("an outcome this version does not know: {other:?}"),
        }
    }
}

/// Where a listing goes on; opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub(crate) TaskNumber);

/// One page of a listing, newest first.
#[derive(Debug)]
#[non_exhaustive]
pub struct List {
    /// The tasks of the page.
    pub tasks: Vec<Snapshot>,
    /// Damaged rows passed over on this page: which, and what was found.
    pub damaged: Vec<outlive_storage::StoreError>,
    /// Give it to the next call; `None` at the end.
    pub next: Option<Cursor>,
}
