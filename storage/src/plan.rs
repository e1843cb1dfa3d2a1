//! What a batch will do, decided before anything of it is written; every store decides with this.
//!
//! All expectations of a batch are checked first, each against the store as the accepted commits before it would
//! leave it. A refused commit therefore has nothing to take back, and a malformed one stops a batch that is whole.

use crate::commit::{Applied, Commit, Conflict, Expect, Write};
use crate::header::Header;
use crate::id::TaskId;
use crate::row::{Etag, Generation, Place, State, TaskNumber, TaskRow};
use crate::store::StoreError;
use std::collections::HashMap;

/// What a store tells the plan of its rows.
pub(crate) trait Rows {
    /// The number of the task with this id.
    fn number(&self, id: &TaskId) -> Result<Option<TaskNumber>, StoreError>;
    /// The header of a task's row; the inner error is a damaged row.
    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header, StoreError>>, StoreError>;
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
}

/// A row as an earlier commit of the batch leaves it.
struct Left<'a> {
    header: Header,
    row: &'a TaskRow,
}

/// Decides a batch.
///
/// # Errors
/// [`StoreError::Malformed`] for a commit that breaks a rule; what `rows` fails with.
pub(crate) fn plan<'a>(batch: &'a [Commit], rows: &impl Rows) -> Result<Plan<'a>, StoreError> {
    let mut plan = Plan::default();
    let mut left = Batch {
        rows,
        tasks: HashMap::new(),
        ids: HashMap::new(),
    };
    for commit in batch {
        check_shape(commit)?;
        match left.expected(commit)? {
            Ok(old) => plan.accept(commit, old, &mut left)?,
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
    fn accept<R: Rows>(
        &mut self,
        commit: &'a Commit,
        old: Option<Header>,
        left: &mut Batch<'a, '_, R>,
    ) -> Result<(), StoreError> {
        let mut header = old;
        let mut last = None;
        for write in &commit.writes {
            let Write::Row(row) = write else { continue };
            let next = Header::of(row);
            check_successor(header.as_ref(), &next, row)?;
            header = Some(next);
            last = Some(row.as_ref());
            self.generation = self.generation.max(row.generation);
        }
        let Some(header) = header else {
            return Err(StoreError::Malformed {
                what: "a start writes no row",
            });
        };
        self.etag = self.etag.max(header.etag).max(Etag(commit.task.0));
        if let (Some(row), false) = (last, cfg!(planted = "batch_unseen")) {
            left.tasks.insert(commit.task, Left { header, row });
            if old.is_none() {
                left.ids.insert(row.id.as_str(), commit.task);
            }
        }
        self.accepted.push(Accepted { commit, old });
        self.answers.push(Ok(Applied { etag: header.etag }));
        Ok(())
    }
}

/// The store as the accepted commits so far would leave it.
struct Batch<'a, 'r, R> {
    rows: &'r R,
    tasks: HashMap<TaskNumber, Left<'a>>,
    ids: HashMap<&'a str, TaskNumber>,
}

type Expected = Result<Option<Header>, Conflict>;

impl<R: Rows> Batch<'_, '_, R> {
    /// The header of the row to replace, or the conflict.
    fn expected(&mut self, commit: &Commit) -> Result<Expected, StoreError> {
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
        if met || cfg!(planted = "refused_commit_writes") {
            return Ok(Ok(Some(found)));
        }
        Ok(Err(self.conflict(commit.task)?))
    }

    fn absent(&self, commit: &Commit) -> Result<Expected, StoreError> {
        let Some(Write::Row(row)) = commit.writes.first() else {
            return Err(StoreError::Malformed {
                what: "a start's first write is not its row",
            });
        };
        if cfg!(planted = "store_ignores_absent") {
            return Ok(Ok(None));
        }
        let taken = match self.ids.get(row.id.as_str()) {
            Some(task) => Some(*task),
            None => self.rows.number(&row.id)?,
        };
        if let Some(task) = taken {
            return Ok(Err(self.conflict(task)?));
        }
        match self.header(commit.task)? {
            None => Ok(Ok(None)),
            Some(_) => Ok(Err(self.conflict(commit.task)?)),
        }
    }

    fn header(&self, task: TaskNumber) -> Result<Option<Result<Header, StoreError>>, StoreError> {
        match self.tasks.get(&task) {
            Some(left) => Ok(Some(Ok(left.header))),
            None => self.rows.header(task),
        }
    }

    fn conflict(&self, task: TaskNumber) -> Result<Conflict, StoreError> {
        if let Some(left) = self.tasks.get(&task) {
            return Ok(Conflict {
                task,
                found: Ok(Some(Box::new(left.row.clone()))),
            });
        }
        Ok(Conflict {
            task,
            found: self.rows.row(task)?,
        })
    }
}

fn check_shape(commit: &Commit) -> Result<(), StoreError> {
    let foreign = commit.writes.iter().any(|write| match write {
        Write::Value { key, .. } | Write::RemoveValue(key) => key.task != commit.task,
        Write::Row(_)
        | Write::PushInput { .. }
        | Write::PopInput { .. }
        | Write::Receipt { .. } => false,
    });
    if foreign {
        return Err(StoreError::Malformed {
            what: "a commit writes a value of another task",
        });
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
    if new.id_crc != old.id_crc {
        return malformed("a row changes its id");
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
    if new.run < old.run {
        return malformed("a row's run shrinks");
    }
    Ok(())
}
