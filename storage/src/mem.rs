//! The store in memory: the reference for every other, and the store of tests and throw-away work.

use crate::commit::{Applied, Commit, Conflict, Write};
use crate::header::{Entry, Header};
use crate::id::{InputId, TaskId};
use crate::plan::{Accepted, Rows, plan};
use crate::row::{
    DefNumber, Etag, Generation, InputRow, Micros, Priority, Receipt, TaskNumber, TaskRow, ValueKey,
};
use crate::store::{Counters, Due, Found, Inbox, PAGE_MAX, Page, Scan, Sharing, Store, StoreError};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};

/// A store that is gone with its process.
///
/// ```
/// use outlive_storage::{Store, mem::MemStore};
/// let store = MemStore::new();
/// assert!(store.commit(&[]).is_ok_and(|answers| answers.is_empty()));
/// ```
#[derive(Debug, Default)]
pub struct MemStore {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    tasks: BTreeMap<TaskNumber, TaskRow>,
    ids: BTreeMap<TaskId, TaskNumber>,
    definitions: Vec<Box<str>>,
    by_definition: BTreeSet<(u32, u64)>,
    due: BTreeSet<(u32, u8, u64, u64)>,
    running: BTreeSet<u64>,
    expiry: BTreeSet<(u64, u64)>,
    values: BTreeMap<ValueKey, Vec<u8>>,
    inputs: BTreeMap<(TaskNumber, u64), InputRow>,
    receipts: BTreeMap<(TaskNumber, InputId), Receipt>,
    etag: Etag,
    generation: Generation,
}

impl MemStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemStore {
        MemStore::default()
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
    fn apply(&mut self, accepted: &Accepted<'_>) {
        let task = accepted.commit.task;
        let mut old = accepted.old;
        for write in &accepted.commit.writes {
            match write {
                Write::Row(row) => {
                    self.put(task, row, old.as_ref());
                    old = Some(Header::of(row));
                }
                Write::Value { key, bytes } => {
                    self.values.insert(*key, bytes.clone());
                }
                Write::RemoveValue(key) => {
                    self.values.remove(key);
                }
                Write::PushInput { seq, input } => {
                    self.inputs.insert((task, *seq), input.clone());
                }
                Write::PopInput { seq } => {
                    self.inputs.remove(&(task, *seq));
                }
                Write::Receipt { input_id, receipt } => {
                    self.receipts
                        .insert((task, input_id.clone()), receipt.clone());
                }
            }
        }
    }

    fn put(&mut self, task: TaskNumber, row: &TaskRow, old: Option<&Header>) {
        match old {
            Some(old) if !cfg!(planted = "due_entry_leaks") => self.unlist(old.entry(task)),
            Some(_) => {}
            None => {
                self.ids.insert(row.id.clone(), task);
                self.by_definition.insert((row.def.0, task.0));
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

    fn page(&self, numbers: impl Iterator<Item = u64>, limit: usize) -> Page {
        let limit = limit.min(PAGE_MAX);
        let mut rows: Vec<Found> = numbers
            .take(limit + 1)
            .map(|number| {
                let task = TaskNumber(number);
                let missing = || StoreError::Corrupt {
                    table: "tasks",
                    key: number.to_string().into(),
                };
                Found {
                    task,
                    row: self.tasks.get(&task).cloned().ok_or_else(missing),
                }
            })
            .collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more {
            rows.last().map(|found| found.task)
        } else {
            None
        };
        Page { rows, next }
    }
}

impl Store for MemStore {
    fn sharing(&self) -> Sharing {
        Sharing::Exclusive
    }

    fn counters(&self) -> Result<Counters, StoreError> {
        let tables = self.tables.lock();
        Ok(Counters {
            etag: tables.etag,
            generation: tables.generation,
        })
    }

    fn define(&self, names: &[&str]) -> Result<Vec<DefNumber>, StoreError> {
        let mut tables = self.tables.lock();
        let mut number = |name: &str| {
            let known = tables.definitions.iter().position(|known| &**known == name);
            let at = known.unwrap_or_else(|| {
                tables.definitions.push(name.into());
                tables.definitions.len() - 1
            });
            DefNumber(at as u32 + 1)
        };
        Ok(names.iter().map(|name| number(name)).collect())
    }

    fn definitions(&self) -> Result<Vec<(DefNumber, Box<str>)>, StoreError> {
        let tables = self.tables.lock();
        let numbered = tables.definitions.iter().zip(1..);
        Ok(numbered
            .map(|(name, number)| (DefNumber(number), name.clone()))
            .collect())
    }

    fn find(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError> {
        self.tables.lock().number(id)
    }

    fn get(&self, task: TaskNumber) -> Result<Option<TaskRow>, StoreError> {
        Ok(self.tables.lock().tasks.get(&task).cloned())
    }

    fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables.lock().values.get(&key).cloned())
    }

    fn inbox(&self, task: TaskNumber) -> Result<Inbox, StoreError> {
        let tables = self.tables.lock();
        let mut waiting = tables.inputs.range((task, 0)..=(task, u64::MAX));
        let Some(((_, seq), input)) = waiting.next() else {
            return Ok(Inbox::default());
        };
        Ok(Inbox {
            len: 1 + waiting.count() as u64,
            head: Some((*seq, input.clone())),
        })
    }

    fn inputs(&self, task: TaskNumber, limit: usize) -> Result<Vec<(u64, InputRow)>, StoreError> {
        let tables = self.tables.lock();
        let waiting = tables
            .inputs
            .range((task, 0)..=(task, u64::MAX))
            .take(limit.min(PAGE_MAX));
        Ok(waiting
            .map(|((_, seq), input)| (*seq, input.clone()))
            .collect())
    }

    fn receipt(&self, task: TaskNumber, input_id: &InputId) -> Result<Option<Receipt>, StoreError> {
        Ok(self
            .tables
            .lock()
            .receipts
            .get(&(task, input_id.clone()))
            .cloned())
    }

    fn scan(
        &self,
        scan: Scan,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let tables = self.tables.lock();
        let below = after.map_or(u64::MAX, |task| task.0);
        Ok(match scan {
            Scan::Running => {
                let from = after.map_or(0, |task| task.0.saturating_add(1));
                tables.page(tables.running.range(from..).copied(), limit)
            }
            Scan::All => {
                let older = tables.tasks.range(..TaskNumber(below)).rev();
                tables.page(older.map(|(task, _)| task.0), limit)
            }
            Scan::Definition(def) => {
                let older = tables.by_definition.range((def.0, 0)..(def.0, below)).rev();
                tables.page(older.map(|(_, number)| *number), limit)
            }
        })
    }

    fn due(&self, def: DefNumber, now: Micros, limit: usize) -> Result<Due, StoreError> {
        let tables = self.tables.lock();
        let limit = limit.min(PAGE_MAX);
        let now = now.0.min(Micros::AT_OPEN.0 - 1);
        let mut due = Due {
            ready: Vec::new(),
            next: None,
        };
        for rank in 0..Priority::LEVELS {
            let ready = tables
                .due
                .range((def.0, rank, 0, 0)..=(def.0, rank, now, u64::MAX));
            let room = limit - due.ready.len();
            due.ready
                .extend(ready.take(room).map(|(.., number)| TaskNumber(*number)));
            let mut later = tables
                .due
                .range((def.0, rank, now + 1, 0)..(def.0, rank, Micros::AT_OPEN.0, 0));
            let first = later.next().map(|(_, _, at, _)| Micros(*at));
            due.next = due.next.into_iter().chain(first).min();
        }
        Ok(due)
    }

    fn due_at_open(
        &self,
        def: DefNumber,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>, StoreError> {
        let tables = self.tables.lock();
        let of_def = tables
            .due
            .range((def.0, 0, 0, 0)..=(def.0, u8::MAX, u64::MAX, u64::MAX));
        let at_open = of_def.filter(|(_, _, at, _)| *at == Micros::AT_OPEN.0);
        let mut found: Vec<TaskNumber> = at_open.map(|(.., number)| TaskNumber(*number)).collect();
        found.retain(|task| after.is_none_or(|after| *task > after));
        found.sort_unstable();
        found.truncate(limit.min(PAGE_MAX));
        Ok(found)
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        let mut tables = self.tables.lock();
        let plan = plan(batch, &*tables)?;
        for accepted in &plan.accepted {
            tables.apply(accepted);
        }
        tables.etag = tables.etag.max(plan.etag);
        tables.generation = tables.generation.max(plan.generation);
        Ok(plan.answers)
    }
}
