//! The engine loop: hands due tasks to the registered handlers, as far as slots are free.

use crate::env::{self, Clock};
use crate::flow::{Kind, Slot, Slots};
use crate::machine::{Claimant, Event};
use crate::recovery::Recovery;
use crate::registry::Registry;
use crate::writer::{Draft, Origin, Refused, Target, Writer};
use outlive_storage::row::{DefNumber, Micros, TaskNumber};
use outlive_storage::{Store, StoreError};
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
}

impl Tools {
    /// Sends one of the engine's own events.
    pub(crate) async fn send(
        &self,
        task: TaskNumber,
        event: Event,
        slot: Option<Slot>,
    ) -> Result<impl Future<Output = crate::writer::Told> + Send + use<>, Refused> {
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
    pub(crate) tools: Tools,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// What one round left behind.
struct Round {
    /// Due tasks wait for a slot.
    ready_left: bool,
    next: Option<Micros>,
}

impl EngineLoop {
    /// Runs until the engine stops.
    pub(crate) async fn run(mut self) {
        if let Err(error) = crate::recovery::reconsider(&self.tools).await {
            tracing::error!(target: "outlive::store", %error, "parked tasks could not be looked at again");
        }
        let mut stopping = self.stopping.clone();
        while !*stopping.borrow() {
            let pause = match self.round().await {
                Ok(round) => self.pause(&round),
                Err(error) => {
                    tracing::error!(target: "outlive::store", %error, "the engine loop could not read the store");
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

    /// How long to sleep when nothing wakes the loop: for ever when nothing is due by itself.
    fn pause(&self, round: &Round) -> Option<Duration> {
        if round.ready_left {
            return None;
        }
        let next = round.next?;
        let wait = Duration::from_micros(next.0.saturating_sub(self.tools.clock.now().0));
        // Timers may fire a little early against the microseconds of a deadline, never late by more than this.
        Some(wait.saturating_add(Duration::from_micros(1)).min(SLEEP_MAX))
    }

    /// Goes on with the start-up scan, then claims what is due.
    async fn round(&mut self) -> Result<Round, StoreError> {
        if let Some(recovery) = &mut self.recovery {
            if !recovery.go_on(&self.tools).await? {
                // Slots ran out; what was running comes before what waits. A free slot wakes the loop.
                return Ok(Round {
                    ready_left: true,
                    next: None,
                });
            }
            self.recovery = None;
        }
        loop {
            let round = self.claim_due().await?;
            self.tools.slots.set_backlog(round.ready_left);
            // A slot given back before the backlog was known woke nobody.
            if !round.ready_left || !self.slot_for_ready() {
                return Ok(round);
            }
        }
    }

    fn slot_for_ready(&self) -> bool {
        self.tools.slots.free(Kind::Async) > 0 && !*self.stopping.borrow()
    }

    /// Claims in passes: each definition gets its share of the free slots before any gets more.
    async fn claim_due(&self) -> Result<Round, StoreError> {
        let defs = self.tools.registry.defs();
        loop {
            let mut round = Round {
                ready_left: false,
                next: None,
            };
            let mut claims = Vec::new();
            for (def, kind) in &defs {
                let share = (self.tools.slots.free(*kind) / defs.len()).clamp(1, CLAIMS_MAX / 4);
                let due = self
                    .tools
                    .store
                    .due(*def, self.tools.clock.now(), share + 1)?;
                round.next = earlier(round.next, due.next);
                round.ready_left |= due.ready.len() > share;
                for task in due.ready.into_iter().take(share) {
                    match self.tools.slots.take(*kind) {
                        Some(slot) => claims.push(self.claim(*def, task, slot).await),
                        None => round.ready_left = true,
                    }
                }
            }
            let claimed = claims.iter().any(Option::is_some);
            for claim in claims.into_iter().flatten() {
                // A task that moved on in between needs no claim; what went wrong is in the writer's log.
                let _ = claim.await;
            }
            if !claimed || !round.ready_left {
                return Ok(round);
            }
        }
    }

    async fn claim(
        &self,
        _def: DefNumber,
        task: TaskNumber,
        slot: Slot,
    ) -> Option<impl Future<Output = crate::writer::Told> + Send + use<>> {
        let event = Event::Claim(self.tools.claimant.clone());
        self.tools.send(task, event, Some(slot)).await.ok()
    }
}

fn earlier(one: Option<Micros>, other: Option<Micros>) -> Option<Micros> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (only, None) | (None, only) => only,
    }
}
