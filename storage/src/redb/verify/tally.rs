//! Reading one table to its end, whatever its pages are like.

use crate::redb::report::{Findings, TableCount, Wrong};
use crate::store::StoreError;
use redb::{Key, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, Value};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What was read so far, and what is wrong with it.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) tables: Vec<TableCount>,
    pub(super) findings: Findings,
}

impl Tally {
    /// Gives each entry of a table to `look`, which answers whether it is whole. A page that cannot be read ends the
    /// table with a finding.
    pub(super) fn each<K, V>(
        &mut self,
        txn: &ReadTransaction,
        (table, name): (TableDefinition<'_, K, V>, &'static str),
        mut look: impl FnMut(K::SelfType<'_>, V::SelfType<'_>, &mut Findings) -> bool,
    ) where
        K: Key + 'static,
        V: Value + 'static,
    {
        let mut entries = 0;
        let findings = &mut self.findings;
        // redb may panic on pages that do not fit together; only reads happen in here.
        let read = catch_unwind(AssertUnwindSafe(|| -> Result<(), redb::Error> {
            for entry in txn.open_table(table)?.iter()? {
                let (key, value) = entry?;
                entries += u64::from(look(key.value(), value.value(), findings));
            }
            Ok(())
        }));
        if !matches!(read, Ok(Ok(()))) {
            let key = format!("after {entries}");
            self.findings.add(name, key, Wrong::Unreadable);
        }
        let table = name;
        self.tables.push(TableCount { table, entries });
    }
}

/// A table for look-ups; `None` when it cannot be read, which reading it as a whole reports.
pub(super) fn opened<K: Key + 'static, V: Value + 'static>(
    txn: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Option<ReadOnlyTable<K, V>> {
    let opened = catch_unwind(AssertUnwindSafe(|| txn.open_table(table)));
    opened.ok()?.ok()
}

/// What an entry that cannot be decoded is.
pub(in crate::redb) fn undecoded(error: &StoreError) -> Wrong {
    match error {
        StoreError::KeyMissing { .. } => Wrong::KeyMissing,
        StoreError::TooNew { .. } => Wrong::TooNew,
        StoreError::Corrupt { .. }
        | StoreError::Full
        | StoreError::Replaced { .. }
        | StoreError::Failed { .. }
        | StoreError::Poisoned { .. }
        | StoreError::Malformed { .. } => Wrong::Damaged,
    }
}
