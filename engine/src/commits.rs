//! The commits of one batch: one for each task, where its large value goes, and what a refusal means.

use crate::machine::{Event, TurnEnd};
use outlive_storage::row::{TaskNumber, TaskRow, ValueKey, ValueKind};
use outlive_storage::{Applied, Commit, Conflict, Expect, StoreError, Write};
use std::collections::HashMap;
use std::sync::Arc;

/// The tasks whose stored rows turned out to be damaged.
///
/// # Errors
/// On an exclusive store nobody else writes, so any other refusal is a bug of ours, and nothing decided on what
/// the writer took for true may be answered as done.
pub(crate) fn damaged(
    results: Vec<Result<Applied, Conflict>>,
) -> Result<HashMap<TaskNumber, StoreError>, StoreError> {
    let mut damaged = HashMap::new();
    for conflict in results.into_iter().filter_map(Result::err) {
        let Conflict { task, found } = conflict;
        let Err(error) = found else {
            debug_assert!(
                false,
                "the store refused what its only writer decided: {found:?}"
            );
            let cause = "the store refused a commit of its only writer; please report it".into();
            return Err(StoreError::Poisoned { cause });
        };
        damaged.insert(task, error);
    }
    Ok(damaged)
}

/// Where the event's large value goes, if it carries one.
pub(crate) fn value_key(
    task: TaskNumber,
    row: Option<&TaskRow>,
    event: &Event,
) -> Option<ValueKey> {
    match event {
        Event::Input(_) => {
            let index = row.map_or(0, |row| row.inputs_accepted);
            Some(ValueKey {
                task,
                kind: ValueKind::Input,
                index,
            })
        }
        Event::End {
            end: TurnEnd::Succeeded(_),
            ..
        } => row.map(|row| ValueKey {
            task,
            kind: ValueKind::Output,
            index: u64::from(row.turn),
        }),
        Event::End {
            end: TurnEnd::Failed { .. } | TurnEnd::Undecodable { .. },
            ..
        }
        | Event::Claim(_)
        | Event::Recover(_)
        | Event::Orphan(_)
        | Event::Reconsider => None,
    }
}

/// The commits of a batch: one for each task, whatever it went through.
#[derive(Default)]
pub(crate) struct Commits {
    pub(crate) list: Vec<Commit>,
    at: HashMap<TaskNumber, usize>,
}

impl Commits {
    /// The first expectation and the last row of a task count; what came between was never seen by anybody.
    pub(crate) fn add(
        &mut self,
        task: TaskNumber,
        expect: Expect,
        row: &Arc<TaskRow>,
        writes: Vec<Write>,
    ) {
        let row = Write::Row(Box::new(TaskRow::clone(row)));
        match self.at.get(&task) {
            Some(index) => {
                let commit = &mut self.list[*index];
                commit.writes[0] = row;
                commit.writes.extend(writes);
            }
            None => {
                self.at.insert(task, self.list.len());
                let writes = std::iter::once(row).chain(writes).collect();
                self.list.push(Commit {
                    task,
                    expect,
                    writes,
                });
            }
        }
    }
}
