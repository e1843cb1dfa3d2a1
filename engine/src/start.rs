//! A start under way: options first, then awaited until the input is durable.

use crate::def::TaskDef;
use crate::engine::{Engine, Shared};
use crate::env::{self, micros};
use crate::error::StartError;
use crate::machine::{Accepted, Answer, Event, NewInput};
use crate::retry_policy::RetryPolicy;
use crate::run::Run;
use crate::value::{self, ValueError};
use crate::writer::{Draft, Origin, Refused, Target, Told};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{DefNumber, Priority};
use serde::Serialize;
use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Starts under way at once in [`Engine::start_many`].
const MANY_UNDER_WAY: usize = 1024;

/// How long an ended task is kept at the least: 7 days.
const KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The id for a task to start: a string, a [`TaskId`], or `()` for a generated one.
#[derive(Debug, Clone)]
pub struct NewTaskId(Option<String>);

impl From<&str> for NewTaskId {
    fn from(id: &str) -> Self {
        NewTaskId(Some(id.to_owned()))
    }
}

impl From<String> for NewTaskId {
    fn from(id: String) -> Self {
        NewTaskId(Some(id))
    }
}

impl From<&String> for NewTaskId {
    fn from(id: &String) -> Self {
        NewTaskId(Some(id.clone()))
    }
}

impl From<TaskId> for NewTaskId {
    fn from(id: TaskId) -> Self {
        NewTaskId(Some(id.as_str().to_owned()))
    }
}

impl From<()> for NewTaskId {
    fn from((): ()) -> Self {
        NewTaskId(None)
    }
}

/// A start that is awaited; before that, its options. Dropping it unawaited starts nothing; dropping the future
/// half-way may have started the task.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, RetryPolicy, TaskDef};
/// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
/// let run = engine.start(ECHO, "a", &1).input_id("order-1").retry(RetryPolicy::none()).await?;
/// assert_eq!(run.input_id().as_str(), "order-1");
/// # Ok(()) }
/// ```
#[must_use = "a start does nothing until it is awaited"]
pub struct Start<O> {
    shared: Arc<Shared>,
    def: &'static str,
    id: NewTaskId,
    input: Result<Vec<u8>, ValueError>,
    input_id: Option<String>,
    retry: Option<RetryPolicy>,
    output: PhantomData<fn() -> O>,
}

impl<O> Start<O> {
    pub(crate) fn new<I: Serialize, S>(
        engine: &Engine,
        def: TaskDef<I, O, S>,
        id: NewTaskId,
        input: &I,
    ) -> Self {
        Start {
            shared: Arc::clone(engine.shared()),
            def: def.name(),
            id,
            input: value::encode("input", input),
            input_id: None,
            retry: None,
            output: PhantomData,
        }
    }

    /// The idempotency key of the input: given again, also after a crash, it attaches to the first acceptance.
    /// The rules of ids hold. Without it, one is generated.
    pub fn input_id(mut self, id: impl Into<String>) -> Self {
        self.input_id = Some(id.into());
        self
    }

    /// The retry policy of this task instead of its definition's; stored with it. A further input for a task
    /// that exists does not change it.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    fn prepare(self) -> Result<Prepared<O>, StartError> {
        let dispatcher = &self.shared.dispatcher;
        let id = TaskId::new(self.id.0.unwrap_or_else(env::fresh_id))?;
        let input_id_given = self.input_id.is_some();
        let input_id = InputId::new(self.input_id.unwrap_or_else(env::fresh_id))?;
        let input = self.input?;
        let number = dispatcher.registry.number(self.def);
        let registered = number.and_then(|def| Some((def, dispatcher.registry.get(def)?)));
        let Some((def, registered)) = registered else {
            return Err(StartError::NoHandler { name: self.def });
        };
        let options = &registered.options;
        let retry = self.retry.unwrap_or(options.retry).row()?;
        if *dispatcher.stopping.borrow() && dispatcher.writer.poison.get().is_none() {
            return Err(StartError::ShuttingDown);
        }
        let slot = dispatcher.slots.take_for_start(registered.kind());
        let digest = value::digest(&input);
        let (payload, value) = value::split(input);
        let input = NewInput {
            id: id.clone(),
            def,
            input_id: input_id.clone(),
            input_id_given,
            digest,
            payload,
            priority: Priority::NORMAL,
            retry,
            keep_us: micros(KEEP),
            owner: dispatcher.claimant.owner.clone(),
            claimant: slot.is_some().then(|| dispatcher.claimant.clone()),
        };
        let draft = Draft {
            target: Target::ByInput,
            event: Event::Input(Box::new(input)),
            value,
            slot,
        };
        Ok(Prepared {
            shared: Arc::clone(&self.shared),
            id,
            input_id,
            draft,
            output: PhantomData,
        })
    }
}

impl<O: 'static> IntoFuture for Start<O> {
    type Output = Result<Run<O>, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        // A slot is taken by what is polled, not by what is put aside.
        Box::pin(async move {
            let Prepared {
                shared,
                id,
                input_id,
                draft,
                ..
            } = self.prepare()?;
            let told = shared.dispatcher.writer.ask(Origin::Caller, draft).await;
            answered(shared, id, input_id, told)
        })
    }
}

/// A start with everything checked that can be checked without the store.
struct Prepared<O> {
    shared: Arc<Shared>,
    id: TaskId,
    input_id: InputId,
    draft: Draft,
    output: PhantomData<fn() -> O>,
}

fn answered<O>(
    shared: Arc<Shared>,
    id: TaskId,
    input_id: InputId,
    told: Told,
) -> Result<Run<O>, StartError> {
    match told {
        Ok((task, Answer::Accepted { how, input_id })) => {
            Ok(Run::new(shared, task, id, input_id, Some(how)))
        }
        // The machine answers an input with an acceptance; anything else would be a bug told as a closed store.
        Ok((_, Answer::Done)) => Err(StartError::ShuttingDown),
        Err(refused) => Err(from_refused(&shared, refused, id, input_id)),
    }
}

fn from_refused(shared: &Shared, refused: Refused, id: TaskId, input_id: InputId) -> StartError {
    let name = |def: DefNumber| shared.dispatcher.registry.name(def).to_owned();
    StartError::from_refused(refused, id, input_id, name)
}

type UnderWay<O> = Pin<Box<dyn Future<Output = Result<Run<O>, StartError>> + Send>>;

/// Many starts, a bounded number of them under way.
pub(crate) struct StartMany<O> {
    under_way: VecDeque<UnderWay<O>>,
    answers: Vec<Result<Run<O>, StartError>>,
}

impl<O> Default for StartMany<O> {
    fn default() -> Self {
        StartMany {
            under_way: VecDeque::new(),
            answers: Vec::new(),
        }
    }
}

impl<O: 'static> StartMany<O> {
    pub(crate) async fn push(&mut self, start: Start<O>) {
        if self.under_way.len() >= MANY_UNDER_WAY {
            self.settle_one().await;
        }
        let one: UnderWay<O> = match start.prepare() {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(Prepared {
                shared,
                id,
                input_id,
                draft,
                ..
            }) => {
                let sent = shared.dispatcher.writer.send(Origin::Caller, draft).await;
                Box::pin(async move {
                    let told = match sent {
                        Ok(answer) => answer.await,
                        Err(refused) => Err(refused),
                    };
                    answered(shared, id, input_id, told)
                })
            }
        };
        self.under_way.push_back(one);
    }

    pub(crate) async fn finish(mut self) -> Vec<Result<Run<O>, StartError>> {
        while !self.under_way.is_empty() {
            self.settle_one().await;
        }
        self.answers
    }

    async fn settle_one(&mut self) {
        if let Some(oldest) = self.under_way.pop_front() {
            self.answers.push(oldest.await);
        }
    }
}

/// How the input of a [`Run`] was accepted.
impl Accepted {
    /// True when this call began the task.
    pub const fn is_started(self) -> bool {
        matches!(self, Accepted::Started)
    }
}
