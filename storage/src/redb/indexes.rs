//! Since which task the labels of a definition tell the whole truth.

use super::tables::INDEXES;
use super::{RedbStore, fault};
use crate::row::{DefNumber, IndexRow, TaskNumber};
use crate::store::StoreError;
use redb::ReadableTable;
use std::sync::atomic::Ordering;

type Result<T> = std::result::Result<T, StoreError>;

impl RedbStore {
    pub(crate) fn read_indexes(&self) -> Result<Vec<IndexRow>> {
        let table = self.begin_read()?.open_table(INDEXES).map_err(fault)?;
        let mut indexes = Vec::new();
        for entry in table.iter().map_err(fault)? {
            let (key, from) = entry.map_err(fault)?;
            let (def, by) = key.value();
            indexes.push(IndexRow {
                def: DefNumber(def),
                by: by.into(),
                from: TaskNumber(from.value()),
            });
        }
        Ok(indexes)
    }

    /// Replaces all of them in a durable transaction of its own.
    pub(crate) fn put_all_indexes(&self, indexes: &[IndexRow]) -> Result<()> {
        let txn = self.begin_write()?;
        {
            let mut table = txn.open_table(INDEXES).map_err(fault)?;
            if !cfg!(planted = "old_index_kept") {
                table.retain(|_, _| false).map_err(fault)?;
            }
            for index in indexes {
                let key = (index.def.0, &*index.by);
                table.insert(key, index.from.0).map_err(fault)?;
            }
        }
        txn.commit().map_err(fault)?;
        let writes = indexes.len() as u64;
        self.btree_writes.fetch_add(writes, Ordering::Relaxed);
        Ok(())
    }
}
