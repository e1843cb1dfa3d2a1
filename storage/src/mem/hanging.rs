//! What hangs on one task: its values, inputs, receipts, turns, steps, runs and stream.

use crate::commit::{Write, evicted};
use crate::id::InputId;
use crate::receipt::KeptReceipt;
use crate::row::{
    InputRow, Receipt, RunRow, SegmentRow, StepRow, TaskRow, TurnRow, ValueKey, ValueKind,
};
use crate::store::{Inbox, PAGE_MAX, Segment, StreamEnd};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// What hangs on one task.
#[derive(Debug, Default)]
pub(super) struct Hanging {
    pub(super) values: BTreeMap<(ValueKind, u64), Vec<u8>>,
    pub(super) inputs: BTreeMap<u64, InputRow>,
    pub(super) receipts: BTreeMap<InputId, KeptReceipt>,
    pub(super) turns: BTreeMap<u64, TurnRow>,
    pub(super) steps: BTreeMap<(u64, Box<str>), StepRow>,
    pub(super) runs: BTreeMap<u32, RunRow>,
    pub(super) stream: BTreeMap<u64, Arc<SegmentRow>>,
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

    pub(super) fn step(&self, turn: u64, key: &str) -> Option<StepRow> {
        self.steps.get(&(turn, key.into())).cloned()
    }

    pub(super) fn steps(
        &self,
        turn: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(Box<str>, StepRow)> {
        let from = match after {
            Some(after) => Bound::Excluded((turn, after.into())),
            None => Bound::Included((turn, "".into())),
        };
        let to = Bound::Excluded((turn + 1, "".into()));
        let steps = self.steps.range((from, to)).take(limit.min(PAGE_MAX));
        steps
            .map(|((_, key), step)| (key.clone(), step.clone()))
            .collect()
    }

    /// Removes steps of a turn, one for each in `room`, which shrinks by as many. True when there are more.
    pub(super) fn forget_steps(&mut self, turn: u64, room: &mut usize) -> bool {
        loop {
            let of_turn = (turn, "".into())..(turn + 1, "".into());
            let Some((key, _)) = self.steps.range(of_turn).next() else {
                return false;
            };
            if *room == 0 {
                return true;
            }
            let key = key.clone();
            self.steps.remove(&key);
            *room -= 1;
        }
    }

    pub(super) fn runs(&self) -> Vec<RunRow> {
        let mut runs: Vec<RunRow> = self.runs.values().cloned().collect();
        if !cfg!(planted = "runs_out_of_order") {
            runs.sort_by_key(|run| run.run);
        }
        runs
    }

    pub(super) fn segments(&self, after: u64, limit_bytes: usize) -> Vec<Segment> {
        // The one that holds the next sequence number may begin before it.
        let next = after.saturating_add(1);
        let from = self.stream.range(..=next).next_back();
        let from = from.map_or(next, |(first, _)| *first);
        let holds = |(first, row): &(&u64, &Arc<SegmentRow>)| row.last(**first) > after;
        let mut page = Vec::new();
        let mut bytes = 0;
        for (first, row) in self.stream.range(from..).filter(holds) {
            if page.len() >= PAGE_MAX || (!page.is_empty() && bytes >= limit_bytes) {
                break;
            }
            bytes += row.size();
            page.push(Segment {
                first: *first,
                row: Ok(Arc::clone(row)),
            });
        }
        page
    }

    pub(super) fn stream_end(&self) -> Option<StreamEnd> {
        let (first, _) = self.stream.first_key_value()?;
        let (last, row) = self.stream.last_key_value()?;
        Some(StreamEnd::of(*first, *last, row))
    }

    /// Removes the oldest segments that lie wholly below a sequence number, never the last one.
    fn evict(&mut self, below: u64) {
        for first in evicted(self.stream.keys().copied(), below) {
            self.stream.remove(&first);
        }
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
            Write::Step { turn, key, step } => {
                self.steps.insert((*turn, key.clone()), (**step).clone());
            }
            Write::RemoveStep { turn, key } => {
                self.steps.remove(&(*turn, key.clone()));
            }
            Write::Run(run) if cfg!(planted = "runs_unbounded") => {
                self.runs.insert(run.run, (**run).clone());
            }
            Write::Run(run) => {
                self.runs
                    .insert(run.run % TaskRow::RUNS_KEPT, (**run).clone());
            }
            Write::Segment { first, segment } => {
                self.stream.insert(*first, Arc::clone(segment));
            }
            Write::EvictSegments { below } => self.evict(*below),
            Write::Row(_)
            | Write::Receipt { .. }
            | Write::KeepReceipt { .. }
            | Write::RemoveReceipt { .. }
            | Write::ForgetSteps { .. }
            | Write::Ask { .. }
            | Write::RemoveAsk { .. }
            | Write::RemoveAsks
            | Write::ChildEnded(_)
            | Write::FamilyOver { .. }
            | Write::Event(_)
            | Write::RemoveTask => {}
        }
    }

    /// True when nothing hangs on the task.
    pub(super) fn is_empty(&self) -> bool {
        let is_empty = self.values.is_empty() && self.inputs.is_empty() && self.receipts.is_empty();
        let is_empty = is_empty && self.turns.is_empty() && self.steps.is_empty();
        is_empty && self.runs.is_empty() && self.stream.is_empty()
    }

    /// Removes entries, one for each in `room`, which shrinks by as many; returns the receipts among them.
    pub(super) fn sweep(&mut self, room: &mut usize) -> Vec<(InputId, KeptReceipt)> {
        pop(&mut self.values, room);
        pop(&mut self.inputs, room);
        let receipts = pop(&mut self.receipts, room);
        pop(&mut self.turns, room);
        pop(&mut self.steps, room);
        pop(&mut self.runs, room);
        pop(&mut self.stream, room);
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
