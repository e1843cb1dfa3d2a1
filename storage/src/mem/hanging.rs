//! What hangs on one task: its values, inputs, receipts, turns and runs.

use crate::commit::Write;
use crate::id::InputId;
use crate::receipt::KeptReceipt;
use crate::row::{InputRow, Receipt, RunRow, TaskRow, TurnRow, ValueKey, ValueKind};
use crate::store::{Inbox, PAGE_MAX};
use std::collections::BTreeMap;

/// What hangs on one task.
#[derive(Debug, Default)]
pub(super) struct Hanging {
    pub(super) values: BTreeMap<(ValueKind, u64), Vec<u8>>,
    pub(super) inputs: BTreeMap<u64, InputRow>,
    pub(super) receipts: BTreeMap<InputId, KeptReceipt>,
    pub(super) turns: BTreeMap<u64, TurnRow>,
    pub(super) runs: BTreeMap<u32, RunRow>,
}

impl Hanging {
    pub(super) fn value(&self, key: ValueKey) -> Option<Vec<u8>> {
        self.values.get(&(key.kind, key.index)).cloned()
    }

    pub(super) fn inbox(&self) -> Inbox {
        let head = self.inputs.first_key_value();
        Inbox {
            len: self.inputs.len() as u64,
            head: head.map(|(seq, input)| (*seq, input.clone())),
        }
    }

    pub(super) fn inputs(&self, limit: usize) -> Vec<(u64, InputRow)> {
        let waiting = self.inputs.iter().take(limit.min(PAGE_MAX));
        waiting.map(|(seq, input)| (*seq, input.clone())).collect()
    }

    pub(super) fn receipt(&self, input_id: &InputId) -> Option<Receipt> {
        let kept = self.receipts.get(input_id)?;
        Some(kept.receipt.clone())
    }

    pub(super) fn turn(&self, slot: u64) -> Option<TurnRow> {
        self.turns.get(&slot).cloned()
    }

    pub(super) fn runs(&self) -> Vec<RunRow> {
        let mut runs: Vec<RunRow> = self.runs.values().cloned().collect();
        if !cfg!(planted = "runs_out_of_order") {
            runs.sort_by_key(|run| run.run);
        }
        runs
    }

    /// Writes what needs nothing but this task's tables.
    pub(super) fn write(&mut self, write: &Write) {
        match write {
            Write::Value { key, bytes } => {
                self.values.insert((key.kind, key.index), bytes.clone());
            }
            Write::RemoveValue(key) => {
                self.values.remove(&(key.kind, key.index));
            }
            Write::PushInput { seq, .. }
                if cfg!(planted = "mark_not_kept") && self.inputs.contains_key(seq) => {}
            Write::PushInput { seq, input } => {
                self.inputs.insert(*seq, input.clone());
            }
            Write::PopInput { seq } => {
                self.inputs.remove(seq);
            }
            Write::Turn { turn, .. } if cfg!(planted = "turn_slot_ignored") => {
                self.turns.insert(turn.total, (**turn).clone());
            }
            Write::Turn { slot, turn } => {
                self.turns.insert(*slot, (**turn).clone());
            }
            Write::Run(run) if cfg!(planted = "runs_unbounded") => {
                self.runs.insert(run.run, (**run).clone());
            }
            Write::Run(run) => {
                self.runs
                    .insert(run.run % TaskRow::RUNS_KEPT, (**run).clone());
            }
            Write::Row(_)
            | Write::Receipt { .. }
            | Write::KeepReceipt { .. }
            | Write::RemoveReceipt { .. }
            | Write::Event(_)
            | Write::RemoveTask => {}
        }
    }

    /// True when nothing hangs on the task.
    pub(super) fn is_empty(&self) -> bool {
        let is_empty = self.values.is_empty() && self.inputs.is_empty() && self.receipts.is_empty();
        is_empty && self.turns.is_empty() && self.runs.is_empty()
    }

    /// Removes entries, one for each in `room`, which shrinks by as many; returns the receipts among them.
    pub(super) fn sweep(&mut self, room: &mut usize) -> Vec<(InputId, KeptReceipt)> {
        pop(&mut self.values, room);
        pop(&mut self.inputs, room);
        let receipts = pop(&mut self.receipts, room);
        pop(&mut self.turns, room);
        pop(&mut self.runs, room);
        receipts
    }
}

fn pop<K: Ord, V>(map: &mut BTreeMap<K, V>, room: &mut usize) -> Vec<(K, V)> {
    let mut popped = Vec::new();
    while *room > 0
        && let Some(entry) = map.pop_first()
    {
        popped.push(entry);
        *room -= 1;
    }
    popped
}
