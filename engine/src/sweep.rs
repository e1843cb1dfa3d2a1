//! Retention: ended tasks, old receipts and old transitions go when their time has come, in small batches.
//!
//! A batch is sent only when the one before is durable, so a caller's event waits behind one of them at most, and a
//! sweep of any length is a sequence of short commits.

use crate::env::{self, Clock, micros};
use crate::failpoint::{self, Failpoint};
use crate::feed::{EVENTS_KEPT, EVENTS_KEPT_FOR};
use crate::machine::Event;
use crate::reader::{ReadError, Reader};
use crate::recovery::RecoveryReport;
use crate::request::Draft;
use crate::turn::Dispatcher;
use crate::writer::{Origin, Refused, Target, Told, Writer};
use outlive_storage::id::InputId;
use outlive_storage::row::{Micros, TaskNumber, Times};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{EventsKept, ExpiredReceipt, Scan, Store, StoreError};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The first look after an open: what the last process left unfinished comes first.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// Between two commits of a sweep before that: a program whose lives are all shorter would never remove anything, and one
/// that has just begun has better things to do than to wait for a disk.
const EARLY_PAUSE: Duration = Duration::from_millis(20);
/// From the end of one look to the next: an idle engine wakes no more often for this.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);
/// Tasks removed, or receipts forgotten, with one commit.
const BATCH: usize = 64;
/// Entries that one commit removes of what hangs on removed tasks, and of the log.
const TIDIED: usize = 512;
/// A clock further ahead of the newest row than this, or of itself a look before, may be wrong.
const AHEAD: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long after the open, or after the clock came to be so, nothing is removed by such a clock: somebody may notice it.
const HELD_FOR: Duration = Duration::from_secs(60 * 60);
/// Among so many of the latest tasks the newest row is looked for. Were another one newer still, retention would only
/// be held back for nothing.
const LATEST: usize = 16;

/// Until when, in the engine's own time, retention is held back because the clock may be wrong; `None` when it is not.
///
/// The rows are looked at before anything is written in this life: by then they would say what the clock says.
///
/// # Errors
/// [`StoreError`] when the store cannot be read.
pub(crate) fn held_until(store: &dyn Store, times: Times) -> Result<Option<Micros>, StoreError> {
    let latest = store.scan(Scan::All, None, LATEST)?.rows;
    if latest.is_empty() {
        return Ok(None);
    }
    let readable = latest.iter().filter_map(|found| found.row.as_ref().ok());
    // Rows that cannot be read do not speak for the clock.
    let newest = readable.map(|row| row.updated_at).max().unwrap_or_default();
    let ahead_us = times.wall.0.saturating_sub(newest.0);
    if ahead_us <= micros(AHEAD) || cfg!(planted = "retention_ignores_clock_jump") {
        return Ok(None);
    }
    tracing::warn!(
        target: "outlive::retention",
        ahead_us,
        "the clock is far ahead of the newest task: nothing is removed in the first hour"
    );
    Ok(Some(times.own.plus(micros(HELD_FOR))))
}

/// The sweeper of one engine.
pub(crate) struct Sweep {
    reader: Arc<Reader>,
    writer: Arc<Writer>,
    clock: Clock,
    /// Set when what ran before the open has been entered again.
    recovery: watch::Receiver<Option<RecoveryReport>>,
    /// In the engine's own time, as is the time between looks: no jump of the wall clock shortens either.
    held_until: Option<Micros>,
    /// What was shown at the look before.
    looked_at: Times,
    /// Expired tasks whose rows cannot be read: they stay where they are, and hold up nobody.
    damaged: HashSet<TaskNumber>,
    /// Listed receipts that no event reaches, for their task is gone or damaged.
    unreachable: HashSet<(TaskNumber, InputId)>,
    removed: u64,
    forgotten: u64,
}

impl Sweep {
    pub(crate) fn new(
        dispatcher: &Dispatcher,
        held_until: Option<Micros>,
        recovery: watch::Receiver<Option<RecoveryReport>>,
    ) -> Sweep {
        Sweep {
            reader: Arc::clone(&dispatcher.reader),
            writer: Arc::clone(&dispatcher.writer),
            looked_at: dispatcher.clock.times(),
            clock: dispatcher.clock.clone(),
            recovery,
            held_until,
            damaged: HashSet::new(),
            unreachable: HashSet::new(),
            removed: 0,
            forgotten: 0,
        }
    }

    /// Sweeps until the engine stops.
    pub(crate) async fn run(mut self) {
        let first_look = self.clock.times().own.plus(micros(FIRST_LOOK));
        if !cfg!(planted = "short_lives_never_sweep") {
            // What ran at the last crash comes first; it may take as long as its handlers do.
            tokio::select! {
                biased;
                _ = self.recovery.wait_for(Option::is_some) => {}
                () = env::sleep(FIRST_LOOK) => {}
            }
            self.looked(Some(first_look)).await;
        }
        let early = self.clock.times().own;
        env::sleep(Duration::from_micros(first_look.0.saturating_sub(early.0))).await;
        loop {
            self.looked(None).await;
            env::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// One look, with pauses where it is to be over at a moment, whatever is left.
    async fn looked(&mut self, until: Option<Micros>) {
        match self.look(until).await {
            Ok(()) => {}
            // The loop ends with the engine, and this with the loop.
            Err(ReadError::Stopped) => std::future::pending().await,
            Err(ReadError::Store(error)) => {
                tracing::error!(target: "outlive::store", %error, "retention passes over an entry");
            }
        }
    }

    /// Removes whatever may go by now.
    async fn look(&mut self, until: Option<Micros>) -> Result<(), ReadError> {
        (self.removed, self.forgotten) = (0, 0);
        loop {
            if let Some(until) = until {
                env::sleep(EARLY_PAUSE).await;
                if self.clock.times().own >= until {
                    break;
                }
            }
            if !self.step().await? {
                break;
            }
        }
        let (removed, forgotten) = (self.removed, self.forgotten);
        if removed + forgotten > 0 {
            tracing::info!(target: "outlive::retention", removed, forgotten, "retention.sweep");
        }
        Ok(())
    }

    /// One commit of the sweep. Whether there is more to do.
    async fn step(&mut self) -> Result<bool, ReadError> {
        let times = self.clock.times();
        self.notice(times);
        let now = if cfg!(planted = "retention_counts_on") {
            times.own
        } else {
            times.wall
        };
        let held = self.held_until.is_some_and(|until| times.own < until);
        // First, for a receipt that hangs on a removed task is listed until then.
        let more = self.tidy(now, held).await?;
        failpoint::reach(Failpoint::SweepTidied);
        if more {
            return Ok(true);
        }
        if held {
            return Ok(false);
        }
        Ok(self.expire(now).await? || self.forget(now).await?)
    }

    /// Holds retention back when the wall clock has jumped far ahead since the look before.
    fn notice(&mut self, times: Times) {
        let before = std::mem::replace(&mut self.looked_at, times);
        let passed_us = times.own.0.saturating_sub(before.own.0);
        let ahead_us = times.wall.0.saturating_sub(before.wall.plus(passed_us).0);
        if ahead_us <= micros(AHEAD) || cfg!(planted = "jump_expires_at_once") {
            return;
        }
        tracing::warn!(
            target: "outlive::retention",
            ahead_us,
            "the clock has jumped far ahead: nothing is removed in the next hour"
        );
        self.held_until = Some(times.own.plus(micros(HELD_FOR)));
    }

    /// What hangs on removed tasks, and what is too old for the log. How many transitions there may be does not
    /// depend on the clock.
    async fn tidy(&self, now: Micros, held: bool) -> Result<bool, ReadError> {
        if cfg!(planted = "log_never_trimmed") {
            return Ok(false);
        }
        let kept_for = if held && !cfg!(planted = "clock_jump_trims_log") {
            u64::MAX
        } else {
            micros(EVENTS_KEPT_FOR)
        };
        let kept = EventsKept {
            newest: EVENTS_KEPT,
            since: Micros(now.0.saturating_sub(kept_for)),
        };
        let tidied = self.writer.tidy(kept, TIDIED).await;
        tidied.ok_or(ReadError::Stopped)
    }

    /// Removes a batch of tasks whose time has come.
    async fn expire(&mut self, now: Micros) -> Result<bool, ReadError> {
        let batch_max = batch_max();
        let limit = batch_max + self.damaged.len();
        let expired = move |store: &dyn Store| store.expired(now, limit);
        let mut batch = self.reader.read(expired).await?;
        batch.retain(|task| !self.damaged.contains(task));
        batch.truncate(batch_max);
        let events = batch.iter().map(|task| (*task, Event::Expire)).collect();
        let mut removed = 0;
        for (task, told) in batch.iter().zip(self.carried_out(events).await?) {
            match told {
                Ok(_) => removed += 1,
                Err(Refused::Unreadable(error)) => {
                    tracing::error!(target: "outlive::store", task = task.0, %error, "an expired task stays");
                    if !cfg!(planted = "sweep_stuck_on_damage") {
                        self.damaged.insert(*task);
                    }
                }
                // It was deleted, or began a further run, in between.
                Err(_) => {}
            }
        }
        self.removed += removed;
        failpoint::reach(Failpoint::SweepExpired);
        // A full batch that came to nothing would only come again.
        Ok(batch.len() == batch_max && removed > 0)
    }

    /// Forgets a batch of receipts whose time has come.
    async fn forget(&mut self, now: Micros) -> Result<bool, ReadError> {
        if cfg!(planted = "receipts_never_forgotten") {
            return Ok(false);
        }
        let limit = BATCH + self.unreachable.len();
        let expired = move |store: &dyn Store| store.expired_receipts(now, limit);
        let mut batch = self.reader.read(expired).await?;
        let input = |at: &ExpiredReceipt| (at.task, at.input_id.clone());
        batch.retain(|at| !self.unreachable.contains(&input(at)));
        batch.truncate(BATCH);
        let forget = |at: &ExpiredReceipt| Event::ForgetInput {
            input_id: at.input_id.clone(),
            listed_at: at.listed_at,
        };
        let events = batch.iter().map(|at| (at.task, forget(at))).collect();
        let mut forgotten = 0;
        let full = batch.len() == BATCH;
        for (at, told) in batch.into_iter().zip(self.carried_out(events).await?) {
            match told {
                Ok(_) => forgotten += 1,
                Err(_) => drop(self.unreachable.insert((at.task, at.input_id))),
            }
        }
        self.forgotten += forgotten;
        Ok(full && forgotten > 0)
    }

    /// Sends a batch and waits for all of its answers.
    async fn carried_out(&self, events: Vec<(TaskNumber, Event)>) -> Result<Vec<Told>, ReadError> {
        let mut sent = Vec::with_capacity(events.len());
        for (task, event) in events {
            let draft = Draft::bare(Target::Number(task), event);
            let answer = self.writer.send(Origin::Engine, draft).await;
            sent.push(answer.map_err(|_| ReadError::Stopped)?);
        }
        let mut told = Vec::with_capacity(sent.len());
        for answer in sent {
            match answer.await {
                Err(Refused::Stopped(_) | Refused::Unknown(_)) => return Err(ReadError::Stopped),
                answer => told.push(answer),
            }
        }
        Ok(told)
    }
}

fn batch_max() -> usize {
    if cfg!(planted = "sweep_unbounded") {
        return PAGE_MAX;
    }
    BATCH
}
