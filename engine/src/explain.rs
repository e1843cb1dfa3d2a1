//! What a task waits for, and what would make it go on: in words and as data.
//!
//! It has so many lines because every wait stands here as data, in words, and with what ends it.

use crate::engine::{Engine, Shared};
use crate::error::GetError;
use crate::flow::Taken;
use crate::length::Length;
use crate::machine::Status;
use crate::snapshot::{Ended, Snapshot};
use outlive_storage::id::TaskId;
use outlive_storage::row::{
    Deadline, Failure, Line, State, TaskNumber, TaskRow, Times, WaitReason,
};
use serde::Serialize;
use std::fmt;

/// What a task waits for. Moments are microseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum WaitsFor {
    /// It is due; so many handlers run already.
    Slot {
        /// Handlers that run, under the limit that holds it up.
        running: usize,
        /// How many may.
        allowed: usize,
        /// True for the limit of its definition, false for that of the engine.
        of_definition: bool,
        /// What ran before the last open is still being entered again, and comes first.
        recovering: bool,
    },
    /// The moment its caller named.
    Time {
        /// When it is due.
        due_us: u64,
    },
    /// The end of the pause after a failed attempt.
    BackOff {
        /// When the next attempt is due.
        due_us: u64,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How many attempts there are in all.
        attempts_max: u32,
        /// How it failed; empty when the pause is not over a failure.
        failure: Option<Failure>,
    },
    /// A program that registers a handler for its name.
    Handler,
    /// A program that can read it.
    Readable {
        /// What could not be read: `input`, for example.
        what: Box<str>,
        /// The type expected, and why the bytes are not one.
        expected: Box<str>,
    },
    /// A further input: its handler suspended it.
    Input {
        /// The handler's reason.
        reason: Box<str>,
    },
    /// Its turn among the suspects: its process died again and again while it ran.
    Isolation {
        /// Deaths in a row.
        deaths: u32,
    },
    /// Somebody who releases it: it killed its process while it ran alone.
    Operator {
        /// Deaths in a row.
        deaths: u32,
    },
    /// Somebody who corrects the program: its handler used one key for two steps of a turn.
    OtherProgram {
        /// The key.
        step: Box<str>,
    },
    /// Somebody who says what became of a step that may run only once: it was begun, and its result is not recorded.
    StepOutcome {
        /// The key of the step.
        step: Box<str>,
    },
    /// The end of a sleep of its handler.
    Sleep {
        /// The key of the sleep.
        step: Box<str>,
        /// When that is.
        due_us: u64,
    },
    /// The answer to a question of its handler.
    Answer {
        /// The key of the question.
        step: Box<str>,
        /// The question: a text as it is, anything else as JSON; empty where only [`Engine::asks`] knows it.
        question: Option<String>,
        /// When it goes on without one; empty when it does not.
        until_us: Option<u64>,
    },
    /// The ends of tasks that its handler started.
    Children {
        /// The key of the wait.
        step: Box<str>,
        /// When it goes on without them; empty when it does not.
        until_us: Option<u64>,
    },
    /// The end of the turn that runs.
    TurnEnd {
        /// Which attempt of the turn runs, from 1.
        attempt: u32,
        /// When its time-out falls; empty without one.
        deadline_us: Option<u64>,
        /// The reason of a cancel that the handler has not yet answered.
        cancel: Option<String>,
    },
    /// The end of an earlier call of its handler, which nothing can stop: a thread that blocks, or a future that does
    /// not yield.
    FormerCall,
    /// To be entered again: it ran when the last process ended.
    Recovery,
    /// Nothing: it has ended.
    Nothing {
        /// How.
        ended: Ended,
        /// When it may be removed; empty when it is kept until somebody deletes it.
        expires_at_us: Option<u64>,
    },
}

/// What would make a task go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Release {
    /// It goes on by itself when another handler has ended.
    Slot,
    /// It goes on by itself at this moment, in microseconds since 1970 UTC, or soon after.
    Time {
        /// The moment.
        at_us: u64,
    },
    /// The engine goes on with it by itself.
    Engine,
    /// It goes on at the next open: this engine is shutting down.
    NextOpen,
    /// An open by a program that registers its handler.
    Handler,
    /// It is tried again at each open, and by [`Engine::retry`].
    OpenOrRetry,
    /// [`Engine::start`] with an input, or [`Engine::resume`].
    Input,
    /// [`Engine::retry`].
    Retry,
    /// [`Engine::resolve`].
    Resolve,
    /// [`Engine::answer`]; where it has a deadline, that as well.
    Answer,
    /// The ends of other tasks.
    Children,
    /// A start with [`OnConflict::Restart`](crate::OnConflict::Restart).
    Restart,
    /// The end of the turn, by its handler.
    TurnEnd,
}

/// Why a task stands where it stands. Its words are for people and may change; the data does not lie about them.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, Release, Reply, TaskDef, WaitsFor};
/// # const CHAT: TaskDef<String, usize> = TaskDef::new("chat");
/// # async fn chat(_: Ctx, line: String) -> Result<Reply<usize>, HandlerError> { Ok(Reply::suspend(line.len(), "the next line")) }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(CHAT, chat).open().await?;
/// engine.start(CHAT, "a", &"hello".to_owned()).await?.outcome().await?;
/// let why = engine.explain("a").await?.expect("it is there");
/// assert_eq!(why.waits_for, WaitsFor::Input { reason: "the next line".into() });
/// assert_eq!(why.release, Release::Input);
/// println!("{why}"); // a: It waits for a further input: "the next line". It has been so for less than a second. ...
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The task.
    pub id: TaskId,
    /// Its definition's name.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// Since when, in microseconds since 1970 UTC.
    pub since_us: u64,
    /// What would make it go on.
    pub release: Release,
    /// When this was so, in microseconds since 1970 UTC, by the engine's clock.
    pub at_us: u64,
}

impl Engine {
    /// What a task waits for, since when, and what would make it go on; `None` when there is no such task. Nothing
    /// changes.
    ///
    /// # Errors
    /// [`GetError`]; a damaged row is an error, never `None`.
    pub async fn explain(&self, id: impl AsRef<str>) -> Result<Option<Explanation>, GetError> {
        let id = TaskId::new(id)?;
        let shared = self.shared();
        let Some((task, row)) = shared.row(id).await? else {
            return Ok(None);
        };
        let mut explanation = shared.explanation(task, row);
        if let WaitsFor::Answer { step, question, .. } = &mut explanation.waits_for {
            *question = shared.question(task, step.clone()).await?;
        }
        Ok(Some(explanation))
    }
}

impl Shared {
    fn explanation(&self, task: TaskNumber, row: TaskRow) -> Explanation {
        let times = self.dispatcher.clock.times();
        let at_us = times.now().0;
        let waits_for = match &row.state {
            State::InProgress { lease, .. } => {
                let here = lease.instance == self.dispatcher.claimant.instance;
                self.running(task, &row, here, times)
            }
            State::Pending { .. } | State::Suspended { .. } | State::Completed { .. } => {
                self.at_rest(&row, times)
            }
        };
        let seen = Snapshot::of(row, &self.dispatcher.registry);
        let release = match release(&waits_for) {
            Release::Slot | Release::Time { .. } | Release::Engine
                if self.dispatcher.is_stopping() =>
            {
                Release::NextOpen
            }
            release => release,
        };
        Explanation {
            id: seen.id,
            name: seen.name,
            status: seen.status,
            waits_for,
            since_us: seen.since_us,
            release,
            at_us,
        }
    }

    fn running(&self, task: TaskNumber, row: &TaskRow, here: bool, times: Times) -> WaitsFor {
        if !here {
            return WaitsFor::Recovery;
        }
        if self.dispatcher.live.is_held_up(task) {
            return WaitsFor::FormerCall;
        }
        let seen = Snapshot::of(row.clone(), &self.dispatcher.registry);
        WaitsFor::TurnEnd {
            attempt: seen.attempt,
            deadline_us: seen.deadline_us.map(|_| shown(row.deadline, times)),
            cancel: seen.cancel_requested,
        }
    }

    fn at_rest(&self, row: &TaskRow, times: Times) -> WaitsFor {
        let seen = Snapshot::of(row.clone(), &self.dispatcher.registry);
        if let Some(ended) = seen.ended {
            let expires_at_us = seen.expires_at_us;
            return WaitsFor::Nothing {
                ended,
                expires_at_us,
            };
        }
        let ahead = match &row.state {
            State::Pending { due_at, .. } if !times.reached(*due_at) => {
                seen.due_at_us.map(|_| shown(*due_at, times))
            }
            State::Pending { .. }
            | State::InProgress { .. }
            | State::Suspended { .. }
            | State::Completed { .. } => None,
        };
        match (seen.wait, ahead) {
            (Some(WaitReason::BackOff), Some(due_us)) => WaitsFor::BackOff {
                due_us,
                attempt: row.attempt,
                attempts_max: row.options.retry.attempts_max,
                failure: seen.last_failure,
            },
            (Some(WaitReason::Delayed | WaitReason::Slot), Some(due_us)) => {
                WaitsFor::Time { due_us }
            }
            (Some(WaitReason::BackOff | WaitReason::Delayed | WaitReason::Slot) | None, _) => {
                self.slot(row)
            }
            (Some(WaitReason::WaitingHandler), _) => WaitsFor::Handler,
            (Some(WaitReason::Undecodable { what, expected }), _) => {
                WaitsFor::Readable { what, expected }
            }
            (Some(WaitReason::Input { reason }), _) => WaitsFor::Input { reason },
            (Some(WaitReason::Isolated { deaths }), _) => WaitsFor::Isolation { deaths },
            (Some(WaitReason::Quarantined { deaths }), _) => WaitsFor::Operator { deaths },
            (Some(WaitReason::DuplicateStep { key }), _) => WaitsFor::OtherProgram { step: key },
            (Some(WaitReason::Sleeping { step }), Some(due_us)) => WaitsFor::Sleep { step, due_us },
            (Some(WaitReason::Sleeping { .. }), None) => self.slot(row),
            (Some(WaitReason::Answer { step, until, .. }), _) => WaitsFor::Answer {
                step,
                question: None,
                until_us: real(until, times),
            },
            (Some(WaitReason::Children { step, until, .. }), _) => WaitsFor::Children {
                step,
                until_us: real(until, times),
            },
            (Some(WaitReason::UnknownOutcome { step }), _) => WaitsFor::StepOutcome { step },
            // INVARIANT: this crate and the storage crate are released together.
            (Some(other), _) => unreachable!("a wait this version does not know: {other:?}"),
        }
    }

    /// It is due: the limit that holds it up is its definition's, where that is reached.
    fn slot(&self, row: &TaskRow) -> WaitsFor {
        let dispatcher = &self.dispatcher;
        let Some(registered) = dispatcher.registry.get(row.def) else {
            return WaitsFor::Handler;
        };
        let (of_kind, of_def) = {
            let def = dispatcher.registry.present(row.def);
            dispatcher.slots.taken(registered.kind(), def)
        };
        let reached = of_def
            .filter(|taken| taken.running >= taken.allowed)
            .filter(|_| !cfg!(planted = "definition_limit_unexplained"));
        let Taken { running, allowed } = reached.unwrap_or(of_kind);
        WaitsFor::Slot {
            running,
            allowed,
            of_definition: reached.is_some(),
            recovering: self.is_recovering(),
        }
    }
}

/// What the clock will show when a deadline comes, if it does.
pub(crate) fn real(until: Deadline, times: Times) -> Option<u64> {
    (until != Deadline::NEVER).then(|| shown(until, times))
}

/// What the clock will show when a deadline comes, if it does not jump any more.
fn shown(deadline: Deadline, times: Times) -> u64 {
    if deadline.line == Line::Wall || cfg!(planted = "explained_by_an_old_clock") {
        return deadline.at.0;
    }
    times.now().plus(times.left_us(deadline)).0
}

fn release(waits_for: &WaitsFor) -> Release {
    match waits_for {
        WaitsFor::Slot { .. } => Release::Slot,
        WaitsFor::Time { due_us }
        | WaitsFor::BackOff { due_us, .. }
        | WaitsFor::Sleep { due_us, .. } => Release::Time { at_us: *due_us },
        WaitsFor::Handler => Release::Handler,
        WaitsFor::Readable { .. } => Release::OpenOrRetry,
        WaitsFor::Input { .. } => Release::Input,
        WaitsFor::Isolation { .. } | WaitsFor::Recovery => Release::Engine,
        WaitsFor::Operator { .. } | WaitsFor::OtherProgram { .. } => Release::Retry,
        WaitsFor::StepOutcome { .. } => Release::Resolve,
        WaitsFor::Answer { .. } => Release::Answer,
        WaitsFor::Children { .. } => Release::Children,
        WaitsFor::TurnEnd { .. } | WaitsFor::FormerCall => Release::TurnEnd,
        WaitsFor::Nothing { ended, .. } => match ended {
            Ended::Succeeded => Release::Restart,
            Ended::Failed(_) | Ended::Cancelled { .. } | Ended::Terminated { .. } => Release::Retry,
        },
    }
}

impl Explanation {
    /// What it waits for, as one sentence.
    pub fn what(&self) -> String {
        match &self.waits_for {
            WaitsFor::Slot {
                running,
                allowed,
                of_definition,
                recovering,
            } => self.what_of_slot(*running, *allowed, *of_definition, *recovering),
            WaitsFor::Time { due_us } => format!(
                "It waits for the moment it was started for, in {}.",
                Length::between(self.at_us, *due_us)
            ),
            WaitsFor::BackOff {
                attempt,
                attempts_max,
                failure,
                ..
            } => {
                let how = failure
                    .as_ref()
                    .map(|failure| format!(" ({:?})", failure.message));
                let how = how.unwrap_or_default();
                format!(
                    "Attempt {attempt} of {attempts_max} failed{how}, and it pauses before the next one."
                )
            }
            WaitsFor::Handler => format!(
                "No program with a handler named {:?} has it open.",
                self.name
            ),
            WaitsFor::Readable { what, expected } => {
                format!("This program cannot read its {what}, which is no {expected}.")
            }
            WaitsFor::Input { reason } => format!("It waits for a further input: {reason:?}."),
            WaitsFor::Isolation { deaths } => format!(
                "The program died {deaths} times in a row while it ran, so it is held back for now."
            ),
            WaitsFor::Operator { deaths } => format!(
                "The program died {deaths} times in a row while it ran, at last while it ran alone, so it is not run any more."
            ),
            WaitsFor::OtherProgram { step } => {
                format!("Its handler has two steps under one key, {step:?}, in one turn.")
            }
            WaitsFor::StepOutcome { step } => format!(
                "Its step {step:?}, which may run only once, was begun, and nobody knows what became of it."
            ),
            WaitsFor::Sleep { step, .. } => format!("Its handler sleeps: {step:?}."),
            WaitsFor::Answer { step, question, .. } => {
                let question = question.as_ref().map(|asked| format!(", {asked:?}"));
                let question = question.unwrap_or_default();
                format!("It waits for the answer to {step:?}{question}.")
            }
            WaitsFor::Children { step, .. } => {
                format!("Its handler waits for tasks that it started: {step:?}.")
            }
            WaitsFor::TurnEnd {
                attempt,
                deadline_us,
                cancel,
            } => self.what_of_turn(*attempt, *deadline_us, cancel.as_deref()),
            WaitsFor::FormerCall => {
                "An earlier call of its handler was given up and has not returned.".to_owned()
            }
            WaitsFor::Recovery => {
                "It ran when the program last ended, and waits to be run again.".to_owned()
            }
            WaitsFor::Nothing { ended, .. } => what_of_end(ended),
        }
    }

    /// Since when, as one sentence.
    pub fn since(&self) -> String {
        format!(
            "It has been so for {}.",
            Length::between(self.since_us, self.at_us)
        )
    }

    /// What would make it go on, as one sentence.
    pub fn how(&self) -> String {
        match self.release {
            Release::Slot => "It goes on by itself as soon as there is room.".to_owned(),
            Release::Time { at_us } => {
                let in_time = Length::between(self.at_us, at_us);
                format!("It goes on by itself in {in_time}.")
            }
            Release::Engine => "It goes on by itself.".to_owned(),
            Release::NextOpen => {
                "It goes on when the program is started again: it is shutting down.".to_owned()
            }
            Release::Handler => format!(
                "It goes on when it is opened by a program that registers a handler named {:?}.",
                self.name
            ),
            Release::OpenOrRetry => {
                "It is tried again whenever the program is started, or when somebody retries it."
                    .to_owned()
            }
            Release::Input => {
                "It goes on when somebody starts it with an input, or resumes it.".to_owned()
            }
            Release::Retry => "It runs again when somebody retries it.".to_owned(),
            Release::Resolve => "It goes on when somebody says what became of the step.".to_owned(),
            Release::Answer => "It goes on when somebody answers.".to_owned(),
            Release::Children => {
                "It goes on when as many of them have ended as it waits for.".to_owned()
            }
            Release::Restart => {
                "It runs again only when somebody restarts it with an input.".to_owned()
            }
            Release::TurnEnd => "It goes on when its handler has ended.".to_owned(),
        }
    }

    fn what_of_slot(
        &self,
        running: usize,
        allowed: usize,
        of_definition: bool,
        recovering: bool,
    ) -> String {
        if running >= allowed && of_definition {
            return format!(
                "It is due, and {running} of the {allowed} tasks named {:?} that may run at once do.",
                self.name
            );
        }
        if running >= allowed {
            return format!(
                "It is due, and {running} of the {allowed} handlers that may run at once do."
            );
        }
        if recovering {
            return "It is due, and what ran when the program last ended is run again first."
                .to_owned();
        }
        "It is due and about to run.".to_owned()
    }

    fn what_of_turn(&self, attempt: u32, deadline_us: Option<u64>, cancel: Option<&str>) -> String {
        let cancelled = cancel.map(|reason| format!("; it was asked to end: {reason:?}"));
        let timed = deadline_us.map(|at| match at > self.at_us {
            true => format!("; its time is up in {}", Length::between(self.at_us, at)),
            false => "; its time is up".to_owned(),
        });
        format!(
            "It runs, attempt {attempt}{}{}.",
            timed.unwrap_or_default(),
            cancelled.unwrap_or_default()
        )
    }
}

fn what_of_end(ended: &Ended) -> String {
    match ended {
        Ended::Succeeded => "It has ended well.".to_owned(),
        Ended::Failed(failure) => format!(
            "It has failed after {} attempts: {:?}.",
            failure.attempts, failure.message
        ),
        Ended::Cancelled { reason } => format!("It was cancelled: {reason:?}."),
        Ended::Terminated {
            reason,
            timed_out: true,
        } => format!("It took too long: {reason:?}."),
        Ended::Terminated { reason, .. } => format!("It was stopped: {reason:?}."),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, since, how) = (self.what(), self.since(), self.how());
        write!(f, "{}: {what} {since} {how}", self.id)
    }
}
