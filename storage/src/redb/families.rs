//! The children of turns: who they are, how many have ended, and whom nobody waits for any more.

use super::batch::opened;
use super::tables::{CHILDREN, FAMILIES_OVER, WAKES};
use super::{RedbStore, fault};
use crate::row::{Family, Fate, TaskNumber};
use crate::store::{PAGE_MAX, StoreError};
use redb::{ReadableTable, Table, WriteTransaction};
use std::ops::Bound;

type Result<T> = std::result::Result<T, StoreError>;

/// The tables of families within one write transaction, each opened when a commit needs it.
pub(super) struct Families<'t> {
    txn: &'t WriteTransaction,
    children: Option<Table<'t, (u64, u64, u64), ()>>,
    wakes: Option<Table<'t, (u64, u64), u64>>,
    over: Option<Table<'t, (u64, u64), Option<&'static str>>>,
    writes: u64,
}

impl<'t> Families<'t> {
    pub(super) fn in_transaction(txn: &'t WriteTransaction) -> Families<'t> {
        Families {
            txn,
            children: None,
            wakes: None,
            over: None,
            writes: 0,
        }
    }

    /// Entries put or removed so far.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn list(&mut self, family: Family, child: TaskNumber) -> Result<()> {
        let children = opened(&mut self.children, || self.txn.open_table(CHILDREN))?;
        let key = (family.task.0, family.turn, child.0);
        children.insert(key, ()).map_err(fault)?;
        self.writes += 1;
        Ok(())
    }

    /// With the last child goes what is known of a family whose turn is over.
    pub(super) fn unlist(&mut self, family: Family, child: TaskNumber) -> Result<()> {
        if cfg!(planted = "former_child_stays_listed") {
            return Ok(());
        }
        let children = opened(&mut self.children, || self.txn.open_table(CHILDREN))?;
        let key = (family.task.0, family.turn, child.0);
        children.remove(key).map_err(fault)?;
        self.writes += 1;
        let over = opened(&mut self.over, || self.txn.open_table(FAMILIES_OVER))?;
        let is_over = over.get(key_of(family)).map_err(fault)?.is_some();
        if is_over && !self.has_children(family)? {
            self.forget(family)?;
        }
        Ok(())
    }

    pub(super) fn count(&mut self, family: Family) -> Result<()> {
        let wakes = opened(&mut self.wakes, || self.txn.open_table(WAKES))?;
        let ended = wakes.get(key_of(family)).map_err(fault)?;
        let ended = ended.map_or(0, |ended| ended.value());
        wakes.insert(key_of(family), ended + 1).map_err(fault)?;
        self.writes += 1;
        Ok(())
    }

    pub(super) fn over(&mut self, family: Family, fate: &Fate) -> Result<()> {
        if !self.has_children(family)? && !cfg!(planted = "childless_family_stays") {
            return self.forget(family);
        }
        let reason = match fate {
            Fate::Alone => None,
            Fate::Cancelled { reason } => Some(&**reason),
        };
        let table = opened(&mut self.over, || self.txn.open_table(FAMILIES_OVER))?;
        table.insert(key_of(family), reason).map_err(fault)?;
        self.writes += 1;
        Ok(())
    }

    fn forget(&mut self, family: Family) -> Result<()> {
        let over = opened(&mut self.over, || self.txn.open_table(FAMILIES_OVER))?;
        let listed = over.remove(key_of(family)).map_err(fault)?.is_some();
        self.writes += u64::from(listed);
        if cfg!(planted = "count_outlives_family") {
            return Ok(());
        }
        let wakes = opened(&mut self.wakes, || self.txn.open_table(WAKES))?;
        let counted = wakes.remove(key_of(family)).map_err(fault)?.is_some();
        self.writes += u64::from(counted);
        Ok(())
    }

    fn has_children(&mut self, family: Family) -> Result<bool> {
        let children = opened(&mut self.children, || self.txn.open_table(CHILDREN))?;
        let (task, turn) = key_of(family);
        let mut listed = children
            .range((task, turn, 0)..=(task, turn, u64::MAX))
            .map_err(fault)?;
        Ok(listed.next().transpose().map_err(fault)?.is_some())
    }
}

fn key_of(family: Family) -> (u64, u64) {
    (family.task.0, family.turn)
}

impl RedbStore {
    pub(crate) fn read_ended_children(&self, family: Family) -> Result<u64> {
        let table = self.begin_read()?.open_table(WAKES).map_err(fault)?;
        let ended = table.get(key_of(family)).map_err(fault)?;
        Ok(ended.map_or(0, |ended| ended.value()))
    }

    pub(crate) fn read_children(
        &self,
        family: Family,
        after: Option<TaskNumber>,
        limit: usize,
    ) -> Result<Vec<TaskNumber>> {
        let table = self.begin_read()?.open_table(CHILDREN).map_err(fault)?;
        let (task, turn) = key_of(family);
        let from = Bound::Excluded((task, turn, after.map_or(0, |after| after.0)));
        let to = Bound::Included((task, turn, u64::MAX));
        let listed = table.range::<(u64, u64, u64)>((from, to)).map_err(fault)?;
        let mut children = Vec::new();
        for entry in listed.take(limit.min(PAGE_MAX)) {
            let (_, _, child) = entry.map_err(fault)?.0.value();
            children.push(TaskNumber(child));
        }
        Ok(children)
    }

    pub(crate) fn read_families_over(
        &self,
        after: Option<Family>,
        limit: usize,
    ) -> Result<Vec<(Family, Fate)>> {
        let table = self
            .begin_read()?
            .open_table(FAMILIES_OVER)
            .map_err(fault)?;
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(key_of(after)));
        let listed = table
            .range::<(u64, u64)>((from, Bound::Unbounded))
            .map_err(fault)?;
        let mut families = Vec::new();
        for entry in listed.take(limit.min(PAGE_MAX)) {
            let (key, reason) = entry.map_err(fault)?;
            let (task, turn) = key.value();
            let fate = match reason.value() {
                None => Fate::Alone,
                Some(reason) => Fate::Cancelled {
                    reason: reason.into(),
                },
            };
            let task = TaskNumber(task);
            families.push((Family { task, turn }, fate));
        }
        Ok(families)
    }
}
