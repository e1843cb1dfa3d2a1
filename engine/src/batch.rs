//! One batch: read each task as the batch has left it, ask the machine, commit once, then answer and act.
//!
//! It has so many lines because what a batch goes through stands together, from its events to their effects.

use crate::commits::{Commits, damaged};
use crate::decision::{Brought, Decided, claims, event_row, with_output};
use crate::env::Clock;
use crate::failpoint::{self, Failpoint};
use crate::feed::Feeds;
use crate::held::Held;
use crate::hub::{Answered, Hub};
use crate::known::Known;
use crate::machine::{self, Answer, Effect, Event, FamilyView, Named, Now, Transition, View};
use crate::meter;
use crate::pending::Pending;
use crate::registry::Registry;
use crate::request::{Draft, Request};
use crate::stream::cell::Appended;
use crate::turn::{Dispatcher, Entered};
use crate::writer::{PhaseChange, Poison, Refused, Stop, Target, Upkeep};
use outlive_storage::row::{
    Etag, EventKind, Generation, LifeRow, Micros, TaskNumber, ValueKey, ValueKind,
};
use outlive_storage::{Applied, Commit, Conflict, Counters, Store, StoreError, Write};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Batcher {
    store: Arc<dyn Store>,
    clock: Clock,
    registry: Arc<Registry>,
    hub: Arc<Hub>,
    dispatcher: Arc<Dispatcher>,
    poison: Arc<Poison>,
    etag: Etag,
    generation: Generation,
    known: Known,
    /// The store failed as a whole while the batch at hand was decided.
    fatal: Option<StoreError>,
    life: LifeRow,
    feeds: Arc<Feeds>,
    patience: Duration,
    /// A batch whose commit failed; nothing else is decided before it is settled.
    held: Option<Held>,
}

impl Batcher {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        counters: Counters,
        clock: Clock,
        registry: Arc<Registry>,
        dispatcher: Arc<Dispatcher>,
        (life, feeds): (LifeRow, Arc<Feeds>),
        patience: Duration,
    ) -> Batcher {
        let poison = Arc::clone(&dispatcher.writer.poison);
        let known = Known::new(Arc::clone(&store));
        Batcher {
            store,
            clock,
            registry,
            hub: Arc::clone(&dispatcher.hub),
            dispatcher,
            poison,
            etag: counters.etag,
            generation: counters.generation,
            known,
            fatal: None,
            life,
            feeds,
            patience,
            held: None,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Nothing will be answered any more: waiters learn it.
    pub(crate) fn close(&self) {
        self.hub.close();
        self.feeds.close();
        self.dispatcher.streams.close();
        self.dispatcher.writer_ended();
    }

    /// The engine stops in order: what still runs is nobody's fault, and the next open knows.
    pub(crate) fn stopped(&self) {
        if self.poison.get().is_some() || cfg!(planted = "stop_looks_like_death") {
            return;
        }
        let life = LifeRow {
            stopped_at: Some(self.clock.now()),
            ..self.life
        };
        failpoint::reach(Failpoint::StopUnsaid);
        if let Err(error) = self.store.put_life(&life) {
            tracing::warn!(target: "outlive::store", %error, "the next open takes this stop for a death");
        }
        failpoint::reach(Failpoint::StopSaid);
    }

    /// Removes what nobody needs any more. False: the store failed, the writer must end.
    pub(crate) fn tidy(&mut self, upkeep: Upkeep) -> bool {
        let Upkeep { kept, limit, reply } = upkeep;
        let more = match self.store.tidy(kept, limit) {
            Ok(more) => more,
            Err(error) if error.is_of_one_entry() => {
                tracing::error!(target: "outlive::store", %error, "upkeep passes over an entry");
                false
            }
            // Without room nothing can be removed either; the sweeper comes again.
            Err(StoreError::Full) => false,
            Err(error) => return self.fail(Vec::new(), error),
        };
        // A sweeper that is gone sweeps on at the next open.
        let _ = reply.send(more);
        true
    }

    /// Puts down the phase of the poison guard. False: the store failed, the writer must end.
    pub(crate) fn enter_phase(&mut self, change: PhaseChange) -> bool {
        let PhaseChange { phase, reply } = change;
        let life = LifeRow { phase, ..self.life };
        if let Err(error) = self.store.put_life(&life) {
            return self.fail(Vec::new(), error);
        }
        self.life = life;
        // A guard that is gone enters nothing.
        let _ = reply.send(());
        true
    }

    /// Applies one batch. False: the store failed, the writer must end.
    pub(crate) fn run(&mut self, requests: Vec<Box<Request>>) -> bool {
        let mut commits = Commits::default();
        let mut pending = Vec::with_capacity(requests.len());
        for request in requests {
            pending.push(self.decide(*request, &mut commits));
        }
        // In the same transaction: a parent cannot miss what its children's commits have counted.
        for parent in self.known.parents() {
            if !cfg!(planted = "parent_not_told") {
                let told = Request::child_ended(parent);
                pending.push(self.decide(told, &mut commits));
            }
        }
        if let Some(error) = self.fatal.take() {
            return self.fail(pending, error);
        }
        if commits.list.is_empty() {
            // Rows that were only looked at are not kept either: a restarted batch asks about every task there is.
            self.known.settle();
            self.answer(pending);
            return true;
        }
        if cfg!(planted = "answer_before_commit") {
            self.answer(std::mem::take(&mut pending));
        }
        if cfg!(planted = "effects_before_commit") {
            for one in &mut pending {
                for effect in std::mem::take(&mut one.effects) {
                    self.perform(one, effect);
                }
            }
        }
        if cfg!(planted = "reader_ahead_of_disk") {
            let streams = &self.dispatcher.streams;
            pending.iter_mut().for_each(|one| one.show(streams));
        }
        failpoint::reach(Failpoint::Decided);
        let committed = meter::under_commit(&self.clock, || self.store.commit(&commits.list));
        match committed {
            Ok(results) => self.committed(pending, &commits.list, results),
            Err(error) => {
                if cfg!(planted = "failed_commit_acknowledged") {
                    self.answer(std::mem::take(&mut pending));
                }
                self.hold(Held::new(pending, commits.list, error, self.clock.own()))
            }
        }
    }

    /// The batch is durable: whoever waits is answered. False: the writer must end.
    fn committed(
        &mut self,
        mut pending: Vec<Pending>,
        commits: &[Commit],
        results: Vec<Result<Applied, Conflict>>,
    ) -> bool {
        match damaged(commits, results) {
            Ok(damaged) => {
                failpoint::reach(Failpoint::Committed);
                self.known.settle();
                self.refuse(&mut pending, &damaged);
                self.feeds.log.durable(self.etag);
                self.answer(pending);
                true
            }
            Err(error) => self.fail(pending, error),
        }
    }

    /// Keeps what could not be committed, and tries at once to settle it. False: the writer must end.
    fn hold(&mut self, held: Held) -> bool {
        tracing::warn!(target: "outlive::store", error = %held.error(), "the store failed; it is opened again");
        self.held = Some(held);
        if cfg!(planted = "failed_commit_ends_all") {
            return self.settle(true);
        }
        self.settle(false)
    }

    /// When the held batch is to be settled next; `None` when none is held.
    pub(crate) fn held_until(&self) -> Option<Micros> {
        self.held.as_ref().map(Held::next_at)
    }

    /// Tries once more to settle the held batch, for the last time if the engine stops. False: the writer must end.
    pub(crate) fn settle(&mut self, is_last: bool) -> bool {
        let Some(mut held) = self.held.take() else {
            return true;
        };
        match held.try_once(&*self.store, &self.clock) {
            Ok(results) => {
                self.poison.set_full(false);
                let (pending, commits) = held.into_parts();
                self.committed(pending, &commits, results)
            }
            Err(_) if held.is_refusable(&*self.store) => {
                // What was decided for these callers never was: whoever comes next is told what the store says.
                self.known.forget_all();
                self.poison.set_full(false);
                held.refuse();
                true
            }
            Err(error) => {
                let goes_on = held.goes_on(self.clock.own(), self.patience);
                if is_last || !goes_on {
                    return self.fail(held.into_parts().0, error);
                }
                self.poison.set_full(held.is_full());
                self.held = Some(held);
                true
            }
        }
    }

    /// Damage found by the commit itself hurts its own task alone: nothing of that task was written.
    fn refuse(&mut self, pending: &mut [Pending], damaged: &HashMap<TaskNumber, StoreError>) {
        if damaged.is_empty() {
            return;
        }
        self.known.drop_damaged(damaged);
        for one in pending {
            let Some(error) = damaged.get(&one.task) else {
                continue;
            };
            one.refuse(error);
            self.hub.doubt(one.task);
        }
    }

    /// What the machine makes of one event, added to the batch's commits.
    fn decide(&mut self, request: Request, commits: &mut Commits) -> Pending {
        let Request {
            draft,
            reply,
            origin,
            ..
        } = request;
        let Draft {
            target,
            event,
            value,
            metadata,
            stream,
            mark,
            slot,
            sink,
        } = draft;
        let cell = stream.clone();
        let ends = matches!(event, Event::End { .. });
        let stopping = self.dispatcher.is_stopping() && !cfg!(planted = "shutdown_claims_on");
        let number = match &target {
            Target::Number(task) => Some(*task),
            Target::Id(_) | Target::Unborn => None,
        };
        let decided = if stopping && claims(&event) {
            // A claim that would not be entered any more is not made: its task waits for the next open.
            Err(Refused::Stopped(Stop::Shutdown))
        } else {
            let brought = Brought {
                value,
                metadata,
                stream: stream.map(|cell| (cell, mark, ends)),
            };
            self.transition(target, event, brought, commits)
        };
        if let Err(Refused::Unreadable(error)) = &decided {
            if !error.is_of_one_entry() {
                self.fatal.get_or_insert(error.clone());
            } else if let Some(task) = number {
                self.hub.doubt(task);
            }
        }
        if let (Err(refused), Some(cell)) = (&decided, cell) {
            cell.close(refused.into());
        }
        match decided {
            Ok(decided) => Pending::decided(decided, (reply, origin), (slot, sink)),
            Err(refused) => Pending::refused(refused, (reply, origin), slot),
        }
    }

    fn transition(
        &mut self,
        target: Target,
        event: Event,
        brought: Brought,
        commits: &mut Commits,
    ) -> Result<Decided, Refused> {
        let unreadable = Refused::Unreadable;
        let task = self.known.locate(target, self.etag).map_err(unreadable)?;
        self.known.load(task, self.etag).map_err(unreadable)?;
        let receipt = self.known.receipt(task, &event).map_err(unreadable)?;
        let question = self.known.question(task, &event).map_err(unreadable)?;
        let parent = event.named_parent();
        if let Some(parent) = parent {
            self.known.load(parent, self.etag).map_err(unreadable)?;
        }
        let ended = match event.counts_children() {
            true => self.known.ended_children(task).map_err(unreadable)?,
            false => 0,
        };
        let live = self.known.get(task);
        let none = VecDeque::new();
        let view = View {
            task,
            row: live.map(|live| &*live.row),
            inbox: live.map_or(&none, |live| &live.waiting),
            receipt: receipt.as_ref(),
            question: question.as_ref(),
            family: FamilyView {
                parent: parent.and_then(|parent| Some(&*self.known.get(parent)?.row)),
                ended,
            },
            limits: live
                .map(|live| self.registry.limits(live.row.def))
                .unwrap_or_default(),
        };
        let (etag, generation) = (Etag(self.etag.0 + 1), Generation(self.generation.0 + 1));
        let now = Now::new(self.clock.times(), etag, generation);
        let value_key = event.value_key(task, view.row);
        let transition = machine::step(&view, event, now).map_err(Refused::Rejected)?;
        Ok(self.adopt(task, transition, (value_key, brought), now, commits))
    }

    /// A transition becomes what the writer knows of the task, and a part of the batch's commits.
    fn adopt(
        &mut self,
        task: TaskNumber,
        transition: Transition,
        (value_key, mut brought): (Option<ValueKey>, Brought),
        now: Now,
        commits: &mut Commits,
    ) -> Decided {
        let Transition {
            expect,
            row,
            mut writes,
            answer,
            effects,
            what,
        } = transition;
        let live = self.known.get(task);
        let mut decided = Decided::new(task, (answer, effects, what), live);
        let known = live.map(|live| Arc::clone(&live.row));
        let removes = writes.contains(&Write::RemoveTask);
        let stream = brought.stream.take();
        decided.appended = stream.map(|(cell, mark, ends)| Appended::take(cell, mark, ends));
        decided.removed = removes;
        // Who watches a task is not woken for what it emits.
        let seen = what.is_some() || brought.metadata.is_some();
        // Written before a removal, which is the last word on a task.
        let mut beside = Vec::new();
        if removes {
            decided.output = brought.value;
        } else {
            let key = value_key.filter(|_| row.is_some());
            let run = known.as_ref().map_or(1, |row| row.run);
            self.write_beside(&mut decided, run, (key, brought), &mut beside);
        }
        decided.is_of(row.map(Arc::from).or(known));
        if !removes {
            decided.append(&mut beside);
        }
        if let (Some(kind), Some(row)) = (what, &decided.row) {
            self.etag = now.etag;
            self.generation = self.generation.max(row.generation);
            if self.feeds.log.is_kept {
                let event = event_row(task, row, kind, now);
                beside.push(Write::Event(Box::new(event)));
            }
        }
        beside.append(&mut writes);
        if beside.is_empty() && what.is_none() {
            decided.row = None;
            return decided;
        }
        let changed = what.filter(|what| *what != EventKind::Removed);
        let row = changed.and(decided.row.clone());
        if let Some(row) = &row {
            self.known.remember(task, row, &beside);
        } else {
            self.known.note(task, &beside);
        }
        commits.add(task, expect, row.as_ref(), beside);
        if removes {
            self.known.forget(task);
        }
        if !seen {
            decided.row = None;
        }
        decided
    }

    /// The values that come with an event. Whoever waits for an output need not look for it afterwards: a later turn
    /// may have taken its place by then.
    fn write_beside(
        &self,
        decided: &mut Decided,
        run: u32,
        (key, brought): (Option<ValueKey>, Brought),
        beside: &mut Vec<Write>,
    ) {
        let task = decided.task;
        if let (Some(key), Some(bytes)) = (key, brought.value) {
            let is_awaited = |named: Named| self.hub.is_awaited(task, &named);
            let awaited = decided.answered(run).any(is_awaited);
            decided.output = awaited.then(|| bytes.clone());
            beside.push(Write::Value { key, bytes });
        }
        if let Some(bytes) = brought.metadata {
            let (kind, index) = (ValueKind::Metadata, 0);
            let key = ValueKey { task, kind, index };
            beside.push(Write::Value { key, bytes });
        }
    }

    fn answer(&self, pending: Vec<Pending>) {
        for mut one in pending {
            one.show(&self.dispatcher.streams);
            if let (Some(row), Some(what)) = (&one.row, one.what) {
                crate::trace::transition(one.task, row, what, self.registry.name(row.def));
            }
            let seen = one.row.is_some();
            if seen && (one.what.is_some() || !cfg!(planted = "watch_misses_metadata")) {
                self.feeds.watchers.changed(one.task);
            }
            // Before the handler can run: the answer may pass before its caller has come to wait for it.
            if let (true, Ok(done)) = (one.ephemeral, &mut one.told)
                && let Answer::Accepted { named, .. } = &done.answer
            {
                done.expecting = self.hub.expect(done.task, named);
            }
            for effect in std::mem::take(&mut one.effects) {
                self.perform(&mut one, effect);
            }
            failpoint::reach(Failpoint::EffectsDone);
            if cfg!(planted = "slot_kept_by_waiting_task") {
                std::mem::forget(one.slot);
            } else {
                drop(one.slot);
            }
            // A caller that left loses nothing: what it asked for is durable.
            let _ = one.reply.send(one.told);
        }
        failpoint::reach(Failpoint::Told);
    }

    fn perform(&self, one: &mut Pending, effect: Effect) {
        let task = one.task;
        let run = one.row.as_ref().map_or(1, |row| row.run);
        let of_run = |input_id| Named { input_id, run };
        match effect {
            Effect::Enter {
                generation,
                steered,
            } => {
                let (Some(row), Some(slot)) = (&one.row, one.slot.take()) else {
                    debug_assert!(false, "a claim carries its row and its slot");
                    return;
                };
                self.hub.running(task, &of_run(row.input_id.clone()));
                let entered = Entered {
                    task,
                    row: Arc::clone(row),
                    generation,
                    steered,
                };
                self.dispatcher.enter(entered, slot);
            }
            Effect::Due { .. } => {
                self.hub.idle(task);
                self.dispatcher.wake();
            }
            Effect::Idle => self.hub.idle(task),
            Effect::FamilyOver => self.dispatcher.families.notify_one(),
            Effect::Woken => self.dispatcher.woken(task),
            Effect::Signal(cause) => {
                let grace_us = one.row.as_ref().map(|row| row.options.cancel_grace_us);
                self.dispatcher
                    .signal(task, cause, grace_us.unwrap_or(u64::MAX));
            }
            Effect::Waiting(inputs) => self.dispatcher.waiting(task, inputs),
            Effect::Fence(_) => self.dispatcher.live.fence(task),
            Effect::Parked {
                input_id,
                what,
                expected,
            } => self.hub.parked(task, &of_run(input_id), what, expected),
            Effect::Answered {
                input_id,
                turn,
                result,
            } => {
                // A turn that took inputs answers several callers with one output.
                let named = of_run(input_id);
                let wanted = self.hub.is_awaited(task, &named);
                let result = match one.output.as_ref().filter(|_| wanted) {
                    Some(output) => with_output(result, output.clone()),
                    None => result,
                };
                if cfg!(planted = "output_for_one_caller") {
                    one.output = None;
                }
                self.hub.answer(task, &named, &Answered { turn, result });
            }
            Effect::Withdrawn { input_id, reason } => {
                self.hub.withdrawn(task, &of_run(input_id), &reason);
            }
            Effect::TaskEnded if one.what == Some(EventKind::Removed) => {
                for named in &one.drained {
                    self.hub.withdrawn(task, named, "the task was deleted");
                }
            }
            Effect::TaskEnded => self.hub.ended(task, &one.drained),
        }
    }

    fn fail(&mut self, pending: Vec<Pending>, error: StoreError) -> bool {
        tracing::error!(target: "outlive::store", %error, "the store failed; the engine stops");
        self.poison.set(Stop::Failed(error.clone()));
        for one in pending {
            // Also what was rejected: it was decided on rows that this batch may or may not have changed.
            one.fail(&error);
        }
        false
    }
}
