//! The lives of the file: how each process that held a turn went.

use crate::machine::Parting;
use crate::registry::Registry;
use crate::telemetry::STORE;
use outlive_storage::row::{GuardPhase, LifeRow, Micros};
use outlive_storage::{Store, StoreError};

/// The lives before this one, newest first.
#[derive(Debug, Clone)]
pub(crate) struct Lives {
    before: Vec<LifeRow>,
}

impl Lives {
    /// Reads the lives before, and puts down this one: from here on its end is known to the next. One in which nothing
    /// can run kills nobody and disproves nothing, so it leaves no trace: the next one acts on the death before it.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written.
    pub(crate) fn begin(
        store: &dyn Store,
        instance: u128,
        (phase, registry): (GuardPhase, &Registry),
        now: Micros,
    ) -> Result<(Lives, Option<LifeRow>), StoreError> {
        let before = match store.lives() {
            // Who reads the file for its tasks is not kept from them by a note on an earlier process.
            Err(error) if error.is_of_one_entry() => {
                tracing::error!(target: STORE, %error, "what is known of earlier lives is lost");
                Vec::new()
            }
            read => read?,
        };
        let life = LifeRow {
            instance,
            opened_at: now,
            phase,
            stopped_at: None,
        };
        let runs = !registry.defs().is_empty();
        let life = (runs || cfg!(planted = "idle_life_counts")).then_some(life);
        if let Some(life) = &life {
            store.put_life(life)?;
        }
        Ok((Lives { before }, life))
    }

    /// How the process of this instance went. One nobody remembers died.
    pub(crate) fn parting(&self, instance: u128) -> Parting {
        match self.of(instance).and_then(|life| life.stopped_at) {
            Some(_) => Parting::Stopped,
            None => Parting::Died,
        }
    }

    /// In which phase the process of this instance died. Empty when it stopped, or nobody remembers it.
    pub(crate) fn died_in(&self, instance: u128) -> Option<GuardPhase> {
        self.of(instance).and_then(died_in)
    }

    /// In which phase the process before this one died. Empty when it stopped, or there was none.
    pub(crate) fn last_died_in(&self) -> Option<GuardPhase> {
        self.before.first().and_then(died_in)
    }

    /// Whether the process before this one, if there was one, stopped in order.
    pub(crate) fn ended_in_order(&self) -> bool {
        self.last_died_in().is_none()
    }

    fn of(&self, instance: u128) -> Option<&LifeRow> {
        self.before.iter().find(|life| life.instance == instance)
    }
}

fn died_in(life: &LifeRow) -> Option<GuardPhase> {
    life.stopped_at.is_none().then_some(life.phase)
}
