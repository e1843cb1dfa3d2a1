//! Open questions, by task and key.

use crate::row::{AskRow, TaskNumber};
use crate::store::{FoundAsk, PAGE_MAX};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The open questions of all tasks.
#[derive(Debug, Default)]
pub(super) struct Asks(BTreeMap<(TaskNumber, Box<str>), AskRow>);

impl Asks {
    pub(super) fn put(&mut self, task: TaskNumber, key: &str, ask: &AskRow) {
        self.0.insert((task, key.into()), ask.clone());
    }

    pub(super) fn remove(&mut self, task: TaskNumber, key: &str) {
        self.0.remove(&(task, key.into()));
    }

    /// All questions of a task.
    pub(super) fn remove_all(&mut self, task: TaskNumber) {
        let next = (TaskNumber(task.0.saturating_add(1)), "".into());
        let keys = self.0.range((task, "".into())..next).map(|(key, _)| key);
        let keys: Vec<_> = keys.cloned().collect();
        for key in keys {
            if !cfg!(planted = "questions_stay_listed") {
                self.0.remove(&key);
            }
        }
    }

    pub(super) fn get(&self, task: TaskNumber, key: &str) -> Option<AskRow> {
        self.0.get(&(task, key.into())).cloned()
    }

    pub(super) fn page(&self, from: Bound<(TaskNumber, &str)>, limit: usize) -> Vec<FoundAsk> {
        let from = from.map(|(task, key)| (task, key.into()));
        let beyond = self.0.range((from, Bound::Unbounded));
        let page = beyond.take(limit.min(PAGE_MAX));
        page.map(|((task, key), ask)| FoundAsk {
            task: *task,
            key: key.clone(),
            ask: Ok(ask.clone()),
        })
        .collect()
    }

    #[cfg(all(test, feature = "redb"))]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
