//! The commits of one batch: one for each task, and what a refusal means.

use foldhash::{HashMap, HashMapExt};
use outlive_storage::row::{TaskNumber, TaskRow};
use outlive_storage::{Applied, Commit, Conflict, Expect, StoreError, Write};
use std::sync::Arc;

/// The tasks whose stored rows turned out to be damaged.
///
/// # Errors
/// On an exclusive store nobody else writes, so any other refusal is a bug of ours, and nothing decided on what
/// the writer took for true may be answered as done.
pub(crate) fn damaged(
    commits: &[Commit],
    results: Vec<Result<Applied, Conflict>>,
) -> Result<HashMap<TaskNumber, StoreError>, StoreError> {
    let mut damaged = HashMap::new();
    for (commit, result) in commits.iter().zip(results) {
        let Err(Conflict { task, found }) = result else {
            continue;
        };
        let Err(error) = found else {
            debug_assert!(
                false,
                "the store refused what its only writer decided: {found:?}"
            );
            let cause = "the store refused a commit of its only writer; please report it".into();
            return Err(StoreError::Poisoned { cause });
        };
        // A start whose id a damaged task still has is not written either: its conflict names the other one.
        damaged.insert(commit.task, error.clone());
        damaged.insert(task, error);
    }
    Ok(damaged)
}

/// The commits of a batch: one for each task, whatever it went through.
#[derive(Default)]
pub(crate) struct Commits {
    pub(crate) list: Vec<Commit>,
    at: HashMap<TaskNumber, usize>,
}

impl Commits {
    /// Empties it for the next batch.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.at.clear();
    }

    /// The first expectation and the last row of a task count; what came between was never seen by anybody.
    pub(crate) fn add(
        &mut self,
        task: TaskNumber,
        expect: Expect,
        row: Option<&Arc<TaskRow>>,
        mut writes: Vec<Write>,
    ) {
        let row = row.map(|row| Write::Row(Arc::clone(row)));
        // A start cannot also remove its task: what was started in this batch is removed by a commit of its own.
        let removes = writes.contains(&Write::RemoveTask);
        let under_way = self.at.get(&task).copied();
        let open = under_way.filter(|at| !removes || self.list[*at].expect != Expect::Absent);
        let Some(index) = open else {
            self.at.insert(task, self.list.len());
            if let Some(row) = row {
                // In the room that the others left: there are few of them.
                writes.insert(0, row);
            }
            self.list.push(Commit {
                task,
                expect,
                writes,
            });
            return;
        };
        let commit = &mut self.list[index];
        match (row, commit.writes.first()) {
            (Some(row), Some(Write::Row(_))) => commit.writes[0] = row,
            (Some(row), _) => commit.writes.insert(0, row),
            (None, _) => {}
        }
        commit.writes.extend(writes);
    }
}
