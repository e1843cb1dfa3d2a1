//! Orders to a task from outside: cancel, terminate, delete, resume, retry.

use crate::def::TaskDef;
use crate::ended::cut;
use crate::engine::{Engine, Shared};
use crate::env;
use crate::error::{ControlError, ReenterError};
use crate::machine::{self, Aim, Answer, Event};
use crate::request::Draft;
use crate::run::Run;
use crate::writer::{Origin, Target, Told};
use outlive_storage::id::{InputId, InvalidId, TaskId};
use outlive_storage::row::Etag;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// Longest kept reason of a cancel or a termination, in bytes.
const REASON_MAX: usize = 1024;

/// A reason as it is kept: at most 1,024 bytes of it.
pub(crate) fn reason(reason: impl Into<String>) -> Box<str> {
    cut(reason.into(), REASON_MAX)
}

/// Sends an order and waits until it is durable.
pub(crate) async fn order(
    shared: &Shared,
    target: Target,
    id: TaskId,
    event: Event,
) -> Result<(), ControlError> {
    let draft = Draft::bare(target, event);
    let told = shared.dispatcher.writer.ask(Origin::Caller, draft).await;
    told.map(drop)
        .map_err(|refused| ControlError::from_refused(refused, id))
}

/// For removals: a task that is not there is removed already.
pub(crate) fn existed(ordered: Result<(), ControlError>) -> Result<bool, ControlError> {
    match ordered {
        Ok(()) => Ok(true),
        Err(ControlError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is asked of a task.
enum What {
    Cancel(Box<str>),
    Terminate(Box<str>),
}

/// An order to a task under way; awaiting it returns once it is durable.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, Status, TaskDef};
/// # const WAIT: TaskDef<(), ()> = TaskDef::new("wait");
/// # async fn wait(ctx: Ctx, (): ()) -> Result<(), HandlerError> { ctx.cancelled().await; Err(HandlerError::cancelled()) }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(WAIT, wait).open().await?;
/// let run = engine.start(WAIT, "a", &()).await?;
/// engine.cancel("a", "not needed any more").await?;
/// assert!(run.result().await.is_err());
/// assert_eq!(run.status().await?, Status::Completed);
/// # Ok(()) }
/// ```
#[must_use = "an order does nothing until it is awaited"]
pub struct Order {
    shared: Arc<Shared>,
    id: Result<TaskId, InvalidId>,
    what: What,
    if_etag: Option<u64>,
}

impl Order {
    /// Carried out only if the task's etag is still this one; else [`ControlError::PreconditionFailed`].
    pub fn if_etag(mut self, etag: u64) -> Self {
        self.if_etag = Some(etag);
        self
    }
}

impl IntoFuture for Order {
    type Output = Result<(), ControlError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let id = self.id?;
            let if_etag = self.if_etag.map(Etag);
            let instance = self.shared.dispatcher.claimant.instance;
            let of_task = |reason| machine::Order {
                aim: Aim::Task,
                reason,
                if_etag,
                instance,
            };
            let event = match self.what {
                What::Cancel(reason) => Event::Cancel(of_task(reason)),
                What::Terminate(reason) => Event::Terminate(of_task(reason)),
            };
            order(&self.shared, Target::Id(id.clone()), id, event).await
        })
    }
}

/// A removal under way; awaiting it returns once it is durable: true when there was such a task.
#[must_use = "a removal does nothing until it is awaited"]
pub struct Delete {
    shared: Arc<Shared>,
    id: Result<TaskId, InvalidId>,
    force: bool,
    if_etag: Option<u64>,
}

impl Delete {
    /// Also while the task runs: its handler is fenced off and dropped.
    pub fn force(mut self) -> Self {
        self.force = true;
        self
    }

    /// Carried out only if the task's etag is still this one; else [`ControlError::PreconditionFailed`].
    pub fn if_etag(mut self, etag: u64) -> Self {
        self.if_etag = Some(etag);
        self
    }
}

impl IntoFuture for Delete {
    type Output = Result<bool, ControlError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let id = self.id?;
            let event = Event::Delete {
                force: self.force,
                if_etag: self.if_etag.map(Etag),
            };
            existed(order(&self.shared, Target::Id(id.clone()), id, event).await)
        })
    }
}

/// How a task is entered again.
pub(crate) enum Again {
    Resume,
    Retry,
}

/// A resumption or a retry under way; awaiting it returns a handle once it is durable.
#[must_use = "nothing happens until it is awaited"]
pub struct Reenter<O, S = ()> {
    shared: Arc<Shared>,
    /// Empty: whatever definition the task has.
    name: Option<&'static str>,
    id: Result<TaskId, InvalidId>,
    input_id: Option<String>,
    again: Again,
    if_etag: Option<u64>,
    from_start: bool,
    output: PhantomData<fn() -> (O, S)>,
}

impl<O, S> Reenter<O, S> {
    /// Of a resumption: the idempotency key of the further turn, by the rules of ids. Given again, also after a crash, it
    /// attaches to the turn it began; without it, one is generated. A retry works its input again, under the id that has.
    pub fn input_id(mut self, id: impl Into<String>) -> Self {
        self.input_id = Some(id.into());
        self
    }

    /// Of a retry: without the steps recorded so far, which are kept otherwise; what they emitted is abandoned. A turn
    /// that was put aside goes on and keeps its steps, so this is a `Conflict` for it: [cancel](crate::Engine::cancel)
    /// the task first, then begin again. A resumption begins a turn of its own, which has none.
    pub fn from_start(mut self) -> Self {
        self.from_start = true;
        self
    }

    /// Carried out only if the task's etag is still this one; else [`ControlError::PreconditionFailed`].
    pub fn if_etag(mut self, etag: u64) -> Self {
        self.if_etag = Some(etag);
        self
    }

    async fn send(self) -> Result<Run<O, S>, ReenterError> {
        let id = self.id.map_err(ControlError::from)?;
        let input_id = self.input_id.map(InputId::new).transpose();
        let input_id = input_id.map_err(ControlError::from)?;
        let found = self.shared.row(id.clone()).await;
        let Some((task, row)) = found.map_err(ControlError::from)? else {
            return Err(ControlError::NotFound(id).into());
        };
        let dispatcher = &self.shared.dispatcher;
        let name = dispatcher.registry.name(row.def);
        let other = self.name.is_some_and(|wanted| wanted != name);
        if other && !cfg!(planted = "definition_unchecked") {
            let name = name.to_owned();
            return Err(ReenterError::OtherDefinition { id, name });
        }
        // Without a handler here it waits for a program that has one.
        let registered = dispatcher.registry.get(row.def);
        let slot = registered.and_then(|registered| {
            let def = dispatcher.registry.present(row.def);
            dispatcher.slots.take_for_start(registered.kind(), def)
        });
        let claimant = slot.is_some().then(|| dispatcher.claimant.clone());
        let if_etag = self.if_etag.map(Etag);
        let event = match self.again {
            Again::Resume => Event::Resume {
                input_id: if cfg!(planted = "resumption_reuses_input_id") {
                    row.input_id
                } else {
                    input_id.unwrap_or_else(fresh_input_id)
                },
                if_etag,
                claimant,
            },
            Again::Retry => Event::Retry {
                if_etag,
                from_start: self.from_start,
                claimant,
            },
        };
        let draft = Draft {
            slot,
            ..Draft::bare(Target::Number(task), event)
        };
        let told = dispatcher.writer.ask(Origin::Caller, draft).await;
        self.shared.clone().reentered(told, id)
    }
}

impl Shared {
    fn reentered<O, S>(self: Arc<Self>, told: Told, id: TaskId) -> Result<Run<O, S>, ReenterError> {
        match told {
            Ok(done) => match done.answer {
                Answer::Accepted { how, named } => {
                    let run = Run::new(self, done.task, id, named, Some(how));
                    Ok(run.expecting(done.expecting))
                }
                // The machine answers these with an acceptance; anything else would be a bug told as a closed store.
                Answer::Done | Answer::Recovered(_) | Answer::Taken(_) => {
                    Err(ControlError::ShuttingDown.into())
                }
            },
            Err(refused) => Err(ControlError::from_refused(refused, id).into()),
        }
    }
}

fn fresh_input_id() -> InputId {
    // INVARIANT: the text of a UUID keeps the rules of ids.
    InputId::new(env::fresh_id(&mut [0; _])).expect("a UUID is an id")
}

impl<O: 'static, S: 'static> IntoFuture for Reenter<O, S> {
    type Output = Result<Run<O, S>, ReenterError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl Engine {
    /// Asks for the end of a task. Durable when awaited: a task that waits ends at once as cancelled; the handler
    /// of a running one is told ([`Ctx::cause`](crate::Ctx::cause)), and its own reply still counts; after a crash
    /// it is not entered again, and one that still waits to be entered again ends at once. A task just started may still
    /// wait for its slot, and then ends without its handler.
    /// The reason is kept to 1,024 bytes; a second cancel changes nothing.
    ///
    /// # Errors
    /// Awaited, [`ControlError`]: what to do is in each variant. `Conflict` for a task that has ended.
    pub fn cancel(&self, id: impl AsRef<str>, why: impl Into<String>) -> Order {
        self.order(id, What::Cancel(reason(why)))
    }

    /// Stops a task at once, without its handler, whose future is dropped. Durable when awaited: nothing the handler
    /// still does is recorded, and it is never recovered. A blocking handler's thread runs on.
    ///
    /// # Errors
    /// Awaited, [`ControlError`]: what to do is in each variant. `Conflict` for a task that has ended.
    pub fn terminate(&self, id: impl AsRef<str>, why: impl Into<String>) -> Order {
        self.order(id, What::Terminate(reason(why)))
    }

    fn order(&self, id: impl AsRef<str>, what: What) -> Order {
        Order {
            shared: Arc::clone(self.shared()),
            id: TaskId::new(id),
            what,
            if_etag: None,
        }
    }

    /// Removes a task and all that belongs to it, unless it runs. Awaited, it answers whether there was one;
    /// whoever waits for a turn of it gets `Cancelled`. The bytes stay readable in the file until their pages are
    /// used again.
    ///
    /// # Errors
    /// Awaited, [`ControlError`]: what to do is in each variant. `Conflict` for a task that runs, unless it is
    /// [forced](Delete::force).
    pub fn delete(&self, id: impl AsRef<str>) -> Delete {
        Delete {
            shared: Arc::clone(self.shared()),
            id: TaskId::new(id),
            force: false,
            if_etag: None,
        }
    }

    /// Enters a task that waits for an input without a new one: a further turn, with the bytes of the last input
    /// under an id of their own, [`Entry::Resumed`](crate::Entry::Resumed).
    ///
    /// # Errors
    /// Awaited, [`ReenterError`]: what to do is in each variant. `Conflict`, in the [`ControlError`] inside, for a task that
    /// does not wait for an input.
    pub fn resume<I, O, S>(&self, def: TaskDef<I, O, S>, id: impl AsRef<str>) -> Reenter<O, S> {
        self.reenter(Some(def.name()), id, Again::Resume)
    }

    /// Opens a further run of a task that failed, was cancelled or terminated, with the same input, the steps recorded
    /// so far ([`Reenter::from_start`] drops them) and clear counters; the old outcome becomes history
    /// ([`Engine::history`]). A task that is parked (quarantined, or its input or a recorded step could not be read, or
    /// the key of a step was used twice) is released instead, and goes on in the turn it was in. One that waits for the
    /// outcome of a step is a `Conflict`: [`Engine::resolve`] it.
    ///
    /// # Errors
    /// Awaited, [`ReenterError`]: what to do is in each variant.
    pub fn retry<I, O, S>(&self, def: TaskDef<I, O, S>, id: impl AsRef<str>) -> Reenter<O, S> {
        self.reenter(Some(def.name()), id, Again::Retry)
    }

    pub(crate) fn reenter<O, S>(
        &self,
        name: Option<&'static str>,
        id: impl AsRef<str>,
        again: Again,
    ) -> Reenter<O, S> {
        Reenter {
            shared: Arc::clone(self.shared()),
            name,
            id: TaskId::new(id),
            input_id: None,
            again,
            if_etag: None,
            from_start: false,
            output: PhantomData,
        }
    }
}
