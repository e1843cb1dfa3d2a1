//! The engine loop: hands due tasks to the registered handlers, as far as slots are free.

use crate::alarms::Alarms;
use crate::due;
use crate::env::{self, Clock};
use crate::failpoint::{self, Failpoint};
use crate::families::Families;
use crate::flow::{Kind, Short, Slot, Slots};
use crate::guard::Guard;
use crate::live::LiveTable;
use crate::lives::Lives;
use crate::machine::{Claimant, Event, Rejected};
use crate::overdue::Overdue;
use crate::recovery::Recovery;
use crate::registry::Registry;
use crate::request::Draft;
use crate::sweep::Sweep;
use crate::turn::Dispatcher;
use crate::writer::{Origin, Refused, Target, Told, Writer};
use outlive_storage::row::{DefNumber, Micros, TaskNumber};
use outlive_storage::{Store, StoreError};
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Most claims under way at once: a batch of the writer.
const CLAIMS_MAX: usize = 1024;
/// The longest sleep while anything is due by itself, however far away: the wall clock may jump to it meanwhile, or the
/// machine be suspended. A timer of the runtime fires up to a millisecond late, and a claim takes its time.
const SLEEP_MAX: Duration = Duration::from_millis(900);
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
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) lives: Lives,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Tools {
    pub(crate) fn new(dispatcher: &Dispatcher, store: Arc<dyn Store>, lives: Lives) -> Tools {
        Tools {
            store,
            writer: Arc::clone(&dispatcher.writer),
            registry: Arc::clone(&dispatcher.registry),
            slots: Arc::clone(&dispatcher.slots),
            claimant: dispatcher.claimant.clone(),
            clock: dispatcher.clock.clone(),
            alarms: Arc::clone(&dispatcher.alarms),
            live: Arc::clone(&dispatcher.live),
            lives,
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
            slot,
            ..Draft::bare(Target::Number(task), event)
        };
        self.writer.send(Origin::Engine, draft).await
    }
}

pub(crate) struct EngineLoop {
    tools: Tools,
    recovery: Recovery,
    guard: Guard,
    overdue: Overdue,
    /// Due tasks whose rows cannot be read: they are left alone, and hold up nobody.
    damaged: HashSet<TaskNumber>,
    /// The definition that got a slot last: where slots come free one by one, the others come first.
    served: Option<DefNumber>,
}

/// What one round left behind.
#[derive(Default)]
struct Round {
    /// Kinds of handlers for which more tasks are due than slots are free.
    short: HashSet<Kind>,
    /// Definitions of which more tasks are due than they allow themselves.
    limited: HashSet<DefNumber>,
    /// When the next one is due, in the engine's own time.
    next: Option<Micros>,
    /// Claims were sent and none was taken: trying again at once would not help.
    stuck: bool,
}

impl EngineLoop {
    pub(crate) fn new(tools: Tools, recovery: Recovery, guard: Guard) -> EngineLoop {
        EngineLoop {
            tools,
            recovery,
            guard,
            overdue: Overdue::default(),
            damaged: HashSet::new(),
            served: None,
        }
    }

    /// Runs until the engine stops, and so long sweeps, and tells children, beside it.
    pub(crate) async fn run(mut self, sweep: Sweep, families: Families) {
        // However the loop ends, also by a panic, the engine does not look alive afterwards.
        let _guard = Alive(Arc::clone(&self.tools.writer));
        let (alarms, live) = (Arc::clone(&self.tools.alarms), Arc::clone(&self.tools.live));
        let (writer, clock) = (Arc::clone(&self.tools.writer), self.tools.clock.clone());
        let until_over = async {
            self.claim_until_stopped().await;
            // Within the grace of a shutdown turns still run, and their own times still run out.
            if !cfg!(planted = "alarms_end_with_claims") {
                live.over().await;
            }
        };
        tokio::select! {
            biased;
            () = until_over => {}
            () = alarms.run(&live, &writer, clock) => {}
            () = sweep.run() => {}
            () = families.run() => {}
        }
    }

    async fn claim_until_stopped(&mut self) {
        // What was suspected wrongly runs with everybody, so it is told before anybody is claimed.
        while let Err(error) = self.guard.begin(&self.tools).await {
            if !self.waits_after(error).await {
                break;
            }
        }
        while let Err(error) = crate::recovery::reconsider(&self.tools).await {
            if !self.waits_after(error).await {
                break;
            }
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
                biased;
                () = self.tools.slots.wake.notified() => {}
                () = slept => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    /// The store could not be read. Unless one entry of it is at fault, or there is no room at present, nothing else could
    /// be done with it either.
    fn failed(&self, error: StoreError) {
        if error.is_of_one_entry() {
            tracing::error!(target: "outlive::store", %error, "an entry is passed over");
            return;
        }
        if matches!(error, StoreError::Full) && !cfg!(planted = "full_disk_ends_the_loop") {
            tracing::warn!(target: "outlive::store", "there is no room to look at what is due");
            return;
        }
        self.tools.writer.fail(error);
    }

    /// As [`EngineLoop::failed`]. True, after a pause: for want of room, which there may be now.
    async fn waits_after(&self, error: StoreError) -> bool {
        let is_full = matches!(error, StoreError::Full);
        self.failed(error);
        if is_full {
            let mut stopping = self.tools.stopping.clone();
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => {}
                () = env::sleep(AFTER_FAILURE) => {}
            }
        }
        is_full && !self.tools.is_stopping()
    }

    /// How long to sleep when nothing wakes the loop: for ever when nothing is due by itself.
    fn until(&self, next: Option<Micros>) -> Option<Duration> {
        let next = next?;
        let wait = Duration::from_micros(next.0.saturating_sub(self.tools.clock.own().0));
        // Timers may fire a little early against the microseconds of a deadline, never late by more than this.
        let wait = wait.saturating_add(Duration::from_micros(1));
        if cfg!(planted = "loop_sleeps_until_due") {
            return Some(wait);
        }
        if cfg!(planted = "loop_wakes_by_chance") {
            let chance = (env::fresh_instance() & 0x3f) as u64;
            return Some(wait + Duration::from_millis(chance));
        }
        Some(env::until_due(wait, SLEEP_MAX))
    }

    /// Goes on with the start-up scan, then claims what is due.
    async fn round(&mut self) -> Result<Round, StoreError> {
        // What was running comes before what waits: a kind that is still being recovered claims nothing else. The
        // other kind goes on meanwhile, for a recovered handler may wait for one of its tasks.
        let recovering = self.recovery.go_on(&mut self.guard, &self.tools).await?;
        loop {
            // Suspects come before what is due: with a full engine they would wait for ever.
            let watched = self.guard.go_on(&self.tools).await?;
            let mut round = self.claim_due(&recovering).await?;
            round.next = earlier(round.next, watched);
            for (kind, def) in self.guard.waiting() {
                if self.tools.slots.free(kind) == 0 {
                    round.short.insert(kind);
                } else {
                    round.limited.insert(def);
                }
            }
            for kind in [Kind::Async, Kind::Blocking] {
                let backlog = round.short.contains(&kind);
                self.tools.slots.set_backlog(kind, backlog);
            }
            for (def, kind) in self.tools.registry.defs() {
                // Until its kind is through with the start-up scan, a definition's own tasks come first, too.
                let backlog = round.limited.contains(&def) || recovering.contains(&kind);
                self.tools.slots.set_definition_backlog(def, backlog);
            }
            self.recovery.report(&self.tools);
            let defs = self.tools.registry.defs().into_iter();
            let short = defs
                .filter(|(def, kind)| round.short.contains(kind) || round.limited.contains(def));
            let looked = self.overdue.end(short, &self.tools).await?;
            round.next = earlier(round.next, looked);
            // A slot given back before the backlog was known woke nobody.
            let mut claimable = round.short.difference(&recovering);
            let slots = &self.tools.slots;
            let slot_missed = claimable.any(|kind| slots.free(*kind) > 0)
                || (round.limited.iter()).any(|def| slots.allowed(*def).is_some_and(|n| n > 0));
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
            let served = defs.iter().position(|(def, _)| Some(*def) == self.served);
            if !cfg!(planted = "definition_starved") {
                defs.rotate_left(served.map_or(0, |at| at + 1));
            }
            for (def, kind) in &defs {
                let rivals = defs.iter().filter(|(_, other)| other == kind).count();
                let share = (self.tools.slots.free(*kind) / rivals).clamp(1, CLAIMS_MAX / 4);
                for (task, slot) in self.due_with_slots(*def, *kind, share, &mut round)? {
                    self.served = Some(*def);
                    let event = Event::Claim(self.tools.claimant.clone());
                    claims.push((task, self.tools.send(task, event, Some(slot)).await));
                }
            }
            failpoint::reach(Failpoint::ClaimsSent);
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

    /// At most `share` due tasks of a definition, each with its slot. What is left is noted in the round.
    fn due_with_slots(
        &self,
        def: DefNumber,
        kind: Kind,
        share: usize,
        round: &mut Round,
    ) -> Result<Vec<(TaskNumber, Slot)>, StoreError> {
        let limit = share + 1 + self.damaged.len();
        let times = self.tools.clock.times();
        let due = due::of_all_numbers(&self.tools, (def, times), limit)?;
        round.next = earlier(round.next, due.wait_us.map(|us| times.own.plus(us)));
        let whole = |task: &TaskNumber| !self.damaged.contains(task);
        let mut ready = due.ready.into_iter().filter(whole).peekable();
        let mut taken = Vec::new();
        while taken.len() < share && ready.peek().is_some() {
            match self.tools.slots.take(kind, def) {
                Ok(slot) => taken.extend(ready.next().map(|task| (task, slot))),
                Err(Short::Definition) => {
                    round.limited.insert(def);
                    return Ok(taken);
                }
                Err(Short::Kind) => break,
            }
        }
        if ready.peek().is_some() {
            round.short.insert(kind);
        }
        Ok(taken)
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
        // A damaged entry names nobody, and would be the first of its definition at every look; so would the entry of a
        // task that was deleted just now, whose number is never given again.
        let of_nobody = matches!(&told, Err(Refused::Rejected(Rejected::NotFound)));
        if of_nobody && !cfg!(planted = "nobody_claimed_for_ever") {
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

/// The earlier of two moments.
pub(crate) fn earlier(one: Option<Micros>, other: Option<Micros>) -> Option<Micros> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (only, None) | (None, only) => only,
    }
}
