//! A handle to one input of a task: wait for its output, here or after a restart.

use crate::engine::Shared;
use crate::error::ResultError;
use crate::hub::Told;
use crate::machine::{Accepted, TurnAnswer};
use crate::value;
use crate::writer::Stop;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    Outcome as RowOutcome, Payload, Receipt, State, TaskNumber, ValueKey, ValueKind, WaitReason,
};
use outlive_storage::{Store, StoreError};
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// A turn that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome<O> {
    /// What the handler returned.
    pub output: O,
    /// Which turn it was, from 1.
    pub turn: u32,
    /// True when a queued input took over and the task went on.
    pub superseded: bool,
}

/// A handle to one accepted input: it answers for that input alone, whatever the task does later.
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
pub struct Run<O> {
    shared: Arc<Shared>,
    task: TaskNumber,
    id: TaskId,
    input_id: InputId,
    accepted: Option<Accepted>,
    output: PhantomData<fn() -> O>,
}

/// What became of an input, as bytes.
enum Answered {
    Output {
        bytes: Vec<u8>,
        turn: u32,
        superseded: bool,
    },
    Failed(outlive_storage::row::Failure),
    TaskEnded,
    Parked {
        what: Box<str>,
        expected: Box<str>,
    },
}

impl<O> Run<O> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        task: TaskNumber,
        id: TaskId,
        input_id: InputId,
        accepted: Option<Accepted>,
    ) -> Run<O> {
        Run {
            shared,
            task,
            id,
            input_id,
            accepted,
            output: PhantomData,
        }
    }

    /// The task's id.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The input this handle answers for.
    pub fn input_id(&self) -> &InputId {
        &self.input_id
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

impl<O: DeserializeOwned> Run<O> {
    /// Waits for the output. It is durable before this returns.
    ///
    /// # Errors
    /// [`ResultError`]: what to do is in each variant.
    pub async fn result(&self) -> Result<O, ResultError> {
        Ok(self.outcome().await?.output)
    }

    /// As [`Run::result`], with the turn it came from.
    ///
    /// # Errors
    /// As [`Run::result`].
    pub async fn outcome(&self) -> Result<Outcome<O>, ResultError> {
        match self.answered().await? {
            Answered::Output {
                bytes,
                turn,
                superseded,
            } => {
                let output = value::decode(&bytes).map_err(|error| ResultError::Undecodable {
                    id: self.id.clone(),
                    what: "output".into(),
                    expected: format!("{}: {error}", std::any::type_name::<O>()).into(),
                })?;
                Ok(Outcome {
                    output,
                    turn,
                    superseded,
                })
            }
            Answered::Failed(failure) => Err(ResultError::Failed(failure)),
            Answered::TaskEnded => Err(ResultError::TaskEnded),
            Answered::Parked { what, expected } => Err(ResultError::Undecodable {
                id: self.id.clone(),
                what,
                expected,
            }),
        }
    }
}

impl<O> Run<O> {
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
        let waiting = dispatcher.hub.wait(self.task, &self.input_id);
        let will_pass = waiting.as_ref().is_some_and(|waiting| waiting.will_pass);
        if !will_pass && let Some(answered) = self.stored().await? {
            return Ok(Some(answered));
        }
        let Some(mut waiting) = waiting else {
            return Err(self.stopped());
        };
        let answered = match (&mut waiting.told).await {
            Ok(Told::TaskEnded) => Answered::TaskEnded,
            Ok(Told::Parked { what, expected }) => Answered::Parked { what, expected },
            Ok(Told::Answer(TurnAnswer::Failed(failure))) => Answered::Failed(failure),
            Ok(Told::Answer(TurnAnswer::Output {
                payload,
                turn,
                superseded,
            })) => match payload {
                Payload::Inline(bytes) => Answered::Output {
                    bytes,
                    turn,
                    superseded,
                },
                // Too large to be passed on: it is in the store.
                Payload::Stored { .. } => return Ok(None),
            },
            // Told nothing: the store says what became of it, or the hub that it is closed.
            Err(_) => return Ok(None),
        };
        Ok(Some(answered))
    }

    fn stopped(&self) -> ResultError {
        match self.shared.dispatcher.writer.poison.get() {
            Some(Stop::Failed(error)) => ResultError::Store(error),
            Some(Stop::Shutdown) | None => ResultError::ShuttingDown,
        }
    }

    /// The answer, if the store has it.
    async fn stored(&self) -> Result<Option<Answered>, ResultError> {
        let (task, input_id) = (self.task, self.input_id.clone());
        let found = self
            .shared
            .dispatcher
            .reader
            .read(move |store| look(store, task, &input_id))
            .await?;
        match found {
            Stored::Answered(answered) => Ok(Some(answered)),
            Stored::Waits => Ok(None),
            Stored::Missing => Err(ResultError::NotFound {
                id: self.id.clone(),
            }),
        }
    }
}

enum Stored {
    Answered(Answered),
    Waits,
    Missing,
}

fn look(store: &dyn Store, task: TaskNumber, input_id: &InputId) -> Result<Stored, StoreError> {
    let Some(row) = store.get(task)? else {
        return Ok(Stored::Missing);
    };
    let ended = matches!(row.state, State::Completed { .. });
    if row.input_id == *input_id {
        let outcome = match row.state {
            State::Completed { outcome, .. } => outcome,
            State::Suspended {
                wait: WaitReason::Undecodable { what, expected },
                ..
            } => return Ok(Stored::Answered(Answered::Parked { what, expected })),
            State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => {
                return Ok(Stored::Waits);
            }
        };
        return match outcome {
            RowOutcome::Succeeded(payload) => stored_output(store, task, payload, row.turn, false),
            RowOutcome::Failed(failure) => Ok(Stored::Answered(Answered::Failed(failure))),
            // INVARIANT: this crate and the storage crate are released together.
            other => unreachable!("an outcome this version does not know: {other:?}"),
        };
    }
    match store.receipt(task, input_id)? {
        Some(Receipt::Answered { turn, output }) => stored_output(store, task, output, turn, true),
        // The queue of an ended task is never worked on, so its inputs ended with it.
        Some(Receipt::Queued { .. }) if ended => Ok(Stored::Answered(Answered::TaskEnded)),
        // Between the look at the row and the look at the receipt the turn may have begun.
        Some(Receipt::Queued { .. } | Receipt::Turn { .. }) => Ok(Stored::Waits),
        Some(_) => Ok(Stored::Answered(Answered::TaskEnded)),
        None => Ok(Stored::Missing),
    }
}

fn stored_output(
    store: &dyn Store,
    task: TaskNumber,
    payload: Payload,
    turn: u32,
    superseded: bool,
) -> Result<Stored, StoreError> {
    let bytes = match payload {
        Payload::Inline(bytes) => Some(bytes),
        Payload::Stored { .. } => output(store, task, turn)?,
    };
    let found = |bytes| {
        Stored::Answered(Answered::Output {
            bytes,
            turn,
            superseded,
        })
    };
    Ok(bytes.map_or(Stored::Missing, found))
}

fn output(store: &dyn Store, task: TaskNumber, turn: u32) -> Result<Option<Vec<u8>>, StoreError> {
    store.value(ValueKey {
        task,
        kind: ValueKind::Output,
        index: u64::from(turn),
    })
}

impl<O: DeserializeOwned + 'static> IntoFuture for Run<O> {
    type Output = Result<O, ResultError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.result().await })
    }
}

impl<O> std::fmt::Debug for Run<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("input_id", &self.input_id)
            .finish_non_exhaustive()
    }
}
