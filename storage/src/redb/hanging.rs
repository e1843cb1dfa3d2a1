//! What hangs on tasks (values, inputs, receipts, turns, steps, runs, streams) within one write transaction: put, and
//! swept away.

mod steps;

use super::batch::{Bytes, opened};
use super::fault;
use super::stream::Streams;
use super::tables::{INPUTS, RECEIPT_EXPIRY, RECEIPTS, RUNS, STEPS, TURNS, VALUES};
use crate::codec;
use crate::commit::Write;
use crate::id::InputId;
use crate::receipt::KeptReceipt;
use crate::row::{InputRow, Micros, RunRow, TaskNumber, TaskRow, TurnRow};
use crate::slot::Slot;
use crate::store::StoreError;
use redb::{Key, ReadableTable, Table, WriteTransaction};
use std::borrow::Borrow;
use std::ops::RangeBounds;

type Result<T> = std::result::Result<T, StoreError>;

/// The tables of what hangs on tasks, each opened at its first use.
pub(super) struct Hanging<'t> {
    pub(super) txn: &'t WriteTransaction,
    values: Option<Table<'t, (u64, u8, u64), Bytes>>,
    inputs: Option<Table<'t, (u64, u64), Bytes>>,
    receipts: Option<Table<'t, (u64, &'static str), Bytes>>,
    receipt_expiry: Option<Table<'t, (u64, u64, &'static str), ()>>,
    turns: Option<Table<'t, (u64, u64), Bytes>>,
    pub(super) asks: Option<Table<'t, (u64, &'static str), Bytes>>,
    steps: Option<Table<'t, (u64, u64, &'static str), Bytes>>,
    runs: Option<Table<'t, (u64, u32), Bytes>>,
    streams: Streams<'t>,
    pub(super) buffer: Vec<u8>,
    pub(super) writes: u64,
    bytes: u64,
}

impl<'t> Hanging<'t> {
    pub(super) fn in_transaction(txn: &'t WriteTransaction) -> Hanging<'t> {
        Hanging {
            txn,
            values: None,
            inputs: None,
            receipts: None,
            receipt_expiry: None,
            turns: None,
            asks: None,
            steps: None,
            runs: None,
            streams: Streams::in_transaction(txn),
            buffer: Vec::new(),
            writes: 0,
            bytes: 0,
        }
    }

    /// Entries put or removed so far.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// Bytes of the values put so far, as encoded.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes what hangs on a task; anything else is its caller's.
    pub(super) fn write(&mut self, task: TaskNumber, write: &Write) -> Result<()> {
        match write {
            Write::Value { key, bytes } => {
                codec::encode_value(Slot::Value(*key), bytes, &mut self.buffer)?;
                let values = opened(&mut self.values, || self.txn.open_table(VALUES))?;
                let key = (task.0, key.kind.byte(), key.index);
                values.insert(key, self.buffer.as_slice()).map_err(fault)?;
                self.put_one();
            }
            Write::RemoveValue(key) => {
                let values = opened(&mut self.values, || self.txn.open_table(VALUES))?;
                let key = (task.0, key.kind.byte(), key.index);
                self.writes += u64::from(values.remove(key).map_err(fault)?.is_some());
            }
            Write::PushInput { seq, input } => self.push_input(task, *seq, input)?,
            Write::PopInput { seq } => {
                let inputs = opened(&mut self.inputs, || self.txn.open_table(INPUTS))?;
                let was_there = inputs.remove((task.0, *seq)).map_err(fault)?.is_some();
                self.writes += u64::from(was_there);
            }
            Write::Receipt {
                input_id,
                receipt,
                expires_at,
            } => {
                let kept = KeptReceipt {
                    receipt: receipt.clone(),
                    listed_at: *expires_at,
                };
                self.put_receipt(task, input_id, &kept)?;
            }
            Write::KeepReceipt {
                input_id,
                listed_at,
                until,
            } => self.keep_receipt(task, input_id, *listed_at, *until)?,
            Write::RemoveReceipt {
                input_id,
                listed_at,
            } => self.remove_receipt(task, input_id, *listed_at)?,
            Write::Turn { slot, turn } => self.put_turn(task, *slot, turn)?,
            Write::Step { turn, key, step } => self.put_step(task, (*turn, key), step)?,
            Write::RemoveStep { turn, key } => self.remove_step(task, (*turn, key))?,
            Write::ForgetSteps { turn } => self.forget_steps(task, *turn)?,
            Write::Ask { key, ask } => self.put_ask(task, key, ask)?,
            Write::RemoveAsk { key } => self.remove_ask(task, key)?,
            Write::RemoveAsks => self.remove_asks(task)?,
            Write::Run(run) => self.put_run(task, run)?,
            Write::Segment { first, segment } => {
                self.streams
                    .put((task, *first), segment, &mut self.buffer)?;
                self.put_one();
            }
            Write::EvictSegments { below } => self.writes += self.streams.evict(task, *below)?,
            Write::Row(_)
            | Write::ChildEnded(_)
            | Write::FamilyOver { .. }
            | Write::Event(_)
            | Write::RemoveTask => {}
        }
        Ok(())
    }

    fn push_input(&mut self, task: TaskNumber, seq: u64, input: &InputRow) -> Result<()> {
        codec::encode(Slot::Input(task, seq), input, &mut self.buffer)?;
        let inputs = opened(&mut self.inputs, || self.txn.open_table(INPUTS))?;
        if cfg!(planted = "mark_not_kept") && inputs.get((task.0, seq)).map_err(fault)?.is_some() {
            return Ok(());
        }
        inputs
            .insert((task.0, seq), self.buffer.as_slice())
            .map_err(fault)?;
        self.put_one();
        Ok(())
    }

    /// What is in the buffer was put.
    pub(super) fn put_one(&mut self) {
        self.writes += 1;
        self.bytes += self.buffer.len() as u64;
    }

    fn put_turn(&mut self, task: TaskNumber, slot: u64, turn: &TurnRow) -> Result<()> {
        let slot = if cfg!(planted = "turn_slot_ignored") {
            turn.total
        } else {
            slot
        };
        codec::encode(Slot::Turn(task, slot), turn, &mut self.buffer)?;
        let turns = opened(&mut self.turns, || self.txn.open_table(TURNS))?;
        turns
            .insert((task.0, slot), self.buffer.as_slice())
            .map_err(fault)?;
        self.put_one();
        Ok(())
    }

    fn put_run(&mut self, task: TaskNumber, run: &RunRow) -> Result<()> {
        let place = if cfg!(planted = "runs_unbounded") {
            run.run
        } else {
            run.run % TaskRow::RUNS_KEPT
        };
        codec::encode(Slot::Run(task, place), run, &mut self.buffer)?;
        let runs = opened(&mut self.runs, || self.txn.open_table(RUNS))?;
        runs.insert((task.0, place), self.buffer.as_slice())
            .map_err(fault)?;
        self.put_one();
        Ok(())
    }

    /// The receipt that is there; the inner error is a damaged one.
    fn kept(
        &mut self,
        task: TaskNumber,
        input_id: &InputId,
    ) -> Result<Option<Result<KeptReceipt>>> {
        let receipts = opened(&mut self.receipts, || self.txn.open_table(RECEIPTS))?;
        let found = receipts.get((task.0, input_id.as_str())).map_err(fault)?;
        let slot = Slot::Receipt(task, input_id.as_str());
        Ok(found.map(|bytes| codec::decode(slot, bytes.value())))
    }

    fn put_receipt(
        &mut self,
        task: TaskNumber,
        input_id: &InputId,
        kept: &KeptReceipt,
    ) -> Result<()> {
        let slot = Slot::Receipt(task, input_id.as_str());
        codec::encode(slot, kept, &mut self.buffer)?;
        let receipts = opened(&mut self.receipts, || self.txn.open_table(RECEIPTS))?;
        let old = receipts
            .insert((task.0, input_id.as_str()), self.buffer.as_slice())
            .map_err(fault)?;
        self.writes += 1;
        self.bytes += self.buffer.len() as u64;
        let old_at = old.and_then(|bytes| listed_at(slot, bytes.value()));
        if old_at == kept.listed_at {
            return Ok(());
        }
        if let Some(at) = old_at {
            self.unlist(task, input_id.as_str(), at)?;
        }
        if let Some(at) = kept.listed_at {
            let expiry = opened(&mut self.receipt_expiry, || {
                self.txn.open_table(RECEIPT_EXPIRY)
            })?;
            expiry
                .insert((at.0, task.0, input_id.as_str()), ())
                .map_err(fault)?;
            self.writes += 1;
        }
        Ok(())
    }

    fn keep_receipt(
        &mut self,
        task: TaskNumber,
        input_id: &InputId,
        listed_at: Micros,
        until: Micros,
    ) -> Result<()> {
        let Some(Ok(kept)) = self.kept(task, input_id)? else {
            return Ok(());
        };
        let is_listed = kept.listed_at == Some(listed_at);
        if !is_listed && !cfg!(planted = "unlisted_receipt_kept_on") {
            return Ok(());
        }
        let kept = KeptReceipt {
            listed_at: Some(until),
            ..kept
        };
        self.put_receipt(task, input_id, &kept)
    }

    fn remove_receipt(
        &mut self,
        task: TaskNumber,
        input_id: &InputId,
        listed_at: Micros,
    ) -> Result<()> {
        self.unlist(task, input_id.as_str(), listed_at)?;
        let goes = match self.kept(task, input_id)? {
            Some(Ok(kept)) => kept.listed_at == Some(listed_at),
            // A damaged receipt cannot say where it is listed, and is of no use to anybody.
            Some(Err(_)) => true,
            None => false,
        };
        if goes || cfg!(planted = "receipt_removed_before_its_time") {
            let receipts = opened(&mut self.receipts, || self.txn.open_table(RECEIPTS))?;
            receipts
                .remove((task.0, input_id.as_str()))
                .map_err(fault)?;
            self.writes += 1;
        }
        Ok(())
    }

    fn unlist(&mut self, task: TaskNumber, input_id: &str, at: Micros) -> Result<()> {
        if cfg!(planted = "receipt_expiry_leaks") {
            return Ok(());
        }
        let expiry = opened(&mut self.receipt_expiry, || {
            self.txn.open_table(RECEIPT_EXPIRY)
        })?;
        let was_there = expiry
            .remove((at.0, task.0, input_id))
            .map_err(fault)?
            .is_some();
        self.writes += u64::from(was_there);
        Ok(())
    }

    /// Removes entries of what hangs on a task, one for each in `room`, which shrinks by as many. True when there
    /// are more.
    pub(super) fn sweep(&mut self, task: TaskNumber, room: &mut usize) -> Result<bool> {
        let before = *room;
        let task_end = task.0.saturating_add(1);
        let values = opened(&mut self.values, || self.txn.open_table(VALUES))?;
        let mut more = sweep(values, (task.0, 0, 0)..(task_end, 0, 0), room)?;
        let inputs = opened(&mut self.inputs, || self.txn.open_table(INPUTS))?;
        more |= sweep(inputs, (task.0, 0)..(task_end, 0), room)?;
        more |= self.sweep_receipts(task, room)?;
        let turns = opened(&mut self.turns, || self.txn.open_table(TURNS))?;
        more |= sweep(turns, (task.0, 0)..(task_end, 0), room)?;
        let steps = opened(&mut self.steps, || self.txn.open_table(STEPS))?;
        more |= sweep(steps, (task.0, 0, "")..(task_end, 0, ""), room)?;
        let runs = opened(&mut self.runs, || self.txn.open_table(RUNS))?;
        more |= sweep(runs, (task.0, 0)..(task_end, 0), room)?;
        let stream = self.streams.table()?;
        more |= sweep(stream, (task.0, 0)..(task_end, 0), room)?;
        self.writes += (before - *room) as u64;
        Ok(more)
    }

    /// Receipts take their entries in `receipt_expiry` along, so that nothing is listed which nobody can remove.
    fn sweep_receipts(&mut self, task: TaskNumber, room: &mut usize) -> Result<bool> {
        let range = (task.0, "")..(task.0.saturating_add(1), "");
        let receipts = opened(&mut self.receipts, || self.txn.open_table(RECEIPTS))?;
        let mut listed: Vec<(Micros, Box<str>)> = Vec::new();
        let removed = receipts
            .extract_from_if(range.clone(), |_, _| true)
            .map_err(fault)?;
        for entry in removed.take(*room) {
            let (key, bytes) = entry.map_err(fault)?;
            let (_, input_id) = key.value();
            let slot = Slot::Receipt(task, input_id);
            if let Some(at) = listed_at(slot, bytes.value()) {
                listed.push((at, input_id.into()));
            }
            *room -= 1;
        }
        let more = receipts.range(range).map_err(fault)?.next().is_some();
        for (at, input_id) in listed {
            self.unlist(task, &input_id, at)?;
        }
        Ok(more)
    }
}

/// The moment a stored receipt is listed under. A damaged one cannot say: its entry stays in `receipt_expiry`, where
/// whoever reads it finds no such receipt.
fn listed_at(slot: Slot<'_>, bytes: &[u8]) -> Option<Micros> {
    let kept: KeptReceipt = codec::decode(slot, bytes).ok()?;
    kept.listed_at
}

/// Removes entries of a range, one for each in `room`, which shrinks by as many. True when there are more.
fn sweep<'r, K: Key + 'static, R: Borrow<K::SelfType<'r>> + 'r>(
    table: &mut Table<'_, K, Bytes>,
    range: impl RangeBounds<R> + Clone + 'r,
    room: &mut usize,
) -> Result<bool> {
    let removed = table
        .extract_from_if(range.clone(), |_, _| true)
        .map_err(fault)?;
    for entry in removed.take(*room) {
        entry.map_err(fault)?;
        *room -= 1;
    }
    let mut left = table.range(range).map_err(fault)?;
    Ok(left.next().is_some())
}
