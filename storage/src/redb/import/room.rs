//! The numbers of a line that an engine counts on from: one that leaves it no room is refused with its line, and not by
//! the engine that would have to count beyond it.

use super::LineFault;
use crate::redb::lines::Line;
use crate::row::{
    EventRow, Receipt, RunRow, SegmentRow, State, TaskNumber, TaskRow, TurnRow, WaitReason,
};

/// Numbers of 64 bits above this come from no file of ours. Those of copies go on 2^32 above those of their originals,
/// which leaves room for a thousand million copies of copies.
pub(super) const NUMBER_MAX: u64 = 1 << 62;
/// Numbers of 32 bits above this leave a task, or the names of a file, less than a thousand million to count on.
pub(super) const COUNT_MAX: u32 = u32::MAX - (1 << 30);

/// Whether each number of a line leaves room for those that come after it.
///
/// # Errors
/// [`LineFault::NoRoom`] of the first that does not.
pub(super) fn check(line: &Line) -> Result<(), LineFault> {
    let mut asked = Asked(Ok(()));
    match line {
        Line::OutliveExport(head) => {
            asked.number("etag", head.etag);
            asked.number("generation", head.generation);
        }
        Line::Definition { number, .. } => asked.count("number", *number),
        Line::Task { task, row, .. } => asked.task(*task, row),
        Line::Value { index, .. } => asked.number("index", *index),
        Line::Input { seq, row, .. } => {
            asked.number("seq", *seq);
            let taken = row.taken.as_ref();
            asked.number("taken.generation", taken.map_or(0, |by| by.generation.0));
        }
        Line::Receipt { row, .. } => asked.receipt(&row.receipt),
        Line::Turn { slot, row, .. } => asked.turn(*slot, row),
        Line::Step { turn, row, .. } => {
            asked.number("turn", *turn);
            asked.count("attempt", row.attempt);
        }
        Line::Ask { row, .. } => {
            asked.count("run", row.run);
            asked.count("turn", row.turn);
        }
        Line::Run { place, row, .. } => asked.run(*place, row),
        Line::Segment { first, row, .. } => asked.segment(*first, row),
        Line::ChildrenEnded { turn, ended, .. } => {
            asked.number("turn", *turn);
            asked.number("ended", *ended);
        }
        Line::FamilyOver { turn, .. } => asked.number("turn", *turn),
        Line::Event { etag, row } => asked.event(*etag, row),
        Line::Life { position, .. } => asked.number("position", *position),
        Line::End(_) => {}
    }
    if cfg!(planted = "import_of_the_last_numbers") {
        return Ok(());
    }
    asked.0
}

/// What was found so far: the first number without room.
struct Asked(Result<(), LineFault>);

impl Asked {
    fn number(&mut self, what: &'static str, found: u64) {
        self.at_most(what, found, NUMBER_MAX);
    }

    fn count(&mut self, what: &'static str, found: u32) {
        self.at_most(what, u64::from(found), u64::from(COUNT_MAX));
    }

    fn at_most(&mut self, what: &'static str, found: u64, most: u64) {
        if found > most && self.0.is_ok() {
            self.0 = Err(LineFault::NoRoom { what, found, most });
        }
    }

    fn task(&mut self, task: u64, row: &TaskRow) {
        self.number("task", task);
        self.number("etag", row.etag.0);
        self.number("generation", row.generation.0);
        self.count("def", row.def.0);
        self.count("run", row.run);
        self.count("turn", row.turn);
        self.number("turns_total", row.turns_total);
        self.count("attempt", row.attempt);
        self.count("crashes", row.crashes);
        self.count("guard.deaths", row.guard.deaths);
        self.count("guard.alone", row.guard.alone);
        self.number("input_seq", row.input_seq);
        self.number("inputs_accepted", row.inputs_accepted);
        self.number("inputs_waiting", row.inputs_waiting);
        self.number("inputs_taken", row.inputs_taken);
        self.number("steps_of", row.steps_of);
        let previous = row.previous.as_ref();
        self.number("previous.seq", previous.map_or(0, |previous| previous.seq));
        if let Some(parent) = &row.parent {
            let TaskNumber(task) = parent.family.task;
            self.number("parent.family.task", task);
            self.number("parent.family.turn", parent.family.turn);
        }
        match &row.state {
            State::InProgress { lease, .. } => {
                self.number("state.lease.generation", lease.generation.0);
            }
            State::Pending { wait, .. } | State::Suspended { wait, .. } => self.wait(wait),
            State::Completed { .. } => {}
        }
    }

    fn wait(&mut self, wait: &WaitReason) {
        match wait {
            WaitReason::Isolated { deaths } | WaitReason::Quarantined { deaths } => {
                self.count("state.wait.deaths", *deaths);
            }
            // Of a question the highest number says that it waits for no child.
            WaitReason::Answer { ended, .. } if *ended == u64::MAX => {}
            WaitReason::Answer { ended, .. } | WaitReason::Children { ended, .. } => {
                self.number("state.wait.ended", *ended);
            }
            WaitReason::Slot
            | WaitReason::Delayed
            | WaitReason::BackOff
            | WaitReason::WaitingHandler
            | WaitReason::Undecodable { .. }
            | WaitReason::Input { .. }
            | WaitReason::DuplicateStep { .. }
            | WaitReason::UnknownOutcome { .. }
            | WaitReason::Sleeping { .. } => {}
        }
    }

    fn receipt(&mut self, receipt: &Receipt) {
        match receipt {
            Receipt::Queued { seq } => self.number("receipt.seq", *seq),
            Receipt::Turn {
                run, turn, total, ..
            } => {
                self.count("receipt.run", *run);
                self.count("receipt.turn", *turn);
                self.number("receipt.total", *total);
            }
            Receipt::Withdrawn { .. } | Receipt::TaskEnded => {}
        }
    }

    fn turn(&mut self, slot: u64, row: &TurnRow) {
        self.number("slot", slot);
        self.count("run", row.run);
        self.count("turn", row.turn);
        self.number("total", row.total);
    }

    fn run(&mut self, place: u32, row: &RunRow) {
        self.count("place", place);
        self.count("run", row.run);
        self.count("turns", row.turns);
        self.number("last_total", row.last_total);
    }

    fn segment(&mut self, first: u64, row: &SegmentRow) {
        self.number("first", first);
        self.count("run", row.run);
        self.count("turn", row.turn);
        self.count("attempt", row.attempt);
        self.number("generation", row.generation.0);
        self.number("input_seq", row.input_seq);
    }

    fn event(&mut self, etag: u64, row: &EventRow) {
        self.number("etag", etag.max(row.etag.0));
        self.number("task", row.task.0);
        self.count("def", row.def.0);
        self.count("run", row.run);
        self.count("turn", row.turn);
        self.count("attempt", row.attempt);
        self.number("generation", row.generation.0);
    }
}
