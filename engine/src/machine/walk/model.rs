//! What should be true of a task, kept by rules of its own: it never looks at a row.

use super::ops::{BACK_OFF_US, DEF};
use crate::machine::{Accepted, Answer, Claimant, Event, NewInput, Rejected, Status, TurnEnd};
use outlive_storage::id::InputId;
use outlive_storage::row::{Generation, Micros, Payload, WaitReason};

/// What became of an accepted input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Queued,
    Current,
    /// Its turn ended and another followed.
    Answered,
    /// Its turn ended the task.
    Last,
    TaskEnded,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: InputId,
    pub(super) digest: [u8; 16],
    pub(super) payload: Payload,
    pub(super) fate: Fate,
}

/// Where the task should stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Absent,
    Slot { due: Micros },
    BackOff { due: Micros },
    WaitingHandler { due: Micros },
    Running { generation: u64, instance: u128 },
    Parked,
    Ended { failed: bool },
}

/// Why the handler is entered next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    NewInput,
    Failed,
    Died,
}

/// One task as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) steerable_max: Option<u64>,
    pub(super) phase: Phase,
    pub(super) inputs: Vec<Known>,
    /// Failed attempts and process deaths of the current turn.
    pub(super) failures: u32,
    pub(super) deaths: u32,
    pub(super) deaths_in_all: u32,
    pub(super) cause: Cause,
    /// The highest generation given: every claim up to it may end at any time.
    pub(super) given: u64,
}

impl Model {
    pub(super) fn new(steerable_max: Option<u64>) -> Model {
        Model {
            steerable_max,
            phase: Phase::Absent,
            inputs: Vec::new(),
            failures: 0,
            deaths: 0,
            deaths_in_all: 0,
            cause: Cause::NewInput,
            given: 0,
        }
    }

    /// When a claim may come, if time alone decides.
    pub(super) fn due(&self) -> Option<Micros> {
        match self.phase {
            Phase::Slot { due } | Phase::BackOff { due } | Phase::WaitingHandler { due } => {
                Some(due)
            }
            Phase::Absent | Phase::Running { .. } | Phase::Parked | Phase::Ended { .. } => None,
        }
    }

    pub(super) fn position(&self, fate: Fate) -> Option<usize> {
        self.inputs.iter().position(|input| input.fate == fate)
    }

    pub(super) fn queued(&self) -> u64 {
        let queued = self
            .inputs
            .iter()
            .filter(|input| input.fate == Fate::Queued);
        queued.count() as u64
    }

    /// What an event must be answered with.
    pub(super) fn verdict(&self, event: &Event, now: Micros) -> Result<Answer, Rejected> {
        if self.phase == Phase::Absent {
            return match event {
                Event::Input(input) => Ok(accepted(Accepted::Started, &input.input_id)),
                Event::Claim(_)
                | Event::Recover(_)
                | Event::Orphan(_)
                | Event::Reconsider
                | Event::End { .. } => Err(Rejected::NotFound),
            };
        }
        let fits = match event {
            Event::Input(input) => return self.verdict_of_input(input),
            Event::Claim(_) => match self.due() {
                Some(due) if due > now => return Err(Rejected::NotDue { due_at: due }),
                due => due.is_some(),
            },
            Event::Recover(claimant) | Event::Orphan(claimant) => {
                matches!(self.phase, Phase::Running { instance, .. } if instance != claimant.instance)
            }
            Event::Reconsider => self.phase == Phase::Parked,
            Event::End { generation, .. } => {
                let held = matches!(self.phase, Phase::Running { generation: held, .. } if held == generation.0);
                return if held {
                    Ok(Answer::Done)
                } else {
                    Err(Rejected::LeaseLost)
                };
            }
        };
        let status = self.status();
        if fits {
            Ok(Answer::Done)
        } else {
            Err(Rejected::WrongState { status })
        }
    }

    fn verdict_of_input(&self, input: &NewInput) -> Result<Answer, Rejected> {
        if input.def != DEF {
            return Err(Rejected::OtherDefinition { def: DEF });
        }
        if input.input_id_given && self.inputs.iter().any(|known| known.id == input.input_id) {
            return Ok(accepted(Accepted::Attached, &input.input_id));
        }
        let conflict = Rejected::Conflict {
            status: self.status(),
            wait: self.wait(),
        };
        let Some(max) = self.steerable_max else {
            // A task that is not steerable has one input, the first, so its turn is the first.
            let open = matches!(self.status(), Status::Pending | Status::InProgress);
            let equal = self.inputs[0].digest == input.digest;
            if open && equal && !input.input_id_given {
                return Ok(accepted(Accepted::Attached, &self.inputs[0].id));
            }
            return Err(conflict);
        };
        if matches!(self.phase, Phase::Ended { .. }) {
            return Err(conflict);
        }
        if self.queued() >= max {
            return Err(Rejected::QueueFull { max });
        }
        Ok(accepted(Accepted::Queued, &input.input_id))
    }

    pub(super) fn status(&self) -> Status {
        match self.phase {
            Phase::Absent
            | Phase::Slot { .. }
            | Phase::BackOff { .. }
            | Phase::WaitingHandler { .. } => Status::Pending,
            Phase::Running { .. } => Status::InProgress,
            Phase::Parked => Status::Suspended,
            Phase::Ended { .. } => Status::Completed,
        }
    }

    pub(super) fn wait(&self) -> Option<WaitReason> {
        match self.phase {
            Phase::Slot { .. } => Some(WaitReason::Slot),
            Phase::BackOff { .. } => Some(WaitReason::BackOff),
            Phase::WaitingHandler { .. } => Some(WaitReason::WaitingHandler),
            Phase::Parked => Some(WaitReason::Undecodable {
                what: "input".into(),
                expected: "u32".into(),
            }),
            Phase::Absent | Phase::Running { .. } | Phase::Ended { .. } => None,
        }
    }

    /// Follows an event that was accepted.
    pub(super) fn advance(
        &mut self,
        event: &Event,
        answer: &Answer,
        attempts_max: u32,
        now: Micros,
    ) {
        match event {
            Event::Input(input) => self.take(input, answer, now),
            Event::Claim(claimant) => self.run(claimant),
            Event::Recover(claimant) => {
                self.die();
                self.run(claimant);
            }
            Event::Orphan(_) => {
                self.die();
                self.phase = Phase::WaitingHandler { due: now };
            }
            Event::Reconsider => self.phase = Phase::Slot { due: now },
            Event::End {
                end: TurnEnd::Succeeded(_),
                claimant,
                ..
            } => self.succeed(claimant),
            Event::End {
                end:
                    TurnEnd::Failed {
                        terminal,
                        retry_after_us,
                        ..
                    },
                ..
            } => {
                self.failures += 1;
                if *terminal || self.failures >= attempts_max {
                    return self.end(true);
                }
                self.cause = Cause::Failed;
                self.phase = Phase::BackOff {
                    due: now.plus(retry_after_us.unwrap_or(BACK_OFF_US)),
                };
            }
            Event::End {
                end: TurnEnd::Undecodable { .. },
                ..
            } => self.phase = Phase::Parked,
        }
    }

    fn take(&mut self, input: &NewInput, answer: &Answer, now: Micros) {
        let Answer::Accepted { how, .. } = answer else {
            return;
        };
        let fate = match how {
            Accepted::Attached => return,
            Accepted::Started => Fate::Current,
            Accepted::Queued => Fate::Queued,
        };
        let NewInput {
            input_id,
            digest,
            payload,
            ..
        } = input.clone();
        self.inputs.push(Known {
            id: input_id,
            digest,
            payload,
            fate,
        });
        if fate == Fate::Queued {
            return;
        }
        match &input.claimant {
            Some(claimant) => self.run(claimant),
            None => self.phase = Phase::Slot { due: now },
        }
    }

    fn run(&mut self, claimant: &Claimant) {
        self.given += 1;
        self.phase = Phase::Running {
            generation: self.given,
            instance: claimant.instance,
        };
    }

    fn die(&mut self) {
        self.deaths += 1;
        self.deaths_in_all += 1;
        self.cause = Cause::Died;
    }

    fn succeed(&mut self, claimant: &Claimant) {
        let Some(next) = self.position(Fate::Queued) else {
            return self.end(false);
        };
        let current = self.position(Fate::Current).expect("a turn has an input");
        self.inputs[current].fate = Fate::Answered;
        self.inputs[next].fate = Fate::Current;
        (self.failures, self.deaths) = (0, 0);
        self.cause = Cause::NewInput;
        self.run(claimant);
    }

    fn end(&mut self, failed: bool) {
        self.phase = Phase::Ended { failed };
        for input in &mut self.inputs {
            match input.fate {
                Fate::Current => input.fate = Fate::Last,
                Fate::Queued => input.fate = Fate::TaskEnded,
                Fate::Answered | Fate::Last | Fate::TaskEnded => {}
            }
        }
    }

    /// The generation of the running claim.
    pub(super) fn held(&self) -> Option<Generation> {
        match self.phase {
            Phase::Running { generation, .. } => Some(Generation(generation)),
            Phase::Absent
            | Phase::Slot { .. }
            | Phase::BackOff { .. }
            | Phase::WaitingHandler { .. }
            | Phase::Parked
            | Phase::Ended { .. } => None,
        }
    }
}

fn accepted(how: Accepted, input_id: &InputId) -> Answer {
    Answer::Accepted {
        how,
        input_id: input_id.clone(),
    }
}
