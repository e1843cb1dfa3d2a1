//! The tables of the file, by name.

use crate::due::DueKey;
use redb::TableDefinition;

type Table<K, V> = TableDefinition<'static, K, V>;

/// Task number → encoded row.
pub(crate) const TASKS: Table<u64, &[u8]> = Table::new("tasks");
/// Caller's id → task number, sealed.
pub(crate) const IDS: Table<&str, (u64, u32)> = Table::new("ids");
/// Task name → definition number, sealed.
pub(crate) const DEFINITIONS: Table<&str, (u32, u32)> = Table::new("definitions");
/// Definition number, task number: every task.
pub(crate) const BY_DEFINITION: Table<(u32, u64), ()> = Table::new("by_definition");
/// Definition number, label, task number: every task that carries a label.
pub(crate) const BY_LABEL: Table<(u32, &str, u64), ()> = Table::new("by_label");
/// Definition number, rank, line of time (its life, how far ahead), time, task number: every task that waits.
pub(crate) const DUE: Table<DueKey, ()> = Table::new("due");
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
/// Time, task number, input id: every receipt that retention may remove.
pub(crate) const RECEIPT_EXPIRY: Table<(u64, u64, &str), ()> = Table::new("receipt_expiry");
/// Task number, slot → encoded turn.
pub(crate) const TURNS: Table<(u64, u64), &[u8]> = Table::new("turns");
/// Task number, the turn's number over all runs, key → encoded step.
pub(crate) const STEPS: Table<(u64, u64, &str), &[u8]> = Table::new("steps");
/// Task number, key → encoded question: every open one.
pub(crate) const ASKS: Table<(u64, &str), &[u8]> = Table::new("asks");
/// Task number, the turn's number over all runs: every turn whose steps nobody asks for any more.
pub(crate) const OLD_STEPS: Table<(u64, u64), ()> = Table::new("old_steps");
/// Task number, number of the run modulo [`RUNS_KEPT`](crate::row::TaskRow::RUNS_KEPT) → encoded run.
pub(crate) const RUNS: Table<(u64, u32), &[u8]> = Table::new("runs");
/// Task number, sequence number of the first entry → encoded segment.
pub(crate) const STREAM: Table<(u64, u64), &[u8]> = Table::new("stream");
/// Parent's number, its turn over all runs, child's number: every task that was started by a turn and not told yet that
/// it is over.
pub(crate) const CHILDREN: Table<(u64, u64, u64), ()> = Table::new("children");
/// Task number, its turn over all runs → how often a child of the turn has ended.
pub(crate) const WAKES: Table<(u64, u64), u64> = Table::new("wakes");
/// Task number, its turn over all runs → why its children are cancelled, or that they go on: every turn that is over and
/// has children who were not told yet.
pub(crate) const FAMILIES_OVER: Table<(u64, u64), Option<&str>> = Table::new("families_over");
/// Task number: every removed task on which something still hangs.
pub(crate) const GARBAGE: Table<u64, ()> = Table::new("garbage");
/// Etag → encoded transition.
pub(crate) const EVENTS: Table<u64, &[u8]> = Table::new("events");
/// Position among the opens, instance → encoded life. The position orders them where the wall clock was set back.
pub(crate) const LIVES: Table<(u64, u128), &[u8]> = Table::new("lives");
/// Definition number, kind of label → from this task number on no label of the kind is missing.
pub(crate) const INDEXES: Table<(u32, &str), u64> = Table::new("indexes");
/// Incarnation of the file → no etag and no task number is above this.
pub(crate) const ETAGS: Table<u128, u64> = Table::new("etags");
/// Incarnation of the file → no generation is above this.
pub(crate) const GENERATIONS: Table<u128, u64> = Table::new("lease_generations");
/// Facts of the file: [`FORMAT`], [`INCARNATION`], [`TRIMMED`], [`JOURNALLED`].
pub(crate) const META: Table<&str, u128> = Table::new("meta");

/// In [`META`]: the version of the tables.
pub(crate) const FORMAT: &str = "format";
/// In [`META`]: a chance number of this file, another one in a restored copy.
pub(crate) const INCARNATION: &str = "incarnation";
/// In [`META`]: the highest etag whose event was removed; absent before the first.
pub(crate) const TRIMMED: &str = "trimmed";
/// In [`META`]: how far the database is in its journal; absent in a file without one.
pub(crate) const JOURNALLED: &str = "journalled";
/// The version of the tables this library writes, and the newest it reads.
pub(crate) const SUPPORTED: u32 = 1;
