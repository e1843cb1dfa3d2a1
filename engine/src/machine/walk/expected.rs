//! The row, and all that hangs on it, as the model says it must be.

use super::model::{Cause, End, Kept, Known, Model, Paper, Phase, Ran, Scope, Suspect, Watch, id};
use super::ops::{DEF, KEYS, claimant, failure, options, output, payload};
use crate::machine::tests::held::{Held, TASK};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    CancelRow, CancelScope, Deadline, EntryKind, Generation, Guard, InputRow, Lease, Micros,
    Payload, Place, PreviousInput, Priority, Probation, Receipt, RunRow, State, Taken as Mark,
    TaskRow, TurnRow, ValueKey, ValueKind,
};
use std::collections::{BTreeMap, VecDeque};

impl Model {
    /// Everything that should be held, as of `like` in what the model does not follow: etags, moments, the timeline.
    pub(super) fn expected(&self, like: &Held) -> Held {
        let Some(row) = like.row.as_ref().filter(|_| self.phase != Phase::Absent) else {
            return Held::default();
        };
        Held {
            row: Some(self.row(row)),
            inbox: self.inbox(like),
            receipts: self.receipts(like),
            values: self.values(),
            turns: self.turns(like),
            runs: self.runs_over(like),
            // The walk asks nobody.
            questions: BTreeMap::new(),
        }
    }

    fn row(&self, like: &TaskRow) -> TaskRow {
        let turn = &self.turn;
        let current = &self.inputs[turn.input];
        let last = self.inputs.len() - 1;
        TaskRow {
            etag: like.etag,
            generation: Generation(self.generation),
            id: TaskId::new("walked").expect("an id"),
            def: DEF,
            priority: Priority::NORMAL,
            run: turn.run,
            turn: turn.number,
            turns_total: turn.total,
            attempt: turn.attempts(),
            crashes: turn.crashes,
            guard: guard(&turn.suspect),
            entry: match turn.cause {
                Cause::First => EntryKind::Fresh,
                Cause::Later => EntryKind::Resumed,
                Cause::Failed => EntryKind::Retried,
                Cause::Died => EntryKind::Recovered,
            },
            steered: turn.steered,
            chained: self.chained,
            input_id: id(turn.input),
            input_seq: current.bytes as u64,
            inputs_accepted: self.inputs.len() as u64,
            inputs_waiting: self.waiting().len() as u64,
            inputs_taken: (self.queue().len() - self.waiting().len()) as u64,
            last_input_id: (last != turn.input).then(|| id(last)),
            input_digest: [current.like; 16],
            input: payload(current.bytes),
            steps_of: turn.steps_of,
            previous: self.previous.map(|bytes| PreviousInput {
                seq: bytes as u64,
                payload: payload(bytes),
            }),
            options: options(self.rules).into(),
            cancel: turn.cancel.map(|(scope, reason)| CancelRow {
                scope: match scope {
                    Scope::Task => CancelScope::Task,
                    Scope::Turn => CancelScope::Turn,
                },
                reason: reason.text(),
                at: like.cancel.as_ref().map_or(Micros(0), |cancel| cancel.at),
            }),
            deadline: Deadline::own(turn.deadline.unwrap_or(Micros::NEVER)),
            time_left_us: turn.left_us,
            asked: false,
            parent: None,
            has_children: false,
            last_failure: (turn.interim > 0).then(|| failure(turn.interim)),
            facts: like.facts.clone(),
            created_at: like.created_at,
            updated_at: like.updated_at,
            timeline: like.timeline.clone(),
            state: self.state(&like.state),
        }
    }

    fn state(&self, like: &State) -> State {
        match self.phase {
            Phase::Absent | Phase::Pending { .. } | Phase::Isolated => State::Pending {
                due_at: match self.phase {
                    Phase::Pending { wait, due } => Model::due_at(wait, due),
                    _ => Deadline::ISOLATED,
                },
                wait: self.wait().expect("what is due waits"),
            },
            Phase::Running { instance, woken } => State::InProgress {
                woken,
                lease: Lease {
                    owner: claimant(instance).owner,
                    instance,
                    generation: Generation(self.generation),
                    expires_at: Micros::NEVER,
                },
                started_at: match like {
                    State::InProgress { started_at, .. } => *started_at,
                    _ => Micros(0),
                },
            },
            Phase::Waiting(_) | Phase::Parked | Phase::Aside { .. } | Phase::Quarantined => {
                State::Suspended {
                    since: match like {
                        State::Suspended { since, .. } => *since,
                        _ => Micros(0),
                    },
                    wait: self.wait().expect("what is suspended waits"),
                }
            }
            Phase::Ended { end, expires } => State::Completed {
                at: match like {
                    State::Completed { at, .. } => *at,
                    _ => Micros(0),
                },
                outcome: end.outcome(self.turn.total),
                expires_at: expires,
            },
        }
    }

    /// Where the row stands in the indexes.
    pub(super) fn place(&self) -> Place {
        match self.phase {
            Phase::Pending { wait, due } => Place::Due(Model::due_at(wait, due)),
            Phase::Absent | Phase::Isolated => Place::Due(Deadline::ISOLATED),
            Phase::Running { .. } => Place::Running,
            Phase::Waiting(_) | Phase::Aside { .. } | Phase::Quarantined => {
                Place::Due(Deadline::NEVER)
            }
            Phase::Parked => Place::Due(Deadline::AT_OPEN),
            Phase::Ended { expires, .. } => Place::Ended(expires),
        }
    }

    fn inbox(&self, like: &Held) -> VecDeque<(u64, InputRow)> {
        let accepted_at = |seq| {
            let mut found = like.inbox.iter();
            let found = found.find(|(waiting, _)| *waiting == seq);
            found.map_or(Micros(0), |(_, input)| input.accepted_at)
        };
        let waiting = |position: usize| {
            let seq = position as u64;
            let input = InputRow {
                input_id: id(position),
                digest: [self.inputs[position].like; 16],
                payload: payload(position),
                accepted_at: accepted_at(seq),
                delivery: self.inputs[position].delivery,
                taken: self.inputs[position].taken.map(|taken| Mark {
                    key: KEYS[taken.key].into(),
                    generation: Generation(taken.claim),
                }),
            };
            (seq, input)
        };
        self.queue().into_iter().map(waiting).collect()
    }

    /// Every accepted input waits, has a turn, or has a receipt that says why it got none; one that is neither was
    /// forgotten in its time.
    fn receipts(&self, like: &Held) -> BTreeMap<InputId, (Receipt, Option<Micros>)> {
        let receipt = |(position, known): (usize, &Known)| {
            let position_id = id(position);
            let receipt = match known.paper? {
                Paper::Queued => Receipt::Queued {
                    seq: position as u64,
                },
                Paper::Turn {
                    run,
                    turn,
                    total,
                    step,
                } => Receipt::Turn {
                    run,
                    turn,
                    total,
                    step: step.map(|key| KEYS[key].into()),
                },
                Paper::Withdrawn(reason) => Receipt::Withdrawn {
                    reason: reason.text(),
                },
                Paper::TaskEnded => Receipt::TaskEnded,
            };
            let listed = like.receipts.get(&position_id).and_then(|held| held.1);
            let listed = known.listed.then(|| listed.unwrap_or(Micros(0)));
            Some((position_id, (receipt, listed)))
        };
        self.inputs.iter().enumerate().filter_map(receipt).collect()
    }

    /// What the row, its queue and its turns name lies beside it, and nothing else does.
    fn values(&self) -> BTreeMap<ValueKey, u64> {
        let mut inputs = self.queue();
        inputs.push(self.inputs[self.turn.input].bytes);
        inputs.extend(self.previous);
        let mut values = BTreeMap::new();
        for bytes in inputs {
            if let Payload::Stored { len, .. } = payload(bytes) {
                values.insert(key(ValueKind::Input, bytes as u64), len);
            }
        }
        let mut ends: Vec<(u64, End)> = Vec::new();
        ends.extend(self.kept.iter().map(|kept| (kept.total, kept.end)));
        if let Phase::Ended { end, .. } = self.phase {
            ends.push((self.turn.total, end));
        }
        for (total, end) in ends {
            if end.is_large(total) {
                let slot = self.slot(total);
                let len = output(total).len();
                values.insert(key(ValueKind::Output, slot), len);
            }
        }
        values
    }

    fn slot(&self, total: u64) -> u64 {
        total % u64::from(self.rules.keep_turns)
    }

    fn turns(&self, like: &Held) -> BTreeMap<u64, TurnRow> {
        let turn = |kept: &Kept| {
            let slot = self.slot(kept.total);
            let like = like.turns.get(&slot);
            let turn = TurnRow {
                run: kept.run,
                turn: kept.number,
                total: kept.total,
                input_id: id(kept.input),
                result: kept.end.result(kept.total),
                ended_at: like.map_or(Micros(0), |like| like.ended_at),
            };
            (slot, turn)
        };
        self.kept.iter().map(turn).collect()
    }

    fn runs_over(&self, like: &Held) -> Vec<RunRow> {
        let run = |(at, ran): (usize, &Ran)| RunRow {
            run: ran.run,
            turns: ran.turns,
            outcome: ran.end.outcome(ran.total),
            last_failure: (ran.interim > 0).then(|| failure(ran.interim)),
            last_total: ran.total,
            ended_at: like.runs.get(at).map_or(Micros(0), |like| like.ended_at),
        };
        self.runs.iter().enumerate().map(run).collect()
    }
}

fn key(kind: ValueKind, index: u64) -> ValueKey {
    ValueKey {
        task: TASK,
        kind,
        index,
    }
}

fn guard(suspect: &Suspect) -> Guard {
    Guard {
        deaths: suspect.deaths,
        alone: suspect.alone,
        probation: match suspect.watch {
            Watch::No => Probation::No,
            Watch::Group => Probation::Group,
            Watch::Alone => Probation::Alone,
        },
    }
}
