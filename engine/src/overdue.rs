//! Turns whose time-out comes while they wait for a slot: a claim would end them, but a claim takes a slot.

use crate::engine_loop::{Tools, earlier};
use crate::env::micros;
use crate::flow::Kind;
use crate::machine::Event;
use outlive_storage::StoreError;
use outlive_storage::row::{Deadline, DefNumber, Micros, TaskNumber, Times};
use std::collections::HashMap;
use std::time::Duration;

/// Waiting tasks looked at in one go for each definition: those that get a slot next.
const LOOK_MAX: usize = 256;
/// How long after one look the next one comes, while tasks wait.
const LOOK_EACH: Duration = Duration::from_secs(1);

/// When waiting tasks were last looked at, and what was found.
#[derive(Default)]
pub(crate) struct Overdue {
    looked_at: Option<Micros>,
    /// What is known of the waiting tasks of each definition.
    known: HashMap<DefNumber, Known>,
}

/// When the time-outs of the tasks fall that were looked at last. A time-out is set when a turn is entered, so none of
/// these changes while no task of the definition takes a slot: their rows need not be read again.
#[derive(Default)]
struct Known {
    falls: HashMap<TaskNumber, Deadline>,
    /// How many slots the definition had ever taken when they were looked at.
    taken: u64,
}

impl Overdue {
    /// Ends the turns whose time-out has come, among those of `short` definitions, for which there are too few slots.
    /// Answers when to look again; nothing when nobody waits.
    ///
    /// # Errors
    /// What the store fails with; a damaged row is passed over.
    pub(crate) async fn end(
        &mut self,
        short: impl Iterator<Item = (DefNumber, Kind)>,
        tools: &Tools,
    ) -> Result<Option<Micros>, StoreError> {
        let times = tools.clock.times();
        let now = times.own;
        let mut short = short.peekable();
        if short.peek().is_none() || cfg!(planted = "timeout_awaits_slot") {
            return Ok(None);
        }
        let next = self.looked_at.map(|at| at.plus(micros(LOOK_EACH)));
        if let Some(next) = next.filter(|next| *next > now) {
            return Ok(Some(next));
        }
        self.looked_at = Some(now);
        let mut first = None;
        for (def, _) in short {
            let taken = tools.slots.ever_taken(def);
            for number in tools.registry.numbers(def) {
                let known = self.known.entry(number).or_default();
                if known.taken != taken && !cfg!(planted = "overdue_never_reread") {
                    known.falls.clear();
                }
                known.taken = taken;
                let falls = &mut known.falls;
                first = earlier(first, end_of(number, times, falls, tools).await?);
            }
        }
        Ok(first)
    }
}

/// Those of one number of a definition. Answers the first time-out that comes later; `falls` is what is known of them.
async fn end_of(
    def: DefNumber,
    times: Times,
    falls: &mut HashMap<TaskNumber, Deadline>,
    tools: &Tools,
) -> Result<Option<Micros>, StoreError> {
    let due = tools.store.due(def, times, LOOK_MAX)?;
    let known = std::mem::take(falls);
    let (mut first, mut ending) = (None, Vec::new());
    for task in due.ready {
        let known = known.get(&task).copied();
        let deadline = match known.filter(|_| !cfg!(planted = "overdue_reads_all")) {
            Some(deadline) => deadline,
            None => match tools.store.get(task) {
                Ok(Some(row)) => row.deadline,
                // It moved on, or its row is damaged, which the claim reports.
                Ok(None) => continue,
                Err(error) if error.is_of_one_entry() => continue,
                Err(error) => return Err(error),
            },
        };
        if !times.reached(deadline) {
            falls.insert(task, deadline);
            let timed = Some(deadline).filter(|at| *at != Deadline::NEVER);
            first = earlier(first, timed.map(|at| times.in_own_time(at)));
        } else if let Ok(answer) = tools.send(task, Event::Lapse, None).await {
            ending.push(answer);
        }
    }
    for answer in ending {
        // Refused: it was claimed in between, or ended otherwise.
        let _ = answer.await;
    }
    Ok(first)
}
