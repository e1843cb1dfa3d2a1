//! Answering an open question of a task.

use crate::asks::OpenAsk;
use crate::engine::{Engine, Shared};
use crate::error::ControlError;
use crate::machine::{Event, Given, Rejected, Unanswered};
use crate::request::Draft;
use crate::step_key::StepKey;
use crate::value::{self, ValueError};
use crate::writer::{Origin, Refused, Target};
use outlive_storage::id::{InvalidId, TaskId};
use outlive_storage::row::{Etag, Micros, StepRow, StepState};
use serde::Serialize;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

/// Why an answer was not taken. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The answer cannot be kept (it has no JSON form, or more than 10 MiB): the error inside says what to change.
    #[error(transparent)]
    Answer(#[from] ValueError),
    /// No such question is open: it was never asked, or the turn that asked is over. [`Engine::asks`] lists those that
    /// are.
    #[error("task {id} does not ask {key:?}; list the open questions")]
    NotAsked {
        /// The task.
        id: TaskId,
        /// The key.
        key: String,
    },
    /// It was answered before: the first answer counts, and [`Engine::steps`](crate::Engine::steps) has it.
    #[error("task {id} was answered {key:?} before; the first answer counts")]
    AlreadyAnswered {
        /// The task.
        id: TaskId,
        /// The key.
        key: String,
        /// Whether that was the same answer: whoever did not learn whether the first call arrived has nothing to do.
        same: bool,
    },
    /// Its deadline has passed, and its default counts, or that nobody answered. There is nothing to do; start the task
    /// anew if it must be decided after all.
    #[error("the time to answer {key:?} of task {id} is over")]
    Expired {
        /// The task.
        id: TaskId,
        /// The key.
        key: String,
    },
    /// The task asks another question under this key than the answer is for: look at it and decide anew.
    #[error(
        "task {id} asks another question under {key:?}, {expected}; look at it and decide anew"
    )]
    DigestMismatch {
        /// The task.
        id: TaskId,
        /// The key.
        key: String,
        /// The digest of the question that is open.
        expected: String,
    },
    /// What the error inside says: there is no such task; it is not as the caller saw it; the engine has stopped; the store
    /// failed, in which case (`Unknown`) the answer may have been taken: open again and answer once more.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl From<InvalidId> for AnswerError {
    fn from(error: InvalidId) -> Self {
        AnswerError::Control(error.into())
    }
}

impl AnswerError {
    fn from_refused(refused: Refused, id: TaskId, key: StepKey) -> AnswerError {
        let Refused::Rejected(Rejected::Unanswered(why)) = refused else {
            return ControlError::from_refused(refused, id).into();
        };
        let key = key.as_str().to_owned();
        match why {
            Unanswered::NotAsked => AnswerError::NotAsked { id, key },
            Unanswered::Before { same } => AnswerError::AlreadyAnswered { id, key, same },
            Unanswered::TooLate => AnswerError::Expired { id, key },
            Unanswered::OtherQuestion { digest } => AnswerError::DigestMismatch {
                id,
                key,
                expected: digest.into(),
            },
        }
    }
}

/// An answer under way; awaiting it returns once it is durable.
#[must_use = "nothing is answered until it is awaited"]
pub struct AnswerAsk {
    shared: Arc<Shared>,
    id: Result<TaskId, InvalidId>,
    key: StepKey,
    answer: Result<StepRow, ValueError>,
    digest: Option<Box<str>>,
    turn: Option<(u32, u32)>,
    if_etag: Option<u64>,
}

impl AnswerAsk {
    /// Taken only if the question is still the one with this digest ([`OpenAsk::digest`](crate::OpenAsk)): what somebody
    /// has seen is what is answered. Else [`AnswerError::DigestMismatch`].
    pub fn digest(mut self, digest: impl AsRef<str>) -> Self {
        self.digest = Some(digest.as_ref().into());
        self
    }

    /// Taken only for this very question, as it was listed: the one with its digest, and asked by its turn. A later turn
    /// may ask the same again, and is another matter. Else [`AnswerError::DigestMismatch`].
    pub fn to(mut self, asked: &OpenAsk) -> Self {
        self.turn = Some((asked.run, asked.turn));
        self.digest(&asked.digest)
    }

    /// Taken only if the task's etag is still this one; else [`ControlError::PreconditionFailed`].
    pub fn if_etag(mut self, etag: u64) -> Self {
        self.if_etag = Some(etag);
        self
    }
}

impl IntoFuture for AnswerAsk {
    type Output = Result<(), AnswerError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let id = self.id?;
            let given = Given {
                key: self.key.as_str().into(),
                answer: Box::new(self.answer?),
                digest: self.digest,
                turn: self.turn,
                if_etag: self.if_etag.map(Etag),
            };
            let draft = Draft::bare(Target::Id(id.clone()), Event::Answer(given));
            let writer = &self.shared.dispatcher.writer;
            let told = writer.ask(Origin::Caller, draft).await;
            told.map(drop)
                .map_err(|refused| AnswerError::from_refused(refused, id, self.key))
        })
    }
}

impl Engine {
    /// Answers a question of a task's handler ([`Ctx::ask`](crate::Ctx::ask)): durable when awaited, and taken once. In
    /// the same commit the question leaves the list and the task goes on. It is taken while the turn still runs, too, and by
    /// an engine without a handler for it. Only the engine that has the file open can answer: a program of its own answers
    /// while the asking one is not running. That the answer fits is for its handler to say: one that it cannot read puts
    /// its task aside.
    ///
    /// ```
    /// # use outlive::{AnswerError, Ask, Ctx, Engine, HandlerError, TaskDef};
    /// # const NAME: TaskDef<(), String> = TaskDef::new("name");
    /// # async fn name(ctx: Ctx, (): ()) -> Result<String, HandlerError> { Ok(ctx.ask("who", Ask::new("who are you?")).await?) }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().task(NAME, name).open().await?;
    /// let run = engine.start(NAME, "a", &()).await?;
    /// # while engine.ask("a", "who").await?.is_none() { tokio::task::yield_now().await; }
    /// for ask in engine.asks().await?.asks {
    ///     engine.answer(&ask.id, &ask.key, &"Ada").digest(&ask.digest).await?;
    /// }
    /// assert_eq!(run.result().await?, "Ada");
    /// let again = engine.answer("a", "who", &"Ada").await;
    /// assert!(matches!(again, Err(AnswerError::AlreadyAnswered { same: true, .. })));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Awaited, [`AnswerError`]: what to do is in each variant.
    pub fn answer<T: Serialize + ?Sized>(
        &self,
        id: impl AsRef<str>,
        key: impl Into<StepKey>,
        answer: &T,
    ) -> AnswerAsk {
        let step = |value| StepRow {
            // What is answered is the machine's to say.
            state: StepState::Done,
            attempt: 0,
            at: Micros(0),
            type_name: std::any::type_name::<T>().into(),
            value,
        };
        AnswerAsk {
            shared: Arc::clone(self.shared()),
            id: TaskId::new(id),
            key: key.into(),
            answer: value::encode("answer", answer).map(step),
            digest: None,
            turn: None,
            if_etag: None,
        }
    }
}
