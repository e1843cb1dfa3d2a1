//! The suspects: turns that may have killed their process, how often, and how long it took.

use crate::engine_loop::Tools;
use crate::flow::Kind;
use crate::recovery::PAGE;
use crate::telemetry::STORE;
use outlive_storage::StoreError;
use outlive_storage::row::{
    Deadline, DefNumber, EventKind, Mark, Micros, Place, TaskNumber, TaskRow,
};
use std::cmp::Reverse;

/// A turn that may have killed its process and is held back.
pub(crate) struct Suspect {
    pub(crate) task: TaskNumber,
    /// The present number of its definition: whose slot it takes.
    pub(crate) def: DefNumber,
    pub(crate) kind: Kind,
    pub(crate) deaths: u32,
    /// How long it ran before a death, at the longest.
    pub(crate) fatal_us: u64,
}

/// Everybody who is held back and could run here.
pub(crate) fn suspects(tools: &Tools) -> Result<Vec<Suspect>, StoreError> {
    let mut suspects = Vec::new();
    let defs = tools.registry.defs().into_iter();
    let numbers = defs.flat_map(|(def, kind)| {
        let numbers = tools.registry.numbers(def).into_iter();
        numbers.map(move |number| (number, def, kind))
    });
    for (number, def, kind) in numbers {
        let mut after = None;
        loop {
            let page = (tools.store).due_exactly(number, Micros::ISOLATED, after, PAGE)?;
            for task in &page {
                let Some(row) = readable(*task, tools)? else {
                    continue;
                };
                // It may have been released, cancelled or removed since it was listed.
                if row.place() == Place::Due(Deadline::ISOLATED) {
                    suspects.push(Suspect {
                        task: *task,
                        def,
                        kind,
                        deaths: row.guard.deaths,
                        fatal_us: fatal_us(&row.timeline, row.guard.deaths),
                    });
                }
            }
            let Some(last) = page.last() else { break };
            after = Some(*last);
        }
    }
    Ok(suspects)
}

/// The row, if there is one that can be read.
pub(crate) fn readable(task: TaskNumber, tools: &Tools) -> Result<Option<TaskRow>, StoreError> {
    match tools.store.get(task) {
        Err(error) if error.is_of_one_entry() => {
            tracing::error!(target: STORE, task = task.0, %error, "a suspect is left alone");
            Ok(None)
        }
        read => read,
    }
}

/// The half that is entered next, of those with the most deaths.
pub(crate) fn first_half(suspects: &mut [Suspect]) -> &[Suspect] {
    suspects.sort_by_key(|suspect| (Reverse(suspect.deaths), suspect.task));
    let class = match suspects.first() {
        Some(first) => suspects.partition_point(|suspect| suspect.deaths == first.deaths),
        None => 0,
    };
    &suspects[..class.div_ceil(2)]
}

/// The longest time the turn ran before one of the deaths that count against it, as far as its timeline tells.
fn fatal_us(timeline: &[Mark], deaths: u32) -> u64 {
    let newest_first = (0..timeline.len()).rev();
    let found_dead = newest_first.filter(|place| DEATHS.contains(&timeline[*place].what));
    let lengths = found_dead.take(deaths as usize).map(|place| {
        let before = &timeline[..place];
        let entered = before.iter().rfind(|mark| ENTRIES.contains(&mark.what));
        let since = entered.or(before.first()).unwrap_or(&timeline[place]);
        timeline[place].at.0.saturating_sub(since.at.0)
    });
    lengths.max().unwrap_or(0)
}

/// What a timeline says of a turn whose process is found dead.
const DEATHS: [EventKind; 4] = [
    EventKind::Recovered,
    EventKind::Isolated,
    EventKind::Quarantined,
    EventKind::Orphaned,
];

/// What it says of a turn that is entered; a start or a resumption that had to wait is followed by its claim.
const ENTRIES: [EventKind; 8] = [
    EventKind::Started,
    EventKind::Claimed,
    EventKind::Recovered,
    EventKind::NextTurn,
    EventKind::Resumed,
    EventKind::Probed,
    EventKind::Restarted,
    EventKind::RetriedAfterEnd,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(marks: &[(u64, EventKind)]) -> Vec<Mark> {
        let mark = |&(at, what)| Mark {
            at: Micros(at),
            turn: 1,
            what,
        };
        marks.iter().map(mark).collect()
    }

    fn suspect(task: u64, deaths: u32) -> Suspect {
        Suspect {
            task: TaskNumber(task),
            def: DefNumber(1),
            kind: Kind::Async,
            deaths,
            fatal_us: 0,
        }
    }

    fn half(mut suspects: Vec<Suspect>) -> Vec<u64> {
        let half = first_half(&mut suspects);
        half.iter().map(|suspect| suspect.task.0).collect()
    }

    #[test]
    fn the_longest_fatal_run_is_measured_from_the_entry_to_the_next_open() {
        let marks = timeline(&[
            (0, EventKind::Started),
            (1_000, EventKind::Claimed),
            (1_030, EventKind::Recovered),
            (1_040, EventKind::InputQueued),
            (1_130, EventKind::Recovered),
            (1_150, EventKind::Isolated),
            (9_000, EventKind::Probed),
            (9_070, EventKind::Isolated),
        ]);
        assert_eq!(fatal_us(&marks, 4), 100);
    }

    #[test]
    fn a_run_before_the_deaths_that_count_is_not_measured() {
        let marks = timeline(&[
            (0, EventKind::Started),
            // The process was stopped in order after this run, so the count began anew.
            (5_000, EventKind::Recovered),
            (5_001, EventKind::Recovered),
            (5_003, EventKind::Recovered),
            (5_006, EventKind::Isolated),
        ]);
        assert_eq!(fatal_us(&marks, 3), 3);
    }

    #[test]
    fn what_the_timeline_has_forgotten_is_measured_from_where_it_begins() {
        let marks = timeline(&[(50, EventKind::InputQueued), (90, EventKind::Isolated)]);
        assert_eq!(fatal_us(&marks, 3), 40);
        assert_eq!(fatal_us(&marks[1..], 3), 0);
        assert_eq!(fatal_us(&[], 3), 0);
    }

    #[test]
    fn half_of_those_with_the_most_deaths_come_first_rounded_up() {
        let few = [suspect(4, 3), suspect(3, 5), suspect(2, 5), suspect(1, 5)];
        assert_eq!(half(few.into()), [1, 2]);
        assert_eq!(half(vec![suspect(2, 4), suspect(1, 3)]), [2]);
        assert!(half(Vec::new()).is_empty());
    }
}
