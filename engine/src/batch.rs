//! One batch: read each task as the batch has left it, ask the machine, commit once, then answer and act.
//!
//! It has so many lines because what a batch goes through stands together, from its events to their effects.

mod beside;
mod settling;

use crate::commits::{Commits, damaged};
use crate::crew::Crew;
use crate::decision::{Brought, Decided, claims, event_row, with_output};
use crate::env::Clock;
use crate::failpoint::{self, Failpoint};
use crate::feed::Feeds;
use crate::held::Held;
use crate::hub::{Answered, Hub};
use crate::known::Known;
use crate::machine::{
    self, Answer, Effect, Event, FamilyView, Named, Now, Question, Transition, View,
};
use crate::meter;
use crate::pending::Pending;
use crate::poison::Poison;
use crate::registry::Registry;
use crate::reply::Reply;
use crate::request::{Draft, Request};
use crate::stream::cell::Appended;
use crate::turn::{Dispatcher, Entered};
use crate::word::Handed;
use crate::writer::{Message, Refused, Rooms, Stop, Target};
use foldhash::HashMap;
use outlive_storage::row::{
    Etag, EventKind, Generation, LifeRow, Receipt, TaskNumber, Times, ValueKey, ValueKind,
};
use outlive_storage::{Applied, Commit, Conflict, Counters, Store, StoreError, Write};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Batcher {
    store: Arc<dyn Store>,
    clock: Clock,
    /// The time of the batch at hand: one for all of it.
    times: Times,
    registry: Arc<Registry>,
    hub: Arc<Hub>,
    dispatcher: Arc<Dispatcher>,
    poison: Arc<Poison>,
    etag: Etag,
    generation: Generation,
    known: Known,
    /// The store failed as a whole while the batch at hand was decided.
    fatal: Option<StoreError>,
    /// Of an engine in which something can run.
    life: Option<LifeRow>,
    feeds: Arc<Feeds>,
    patience: Duration,
    /// A batch whose commit failed; nothing else is decided before it is settled.
    held: Option<Held>,
    /// What was not decided, for there was no room even to read: it waits.
    put_off: Vec<Message>,
    /// Room for what is pending, and for the commits of a batch: both empty.
    pending: Vec<Pending>,
    commits: Commits,
    /// Words on the last batch that workers are to say.
    handed: Handed,
}

/// What was read for one decision, as the batch has left it.
struct Looked {
    task: TaskNumber,
    receipt: Option<Receipt>,
    question: Option<Question>,
    parent: Option<TaskNumber>,
    /// How often children of the task's turn have ended.
    ended: u64,
}

impl Batcher {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        counters: Counters,
        clock: Clock,
        registry: Arc<Registry>,
        dispatcher: Arc<Dispatcher>,
        (life, feeds): (Option<LifeRow>, Arc<Feeds>),
        patience: Duration,
    ) -> Batcher {
        let poison = Arc::clone(&dispatcher.writer.poison);
        let known = Known::new(Arc::clone(&store));
        Batcher {
            store,
            times: clock.times(),
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
            put_off: Vec::new(),
            pending: Vec::new(),
            commits: Commits::default(),
            handed: Handed::default(),
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Whether workers may still have something to say.
    pub(crate) fn has_handed_over(&self) -> bool {
        self.handed.is_waiting()
    }

    /// What workers are to say of the last batch.
    pub(crate) fn handed(&mut self) -> &mut Handed {
        &mut self.handed
    }

    /// One for the batch at hand.
    fn crew(&mut self, at: Times) -> Crew {
        self.handed.say_left();
        Crew::new(&self.dispatcher, std::mem::take(&mut self.handed), at)
    }

    /// Nothing will be answered any more: waiters learn it.
    pub(crate) fn close(&mut self) {
        self.handed.say_left();
        self.hub.close();
        self.feeds.close();
        self.dispatcher.streams.close();
        self.dispatcher.writer_ended();
    }

    /// Applies one batch, and leaves its list empty. False: the store failed, the writer must end.
    pub(crate) fn run(&mut self, requests: &mut Vec<Request>) -> bool {
        self.times = self.clock.times();
        let mut commits = std::mem::take(&mut self.commits);
        let mut pending = self.decide_all(requests, &mut commits);
        if let Some(error) = self.fatal.take() {
            return self.fail(pending, error);
        }
        if commits.list.is_empty() {
            // Rows that were only looked at are not kept either: a restarted batch asks about every task there is.
            self.known.settle();
            self.answer(pending);
            self.commits = commits;
            return self.put_off.is_empty() || self.wait_for_room();
        }
        if cfg!(planted = "answer_before_commit") {
            self.answer(std::mem::take(&mut pending));
        }
        if cfg!(planted = "effects_before_commit") {
            let mut crew = self.crew(self.times);
            for one in &mut pending {
                for effect in std::mem::take(&mut one.effects) {
                    self.perform(one, effect, &mut crew);
                }
            }
            self.handed = crew.go();
        }
        if cfg!(planted = "reader_ahead_of_disk") {
            let streams = &self.dispatcher.streams;
            pending.iter_mut().for_each(|one| one.show(streams));
        }
        failpoint::reach(Failpoint::Decided);
        // Those of the batch before have waited long enough: nobody knows how long a commit takes.
        if !cfg!(planted = "words_wait_for_a_commit") {
            self.handed.say_left();
        }
        let committed = meter::under_commit(&self.clock, || self.store.commit(&commits.list));
        match committed {
            Ok(results) => {
                let goes_on = self.committed(pending, &commits.list, results);
                commits.clear();
                self.commits = commits;
                goes_on
            }
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

    /// Decides one event after the other. Where there is no room to read what one takes, it and those after it are put off.
    fn decide_all(&mut self, requests: &mut Vec<Request>, commits: &mut Commits) -> Vec<Pending> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.reserve(requests.len());
        let decided = requests.iter_mut();
        pending.extend(decided.map_while(|request| self.decide(request, commits)));
        let put_off = requests.drain(pending.len()..).map(Message::Event);
        self.put_off.extend(put_off);
        let mut rooms = Rooms::default();
        let taken = requests.drain(..).filter_map(Request::into_room);
        taken.for_each(|room| rooms.add(room));
        // In the same transaction: a parent cannot miss what its children's commits have counted.
        for parent in self.known.parents() {
            if !cfg!(planted = "parent_not_told") {
                match self.decide(&mut Request::child_ended(parent), commits) {
                    Some(one) => pending.push(one),
                    // Its children's ends must not be committed without it.
                    None => {
                        self.fatal.get_or_insert(StoreError::Full);
                    }
                }
            }
        }
        pending
    }

    /// What the machine makes of one event, which is used up, added to the batch's commits. `None`: the store can be read when
    /// there is room, and the event is as it came.
    fn decide(&mut self, request: &mut Request, commits: &mut Commits) -> Option<Pending> {
        let Draft { target, event, .. } = &request.draft;
        let ends = matches!(event, Event::End { .. });
        let stopping = self.dispatcher.is_stopping() && !cfg!(planted = "shutdown_claims_on");
        let number = match target {
            Target::Number(task) => Some(*task),
            Target::Id(_) | Target::Unborn => None,
        };
        let fatal = self.fatal.as_ref();
        let looked = if let Some(error) = fatal.filter(|_| !cfg!(planted = "failed_batch_read_on"))
        {
            // Each would be waited for as long as the first.
            Err(Refused::Unreadable(error.clone()))
        } else if stopping && claims(event) {
            // A claim that would not be entered any more is not made: its task waits for the next open.
            Err(Refused::Stopped(Stop::Shutdown))
        } else {
            self.look(target, event).map_err(Refused::Unreadable)
        };
        let is_full = matches!(looked, Err(Refused::Unreadable(StoreError::Full)));
        if is_full && !cfg!(planted = "full_read_ends_all") {
            return None;
        }
        let draft = &mut request.draft;
        let cell = draft.stream.clone();
        let decided = looked.and_then(|looked| {
            let mark = draft.mark.take().map(|mark| *mark);
            let brought = Brought {
                value: draft.value.take(),
                metadata: draft.metadata.take(),
                stream: draft.stream.take().map(|cell| (cell, mark, ends)),
            };
            let event = std::mem::replace(&mut draft.event, Event::ChildEnded);
            self.transition(looked, event, brought, commits)
        });
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
        let (slot, sink) = (draft.slot.take(), draft.sink.take());
        let reply = std::mem::replace(&mut request.reply, Reply::Nobody);
        let from = (reply, request.origin);
        Some(match decided {
            Ok(decided) => Pending::decided(decided, from, (slot, sink)),
            Err(refused) => Pending::refused(refused, from, slot),
        })
    }

    /// Reads what the decision of an event takes.
    fn look(&mut self, target: &Target, event: &Event) -> Result<Looked, StoreError> {
        let task = self.known.locate(target, self.etag)?;
        self.known.load(task, self.etag)?;
        let receipt = self.known.receipt(task, event)?;
        let question = self.known.question(task, event)?;
        let parent = event.named_parent();
        if let Some(parent) = parent {
            self.known.load(parent, self.etag)?;
        }
        let ended = match event.counts_children() {
            true => self.known.ended_children(task)?,
            false => 0,
        };
        Ok(Looked {
            task,
            receipt,
            question,
            parent,
            ended,
        })
    }

    fn transition(
        &mut self,
        looked: Looked,
        event: Event,
        brought: Brought,
        commits: &mut Commits,
    ) -> Result<Decided, Refused> {
        let task = looked.task;
        let live = self.known.get(task);
        let none = VecDeque::new();
        let view = View {
            task,
            row: live.map(|live| &*live.row),
            inbox: live.map_or(&none, |live| &live.waiting),
            receipt: looked.receipt.as_ref(),
            question: looked.question.as_ref(),
            family: FamilyView {
                parent: (looked.parent).and_then(|parent| Some(&*self.known.get(parent)?.row)),
                ended: looked.ended,
            },
            limits: live
                .map(|live| self.registry.limits(live.row.def))
                .unwrap_or_default(),
        };
        let (etag, generation) = (Etag(self.etag.0 + 1), Generation(self.generation.0 + 1));
        let now = Now::new(self.times, etag, generation);
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
        // Written before a removal, which is the last word on a task. With room for two values, an event, and the row.
        let mut beside = commits.room(writes.len() + 4);
        if removes {
            decided.output = brought.value;
        } else {
            let key = value_key.filter(|_| row.is_some());
            let run = known.as_ref().map_or(1, |row| row.run);
            self.write_beside(&mut decided, run, (key, brought), &mut beside);
        }
        decided.is_of(row.or(known));
        if !removes {
            decided.append(&mut beside);
        }
        if let (Some(kind), Some(row)) = (what, &decided.row) {
            self.etag = now.etag;
            self.generation = self.generation.max(row.generation);
            if self.feeds.log.is_kept {
                let event = event_row(task, row, kind, now);
                beside.push(Write::Event(event));
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

    fn answer(&mut self, mut pending: Vec<Pending>) {
        let mut crew = self.crew(self.clock.times());
        for one in &mut pending {
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
                self.perform(one, effect, &mut crew);
            }
            failpoint::reach(Failpoint::EffectsDone);
            let slot = one.slot.take();
            if cfg!(planted = "slot_kept_by_waiting_task") {
                std::mem::forget(slot);
            } else {
                drop(slot);
            }
            let (reply, told) = one.word();
            reply.settle(told, &self.hub, |word| crew.tell(word));
        }
        self.handed = crew.go();
        pending.clear();
        self.pending = pending;
        failpoint::reach(Failpoint::Told);
    }

    fn perform(&self, one: &mut Pending, effect: Effect, crew: &mut Crew) {
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
                self.dispatcher.enter(entered, slot, crew);
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
            } => self.tell_answer(one, &of_run(input_id), Answered { turn, result }, crew),
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

    /// A turn that took inputs answers several callers with one output.
    fn tell_answer(&self, one: &mut Pending, named: &Named, mut answer: Answered, crew: &mut Crew) {
        let wanted = |_: &&Vec<u8>| self.hub.is_awaited(one.task, named);
        if let Some(output) = one.output.as_ref().filter(wanted) {
            answer.result = with_output(answer.result, output.clone());
        }
        if cfg!(planted = "output_for_one_caller") {
            one.output = None;
        }
        self.hub
            .answer(one.task, named, answer, |word| crew.tell(word));
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
