//! The lives of the file: who opened it, and how that ended.

use super::batch::Bytes;
use super::tables::LIVES;
use super::{RedbStore, fault};
use crate::codec;
use crate::row::LifeRow;
use crate::slot::Slot;
use crate::store::StoreError;
use redb::{ReadableTable, ReadableTableMetadata, Table};
use std::sync::atomic::Ordering;

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
    pub(crate) fn read_lives(&self) -> Result<Vec<LifeRow>> {
        let txn = self.begin_read()?;
        let table = txn.open_table(LIVES).map_err(fault)?;
        let mut lives = Vec::new();
        for entry in table.iter().map_err(fault)?.rev() {
            let (key, bytes) = entry.map_err(fault)?;
            let (position, instance) = key.value();
            lives.push(codec::decode(
                Slot::Life(position, instance),
                bytes.value(),
            )?);
        }
        Ok(lives)
    }

    /// Puts a life in a durable transaction of its own.
    pub(crate) fn put_one_life(&self, life: &LifeRow) -> Result<()> {
        let txn = self.begin_write()?;
        let mut writes = 1;
        {
            let mut table = txn.open_table(LIVES).map_err(fault)?;
            let position = position_of(life.instance, &table)?;
            let slot = Slot::Life(position, life.instance);
            let mut bytes = Vec::new();
            codec::encode(slot, life, &mut bytes)?;
            table
                .insert((position, life.instance), bytes.as_slice())
                .map_err(fault)?;
            while table.len().map_err(fault)? > LifeRow::KEPT_MAX as u64
                && !cfg!(planted = "lives_unbounded")
            {
                table.pop_first().map_err(fault)?;
                writes += 1;
            }
        }
        txn.commit().map_err(fault)?;
        self.btree_writes.fetch_add(writes, Ordering::Relaxed);
        Ok(())
    }
}

/// The position this instance has, or the next one.
fn position_of(instance: u128, table: &Table<'_, (u64, u128), Bytes>) -> Result<u64> {
    let mut next = 0;
    for entry in table.iter().map_err(fault)? {
        let (position, known) = entry.map_err(fault)?.0.value();
        if known == instance && !cfg!(planted = "life_put_twice") {
            return Ok(position);
        }
        next = position + 1;
    }
    Ok(next)
}
