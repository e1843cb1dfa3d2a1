//! One line per transition, with stable names and fields: `RUST_LOG=outlive=info` tells a task's life.

use crate::machine::Status;
use outlive_storage::row::{Outcome, State, TaskNumber, TaskRow};

/// Reports a transition that is durable.
pub(crate) fn transition(task: TaskNumber, row: &TaskRow, name: &str) {
    if !tracing::enabled!(target: "outlive::task", tracing::Level::INFO) {
        return;
    }
    tracing::info!(
        target: "outlive::task",
        id = %row.id,
        name,
        task = task.0,
        status = %Status::of(row),
        detail = %detail(row),
        turn = row.turn,
        attempt = row.attempt,
        crashes = row.crashes,
        generation = row.generation.0,
        etag = row.etag.0,
        "task"
    );
}

fn detail(row: &TaskRow) -> String {
    match &row.state {
        State::Pending { due_at, wait } => format!("{wait:?} until {}", due_at.0),
        State::InProgress { .. } => format!("{:?}", row.entry),
        State::Suspended { wait, .. } => format!("{wait:?}"),
        State::Completed {
            outcome: Outcome::Succeeded(_),
            ..
        } => "succeeded".to_owned(),
        State::Completed {
            outcome: Outcome::Failed(failure),
            ..
        } => format!("failed: {}", failure.message),
        State::Completed { outcome, .. } => format!("{outcome:?}"),
    }
}
