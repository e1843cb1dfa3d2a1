//! What a commit does, in words.

use outlive_storage::row::{EventKind, StepState, TaskNumber, ValueKind};
use outlive_storage::{Commit, MemStore, Store, Write};

/// Most tasks of one commit that are named.
const TASKS_MAX: usize = 4;

/// What a batch does to its tasks, one after the other.
pub(super) fn of(batch: &[Commit], store: &MemStore) -> String {
    let mut said: Vec<String> = (batch.iter().take(TASKS_MAX))
        .map(|commit| format!("{}: {}", name(commit, store), what(&commit.writes)))
        .collect();
    if batch.len() > TASKS_MAX {
        said.push(format!("and {} tasks more", batch.len() - TASKS_MAX));
    }
    said.join("; ")
}

/// The id of the task, as its caller knows it.
fn name(commit: &Commit, store: &MemStore) -> String {
    let written = commit.writes.iter().find_map(|write| {
        if let Write::Row(row) = write {
            return Some(row.id.to_string());
        }
        None
    });
    written
        .or_else(|| Some(store.get(commit.task).ok()??.id.to_string()))
        .unwrap_or_else(|| {
            let TaskNumber(number) = commit.task;
            format!("task number {number}")
        })
}

fn what(writes: &[Write]) -> String {
    let mut said: Vec<String> = writes.iter().filter_map(phrase).collect();
    said.dedup();
    if said.is_empty() {
        return "kept what is beside it".to_owned();
    }
    said.join(", ")
}

/// What a reader wants to know of one write; the others go with these.
fn phrase(write: &Write) -> Option<String> {
    match write {
        Write::Event(event) => Some(spaced(event.kind)),
        Write::Step { key, step, .. } => Some(match step.state {
            StepState::Begun => format!("step `{key}` begun"),
            StepState::Done => format!("step `{key}` recorded"),
            StepState::Sleeping { .. } => format!("sleep `{key}` begun"),
            StepState::Asked { .. } => format!("question `{key}` asked"),
            StepState::Answered { .. } => format!("question `{key}` answered"),
            StepState::Expired { .. } => format!("question `{key}` expired"),
        }),
        Write::RemoveStep { key, .. } => Some(format!("step `{key}` did not happen")),
        Write::Segment { segment, .. } => {
            Some(format!("stream entries: {}", segment.entries.len()))
        }
        Write::Value { key, .. } if key.kind == ValueKind::Metadata => Some("metadata kept".into()),
        Write::ChildEnded(_) => Some("end of a child counted".into()),
        Write::FamilyOver { .. } => Some("turn with children over".into()),
        Write::Row(_)
        | Write::Value { .. }
        | Write::RemoveValue(_)
        | Write::PushInput { .. }
        | Write::PopInput { .. }
        | Write::Receipt { .. }
        | Write::KeepReceipt { .. }
        | Write::RemoveReceipt { .. }
        | Write::Turn { .. }
        | Write::ForgetSteps { .. }
        | Write::Ask { .. }
        | Write::RemoveAsk { .. }
        | Write::RemoveAsks
        | Write::Run(_)
        | Write::EvictSegments { .. }
        | Write::RemoveTask => None,
    }
}

/// The name of a transition as words: `InputQueued` is `input queued`.
fn spaced(kind: EventKind) -> String {
    let mut words = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
