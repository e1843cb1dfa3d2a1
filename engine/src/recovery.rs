//! The start-up scan: finds what ran when the last process died and re-enters it, within the slots there are.

use crate::engine_loop::Tools;
use crate::flow::{Kind, Slot};
use crate::machine::Event;
use outlive_storage::row::{Micros, State, TaskNumber};
use outlive_storage::{Found, Scan, StoreError};
use std::collections::HashSet;
use tokio::sync::watch;

/// Rows read at once, and recovered with one commit.
const PAGE: usize = 1024;

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
    /// Of these, now waiting for a program that registers their handler.
    pub waiting_handler: u64,
    /// Of these, left alone because their rows are damaged or their turn is suspected to kill the process.
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
    Send(Event, Option<Slot>),
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
    pub(crate) async fn go_on(&mut self, tools: &Tools) -> Result<HashSet<Kind>, StoreError> {
        let mut lanes = std::mem::take(&mut self.lanes);
        for lane in &mut lanes {
            if let Err(error) = self.go_on_in(lane, tools).await {
                self.lanes = lanes;
                return Err(error);
            }
        }
        lanes.retain(|lane| !lane.through);
        self.lanes = lanes;
        Ok(self.lanes.iter().map(|lane| lane.kind).collect())
    }

    /// Page by page, until the lane is through or its slots are taken.
    async fn go_on_in(&mut self, lane: &mut Lane, tools: &Tools) -> Result<(), StoreError> {
        while !lane.through && !tools.is_stopping() {
            let page = tools.store.scan(Scan::Running, lane.after, PAGE)?;
            let mut answers = Vec::new();
            let mut out_of_slots = false;
            for found in page.rows {
                match self.find(lane.kind, &found, tools) {
                    Find::Pass => {}
                    Find::OutOfSlots => {
                        out_of_slots = true;
                        break;
                    }
                    Find::Send(event, slot) => {
                        let enters = slot.is_some();
                        if let Ok(answer) = tools.send(found.task, event, slot).await {
                            answers.push((enters, answer));
                        }
                    }
                }
                lane.after = Some(found.task);
            }
            for (enters, answer) in answers {
                if answer.await.is_ok() {
                    self.report.found += 1;
                    *(if enters {
                        &mut self.report.dispatched
                    } else {
                        &mut self.report.waiting_handler
                    }) += 1;
                }
            }
            if out_of_slots {
                return Ok(());
            }
            lane.through = page.next.is_none();
        }
        Ok(())
    }

    fn find(&mut self, kind: Kind, found: &Found, tools: &Tools) -> Find {
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
        match tools.registry.get(row.def) {
            // Nobody here runs it, so it needs no slot: the async lane moves it.
            None if kind == Kind::Async => Find::Send(Event::Orphan(tools.claimant.clone()), None),
            Some(registered) if registered.kind() == kind => match tools.slots.take(kind) {
                Some(slot) => Find::Send(Event::Recover(tools.claimant.clone()), Some(slot)),
                None => Find::OutOfSlots,
            },
            None | Some(_) => Find::Pass,
        }
    }

    /// Reports once, when every lane is through and starts are claimed at once again.
    pub(crate) fn report(&mut self, tools: &Tools) {
        if !self.lanes.is_empty() || self.done.borrow().is_some() {
            return;
        }
        self.report.took_us = tools.clock.now().0.saturating_sub(self.began.0);
        let RecoveryReport {
            found,
            dispatched,
            waiting_handler,
            quarantined,
            took_us,
        } = self.report;
        tracing::info!(
            target: "outlive::recovery",
            found,
            dispatched,
            waiting_handler,
            quarantined,
            took_us,
            "recovery.scan"
        );
        self.done.send_replace(Some(self.report));
    }
}

/// Tasks whose stored input could not be read are tried once more at each open.
pub(crate) async fn reconsider(tools: &Tools) -> Result<(), StoreError> {
    for (def, _) in tools.registry.defs() {
        let mut after = None;
        loop {
            if tools.is_stopping() {
                return Ok(());
            }
            let page = tools.store.due_at_open(def, after, PAGE)?;
            let mut answers = Vec::new();
            for task in &page {
                if let Ok(answer) = tools.send(*task, Event::Reconsider, None).await {
                    answers.push(answer);
                }
            }
            for answer in answers {
                // What moved on in between is not parked any more.
                let _ = answer.await;
            }
            let Some(last) = page.last() else { break };
            after = Some(*last);
        }
    }
    Ok(())
}
