//! The commits of one batch: one for each task, and what a refusal means.

use foldhash::{HashMap, HashMapExt};
use outlive_storage::row::{TaskNumber, TaskRow};
use outlive_storage::{Applied, Commit, Conflict, Expect, StoreError, Write};
use std::sync::Arc;

/// The room of the largest list of writes that is kept for the next batch, and how many are.
const SPARE_WRITES: usize = 16;
const SPARE_MAX: usize = 256;

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
    /// Lists of writes, all empty, for those of the next batch.
    spare: Vec<Vec<Write>>,
}

impl Commits {
    /// Empties it for the next batch.
    pub(crate) fn clear(&mut self) {
        while let Some(commit) = self.list.pop() {
            self.keep(commit.writes);
        }
        self.at.clear();
    }

    /// Keeps a list of writes, emptied, for the next batch.
    fn keep(&mut self, mut list: Vec<Write>) {
        let fits = list.capacity() <= SPARE_WRITES && self.spare.len() < SPARE_MAX;
        if !cfg!(planted = "spare_list_not_emptied") {
            list.clear();
        }
        if fits || cfg!(planted = "every_spare_list_kept") {
            self.spare.push(list);
        }
    }

    /// An empty list of writes with room for so many.
    pub(crate) fn room(&mut self, writes: usize) -> Vec<Write> {
        let mut list = self.spare.pop().unwrap_or_default();
        list.reserve(writes);
        list
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
        commit.writes.append(&mut writes);
        self.keep(writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_writes_is_used_again_and_empty_then() {
        let mut commits = Commits::default();
        let mut writes = commits.room(2);
        writes.push(Write::RemoveAsks);
        let room = writes.capacity();
        commits.add(TaskNumber(1), Expect::Absent, None, writes);
        commits.clear();
        let again = commits.room(0);
        assert_eq!((again.len(), again.capacity()), (0, room));
    }

    #[test]
    fn of_a_rush_little_room_is_kept() {
        let mut commits = Commits::default();
        for task in 1..=2 {
            // The second time it is the list that is added to the first.
            for _ in 0..2 {
                let writes = Vec::with_capacity(SPARE_WRITES + 1);
                commits.add(TaskNumber(task), Expect::Absent, None, writes);
            }
        }
        commits.clear();
        assert_eq!(commits.spare.len(), 0);
        for task in 0..=SPARE_MAX as u64 {
            let writes = Vec::with_capacity(1);
            commits.add(TaskNumber(task), Expect::Absent, None, writes);
        }
        commits.clear();
        assert_eq!(commits.spare.len(), SPARE_MAX);
    }
}
