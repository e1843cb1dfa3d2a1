//! The end of a turn as its worker reports it; its claim was checked.

use super::answer::{Effect, Rejected, Transition};
use super::change::{by_worker, changed, held, written};
use super::event::{Claimant, TurnEnd, Wait};
use super::finish::complete;
use super::inbox::{left, without_missed};
use super::next_turn::{Over, Runner, go_on};
use super::park::park;
use super::retry::delay_us;
use super::view::{Now, View};
use outlive_storage::row::{
    CancelRow, CancelScope, EntryKind, EventKind, Failure, Generation, Guard, Outcome, Payload,
    State, TaskRow, TurnResult, WaitReason,
};
use smallvec::smallvec;

/// What the end of a turn makes of its task; whose turn it is was checked.
pub(super) fn end(
    view: &View<'_>,
    row: &TaskRow,
    generation: Generation,
    (end, claimant, missed): (TurnEnd, Claimant, Vec<Box<str>>),
    now: Now,
) -> Result<Transition, Rejected> {
    held(row, generation)?;
    if missed.is_empty() {
        return Ok(decide(view, row, (end, claimant), now));
    }
    let inbox = &without_missed(view.inbox, &missed);
    let view = View { inbox, ..*view };
    Ok(decide(&view, row, (end, claimant), now))
}

fn decide(
    view: &View<'_>,
    row: &TaskRow,
    (end, claimant): (TurnEnd, Claimant),
    now: Now,
) -> Transition {
    let ending = Ending {
        view,
        row,
        claimant,
        now,
    };
    ending.decide(end)
}

/// One end of one turn.
struct Ending<'a> {
    view: &'a View<'a>,
    row: &'a TaskRow,
    claimant: Claimant,
    now: Now,
}

impl Ending<'_> {
    /// What the end makes of the task. A reply counts whatever is on record; anything else yields to a cancel, then
    /// to a time-out, then to the retry policy.
    fn decide(self, end: TurnEnd) -> Transition {
        match end {
            TurnEnd::Succeeded(output) => self.succeed(output),
            TurnEnd::Suspended { output, reason } => self.suspend(output, reason),
            TurnEnd::Failed {
                failure,
                terminal,
                retry_after_us,
            } => self.fail(failure, terminal, retry_after_us),
            TurnEnd::Cancelled => self.agree(),
            TurnEnd::Held(wait) => self.hold(wait),
            TurnEnd::Parked(waits) => self.wait(waits),
            TurnEnd::Undecodable {
                what,
                expected,
                entered,
            } => self.park((what, expected), entered),
        }
    }

    fn succeed(self, output: Payload) -> Transition {
        let queue = self.is_followed() && !cfg!(planted = "completion_ignores_queue");
        if !queue || self.task_is_cancelled() {
            return self.complete(Outcome::Succeeded(output));
        }
        let result = TurnResult::Replied {
            output,
            suspended: None,
            superseded: true,
        };
        self.go_on(Over {
            result,
            wait_reason: "".into(),
            what: EventKind::Suspended,
        })
    }

    fn suspend(self, output: Payload, reason: Box<str>) -> Transition {
        if let Some(cancel) = self.task_cancel() {
            let reason = cancel.reason.clone();
            return self.complete(Outcome::Cancelled {
                reason,
                output: Some(output),
            });
        }
        let superseded = self.is_followed();
        let result = TurnResult::Replied {
            output,
            suspended: Some(reason.clone()),
            superseded,
        };
        self.go_on(Over {
            result,
            wait_reason: reason,
            what: EventKind::Suspended,
        })
    }

    /// The handler agreed to a cancel. Where nobody asked for one it gives up by itself: a turn that was steered
    /// gives way to the next input, any other one ends its task.
    fn agree(self) -> Transition {
        match &self.row.cancel {
            Some(cancel) => {
                let cancel = cancel.clone();
                self.cancelled(cancel)
            }
            None if self.deadline_passed() => self.timed_out(),
            None => {
                let steered = self.is_followed() && !cfg!(planted = "steered_turn_ends_task");
                let scope = if steered {
                    CancelScope::Turn
                } else {
                    CancelScope::Task
                };
                let (reason, at) = ("its handler cancelled it".into(), self.now.at);
                self.cancelled(CancelRow { scope, reason, at })
            }
        }
    }

    fn cancelled(self, cancel: CancelRow) -> Transition {
        let CancelRow { scope, reason, .. } = cancel;
        let outcome = Outcome::Cancelled {
            reason: reason.clone(),
            output: None,
        };
        match scope {
            CancelScope::Task => self.complete(outcome),
            CancelScope::Turn => self.go_on(Over {
                result: TurnResult::Ended(outcome),
                wait_reason: reason,
                what: EventKind::TurnCancelled,
            }),
        }
    }

    fn fail(self, failure: Failure, terminal: bool, retry_after_us: Option<u64>) -> Transition {
        if let Some(cancel) = self.row.cancel.clone()
            && !cfg!(planted = "cancelled_turn_retried")
        {
            return self.cancelled(cancel);
        }
        if self.deadline_passed() {
            return self.timed_out();
        }
        let row = self.row;
        let failure = Failure {
            attempts: row.attempt,
            ..failure
        };
        let most = row.options.retry.attempts_max;
        let spent = row.attempt >= most && !cfg!(planted = "retry_over_budget");
        if !terminal && !spent {
            return self.back_off(failure, retry_after_us);
        }
        if !row.options.keep_alive_on_failure || cfg!(planted = "failure_ends_chain") {
            return self.complete(Outcome::Failed(failure));
        }
        let wait_reason = "its last turn failed".into();
        self.go_on(Over {
            result: TurnResult::Ended(Outcome::Failed(failure)),
            wait_reason,
            what: EventKind::Suspended,
        })
    }

    /// The worker is free during the back-off; the time is in the row, so a crash keeps it. A turn whose time-out
    /// falls into the back-off is looked at then.
    fn back_off(self, failure: Failure, retry_after_us: Option<u64>) -> Transition {
        let Ending { view, row, now, .. } = self;
        let policy = &row.options.retry;
        let delay =
            retry_after_us.unwrap_or_else(|| delay_us(policy, view.task, row.turn, row.attempt));
        let mut due_at = now.times.after(delay);
        let sooner = now.times.left_us(row.deadline) < delay;
        if sooner && !cfg!(planted = "back_off_outlasts_timeout") {
            due_at = row.deadline;
        }
        let mut next = changed(row, now);
        next.entry = EntryKind::Retried;
        next.last_failure = Some(failure);
        next.guard = Guard::CLEAR;
        next.state = State::Pending {
            due_at,
            wait: WaitReason::BackOff,
        };
        let due = Effect::Due {
            def: row.def,
            at: due_at.at,
        };
        written(by_worker(row), next, EventKind::BackedOff, smallvec![due])
    }

    /// The handler waits for an operator.
    fn hold(self, wait: WaitReason) -> Transition {
        if let Some(cancel) = self.row.cancel.clone() {
            return self.cancelled(cancel);
        }
        let Ending { row, now, .. } = self;
        let mut next = self.set_aside(true);
        next.state = State::Suspended {
            since: now.at,
            wait,
        };
        written(
            by_worker(row),
            next,
            EventKind::Held,
            smallvec![Effect::Idle],
        )
    }

    /// The handler waits for something that takes long. Whoever cancelled it or ran out of patience need not wait.
    fn wait(self, waits: Vec<Wait>) -> Transition {
        if let Some(cancel) = self.row.cancel.clone()
            && !cfg!(planted = "cancelled_turn_waits")
        {
            return self.cancelled(cancel);
        }
        if self.deadline_passed() {
            return self.timed_out();
        }
        let mut next = changed(self.row, self.now);
        // It is not charged: the claim that enters it again counts the same attempt.
        next.attempt = next.attempt.saturating_sub(1);
        next.entry = EntryKind::Resumed;
        next.guard = Guard::CLEAR;
        park(self.view, self.row, next, waits, self.now)
    }

    /// The turn as it is put aside: its attempt has not failed and is given back. That of a recovered turn was counted by
    /// the claim before, as the next claim knows. What comes after a first entry of the handler is a wake-up.
    fn set_aside(&self, entered: bool) -> TaskRow {
        let mut next = changed(self.row, self.now);
        let again = entered && !cfg!(planted = "parked_turn_enters_fresh");
        if again && self.row.entry == EntryKind::Fresh {
            next.entry = EntryKind::Resumed;
        }
        if self.row.entry != EntryKind::Recovered && !cfg!(planted = "park_charges_attempt") {
            next.attempt = next.attempt.saturating_sub(1);
        }
        next.guard = Guard::CLEAR;
        next
    }

    fn park(self, (what, expected): (Box<str>, Box<str>), entered: bool) -> Transition {
        if let Some(cancel) = self.row.cancel.clone() {
            return self.cancelled(cancel);
        }
        let Ending { row, now, .. } = self;
        let mut next = self.set_aside(entered);
        let parked = Effect::Parked {
            input_id: row.input_id.clone(),
            what: what.clone(),
            expected: expected.clone(),
        };
        next.state = State::Suspended {
            since: now.at,
            wait: WaitReason::Undecodable { what, expected },
        };
        written(by_worker(row), next, EventKind::Parked, smallvec![parked])
    }

    fn timed_out(self) -> Transition {
        self.complete(time_out(self.row))
    }

    fn complete(&self, outcome: Outcome) -> Transition {
        complete(self.view, self.row, by_worker(self.row), outcome, self.now)
    }

    fn go_on(self, over: Over) -> Transition {
        let runner = Runner::Worker(self.claimant);
        go_on(
            self.view,
            self.row,
            by_worker(self.row),
            over,
            runner,
            self.now,
        )
    }

    /// Whether an input waits that the turn has not taken.
    fn is_followed(&self) -> bool {
        left(self.view, self.row).next().is_some()
    }

    fn task_cancel(&self) -> Option<&CancelRow> {
        let cancel = self.row.cancel.as_ref();
        cancel.filter(|cancel| cancel.scope == CancelScope::Task)
    }

    fn task_is_cancelled(&self) -> bool {
        self.task_cancel().is_some() && !cfg!(planted = "cancelled_task_goes_on")
    }

    fn deadline_passed(&self) -> bool {
        self.now.times.reached(self.row.deadline) && !cfg!(planted = "late_error_retried")
    }
}

/// The outcome of a turn that took longer than it may.
pub(super) fn time_out(row: &TaskRow) -> Outcome {
    let limit = std::time::Duration::from_micros(row.options.timeout_us);
    Outcome::Terminated {
        reason: format!("a turn took longer than {limit:?}").into(),
        timed_out: true,
    }
}
