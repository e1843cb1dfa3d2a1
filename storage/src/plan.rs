//! What a batch will do, decided before anything of it is written; every store decides with this.
//!
//! All expectations of a batch are checked first, each against the store as the accepted commits before it would
//! leave it. A refused commit therefore has nothing to take back, and a malformed one stops a batch that is whole.

use crate::commit::{Applied, Bears, Commit, Conflict, Expect, Write};
use crate::header::Header;
use crate::id::TaskId;
use crate::roll::Roll;
use crate::row::{Etag, Generation, Place, State, TaskNumber, TaskRow};
use crate::store::StoreError;
use foldhash::HashMap;
use std::sync::Arc;

/// Most entries that hang on a task and go in the commit that removes it: what nearly every task has, and little enough
/// that a batch of removals stays one short transaction. The rest goes with `Store::tidy`.
pub(crate) const SWEPT_AT_ONCE: usize = 64;

/// What a store tells the plan of its rows.
pub(crate) trait Rows {
    /// The number of the task with this id.
    fn number(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError>;
    /// The header of a task's row; the inner error is a damaged row.
    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header, StoreError>>, StoreError>;
    /// As [`Rows::header`], of a task that is to begin: where nobody can have its number, nobody has to look.
    fn header_of_new(
        &self,
        task: TaskNumber,
    ) -> Result<Option<Result<Header, StoreError>>, StoreError> {
        self.header(task)
    }
    /// The row of a task; the inner error is a damaged row.
    fn row(&self, task: TaskNumber)
    -> Result<Result<Option<Box<TaskRow>>, StoreError>, StoreError>;
}

/// A commit that will take place.
#[derive(Debug)]
pub(crate) struct Accepted<'a> {
    /// The commit.
    pub(crate) commit: &'a Commit,
    /// The header of the row it replaces; `None` for a start.
    pub(crate) old: Option<Header>,
    /// Set when it removes the task. Then nothing else of the task is written, for it would be gone at once; only
    /// the commit's events are.
    pub(crate) removed: Option<Removed>,
}

/// What the removal of a task must know of its row beyond the header: the rest of its index entries.
#[derive(Debug, Clone)]
pub(crate) struct Removed {
    /// The caller's id.
    pub(crate) id: TaskId,
    /// The labels it is listed under.
    pub(crate) labels: Vec<Box<str>>,
}

impl Removed {
    fn of(row: &TaskRow) -> Removed {
        Removed {
            id: row.id.clone(),
            labels: row.facts.labels.clone(),
        }
    }
}

/// A decided batch.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    /// The commits to apply, in order.
    pub(crate) accepted: Vec<Accepted<'a>>,
    /// The answers to all commits, in order.
    pub(crate) answers: Vec<Result<Applied, Conflict>>,
    /// The highest etag or task number the batch brings.
    pub(crate) etag: Etag,
    /// The highest generation the batch brings.
    pub(crate) generation: Generation,
    /// What becomes of the rows it touches.
    pub(crate) tasks: Roll<Net>,
    /// Ids it has given (`Some`) or freed (`None`).
    pub(crate) ids: HashMap<TaskId, Option<TaskNumber>>,
}

/// The memory of a plan that was carried out, for the next one.
#[derive(Debug, Default)]
pub(crate) struct Room {
    tasks: Roll<Net>,
    ids: HashMap<TaskId, Option<TaskNumber>>,
}

/// What several commits come to for the row of one task: those between the first and the last need not be written.
#[derive(Debug)]
pub(crate) struct Net {
    /// The header of the row before them; `None` when they start the task.
    #[cfg_attr(
        not(feature = "redb"),
        expect(dead_code, reason = "a store in memory puts each row as it comes")
    )]
    pub(crate) was: Option<Header>,
    /// How they leave it.
    pub(crate) is: Left,
}

/// A task as the last commit for it leaves it.
#[derive(Debug)]
pub(crate) enum Left {
    /// With this row.
    Row(Header, Arc<TaskRow>),
    /// Removed.
    Removed(Removed),
}

/// Decides a batch.
///
/// # Errors
/// [`StoreError::Malformed`] for a commit that breaks a rule; what `rows` fails with.
pub(crate) fn plan<'a>(batch: &'a [Commit], rows: &impl Rows) -> Result<Plan<'a>, StoreError> {
    plan_in(Room::default(), batch, rows)
}

/// As [`plan`], in the room that an earlier plan has left.
///
/// # Errors
/// As [`plan`].
pub(crate) fn plan_in<'a>(
    Room { tasks, ids }: Room,
    batch: &'a [Commit],
    rows: &impl Rows,
) -> Result<Plan<'a>, StoreError> {
    debug_assert!(tasks.len() == 0 && ids.is_empty(), "the room is empty");
    let mut plan = Plan {
        accepted: Vec::with_capacity(batch.len()),
        answers: Vec::with_capacity(batch.len()),
        tasks,
        ids,
        ..Plan::default()
    };
    plan.tasks.reserve(batch.len());
    for commit in batch {
        check_shape(commit)?;
        let seen = Seen { plan: &plan, rows };
        match seen.expected(commit)? {
            Ok(met) => plan.accept(commit, met)?,
            Err(_) if cfg!(planted = "batch_neighbour_hindered") => {
                return Err(StoreError::Malformed {
                    what: "a planted bug",
                });
            }
            Err(conflict) => plan.answers.push(Err(conflict)),
        }
    }
    Ok(plan)
}

impl<'a> Plan<'a> {
    /// What is left of a plan whose tasks and ids were taken.
    #[cfg_attr(
        not(feature = "redb"),
        expect(dead_code, reason = "a store in memory puts each row as it comes")
    )]
    pub(crate) fn room(self) -> Room {
        Room {
            tasks: self.tasks,
            ids: self.ids,
        }
    }

    fn accept(&mut self, commit: &'a Commit, Met { old, removed }: Met) -> Result<(), StoreError> {
        let mut header = old;
        let mut last = None;
        for write in &commit.writes {
            match write.bears() {
                Bears::Row(row) => {
                    let next = Header::of(row);
                    check_successor(header.as_ref(), &next, row)?;
                    header = Some(next);
                    last = Some(row);
                    self.generation = self.generation.max(row.generation);
                }
                // A removal has an etag in the log and in no row: it may not be given again after a reopen.
                Bears::Event(_) if cfg!(planted = "event_etag_forgotten") => {}
                Bears::Event(event) => self.etag = self.etag.max(event.etag),
                Bears::Segment(..) | Bears::Value(_) | Bears::Removal | Bears::Nothing => {}
            }
        }
        let Some(header) = header else {
            return Err(StoreError::Malformed {
                what: "a start writes no row",
            });
        };
        self.etag = self.etag.max(header.etag).max(Etag(commit.task.0));
        let left = match (&removed, last) {
            (Some(removed), _) => Some(Left::Removed(removed.clone())),
            (None, Some(row)) => Some(Left::Row(header, Arc::clone(row))),
            (None, None) => None,
        };
        if let Some(left) = left {
            self.leave(commit.task, (old, left));
        }
        self.accepted.push(Accepted {
            commit,
            old,
            removed,
        });
        self.answers.push(Ok(Applied { etag: header.etag }));
        Ok(())
    }

    /// Remembers what an accepted commit makes of its task.
    fn leave(&mut self, task: TaskNumber, (old, left): (Option<Header>, Left)) {
        match &left {
            Left::Removed(removed) => drop(self.ids.insert(removed.id.clone(), None)),
            Left::Row(_, row) if old.is_none() => drop(self.ids.insert(row.id.clone(), Some(task))),
            Left::Row(..) => {}
        }
        let net = Net { was: old, is: left };
        // The row before it all stays what it was.
        self.tasks.put(task, net, |there, net| there.is = net.is);
    }
}

/// The store as the accepted commits so far would leave it.
struct Seen<'p, 'a, R> {
    plan: &'p Plan<'a>,
    rows: &'p R,
}

/// A commit whose expectation is met.
#[derive(Default)]
struct Met {
    /// The header of the row it replaces; `None` for a start.
    old: Option<Header>,
    /// Set when it removes the task.
    removed: Option<Removed>,
}

type Expected = Result<Met, Conflict>;

impl<R: Rows> Seen<'_, '_, R> {
    /// The header of the row to replace, or the conflict.
    fn expected(&self, commit: &Commit) -> Result<Expected, StoreError> {
        if commit.expect == Expect::Absent {
            return self.absent(commit);
        }
        let found = match self.header(commit.task)? {
            Some(Ok(found)) => found,
            Some(Err(damage)) => {
                return Ok(Err(Conflict {
                    task: commit.task,
                    found: Err(damage),
                }));
            }
            None => {
                return Ok(Err(Conflict {
                    task: commit.task,
                    found: Ok(None),
                }));
            }
        };
        let met = match commit.expect {
            Expect::Absent => false,
            Expect::Lease(generation) => {
                let held = found.place == Place::Running && found.generation == generation;
                held || cfg!(planted = "store_ignores_lease")
            }
            Expect::Etag(etag) => found.etag == etag || cfg!(planted = "store_ignores_etag"),
        };
        if !met && !cfg!(planted = "refused_commit_writes") {
            return Ok(Err(self.conflict(commit.task)?));
        }
        Ok(self.removed(commit)?.map(|removed| Met {
            old: Some(found),
            removed,
        }))
    }

    /// What a commit that removes its task must know of it; the conflict when the row cannot be read.
    fn removed(&self, commit: &Commit) -> Result<Result<Option<Removed>, Conflict>, StoreError> {
        if !commit.writes.contains(&Write::RemoveTask) {
            return Ok(Ok(None));
        }
        if let Some(row) = commit.writes.iter().find_map(Write::row) {
            return Ok(Ok(Some(Removed::of(row))));
        }
        let current = self.conflict(commit.task)?;
        Ok(match &current.found {
            Ok(Some(row)) => Ok(Some(Removed::of(row))),
            Ok(None) | Err(_) => Err(current),
        })
    }

    fn absent(&self, commit: &Commit) -> Result<Expected, StoreError> {
        let Some(Write::Row(row)) = commit.writes.first() else {
            return Err(StoreError::Malformed {
                what: "a start's first write is not its row",
            });
        };
        if cfg!(planted = "store_ignores_absent") {
            return Ok(Ok(Met::default()));
        }
        let seen = self
            .plan
            .ids
            .get(&row.id)
            .filter(|left| is_seen(left.is_none()));
        let taken = match seen {
            Some(left) => *left,
            None => self.rows.number(&row.id)?,
        };
        if let Some(task) = taken {
            return Ok(Err(self.conflict(task)?));
        }
        let there = match self.left(commit.task) {
            Some(left) => matches!(left, Left::Row(..)),
            None => self.rows.header_of_new(commit.task)?.is_some(),
        };
        match there {
            false => Ok(Ok(Met::default())),
            true => Ok(Err(self.conflict(commit.task)?)),
        }
    }

    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header, StoreError>>, StoreError> {
        match self.left(task) {
            Some(Left::Row(header, _)) => Ok(Some(Ok(*header))),
            Some(Left::Removed(_)) => Ok(None),
            None => self.rows.header(task),
        }
    }

    fn left(&self, task: TaskNumber) -> Option<&Left> {
        let left = self.plan.tasks.get(task).map(|net| &net.is);
        left.filter(|left| is_seen(matches!(left, Left::Removed(_))))
    }

    fn conflict(&self, task: TaskNumber) -> Result<Conflict, StoreError> {
        let found = match self.left(task) {
            Some(Left::Row(_, row)) => Ok(Some(Box::new(TaskRow::clone(row)))),
            Some(Left::Removed(_)) => Ok(None),
            None => self.rows.row(task)?,
        };
        Ok(Conflict { task, found })
    }
}

/// Later commits of a batch see what earlier ones have done.
fn is_seen(is_removal: bool) -> bool {
    let unseen_removal = is_removal && cfg!(planted = "removal_unseen_in_batch");
    !unseen_removal && !cfg!(planted = "batch_unseen")
}

fn check_shape(commit: &Commit) -> Result<(), StoreError> {
    let mut removed = false;
    for write in &commit.writes {
        let broken = match write.bears() {
            Bears::Value(key) if key.task != commit.task => {
                Some("a commit writes a value of another task")
            }
            Bears::Segment(first, segment) if first == 0 || segment.entries.is_empty() => {
                Some("a segment has no entries, or no sequence number")
            }
            Bears::Event(event) if event.task != commit.task => {
                Some("a commit logs an event of another task")
            }
            Bears::Row(_) if removed => Some("a commit puts a row after it removed the task"),
            Bears::Removal if removed => Some("a commit removes its task twice"),
            Bears::Removal if commit.expect == Expect::Absent => Some("a start removes its task"),
            Bears::Removal => {
                removed = true;
                None
            }
            Bears::Row(_)
            | Bears::Event(_)
            | Bears::Segment(..)
            | Bears::Value(_)
            | Bears::Nothing => None,
        };
        if let Some(what) = broken {
            return Err(StoreError::Malformed { what });
        }
    }
    Ok(())
}

fn check_successor(old: Option<&Header>, new: &Header, row: &TaskRow) -> Result<(), StoreError> {
    let malformed = |what| Err(StoreError::Malformed { what });
    if let State::InProgress { lease, .. } = &row.state
        && lease.generation != row.generation
    {
        return malformed("a running row's generation is not its lease's");
    }
    let Some(old) = old else { return Ok(()) };
    if new.identity_crc != old.identity_crc {
        return malformed("a row changes its id or its labels");
    }
    if new.def != old.def {
        return malformed("a row changes its definition");
    }
    if new.etag <= old.etag {
        return malformed("a row's etag does not grow");
    }
    if new.generation < old.generation {
        return malformed("a row's generation shrinks");
    }
    let parents = [old.family, new.family].map(|family| family.map(|family| family.task));
    if matches!(parents, [Some(old), Some(new)] if old != new) {
        return malformed("a row changes its parent");
    }
    if new.run < old.run {
        return malformed("a row's run shrinks");
    }
    Ok(())
}
