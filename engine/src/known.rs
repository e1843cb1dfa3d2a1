//! What the writer knows of tasks, ahead of the store only within a batch.

use crate::machine::{Event, Question};
use crate::questions::Questions;
use crate::writer::Target;
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Etag, Family, InputRow, Receipt, State, TaskNumber, TaskRow};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{Store, StoreError, Write};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A task as the batch at hand has left it.
pub(crate) struct Live {
    pub(crate) row: Arc<TaskRow>,
    /// The inputs that wait and those the open turn has taken, oldest first: all of them, for they are no more than a
    /// page.
    pub(crate) waiting: VecDeque<(u64, InputRow)>,
}

impl Live {
    /// A new input goes to the end; one that is there is replaced where it stands.
    fn push(&mut self, seq: u64, input: &InputRow) {
        let mut waiting = self.waiting.iter_mut();
        match waiting.find(|(there, _)| *there == seq) {
            Some((_, there)) => *there = input.clone(),
            None => self.waiting.push_back((seq, input.clone())),
        }
    }
}

/// Running tasks, and whatever the batch at hand has touched.
pub(crate) struct Known {
    store: Arc<dyn Store>,
    live: HashMap<TaskNumber, Live>,
    /// Those of them that were loaded or changed since the last batch was settled: of the others it is known that they run.
    touched: Vec<TaskNumber>,
    /// Ids and receipts written by the batch at hand, which the store cannot show yet.
    fresh_ids: HashMap<TaskId, TaskNumber>,
    fresh_receipts: HashMap<(TaskNumber, InputId), Receipt>,
    fresh_questions: Questions,
    /// How often children of these turns end in the batch at hand.
    fresh_ends: HashMap<Family, u64>,
    /// Tasks and ids removed by the batch at hand, which the store still shows.
    gone: HashSet<TaskNumber>,
    gone_ids: HashSet<TaskId>,
}

impl Known {
    pub(crate) fn new(store: Arc<dyn Store>) -> Known {
        Known {
            store,
            live: HashMap::new(),
            touched: Vec::new(),
            fresh_ids: HashMap::new(),
            fresh_receipts: HashMap::new(),
            fresh_questions: Questions::default(),
            fresh_ends: HashMap::new(),
            gone: HashSet::new(),
            gone_ids: HashSet::new(),
        }
    }

    /// The task, if there is one and it was loaded.
    pub(crate) fn get(&self, task: TaskNumber) -> Option<&Live> {
        self.live.get(&task)
    }

    /// These tasks are damaged: the store is to be asked each time.
    pub(crate) fn drop_damaged(&mut self, damaged: &HashMap<TaskNumber, StoreError>) {
        self.live.retain(|task, _| !damaged.contains_key(task));
    }

    /// The number of the task an event is for; a new one is the etag its start would get.
    ///
    /// # Errors
    /// What the store fails with.
    pub(crate) fn locate(&self, target: &Target, last: Etag) -> Result<TaskNumber, StoreError> {
        let unborn = TaskNumber(last.0 + 1);
        let id = match target {
            Target::Number(task) => return Ok(*task),
            Target::Unborn => return Ok(unborn),
            Target::Id(id) => id,
        };
        if let Some(task) = self.fresh_ids.get(id) {
            return Ok(*task);
        }
        if self.gone_ids.contains(id) {
            return Ok(unborn);
        }
        Ok(self.store.find(id)?.unwrap_or(unborn))
    }

    /// Makes sure the writer knows the task as this batch has left it.
    ///
    /// # Errors
    /// What the store fails with.
    pub(crate) fn load(&mut self, task: TaskNumber, last: Etag) -> Result<(), StoreError> {
        // A number above the last etag was not given yet, so the store need not be asked.
        if task.0 > last.0 || self.gone.contains(&task) || self.live.contains_key(&task) {
            return Ok(());
        }
        let Some(row) = self.store.get(task)? else {
            return Ok(());
        };
        let taken = row.inputs_taken > 0 && !cfg!(planted = "taken_inputs_unknown");
        let waiting = if row.inputs_waiting > 0 || taken {
            self.store.inputs(task, PAGE_MAX)?.into()
        } else {
            VecDeque::new()
        };
        let row = Arc::new(row);
        self.live.insert(task, Live { row, waiting });
        self.touched.push(task);
        Ok(())
    }

    /// The receipt of the input an event names.
    ///
    /// # Errors
    /// What the store fails with.
    pub(crate) fn receipt(
        &self,
        task: TaskNumber,
        event: &Event,
    ) -> Result<Option<Receipt>, StoreError> {
        let Some(input_id) = event.named_input() else {
            return Ok(None);
        };
        let several = self.live.get(&task);
        // A task of one input keeps its receipt in its row.
        if !several.is_some_and(|live| live.row.inputs_accepted > 1 || live.row.run > 1) {
            return Ok(None);
        }
        if let Some(receipt) = self.fresh_receipts.get(&(task, input_id.clone())) {
            return Ok(Some(receipt.clone()));
        }
        self.store.receipt(task, input_id)
    }

    /// What is known of the question an event names.
    ///
    /// # Errors
    /// What the store fails with.
    pub(crate) fn question(
        &self,
        task: TaskNumber,
        event: &Event,
    ) -> Result<Option<Question>, StoreError> {
        let named = event.named_question();
        let (Some(key), Some(live)) = (named, self.live.get(&task)) else {
            return Ok(None);
        };
        self.fresh_questions
            .find(&*self.store, (task, &live.row), key)
    }

    /// How often children of the task's turn have ended, as the batch leaves it.
    ///
    /// # Errors
    /// What the store fails with.
    pub(crate) fn ended_children(&self, task: TaskNumber) -> Result<u64, StoreError> {
        let Some(live) = self.live.get(&task).filter(|live| live.row.has_children) else {
            return Ok(0);
        };
        let family = live.row.family(task);
        let fresh = self.fresh_ends.get(&family).copied().unwrap_or_default();
        Ok(self.store.ended_children(family)? + fresh)
    }

    /// The parents of whom children end in the batch at hand, in the same order each time.
    pub(crate) fn parents(&self) -> BTreeSet<TaskNumber> {
        let families = self.fresh_ends.keys();
        families.map(|family| family.task).collect()
    }

    /// The task as this batch leaves it.
    pub(crate) fn remember(&mut self, task: TaskNumber, row: &Arc<TaskRow>, writes: &[Write]) {
        let live = self.live.entry(task).or_insert_with(|| {
            self.fresh_ids.insert(row.id.clone(), task);
            let waiting = VecDeque::new();
            Live {
                row: Arc::clone(row),
                waiting,
            }
        });
        live.row = Arc::clone(row);
        self.touched.push(task);
        self.note(task, writes);
        debug_assert!(self.live.get(&task).is_some_and(|live| {
            live.waiting.len() as u64 == live.row.inputs_waiting + live.row.inputs_taken
        }));
    }

    /// The receipts and the queue as this batch leaves them.
    pub(crate) fn note(&mut self, task: TaskNumber, writes: &[Write]) {
        let mut live = self.live.get_mut(&task);
        for write in writes {
            self.fresh_questions.note(task, write);
            match write {
                Write::Receipt {
                    input_id, receipt, ..
                } => {
                    let of = (task, input_id.clone());
                    self.fresh_receipts.insert(of, receipt.clone());
                }
                Write::PushInput { seq, input } => {
                    if let Some(live) = &mut live {
                        live.push(*seq, input);
                    }
                }
                Write::PopInput { seq } => {
                    if let Some(live) = &mut live {
                        live.waiting.retain(|(waiting, _)| waiting != seq);
                    }
                }
                Write::ChildEnded(family) => *self.fresh_ends.entry(*family).or_default() += 1,
                Write::Row(_)
                | Write::Value { .. }
                | Write::RemoveValue(_)
                | Write::KeepReceipt { .. }
                | Write::RemoveReceipt { .. }
                | Write::Turn { .. }
                | Write::Step { .. }
                | Write::RemoveStep { .. }
                | Write::ForgetSteps { .. }
                | Write::Ask { .. }
                | Write::RemoveAsk { .. }
                | Write::RemoveAsks
                | Write::Run(_)
                | Write::Segment { .. }
                | Write::EvictSegments { .. }
                | Write::FamilyOver { .. }
                | Write::Event(_)
                | Write::RemoveTask => {}
            }
        }
    }

    /// The task is removed by this batch.
    pub(crate) fn forget(&mut self, task: TaskNumber) {
        self.gone.insert(task);
        if let Some(live) = self.live.remove(&task) {
            self.fresh_ids.remove(&live.row.id);
            self.gone_ids.insert(live.row.id.clone());
        }
    }

    /// The batch never was: everything is read from the store again.
    pub(crate) fn forget_all(&mut self) {
        self.settle();
        if !cfg!(planted = "refused_batch_remembered") {
            self.live.clear();
        }
    }

    /// The batch is durable: what the store shows now need not be remembered, except what runs.
    pub(crate) fn settle(&mut self) {
        self.fresh_ids.clear();
        self.fresh_receipts.clear();
        self.fresh_questions.clear();
        self.fresh_ends.clear();
        self.gone.clear();
        self.gone_ids.clear();
        // Not the whole table: thousands may run, and each batch comes by here.
        for task in self.touched.drain(..) {
            let runs = |live: &Live| matches!(live.row.state, State::InProgress { .. });
            if self.live.get(&task).is_some_and(|live| !runs(live)) {
                self.live.remove(&task);
            }
        }
    }
}
