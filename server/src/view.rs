//! Tasks as they are shown over HTTP: names of the wire, moments as RFC 3339, values byte for byte as they are kept.

use crate::fault::wait;
use crate::names::name;
use crate::raw::{self, Raw};
use crate::times;
use outlive::{Ended, Failure, Outcome, PastRun, Snapshot, TimelineEntry};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// How a handler failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailureView {
    /// `error`, `panic` or `output`.
    #[serde(rename = "type")]
    kind: String,
    /// Its own text.
    message: String,
    /// The texts of its sources, outermost first.
    chain: Vec<String>,
    /// Attempts of the turn, counting this one.
    attempts: u32,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> FailureView {
        FailureView {
            kind: name(&failure.kind),
            message: failure.message.to_string(),
            chain: failure.chain.iter().map(ToString::to_string).collect(),
            attempts: failure.attempts,
        }
    }
}

/// How a run, or a turn, ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EndedView {
    /// `succeeded`, `suspended` (of a turn alone), `failed`, `cancelled` or `terminated`.
    pub(crate) kind: &'static str,
    /// Why it was cancelled, terminated, or suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Whether it took longer than it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    timed_out: Option<bool>,
    /// How its handler failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureView>,
}

impl EndedView {
    fn new(kind: &'static str) -> EndedView {
        EndedView {
            kind,
            reason: None,
            timed_out: None,
            error: None,
        }
    }
}

impl From<&Ended> for EndedView {
    fn from(ended: &Ended) -> EndedView {
        match ended {
            Ended::Succeeded => EndedView::new("succeeded"),
            Ended::Failed(failure) => EndedView {
                error: Some(failure.into()),
                ..EndedView::new("failed")
            },
            Ended::Cancelled { reason } => EndedView {
                reason: Some(reason.clone()),
                ..EndedView::new("cancelled")
            },
            Ended::Terminated { reason, timed_out } => EndedView {
                reason: Some(reason.clone()),
                timed_out: Some(*timed_out),
                ..EndedView::new("terminated")
            },
            // INVARIANT: this crate and the engine are released together.
            _ => EndedView::new("unknown"),
        }
    }
}

/// How the turn of an input ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultView {
    /// The task.
    pub(crate) task_id: String,
    /// The input.
    pub(crate) input_id: String,
    /// How its turn ended.
    pub(crate) outcome: EndedView,
    /// What it returned, as it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub(crate) output: Option<Raw>,
    /// Which turn of the run it was, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn: Option<u32>,
    /// Whether a further input took over at once.
    pub(crate) superseded: bool,
}

impl ResultView {
    pub(crate) fn replied(task_id: String, input_id: String, outcome: Outcome<Raw>) -> ResultView {
        let (turn, superseded) = (Some(outcome.turn()), outcome.is_superseded());
        let kind = match outcome.reason() {
            None => EndedView::new("succeeded"),
            Some(reason) => EndedView {
                reason: Some(reason.to_owned()),
                ..EndedView::new("suspended")
            },
        };
        ResultView {
            task_id,
            input_id,
            outcome: kind,
            output: Some(outcome.into_output()),
            turn,
            superseded,
        }
    }

    pub(crate) fn ended(task_id: String, input_id: String, ended: &Ended) -> ResultView {
        ResultView {
            task_id,
            input_id,
            outcome: ended.into(),
            output: None,
            turn: None,
            superseded: false,
        }
    }
}

/// What created a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceView {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    server_version: String,
}

/// One line of a task's timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineView {
    at: String,
    turn: u32,
    what: String,
}

impl From<&TimelineEntry> for TimelineView {
    fn from(entry: &TimelineEntry) -> TimelineView {
        TimelineView {
            at: times::text(entry.at_us),
            turn: entry.turn,
            what: name(&entry.what),
        }
    }
}

/// A task at one moment, as of its last commit. What is empty is left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskView {
    task_id: String,
    /// The name of its definition.
    task: String,
    /// `pending`, `in_progress`, `suspended` or `completed`.
    status: &'static str,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<EndedView>,
    /// What it waits for: `kind`, and what belongs to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<Value>,
    /// What its last turn returned, as it is kept. Lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    output: Option<Raw>,
    /// The last failed attempt of the current turn; cleared by success.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel_requested: Option<String>,
    /// By namespace. Lists leave it out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    owner: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    source: SourceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// Changes with every transition; give it in `If-Match`, in quotes.
    etag: String,
    generation: u64,
    run: u32,
    turn: u32,
    attempt: u32,
    crashes: u32,
    input_id: String,
    last_input_id: String,
    inputs_waiting: u64,
    priority: u8,
    since: String,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// The latest transitions, oldest first.
    timeline: Vec<TimelineView>,
}

impl From<Snapshot> for TaskView {
    fn from(task: Snapshot) -> TaskView {
        TaskView {
            status: task.status.as_str(),
            outcome: task.ended.as_ref().map(EndedView::from),
            wait: task.wait.as_ref().map(wait),
            output: task.output_json.as_deref().and_then(raw::of_text),
            error: task.last_failure.as_ref().map(FailureView::from),
            cancel_requested: task.cancel_requested,
            metadata: task.metadata,
            title: task.title,
            description: task.description,
            tags: task.tags,
            session_id: task.session,
            owner: task.owner,
            parent: task.parent.map(|parent| parent.to_string()),
            source: SourceView {
                kind: task.source.kind,
                name: task.source.name,
                server_version: task.source.server_version,
            },
            traceparent: task.traceparent,
            etag: task.etag.to_string(),
            generation: task.generation,
            run: task.run,
            turn: task.turn,
            attempt: task.attempt,
            crashes: task.crashes,
            input_id: task.input_id.to_string(),
            last_input_id: task.last_input_id.to_string(),
            inputs_waiting: task.inputs_waiting,
            priority: task.priority,
            since: times::text(task.since_us),
            created_at: times::text(task.created_at_us),
            updated_at: times::text(task.updated_at_us),
            due_at: task.due_at_us.map(times::text),
            deadline_at: task.deadline_us.map(times::text),
            expires_at: task.expires_at_us.map(times::text),
            timeline: task.timeline.iter().map(TimelineView::from).collect(),
            task: task.name,
            task_id: task.id.to_string(),
        }
    }
}

/// An earlier run of a task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunView {
    run: u32,
    turns: u32,
    outcome: EndedView,
    ended_at: String,
}

impl From<&PastRun> for RunView {
    fn from(past: &PastRun) -> RunView {
        RunView {
            run: past.run,
            turns: past.turns,
            outcome: (&past.ended).into(),
            ended_at: times::text(past.ended_at_us),
        }
    }
}
