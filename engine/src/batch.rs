//! One batch: read each task as the batch has left it, ask the machine, commit once, then answer and act.

use crate::commits::{Commits, damaged, value_key};
use crate::env::Clock;
use crate::flow::Slot;
use crate::hub::Hub;
use crate::machine::{self, Answer, Effect, Event, Now, Transition, View};
use crate::registry::Registry;
use crate::turn::{Dispatcher, Entered};
use crate::writer::{Poison, Refused, Request, Stop, Target, Told};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Etag, Generation, InputRow, Receipt, State, TaskNumber, TaskRow};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{Counters, Store, StoreError, Write};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A task as the writer knows it, ahead of the store only within a batch.
struct Live {
    row: Arc<TaskRow>,
    /// The oldest waiting inputs, at most a page of them.
    waiting: VecDeque<(u64, InputRow)>,
}

impl Live {
    /// How many inputs wait: each accepted one is waiting, or had its turn.
    fn inbox_len(&self) -> u64 {
        self.row
            .inputs_accepted
            .saturating_sub(u64::from(self.row.turn))
    }
}

/// What is told and done once the batch is durable.
struct Pending {
    reply: oneshot::Sender<Told>,
    told: Told,
    task: TaskNumber,
    row: Option<Arc<TaskRow>>,
    effects: Vec<Effect>,
    slot: Option<Slot>,
}

pub(crate) struct Batcher {
    store: Arc<dyn Store>,
    clock: Clock,
    registry: Arc<Registry>,
    hub: Arc<Hub>,
    dispatcher: Arc<Dispatcher>,
    poison: Arc<Poison>,
    etag: Etag,
    generation: Generation,
    live: HashMap<TaskNumber, Live>,
    /// The store failed as a whole while the batch at hand was decided.
    fatal: Option<StoreError>,
    /// Ids and receipts written by the batch at hand, which the store cannot show yet.
    fresh_ids: HashMap<TaskId, TaskNumber>,
    fresh_receipts: HashMap<(TaskNumber, InputId), Receipt>,
}

impl Batcher {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        counters: Counters,
        clock: Clock,
        registry: Arc<Registry>,
        dispatcher: Arc<Dispatcher>,
        poison: Arc<Poison>,
    ) -> Batcher {
        Batcher {
            store,
            clock,
            registry,
            hub: Arc::clone(&dispatcher.hub),
            dispatcher,
            poison,
            etag: counters.etag,
            generation: counters.generation,
            live: HashMap::new(),
            fatal: None,
            fresh_ids: HashMap::new(),
            fresh_receipts: HashMap::new(),
        }
    }

    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Nothing will be answered any more: waiters learn it.
    pub(crate) fn close(&self) {
        self.hub.close();
        self.dispatcher.writer_ended();
    }

    /// Applies one batch. False: the store failed, the writer must end.
    pub(crate) fn run(&mut self, requests: Vec<Request>) -> bool {
        let mut commits = Commits::default();
        let mut pending = Vec::with_capacity(requests.len());
        for request in requests {
            pending.push(self.decide(request, &mut commits));
        }
        if let Some(error) = self.fatal.take() {
            return self.fail(pending, error);
        }
        if commits.list.is_empty() {
            self.answer(pending);
            return true;
        }
        if cfg!(planted = "answer_before_commit") {
            self.answer(std::mem::take(&mut pending));
        }
        if cfg!(planted = "effects_before_commit") {
            for one in &mut pending {
                for effect in std::mem::take(&mut one.effects) {
                    self.perform(one.task, one.row.as_ref(), effect, &mut one.slot);
                }
            }
        }
        match self.store.commit(&commits.list) {
            Ok(results) => match damaged(results) {
                Ok(damaged) => {
                    self.settle();
                    self.refuse(&mut pending, &damaged);
                    self.answer(pending);
                    true
                }
                Err(error) => self.fail(pending, error),
            },
            Err(error) => self.fail(pending, error),
        }
    }

    /// Damage found by the commit itself hurts its own task alone: nothing of that task was written.
    fn refuse(&mut self, pending: &mut [Pending], damaged: &HashMap<TaskNumber, StoreError>) {
        if damaged.is_empty() {
            return;
        }
        self.live.retain(|task, _| !damaged.contains_key(task));
        for one in pending {
            let Some(error) = damaged.get(&one.task) else {
                continue;
            };
            one.told = Err(Refused::Unreadable(error.clone()));
            one.effects.clear();
            one.row = None;
            self.hub.doubt(one.task);
        }
    }

    /// What the machine makes of one event, added to the batch's commits.
    fn decide(&mut self, request: Request, commits: &mut Commits) -> Pending {
        let Request {
            target,
            event,
            value,
            slot,
            reply,
            ..
        } = request;
        let stopping = self.dispatcher.is_stopping() && !cfg!(planted = "shutdown_claims_on");
        let decided = match &event {
            // A claim that would not be entered any more is not made: its task waits for the next open.
            Event::Claim(_) | Event::Recover(_) if stopping => {
                Err(Refused::Stopped(Stop::Shutdown))
            }
            Event::Claim(_)
            | Event::Recover(_)
            | Event::Orphan(_)
            | Event::Reconsider
            | Event::Input(_)
            | Event::End { .. } => self.transition(target, event, value, commits),
        };
        if let Err(Refused::Unreadable(error)) = &decided {
            if !error.is_of_one_entry() {
                self.fatal.get_or_insert(error.clone());
            } else if let Target::Number(task) = target {
                self.hub.doubt(task);
            }
        }
        let (told, task, row, effects) = match decided {
            Ok((task, row, answer, effects)) => (Ok((task, answer)), task, row, effects),
            Err(refused) => (Err(refused), TaskNumber(0), None, Vec::new()),
        };
        Pending {
            reply,
            told,
            task,
            row,
            effects,
            slot,
        }
    }

    #[allow(clippy::type_complexity)] // The four parts of one decision, taken apart by its only caller.
    fn transition(
        &mut self,
        target: Target,
        event: Event,
        value: Option<Vec<u8>>,
        commits: &mut Commits,
    ) -> Result<(TaskNumber, Option<Arc<TaskRow>>, Answer, Vec<Effect>), Refused> {
        let task = self.locate(target, &event).map_err(Refused::Unreadable)?;
        self.load(task).map_err(Refused::Unreadable)?;
        let receipt = self.receipt(task, &event).map_err(Refused::Unreadable)?;
        let live = self.live.get(&task);
        let view = View {
            task,
            row: live.map(|live| &*live.row),
            inbox_len: live.map_or(0, Live::inbox_len),
            inbox_head: live
                .and_then(|live| live.waiting.front())
                .map(|(seq, input)| (*seq, input)),
            receipt: receipt.as_ref(),
            limits: live
                .map(|live| self.registry.limits(live.row.def))
                .unwrap_or_default(),
        };
        let now = Now {
            at: self.clock.now(),
            etag: Etag(self.etag.0 + 1),
            generation: Generation(self.generation.0 + 1),
        };
        let value_key = value_key(task, view.row, &event);
        let transition = machine::step(&view, event, now).map_err(Refused::Rejected)?;
        let Transition {
            expect,
            row,
            mut writes,
            answer,
            effects,
        } = transition;
        let Some(row) = row else {
            return Ok((task, None, answer, effects));
        };
        self.etag = now.etag;
        self.generation = self.generation.max(row.generation);
        if let (Some(key), Some(bytes)) = (value_key, value) {
            writes.push(Write::Value { key, bytes });
        }
        let row = self.remember(task, *row, &writes);
        commits.add(task, expect, &row, writes);
        Ok((task, Some(row), answer, effects))
    }

    /// The number of the task an event is for; a new one is the etag its start would get.
    fn locate(&self, target: Target, event: &Event) -> Result<TaskNumber, StoreError> {
        match (target, event) {
            (Target::Number(task), _) => Ok(task),
            (Target::ByInput, Event::Input(input)) => {
                if let Some(task) = self.fresh_ids.get(&input.id) {
                    return Ok(*task);
                }
                let found = self.store.find(&input.id)?;
                Ok(found.unwrap_or(TaskNumber(self.etag.0 + 1)))
            }
            (
                Target::ByInput,
                Event::Claim(_)
                | Event::Recover(_)
                | Event::Orphan(_)
                | Event::Reconsider
                | Event::End { .. },
            ) => Err(StoreError::Malformed {
                what: "an event without an id names its task by number",
            }),
        }
    }

    /// Makes sure the writer knows the task as this batch has left it.
    fn load(&mut self, task: TaskNumber) -> Result<(), StoreError> {
        // A number above the last etag was not given yet, so the store need not be asked.
        if task.0 > self.etag.0 {
            return Ok(());
        }
        if !self.live.contains_key(&task) {
            let Some(row) = self.store.get(task)? else {
                return Ok(());
            };
            let (row, waiting) = (Arc::new(row), VecDeque::new());
            self.live.insert(task, Live { row, waiting });
        }
        let Some(live) = self.live.get_mut(&task) else {
            return Ok(());
        };
        if live.inbox_len() > 0 && live.waiting.is_empty() {
            // What this batch has consumed is still in the store, at or below the turn's own input.
            let consumed = live.row.input_seq;
            let page = self.store.inputs(task, PAGE_MAX)?;
            live.waiting = page
                .into_iter()
                .filter(|(seq, _)| *seq > consumed)
                .collect();
        }
        Ok(())
    }

    fn receipt(&self, task: TaskNumber, event: &Event) -> Result<Option<Receipt>, StoreError> {
        let Event::Input(input) = event else {
            return Ok(None);
        };
        let several = self
            .live
            .get(&task)
            .is_some_and(|live| live.row.inputs_accepted > 1);
        // A task of one input keeps its receipt in its row.
        if !input.input_id_given || !several {
            return Ok(None);
        }
        if let Some(receipt) = self.fresh_receipts.get(&(task, input.input_id.clone())) {
            return Ok(Some(receipt.clone()));
        }
        self.store.receipt(task, &input.input_id)
    }

    fn remember(&mut self, task: TaskNumber, row: TaskRow, writes: &[Write]) -> Arc<TaskRow> {
        let row = Arc::new(row);
        let live = self.live.entry(task).or_insert_with(|| {
            self.fresh_ids.insert(row.id.clone(), task);
            let waiting = VecDeque::new();
            Live {
                row: Arc::clone(&row),
                waiting,
            }
        });
        // A page that does not reach the newest input must not get the next one behind a gap; it grows no further
        // than a page.
        let waiting = live.waiting.len();
        let whole = waiting as u64 == live.inbox_len() && waiting < PAGE_MAX;
        live.row = Arc::clone(&row);
        for write in writes {
            match write {
                Write::PushInput { seq, input } if whole => {
                    live.waiting.push_back((*seq, input.clone()));
                }
                Write::PopInput { seq } => {
                    let popped = live.waiting.pop_front();
                    debug_assert_eq!(
                        popped.map(|(front, _)| front),
                        Some(*seq),
                        "inputs leave in order"
                    );
                }
                Write::Receipt { input_id, receipt } => {
                    self.fresh_receipts
                        .insert((task, input_id.clone()), receipt.clone());
                }
                Write::PushInput { .. }
                | Write::Row(_)
                | Write::Value { .. }
                | Write::RemoveValue(_) => {}
            }
        }
        row
    }

    /// The batch is durable: what the store shows now need not be remembered, except what runs.
    fn settle(&mut self) {
        self.fresh_ids.clear();
        self.fresh_receipts.clear();
        self.live
            .retain(|_, live| matches!(live.row.state, State::InProgress { .. }));
    }

    fn answer(&self, pending: Vec<Pending>) {
        for Pending {
            reply,
            told,
            task,
            row,
            effects,
            mut slot,
        } in pending
        {
            if let Some(row) = &row {
                crate::trace::transition(task, row, self.registry.name(row.def));
            }
            for effect in effects {
                self.perform(task, row.as_ref(), effect, &mut slot);
            }
            drop(slot);
            // A caller that left loses nothing: what it asked for is durable.
            let _ = reply.send(told);
        }
    }

    fn perform(
        &self,
        task: TaskNumber,
        row: Option<&Arc<TaskRow>>,
        effect: Effect,
        slot: &mut Option<Slot>,
    ) {
        match effect {
            Effect::Enter(generation) => {
                let (Some(row), Some(slot)) = (row, slot.take()) else {
                    debug_assert!(false, "a claim carries its row and its slot");
                    return;
                };
                self.hub.running(task, &row.input_id);
                let entered = Entered {
                    task,
                    row: Arc::clone(row),
                    generation,
                };
                self.dispatcher.enter(entered, slot);
            }
            Effect::Due { .. } => {
                self.hub.idle(task);
                self.dispatcher.wake();
            }
            Effect::Parked {
                input_id,
                what,
                expected,
            } => self.hub.parked(task, &input_id, what, expected),
            Effect::Answered { input_id, answer } => self.hub.answer(task, &input_id, &answer),
            Effect::TaskEnded => self.hub.ended(task),
        }
    }

    fn fail(&mut self, pending: Vec<Pending>, error: StoreError) -> bool {
        tracing::error!(target: "outlive::store", %error, "the store failed; the engine stops");
        self.poison.set(Stop::Failed(error.clone()));
        for Pending { reply, .. } in pending {
            // Also what was rejected: it was decided on rows that this batch may or may not have changed.
            let _ = reply.send(Err(Refused::Unknown(error.clone())));
        }
        false
    }
}
