//! Commits of a journal, done again on the rows that were saved. Where an earlier commit of the same task is lost, the later one
//! is taken all the same: it says what the row became, and that is so whatever the lost one said.

use super::behind::JournalSaved;
use super::gather::Gathered;
use crate::commit::{Bears, Commit, Conflict, Expect, Write};
use crate::plan::plan;
use crate::redb::batch::Tables;
use crate::redb::journal::Mark;
use crate::redb::lot::Lot;
use crate::row::{Etag, Family, Fate, Generation, TaskNumber, TaskRow};
use crate::store::StoreError;
use redb::WriteTransaction;
use std::collections::BTreeMap;

type Result<T> = std::result::Result<T, StoreError>;

/// The commits under way.
pub(super) struct Again<'t, 'g> {
    tables: Tables<'t>,
    gathered: &'g mut Gathered,
    waiting: BTreeMap<TaskNumber, Waiting>,
    pub(super) saved: JournalSaved,
    /// The highest numbers in anything that was done.
    pub(super) etag: Etag,
    pub(super) generation: Generation,
}

/// What hangs on a task whose row has not been met yet, in order.
#[derive(Default)]
struct Waiting {
    commits: u64,
    writes: Vec<Write>,
}

/// What the store's own rules say to a commit.
enum Fit {
    Done,
    Refused(Conflict),
    Malformed,
}

impl<'t, 'g> Again<'t, 'g> {
    pub(super) fn begin(txn: &'t WriteTransaction, gathered: &'g mut Gathered) -> Result<Self> {
        Ok(Again {
            tables: Tables::open(txn)?,
            gathered,
            waiting: BTreeMap::new(),
            saved: JournalSaved::default(),
            etag: Etag(0),
            generation: Generation(0),
        })
    }

    /// Does a commit, if it fits or if only what came before it is missing.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<()> {
        let conflict = match self.fit(commit)? {
            Fit::Done => {
                self.saved.done += 1;
                return Ok(());
            }
            Fit::Refused(conflict) => conflict,
            Fit::Malformed => return self.refuse(commit),
        };
        match conflict.found {
            _ if cfg!(planted = "salvage_stops_at_a_gap") => self.refuse(commit),
            // No row is put that is not whole.
            Err(_) => self.refuse(commit),
            Ok(Some(found)) if conflict.task == commit.task => self.over(commit, &found),
            Ok(Some(former)) => self.after_former(commit, (conflict.task, &former)),
            Ok(None) => self.without_row(commit),
        }
    }

    /// Whoever still waits for its row waits in vain.
    pub(super) fn end(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        self.saved.refused += waiting.values().map(|waiting| waiting.commits).sum::<u64>();
    }

    fn fit(&mut self, commit: &Commit) -> Result<Fit> {
        let mut plan = match plan(std::slice::from_ref(commit), &self.tables) {
            Err(StoreError::Malformed { .. }) => return Ok(Fit::Malformed),
            planned => planned?,
        };
        if let Some(Err(conflict)) = plan.answers.pop() {
            return Ok(Fit::Refused(conflict));
        }
        let lot = Lot::of(plan, Mark::default())?;
        self.tables.write(&lot)?;
        self.etag = self.etag.max(lot.etag);
        self.generation = self.generation.max(lot.generation);
        self.note_families(commit);
        Ok(Fit::Done)
    }

    /// Not done; what it says to others than its task is so nevertheless.
    fn refuse(&mut self, commit: &Commit) -> Result<()> {
        self.saved.refused += 1;
        self.tell(commit)
    }

    fn tell(&mut self, commit: &Commit) -> Result<()> {
        for write in &commit.writes {
            self.tables.tell(commit.task, write)?;
            if let Bears::Event(event) = write.bears() {
                self.etag = self.etag.max(event.etag);
                self.generation = self.generation.max(event.generation);
            }
        }
        self.note_families(commit);
        Ok(())
    }

    /// The tables of families are made of what rows say, when all of them are there, and of this.
    fn note_families(&mut self, commit: &Commit) {
        for write in &commit.writes {
            if let Write::ChildEnded(Family { task, turn }) = write {
                let ended = self.gathered.wakes.entry((task.0, *turn)).or_default();
                *ended = ended.saturating_add(1);
            }
            if let Write::FamilyOver { turn, fate } = write {
                let reason = match fate {
                    Fate::Alone => None,
                    Fate::Cancelled { reason } => Some(reason.clone()),
                };
                self.gathered.over.insert((commit.task.0, *turn), reason);
            }
        }
    }

    /// Does in place of a commit, and of so many that waited for it, what is left of it to be done.
    fn take(&mut self, commit: &Commit, instead: &Commit, waited: u64) -> Result<()> {
        match self.fit(instead)? {
            Fit::Done => {
                self.saved.taken += 1 + waited;
                Ok(())
            }
            Fit::Refused(_) | Fit::Malformed => {
                self.saved.refused += waited;
                self.refuse(commit)
            }
        }
    }

    /// An earlier version of the row is there.
    fn over(&mut self, commit: &Commit, found: &TaskRow) -> Result<()> {
        let is_later = match (commit.writes.iter().find_map(Write::row), &commit.expect) {
            (Some(row), _) => row.etag > found.etag,
            (None, Expect::Etag(etag)) => *etag > found.etag,
            (None, Expect::Lease(generation)) => *generation > found.generation,
            (None, Expect::Absent) => false,
        };
        if !is_later && !cfg!(planted = "salvage_takes_what_is_earlier") {
            return self.refuse(commit);
        }
        let instead = Commit {
            expect: Expect::Etag(found.etag),
            ..commit.clone()
        };
        self.take(commit, &instead, 0)
    }

    /// The id is that of another task. Of two the later one has it: that the earlier one was removed is what is lost.
    fn after_former(
        &mut self,
        commit: &Commit,
        (number, former): (TaskNumber, &TaskRow),
    ) -> Result<()> {
        let removal = Commit {
            task: number,
            expect: Expect::Etag(former.etag),
            writes: vec![Write::RemoveTask],
        };
        let goes = number < commit.task && !cfg!(planted = "salvage_former_keeps_its_id");
        if goes && matches!(self.fit(&removal)?, Fit::Done) {
            return self.commit(commit);
        }
        self.refuse(commit)
    }

    /// The task is not there.
    fn without_row(&mut self, commit: &Commit) -> Result<()> {
        if self.gathered.is_removed(commit.task) {
            return self.refuse(commit);
        }
        let mut writes = commit.writes.clone();
        if writes.contains(&Write::RemoveTask) {
            let waited = self.waiting.remove(&commit.task).unwrap_or_default();
            self.saved.taken += 1 + waited.commits;
            return self.tell(commit);
        }
        let Some(first) = writes.iter().position(|write| write.row().is_some()) else {
            return self.wait(commit);
        };
        let row = writes.remove(first);
        if let Some((number, former)) = self.holder(&row, commit.task)? {
            return self.after_former(commit, (number, &former));
        }
        let waited = self.waiting.remove(&commit.task).unwrap_or_default();
        let mut all = vec![row];
        all.extend(waited.writes);
        all.extend(writes);
        let instead = Commit {
            task: commit.task,
            expect: Expect::Absent,
            writes: all,
        };
        self.take(commit, &instead, waited.commits)
    }

    /// Another task that has the id of this row.
    fn holder(&self, row: &Write, task: TaskNumber) -> Result<Option<(TaskNumber, Box<TaskRow>)>> {
        use crate::plan::Rows;
        let Some(row) = row.row() else {
            return Ok(None);
        };
        let Some(number) = self.tables.number(&row.id)?.filter(|found| *found != task) else {
            return Ok(None);
        };
        Ok(self.tables.row(number)??.map(|row| (number, row)))
    }

    /// What hangs on a task may come before the next version of its row.
    fn wait(&mut self, commit: &Commit) -> Result<()> {
        self.tell(commit)?;
        if cfg!(planted = "salvage_forgets_what_waits_for_its_row") {
            self.saved.refused += 1;
            return Ok(());
        }
        let told = |write: &&Write| {
            matches!(
                write,
                Write::Event(_) | Write::ChildEnded(_) | Write::FamilyOver { .. }
            )
        };
        let hanging = commit.writes.iter().filter(|write| !told(write)).cloned();
        let waiting = self.waiting.entry(commit.task).or_default();
        waiting.commits += 1;
        waiting.writes.extend(hanging);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::rows::{by_etag, commit, pending, running, start, step_row};
    use redb::backends::InMemoryBackend;

    /// The pages of a file may have more than its mark says.
    #[test]
    fn what_is_earlier_than_the_row_is_not_done() {
        let backend = InMemoryBackend::new();
        let database = redb::Builder::new().create_with_backend(backend).unwrap();
        let txn = database.begin_write().unwrap();
        let mut gathered = Gathered::default();
        let mut again = Again::begin(&txn, &mut gathered).unwrap();
        let first = pending(10, "a");
        let row = running(&first, 11, 10);
        let row_again = running(&row, 12, 12);
        let step = Write::Step {
            turn: 1,
            key: "s".into(),
            step: step_row("of an earlier claim").into(),
        };
        let earlier = commit(10, Expect::Lease(Generation(10)), vec![step]);
        let commits = [
            start(&first),
            by_etag(10, 10, &row),
            by_etag(10, 11, &row_again),
            earlier,
            by_etag(10, 10, &row),
        ];
        for commit in &commits {
            again.commit(commit).unwrap();
        }
        again.end();
        let JournalSaved {
            done,
            taken,
            refused,
            ..
        } = again.saved;
        assert_eq!((done, taken, refused), (3, 0, 2));
    }
}
