//! The steps of turns within one write transaction: put, removed, and forgotten turn by turn.

use super::{Hanging, Result, sweep};
use crate::codec;
use crate::plan::SWEPT_AT_ONCE;
use crate::redb::batch::opened;
use crate::redb::fault;
use crate::redb::tables::{OLD_STEPS, STEPS};
use crate::row::{StepRow, TaskNumber};
use crate::slot::Slot;
use redb::ReadableTable;

impl Hanging<'_> {
    pub(super) fn put_step(
        &mut self,
        task: TaskNumber,
        (turn, key): (u64, &str),
        step: &StepRow,
    ) -> Result<()> {
        codec::encode_step(Slot::Step(task, turn, key), step, &mut self.buffer)?;
        let steps = opened(&mut self.steps, || self.txn.open_table(STEPS))?;
        steps
            .insert((task.0, turn, key), self.buffer.as_slice())
            .map_err(fault)?;
        self.put_one();
        Ok(())
    }

    pub(super) fn remove_step(&mut self, task: TaskNumber, (turn, key): (u64, &str)) -> Result<()> {
        let steps = opened(&mut self.steps, || self.txn.open_table(STEPS))?;
        let was_there = steps.remove((task.0, turn, key)).map_err(fault)?.is_some();
        self.writes += u64::from(was_there);
        Ok(())
    }

    /// What few steps there are go at once, more of them later.
    pub(super) fn forget_steps(&mut self, task: TaskNumber, turn: u64) -> Result<()> {
        let mut room = SWEPT_AT_ONCE;
        if !self.sweep_steps(task, turn, &mut room)? || cfg!(planted = "forgotten_steps_stay") {
            return Ok(());
        }
        let mut old_steps = self.txn.open_table(OLD_STEPS).map_err(fault)?;
        old_steps.insert((task.0, turn), ()).map_err(fault)?;
        self.writes += 1;
        Ok(())
    }

    /// Removes steps of turns that nobody asks for, one for each in `room`, which shrinks by as many. True when there
    /// are more.
    pub(in crate::redb) fn sweep_old_steps(&mut self, room: &mut usize) -> Result<bool> {
        let mut old_steps = self.txn.open_table(OLD_STEPS).map_err(fault)?;
        loop {
            let first = old_steps.first().map_err(fault)?;
            let Some((task, turn)) = first.map(|(key, _)| key.value()) else {
                return Ok(false);
            };
            if self.sweep_steps(TaskNumber(task), turn, room)? {
                return Ok(true);
            }
            old_steps.remove((task, turn)).map_err(fault)?;
            self.writes += 1;
        }
    }

    fn sweep_steps(&mut self, task: TaskNumber, turn: u64, room: &mut usize) -> Result<bool> {
        let before = *room;
        let steps = opened(&mut self.steps, || self.txn.open_table(STEPS))?;
        let of_turn = (task.0, turn, "")..(task.0, turn.saturating_add(1), "");
        let more = sweep(steps, of_turn, room)?;
        self.writes += (before - *room) as u64;
        Ok(more)
    }
}
