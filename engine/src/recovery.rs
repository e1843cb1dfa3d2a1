//! The start-up scan: finds what ran when the last process died and re-enters it, within the slots there are.

use crate::engine_loop::Tools;
use crate::failpoint::{self, Failpoint};
use crate::flow::{Kind, Short, Slot};
use crate::guard::Guard;
use crate::machine::{Answer, Event, Recovered, Verdict};
use crate::writer::Told;
use outlive_storage::row::{DefNumber, Lease, Micros, State, TaskNumber};
use outlive_storage::{Found, Scan, StoreError};
use std::collections::HashSet;
use tokio::sync::watch;

/// Rows read at once, and recovered with one commit.
pub(crate) const PAGE: usize = 1024;

/// What the start-up scan found and did.
///
/// ```
/// # use outlive::Engine;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::in_memory().open().await?;
/// assert_eq!(engine.recovery().await.found, 0);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Tasks that were running when the last process ended.
    pub found: u64,
    /// Of these, handlers entered again.
    pub dispatched: u64,
    /// Of these, now waiting for a program that registers their handler, or for others of their definition to end.
    pub waiting_handler: u64,
    /// Of these, cancelled before the process ended, and so not entered again.
    pub cancelled: u64,
    /// Of these, held back because their process died again and again while they ran: they are entered apart from
    /// others, within minutes, unless the process goes on dying without them.
    pub isolated: u64,
    /// Of these, left alone: their rows are damaged, or they killed their process while no other suspect ran. The
    /// latter wait for [`Engine::retry`](crate::Engine::retry).
    pub quarantined: u64,
    /// From the beginning of the scan to the last re-entry, in microseconds.
    pub took_us: u64,
}

/// The scan for one kind of handlers: each kind has slots of its own, and neither waits for the other's.
struct Lane {
    kind: Kind,
    after: Option<TaskNumber>,
    through: bool,
}

/// What to do with one row of the scan.
enum Find {
    /// Not this lane's, or this process's own.
    Pass,
    Send(Box<Event>, Option<Slot>),
    OutOfSlots,
}

/// The scan, which goes on as slots become free.
pub(crate) struct Recovery {
    lanes: Vec<Lane>,
    began: Micros,
    report: RecoveryReport,
    done: watch::Sender<Option<RecoveryReport>>,
}

impl Recovery {
    pub(crate) fn new(began: Micros, done: watch::Sender<Option<RecoveryReport>>) -> Recovery {
        let lanes = [Kind::Async, Kind::Blocking].map(|kind| Lane {
            kind,
            after: None,
            through: false,
        });
        Recovery {
            lanes: lanes.into(),
            began,
            report: RecoveryReport::default(),
            done,
        }
    }

    /// Recovers as much as slots allow. Answers the kinds that are not through.
    pub(crate) async fn go_on(
        &mut self,
        guard: &mut Guard,
        tools: &Tools,
    ) -> Result<HashSet<Kind>, StoreError> {
        let mut lanes = std::mem::take(&mut self.lanes);
        for lane in &mut lanes {
            if let Err(error) = self.go_on_in(lane, guard, tools).await {
                self.lanes = lanes;
                return Err(error);
            }
        }
        lanes.retain(|lane| !lane.through);
        self.lanes = lanes;
        Ok(self.lanes.iter().map(|lane| lane.kind).collect())
    }

    /// Page by page, until the lane is through or its slots are taken.
    async fn go_on_in(
        &mut self,
        lane: &mut Lane,
        guard: &mut Guard,
        tools: &Tools,
    ) -> Result<(), StoreError> {
        while !lane.through && !tools.is_stopping() {
            let page = tools.store.scan(Scan::Running, lane.after, PAGE)?;
            failpoint::reach(Failpoint::RecoveryRead);
            let mut rows = page.rows.iter().filter_map(|found| found.row.as_ref().ok());
            if rows.any(|row| guard.suspects(row, tools)) {
                guard.hold_back(tools).await;
            }
            let mut answers = Vec::new();
            let mut out_of_slots = false;
            for found in page.rows {
                match self.find(lane.kind, &found, guard, tools) {
                    Find::Pass => {}
                    Find::OutOfSlots => {
                        out_of_slots = true;
                        break;
                    }
                    Find::Send(event, slot) => {
                        if let Ok(answer) = tools.send(found.task, *event, slot).await {
                            answers.push(answer);
                        }
                    }
                }
                lane.after = Some(found.task);
            }
            failpoint::reach(Failpoint::RecoverySent);
            for answer in answers {
                self.count(answer.await);
            }
            if out_of_slots {
                return Ok(());
            }
            lane.through = page.next.is_none();
        }
        Ok(())
    }

    fn count(&mut self, told: Told) {
        let Ok(done) = told else { return };
        self.report.found += 1;
        let counter = match done.answer {
            Answer::Recovered(Recovered::Entered) => &mut self.report.dispatched,
            Answer::Recovered(Recovered::Isolated) => &mut self.report.isolated,
            Answer::Recovered(Recovered::Quarantined) => &mut self.report.quarantined,
            Answer::Recovered(Recovered::Cancelled) => &mut self.report.cancelled,
            Answer::Done | Answer::Accepted { .. } | Answer::Taken(_) => {
                &mut self.report.waiting_handler
            }
        };
        *counter += 1;
    }

    fn find(&mut self, kind: Kind, found: &Found, guard: &Guard, tools: &Tools) -> Find {
        let row = match &found.row {
            Ok(row) => row,
            Err(error) => {
                // Both lanes see it; one reports it.
                if kind == Kind::Async {
                    tracing::error!(target: "outlive::store", task = found.task.0, %error, "not recovered");
                    self.report.found += 1;
                    self.report.quarantined += 1;
                }
                return Find::Pass;
            }
        };
        let State::InProgress { lease, .. } = &row.state else {
            return Find::Pass;
        };
        if lease.instance == tools.claimant.instance {
            return Find::Pass;
        }
        let event = Event::Recover {
            claimant: tools.claimant.clone(),
            parting: tools.lives.parting(lease.instance),
            verdict: guard.verdict(row, lease.instance, tools),
        };
        match tools.registry.get(row.def) {
            // Nobody here runs it, so it needs no slot: the async lane moves it.
            None if kind == Kind::Async => {
                // Who claims it later does not ask how its process went: what is said of that is said now.
                let verdict = guard.verdict(row, lease.instance, tools);
                Find::Send(Box::new(put_back(lease, verdict, tools)), None)
            }
            // Nor does one that is not entered.
            Some(registered) if registered.kind() == kind && guard.suspects(row, tools) => {
                Find::Send(Box::new(event), None)
            }
            Some(registered) if registered.kind() == kind => {
                match tools.slots.take(kind, counted_under(row.def, tools)) {
                    Ok(slot) => Find::Send(Box::new(event), Some(slot)),
                    // Its definition allows itself fewer than ran: it waits with the due ones, and holds up nobody.
                    Err(Short::Definition) => {
                        let verdict = guard.verdict(row, lease.instance, tools);
                        Find::Send(Box::new(put_back(lease, verdict, tools)), None)
                    }
                    Err(Short::Kind) => Find::OutOfSlots,
                }
            }
            None | Some(_) => Find::Pass,
        }
    }

    /// Reports once, when every lane is through and starts are claimed at once again.
    pub(crate) fn report(&mut self, tools: &Tools) {
        if !self.lanes.is_empty() || self.done.borrow().is_some() {
            return;
        }
        self.report.took_us = tools.clock.own().0.saturating_sub(self.began.0);
        let RecoveryReport {
            found,
            dispatched,
            waiting_handler,
            cancelled,
            isolated,
            quarantined,
            took_us,
        } = self.report;
        tracing::info!(
            target: "outlive::recovery",
            found,
            dispatched,
            waiting_handler,
            cancelled,
            isolated,
            quarantined,
            took_us,
            "recovery.scan"
        );
        self.done.send_replace(Some(self.report));
    }
}

/// The definition whose limit a recovered task counts against.
fn counted_under(def: DefNumber, tools: &Tools) -> DefNumber {
    if cfg!(planted = "renamed_counted_apart") {
        return def;
    }
    tools.registry.present(def)
}

/// Nobody here runs it now: it waits in the store.
fn put_back(lease: &Lease, verdict: Verdict, tools: &Tools) -> Event {
    Event::Orphan {
        claimant: tools.claimant.clone(),
        parting: tools.lives.parting(lease.instance),
        verdict,
    }
}

/// Tasks whose stored input could not be read are tried once more at each open.
pub(crate) async fn reconsider(tools: &Tools) -> Result<(), StoreError> {
    send_to_all(tools, Micros::AT_OPEN, || Event::Reconsider).await
}

/// Sends an event to every task that is listed under exactly this moment and could run here.
pub(crate) async fn send_to_all(
    tools: &Tools,
    at: Micros,
    event: fn() -> Event,
) -> Result<(), StoreError> {
    let defs = tools.registry.defs().into_iter();
    for def in defs.flat_map(|(def, _)| tools.registry.numbers(def)) {
        let mut after = None;
        loop {
            if tools.is_stopping() {
                return Ok(());
            }
            let page = tools.store.due_exactly(def, at, after, PAGE)?;
            let mut answers = Vec::new();
            for task in &page {
                if let Ok(answer) = tools.send(*task, event(), None).await {
                    answers.push(answer);
                }
            }
            for answer in answers {
                // What moved on in between is not listed there any more.
                let _ = answer.await;
            }
            let Some(last) = page.last() else { break };
            after = Some(*last);
        }
    }
    Ok(())
}
