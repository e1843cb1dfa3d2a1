//! A handle to one input of a task: wait for its output, here or after a restart.

use crate::answered::{Answered, Known, Stored, ended_without, from_result, look};
use crate::control;
use crate::engine::Shared;
use crate::error::{AttachError, ControlError, ResultError};
use crate::hub::{Expecting, Told};
use crate::input_error::InputError;
use crate::machine::{Accepted, Aim, Event, Named, Order, Status};
use crate::outcome::Outcome;
use crate::receipt::InputStatus;
use crate::snapshot::{MetadataMap, Snapshot};
use crate::value;
use crate::writer::{Stop, Target};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::TaskNumber;
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// A handle to one accepted input in one run of its task: it answers for that alone, whatever the task does later.
///
/// It can be dropped and made anew at any time, in any process: the task goes on, and
/// [`Engine::attach`](crate::Engine::attach) or the same start with the same ids gives it back.
/// Awaiting it waits for the output.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, TaskDef};
/// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
/// engine.start(ECHO, "a", &1).await?;
/// assert_eq!(engine.attach(ECHO, "a").await?.await?, 1);
/// # Ok(()) }
/// ```
pub struct Run<O, S = ()> {
    shared: Arc<Shared>,
    task: TaskNumber,
    id: TaskId,
    named: Named,
    accepted: Option<Accepted>,
    /// Keeps the answer of a task that is gone with its end.
    _expecting: Option<Expecting>,
    output: PhantomData<fn() -> (O, S)>,
}

impl<O, S> Run<O, S> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        task: TaskNumber,
        id: TaskId,
        named: Named,
        accepted: Option<Accepted>,
    ) -> Run<O, S> {
        Run {
            shared,
            task,
            id,
            named,
            accepted,
            _expecting: None,
            output: PhantomData,
        }
    }

    /// Holds on to the answer of a task that is gone with its end.
    pub(crate) fn expecting(self, expecting: Option<Expecting>) -> Run<O, S> {
        Run {
            _expecting: expecting,
            ..self
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn task(&self) -> TaskNumber {
        self.task
    }

    /// The task's id.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The input this handle answers for.
    pub fn input_id(&self) -> &InputId {
        &self.named.input_id
    }

    /// The run of the task this handle answers for, from 1. A further run of the same input
    /// ([`Engine::retry`](crate::Engine::retry)) has a handle of its own.
    pub fn run(&self) -> u32 {
        self.named.run
    }

    /// How the input was accepted; empty for a handle from `attach`.
    pub fn accepted(&self) -> Option<Accepted> {
        self.accepted
    }

    /// Whether the input was queued behind a running turn when it was accepted.
    pub fn is_queued(&self) -> bool {
        self.accepted == Some(Accepted::Queued)
    }
}

impl<O: DeserializeOwned, S> Run<O, S> {
    /// Waits for the output. It is durable before this returns. While the task is put aside for a step
    /// ([`WaitReason::UnknownOutcome`](crate::WaitReason::UnknownOutcome),
    /// [`WaitReason::DuplicateStep`](crate::WaitReason::DuplicateStep)) this waits until somebody releases it:
    /// [`Engine::explain`](crate::Engine::explain) says so.
    ///
    /// # Errors
    /// [`ResultError`]: what to do is in each variant.
    pub async fn result(&self) -> Result<O, ResultError> {
        Ok(self.outcome().await?.into_output())
    }

    /// As [`Run::result`], with the turn it came from, and whether the task waits for more.
    ///
    /// # Errors
    /// As [`Run::result`].
    pub async fn outcome(&self) -> Result<Outcome<O>, ResultError> {
        self.decoded(self.answered().await?)
    }

    /// As [`Run::result`], for who was told the answer before, or that none will pass.
    pub(crate) async fn result_told(&self, told: Option<Told>) -> Result<O, ResultError> {
        let answered = match told.and_then(|told| self.made_of(told)) {
            Some(answered) => answered,
            None => self.answered().await?,
        };
        Ok(self.decoded(answered)?.into_output())
    }

    fn decoded(&self, answered: Answered) -> Result<Outcome<O>, ResultError> {
        let (bytes, turn, suspended, superseded) = match answered {
            Answered::Error(error) => return Err(error),
            Answered::Replied {
                bytes,
                turn,
                suspended,
                superseded,
            } => (bytes, turn, suspended, superseded),
        };
        let output = value::decode(&bytes).map_err(|error| ResultError::Undecodable {
            id: self.id.clone(),
            what: "output".into(),
            expected: format!("{}: {error}", std::any::type_name::<O>()).into(),
        })?;
        Ok(match suspended {
            None => Outcome::Completed {
                output,
                turn,
                superseded,
            },
            Some(reason) => Outcome::Suspended {
                output,
                reason,
                turn,
                superseded,
            },
        })
    }
}

impl<O, S> Run<O, S> {
    /// Asks for the end of this input's turn. Durable when this returns. A queued input is taken back; where the
    /// task waits it ends at once; a running handler is told ([`Ctx::cause`](crate::Ctx::cause)), and its own reply
    /// still counts. On a steerable task, or one that was ever suspended, only the turn ends and the task goes on;
    /// [`Engine::cancel`](crate::Engine::cancel) is for the task.
    ///
    /// # Errors
    /// [`ControlError`]; `Conflict` when the turn of this input has ended, so that it never hits a later one.
    pub async fn cancel(&self, reason: impl Into<String>) -> Result<(), ControlError> {
        let event = Event::Cancel(self.order(reason));
        control::order(
            &self.shared,
            Target::Number(self.task),
            self.id.clone(),
            event,
        )
        .await
    }

    fn order(&self, reason: impl Into<String>) -> Order {
        Order {
            aim: Aim::Input(self.named.clone()),
            reason: control::reason(reason),
            if_etag: None,
            instance: self.shared.dispatcher.claimant.instance,
        }
    }

    /// Stops this input's turn at once, without its handler, whose future is dropped; a queued input is taken back.
    /// Durable when this returns: nothing the handler still does is recorded. On a steerable task, or one that was ever
    /// suspended, only the turn ends and the task goes on; [`Engine::terminate`](crate::Engine::terminate) is for the
    /// task.
    ///
    /// # Errors
    /// As [`Run::cancel`].
    pub async fn terminate(&self, reason: impl Into<String>) -> Result<(), ControlError> {
        let event = Event::Terminate(self.order(reason));
        control::order(
            &self.shared,
            Target::Number(self.task),
            self.id.clone(),
            event,
        )
        .await
    }

    /// The task as of its last commit.
    ///
    /// # Errors
    /// [`AttachError`]: it was removed, or cannot be read.
    pub async fn refresh(&self) -> Result<Snapshot, AttachError> {
        let found = self.shared.snapshot(self.task).await?;
        found.ok_or_else(|| AttachError::NotFound(self.id.clone()))
    }

    /// What became of the input; see [`Engine::input`](crate::Engine::input).
    ///
    /// # Errors
    /// As for [`Engine::input`](crate::Engine::input).
    pub async fn receipt(&self) -> Result<InputStatus, InputError> {
        let (id, input_id) = (self.id.clone(), self.input_id().clone());
        self.shared.input(self.task, id, input_id).await
    }

    /// Where the task stands.
    ///
    /// # Errors
    /// As [`Run::refresh`].
    pub async fn status(&self) -> Result<Status, AttachError> {
        Ok(self.refresh().await?.status)
    }

    /// The task's metadata as of its last commit, by namespace.
    ///
    /// # Errors
    /// As [`Run::refresh`].
    pub async fn metadata(&self) -> Result<MetadataMap, AttachError> {
        Ok(self.refresh().await?.metadata)
    }

    /// Removes the task, unless it runs; see [`Engine::delete`](crate::Engine::delete).
    ///
    /// # Errors
    /// As for [`Engine::delete`](crate::Engine::delete).
    pub async fn delete(&self) -> Result<bool, ControlError> {
        let event = Event::Delete {
            force: false,
            if_etag: None,
        };
        let ordered = control::order(
            &self.shared,
            Target::Number(self.task),
            self.id.clone(),
            event,
        );
        control::existed(ordered.await)
    }
}

impl<O, S> Run<O, S> {
    async fn answered(&self) -> Result<Answered, ResultError> {
        loop {
            if let Some(answered) = self.waited().await? {
                return Ok(answered);
            }
        }
    }

    /// The answer, or nothing when the engine took back its word that one would come: then the store is asked.
    async fn waited(&self) -> Result<Option<Answered>, ResultError> {
        let dispatcher = &self.shared.dispatcher;
        // First in the queue, then a look into the store: an answer between the two cannot be missed.
        let waiting = dispatcher.hub.wait(self.task, &self.named);
        let will_pass = waiting.as_ref().is_some_and(|waiting| waiting.will_pass);
        if !will_pass && let Some(answered) = self.stored().await? {
            return Ok(Some(answered));
        }
        let Some(mut waiting) = waiting else {
            return Err(self.stopped());
        };
        // Told nothing: the store says what became of it, or the hub that it is closed.
        let told = (&mut waiting.told).await.ok();
        Ok(told.and_then(|told| self.made_of(told)))
    }

    /// The answer a waiter was told; nothing, when it is too large to be passed on: it is in the store.
    fn made_of(&self, told: Told) -> Option<Answered> {
        match told {
            Told::TaskEnded => Some(Answered::Error(ended_without(&self.id))),
            Told::Withdrawn(reason) => Some(Answered::Error(ResultError::Cancelled { reason })),
            Told::Parked { what, expected } => Some(Answered::Error(self.parked(what, expected))),
            Told::Answer(told) => match from_result(told.result, told.turn) {
                Known::Answered(answered) => Some(answered),
                Known::Stored(..) => None,
            },
        }
    }

    fn parked(&self, what: Box<str>, expected: Box<str>) -> ResultError {
        ResultError::Undecodable {
            id: self.id.clone(),
            what,
            expected,
        }
    }

    fn stopped(&self) -> ResultError {
        match self.shared.dispatcher.writer.poison.get() {
            Some(Stop::Failed(error)) => ResultError::Store(error),
            Some(Stop::Shutdown) | None => ResultError::ShuttingDown,
        }
    }

    /// The answer, if the store has it.
    async fn stored(&self) -> Result<Option<Answered>, ResultError> {
        let (task, named) = (self.task, self.named.clone());
        let found = self
            .shared
            .dispatcher
            .reader
            .read(move |store| look(store, task, &named))
            .await?;
        match found {
            Stored::Answered(answered) => Ok(Some(answered)),
            Stored::Parked { what, expected } => {
                Ok(Some(Answered::Error(self.parked(what, expected))))
            }
            Stored::Waits => Ok(None),
            Stored::Missing => Err(ResultError::NotFound {
                id: self.id.clone(),
            }),
        }
    }
}

impl<O: DeserializeOwned + 'static, S: 'static> IntoFuture for Run<O, S> {
    type Output = Result<O, ResultError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.result().await })
    }
}

impl<O, S> std::fmt::Debug for Run<O, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("input_id", &self.named.input_id)
            .field("run", &self.named.run)
            .finish_non_exhaustive()
    }
}
