//! What the writer knows of questions, ahead of the store only within a batch.

use crate::machine::Question;
use foldhash::{HashMap, HashSet};
use outlive_storage::row::{StepRow, StepState, TaskNumber, TaskRow};
use outlive_storage::{Store, StoreError, Write};

/// The questions that the batch at hand has touched.
#[derive(Default)]
pub(crate) struct Questions {
    /// `None`: nothing is known of it any more, whatever the store still shows.
    fresh: HashMap<(TaskNumber, Box<str>), Option<Question>>,
    /// Tasks of which the store still shows questions that are not open any more.
    withdrawn: HashSet<TaskNumber>,
}

impl Questions {
    /// What is known of a question of the task's open turn.
    ///
    /// # Errors
    /// What the store fails with.
    pub(crate) fn find(
        &self,
        store: &dyn Store,
        (task, row): (TaskNumber, &TaskRow),
        key: &str,
    ) -> Result<Option<Question>, StoreError> {
        if let Some(known) = self.fresh.get(&(task, key.into())) {
            return Ok(known.clone());
        }
        // Most tasks never ask.
        if row.asked
            && !self.withdrawn.contains(&task)
            && let Some(ask) = store.ask(task, key)?
        {
            return Ok(Some(Question::Open(Box::new(ask))));
        }
        let step = store.step(task, row.steps_of, key)?;
        Ok(step.and_then(|step| closed(&step)))
    }

    /// The questions as this batch leaves them.
    pub(crate) fn note(&mut self, task: TaskNumber, write: &Write) {
        match write {
            Write::Ask { key, ask } => {
                let open = Question::Open(ask.clone());
                self.fresh.insert((task, key.clone()), Some(open));
            }
            // It comes with its answer, which is noted.
            Write::RemoveAsk { .. } => {}
            Write::Step { key, step, .. } => {
                if let Some(closed) = closed(step) {
                    self.fresh.insert((task, key.clone()), Some(closed));
                }
            }
            Write::RemoveAsks => {
                self.withdrawn.insert(task);
                self.forget(task, |known| matches!(known, Some(Question::Open(_))));
            }
            // From here on the row names another turn's.
            Write::ForgetSteps { .. } => self.forget(task, |_| true),
            Write::Row(_)
            | Write::Value { .. }
            | Write::RemoveValue(_)
            | Write::PushInput { .. }
            | Write::PopInput { .. }
            | Write::Receipt { .. }
            | Write::KeepReceipt { .. }
            | Write::RemoveReceipt { .. }
            | Write::Turn { .. }
            | Write::RemoveStep { .. }
            | Write::Run(_)
            | Write::Segment { .. }
            | Write::EvictSegments { .. }
            | Write::ChildEnded(_)
            | Write::FamilyOver { .. }
            | Write::Event(_)
            | Write::RemoveTask => {}
        }
    }

    fn forget(&mut self, task: TaskNumber, which: impl Fn(&Option<Question>) -> bool) {
        for ((asker, _), known) in &mut self.fresh {
            if *asker == task && which(known) {
                *known = None;
            }
        }
    }

    /// The batch is durable: the store shows everything.
    pub(crate) fn clear(&mut self) {
        self.fresh.clear();
        self.withdrawn.clear();
    }
}

/// What a step tells of a question that is not open any more.
fn closed(step: &StepRow) -> Option<Question> {
    match step.state {
        StepState::Answered { .. } => Some(Question::Answered(step.value.clone())),
        StepState::Expired { .. } => Some(Question::Expired),
        StepState::Begun
        | StepState::Done
        | StepState::Sleeping { .. }
        | StepState::Asked { .. } => None,
    }
}
