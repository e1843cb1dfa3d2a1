//! Since which task a label finds all its tasks.

use crate::def::Index;
use crate::registry::Registry;
use outlive_storage::row::{DefNumber, Etag, IndexRow, TaskNumber};
use outlive_storage::{Store, StoreError};
use std::collections::HashMap;

/// The indexes of the file, as they hold while the engine is open.
///
/// A label is given at a task's start alone. A definition that gained an index today has older tasks without the label,
/// and one that lost it for a while has such tasks in between; a list that asked only the label would hide them.
#[derive(Debug, Default)]
pub(crate) struct Indexes(HashMap<(DefNumber, Box<str>), TaskNumber>);

impl Indexes {
    /// Brings what the file says of the registered definitions up to date, before any task is started. `last` is the
    /// highest task number ever given.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written.
    pub(crate) fn settle(
        store: &dyn Store,
        registry: &Registry,
        last: Etag,
    ) -> Result<Indexes, StoreError> {
        let known = store.indexes()?;
        let mut now: Vec<IndexRow> = known.clone();
        // Of a definition that is not registered here no task can be started, so what was true stays true.
        now.retain(|row| wanted(registry, row.def).is_none_or(|kinds| kinds.contains(&row.by)));
        let next = TaskNumber(last.0 + 1);
        for (def, _) in registry.defs() {
            for by in wanted(registry, def).unwrap_or_default() {
                if !now.iter().any(|row| row.def == def && row.by == by) {
                    let from = next;
                    now.push(IndexRow { def, by, from });
                }
            }
        }
        now.sort();
        if now != known {
            store.put_indexes(&now)?;
        }
        let rows = now.into_iter();
        Ok(Indexes(
            rows.map(|row| ((row.def, row.by), row.from)).collect(),
        ))
    }

    /// From which task on every task of the definition that should carry its label of this kind does; `None` when it
    /// is not indexed.
    pub(crate) fn from(&self, def: DefNumber, by: &str) -> Option<TaskNumber> {
        self.0.get(&(def, by.into())).copied()
    }
}

/// The kinds of labels a registered definition gives to the tasks it starts. Under the number of a former name it starts
/// none, so there, too, what was true stays true.
fn wanted(registry: &Registry, def: DefNumber) -> Option<Vec<Box<str>>> {
    if registry.is_former(def) && !cfg!(planted = "renamed_loses_index") {
        return None;
    }
    let index = registry.get(def)?.options.index;
    Some(index.iter().map(kind).collect())
}

/// The kind of label an index gives.
fn kind(index: &Index) -> Box<str> {
    match index {
        Index::Session => BY_SESSION.into(),
        Index::Owner => BY_OWNER.into(),
        Index::Tag(key) => by_tag(key),
    }
}

/// The kind of label that names a session.
pub(crate) const BY_SESSION: &str = "session";
/// The kind of label that names an owner.
pub(crate) const BY_OWNER: &str = "owner";

/// What the kinds that name the value of a tag begin with.
const BY_TAG: &str = "tag:";

/// The kind of label that names the value of a tag.
pub(crate) fn by_tag(key: &str) -> Box<str> {
    format!("{BY_TAG}{key}").into()
}

/// The key of the tag whose value a kind of label names.
pub(crate) fn tag_of(kind: &str) -> Option<&str> {
    kind.strip_prefix(BY_TAG)
}
