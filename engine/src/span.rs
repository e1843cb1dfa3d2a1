//! The span in which a handler runs: whatever it tells can be found by its task, its attempt and its caller's trace.

use crate::telemetry::TASK;
use outlive_storage::row::{EntryKind, Generation, TaskRow};
use tracing::Span;

/// The span of one call of a handler. It has no parent here: its caller is another process, perhaps of another day, and
/// is named by `traceparent`.
pub(crate) fn attempt(row: &TaskRow, generation: Generation, name: &str) -> Span {
    let generation = if cfg!(planted = "span_without_generation") {
        0
    } else {
        generation.0
    };
    tracing::info_span!(
        target: TASK,
        parent: None,
        // `telemetry::ATTEMPT`, which a span wants as a literal.
        "outlive.attempt",
        id = %row.id,
        name,
        run = row.run,
        turn = row.turn,
        attempt = row.attempt,
        entry = entry(row.entry),
        generation,
        traceparent = row.facts.traceparent.as_deref(),
    )
}

/// The stable name of why a handler was entered.
fn entry(entry: EntryKind) -> &'static str {
    match entry {
        EntryKind::Fresh => "fresh",
        EntryKind::Resumed => "resumed",
        EntryKind::Retried => "retried",
        EntryKind::Recovered => "recovered",
    }
}
