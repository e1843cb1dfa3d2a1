//! Looking at the steps of a task, and saying what became of one that nobody knows of.

use crate::control::order;
use crate::engine::{Engine, Shared};
use crate::error::{ControlError, GetError};
use crate::machine::{self, Event};
use crate::value::{self, ValueError};
use crate::writer::Target;
use outlive_storage::Store;
use outlive_storage::id::{InvalidId, TaskId};
use outlive_storage::row::{Etag, Failure, FailureKind, Micros, StepRow, StepState};
use outlive_storage::store::PAGE_MAX;
use serde::Serialize;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

/// A step of a task's turn, as it is recorded.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, TaskDef};
/// # const PAY: TaskDef<u32, u32> = TaskDef::new("pay");
/// # async fn pay(ctx: Ctx, n: u32) -> Result<u32, HandlerError> {
/// #     Ok(ctx.step("double", || async { Ok::<_, std::io::Error>(n * 2) }).await?)
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(PAY, pay).open().await?;
/// engine.start(PAY, "a", &21).await?.result().await?;
/// let steps = engine.steps("a").await?;
/// assert_eq!((&*steps[0].key, steps[0].result.as_deref()), ("double", Some("42")));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Its key within the turn.
    pub key: String,
    /// The result as JSON; empty for a step that may run only once, was begun, and whose result is not recorded, for a
    /// wait that is not over, and for a question that expired without a default.
    pub result: Option<String>,
    /// When a sleep is over, in microseconds since 1970 UTC; empty for what is no sleep, and when it is over.
    pub sleeps_until_us: Option<u64>,
    /// The type of the result in the program that recorded it.
    pub type_name: String,
    /// The attempt of the turn that recorded it.
    pub attempt: u32,
    /// When, in microseconds since 1970 UTC.
    pub at_us: u64,
}

impl Step {
    fn of(key: Box<str>, step: StepRow) -> Step {
        let text = String::from_utf8_lossy(&step.value).into_owned();
        Step {
            key: key.into(),
            result: is_recorded(&step).then_some(text),
            sleeps_until_us: match step.state {
                StepState::Sleeping { until } => Some(until.at.0),
                StepState::Begun
                | StepState::Done
                | StepState::Asked { .. }
                | StepState::Answered { .. }
                | StepState::Expired { .. } => None,
            },
            type_name: step.type_name.into(),
            attempt: step.attempt,
            at_us: step.at.0,
        }
    }
}

/// Whether there is a result.
fn is_recorded(step: &StepRow) -> bool {
    match step.state {
        StepState::Done | StepState::Answered { .. } => true,
        StepState::Expired { .. } => !step.value.is_empty(),
        StepState::Begun | StepState::Sleeping { .. } | StepState::Asked { .. } => false,
    }
}

/// What became of a step that was begun and whose result was not recorded.
#[derive(Debug)]
pub struct Resolution(Result<machine::Resolution, ValueError>);

impl Resolution {
    /// It happened, with this result: the turn goes on with it.
    pub fn done<T: Serialize>(result: &T) -> Resolution {
        let step = |value| StepRow {
            state: StepState::Done,
            attempt: 0,
            at: Micros(0),
            type_name: std::any::type_name::<T>().into(),
            value,
        };
        let value = value::encode("result of a step", result);
        Resolution(value.map(|value| machine::Resolution::Done(Box::new(step(value)))))
    }

    /// It did not happen: the turn runs it.
    pub fn not_done() -> Resolution {
        Resolution(Ok(machine::Resolution::NotDone))
    }

    /// Whatever happened, the task ends as failed, for this reason. At most 4,096 bytes of it are kept.
    pub fn failed(message: impl Into<String>) -> Resolution {
        Resolution(Ok(machine::Resolution::Failed(Failure {
            kind: FailureKind::Error,
            message: crate::ended::cut(message.into(), Failure::MESSAGE_MAX),
            chain: Vec::new(),
            attempts: 0,
        })))
    }
}

/// Why a step was not resolved. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The result cannot be kept: the error inside says what to change.
    #[error(transparent)]
    Result(#[from] ValueError),
    /// What the error inside says; a conflict: the task does not wait for this step. [`Engine::explain`] tells which.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl From<InvalidId> for ResolveError {
    fn from(error: InvalidId) -> Self {
        ResolveError::Control(error.into())
    }
}

/// A resolution under way; awaiting it returns once it is durable.
#[must_use = "nothing is resolved until it is awaited"]
pub struct Resolve {
    shared: Arc<Shared>,
    id: Result<TaskId, InvalidId>,
    key: Box<str>,
    resolution: Resolution,
    if_etag: Option<u64>,
}

impl Resolve {
    /// Carried out only if the task's etag is still this one; else [`ControlError::PreconditionFailed`].
    pub fn if_etag(mut self, etag: u64) -> Self {
        self.if_etag = Some(etag);
        self
    }
}

impl IntoFuture for Resolve {
    type Output = Result<(), ResolveError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let id = self.id?;
            let event = Event::Resolve {
                key: self.key,
                resolution: self.resolution.0?,
                if_etag: self.if_etag.map(Etag),
            };
            order(&self.shared, Target::Id(id.clone()), id, event).await?;
            Ok(())
        })
    }
}

impl Engine {
    /// Says what became of the step a task waits for ([`WaitReason::UnknownOutcome`](crate::WaitReason::UnknownOutcome)
    /// names it): the task goes on with that, or ends. Durable when awaited.
    ///
    /// # Errors
    /// Awaited, [`ResolveError`]: what to do is in each variant. `Conflict`, in the [`ControlError`] inside, for a task that
    /// does not wait for this step.
    pub fn resolve(
        &self,
        id: impl AsRef<str>,
        step: impl Into<crate::StepKey>,
        resolution: Resolution,
    ) -> Resolve {
        Resolve {
            shared: Arc::clone(self.shared()),
            id: TaskId::new(id),
            key: step.into().as_str().into(),
            resolution,
            if_etag: None,
        }
    }

    /// The recorded steps of a task's latest turn, by key; none for an unknown task. A turn has at most
    /// [`STEPS_MAX`](crate::STEPS_MAX).
    ///
    /// # Errors
    /// [`GetError`]; a damaged step is an error, never a missing one.
    pub async fn steps(&self, id: impl AsRef<str>) -> Result<Vec<Step>, GetError> {
        let id = TaskId::new(id)?;
        let read = move |store: &dyn Store| {
            let mut steps: Vec<(Box<str>, StepRow)> = Vec::new();
            let Some(task) = store.find(&id)? else {
                return Ok(steps);
            };
            let Some(row) = store.get(task)? else {
                return Ok(steps);
            };
            loop {
                let after = steps.last().map(|(key, _)| key.clone());
                let page = store.steps(task, row.steps_of, after.as_deref(), PAGE_MAX)?;
                let through = page.len() < PAGE_MAX;
                steps.extend(page);
                if through {
                    return Ok(steps);
                }
            }
        };
        let steps = self.shared().dispatcher.reader.read(read).await?;
        Ok(steps
            .into_iter()
            .map(|(key, step)| Step::of(key, step))
            .collect())
    }
}
