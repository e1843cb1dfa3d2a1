//! What is durable in the journal and not yet in the database.
//!
//! A commit is acknowledged when its record is in the journal. The database gets it later, with many others in one lot: when
//! somebody reads what only the database can answer, when the journal is full, when the store is closed. Until then a
//! task's row and its id are answered from here.

use super::journal::Mark;
use super::lot::Lot;
use crate::id::TaskId;
use crate::plan::{Left, Plan};
use crate::row::TaskNumber;
use std::sync::Arc;

/// How far the journal is ahead of the database.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// What is being put into the database, until readers see it there.
    going: Option<Arc<Lot>>,
    /// What came after it.
    fresh: Lot,
}

impl Ahead {
    /// True when the database has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.going.is_none() && self.fresh.is_empty()
    }

    /// Adds a batch that is durable.
    pub(super) fn add(&mut self, plan: Plan<'_>, mark: Mark) {
        self.fresh.take(plan, mark);
    }

    /// How a task was left; `None` when the database knows.
    pub(super) fn left(&self, task: TaskNumber) -> Option<&Left> {
        let lots = [Some(&self.fresh), self.going.as_deref()];
        let mut nets = lots.into_iter().flatten();
        nets.find_map(|lot| lot.tasks.get(&task)).map(|net| &net.is)
    }

    /// Whose an id is; `None` when the database knows.
    pub(super) fn number(&self, id: &TaskId) -> Option<Option<TaskNumber>> {
        let lots = [Some(&self.fresh), self.going.as_deref()];
        let mut ids = lots.into_iter().flatten();
        ids.find_map(|lot| lot.ids.get(id)).copied()
    }

    /// What is to be put into the database next. It is kept until that is [done](Ahead::done).
    pub(super) fn next(&mut self) -> Option<Arc<Lot>> {
        if self.going.is_none() && !self.fresh.is_empty() {
            self.going = Some(Arc::new(std::mem::take(&mut self.fresh)));
        }
        self.going.clone()
    }

    /// The database has what was to be put into it.
    pub(super) fn done(&mut self) {
        self.going = None;
    }
}
