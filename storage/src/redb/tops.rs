//! The greatest number and id there may be: what is greater is not there, and nobody has to look.

use crate::id::TaskId;
use crate::plan::Plan;
use crate::row::TaskNumber;

/// No task has a greater number, nor a greater id. Numbers ascend, and so do the ids that the engine makes: nearly every task
/// that begins is beyond both.
#[derive(Debug, Default)]
pub(super) struct Tops {
    number: Option<TaskNumber>,
    id: Option<TaskId>,
}

impl Tops {
    /// Of what is there.
    pub(super) fn of(number: Option<TaskNumber>, id: Option<TaskId>) -> Tops {
        Tops { number, id }
    }

    /// Takes in what a batch begins, be it committed in the end or not.
    pub(super) fn take(&mut self, plan: &Plan<'_>) {
        if cfg!(planted = "tops_stay") {
            return;
        }
        for (id, task) in &plan.ids {
            if let Some(task) = task {
                self.number = self.number.max(Some(*task));
                if self
                    .id
                    .as_ref()
                    .is_none_or(|top| id.as_str() > top.as_str())
                {
                    self.id = Some(id.clone());
                }
            }
        }
    }

    /// Nobody has this number.
    pub(super) fn is_beyond(&self, task: TaskNumber) -> bool {
        self.number.is_none_or(|top| task > top)
    }

    /// Nobody has this id.
    pub(super) fn is_beyond_id(&self, id: &TaskId) -> bool {
        self.id
            .as_ref()
            .is_none_or(|top| id.as_str() > top.as_str())
    }
}
