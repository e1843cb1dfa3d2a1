//! A file of the store as redb sees it: how many entries each of its tables has.

use outlive_storage::redb::bare_database;
use redb::{ReadableDatabase, ReadableTableMetadata, TableHandle};
use std::collections::BTreeMap;
use std::path::Path;

/// What a file holds whether or not there are tasks: names, numbers given out, facts, opens and the log.
const OF_THE_FILE: [&str; 7] = [
    "definitions",
    "etags",
    "events",
    "indexes",
    "lease_generations",
    "lives",
    "meta",
];

/// The entries of every table that is not empty, but for those that belong to the file and not to a task.
///
/// # Panics
/// When the file cannot be read, for example because an engine is on it.
pub fn of_tasks(path: &Path) -> BTreeMap<String, u64> {
    let database = bare_database(path).expect("the file opens");
    let read = database.begin_read().expect("a read");
    let tables = read.list_tables().expect("the tables");
    let entries = tables.map(|table| {
        let name = table.name().to_owned();
        let len = read.open_untyped_table(table).expect("a table").len();
        (name, len.expect("its length"))
    });
    entries
        .filter(|(name, len)| *len > 0 && !OF_THE_FILE.contains(&name.as_str()))
        .collect()
}
