//! The engine loop: hands due tasks to the registered handlers, as far as slots are free.

use crate::env::{self, Clock};
use crate::flow::{Kind, Slot, Slots};
use crate::machine::{Claimant, Event};
use crate::recovery::Recovery;
use crate::registry::Registry;
use crate::turn::Dispatcher;
use crate::writer::{Draft, Origin, Refused, Target, Told, Writer};
use outlive_storage::row::{Micros, TaskNumber};
use outlive_storage::{Store, StoreError};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Most claims under way at once: a batch of the writer.
const CLAIMS_MAX: usize = 1024;
/// The longest sleep while something is due at a known time.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How long the loop waits before it asks a store that failed to answer once more.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What the loop and the start-up scan share.
pub(crate) struct Tools {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) claimant: Claimant,
    pub(crate) clock: Clock,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Tools {
    pub(crate) fn new(dispatcher: &Dispatcher, store: Arc<dyn Store>, clock: Clock) -> Tools {
        Tools {
            store,
            writer: Arc::clone(&dispatcher.writer),
            registry: Arc::clone(&dispatcher.registry),
            slots: Arc::clone(&dispatcher.slots),
            claimant: dispatcher.claimant.clone(),
            clock,
            stopping: dispatcher.stopping.subscribe(),
        }
    }

    /// Whether nothing more is to be claimed.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Sends one of the engine's own events.
    pub(crate) async fn send(
        &self,
        task: TaskNumber,
        event: Event,
        slot: Option<Slot>,
    ) -> Result<impl Future<Output = Told> + Send + use<>, Refused> {
        let draft = Draft {
            target: Target::Number(task),
            event,
            value: None,
            slot,
        };
        self.writer.send(Origin::Engine, draft).await
    }
}

pub(crate) struct EngineLoop {
    tools: Tools,
    recovery: Recovery,
    /// Due tasks whose rows cannot be read: they are left alone, and hold up nobody.
    damaged: HashSet<TaskNumber>,
}

/// What one round left behind.
#[derive(Default)]
struct Round {
    /// Kinds of handlers for which more tasks are due than slots are free.
    short: HashSet<Kind>,
    next: Option<Micros>,
    /// Claims were sent and none was taken: trying again at once would not help.
    stuck: bool,
}

impl EngineLoop {
    pub(crate) fn new(tools: Tools, recovery: Recovery) -> EngineLoop {
        EngineLoop {
            tools,
            recovery,
            damaged: HashSet::new(),
        }
    }

    /// Runs until the engine stops.
    pub(crate) async fn run(mut self) {
        // However the loop ends, also by a panic, the engine does not look alive afterwards.
        let _guard = Alive(Arc::clone(&self.tools.writer));
        if let Err(error) = crate::recovery::reconsider(&self.tools).await {
            self.failed(error);
        }
        let mut stopping = self.tools.stopping.clone();
        while !self.tools.is_stopping() {
            let pause = match self.round().await {
                Ok(round) if round.stuck => Some(AFTER_FAILURE),
                Ok(round) => self.until(round.next),
                Err(error) => {
                    self.failed(error);
                    Some(AFTER_FAILURE)
                }
            };
            let slept = async {
                match pause {
                    Some(pause) => env::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.tools.slots.wake.notified() => {}
                () = slept => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    /// The store could not be read. Unless one entry of it is at fault, nothing else could be done with it either.
    fn failed(&self, error: StoreError) {
        if error.is_of_one_entry() {
            tracing::error!(target: "outlive::store", %error, "an entry is passed over");
            return;
        }
        self.tools.writer.fail(error);
    }

    /// How long to sleep when nothing wakes the loop: for ever when nothing is due by itself.
    fn until(&self, next: Option<Micros>) -> Option<Duration> {
        let next = next?;
        let wait = Duration::from_micros(next.0.saturating_sub(self.tools.clock.now().0));
        // Timers may fire a little early against the microseconds of a deadline, never late by more than this.
        Some(wait.saturating_add(Duration::from_micros(1)).min(SLEEP_MAX))
    }

    /// Goes on with the start-up scan, then claims what is due.
    async fn round(&mut self) -> Result<Round, StoreError> {
        // What was running comes before what waits: a kind that is still being recovered claims nothing else. The
        // other kind goes on meanwhile, for a recovered handler may wait for one of its tasks.
        let recovering = self.recovery.go_on(&self.tools).await?;
        loop {
            let round = self.claim_due(&recovering).await?;
            for kind in [Kind::Async, Kind::Blocking] {
                let backlog = round.short.contains(&kind);
                self.tools.slots.set_backlog(kind, backlog);
            }
            self.recovery.report(&self.tools);
            // A slot given back before the backlog was known woke nobody.
            let mut claimable = round.short.difference(&recovering);
            let slot_missed = claimable.any(|kind| self.tools.slots.free(*kind) > 0);
            if round.stuck || !slot_missed || self.tools.is_stopping() {
                return Ok(round);
            }
        }
    }

    /// Claims in passes: each definition gets its share of the free slots before any gets more.
    async fn claim_due(&mut self, recovering: &HashSet<Kind>) -> Result<Round, StoreError> {
        let mut defs = self.tools.registry.defs();
        defs.retain(|(_, kind)| !recovering.contains(kind));
        loop {
            let mut round = Round {
                short: recovering.clone(),
                ..Round::default()
            };
            if self.tools.is_stopping() && !cfg!(planted = "shutdown_claims_on") {
                return Ok(round);
            }
            let mut claims = Vec::new();
            for (def, kind) in &defs {
                let rivals = defs.iter().filter(|(_, other)| other == kind).count();
                let share = (self.tools.slots.free(*kind) / rivals).clamp(1, CLAIMS_MAX / 4);
                let limit = share + 1 + self.damaged.len();
                let due = self.tools.store.due(*def, self.tools.clock.now(), limit)?;
                round.next = earlier(round.next, due.next);
                let mut ready = due
                    .ready
                    .into_iter()
                    .filter(|task| !self.damaged.contains(task));
                for task in ready.by_ref().take(share) {
                    let Some(slot) = self.tools.slots.take(*kind) else {
                        round.short.insert(*kind);
                        break;
                    };
                    let event = Event::Claim(self.tools.claimant.clone());
                    claims.push((task, self.tools.send(task, event, Some(slot)).await));
                }
                if ready.next().is_some() {
                    round.short.insert(*kind);
                }
            }
            let sent = !claims.is_empty();
            let mut taken = false;
            for (task, claim) in claims {
                taken |= self.taken(task, claim).await;
            }
            round.stuck = sent && !taken;
            if !taken || round.short.len() == recovering.len() {
                return Ok(round);
            }
        }
    }

    /// Whether a claim took place. One that did not is in the writer's log, or the task moved on in between.
    async fn taken(
        &mut self,
        task: TaskNumber,
        claim: Result<impl Future<Output = Told>, Refused>,
    ) -> bool {
        let told = match claim {
            Ok(answer) => answer.await,
            Err(refused) => Err(refused),
        };
        if let Err(Refused::Unreadable(error)) = &told {
            tracing::error!(target: "outlive::store", task = task.0, %error, "a due task is left alone");
            self.damaged.insert(task);
        }
        told.is_ok()
    }
}

/// Fails the engine when its loop panics.
struct Alive(Arc<Writer>);

impl Drop for Alive {
    fn drop(&mut self) {
        if env::panicking() {
            let cause = "the engine loop panicked; please report it with its log".into();
            self.0.fail(StoreError::Poisoned { cause });
        }
    }
}

fn earlier(one: Option<Micros>, other: Option<Micros>) -> Option<Micros> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (only, None) | (None, only) => only,
    }
}
