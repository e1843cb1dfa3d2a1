//! What each event must be answered with: the tables of what each call does, said over the model.

use super::model::{End, Model, Paper, Phase, STEP, Suspect, Watch, id};
use super::ops::{DEF, ETAG, KEYS, payload};
use super::world::NOW;
use crate::machine::{
    ALONE_DEATHS, Accepted, Aim, Answer, Event, Handed, Named, NewInput, OnConflict, Overdue,
    Parting, Recovered, Rejected, SUSPECT_DEATHS, Verdict as GuardVerdict,
};
use outlive_storage::id::InputId;
use outlive_storage::row::{Delivery, Etag, Generation, Micros};

type Verdict = Result<Answer, Rejected>;

/// What an order to end something comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Task,
    Turn,
    Queued(usize),
    Withdrawn,
}

pub(super) fn accepted(how: Accepted, input_id: &InputId, run: u32) -> Answer {
    let input_id = input_id.clone();
    let named = Named { input_id, run };
    Answer::Accepted { how, named }
}

impl Model {
    pub(super) fn verdict(&self, event: &Event, now: Micros) -> Verdict {
        if self.phase == Phase::Absent {
            return verdict_on_nothing(event);
        }
        match event {
            Event::Input(input) => self.verdict_on_input(input),
            Event::Resume {
                input_id, if_etag, ..
            } => {
                self.check_etag(*if_etag)?;
                let waits = matches!(self.phase, Phase::Waiting(_));
                let answer = accepted(Accepted::Resumed, input_id, self.turn.run);
                waits.then_some(answer).ok_or_else(|| self.conflict())
            }
            Event::Retry { if_etag, .. } => {
                self.check_etag(*if_etag)?;
                // What is only held back goes on in its run.
                let ended = matches!(self.phase, Phase::Ended { .. });
                let run = self.turn.run + u32::from(ended);
                let answer = accepted(Accepted::Restarted, &self.current_id(), run);
                let may = self.may_be_retried();
                may.then_some(answer).ok_or_else(|| self.conflict())
            }
            Event::Cancel(order) | Event::Terminate(order) => {
                self.check_etag(order.if_etag)?;
                self.target(&order.aim).map(|_| Answer::Done)
            }
            Event::Delete { force, if_etag } => {
                self.check_etag(*if_etag)?;
                let may = *force || !self.runs_now();
                may.then_some(Answer::Done).ok_or_else(|| self.conflict())
            }
            Event::End { generation, .. } | Event::Keep { generation } => {
                self.check_claim(*generation)
            }
            Event::Take { generation, key } => {
                self.check_claim(*generation)?;
                Ok(Answer::Taken(self.takes(key).map(handed)))
            }
            Event::Step { generation, .. } => self.check_claim(*generation),
            Event::Ask(_) | Event::ExpireAsk { .. } | Event::Answer(_) => unreachable!(),
            Event::Resolve { key, if_etag, .. } => {
                self.check_etag(*if_etag)?;
                let waits = self.phase == (Phase::Aside { unknown: true }) && **key == *STEP;
                waits.then_some(Answer::Done).ok_or_else(|| self.conflict())
            }
            Event::Stop { generation, why } => {
                self.check_claim(*generation)?;
                self.verdict_on_stop(*why, now)
            }
            // What the engine itself sends.
            _ => self.verdict_on_engine(event, now),
        }
    }

    /// The decision table of a start.
    fn verdict_on_input(&self, input: &NewInput) -> Verdict {
        if input.def != DEF {
            return Err(Rejected::OtherDefinition { def: DEF });
        }
        let run = self.turn.run;
        if input.input_id_given
            && let Some(position) = self.position(&input.input_id)
        {
            let run = self.latest_run_of(position);
            return Ok(accepted(Accepted::Attached, &input.input_id, run));
        }
        self.check_etag(input.if_etag)?;
        let last = id(self.inputs.len() - 1);
        if input.after.as_ref().is_some_and(|after| *after != last) {
            return Err(self.precondition());
        }
        let attached = Ok(accepted(Accepted::Attached, &self.current_id(), run));
        match self.phase {
            Phase::Waiting(_) => return Ok(accepted(Accepted::Resumed, &input.input_id, run)),
            Phase::Ended { .. } => {
                return match input.on_conflict {
                    OnConflict::Refuse => Err(self.conflict()),
                    OnConflict::Restart => {
                        Ok(accepted(Accepted::Restarted, &input.input_id, run + 1))
                    }
                    OnConflict::Attach => attached,
                };
            }
            Phase::Absent
            | Phase::Pending { .. }
            | Phase::Isolated
            | Phase::Running { .. }
            | Phase::Parked
            | Phase::Aside { .. }
            | Phase::Quarantined => {}
        }
        let Some(max) = self.rules.steerable_max else {
            let parked = matches!(
                self.phase,
                Phase::Parked | Phase::Aside { .. } | Phase::Quarantined
            );
            let equal = [self.inputs[self.turn.input].like; 16] == input.digest;
            let repeated = !parked && self.turn.number == 1 && equal && !input.input_id_given;
            if repeated || input.on_conflict == OnConflict::Attach {
                return attached;
            }
            return Err(self.conflict());
        };
        if self.waiting().len() as u64 >= max {
            return Err(Rejected::QueueFull { max });
        }
        Ok(accepted(Accepted::Queued, &input.input_id, run))
    }

    fn verdict_on_stop(&self, why: Overdue, now: Micros) -> Verdict {
        let status = self.status();
        match why {
            Overdue::TimedOut if self.is_timed_out(now) => Ok(Answer::Done),
            Overdue::TimedOut => Err(Rejected::NotDue {
                due_at: self.turn.deadline.unwrap_or(Micros::NEVER),
            }),
            Overdue::CancelIgnored if self.turn.cancel.is_some() => Ok(Answer::Done),
            Overdue::CancelIgnored => Err(Rejected::WrongState { status }),
        }
    }

    /// The engine's own events.
    fn verdict_on_engine(&self, event: &Event, now: Micros) -> Verdict {
        let fits = match (event, self.phase) {
            (Event::Claim(_), Phase::Isolated) => {
                let due_at = Micros::ISOLATED;
                return Err(Rejected::NotDue { due_at });
            }
            (Event::Claim(_), Phase::Pending { due, .. }) if due > now => {
                return Err(Rejected::NotDue { due_at: due });
            }
            (Event::Claim(_), phase) => matches!(phase, Phase::Pending { .. }),
            (Event::Lapse, Phase::Isolated) => {
                let due_at = Micros::ISOLATED;
                return Err(Rejected::NotDue { due_at });
            }
            (Event::Lapse, Phase::Pending { .. }) if !self.is_timed_out(now) => {
                let due_at = self.turn.deadline.unwrap_or(Micros::NEVER);
                return Err(Rejected::NotDue { due_at });
            }
            (Event::Lapse, phase) => matches!(phase, Phase::Pending { .. }),
            (
                Event::Recover { claimant, .. } | Event::Orphan { claimant, .. },
                Phase::Running { instance, .. },
            ) => instance != claimant.instance,
            (Event::Reconsider, phase) => phase == Phase::Parked,
            (Event::Probe { .. }, phase) => phase == Phase::Isolated,
            (Event::Acquit, phase) => {
                let suspected = self.turn.suspect != Suspect::CLEAR;
                phase == Phase::Isolated || (self.runs_now() && suspected)
            }
            (Event::Expire, Phase::Ended { expires, .. }) => expires <= now,
            (Event::ForgetInput { .. }, _) => true,
            (_, _) => false,
        };
        let status = self.status();
        if !fits {
            return Err(Rejected::WrongState { status });
        }
        if let Event::Recover {
            parting, verdict, ..
        } = event
        {
            return Ok(Answer::Recovered(self.fate(*parting, *verdict)));
        }
        if let Event::Orphan {
            parting, verdict, ..
        } = event
        {
            let fate = self.fate(*parting, *verdict);
            return Ok(match fate {
                Recovered::Isolated | Recovered::Quarantined => Answer::Recovered(fate),
                Recovered::Entered | Recovered::Cancelled => Answer::Done,
            });
        }
        Ok(Answer::Done)
    }

    /// What becomes of a turn whose process is gone.
    pub(super) fn fate(&self, parting: Parting, verdict: GuardVerdict) -> Recovered {
        let turn = &self.turn;
        if turn.cancel.is_some() {
            return Recovered::Cancelled;
        }
        if (parting, verdict) != (Parting::Died, GuardVerdict::Count) {
            return Recovered::Entered;
        }
        let suspect = &turn.suspect;
        if suspect.alone + u32::from(suspect.watch == Watch::Alone) == ALONE_DEATHS {
            return Recovered::Quarantined;
        }
        if suspect.deaths + 1 >= SUSPECT_DEATHS {
            return Recovered::Isolated;
        }
        Recovered::Entered
    }

    /// Which input the running turn gets under a key: what was recorded under it; else the oldest that waits, if it
    /// may be taken and nothing that an earlier attempt took is left.
    pub(super) fn takes(&self, key: &str) -> Option<usize> {
        let recorded = |position: &usize| {
            let taken = self.inputs[*position].taken;
            taken.is_some_and(|taken| KEYS[taken.key] == key)
        };
        if let Some(position) = self.queue().into_iter().find(recorded) {
            return Some(position);
        }
        let by_others = |position: &usize| self.inputs[*position].taken.is_some();
        if self.left().iter().any(by_others) {
            return None;
        }
        let oldest = self.waiting().first().copied()?;
        (self.inputs[oldest].delivery == Delivery::AtBoundary).then_some(oldest)
    }

    /// Whom an order is for: a handle can end its own turn, and take back what still waits.
    pub(super) fn target(&self, aim: &Aim) -> Result<Target, Rejected> {
        let (input_id, run) = match aim {
            Aim::Task if matches!(self.phase, Phase::Ended { .. }) => return Err(self.conflict()),
            Aim::Task => return Ok(Target::Task),
            Aim::Input(named) => (&named.input_id, Some(named.run)),
            Aim::Queued(input_id) => (input_id, None),
        };
        let Some(position) = self.position(input_id) else {
            return Err(Rejected::NotFound);
        };
        if position == self.turn.input {
            if run != Some(self.turn.run) || !self.is_open() {
                return Err(self.conflict());
            }
            let goes_on = self.chained || self.rules.steerable_max.is_some();
            return Ok(if goes_on { Target::Turn } else { Target::Task });
        }
        match self.inputs[position].paper {
            Some(Paper::Queued) if self.inputs[position].taken.is_some() => Err(self.conflict()),
            Some(Paper::Queued) => Ok(Target::Queued(position)),
            Some(Paper::Withdrawn(_)) => Ok(Target::Withdrawn),
            Some(Paper::Turn { .. } | Paper::TaskEnded) => Err(self.conflict()),
            None => Err(Rejected::NotFound),
        }
    }

    /// The run that worked an input last, or the present one for an input that had no turn.
    fn latest_run_of(&self, position: usize) -> u32 {
        match self.inputs[position].paper {
            Some(Paper::Turn { run, .. }) if position != self.turn.input => run,
            Some(_) | None => self.turn.run,
        }
    }

    fn may_be_retried(&self) -> bool {
        match self.phase {
            Phase::Ended { end, .. } => !matches!(end, End::Output { .. }),
            Phase::Isolated | Phase::Parked | Phase::Quarantined => true,
            // Nobody knows what became of the step: running it again is not for a retry to say.
            Phase::Aside { unknown } => !unknown,
            Phase::Absent | Phase::Pending { .. } | Phase::Running { .. } | Phase::Waiting(_) => {
                false
            }
        }
    }

    fn check_claim(&self, generation: Generation) -> Verdict {
        let held = self.held() == Some(generation);
        held.then_some(Answer::Done).ok_or(Rejected::LeaseLost)
    }

    fn check_etag(&self, if_etag: Option<Etag>) -> Result<(), Rejected> {
        match if_etag {
            Some(etag) if etag != ETAG => Err(self.precondition()),
            Some(_) | None => Ok(()),
        }
    }

    fn precondition(&self) -> Rejected {
        Rejected::PreconditionFailed {
            etag: Some(ETAG),
            last_input_id: Some(id(self.inputs.len() - 1)),
        }
    }

    fn conflict(&self) -> Rejected {
        Rejected::Conflict {
            status: self.status(),
            wait: self.wait(),
            etag: ETAG,
        }
    }
}

fn handed(position: usize) -> Box<Handed> {
    Box::new(Handed {
        seq: position as u64,
        input_id: id(position),
        payload: payload(position),
        accepted_at: NOW,
    })
}

fn verdict_on_nothing(event: &Event) -> Verdict {
    match event {
        Event::Input(input) if input.after.is_some() || input.if_etag.is_some() => {
            Err(Rejected::PreconditionFailed {
                etag: None,
                last_input_id: None,
            })
        }
        Event::Input(input) if input.facts.is_none() => Err(Rejected::CannotCreate),
        Event::Input(input) => Ok(accepted(Accepted::Started, &input.input_id, 1)),
        Event::End { .. }
        | Event::Stop { .. }
        | Event::Keep { .. }
        | Event::Take { .. }
        | Event::Step { .. } => Err(Rejected::LeaseLost),
        _ => Err(Rejected::NotFound),
    }
}
