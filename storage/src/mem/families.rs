//! The children of turns: who they are, how many have ended, and whom nobody waits for any more.

use super::tables::Tables;
use crate::row::{Family, Fate, TaskNumber};
use crate::store::PAGE_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What the tables of families are, as maps and sets.
#[derive(Debug, Default)]
pub(super) struct Families {
    pub(super) children: BTreeSet<(Family, TaskNumber)>,
    pub(super) wakes: BTreeMap<Family, u64>,
    pub(super) over: BTreeMap<Family, Fate>,
}

impl Families {
    pub(super) fn list(&mut self, family: Family, child: TaskNumber) {
        self.children.insert((family, child));
    }

    /// With the last child goes what is known of a family whose turn is over.
    pub(super) fn unlist(&mut self, family: Family, child: TaskNumber) {
        if cfg!(planted = "former_child_stays_listed") {
            return;
        }
        self.children.remove(&(family, child));
        if self.over.contains_key(&family) && !self.has_children(family) {
            self.forget(family);
        }
    }

    pub(super) fn count(&mut self, family: Family) {
        *self.wakes.entry(family).or_default() += 1;
    }

    pub(super) fn over(&mut self, family: Family, fate: &Fate) {
        if self.has_children(family) || cfg!(planted = "childless_family_stays") {
            self.over.insert(family, fate.clone());
        } else {
            self.forget(family);
        }
    }

    fn forget(&mut self, family: Family) {
        self.over.remove(&family);
        if !cfg!(planted = "count_outlives_family") {
            self.wakes.remove(&family);
        }
    }

    fn has_children(&self, family: Family) -> bool {
        self.beyond(family, None).next().is_some()
    }

    fn beyond(
        &self,
        family: Family,
        after: Option<TaskNumber>,
    ) -> impl Iterator<Item = TaskNumber> {
        let first = (family, after.unwrap_or(TaskNumber(0)));
        let last = (family, TaskNumber(u64::MAX));
        let range = (Bound::Excluded(first), Bound::Included(last));
        self.children.range(range).map(|(_, child)| *child)
    }
}

impl Tables {
    pub(super) fn ended_children(&self, family: Family) -> u64 {
        let ended = self.families.wakes.get(&family);
        ended.copied().unwrap_or_default()
    }

    pub(super) fn children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Vec<TaskNumber> {
        let children = self.families.beyond(family, after);
        children.take(limit.min(PAGE_MAX)).collect()
    }

    pub(super) fn families_over(&self, after: Option<Family>, limit: usize) -> Vec<(Family, Fate)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let families = self.families.over.range((from, Bound::Unbounded));
        let families = families.take(limit.min(PAGE_MAX));
        families
            .map(|(family, fate)| (*family, fate.clone()))
            .collect()
    }
}
