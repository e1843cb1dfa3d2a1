//! Making a store of the rows: every table that only says what rows say is built anew.

use super::gather::Gathered;
use super::rows::Rows;
use super::shelf::Shelf;
use crate::codec;
use crate::header::{Entry, Header};
use crate::id::{InputId, LOST_NAME};
use crate::receipt::KeptReceipt;
use crate::redb::copy_error::CopyError;
use crate::redb::fresh::{GAP, written};
use crate::redb::report::{Findings, Wrong};
use crate::redb::seal;
use crate::redb::tables::{
    BY_DEFINITION, BY_LABEL, CHILDREN, DEFINITIONS, DUE, EXPIRY, FAMILIES_OVER, GARBAGE, IDS, META,
    OLD_STEPS, RECEIPT_EXPIRY, RUNNING, TRIMMED, WAKES,
};
use crate::row::{Etag, Generation, InputRow, Receipt, State, TaskNumber, TaskRow, WaitReason};
use crate::slot::Slot;
use crate::store::Counters;
use redb::{Key, ReadableTable, TableDefinition, Value, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, CopyError>;

/// The file's own counters are believed as long as they are not further above what is there.
const COUNTER_AHEAD_MAX: u64 = 1 << 48;

/// Turns by parent and number.
type Turn = (u64, u64);

/// Lists every row, and answers from where on numbers may be handed out.
///
/// # Errors
/// [`CopyError`] of the new file.
pub(in crate::redb) fn settle(
    txn: &WriteTransaction,
    rows: &mut Rows<'_>,
    mut gathered: Gathered,
    findings: &mut Findings,
) -> Result<Counters> {
    give_ids(txn, rows)?;
    mend_inboxes(rows, findings)?;
    let families = list_tasks(txn, rows, &mut gathered, findings)?;
    settle_families(txn, rows, &gathered, families)?;
    list_receipts(txn, rows)?;
    list_leftovers(txn, rows)?;
    let mut names = txn.open_table(DEFINITIONS).map_err(written)?;
    for (number, name) in &gathered.names {
        names
            .insert(&**name, seal::of_name(name, *number))
            .map_err(written)?;
    }
    let log_is_whole = !gathered.searched.contains(&Shelf::Events);
    let trimmed = match gathered.trimmed.min(rows.etag) {
        trimmed if log_is_whole => trimmed,
        // Nobody knows what is missing: only what comes later is known to be whole.
        _ => rows.etag,
    };
    if trimmed > 0 {
        let mut meta = txn.open_table(META).map_err(written)?;
        meta.insert(TRIMMED, u128::from(trimmed)).map_err(written)?;
    }
    let above = |found: u64, reserved: u64| {
        let plausible = reserved <= found.saturating_add(COUNTER_AHEAD_MAX);
        let reserved = if plausible { reserved } else { found };
        found.max(reserved).saturating_add(GAP)
    };
    Ok(Counters {
        etag: Etag(above(rows.etag, gathered.etag)),
        generation: Generation(above(rows.generation, gathered.generation)),
    })
}

/// Each id belongs to the latest task that had it: an earlier one was removed. It may be done once more.
pub(super) fn give_ids(txn: &WriteTransaction, rows: &mut Rows<'_>) -> Result<()> {
    let mut ids = txn.open_table(IDS).map_err(written)?;
    let mut former = Vec::new();
    for entry in rows.tasks.iter().map_err(written)? {
        let (number, bytes) = entry.map_err(written)?;
        let number = number.value();
        let Some(row) = decoded(number, bytes.value()) else {
            continue;
        };
        let sealed = seal::of_id(row.id.as_str(), number);
        let before = ids.insert(row.id.as_str(), sealed).map_err(written)?;
        let before = before.map(|before| before.value().0);
        former.extend(before.filter(|before| *before != number));
    }
    for number in former {
        rows.tasks.remove(number).map_err(written)?;
    }
    Ok(())
}

/// Empties what [`settle`] makes of rows.
///
/// # Errors
/// [`CopyError`] of the new file.
pub(super) fn unsettle(txn: &WriteTransaction) -> Result<()> {
    fn emptied<K: Key + 'static, V: Value + 'static>(
        txn: &WriteTransaction,
        table: TableDefinition<'_, K, V>,
    ) -> Result<()> {
        let mut table = txn.open_table(table).map_err(written)?;
        table.retain(|_, _| false).map_err(written)
    }
    emptied(txn, BY_DEFINITION)?;
    emptied(txn, BY_LABEL)?;
    emptied(txn, DUE)?;
    emptied(txn, RUNNING)?;
    emptied(txn, EXPIRY)?;
    emptied(txn, CHILDREN)?;
    emptied(txn, WAKES)?;
    emptied(txn, FAMILIES_OVER)?;
    emptied(txn, RECEIPT_EXPIRY)?;
    emptied(txn, GARBAGE)?;
    emptied(txn, OLD_STEPS)
}

/// What was put is whole, so this is always a row.
fn decoded(number: u64, bytes: &[u8]) -> Option<TaskRow> {
    codec::decode_row(TaskNumber(number), bytes).ok()
}

/// A row says how many inputs wait: where some were lost, or came back that were consumed already, it is told so.
fn mend_inboxes(rows: &mut Rows<'_>, findings: &mut Findings) -> Result<()> {
    let mut mended: Vec<(u64, TaskRow)> = Vec::new();
    let mut consumed: Vec<(u64, u64)> = Vec::new();
    for entry in rows.tasks.iter().map_err(written)? {
        let (number, bytes) = entry.map_err(written)?;
        let number = number.value();
        let Some(mut row) = decoded(number, bytes.value()) else {
            continue;
        };
        let (mut waiting, mut taken) = (0, 0);
        let inbox = rows.inputs.range((number, 0)..=(number, u64::MAX));
        for input in inbox.map_err(written)? {
            let (key, bytes) = input.map_err(written)?;
            let (_, seq) = key.value();
            let slot = Slot::Input(TaskNumber(number), seq);
            match codec::decode::<InputRow>(slot, bytes.value()) {
                Ok(input) if is_waiting(rows, (number, &row), (seq, &input))? => {
                    waiting += u64::from(input.taken.is_none());
                    taken += u64::from(input.taken.is_some());
                }
                Ok(_) | Err(_) => consumed.push((number, seq)),
            }
        }
        if (waiting, taken) != (row.inputs_waiting, row.inputs_taken) {
            // The row may have been written by anybody, where it was imported.
            let expected = row.inputs_waiting.saturating_add(row.inputs_taken);
            let lost = waiting + taken < expected;
            if lost {
                findings.add("pending_steering_inputs", number, Wrong::Damaged);
            }
            (row.inputs_waiting, row.inputs_taken) = (waiting, taken);
            mended.push((number, row));
        }
    }
    for key in consumed {
        rows.inputs.remove(key).map_err(written)?;
    }
    for (number, row) in mended {
        rows.put_row(number, &row)?;
    }
    Ok(())
}

/// Whether an input still waits or is in the hands of the open turn, by its receipt and its row.
fn is_waiting(
    rows: &Rows<'_>,
    (number, row): (u64, &TaskRow),
    (seq, input): (u64, &InputRow),
) -> Result<bool> {
    if seq <= row.input_seq || seq >= row.inputs_accepted || is_over(row) {
        return Ok(false);
    }
    let input_id: &InputId = &input.input_id;
    let found = rows.receipts.get((number, input_id.as_str()));
    let Some(found) = found.map_err(written)? else {
        return Ok(true);
    };
    let slot = Slot::Receipt(TaskNumber(number), input_id.as_str());
    let kept = codec::decode::<KeptReceipt>(slot, found.value());
    Ok(kept.is_ok_and(|kept| matches!(kept.receipt, Receipt::Queued { .. })))
}

fn is_over(row: &TaskRow) -> bool {
    matches!(row.state, State::Completed { .. })
}

/// What rows say of families.
#[derive(Default)]
struct FamiliesSeen {
    /// How many children of a turn have ended.
    ended: BTreeMap<Turn, u64>,
    /// Turns that have children.
    with_children: BTreeSet<Turn>,
    /// Turns that are open and have children, and the count for which they wait.
    open: BTreeMap<Turn, u64>,
}

/// Every task is listed where its row says.
fn list_tasks(
    txn: &WriteTransaction,
    rows: &Rows<'_>,
    gathered: &mut Gathered,
    findings: &mut Findings,
) -> Result<FamiliesSeen> {
    let mut by_definition = txn.open_table(BY_DEFINITION).map_err(written)?;
    let mut by_label = txn.open_table(BY_LABEL).map_err(written)?;
    let mut due = txn.open_table(DUE).map_err(written)?;
    let mut running = txn.open_table(RUNNING).map_err(written)?;
    let mut expiry = txn.open_table(EXPIRY).map_err(written)?;
    let mut children = txn.open_table(CHILDREN).map_err(written)?;
    let mut seen = FamiliesSeen::default();
    for entry in rows.tasks.iter().map_err(written)? {
        let (number, bytes) = entry.map_err(written)?;
        let number = number.value();
        let Some(row) = decoded(number, bytes.value()) else {
            continue;
        };
        by_definition
            .insert((row.def.0, number), ())
            .map_err(written)?;
        for label in &row.facts.labels {
            let key = (row.def.0, &**label, number);
            by_label.insert(key, ()).map_err(written)?;
        }
        match Header::of(&row).entry(TaskNumber(number)) {
            Some(Entry::Due(key)) => due.insert(key, ()).map(drop),
            Some(Entry::Running(key)) => running.insert(key, ()).map(drop),
            Some(Entry::Expiry(key)) => expiry.insert(key, ()).map(drop),
            None => Ok(()),
        }
        .map_err(written)?;
        if let Some(parent) = &row.parent {
            let turn = (parent.family.task.0, parent.family.turn);
            children
                .insert((turn.0, turn.1, number), ())
                .map_err(written)?;
            seen.with_children.insert(turn);
            *seen.ended.entry(turn).or_default() += u64::from(is_over(&row));
        }
        if row.has_children {
            let turn = row.family(TaskNumber(number)).turn;
            seen.open.insert((number, turn), awaited(&row));
        }
        gathered
            .names
            .entry(row.def.0)
            .or_insert_with_key(|number| {
                let name = format!("{LOST_NAME}{number}");
                let table = "definitions";
                findings.add("definitions", &name, Wrong::NotListed { table });
                name.into()
            });
    }
    Ok(seen)
}

/// For how many ends of its children a task waits.
fn awaited(row: &TaskRow) -> u64 {
    match &row.state {
        State::Suspended {
            wait: WaitReason::Children { ended, .. } | WaitReason::Answer { ended, .. },
            ..
        } if *ended < u64::MAX => *ended,
        State::Pending { .. }
        | State::InProgress { .. }
        | State::Suspended { .. }
        | State::Completed { .. } => 0,
    }
}

/// A count that is too high wakes a parent for nothing, and it waits on; one that is too low would leave it asleep. A
/// turn that is over without anybody knowing why lets its children go on.
fn settle_families(
    txn: &WriteTransaction,
    rows: &Rows<'_>,
    gathered: &Gathered,
    seen: FamiliesSeen,
) -> Result<()> {
    let mut wakes = txn.open_table(WAKES).map_err(written)?;
    let mut over = txn.open_table(FAMILIES_OVER).map_err(written)?;
    let counted = |turn: &Turn| {
        let known = gathered.wakes.get(turn).copied().unwrap_or(0);
        let ended = seen.ended.get(turn).copied().unwrap_or(0);
        known.min(u64::from(u32::MAX)).max(ended)
    };
    for (turn, awaited) in &seen.open {
        let ended = match gathered.wakes_whole {
            true => counted(turn),
            false => counted(turn).max(*awaited),
        };
        if ended > 0 {
            wakes.insert(*turn, ended).map_err(written)?;
        }
    }
    for turn in &seen.with_children {
        let parent = rows.tasks.get(turn.0).map_err(written)?;
        let parent = parent.and_then(|bytes| decoded(turn.0, bytes.value()));
        let is_open = parent.is_some_and(|row| !is_over(&row) && row.turns_total == turn.1);
        if !is_open {
            let reason = gathered.over.get(turn).and_then(Option::as_deref);
            over.insert(*turn, reason).map_err(written)?;
        }
    }
    Ok(())
}

fn list_receipts(txn: &WriteTransaction, rows: &Rows<'_>) -> Result<()> {
    let mut expiry = txn.open_table(RECEIPT_EXPIRY).map_err(written)?;
    for entry in rows.receipts.iter().map_err(written)? {
        let (key, bytes) = entry.map_err(written)?;
        let (number, input_id) = key.value();
        let slot = Slot::Receipt(TaskNumber(number), input_id);
        let kept = codec::decode::<KeptReceipt>(slot, bytes.value());
        if let Some(at) = kept.ok().and_then(|kept| kept.listed_at) {
            expiry
                .insert((at.0, number, input_id), ())
                .map_err(written)?;
        }
    }
    Ok(())
}

/// What hangs on no task is garbage, and steps of former turns are old: both are swept away by the engine.
fn list_leftovers(txn: &WriteTransaction, rows: &mut Rows<'_>) -> Result<()> {
    let mut garbage = txn.open_table(GARBAGE).map_err(written)?;
    let mut old_steps = txn.open_table(OLD_STEPS).map_err(written)?;
    let mut hanging = BTreeSet::new();
    for key in rows.values.iter().map_err(written)? {
        hanging.insert(key.map_err(written)?.0.value().0);
    }
    for key in rows.inputs.iter().map_err(written)? {
        hanging.insert(key.map_err(written)?.0.value().0);
    }
    for key in rows.receipts.iter().map_err(written)? {
        hanging.insert(key.map_err(written)?.0.value().0);
    }
    for key in rows.turns.iter().map_err(written)? {
        hanging.insert(key.map_err(written)?.0.value().0);
    }
    for key in rows.runs.iter().map_err(written)? {
        hanging.insert(key.map_err(written)?.0.value().0);
    }
    for key in rows.stream.iter().map_err(written)? {
        hanging.insert(key.map_err(written)?.0.value().0);
    }
    let mut turns = BTreeSet::new();
    for key in rows.steps.iter().map_err(written)? {
        let key = key.map_err(written)?.0;
        let (number, turn, _) = key.value();
        hanging.insert(number);
        turns.insert((number, turn));
    }
    for number in hanging {
        if rows.tasks.get(number).map_err(written)?.is_none() {
            garbage.insert(number, ()).map_err(written)?;
        }
    }
    for turn in turns {
        let row = rows.tasks.get(turn.0).map_err(written)?;
        let row = row.and_then(|bytes| decoded(turn.0, bytes.value()));
        if row.is_some_and(|row| row.steps_of != turn.1) {
            old_steps.insert(turn, ()).map_err(written)?;
        }
    }
    let orphans = rows
        .asks
        .extract_from_if::<(u64, &str), _>(.., |(number, _), _| {
            matches!(rows.tasks.get(number), Ok(None))
        });
    for orphan in orphans.map_err(written)? {
        orphan.map_err(written)?;
    }
    Ok(())
}
