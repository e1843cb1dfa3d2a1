//! The tables in memory, and what a batch writes to them.

use super::asks::Asks;
use super::families::Families;
use super::hanging::Hanging;
use crate::commit::Write;
use crate::due::DueKey;
use crate::header::{Entry, Header};
use crate::id::{InputId, TaskId};
use crate::plan::{Accepted, Plan, Removed, Rows, SWEPT_AT_ONCE};
use crate::receipt::KeptReceipt;
use crate::row::{
    DefNumber, Etag, EventRow, Family, Generation, IndexRow, LifeRow, Micros, TaskNumber, TaskRow,
};
use crate::store::{Counters, EventPage, EventsKept, PAGE_MAX, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What the tables of the file are, as maps and sets.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) tasks: BTreeMap<TaskNumber, TaskRow>,
    ids: BTreeMap<TaskId, TaskNumber>,
    definitions: Vec<Box<str>>,
    pub(super) by_definition: BTreeSet<(u32, u64)>,
    pub(super) by_label: BTreeSet<(u32, Box<str>, u64)>,
    pub(super) due: BTreeSet<DueKey>,
    pub(super) running: BTreeSet<u64>,
    pub(super) expiry: BTreeSet<(u64, u64)>,
    pub(super) receipt_expiry: BTreeSet<(Micros, TaskNumber, InputId)>,
    /// What hangs on tasks, those on `garbage` included.
    hanging: BTreeMap<TaskNumber, Hanging>,
    pub(super) families: Families,
    garbage: BTreeSet<TaskNumber>,
    pub(super) asks: Asks,
    /// Turns whose steps nobody asks for any more.
    old_steps: BTreeSet<(TaskNumber, u64)>,
    events: BTreeMap<Etag, EventRow>,
    trimmed: Etag,
    lives: BTreeMap<u64, LifeRow>,
    pub(super) indexes: Vec<IndexRow>,
    etag: Etag,
    generation: Generation,
}

impl Tables {
    pub(super) fn ids(&self, prefix: &str, limit: usize) -> Vec<TaskId> {
        let known = self.ids.keys();
        let wanted = known.filter(|id| id.as_str().starts_with(prefix));
        wanted.take(limit).cloned().collect()
    }
}

impl Rows for Tables {
    fn number(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        Ok(self.ids.get(id).copied())
    }

    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header, StoreError>>, StoreError> {
        Ok(self.tasks.get(&task).map(|row| Ok(Header::of(row))))
    }

    fn row(
        &self,
        task: TaskNumber,
    ) -> Result<Result<Option<Box<TaskRow>>, StoreError>, StoreError> {
        Ok(Ok(self.tasks.get(&task).cloned().map(Box::new)))
    }
}

impl Tables {
    pub(super) fn counters(&self) -> Counters {
        Counters {
            etag: self.etag,
            generation: self.generation,
        }
    }

    pub(super) fn define(&mut self, name: &str) -> DefNumber {
        let known = self.definitions.iter().position(|known| &**known == name);
        let at = known.unwrap_or_else(|| {
            self.definitions.push(name.into());
            self.definitions.len() - 1
        });
        DefNumber(at as u32 + 1)
    }

    pub(super) fn definitions(&self) -> Vec<(DefNumber, Box<str>)> {
        let numbered = self.definitions.iter().zip(1..);
        numbered
            .map(|(name, number)| (DefNumber(number), name.clone()))
            .collect()
    }

    pub(super) fn task(&self, task: TaskNumber) -> Option<&TaskRow> {
        self.tasks.get(&task)
    }

    /// What hangs on a task that is there; what is left of a removed one is nobody's.
    pub(super) fn hanging(&self, task: TaskNumber) -> Option<&Hanging> {
        if !self.tasks.contains_key(&task) && !cfg!(planted = "removed_task_still_read") {
            return None;
        }
        self.hanging.get(&task)
    }

    pub(super) fn apply(&mut self, plan: &Plan<'_>) {
        for accepted in &plan.accepted {
            match &accepted.removed {
                Some(removed) => self.remove(accepted, removed),
                None => self.write(accepted),
            }
        }
        self.etag = self.etag.max(plan.etag);
        self.generation = self.generation.max(plan.generation);
    }

    fn write(&mut self, accepted: &Accepted<'_>) {
        let task = accepted.commit.task;
        let mut old = accepted.old;
        for write in &accepted.commit.writes {
            match write {
                Write::Row(row) => {
                    self.put(task, row, old.as_ref());
                    old = Some(Header::of(row));
                }
                Write::Event(_) | Write::ChildEnded(_) | Write::FamilyOver { .. } => {
                    self.tell(task, write);
                }
                Write::Receipt {
                    input_id,
                    receipt,
                    expires_at,
                } => {
                    let kept = KeptReceipt {
                        receipt: receipt.clone(),
                        listed_at: *expires_at,
                    };
                    self.put_receipt(task, input_id, kept);
                }
                Write::KeepReceipt {
                    input_id,
                    listed_at,
                    until,
                } => self.keep_receipt(task, input_id, *listed_at, *until),
                Write::RemoveReceipt {
                    input_id,
                    listed_at,
                } => self.remove_receipt(task, input_id, *listed_at),
                Write::Value { .. }
                | Write::RemoveValue(_)
                | Write::PushInput { .. }
                | Write::PopInput { .. }
                | Write::Turn { .. }
                | Write::Run(_)
                | Write::Step { .. }
                | Write::RemoveStep { .. }
                | Write::Segment { .. }
                | Write::EvictSegments { .. } => self.hanging.entry(task).or_default().write(write),
                Write::ForgetSteps { turn } => self.forget_steps(task, *turn),
                Write::Ask { key, ask } => self.asks.put(task, key, ask),
                Write::RemoveAsk { key } => self.asks.remove(task, key),
                Write::RemoveAsks => self.asks.remove_all(task),
                // Decided in the plan: such a commit is not written but removed.
                Write::RemoveTask => {}
            }
        }
    }

    fn put(&mut self, task: TaskNumber, row: &TaskRow, old: Option<&Header>) {
        let family = row.parent.as_ref().map(|parent| parent.family);
        let was_of = old.and_then(|old| old.family);
        if let Some(family) = was_of.filter(|was_of| Some(*was_of) != family) {
            self.families.unlist(family, task);
        }
        if let Some(family) = family {
            self.families.list(family, task);
        }
        match old {
            Some(old) if !cfg!(planted = "due_entry_leaks") => self.unlist(old.entry(task)),
            Some(_) => {}
            None => {
                self.ids.insert(row.id.clone(), task);
                self.by_definition.insert((row.def.0, task.0));
                for label in &row.facts.labels {
                    self.by_label.insert((row.def.0, label.clone(), task.0));
                }
            }
        }
        match Header::of(row).entry(task) {
            Some(Entry::Due(key)) => self.due.insert(key),
            Some(Entry::Running(key)) => self.running.insert(key),
            Some(Entry::Expiry(key)) => self.expiry.insert(key),
            None => false,
        };
        self.tasks.insert(task, row.clone());
    }

    fn unlist(&mut self, entry: Option<Entry>) {
        match entry {
            Some(Entry::Due(key)) => self.due.remove(&key),
            Some(Entry::Running(key)) => self.running.remove(&key),
            Some(Entry::Expiry(key)) => self.expiry.remove(&key),
            None => false,
        };
    }

    fn remove(&mut self, accepted: &Accepted<'_>, removed: &Removed) {
        let task = accepted.commit.task;
        self.tasks.remove(&task);
        if !cfg!(planted = "removed_task_keeps_its_id") {
            self.ids.remove(&removed.id);
        }
        // First: what is counted for a family goes with the last of its children.
        for write in &accepted.commit.writes {
            if !cfg!(planted = "last_words_lost") {
                self.tell(task, write);
            }
        }
        if let Some(old) = &accepted.old {
            if !cfg!(planted = "removed_task_stays_listed") {
                self.by_definition.remove(&(old.def.0, task.0));
                self.unlist(old.entry(task));
            }
            if let Some(family) = old.family {
                self.families.unlist(family, task);
            }
            for label in &removed.labels {
                if !cfg!(planted = "label_entry_leaks") {
                    self.by_label.remove(&(old.def.0, label.clone(), task.0));
                }
            }
        }
        self.asks.remove_all(task);
        let mut room = SWEPT_AT_ONCE;
        self.sweep(task, &mut room);
        if self.hanging.contains_key(&task) && !cfg!(planted = "garbage_forgotten") {
            self.garbage.insert(task);
        }
    }

    /// What a commit says to others than its task.
    fn tell(&mut self, task: TaskNumber, write: &Write) {
        if let Write::Event(event) = write {
            self.put_event(event);
        }
        if let Write::ChildEnded(family) = write {
            self.families.count(*family);
        }
        if let Write::FamilyOver { turn, fate } = write {
            let turn = *turn;
            self.families.over(Family { task, turn }, fate);
        }
    }

    /// Removes entries of what hangs on a task, one for each in `room`, which shrinks by as many.
    fn sweep(&mut self, task: TaskNumber, room: &mut usize) {
        let Some(hanging) = self.hanging.get_mut(&task) else {
            return;
        };
        for (input_id, kept) in hanging.sweep(room) {
            if let Some(listed_at) = kept.listed_at {
                self.receipt_expiry.remove(&(listed_at, task, input_id));
            }
        }
        if hanging.is_empty() {
            self.hanging.remove(&task);
        }
    }

    /// What few steps there are go at once, more of them later.
    fn forget_steps(&mut self, task: TaskNumber, turn: u64) {
        let mut room = SWEPT_AT_ONCE;
        if self.sweep_steps(task, turn, &mut room) && !cfg!(planted = "forgotten_steps_stay") {
            self.old_steps.insert((task, turn));
        }
    }

    fn sweep_steps(&mut self, task: TaskNumber, turn: u64, room: &mut usize) -> bool {
        let hanging = self.hanging.get_mut(&task);
        hanging.is_some_and(|hanging| hanging.forget_steps(turn, room))
    }

    fn put_receipt(&mut self, task: TaskNumber, input_id: &InputId, kept: KeptReceipt) {
        let listed_at = kept.listed_at;
        let receipts = &mut self.hanging.entry(task).or_default().receipts;
        let old = receipts.insert(input_id.clone(), kept);
        let old_at = old.and_then(|old| old.listed_at);
        self.unlist_receipt(task, input_id, old_at);
        if let Some(at) = listed_at {
            self.receipt_expiry.insert((at, task, input_id.clone()));
        }
    }

    fn keep_receipt(
        &mut self,
        task: TaskNumber,
        input_id: &InputId,
        listed_at: Micros,
        until: Micros,
    ) {
        let receipts = &self.hanging.entry(task).or_default().receipts;
        let Some(kept) = receipts.get(input_id) else {
            return;
        };
        if kept.listed_at == Some(listed_at) || cfg!(planted = "unlisted_receipt_kept_on") {
            let kept = KeptReceipt {
                listed_at: Some(until),
                ..kept.clone()
            };
            self.put_receipt(task, input_id, kept);
        }
    }

    fn remove_receipt(&mut self, task: TaskNumber, input_id: &InputId, listed_at: Micros) {
        self.unlist_receipt(task, input_id, Some(listed_at));
        let receipts = &mut self.hanging.entry(task).or_default().receipts;
        let is_listed = |kept: &KeptReceipt| kept.listed_at == Some(listed_at);
        if receipts.get(input_id).is_some_and(is_listed)
            || cfg!(planted = "receipt_removed_before_its_time")
        {
            receipts.remove(input_id);
        }
    }

    fn unlist_receipt(&mut self, task: TaskNumber, input_id: &InputId, at: Option<Micros>) {
        let Some(at) = at else { return };
        if !cfg!(planted = "receipt_expiry_leaks") {
            self.receipt_expiry.remove(&(at, task, input_id.clone()));
        }
    }

    fn put_event(&mut self, event: &EventRow) {
        self.events.insert(event.etag, event.clone());
    }

    pub(super) fn events(&self, after: Etag, limit: usize) -> EventPage {
        let beyond = (Bound::Excluded(after), Bound::Unbounded);
        let events = self.events.range(beyond).take(limit.min(PAGE_MAX));
        EventPage {
            events: events.map(|(_, event)| event.clone()).collect(),
            trimmed: self.trimmed,
        }
    }

    pub(super) fn tidy(&mut self, events: EventsKept, limit: usize) -> bool {
        let mut room = if cfg!(planted = "tidy_unbounded") {
            usize::MAX
        } else {
            limit.min(PAGE_MAX)
        };
        while let Some(task) = self.garbage.first().copied() {
            self.sweep(task, &mut room);
            if self.hanging.contains_key(&task) {
                return true;
            }
            self.garbage.remove(&task);
        }
        while let Some((task, turn)) = self.old_steps.first().copied() {
            if self.sweep_steps(task, turn, &mut room) {
                return true;
            }
            self.old_steps.remove(&(task, turn));
        }
        let mut left = self.events.len() as u64;
        while let Some(oldest) = self.events.first_entry()
            && events.removes(oldest.get(), left)
        {
            if room == 0 {
                return true;
            }
            room -= 1;
            left -= 1;
            if !cfg!(planted = "tidy_forgets_trim") {
                self.trimmed = *oldest.key();
            }
            oldest.remove();
        }
        false
    }

    pub(super) fn lives(&self) -> Vec<LifeRow> {
        self.lives.values().rev().copied().collect()
    }

    pub(super) fn put_life(&mut self, life: &LifeRow) {
        let same = |known: &&u64| self.lives[known].instance == life.instance;
        let known = self.lives.keys().find(same).copied();
        let known = known.filter(|_| !cfg!(planted = "life_put_twice"));
        let last = self.lives.keys().last().copied();
        let position = known.unwrap_or_else(|| last.map_or(0, |last| last + 1));
        self.lives.insert(position, *life);
        while self.lives.len() > LifeRow::KEPT_MAX && !cfg!(planted = "lives_unbounded") {
            self.lives.pop_first();
        }
    }

    /// How many entries each table has.
    #[cfg(all(test, feature = "redb"))]
    pub(super) fn entries(&self) -> Vec<(&'static str, u64)> {
        let of = |len: fn(&Hanging) -> usize| self.hanging.values().map(len).sum();
        let counted: [(_, usize); 23] = [
            ("asks", self.asks.len()),
            ("by_definition", self.by_definition.len()),
            ("by_label", self.by_label.len()),
            ("children", self.families.children.len()),
            ("due", self.due.len()),
            ("events", self.events.len()),
            ("expiry", self.expiry.len()),
            ("garbage", self.garbage.len()),
            ("ids", self.ids.len()),
            ("lives", self.lives.len()),
            ("old_steps", self.old_steps.len()),
            ("families_over", self.families.over.len()),
            (
                "pending_steering_inputs",
                of(|hanging| hanging.inputs.len()),
            ),
            ("receipt_expiry", self.receipt_expiry.len()),
            ("receipts", of(|hanging| hanging.receipts.len())),
            ("running", self.running.len()),
            ("runs", of(|hanging| hanging.runs.len())),
            ("steps", of(|hanging| hanging.steps.len())),
            ("stream", of(|hanging| hanging.stream.len())),
            ("tasks", self.tasks.len()),
            ("turns", of(|hanging| hanging.turns.len())),
            ("values", of(|hanging| hanging.values.len())),
            ("wakes", self.families.wakes.len()),
        ];
        counted.map(|(name, len)| (name, len as u64)).to_vec()
    }
}
