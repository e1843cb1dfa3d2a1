//! A task that waits for its moment, as its callers know it: a register whose etag grows with every change.
//!
//! The engine moves nothing by itself here, so every change is one of the operations. Most answers do not tell the etag;
//! then it is one above whatever was known, until somebody is told.

use outlive::machine::Status;
use outlive::{
    Accepted, ControlError, Ctx, Engine, GetError, HandlerError, OnConflict, StartError, TaskDef,
};
use outlive_tests::chance::Chance;
use outlive_tests::history::History;
use outlive_tests::linear::Thing;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// So many inputs may wait.
const WAITING_MAX: u64 = 3;
pub(crate) const LATER: TaskDef<u32, u32> = TaskDef::new("later").steerable(WAITING_MAX);
/// The ids of inputs that are given again and again.
const INPUTS: u64 = 4;
/// How many etags of an id a caller remembers, the stale ones for its bad ideas.
const REMEMBERED: usize = 4;

/// The handler of [`LATER`], which is never due.
pub(crate) async fn later(_: Ctx, n: u32) -> Result<u32, HandlerError> {
    Ok(n)
}

/// What is known of an etag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Etag {
    Is(u64),
    Above(u64),
}

impl Etag {
    /// The same, now that somebody was told it; `None` when it cannot be this one.
    fn told(self, etag: u64) -> Option<Etag> {
        let fits = match self {
            Etag::Is(is) => is == etag,
            Etag::Above(low) => low < etag,
        };
        fits.then_some(Etag::Is(etag))
    }

    /// One that follows.
    fn next(self) -> Etag {
        match self {
            Etag::Is(is) => Etag::Above(is),
            Etag::Above(low) => Etag::Above(low + 1),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    ended: bool,
    waiting: u64,
    /// The ids of the inputs it has accepted, of those that were given one.
    inputs: BTreeSet<u64>,
}

/// What the callers know of an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    /// Of the task; where there is none, of the last one.
    etag: Etag,
    task: Option<Task>,
}

impl Known {
    /// Nothing was ever started.
    pub(crate) fn nothing() -> Known {
        Known {
            etag: Etag::Is(0),
            task: None,
        }
    }

    fn changed(&self, task: Option<Task>) -> Option<Known> {
        let etag = self.etag.next();
        Some(Known { etag, task })
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Start {
        input: Option<u64>,
        if_etag: Option<u64>,
        restart: bool,
    },
    Cancel {
        if_etag: Option<u64>,
    },
    Delete {
        if_etag: Option<u64>,
    },
    Read,
}

impl Asked {
    fn if_etag(self) -> Option<u64> {
        match self {
            Asked::Start { if_etag, .. }
            | Asked::Cancel { if_etag }
            | Asked::Delete { if_etag } => if_etag,
            Asked::Read => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Started,
    Queued,
    Restarted,
    Attached,
    /// Cancelled, or removed.
    Done,
    /// There is no such task.
    Gone,
    Conflict {
        etag: u64,
        ended: bool,
    },
    Precondition {
        etag: Option<u64>,
    },
    Full,
    Seen {
        etag: u64,
        ended: bool,
        waiting: u64,
    },
    /// The engine had stopped: nothing happened.
    Stopped,
}

pub(crate) fn refused(answer: &Answer) -> bool {
    match answer {
        Answer::Started | Answer::Queued | Answer::Restarted | Answer::Done => false,
        Answer::Attached
        | Answer::Gone
        | Answer::Conflict { .. }
        | Answer::Precondition { .. }
        | Answer::Full
        | Answer::Seen { .. }
        | Answer::Stopped => true,
    }
}

pub(crate) struct Register;

impl Thing for Register {
    type State = Known;
    type Asked = Asked;
    type Answer = Answer;

    fn after(state: &Known, asked: &Asked, answer: Option<&Answer>) -> Option<Known> {
        if answer == Some(&Answer::Stopped) {
            return Some(state.clone());
        }
        match &state.task {
            None => of_nothing(state, *asked, answer.copied()),
            Some(task) => of_task(state, task, *asked, answer.copied()),
        }
    }

    fn only_looked(_: &Asked, answer: &Answer) -> bool {
        refused(answer)
    }
}

fn of_nothing(state: &Known, asked: Asked, answer: Option<Answer>) -> Option<Known> {
    let same = |fits: bool| fits.then(|| state.clone());
    match asked {
        Asked::Start {
            if_etag: Some(_), ..
        } => same(answer == Some(Answer::Precondition { etag: None })),
        Asked::Start { input, .. } if matches!(answer, None | Some(Answer::Started)) => state
            .changed(Some(Task {
                ended: false,
                waiting: 0,
                inputs: input.into_iter().collect(),
            })),
        Asked::Start { .. } => None,
        Asked::Cancel { .. } | Asked::Delete { .. } | Asked::Read => {
            same(answer == Some(Answer::Gone))
        }
    }
}

fn of_task(state: &Known, task: &Task, asked: Asked, answer: Option<Answer>) -> Option<Known> {
    let told = |etag| {
        let etag = state.etag.told(etag)?;
        Some(Known {
            etag,
            ..state.clone()
        })
    };
    // Who gives an input again is answered for it, whatever the etag.
    if let Asked::Start {
        input: Some(input), ..
    } = asked
        && task.inputs.contains(&input)
    {
        return (answer == Some(Answer::Attached)).then(|| state.clone());
    }
    let state = match (asked.if_etag(), answer) {
        (Some(wanted), Some(Answer::Precondition { etag: Some(etag) })) => {
            return told(etag).filter(|_| etag != wanted);
        }
        (Some(wanted), _) => told(wanted)?,
        (None, _) => state.clone(),
    };
    let told = |etag| {
        let etag = state.etag.told(etag)?;
        Some(Known {
            etag,
            ..state.clone()
        })
    };
    let mut next = task.clone();
    match (asked, answer) {
        (
            Asked::Read,
            Some(Answer::Seen {
                etag,
                ended,
                waiting,
            }),
        ) => told(etag).filter(|_| (ended, waiting) == (task.ended, task.waiting)),
        (
            Asked::Start { restart: false, .. } | Asked::Cancel { .. },
            Some(Answer::Conflict { etag, ended: true }),
        ) => told(etag).filter(|_| task.ended),
        (Asked::Start { restart, input, .. }, None | Some(Answer::Restarted))
            if restart && task.ended =>
        {
            next.ended = false;
            next.inputs.extend(input);
            state.changed(Some(next))
        }
        (Asked::Start { input, .. }, None | Some(Answer::Queued))
            if !task.ended && task.waiting < WAITING_MAX =>
        {
            next.waiting += 1;
            next.inputs.extend(input);
            state.changed(Some(next))
        }
        (Asked::Start { .. }, Some(Answer::Full)) => {
            (!task.ended && task.waiting == WAITING_MAX).then_some(state)
        }
        (Asked::Cancel { .. }, None | Some(Answer::Done)) if !task.ended => {
            (next.ended, next.waiting) = (true, 0);
            state.changed(Some(next))
        }
        (Asked::Delete { .. }, None | Some(Answer::Done)) => state.changed(None),
        (Asked::Read | Asked::Start { .. } | Asked::Cancel { .. } | Asked::Delete { .. }, _) => {
            None
        }
    }
}

/// What a caller believes of each id, and asks for.
pub(crate) struct Caller {
    pub(crate) chance: Chance,
    etags: Vec<VecDeque<u64>>,
}

impl Caller {
    pub(crate) fn new(seed: u64, keys: usize) -> Caller {
        Caller {
            chance: Chance(seed),
            etags: vec![VecDeque::new(); keys],
        }
    }

    fn choose(&mut self, key: usize) -> Asked {
        let etags = &self.etags[key];
        let stale = self.chance.below(3) == 0;
        let place = if stale {
            self.chance.below(etags.len() as u64) as usize
        } else {
            0
        };
        let etag = etags.get(place).copied();
        let if_etag = etag.filter(|_| self.chance.below(4) > 0);
        match self.chance.below(12) {
            0..=5 => {
                let given = self.chance.below(3) > 0;
                Asked::Start {
                    input: given.then(|| self.chance.below(INPUTS)),
                    if_etag: if_etag.filter(|_| self.chance.below(2) > 0),
                    restart: self.chance.below(2) > 0,
                }
            }
            6 | 7 => Asked::Cancel { if_etag },
            8 => Asked::Delete { if_etag },
            _ => Asked::Read,
        }
    }

    /// One operation on one of the ids. False: the engine has stopped.
    pub(crate) async fn call(&mut self, engine: &Engine, history: &History<Asked, Answer>) -> bool {
        let key = self.chance.below(self.etags.len() as u64) as usize;
        let asked = self.choose(key);
        let from = history.now();
        let Ok(answer) = ask(engine, &format!("key-{key}"), asked).await else {
            return false;
        };
        history.note(key, from, asked, answer);
        let etag = match answer {
            Some(Answer::Conflict { etag, .. } | Answer::Seen { etag, .. }) => Some(etag),
            Some(Answer::Precondition { etag }) => etag,
            _ => None,
        };
        if let Some(etag) = etag.filter(|etag| self.etags[key].front() != Some(etag)) {
            self.etags[key].push_front(etag);
            self.etags[key].truncate(REMEMBERED);
        }
        answer.is_some_and(|answer| answer != Answer::Stopped)
    }
}

/// A read that gave nothing.
struct NotRead;

async fn ask(engine: &Engine, id: &str, asked: Asked) -> Result<Option<Answer>, NotRead> {
    Ok(match asked {
        Asked::Start {
            input,
            if_etag,
            restart,
        } => {
            // Later than any test lasts.
            let mut start = engine
                .start(LATER, id, &1)
                .start_in(Duration::from_secs(1 << 30));
            if let Some(input) = input {
                start = start.input_id(format!("input-{input}"));
            }
            if let Some(etag) = if_etag {
                start = start.if_etag(etag);
            }
            if restart {
                start = start.on_conflict(OnConflict::Restart);
            }
            match start.await {
                Ok(run) => Some(accepted(run.accepted().expect("a start tells how"))),
                Err(error) => start_refused(error),
            }
        }
        Asked::Cancel { if_etag } => {
            let order = engine.cancel(id, "of a caller");
            let told = match if_etag {
                Some(etag) => order.if_etag(etag).await,
                None => order.await,
            };
            told.map_or_else(refused_order, |()| Some(Answer::Done))
        }
        Asked::Delete { if_etag } => {
            let order = engine.delete(id);
            let told = match if_etag {
                Some(etag) => order.if_etag(etag).await,
                None => order.await,
            };
            let existed = |existed| Some(if existed { Answer::Done } else { Answer::Gone });
            told.map_or_else(refused_order, existed)
        }
        Asked::Read => match engine.get(id).await {
            Ok(None) => Some(Answer::Gone),
            Ok(Some(task)) => {
                assert_eq!(task.generation, 0, "{task:?} was never claimed");
                Some(Answer::Seen {
                    etag: task.etag,
                    ended: task.status == Status::Completed,
                    waiting: task.inputs_waiting,
                })
            }
            Err(GetError::ShuttingDown | GetError::Store(_)) => return Err(NotRead),
            Err(error) => panic!("{error:?}"),
        },
    })
}

fn accepted(how: Accepted) -> Answer {
    match how {
        Accepted::Started => Answer::Started,
        Accepted::Queued => Answer::Queued,
        Accepted::Restarted => Answer::Restarted,
        Accepted::Attached => Answer::Attached,
        Accepted::Resumed => panic!("nothing was suspended"),
    }
}

fn start_refused(error: StartError) -> Option<Answer> {
    match error {
        StartError::Conflict { etag, status, .. } => Some(Answer::Conflict {
            etag,
            ended: status == Status::Completed,
        }),
        StartError::PreconditionFailed { etag, .. } => Some(Answer::Precondition { etag }),
        StartError::SteeringQueueFull { .. } => Some(Answer::Full),
        StartError::ShuttingDown | StartError::Store(_) => Some(Answer::Stopped),
        StartError::Unknown { .. } => None,
        other => panic!("{other:?}"),
    }
}

fn refused_order(error: ControlError) -> Option<Answer> {
    match error {
        ControlError::NotFound(_) => Some(Answer::Gone),
        ControlError::Conflict { etag, status, .. } => Some(Answer::Conflict {
            etag,
            ended: status == Status::Completed,
        }),
        ControlError::PreconditionFailed {
            etag: Some(etag), ..
        } => Some(Answer::Precondition { etag: Some(etag) }),
        ControlError::PreconditionFailed { etag: None, .. } => Some(Answer::Gone),
        ControlError::ShuttingDown | ControlError::Store(_) => Some(Answer::Stopped),
        ControlError::Unknown { .. } => None,
        other => panic!("{other:?}"),
    }
}
