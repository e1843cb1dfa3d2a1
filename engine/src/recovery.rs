//! The start-up scan: finds what ran when the last process died and re-enters it, within the slots there are.

use crate::engine_loop::Tools;
use crate::machine::Event;
use outlive_storage::row::{Micros, State, TaskNumber};
use outlive_storage::{Scan, StoreError};
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

/// The scan, which goes on as slots become free.
pub(crate) struct Recovery {
    after: Option<TaskNumber>,
    began: Micros,
    report: RecoveryReport,
    done: watch::Sender<Option<RecoveryReport>>,
}

impl Recovery {
    pub(crate) fn new(began: Micros, done: watch::Sender<Option<RecoveryReport>>) -> Recovery {
        Recovery {
            after: None,
            began,
            report: RecoveryReport::default(),
            done,
        }
    }

    /// Recovers as much as slots allow. True when the scan is through.
    pub(crate) async fn go_on(&mut self, tools: &Tools) -> Result<bool, StoreError> {
        loop {
            let page = tools.store.scan(Scan::Running, self.after, PAGE)?;
            let through = page.next.is_none();
            let mut answers = Vec::new();
            let mut out_of_slots = false;
            for found in page.rows {
                let row = match found.row {
                    Ok(row) => row,
                    Err(error) => {
                        tracing::error!(target: "outlive::store", task = found.task.0, %error, "not recovered");
                        self.report.found += 1;
                        self.report.quarantined += 1;
                        self.after = Some(found.task);
                        continue;
                    }
                };
                let ours = matches!(&row.state,
                    State::InProgress { lease, .. } if lease.instance == tools.claimant.instance);
                if ours {
                    self.after = Some(found.task);
                    continue;
                }
                let (event, slot) = match tools.registry.get(row.def) {
                    None => (Event::Orphan(tools.claimant.clone()), None),
                    Some(registered) => match tools.slots.take(registered.kind()) {
                        Some(slot) => (Event::Recover(tools.claimant.clone()), Some(slot)),
                        None => {
                            out_of_slots = true;
                            break;
                        }
                    },
                };
                self.after = Some(found.task);
                let enters = slot.is_some();
                if let Ok(answer) = tools.send(found.task, event, slot).await {
                    answers.push((enters, answer));
                }
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
                return Ok(false);
            }
            if through {
                self.finish(tools);
                return Ok(true);
            }
        }
    }

    fn finish(&mut self, tools: &Tools) {
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
