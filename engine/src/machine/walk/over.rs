//! What follows when a turn, a run or a task is over: who is told, what is kept, what comes next.

use super::advance::Advance;
use super::model::{End, Kept, Model, Paper, Phase, Ran, Reason, Scope, Suspect, Wait, Why, id};
use crate::machine::{Claimant, Effect};
use outlive_storage::row::{EventKind, TurnResult};

impl Advance<'_> {
    pub(super) fn time_out(&mut self) {
        let timeout_us = self.model.rules.timeout_us;
        self.complete(End::TimedOut { timeout_us });
    }

    pub(super) fn cancelled(
        &mut self,
        (scope, reason): (Scope, Reason),
        worker: Option<&Claimant>,
    ) {
        let end = End::Cancelled {
            reason,
            output: false,
        };
        match scope {
            Scope::Task => self.complete(end),
            Scope::Turn => self.go_on(end, Why::Cancelled(reason), worker),
        }
    }

    pub(super) fn answer(&mut self, result: TurnResult) {
        let mut inputs = vec![self.model.turn.input];
        inputs.extend(self.model.taken());
        for position in inputs {
            self.tell(Effect::Answered {
                input_id: id(position),
                turn: self.model.turn.number,
                result: result.clone(),
            });
        }
    }

    /// What the ending claim took ends with its turn; what an earlier one took waits again.
    fn consume(&mut self) {
        let turn = self.model.turn;
        for position in self.model.taken() {
            let known = &mut self.model.inputs[position];
            let paper = Paper::Turn {
                run: turn.run,
                turn: turn.number,
                total: turn.total,
                step: known.taken.map(|taken| taken.key),
            };
            (known.paper, known.listed) = (Some(paper), true);
        }
        for known in &mut self.model.inputs {
            known.taken = None;
        }
    }

    /// The turn's result can be asked for as long as its turn is among the last ones.
    fn keep(&mut self, end: End) {
        let turn = self.model.turn;
        let known = &mut self.model.inputs[turn.input];
        let (run, number, total) = (turn.run, turn.number, turn.total);
        let turn_paper = Paper::Turn {
            run,
            turn: number,
            total,
            step: None,
        };
        (known.paper, known.listed) = (Some(turn_paper), true);
        let kept = &mut self.model.kept;
        kept.push(Kept {
            input: turn.input,
            run,
            number,
            total,
            end,
        });
        let many = kept
            .len()
            .saturating_sub(self.model.rules.keep_turns as usize);
        kept.drain(..many);
    }

    /// The turn is over and the task goes on: with the next input, or with the wait for one.
    pub(super) fn go_on(&mut self, end: End, why: Why, worker: Option<&Claimant>) {
        self.answer(end.result(self.model.turn.total));
        self.keep(end);
        self.consume();
        let Some(next) = self.model.queue().first().copied() else {
            let turn = &mut self.model.turn;
            (turn.cancel, turn.deadline, turn.interim) = (None, None, 0);
            turn.left_us = None;
            turn.suspect = Suspect::CLEAR;
            self.model.chained = true;
            self.model.phase = Phase::Waiting(why);
            self.story.what = Some(match why {
                Why::More | Why::Failed => EventKind::Suspended,
                Why::Cancelled(_) => EventKind::TurnCancelled,
                Why::Terminated => EventKind::TurnTerminated,
            });
            return;
        };
        self.begin(next, true);
        let turn = self.model.turn;
        self.model.inputs[next].paper = Some(Paper::Turn {
            run: turn.run,
            turn: turn.number,
            total: turn.total,
            step: None,
        });
        if let Some(claimant) = worker {
            return self.run(claimant, EventKind::NextTurn);
        }
        self.story.what = Some(EventKind::NextTurn);
        self.wait(Wait::Slot, self.now);
    }

    /// The turn and the task are over.
    pub(super) fn complete(&mut self, end: End) {
        let what = match end {
            End::Output { .. } => EventKind::Succeeded,
            End::Failed { .. } => EventKind::Failed,
            End::Cancelled { .. } => EventKind::Cancelled,
            End::Terminated => EventKind::Terminated,
            End::TimedOut { .. } => EventKind::TimedOut,
        };
        let open = self.model.is_open();
        if open {
            self.answer(end.result(self.model.turn.total));
        }
        self.tell(Effect::TaskEnded);
        let Some(keep_us) = self.model.rules.keep_us else {
            return self.remove(what);
        };
        if open && self.model.keeps_turns() {
            self.keep(end);
        }
        self.consume();
        for known in &mut self.model.inputs {
            if known.paper == Some(Paper::Queued) {
                (known.paper, known.listed) = (Some(Paper::TaskEnded), true);
            }
        }
        let turn = &mut self.model.turn;
        (turn.cancel, turn.deadline, turn.left_us) = (None, None, None);
        turn.suspect = Suspect::CLEAR;
        if matches!(end, End::Output { .. } | End::Failed { .. }) {
            turn.interim = 0;
        }
        let expires = self.now.plus(keep_us);
        self.model.phase = Phase::Ended { end, expires };
        self.story.what = Some(what);
    }

    /// Another run begins: the old outcome becomes history.
    pub(super) fn end_run(&mut self) {
        let Phase::Ended { end, .. } = self.model.phase else {
            return;
        };
        let turn = self.model.turn;
        self.model.runs.push(Ran {
            run: turn.run,
            turns: turn.number,
            total: turn.total,
            interim: turn.interim,
            end,
        });
        if !self.model.keeps_turns() {
            self.keep(end);
        }
    }
}

impl Model {
    /// The only turn a task ever had is told by its row alone, until another run needs the row.
    fn keeps_turns(&self) -> bool {
        self.turn.total > 1 || self.inputs.len() > 1 || self.chained
    }
}
