//! A start under way: options first, then awaited until the input is durable.

use crate::def::TaskDef;
use crate::engine::{Engine, Shared};
use crate::env::{self, Clock, micros};
use crate::errand::Going;
use crate::error::StartError;
use crate::facts::{FactsError, Said, facts};
use crate::machine::{Accepted, Answer, Event, NewInput, OnConflict, Rejected};
use crate::options::TaskOptions;
use crate::registry::Plain;
use crate::request::Draft;
use crate::retry_policy::RetryPolicy;
use crate::run::Run;
use crate::startable::Startable;
use crate::stream::sink::{self, Brought, StreamSink};
use crate::turn::Dispatcher;
use crate::value::{self, ValueError};
use crate::writer::{Origin, Refused, Target, Told};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Deadline, DefNumber, Delivery, Etag, Facts, Micros, OptionsRow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

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
/// What is said here replaces what the definition, or the variant the start was made with, says; it is stored with
/// the task and holds after recovery. For a task that exists already, options of a new run are of no effect, unless
/// the call begins one.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, RetryPolicy, TaskDef};
/// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
/// let run = engine.start(ECHO, "a", &1).input_id("order-1").tag("customer", "17").retry(RetryPolicy::none()).await?;
/// assert_eq!(run.input_id().as_str(), "order-1");
/// # Ok(()) }
/// ```
#[must_use = "a start does nothing until it is awaited"]
pub struct Start<O, S = ()> {
    shared: Arc<Shared>,
    def: &'static str,
    id: NewTaskId,
    input: Result<Vec<u8>, ValueError>,
    input_id: Option<String>,
    after: Option<String>,
    if_etag: Option<u64>,
    must_exist: bool,
    on_conflict: OnConflict,
    delivery: Delivery,
    when: When,
    options: TaskOptions,
    said: Said,
    sink: Option<Box<Brought>>,
    output: PhantomData<fn() -> (O, S)>,
}

/// When a new run is due.
#[derive(Debug, Clone, Copy)]
enum When {
    Now,
    In(Duration),
    At(Micros),
}

impl When {
    fn deadline(self, clock: &Clock) -> Option<Deadline> {
        match self {
            When::Now => None,
            When::In(delay) => Some(clock.times().after(micros(delay))),
            When::At(at) if cfg!(planted = "start_at_counts_on") => Some(Deadline::own(at)),
            When::At(at) => Some(Deadline::wall(at)),
        }
    }
}

impl<O, S> Start<O, S> {
    pub(crate) fn new<I: Serialize>(
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
            after: None,
            if_etag: None,
            must_exist: false,
            on_conflict: OnConflict::Refuse,
            delivery: Delivery::Interrupt,
            when: When::Now,
            options: def.options.task,
            said: Said::default(),
            sink: None,
            output: PhantomData,
        }
    }

    /// The idempotency key of the input: given again, also after a crash, it attaches to the first acceptance.
    /// The rules of ids hold. Without it, one is generated.
    pub fn input_id(mut self, id: impl Into<String>) -> Self {
        self.input_id = Some(id.into());
        self
    }

    /// Accepts the input only if this is the task's last accepted one; else [`StartError::PreconditionFailed`].
    pub fn after(mut self, input_id: impl AsRef<str>) -> Self {
        self.after = Some(input_id.as_ref().to_owned());
        self
    }

    /// Accepts the input only if the task's etag is still this one; else [`StartError::PreconditionFailed`].
    pub fn if_etag(mut self, etag: u64) -> Self {
        self.if_etag = Some(etag);
        self
    }

    /// Gives the input only to a task that is there; where none is, [`StartError::NotFound`], and nothing is started.
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// What happens where the task's state refuses the input; by default [`StartError::Conflict`].
    pub fn on_conflict(mut self, policy: OnConflict) -> Self {
        self.on_conflict = policy;
        self
    }

    /// How the input comes to a task that has an open turn and is [`steerable`](TaskDef::steerable); by default it
    /// interrupts that turn. Of no effect where the input begins a turn at once.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// The task is due after this long. While its process lives neither a step of the system's clock nor a suspend moves
    /// that; after a restart it is due when the wall clock comes to where it would have been then.
    pub fn start_in(mut self, delay: Duration) -> Self {
        self.when = When::In(delay);
        self
    }

    /// The task is due at this moment on the wall clock, as it is read: never before the clock shows it, and at most 1 s
    /// after it first does, also after the clock was set, or the machine slept. It is an instant: a change to or from
    /// daylight saving time does not move it.
    #[allow(clippy::disallowed_types)] // The caller's own word for a moment; it becomes microseconds at once.
    pub fn start_at(mut self, at: std::time::SystemTime) -> Self {
        self.when = When::At(env::moment(at));
        self
    }

    /// The options of this task, where they say something.
    pub fn options(mut self, options: TaskOptions) -> Self {
        if !cfg!(planted = "call_options_dropped") {
            self.options = self.options.and(options);
        }
        self
    }

    /// The retry policy of this task.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.options(TaskOptions::new().retry(policy))
    }

    /// How long one turn of this task may take; see [`TaskDef::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        self.options(TaskOptions::new().timeout(timeout))
    }

    /// Rank among due tasks, 0 first to 7 last.
    pub fn priority(self, rank: u8) -> Self {
        self.options(TaskOptions::new().priority(rank))
    }

    /// How long the ended task is kept.
    pub fn keep_for(self, time: Duration) -> Self {
        self.options(TaskOptions::new().keep_for(time))
    }

    /// Keeps the ended task until somebody deletes it.
    pub fn keep_forever(self) -> Self {
        self.options(TaskOptions::new().keep_forever())
    }

    /// The session of this task instead of the engine's. The rules of ids hold.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.said.session = Some(session.into());
        self
    }

    /// The title of this task, at most 256 bytes.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.said.title = Some(title.into());
        self
    }

    /// The description of this task, at most 1,024 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.said.description = Some(description.into());
        self
    }

    /// A tag of this task, over the definition's of the same key. At most 16 tags; keys of at most 64 characters
    /// of `A-Za-z0-9_.-`, not beginning with `outlive.`; values of at most 256 bytes.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.said.tags.push((key.into(), value.into()));
        self
    }

    /// The W3C trace context of this call, as its `traceparent` header gives it: stored, and a field of the span of
    /// each attempt. Another form is refused with [`FactsError::Traceparent`].
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.said.traceparent = Some(traceparent.into());
        self
    }

    /// Where the task's stream goes beside its readers, instead of what the definition's factory
    /// ([`Builder::sink_by`](crate::Builder::sink_by)) makes; see [`StreamSink`]. It is for the task that this call starts,
    /// restarts or resumes, in this process, until it is closed: then, and after a restart of the process, the factory is
    /// asked. A call that queues its input, or attaches, drops it.
    pub fn sink(mut self, sink: impl StreamSink<S>) -> Self
    where
        S: DeserializeOwned + Send + 'static,
    {
        let spawner = self.shared.dispatcher.spawner.clone();
        self.sink = Some(Box::new(Brought::new(sink::erase(sink), spawner)));
        self
    }

    pub(crate) fn prepare(self) -> Result<Prepared<O, S>, StartError> {
        let dispatcher = &self.shared.dispatcher;
        let is_made = self.id.0.is_none();
        let id = match &self.id.0 {
            Some(given) => TaskId::new(given)?,
            None => TaskId::new(env::fresh_id(&mut [0; _]))?,
        };
        let input_id_given = self.input_id.is_some();
        let input_id = match self.input_id {
            Some(given) => InputId::new(given)?,
            // Nobody else has this id, nor has the task an input before this one.
            None if is_made => InputId::from(&id),
            None => InputId::new(env::fresh_id(&mut [0; _]))?,
        };
        let after = self.after.map(InputId::new).transpose()?;
        let bytes = self.input?;
        let Some((def, of)) = dispatcher.registry.startable(self.def) else {
            return Err(StartError::NoHandler { name: self.def });
        };
        // What the registered definition says, the variant over it, the call over both.
        let options = of.options().and(self.options);
        if dispatcher.is_stopping() && dispatcher.writer.poison.get().is_none() {
            return Err(StartError::ShuttingDown);
        }
        let (options_row, made) = stored(dispatcher, &of, (&options, self.said), (&bytes, &id))?;
        let (facts, cannot_create) = created_with(self.must_exist, made)?;
        let kind = of.kind();
        let slot = kind.and_then(|kind| dispatcher.slots.take_for_start(kind, def));
        let digest = dispatcher.digests.of(&bytes);
        let (payload, value) = value::split(bytes);
        let input = NewInput {
            id: id.clone(),
            def,
            input_id: input_id.clone(),
            input_id_given,
            digest,
            payload,
            delivery: self.delivery,
            priority: options.rank(),
            options: options_row,
            facts,
            start_at: self.when.deadline(&dispatcher.clock),
            on_conflict: self.on_conflict,
            after,
            if_etag: self.if_etag.map(Etag),
            claimant: slot.is_some().then(|| dispatcher.claimant.clone()),
            parent: None,
        };
        let target = match is_made {
            true => Target::Unborn,
            false => Target::Id(id.clone()),
        };
        let draft = Draft {
            value,
            slot,
            sink: self.sink,
            ..Draft::bare(target, Event::Input(input))
        };
        Ok(Prepared {
            wanted: Wanted {
                shared: self.shared,
                id,
                input_id,
                cannot_create,
            },
            draft,
            output: PhantomData,
        })
    }
}

/// What is stored of a task: its options, and what is said of it.
type Stored = (Arc<OptionsRow>, Result<Arc<Facts>, FactsError>);

fn stored(
    dispatcher: &Dispatcher,
    of: &Startable<'_>,
    (options, said): (&TaskOptions, Said),
    by: (&[u8], &TaskId),
) -> Result<Stored, StartError> {
    let is_plain = *options == of.options() && said.is_nothing();
    let plain = of
        .plain()
        .filter(|_| is_plain || cfg!(planted = "every_task_is_plain"));
    if let Some(Plain { options, facts }) = plain.and_then(OnceLock::get) {
        return Ok((Arc::clone(options), Ok(Arc::clone(facts))));
    }
    let options_row = dispatcher.options.shared(options.row()?);
    said.check()?;
    let made = facts(said, options, of, by, &dispatcher.creator);
    let made = made.map(|facts| dispatcher.facts.shared(facts));
    if let (Some(plain), Ok(facts)) = (plain, &made) {
        let (options, facts) = (Arc::clone(&options_row), Arc::clone(facts));
        // Another call may have been first, with the same.
        let _ = plain.set(Plain { options, facts });
    }
    Ok((options_row, made))
}

/// What a task is created with; or nothing, and why, where it matters.
type CreatedWith = (Option<Arc<Facts>>, Option<FactsError>);

fn created_with(
    must_exist: bool,
    made: Result<Arc<Facts>, FactsError>,
) -> Result<CreatedWith, StartError> {
    Ok(match made {
        // Nothing to create it with, and so it is not created.
        _ if must_exist && !cfg!(planted = "further_input_starts_a_task") => (None, None),
        Ok(facts) => (Some(facts), None),
        // A task that exists needs none of it, so whether it matters is for the writer to say.
        Err(error) if cfg!(planted = "attach_needs_factory") => return Err(error.into()),
        Err(error) => (None, Some(error)),
    })
}

impl<O: 'static, S: 'static> IntoFuture for Start<O, S> {
    type Output = Result<Run<O, S>, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        // A slot is taken by what is polled, not by what is put aside.
        Box::pin(async move {
            let Prepared { wanted, draft, .. } = self.prepare()?;
            let writer = Arc::clone(&wanted.shared.dispatcher.writer);
            let told = writer.ask(Origin::Caller, draft).await;
            wanted.answered(told)
        })
    }
}

impl<O: DeserializeOwned + 'static, S: 'static> Start<O, S> {
    /// Sends the start, if there is room for it at once.
    ///
    /// # Errors
    /// [`StartError`]: nothing was sent.
    pub(crate) fn go(self) -> Result<Going<O, S>, StartError> {
        let Prepared { wanted, draft, .. } = self.prepare()?;
        Ok(Going::new(wanted, draft))
    }
}

/// A start with everything checked that can be checked without the store.
pub(crate) struct Prepared<O, S> {
    pub(crate) wanted: Wanted,
    pub(crate) draft: Draft,
    output: PhantomData<fn() -> (O, S)>,
}

/// What was asked of the writer.
pub(crate) struct Wanted {
    pub(crate) shared: Arc<Shared>,
    id: TaskId,
    input_id: InputId,
    /// Why there is nothing to create the task with.
    cannot_create: Option<FactsError>,
}

impl Wanted {
    pub(crate) fn answered<O, S>(self, told: Told) -> Result<Run<O, S>, StartError> {
        let Wanted {
            shared,
            id,
            input_id,
            cannot_create,
        } = self;
        match (told, cannot_create) {
            (Ok(done), _) => match done.answer {
                Answer::Accepted { how, named } => {
                    let run = Run::new(shared, done.task, id, named, Some(how));
                    Ok(run.expecting(done.expecting))
                }
                // The machine answers an input with an acceptance; anything else would be a bug told as a closed store.
                Answer::Done | Answer::Recovered(_) | Answer::Taken(_) => {
                    Err(StartError::ShuttingDown)
                }
            },
            (Err(Refused::Rejected(Rejected::CannotCreate)), Some(error)) => Err(error.into()),
            (Err(Refused::Rejected(Rejected::CannotCreate)), None) => Err(StartError::NotFound(id)),
            (Err(refused), _) => {
                let registry = &shared.dispatcher.registry;
                let name = |def: DefNumber| registry.name(def).to_owned();
                Err(StartError::from_refused(refused, id, input_id, name))
            }
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
