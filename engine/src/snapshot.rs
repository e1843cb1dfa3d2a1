//! A task as readers see it: durable, whole, without side effects.

use crate::facts::TASK_TAG;
use crate::machine::Status;
use crate::registry::Registry;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    Deadline, EventKind, Failure, Micros, Outcome, RunRow, State, TaskRow, WaitReason,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All metadata of a task, by namespace.
pub type MetadataMap = BTreeMap<String, serde_json::Map<String, serde_json::Value>>;

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Ended {
    /// Its handler returned; the output is in [`Snapshot::output`].
    Succeeded,
    /// Its handler failed for good.
    Failed(Failure),
    /// It was cancelled.
    Cancelled {
        /// The reason given.
        reason: String,
    },
    /// It was stopped without its handler.
    Terminated {
        /// The reason given, or the limit that was passed.
        reason: String,
        /// True for a time-out.
        timed_out: bool,
    },
}

/// What created a task. Nobody outside the engine can set it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// Always `outlive.task`.
    pub kind: &'static str,
    /// The definition's name.
    pub name: String,
    /// The version of the library.
    pub server_version: String,
}

/// One line of a task's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineEntry {
    /// When, in microseconds since 1970 UTC.
    pub at_us: u64,
    /// In which turn, from 1.
    pub turn: u32,
    /// What.
    pub what: EventKind,
}

/// An earlier run of a task that was restarted or retried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PastRun {
    /// The run, from 1.
    pub run: u32,
    /// How many turns it had.
    pub turns: u32,
    /// How it ended.
    pub ended: Ended,
    /// When, in microseconds since 1970 UTC.
    pub ended_at_us: u64,
}

/// A task at one moment, as of its last commit.
#[derive(Debug, Clone, PartialEq)]
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
    /// Since when it is as it is: pending and running since the last change, suspended and ended since then; in
    /// microseconds since 1970 UTC.
    pub since_us: u64,
    /// When it is due, in microseconds since 1970 UTC, by the clock as it was when that was written down; empty unless it
    /// is pending and due by itself. [`Engine::explain`](crate::Engine::explain) tells what the clock will show then, if it
    /// has jumped in between.
    pub due_at_us: Option<u64>,
    /// When the running turn's time-out falls, in microseconds since 1970 UTC, by the clock as it was when that was
    /// written down; empty without one.
    pub deadline_us: Option<u64>,
    /// How it ended; empty before.
    pub ended: Option<Ended>,
    /// What its last turn returned, if it has ended with an output or is suspended after one. Listings leave it
    /// out: ask for the task.
    pub output: Option<serde_json::Value>,
    /// The text of [`Snapshot::output`], byte for byte as it is kept: a number that `f64` cannot hold and the order of a
    /// map are in it alone.
    pub output_json: Option<Box<str>>,
    /// The last failed attempt of the current turn; cleared by success.
    pub last_failure: Option<Failure>,
    /// The reason of a cancel that the running turn has not yet answered.
    pub cancel_requested: Option<String>,
    /// All metadata. Listings leave it out: ask for the task.
    pub metadata: MetadataMap,
    /// The title.
    pub title: Option<String>,
    /// The description.
    pub description: Option<String>,
    /// The tags, with `outlive.task`.
    pub tags: BTreeMap<String, String>,
    /// The session.
    pub session: Option<String>,
    /// The owner name of the engine that created it.
    pub owner: String,
    /// The task whose open turn started it; empty when nobody's did, and when that turn is over.
    pub parent: Option<TaskId>,
    /// What created it.
    pub source: Source,
    /// The W3C trace context of the call that created it.
    pub traceparent: Option<String>,
    /// Changes with every transition; only grows.
    pub etag: u64,
    /// The highest lease generation it was claimed or fenced under; zero before the first claim.
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
    /// The last accepted input: the one to name in [`Start::after`](crate::Start::after).
    pub last_input_id: InputId,
    /// How many inputs wait for a turn.
    pub inputs_waiting: u64,
    /// Rank among due tasks, 0 first to 7 last.
    pub priority: u8,
    /// When it was started, in microseconds since 1970 UTC.
    pub created_at_us: u64,
    /// When it last changed, in microseconds since 1970 UTC.
    pub updated_at_us: u64,
    /// When retention may remove it, in microseconds since 1970 UTC; empty before its end, and when it is kept
    /// until somebody deletes it.
    pub expires_at_us: Option<u64>,
    /// The latest transitions, oldest first, at most 16.
    pub timeline: Vec<TimelineEntry>,
}

impl Snapshot {
    /// Without output and metadata, which lie beside the row.
    pub(crate) fn of(row: TaskRow, registry: &Registry) -> Snapshot {
        let name = registry.name(row.def).to_owned();
        let source = Source::of(&row, &name);
        let status = Status::of(&row);
        let seen = Seen::of(row.state, registry.get(row.def).is_some(), row.updated_at);
        let facts = Arc::unwrap_or_clone(row.facts);
        let text = |text: Option<Box<str>>| text.map(String::from);
        let mut tags: BTreeMap<String, String> = facts
            .tags
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        tags.insert(TASK_TAG.to_owned(), name.clone());
        let timeline = row.timeline.iter().map(|mark| TimelineEntry {
            at_us: mark.at.0,
            turn: mark.turn,
            what: mark.what,
        });
        Snapshot {
            name,
            status,
            wait: seen.wait,
            since_us: seen.since.0,
            due_at_us: seen.due_at.and_then(|due| real(due.at)),
            deadline_us: real(row.deadline.at),
            ended: seen.ended,
            output: None,
            output_json: None,
            last_failure: row.last_failure,
            cancel_requested: row.cancel.map(|cancel| cancel.reason.into()),
            metadata: MetadataMap::new(),
            title: text(facts.title),
            description: text(facts.description),
            tags,
            session: text(facts.session),
            owner: facts.owner.to_string(),
            parent: row.parent.map(|parent| parent.id),
            source,
            traceparent: text(facts.traceparent),
            etag: row.etag.0,
            generation: row.generation.0,
            run: row.run,
            turn: row.turn,
            attempt: row.attempt,
            crashes: row.crashes,
            last_input_id: row.last_input_id.unwrap_or_else(|| row.input_id.clone()),
            input_id: row.input_id,
            inputs_waiting: row.inputs_waiting,
            priority: row.priority.rank(),
            created_at_us: row.created_at.0,
            updated_at_us: row.updated_at.0,
            expires_at_us: seen.expires_at.and_then(real),
            timeline: timeline.collect(),
            id: row.id,
        }
    }
}

/// What a reader sees of a row's state.
struct Seen {
    wait: Option<WaitReason>,
    since: Micros,
    due_at: Option<Deadline>,
    ended: Option<Ended>,
    expires_at: Option<Micros>,
}

impl Seen {
    fn of(state: State, known: bool, updated_at: Micros) -> Seen {
        let mut seen = Seen {
            wait: None,
            since: updated_at,
            due_at: None,
            ended: None,
            expires_at: None,
        };
        match state {
            State::Pending { due_at, wait } => {
                seen.due_at = Some(due_at);
                // Its row says why it was put there; that nobody here could run it is known only to this program.
                seen.wait = Some(match wait {
                    WaitReason::WaitingHandler if known => WaitReason::Slot,
                    WaitReason::Isolated { deaths } => WaitReason::Isolated { deaths },
                    _ if !known => WaitReason::WaitingHandler,
                    wait => wait,
                });
            }
            State::InProgress { .. } => {}
            State::Suspended { since, wait } => {
                seen.since = since;
                seen.wait = Some(wait);
            }
            State::Completed {
                at,
                outcome,
                expires_at,
            } => {
                seen.since = at;
                seen.ended = Some(Ended::of(outcome));
                seen.expires_at = Some(expires_at);
            }
        }
        seen
    }
}

/// A moment, unless it stands for "not by time".
fn real(at: Micros) -> Option<u64> {
    (at < Micros::ISOLATED).then_some(at.0)
}

impl Source {
    pub(crate) fn of(row: &TaskRow, name: &str) -> Source {
        Source {
            kind: TASK_TAG,
            name: name.to_owned(),
            server_version: row.facts.server_version.to_string(),
        }
    }
}

impl PastRun {
    pub(crate) fn of(row: RunRow) -> PastRun {
        PastRun {
            run: row.run,
            turns: row.turns,
            ended: Ended::of(row.outcome),
            ended_at_us: row.ended_at.0,
        }
    }
}

impl Ended {
    pub(crate) fn of(outcome: Outcome) -> Ended {
        match outcome {
            Outcome::Succeeded(_) => Ended::Succeeded,
            Outcome::Failed(failure) => Ended::Failed(failure),
            Outcome::Cancelled { reason, .. } => Ended::Cancelled {
                reason: reason.into(),
            },
            Outcome::Terminated { reason, timed_out } => Ended::Terminated {
                reason: reason.into(),
                timed_out,
            },
            // INVARIANT: this crate and the storage crate are released together.
            other => unreachable!("an outcome this version does not know: {other:?}"),
        }
    }
}
