//! A moment at which a life may begin: what is on the disk, and what is known of the lives before.

use super::disk::Pages;
use super::dump::{Dump, Given};
use super::facts::{Fact, What, is_answered};
use super::handler::Past;
use super::script::{Call, Plan};
use super::witness::Op;
use outlive_storage::MemStore;
use outlive_storage::id::InputId;
use outlive_storage::redb::RedbOptions;
use outlive_storage::row::StepState;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::Instant;

/// The store's cache: the files are small.
const CACHE: usize = 1 << 20;
/// Numbers of steps per life: no two lives share one.
const SERIALS: u64 = 1 << 20;

/// One call that was made.
#[derive(Debug, Clone)]
pub struct Issued {
    /// At which line of the journal of its life.
    pub at: usize,
    /// The call.
    pub call: Arc<Call>,
    /// At which line it was answered.
    pub answered: Option<usize>,
}

/// Where a life may begin.
#[derive(Debug, Clone, Default)]
pub struct Branch {
    /// What is on the disk.
    pub pages: Pages,
    /// All that was written to come there.
    pub ops: Vec<Arc<Op>>,
    /// What was told, and lasts.
    pub facts: Vec<Fact>,
    /// Tasks that may be gone.
    pub may_be_gone: BTreeSet<Box<str>>,
    /// Tasks that may have begun a further run, or whose ids were used again.
    pub anew: BTreeSet<Box<str>>,
    /// All calls so far.
    pub calls: Vec<Issued>,
    /// What handlers know of the lives before.
    pub past: Past,
    /// When, on the clock of the lives before.
    pub now: Option<Instant>,
    /// How many lives there were.
    pub lives: u64,
    /// Whether commits save what a quick repair needs.
    pub quick_repair: bool,
    /// Bytes of the journal; zero without one.
    pub journal_bytes: u32,
}

impl Branch {
    /// How the file is opened.
    pub fn options(&self) -> RedbOptions {
        RedbOptions {
            cache_bytes: CACHE,
            quick_repair: self.quick_repair,
            journal_bytes: self.journal_bytes,
            ..RedbOptions::default()
        }
    }

    /// The reference, as far as the disk is.
    pub fn reference(&self) -> MemStore {
        let store = MemStore::new();
        for op in &self.ops {
            op.apply(&store);
        }
        store
    }

    /// The tasks the callers know.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for issued in &self.calls {
            plan.add(&issued.call);
        }
        plan
    }

    /// The calls that are to be made again, by their numbers.
    pub fn unanswered(&self) -> Vec<usize> {
        let plan = self.plan();
        // Begun again after its removal, it would be another task.
        let is_settled = |task: &str| {
            let known = plan.0.get(task);
            known.is_some_and(|known| known.deleted || known.again)
        };
        let calls = self.calls.iter().enumerate();
        let again = calls.filter(|(_, issued)| {
            issued.answered.is_none()
                && match &*issued.call {
                    Call::Start { task, .. } => !is_settled(task),
                    Call::Cancel(task) | Call::Delete(task) | Call::Withdraw { task, .. } => {
                        plan.0.get(task).is_none_or(|known| !known.again)
                    }
                    Call::Hear { .. } | Call::Retry(..) | Call::AnswerAll | Call::Look(_) => false,
                }
        });
        again.map(|(number, _)| number).collect()
    }

    /// The ids of the inputs of these calls.
    pub fn given(calls: &[Issued]) -> Given {
        let mut given = Given::new();
        for issued in calls {
            if let Call::Start { task, job, .. } = &*issued.call {
                let input = InputId::new(&job.label).expect("an id");
                given.entry(task.clone()).or_default().insert(input);
            }
        }
        given
    }

    /// Adds to what handlers know what the disk has, and what was told.
    pub fn learn(&mut self, dump: &Dump) {
        self.past.serial = self.lives * SERIALS;
        self.past.forget(&self.anew);
        for fact in &self.facts {
            let task = fact.task.to_string();
            // One that went may have been begun anew.
            let is_sure = !self.may_be_gone.contains(task.as_str());
            if let Some(generation) = fact.generation() {
                let known = self.past.generations.entry(task.clone()).or_default();
                *known = (*known).max(generation);
            }
            if let What::Step { input, key, .. } = &fact.what
                && is_sure
            {
                let step = (task.clone(), input.to_string(), key.clone());
                self.past.recorded.insert(step);
            }
            if let What::Answered { input, .. } = &fact.what
                && is_sure
            {
                let answered = (task, input.to_string());
                self.past.answered.insert(answered);
            }
        }
        for whole in dump.tasks.values() {
            let (task, input) = (whole.row.id.to_string(), whole.row.input_id.to_string());
            let known = self.past.generations.entry(task.clone()).or_default();
            *known = (*known).max(whole.row.generation.0);
            if whole.is_open() {
                let done = whole.steps.iter();
                let done = done.filter(|(_, step)| step.state == StepState::Done);
                let steps = done.map(|(key, _)| (task.clone(), input.clone(), key.to_string()));
                self.past.recorded.extend(steps);
            }
            for (input, _) in &whole.receipts {
                if is_answered(whole, input) {
                    let answered = (task.clone(), input.to_string());
                    self.past.answered.insert(answered);
                }
            }
        }
    }
}
