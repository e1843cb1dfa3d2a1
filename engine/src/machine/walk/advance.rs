//! What an accepted event makes of the model, and the story it tells: who is told and entered, and its line in the log.
//!
//! It has so many lines because every event has its place here: the match over them is the file.

use super::model::{
    Cause, End, Known, Model, Paper, Phase, Reason, Scope, Suspect, Taken, Turn, Wait, Watch, Why,
    aside, id,
};
use super::ops::{BACK_OFF_US, DEF, KEYS, SLEEP_US};
use super::verdict::Target;
use crate::machine::{
    Accepted, Aim, Answer, Cause as Told, Claimant, Effect, Effects, Event, NewInput, Order,
    Overdue, Parting, Recovered, Resolution, TurnEnd, Verdict,
};
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Delivery, EventKind, Generation, Micros, Outcome, StepState, TurnResult,
};

/// What an event should do beside changing the task.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) effects: Effects,
    /// Its line in the log; empty when the task does not change.
    pub(super) what: Option<EventKind>,
}

/// One event that is followed.
pub(super) struct Advance<'a> {
    pub(super) model: &'a mut Model,
    pub(super) now: Micros,
    pub(super) story: Story,
}

impl Advance<'_> {
    pub(super) fn follow(mut self, event: &Event, answer: &Answer) -> Story {
        match event {
            Event::Input(input) => self.take(input, answer),
            Event::Resume { claimant, .. } => {
                let like = self.model.inputs[self.model.turn.input];
                let position = self.accept(like, None);
                self.begin(position, false);
                self.story.what = Some(EventKind::Resumed);
                self.run_or_wait(claimant.as_ref(), Wait::Slot, self.now);
            }
            Event::Retry { claimant, .. } => self.retry(claimant.as_ref()),
            Event::Cancel(order) => self.cancel(order),
            Event::Terminate(order) => self.terminate(&order.aim, &order.reason),
            Event::Delete { .. } => self.delete(),
            Event::Claim(_) if self.model.is_timed_out(self.now) => self.time_out(),
            Event::Claim(claimant) => self.run(claimant, EventKind::Claimed),
            Event::Recover {
                claimant,
                parting,
                verdict,
            } => self.recover(claimant, *parting, *verdict),
            Event::Orphan {
                parting, verdict, ..
            } => self.orphan(*parting, *verdict),
            Event::Lapse => self.time_out(),
            Event::Reconsider => self.release(EventKind::Reconsidered),
            Event::Probe { claimant, alone } => {
                let watch = if *alone { Watch::Alone } else { Watch::Group };
                self.model.turn.suspect.watch = watch;
                self.model.turn.deadline = None;
                self.run(claimant, EventKind::Probed);
            }
            Event::Acquit if self.model.phase == Phase::Isolated => {
                self.release(EventKind::Acquitted);
            }
            Event::Acquit => {
                self.model.turn.suspect = Suspect::CLEAR;
                self.story.what = Some(EventKind::Acquitted);
            }
            Event::End {
                end,
                claimant,
                missed,
                ..
            } => self.end_without(missed, end, claimant),
            Event::Take { key, .. } => self.take_under(key),
            Event::Stop { why, .. } => self.stop(*why),
            Event::Keep { .. } => {}
            // The walk has no families.
            Event::BecomeParent { .. }
            | Event::TakeOver(_)
            | Event::ChildEnded
            | Event::LetGo(_) => {}
            Event::Step { step, .. } => {
                self.record(
                    step.as_deref()
                        .is_some_and(|step| step.state == StepState::Done),
                );
            }
            Event::Resolve { resolution, .. } => self.resolve(resolution),
            Event::Ask(_) | Event::ExpireAsk { .. } | Event::Answer(_) => unreachable!(),
            Event::Expire => self.remove(EventKind::Removed),
            Event::ForgetInput { input_id, .. } => self.forget(input_id),
        }
        self.story
    }

    pub(super) fn tell(&mut self, effect: Effect) {
        self.story.effects.push(effect);
    }

    fn take(&mut self, input: &NewInput, answer: &Answer) {
        let Answer::Accepted { how, .. } = answer else {
            return;
        };
        let bytes = self.model.inputs.len();
        let like = input.digest[0];
        let known = Known {
            like,
            bytes,
            paper: None,
            listed: false,
            delivery: input.delivery,
            taken: None,
        };
        let asked = input.start_at.map(|deadline| deadline.at);
        let due = asked.filter(|at| *at > self.now);
        let wait = due.map_or(Wait::Slot, |_| Wait::Delayed);
        let due = due.unwrap_or(self.now);
        let claimant = input.claimant.as_ref();
        match how {
            Accepted::Attached => {}
            Accepted::Queued => {
                self.accept(known, Some(Paper::Queued));
                self.story.what = Some(EventKind::InputQueued);
                self.tell_waiting();
                if input.delivery == Delivery::Interrupt {
                    self.interrupt();
                }
            }
            Accepted::Started => {
                self.accept(known, None);
                self.story.what = Some(EventKind::Started);
                self.run_or_wait(claimant, wait, due);
            }
            Accepted::Resumed => {
                let position = self.accept(known, None);
                self.begin(position, false);
                self.story.what = Some(EventKind::Resumed);
                self.run_or_wait(claimant, Wait::Slot, self.now);
            }
            Accepted::Restarted => {
                self.end_run();
                let position = self.accept(known, None);
                self.begin(position, false);
                let turn = &mut self.model.turn;
                (turn.run, turn.number, turn.cause) = (turn.run + 1, 1, Cause::First);
                (self.model.previous, self.model.chained) = (None, false);
                self.story.what = Some(EventKind::Restarted);
                self.run_or_wait(claimant, wait, due);
            }
        }
    }

    /// The handler is told of an input; one that sleeps is woken, and one that would go to sleep will be.
    fn interrupt(&mut self) {
        match &mut self.model.phase {
            Phase::Running { woken, .. } => {
                *woken = true;
                self.tell(Effect::Signal(Told::Steered));
                self.tell(Effect::Woken);
            }
            Phase::Pending {
                wait: Wait::Sleep, ..
            } => self.wait(Wait::Slot, self.now),
            _ => {}
        }
    }

    /// The running handler is told how many inputs wait.
    fn tell_waiting(&mut self) {
        if self.model.runs_now() {
            let waiting = self.model.waiting().len() as u64;
            self.tell(Effect::Waiting(waiting));
        }
    }

    /// The running turn takes an input, or takes it again.
    fn take_under(&mut self, text: &str) {
        let Some(position) = self.model.takes(text) else {
            return;
        };
        let claim = self.model.generation;
        let known = &mut self.model.inputs[position];
        let again = known.taken.is_some();
        let key = KEYS.iter().position(|key| *key == text);
        let key = key.expect("a key of the walk");
        known.taken = Some(Taken { key, claim });
        if !again {
            self.story.what = Some(EventKind::InputTaken);
            self.tell_waiting();
        }
    }

    /// The turn ends, and what was taken under these keys is not its own; an attempt that is followed by another one
    /// ends no turn.
    fn end_without(&mut self, missed: &[Box<str>], end: &TurnEnd, claimant: &Claimant) {
        let marks: Vec<Option<Taken>> = self.model.inputs.iter().map(|known| known.taken).collect();
        let is_missed = |taken: &Taken| missed.iter().any(|key| **key == *KEYS[taken.key]);
        for known in &mut self.model.inputs {
            if let Some(taken) = known.taken.as_mut().filter(|taken| is_missed(taken)) {
                taken.claim = 0;
            }
        }
        self.end(end, claimant);
        for (known, mark) in self.model.inputs.iter_mut().zip(marks) {
            if known.taken.is_some() {
                known.taken = mark;
            }
        }
    }

    fn accept(&mut self, known: Known, paper: Option<Paper>) -> usize {
        self.model.inputs.push(Known {
            paper,
            listed: false,
            ..known
        });
        self.model.inputs.len() - 1
    }

    /// The next turn of the run, with a clean record.
    pub(super) fn begin(&mut self, input: usize, steered: bool) {
        let last = self.model.turn;
        self.model.previous = Some(self.model.inputs[last.input].bytes);
        self.model.turn = Turn {
            cause: Cause::Later,
            steered,
            ..Turn::of(input, last.run, last.number + 1, last.total + 1)
        };
    }

    fn run_or_wait(&mut self, claimant: Option<&Claimant>, wait: Wait, due: Micros) {
        let Some(claimant) = claimant.filter(|_| due <= self.now) else {
            return self.wait(wait, due);
        };
        let what = self.story.what.take();
        self.run(claimant, what.expect("a turn that begins has its line"));
    }

    pub(super) fn wait(&mut self, wait: Wait, due: Micros) {
        self.model.phase = Phase::Pending { wait, due };
        self.tell(Effect::Due { def: DEF, at: due });
    }

    pub(super) fn run(&mut self, claimant: &Claimant, what: EventKind) {
        self.fence();
        self.model.phase = Phase::Running {
            instance: claimant.instance,
            woken: false,
        };
        let (rules, now) = (self.model.rules, self.now);
        let turn = &mut self.model.turn;
        turn.attempting = true;
        if rules.timeout_us != u64::MAX {
            let whole = now.plus(turn.left_us.take().unwrap_or(rules.timeout_us));
            turn.deadline = Some(turn.deadline.unwrap_or(whole).min(whole));
        }
        self.story.what = Some(what);
        self.tell(Effect::Enter {
            generation: Generation(self.model.given),
            steered: self.model.is_interrupted(),
        });
    }

    /// Whatever is written under an older claim is refused from here on.
    fn fence(&mut self) {
        self.model.given += 1;
        self.model.generation = self.model.given;
    }

    /// As [`Advance::fence`], at the end of the turn that had the claim: what it took is still what it took.
    fn fence_out(&mut self) {
        let taken = self.model.taken();
        self.fence();
        for position in taken {
            if let Some(taken) = &mut self.model.inputs[position].taken {
                taken.claim = self.model.generation;
            }
        }
    }

    fn retry(&mut self, claimant: Option<&Claimant>) {
        if !matches!(self.model.phase, Phase::Ended { .. }) {
            return self.release(EventKind::Released);
        }
        self.end_run();
        let last = self.model.turn;
        self.model.turn = Turn {
            cause: Cause::Later,
            steered: last.steered,
            steps_of: last.steps_of,
            ..Turn::of(last.input, last.run + 1, 1, last.total + 1)
        };
        self.story.what = Some(EventKind::RetriedAfterEnd);
        self.run_or_wait(claimant, Wait::Slot, self.now);
    }

    fn release(&mut self, what: EventKind) {
        self.model.turn.suspect = Suspect::CLEAR;
        self.model.turn.deadline = None;
        self.story.what = Some(what);
        self.wait(Wait::Slot, self.now);
    }

    fn cancel(&mut self, order: &Order) {
        let text = &order.reason;
        let scope = match self.model.target(&order.aim) {
            Ok(Target::Task) => Scope::Task,
            Ok(Target::Turn) => Scope::Turn,
            Ok(Target::Queued(position)) => return self.withdraw(position, text),
            Ok(Target::Withdrawn) | Err(_) => return,
        };
        let reason = Reason::of(text);
        // Whoever asks later than the process that holds the claim finds nobody to tell.
        let here = matches!(self.model.phase, Phase::Running { instance, .. } if instance == order.instance);
        if !here {
            return self.cancelled((scope, reason), None);
        }
        let known = self.model.turn.cancel;
        if known.is_some_and(|(known, _)| known == Scope::Task || known == scope) {
            return;
        }
        self.model.turn.cancel = Some((scope, reason));
        self.story.what = Some(EventKind::CancelRequested);
        let reason = reason.text();
        self.tell(Effect::Signal(Told::CancelRequested { reason }));
    }

    fn withdraw(&mut self, position: usize, text: &str) {
        let reason = Reason::of(text);
        let known = &mut self.model.inputs[position];
        (known.paper, known.listed) = (Some(Paper::Withdrawn(reason)), true);
        self.story.what = Some(EventKind::InputWithdrawn);
        self.tell(Effect::Withdrawn {
            input_id: id(position),
            reason: reason.text(),
        });
        self.tell_waiting();
    }

    fn terminate(&mut self, aim: &Aim, text: &str) {
        let goes_on = match self.model.target(aim) {
            Ok(Target::Task) => false,
            Ok(Target::Turn) => true,
            Ok(Target::Queued(position)) => return self.withdraw(position, text),
            Ok(Target::Withdrawn) | Err(_) => return,
        };
        if self.model.runs_now() {
            self.fence_out();
            self.tell(Effect::Fence(None));
        }
        if goes_on {
            return self.go_on(End::Terminated, Why::Terminated, None);
        }
        self.complete(End::Terminated);
    }

    fn delete(&mut self) {
        if self.model.runs_now() {
            self.tell(Effect::Fence(None));
        }
        if self.model.is_open() {
            let gone = Outcome::Cancelled {
                reason: Reason::Deleted.text(),
                output: None,
            };
            self.answer(TurnResult::Ended(gone));
        }
        self.tell(Effect::TaskEnded);
        self.remove(EventKind::Removed);
    }

    /// The id is free; what is still running somewhere keeps its old generation.
    pub(super) fn remove(&mut self, what: EventKind) {
        let given = self.model.given;
        let lives = self.model.lives + 1;
        *self.model = Model {
            given,
            lives,
            ..Model::new(self.model.rules)
        };
        self.story.what = Some(what);
    }

    fn recover(&mut self, claimant: &Claimant, parting: Parting, verdict: Verdict) {
        let fate = self.model.fate(parting, verdict);
        if self.died(parting) {
            return;
        }
        self.count_death(parting, verdict);
        match fate {
            Recovered::Entered | Recovered::Cancelled => self.run(claimant, EventKind::Recovered),
            Recovered::Isolated | Recovered::Quarantined => self.hold_back(fate),
        }
    }

    fn count_death(&mut self, parting: Parting, verdict: Verdict) {
        let suspect = &mut self.model.turn.suspect;
        let alone = suspect.watch == Watch::Alone;
        suspect.watch = Watch::No;
        match (parting, verdict) {
            (Parting::Stopped, _) | (_, Verdict::Innocent) => *suspect = Suspect::CLEAR,
            (Parting::Died, Verdict::Off) => suspect.deaths += 1,
            (Parting::Died, Verdict::Count) => {
                suspect.deaths += 1;
                suspect.alone += u32::from(alone);
            }
        }
    }

    fn orphan(&mut self, parting: Parting, verdict: Verdict) {
        let fate = self.model.fate(parting, verdict);
        if self.died(parting) {
            return;
        }
        self.count_death(parting, verdict);
        match fate {
            Recovered::Entered | Recovered::Cancelled => {
                let (wait, due) = (Wait::Handler, self.now);
                self.model.phase = Phase::Pending { wait, due };
                self.story.what = Some(EventKind::Orphaned);
            }
            Recovered::Isolated | Recovered::Quarantined => self.hold_back(fate),
        }
    }

    fn hold_back(&mut self, fate: Recovered) {
        let (phase, what) = match fate {
            Recovered::Quarantined => {
                self.fence();
                (Phase::Quarantined, EventKind::Quarantined)
            }
            Recovered::Isolated | Recovered::Entered | Recovered::Cancelled => {
                (Phase::Isolated, EventKind::Isolated)
            }
        };
        self.model.phase = phase;
        self.story.what = Some(what);
    }

    /// The process of a turn is gone. True: the turn had been cancelled, and that is its end.
    fn died(&mut self, parting: Parting) -> bool {
        let died = u32::from(parting == Parting::Died);
        self.model.deaths_in_all += died;
        if let Some(cancel) = self.model.turn.cancel {
            self.cancelled(cancel, None);
            return true;
        }
        self.model.turn.crashes += died;
        self.model.turn.cause = Cause::Died;
        false
    }

    fn end(&mut self, end: &TurnEnd, claimant: &Claimant) {
        let worker = Some(claimant);
        let cancel = self.model.turn.cancel;
        let of_task = cancel.filter(|(scope, _)| *scope == Scope::Task);
        let waits = !self.model.left().is_empty();
        match (end, cancel) {
            (TurnEnd::Succeeded(_), _) => {
                let superseded = waits && of_task.is_none();
                let end = End::Output {
                    suspended: false,
                    superseded,
                };
                if superseded {
                    return self.go_on(end, Why::More, worker);
                }
                self.complete(end);
            }
            (TurnEnd::Suspended { .. }, _) => match of_task {
                Some((_, reason)) => self.complete(End::Cancelled {
                    reason,
                    output: true,
                }),
                None => {
                    let end = End::Output {
                        suspended: true,
                        superseded: waits,
                    };
                    self.go_on(end, Why::More, worker);
                }
            },
            (_, Some(cancel)) => self.cancelled(cancel, worker),
            (TurnEnd::Undecodable { what, expected, .. }, None) => self.park(what, expected),
            (TurnEnd::Held(wait), None) => self.put_aside(*wait == aside(true)),
            (_, None) if self.model.is_timed_out(self.now) => self.time_out(),
            (TurnEnd::Parked(_), None) => self.sleep(),
            (TurnEnd::Cancelled, None) => {
                let scope = if waits { Scope::Turn } else { Scope::Task };
                self.cancelled((scope, Reason::ByItsHandler), worker);
            }
            (
                TurnEnd::Failed {
                    terminal,
                    retry_after_us,
                    ..
                },
                None,
            ) => self.fail(*terminal, *retry_after_us, worker),
        }
    }

    fn fail(&mut self, terminal: bool, retry_after_us: Option<u64>, worker: Option<&Claimant>) {
        let rules = self.model.rules;
        let turn = &mut self.model.turn;
        (turn.failures, turn.attempting) = (turn.failures + 1, false);
        let attempts = turn.failures;
        if terminal || attempts >= rules.attempts_max {
            if rules.keep_alive {
                return self.go_on(End::Failed { attempts }, Why::Failed, worker);
            }
            return self.complete(End::Failed { attempts });
        }
        (turn.interim, turn.cause) = (attempts, Cause::Failed);
        turn.suspect = Suspect::CLEAR;
        let asked = self.now.plus(retry_after_us.unwrap_or(BACK_OFF_US));
        let due = turn.deadline.map_or(asked, |deadline| deadline.min(asked));
        self.story.what = Some(EventKind::BackedOff);
        self.wait(Wait::BackOff, due);
    }

    /// A recorded step is the proof that the turn does not kill its process.
    fn record(&mut self, done: bool) {
        if done && self.model.turn.suspect != Suspect::CLEAR {
            self.model.turn.suspect = Suspect::CLEAR;
            self.story.what = Some(EventKind::Acquitted);
        }
    }

    fn resolve(&mut self, resolution: &Resolution) {
        match resolution {
            Resolution::Done(_) | Resolution::NotDone => self.release(EventKind::Resolved),
            Resolution::Failed(_) => {
                let attempts = self.model.turn.attempts();
                self.complete(End::Failed { attempts });
            }
        }
    }

    /// The handler sleeps: the attempt goes on when it is over, and its time stands still.
    fn sleep(&mut self) {
        let woken = matches!(self.model.phase, Phase::Running { woken: true, .. });
        let now = self.now;
        let turn = &mut self.model.turn;
        (turn.cause, turn.attempting, turn.suspect) = (Cause::Later, false, Suspect::CLEAR);
        turn.left_us = turn
            .deadline
            .take()
            .map(|deadline| (deadline.0 - now.0).min(self.model.rules.timeout_us));
        self.story.what = Some(EventKind::Waits);
        match woken {
            true => self.wait(Wait::Slot, now),
            false => self.wait(Wait::Sleep, now.plus(SLEEP_US)),
        }
    }

    /// Nobody failed, so the attempt is given back; one the process died in was made.
    fn give_back(&mut self) {
        let turn = &mut self.model.turn;
        turn.attempting = turn.cause == Cause::Died;
        turn.suspect = Suspect::CLEAR;
    }

    fn put_aside(&mut self, unknown: bool) {
        self.give_back();
        let turn = &mut self.model.turn;
        if turn.cause == Cause::First {
            turn.cause = Cause::Later;
        }
        self.model.phase = Phase::Aside { unknown };
        self.story.what = Some(EventKind::Held);
        self.tell(Effect::Idle);
    }

    fn park(&mut self, what: &str, expected: &str) {
        self.give_back();
        self.model.phase = Phase::Parked;
        self.story.what = Some(EventKind::Parked);
        self.tell(Effect::Parked {
            input_id: self.model.current_id(),
            what: what.into(),
            expected: expected.into(),
        });
    }

    fn stop(&mut self, why: Overdue) {
        self.tell(Effect::Fence(Some(why)));
        self.fence_out();
        match (why, self.model.turn.cancel) {
            (Overdue::CancelIgnored, Some(cancel)) => self.cancelled(cancel, None),
            (Overdue::CancelIgnored, None) | (Overdue::TimedOut, _) => self.time_out(),
        }
    }

    fn forget(&mut self, input_id: &InputId) {
        let Some(position) = self.model.position(input_id) else {
            return;
        };
        let kept = u64::from(self.model.rules.keep_turns);
        let latest = self.model.turn.total;
        let known = &mut self.model.inputs[position];
        let stays = match known.paper {
            Some(Paper::Turn { total, .. }) => total + kept > latest,
            Some(Paper::Queued) => true,
            Some(Paper::Withdrawn(_) | Paper::TaskEnded) | None => false,
        };
        if !stays && position != self.model.turn.input && known.listed {
            (known.paper, known.listed) = (None, false);
        }
    }
}

impl Model {
    pub(super) fn advance(&mut self, event: &Event, answer: &Answer, now: Micros) -> Story {
        let advance = Advance {
            model: self,
            now,
            story: Story::default(),
        };
        advance.follow(event, answer)
    }
}
