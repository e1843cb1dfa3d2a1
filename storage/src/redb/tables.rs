//! The tables of the file, by name.

use redb::TableDefinition;

type Table<K, V> = TableDefinition<'static, K, V>;

/// Task number → encoded row.
pub(crate) const TASKS: Table<u64, &[u8]> = Table::new("tasks");
/// Caller's id → task number.
pub(crate) const IDS: Table<&str, u64> = Table::new("ids");
/// Task name → definition number.
pub(crate) const DEFINITIONS: Table<&str, u32> = Table::new("definitions");
/// Definition number, task number: every task.
pub(crate) const BY_DEFINITION: Table<(u32, u64), ()> = Table::new("by_definition");
/// Definition number, rank, time, task number: every task that waits.
pub(crate) const DUE: Table<(u32, u8, u64, u64), ()> = Table::new("due");
/// Task number: every claimed task.
pub(crate) const RUNNING: Table<u64, ()> = Table::new("running");
/// Time, task number: every ended task that retention may remove.
pub(crate) const EXPIRY: Table<(u64, u64), ()> = Table::new("expiry");
/// Task number, kind, index → encoded value.
pub(crate) const VALUES: Table<(u64, u8, u64), &[u8]> = Table::new("values");
/// Task number, position → encoded input.
pub(crate) const INPUTS: Table<(u64, u64), &[u8]> = Table::new("pending_steering_inputs");
/// Task number, input id → encoded receipt.
pub(crate) const RECEIPTS: Table<(u64, &str), &[u8]> = Table::new("receipts");
/// Incarnation of the file → no etag and no task number is above this.
pub(crate) const ETAGS: Table<u128, u64> = Table::new("etags");
/// Incarnation of the file → no generation is above this.
pub(crate) const GENERATIONS: Table<u128, u64> = Table::new("lease_generations");
/// Facts of the file: [`FORMAT`], [`INCARNATION`].
pub(crate) const META: Table<&str, u128> = Table::new("meta");

/// In [`META`]: the version of the tables.
pub(crate) const FORMAT: &str = "format";
/// In [`META`]: a chance number of this file, another one in a restored copy.
pub(crate) const INCARNATION: &str = "incarnation";
/// The version of the tables this library writes, and the newest it reads.
pub(crate) const SUPPORTED: u32 = 1;
