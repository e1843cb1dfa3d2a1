//! One line per open and per transition, with stable names and fields: `RUST_LOG=outlive=info` tells a task's life.

use crate::machine::{Claimant, Status};
use crate::meter;
use crate::telemetry::{ENGINE, TASK};
use outlive_storage::row::{EventKind, Micros, Outcome, State, TaskNumber, TaskRow};

/// Reports a transition that is durable.
pub(crate) fn transition(task: TaskNumber, row: &TaskRow, what: EventKind, name: &str) {
    meter::transition(what, name);
    if !tracing::enabled!(target: TASK, tracing::Level::INFO) {
        return;
    }
    tracing::info!(
        target: TASK,
        id = %row.id,
        name,
        task = task.0,
        what = ?what,
        status = %Status::of(row),
        detail = %detail(row),
        run = row.run,
        turn = row.turn,
        attempt = row.attempt,
        crashes = row.crashes,
        generation = row.generation.0,
        etag = row.etag.0,
        "task"
    );
}

/// How a store was opened, for the line that tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    /// Empty for a store without one.
    pub(crate) file: String,
    pub(crate) format: u32,
    pub(crate) size_bytes: u64,
    pub(crate) created: bool,
    pub(crate) repaired: bool,
    /// When the open began.
    pub(crate) began: Micros,
    /// The way to the file, if there is one.
    #[cfg(feature = "redb")]
    pub(crate) door: Option<crate::store::Door>,
}

impl Opened {
    /// Of a store of which nothing is known.
    pub(crate) fn unknown(began: Micros) -> Opened {
        Opened {
            file: String::new(),
            format: 0,
            size_bytes: 0,
            created: false,
            repaired: false,
            began,
            #[cfg(feature = "redb")]
            door: None,
        }
    }

    #[cfg(feature = "redb")]
    pub(crate) fn of(store: &std::sync::Arc<outlive_storage::RedbStore>, began: Micros) -> Opened {
        let (file, opened) = (store.path(), store.opened());
        Opened {
            file: file.display().to_string(),
            format: opened.format,
            size_bytes: opened.file_bytes,
            created: opened.created,
            repaired: opened.repaired,
            began,
            door: Some(std::sync::Arc::downgrade(store)),
        }
    }

    /// Reports that the engine is open. `clean`: the life before ended in order, or there was none.
    pub(crate) fn report(&self, claimant: &Claimant, clean: bool, now: Micros) {
        meter::describe();
        tracing::info!(
            target: ENGINE,
            version = env!("CARGO_PKG_VERSION"),
            file = self.file,
            format = self.format,
            size_bytes = self.size_bytes,
            instance = format!("{:032x}", claimant.instance),
            owner = &*claimant.owner,
            created = self.created,
            clean,
            repaired = self.repaired,
            took_us = now.0.saturating_sub(self.began.0),
            "engine.open"
        );
    }
}

fn detail(row: &TaskRow) -> String {
    match &row.state {
        State::Pending { due_at, wait } => format!("{wait:?} until {}", due_at.at.0),
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
        State::Completed {
            outcome: Outcome::Cancelled { reason, .. },
            ..
        } => format!("cancelled: {reason}"),
        State::Completed {
            outcome: Outcome::Terminated { reason, .. },
            ..
        } => format!("terminated: {reason}"),
        State::Completed { outcome, .. } => format!("{outcome:?}"),
    }
}
