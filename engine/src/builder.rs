//! What an engine is opened with: a place for its rows, handlers, limits. It has so many lines because every option has its
//! documentation here.

use crate::ctx::Ctx;
use crate::def::TaskDef;
use crate::engine::{Engine, Parts};
use crate::env::{self, Place, Spawner};
use crate::error::OpenError;
use crate::facts::{Creator, Factories, Factory, FactoryError};
use crate::flow::{MAX_BLOCKING, MAX_RUNNING};
use crate::guard::GuardOptions;
use crate::handler::{
    Erased, Handler, HandlerError, Reply, erase_blocking, erase_fn, erase_handler,
};
use crate::patient::PATIENCE;
use crate::registry::{self, Registered};
use crate::sealed::{self, Codec, PayloadCodec};
use crate::sleep::PARK_AFTER;
use crate::stream::sink::{self, SinkError, StreamSink};
use crate::trace::Opened;
use crate::value;
use crate::value_type::ValueType;
use crate::wall_clock::WallClock;
use outlive_storage::id::{self, TaskId};
use outlive_storage::mem::MemStore;
use outlive_storage::row::Micros;
use outlive_storage::{Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Where the rows are.
#[derive(Clone)]
pub(crate) enum Source {
    Memory,
    Store(Arc<dyn Store>),
    #[cfg(feature = "redb")]
    File(std::path::PathBuf, outlive_storage::redb::RedbOptions),
}

/// Collects what an engine needs; [`Builder::open`] starts it.
///
/// ```
/// use outlive::{Ctx, Engine, HandlerError, TaskDef};
/// const DOUBLE: TaskDef<u32, u32> = TaskDef::new("double");
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::in_memory()
///     .task(DOUBLE, |_: Ctx, n| async move { Ok::<_, HandlerError>(n * 2) })
///     .max_running(8)
///     .open()
///     .await?;
/// assert_eq!(engine.run(DOUBLE, "first", &21).await?, 42);
/// # Ok(()) }
/// ```
#[must_use = "nothing is opened before open() is awaited"]
pub struct Builder {
    pub(crate) source: Source,
    pub(crate) place: Place,
    pub(crate) handlers: Vec<Registered>,
    for_others: Option<Vec<String>>,
    max_running: usize,
    max_blocking: usize,
    pub(crate) park_after: Duration,
    patience: Duration,
    owner: Option<Arc<str>>,
    session: Option<String>,
    events: bool,
    guard: GuardOptions,
    /// A name that was given a factory or a predicate before a handler.
    unregistered: Option<&'static str>,
    runtime: Option<Spawner>,
    pub(crate) wall_clock: WallClock,
    pub(crate) codec: Codec,
}

impl Builder {
    fn new(source: Source, place: Place) -> Builder {
        Builder {
            source,
            place,
            handlers: Vec::new(),
            for_others: None,
            max_running: MAX_RUNNING,
            max_blocking: MAX_BLOCKING,
            park_after: PARK_AFTER,
            patience: PATIENCE,
            owner: None,
            session: None,
            events: true,
            guard: GuardOptions::default(),
            unregistered: None,
            runtime: None,
            wall_clock: WallClock::new(),
            codec: None,
        }
    }

    pub(crate) fn memory() -> Builder {
        Builder::new(Source::Memory, Place::Inline)
    }

    pub(crate) fn store(store: Arc<dyn Store>) -> Builder {
        Builder::new(Source::Store(store), Place::Threads)
    }

    #[cfg(feature = "redb")]
    pub(crate) fn file(path: std::path::PathBuf) -> Builder {
        Builder::new(
            Source::File(path, outlive_storage::redb::RedbOptions::default()),
            Place::Threads,
        )
    }

    /// Registers an async function or closure as the handler of a definition. One with another input or output than the
    /// definition's does not compile:
    ///
    /// ```compile_fail
    /// # use outlive::{Ctx, Engine, HandlerError, TaskDef};
    /// const LENGTH: TaskDef<String, usize> = TaskDef::new("length");
    /// async fn shout(_ctx: Ctx, text: String) -> Result<String, HandlerError> {
    ///     Ok(text.to_uppercase())
    /// }
    /// let _ = Engine::in_memory().task(LENGTH, shout);
    /// ```
    pub fn task<I, O, S, R, F, Fut>(self, def: TaskDef<I, O, S>, f: F) -> Builder
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        S: 'static,
        R: Into<Reply<O>> + Send + 'static,
        F: Fn(Ctx<S>, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        self.register(def, erase_fn(f), ValueType::of::<I>())
    }

    /// Registers a type with state as the handler of a definition.
    pub fn handler<I, O, S, H>(self, def: TaskDef<I, O, S>, handler: H) -> Builder
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        S: 'static,
        H: Handler<I, O, S>,
    {
        self.register(def, erase_handler(handler), ValueType::of::<I>())
    }

    /// Registers a blocking function as the handler of a definition. Each call has a thread of its own, of which
    /// there are [`Builder::max_blocking`]. Nothing can stop it from outside.
    pub fn blocking<I, O, S, R, F>(self, def: TaskDef<I, O, S>, f: F) -> Builder
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        S: 'static,
        R: Into<Reply<O>> + Send + 'static,
        F: Fn(Ctx<S>, I) -> Result<R, HandlerError> + Send + Sync + 'static,
    {
        self.register(def, erase_blocking(f), ValueType::of::<I>())
    }

    fn register<I, O, S>(
        mut self,
        def: TaskDef<I, O, S>,
        handler: Erased,
        input: ValueType,
    ) -> Builder {
        self.handlers.push(Registered {
            name: def.name(),
            options: def.options,
            handler,
            input,
            steps: Vec::new(),
            factories: Factories::default(),
            retry_if: None,
            sink: None,
            plain: OnceLock::new(),
        });
        self
    }

    /// Whether an error of the definition's handler is worth another attempt; where it says no, the task fails at
    /// once. It is asked in the handler's task, only about errors that are not terminal by themselves.
    pub fn retry_if<I, O, S>(
        self,
        def: TaskDef<I, O, S>,
        predicate: impl Fn(&HandlerError) -> bool + Send + Sync + 'static,
    ) -> Builder {
        self.of(def.name(), |registered| {
            registered.retry_if = Some(Arc::new(predicate));
        })
    }

    /// Makes a sink for each task of the definition, to which its stream goes beside its readers; see [`StreamSink`]. The
    /// factory runs beside the task whenever a turn is entered and the task has no sink: an error or a panic of it is
    /// logged, and harms nobody. A sink that the call itself [brings](crate::Start::sink) comes first.
    pub fn sink_by<I, O, S, K, E>(
        self,
        def: TaskDef<I, O, S>,
        factory: impl Fn(&TaskId) -> Result<K, E> + Send + Sync + 'static,
    ) -> Builder
    where
        S: DeserializeOwned + Send + 'static,
        K: StreamSink<S>,
        E: Into<SinkError> + 'static,
    {
        self.of(def.name(), |registered| {
            registered.sink = Some(Arc::new(move |id| {
                let sink = factory(id).map_err(Into::into)?;
                Ok(sink::erase(sink))
            }));
        })
    }

    /// Makes the title of each new task of the definition from its input and its id. It runs in the call that starts
    /// the task; its error goes to that caller, and no task exists.
    pub fn title_by<I, O, S, E>(
        self,
        def: TaskDef<I, O, S>,
        factory: impl Fn(&I, &TaskId) -> Result<String, E> + Send + Sync + 'static,
    ) -> Builder
    where
        I: DeserializeOwned + 'static,
        E: Into<FactoryError> + 'static,
    {
        self.of(def.name(), |registered| {
            registered.factories.title = Some(typed(factory));
        })
    }

    /// Makes the description of each new task of the definition, as [`Builder::title_by`] its title.
    pub fn description_by<I, O, S, E>(
        self,
        def: TaskDef<I, O, S>,
        factory: impl Fn(&I, &TaskId) -> Result<String, E> + Send + Sync + 'static,
    ) -> Builder
    where
        I: DeserializeOwned + 'static,
        E: Into<FactoryError> + 'static,
    {
        self.of(def.name(), |registered| {
            registered.factories.description = Some(typed(factory));
        })
    }

    /// Makes tags for each new task of the definition, as [`Builder::title_by`] its title; they are merged over the
    /// definition's fixed ones, and under those of the call.
    pub fn tags_by<I, O, S, E>(
        self,
        def: TaskDef<I, O, S>,
        factory: impl Fn(&I, &TaskId) -> Result<Vec<(String, String)>, E> + Send + Sync + 'static,
    ) -> Builder
    where
        I: DeserializeOwned + 'static,
        E: Into<FactoryError> + 'static,
    {
        self.of(def.name(), |registered| {
            registered.factories.tags = Some(typed(factory));
        })
    }

    /// Changes what was registered under a name; a name that was not is told at [`Builder::open`].
    pub(crate) fn of(
        mut self,
        name: &'static str,
        change: impl FnOnce(&mut Registered),
    ) -> Builder {
        let mut registered = self.handlers.iter_mut();
        match registered.find(|registered| registered.name == name) {
            Some(registered) => change(registered),
            None => self.unregistered = Some(name),
        }
        self
    }

    /// Lets tasks be started here that other programs run: those of every definition the file knows, and of these names.
    /// They wait as [`WaitReason::WaitingHandler`](crate::WaitReason::WaitingHandler) for a program that has their handler.
    /// It is for tools that open a file by themselves; without it a start of a definition whose handler is not registered
    /// is refused with [`StartError::NoHandler`](crate::StartError::NoHandler).
    ///
    /// What only the other program knows has no effect on such a start: the definition's options and factories, and that it
    /// is steerable. [`Engine::definitions`] lists these definitions as remote, so a server on this engine lets anybody who
    /// reaches it start tasks that the other program may not take from outside.
    ///
    /// ```
    /// # use outlive::{Engine, Status, TaskDef};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    /// let engine = Engine::in_memory().start_for_others(["echo"])?.open().await?;
    /// let run = engine.start(ECHO, "a", &1).await?;
    /// assert_eq!(run.status().await?, Status::Pending);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`InvalidId`](crate::InvalidId): what is wrong with a name.
    pub fn start_for_others<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Builder, id::InvalidId> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        for name in &names {
            id::check(name, id::NAME_MAX)?;
        }
        self.for_others.get_or_insert_default().extend(names);
        Ok(self)
    }

    /// How many async handlers run at once; at least 1, by default 1,024. Further tasks wait in the store.
    pub fn max_running(mut self, max: usize) -> Builder {
        self.max_running = max.max(1);
        self
    }

    /// How many blocking handlers run at once; at least 1, by default 64.
    pub fn max_blocking(mut self, max: usize) -> Builder {
        self.max_blocking = max.max(1);
        self
    }

    /// The owner name written on every task this engine starts; by default the program's name.
    pub fn owner(mut self, name: impl Into<String>) -> Builder {
        self.owner = Some(name.into().into());
        self
    }

    /// The session of every task this engine starts, unless a call names its own; by default that of the environment
    /// variable `OUTLIVE_SESSION`, else none. The rules of ids hold.
    pub fn session(mut self, session: impl Into<String>) -> Builder {
        self.session = Some(session.into());
        self
    }

    /// Whether transitions are logged for [`Engine::events`]; by default they are, at the price of one small write
    /// for each. What happens while it is off is missing from the log, without a mark.
    pub fn log_events(mut self, on: bool) -> Builder {
        self.events = on;
        self
    }

    /// Whether a turn that kills its process again and again is found out and held back; by default it is.
    ///
    /// A turn whose process died three times in a row while it ran is suspected, as is all that ran with it. The next
    /// open runs everything else first; a process that dies then has dropped every suspicion. After that it enters the
    /// suspects in ever smaller groups, each watched twice as long as it had taken the process to die, at least 5 s and
    /// at most 10 min; one is entered alone once the process has lived four times as long without it. Until then a
    /// suspect waits as [`WaitReason::Isolated`](crate::WaitReason::Isolated). A turn whose process dies twice while it
    /// is the only suspect that runs is suspended as [`WaitReason::Quarantined`](crate::WaitReason::Quarantined) until
    /// [`Engine::retry`](crate::Engine::retry) releases it. Deaths are counted durably before a handler is entered;
    /// ends, failed attempts and a stop in order set the count to 0.
    ///
    /// Off, deaths are counted for people and decide nothing, and what was held back runs again; a turn that is
    /// quarantined already stays so.
    pub fn poison_guard(mut self, on: bool) -> Builder {
        self.guard.on = on;
        self
    }

    /// How long a store may fail before the engine gives it up and stops: 10 s, unless said otherwise here.
    ///
    /// A store that fails is opened again at once, and then ever less often, up to twice a second. Meanwhile whoever has
    /// asked for something waits, and handlers run on; what they bring stays in memory. A batch of changes that had failed
    /// is looked for in the store and written again if it is missing. After this time callers are told that the outcome
    /// is unknown ([`StartError::Unknown`](crate::StartError::Unknown)) and the engine stops. A disk that is full stops no
    /// engine: callers are refused with [`StoreError::Full`](crate::StoreError::Full), and nothing of what they asked has
    /// happened; what handlers bring waits, and so, for this time, does a call that shares its commit. Work goes on by
    /// itself when there is room.
    pub fn store_patience(mut self, patience: Duration) -> Builder {
        self.patience = patience;
        self
    }

    /// For tests that cannot wait: the shortest time for which the poison guard watches, instead of 5 s. It must be longer
    /// than a handler takes to kill its process.
    #[doc(hidden)]
    pub fn poison_guard_floor(mut self, floor: Duration) -> Builder {
        self.guard.floor = floor;
        self
    }

    /// Seals the user's values at rest, in whatever store the rows are: see [`sealed`](crate::sealed), which also has keys
    /// ready for use. Clear values that are there already stay readable;
    /// [`store::reseal`](crate::store::reseal) seals those too.
    pub fn payload_codec(mut self, codec: impl PayloadCodec) -> Builder {
        self.codec = Some(Arc::new(codec));
        self
    }

    /// The runtime on which handlers run; by default the one in which [`Builder::open`] is awaited.
    pub fn runtime(mut self, handle: tokio::runtime::Handle) -> Builder {
        self.runtime = Some(Spawner::on(handle));
        self
    }

    /// Runs the engine's loop, timers and commits as tasks of the caller's current-thread runtime instead of
    /// threads of their own: for tests with a paused clock. A handler that blocks then blocks the engine too.
    pub fn inline(mut self) -> Builder {
        self.place = Place::Inline;
        self
    }

    /// The store's cache in bytes; by default 64 MiB. Without a file it has no effect.
    #[cfg(feature = "redb")]
    pub fn cache_bytes(self, bytes: usize) -> Builder {
        self.file_options(|options| options.cache_bytes = bytes)
    }

    /// Whether each commit saves what a quick repair needs; by default it does, so that opening after a crash
    /// takes milliseconds at any size. Turn it off only for small files.
    #[cfg(feature = "redb")]
    pub fn quick_repair(self, on: bool) -> Builder {
        self.file_options(|options| options.quick_repair = on)
    }

    /// Bytes of the journal that the file gets when it is created, rounded up to 4 KiB and at most 64 MiB; by default 4 MiB.
    ///
    /// A commit is durable with one write and one sync of what it changes, and the pages of the database follow in lots: when
    /// they are read, when the journal is half full, or when the engine is shut down. The open after a crash does again what
    /// is in the journal alone, some 10 ms for 1 MiB: a larger one makes commits a little cheaper and such an open longer.
    /// With zero the file is a plain redb database, and each commit is one of redb's. A file keeps what it was created with;
    /// a copy of it (a backup, a restored, salvaged or imported file) has the default.
    #[cfg(feature = "redb")]
    pub fn journal_bytes(self, bytes: u32) -> Builder {
        self.file_options(|options| options.journal_bytes = bytes)
    }

    /// Whether `open` checks the whole file; by default not: damage is found by each row's checksum when read.
    #[cfg(feature = "redb")]
    pub fn verify_on_open(self, on: bool) -> Builder {
        self.file_options(|options| options.verify_on_open = on)
    }

    /// Called with the progress of a repair, from 0 to 1, on the thread that opens the file.
    #[cfg(feature = "redb")]
    pub fn on_repair(self, progress: impl Fn(f64) + Send + Sync + 'static) -> Builder {
        self.file_options(|options| options.on_repair = Some(Arc::new(progress)))
    }

    #[cfg(feature = "redb")]
    fn file_options(
        mut self,
        change: impl FnOnce(&mut outlive_storage::redb::RedbOptions),
    ) -> Builder {
        if let Source::File(_, options) = &mut self.source {
            change(options);
        }
        self
    }

    /// Opens the engine. When this returns, recovery of what ran at the last crash has begun;
    /// [`Engine::recovery`] tells when it is through.
    ///
    /// # Errors
    /// [`OpenError`]: what to do is in each variant.
    pub async fn open(self) -> Result<Engine, OpenError> {
        self.validate()?;
        let spawner = self
            .runtime
            .clone()
            .or_else(Spawner::current)
            .ok_or(OpenError::NoRuntime)?;
        let session = if cfg!(planted = "environment_over_builder") {
            env::session_variable().or_else(|| self.session.clone())
        } else {
            self.session.clone().or_else(env::session_variable)
        };
        let session = session.map(|session| match id::check(&session, id::ID_MAX) {
            Ok(()) => Ok(session.into_boxed_str()),
            Err(error) => Err(OpenError::Session(error)),
        });
        let creator = Creator {
            owner: self.owner.unwrap_or_else(|| env::program_name().into()),
            session: session.transpose()?,
        };
        let instance = env::fresh_instance();
        let clock = env::Clock::new(self.place, &self.wall_clock);
        let (store, opened) = open_store(self.source, self.place, instance, clock.now()).await?;
        begun(|| {
            let (store, digests) = sealed::over(store, self.codec)?;
            Engine::begin(Parts {
                store,
                digests,
                opened,
                place: self.place,
                handlers: self.handlers,
                for_others: self.for_others,
                max_running: self.max_running,
                max_blocking: self.max_blocking,
                park_after: self.park_after,
                patience: self.patience,
                creator,
                events: self.events,
                guard: self.guard,
                spawner,
                instance,
                clock,
            })
        })
    }

    /// On a runtime of the engine's own, which no thread of the caller's drives; its handlers run there as well, unless
    /// another one was named.
    pub(crate) fn on_own(mut self, spawner: Spawner) -> Builder {
        self.place = Place::Threads;
        self.runtime.get_or_insert(spawner);
        self
    }

    /// What can be told without touching the file.
    pub(crate) fn validate(&self) -> Result<(), OpenError> {
        if let Some(name) = self.unregistered {
            return Err(OpenError::NoHandler { name });
        }
        let mut names = HashSet::new();
        for registered in &self.handlers {
            let name = registered.name;
            if !names.insert(name) && !cfg!(planted = "duplicate_registered") {
                return Err(OpenError::Duplicate { name });
            }
            let options = registered.options.task.validate();
            if cfg!(planted = "contradiction_opened") {
                continue;
            }
            options.map_err(|error| OpenError::InvalidRetry { name, error })?;
        }
        registry::check_former_names(&self.handlers)
    }
}

/// What an engine reads and writes as it begins, it does where `open` is awaited. A store may panic there on damaged
/// pages: its caller is told, and the store is closed.
fn begun(begin: impl FnOnce() -> Result<Engine, OpenError>) -> Result<Engine, OpenError> {
    if cfg!(planted = "open_panics") {
        return begin();
    }
    catch_unwind(AssertUnwindSafe(begin)).unwrap_or_else(|_| {
        let message = "the store panicked when it was opened: the file is damaged".into();
        Err(OpenError::Store(StoreError::Failed { message }))
    })
}

/// A factory behind the door for encoded inputs: it sees what the handler will see.
fn typed<I, T, E>(
    factory: impl Fn(&I, &TaskId) -> Result<T, E> + Send + Sync + 'static,
) -> Factory<T>
where
    I: DeserializeOwned + 'static,
    E: Into<FactoryError> + 'static,
{
    Arc::new(move |bytes, id| {
        let input: I = value::decode(bytes)?;
        factory(&input, id).map_err(Into::into)
    })
}

pub(crate) async fn open_store(
    source: Source,
    place: Place,
    instance: u128,
    now: Micros,
) -> Result<(Arc<dyn Store>, Opened), OpenError> {
    match source {
        Source::Memory => Ok((Arc::new(MemStore::new()), Opened::unknown(now))),
        Source::Store(store) => Ok((store, Opened::unknown(now))),
        #[cfg(feature = "redb")]
        Source::File(path, options) => {
            let open = move || open_file(&path, options, instance, now);
            if place == Place::Inline {
                return open();
            }
            let (sender, opened) = tokio::sync::oneshot::channel();
            let body = move || drop(sender.send(open()));
            env::thread("outlive-open", body).map_err(OpenError::Thread)?;
            let died = || {
                OpenError::Thread(std::io::Error::other(
                    "the thread that opened the file died",
                ))
            };
            opened.await.map_err(|_| died())?
        }
    }
}

#[cfg(feature = "redb")]
fn open_file(
    path: &std::path::Path,
    options: outlive_storage::redb::RedbOptions,
    instance: u128,
    now: Micros,
) -> Result<(Arc<dyn Store>, Opened), OpenError> {
    use outlive_storage::redb::{OpenError as FileError, RedbStore};
    match RedbStore::open(path, options, instance, now.0) {
        Ok(store) => {
            let store = Arc::new(store);
            let opened = Opened::of(&store, now);
            Ok((store, opened))
        }
        Err(FileError::AlreadyRunning {
            pid,
            still_running,
            reached_at,
            ..
        }) => Err(OpenError::AlreadyRunning {
            pid,
            still_running,
            reached_at,
            path: path.display().to_string(),
        }),
        Err(error) => Err(OpenError::File(error)),
    }
}
