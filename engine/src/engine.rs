//! The engine as its user holds it: start, look, wait, stop.
//!
//! It has so many lines because it is put together here, in the one order in which its parts may begin and end.

use crate::alike::Alike;
use crate::batch::Batcher;
use crate::builder::Builder;
use crate::def::TaskDef;
use crate::engine_loop::{EngineLoop, Tools};
use crate::env::{self, Clock, Place, Spawner};
use crate::error::{OpenError, RunError, StartError};
use crate::facts::Creator;
use crate::failpoint::{self, Failpoint};
use crate::families::Families;
use crate::feed::Feeds;
use crate::flow::Slots;
use crate::guard::{Guard, GuardOptions};
use crate::hub::Hub;
use crate::indexes::Indexes;
use crate::live::LiveTable;
use crate::lives::Lives;
use crate::machine::Claimant;
use crate::patient::Patient;
use crate::reader::Reader;
use crate::recovery::{Recovery, RecoveryReport};
use crate::registry::{Registered, Registry};
use crate::run::Run;
use crate::sealed::Digests;
use crate::start::{NewTaskId, Start};
use crate::start_many::StartMany;
use crate::stopping::Stopping;
use crate::stream::Streams;
use crate::sweep::{self, Sweep};
use crate::trace::Opened;
use crate::turn::Dispatcher;
use crate::writer::{self, Writer};
use outlive_storage::Store;
use outlive_storage::row::{Etag, Micros};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long the drop of an engine waits for the commits under way and the note that it was stopped.
const WRITER_ENDS: Duration = Duration::from_secs(1);
/// How long dropped handlers may take to go before [`Engine::shutdown`] returns without them.
const AFTER_DROP: Duration = Duration::from_millis(50);

pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    /// How it was opened.
    pub(crate) opened: Opened,
    pub(crate) place: Place,
    pub(crate) handlers: Vec<Registered>,
    /// Set where tasks may be started for other programs to run; with names that the file may not know yet.
    pub(crate) for_others: Option<Vec<String>>,
    pub(crate) max_running: usize,
    pub(crate) max_blocking: usize,
    pub(crate) park_after: Duration,
    pub(crate) patience: Duration,
    pub(crate) creator: Creator,
    /// Whether transitions are logged.
    pub(crate) events: bool,
    pub(crate) guard: GuardOptions,
    pub(crate) spawner: Spawner,
    pub(crate) instance: u128,
    pub(crate) clock: Clock,
    /// What equal inputs are told by.
    pub(crate) digests: Digests,
}

/// What handles share with the engine. It holds no store of its own: the file is free after shutdown, however
/// many handles are left.
pub(crate) struct Shared {
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// By what tasks are listed without looking at each.
    pub(crate) indexes: Indexes,
    pub(crate) feeds: Arc<Feeds>,
    /// The way to the file, if there is one.
    #[cfg(feature = "redb")]
    pub(crate) door: Option<crate::store::Door>,
    /// The format of the file; zero without one.
    pub(crate) format: u32,
    pub(crate) recovery: watch::Receiver<Option<RecoveryReport>>,
}

impl Shared {
    /// Whether what ran before the open is still being entered again.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovery.borrow().is_none()
    }
}

struct Inner {
    shared: Arc<Shared>,
    place: Place,
    ending: Mutex<Ending>,
}

/// A shutdown happens once, whoever asks for it and however often.
enum Ending {
    /// Resolve when loop and writer have ended.
    NotYet([oneshot::Receiver<()>; 2]),
    Begun(watch::Receiver<Option<ShutdownReport>>),
}

/// The handlers under the numbers their names have in the store.
fn registry(
    store: &dyn Store,
    handlers: Vec<Registered>,
    for_others: Option<Vec<String>>,
) -> Result<Registry, outlive_storage::StoreError> {
    let mut names: Vec<&str> = handlers.iter().map(|registered| registered.name).collect();
    names.extend(for_others.iter().flatten().map(String::as_str));
    let mut numbers = store.define(&names)?;
    failpoint::reach(Failpoint::Defined);
    numbers.truncate(handlers.len());
    let registry = Registry::new(handlers, numbers, store.definitions()?);
    Ok(match for_others {
        Some(_) => registry.starting_for_others(&store.indexes()?),
        None => registry,
    })
}

/// What enters handlers and carries their ends back, before it knows of any.
fn dispatcher(
    parts: &Parts,
    registry: &Arc<Registry>,
    reader: Arc<Reader>,
    writer: &Arc<Writer>,
) -> Dispatcher {
    let concurrency = registry.concurrency();
    Dispatcher {
        registry: Arc::clone(registry),
        slots: Slots::new(parts.max_running, parts.max_blocking, concurrency),
        hub: Arc::new(Hub::new()),
        writer: Arc::clone(writer),
        reader,
        spawner: parts.spawner.clone(),
        claimant: Claimant {
            owner: parts.creator.owner.clone(),
            instance: parts.instance,
        },
        creator: parts.creator.clone(),
        facts: Alike::default(),
        options: Alike::default(),
        live: Arc::new(LiveTable::default()),
        alarms: Arc::default(),
        clock: parts.clock.clone(),
        digests: parts.digests.clone(),
        park_after: parts.park_after,
        families: Arc::default(),
        stopping: Stopping::not(),
        host: OnceLock::new(),
        // The clock only grows, also over restarts.
        streams: Arc::new(Streams::new(parts.clock.now().0)),
    }
}

/// What a shutdown left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Handlers that had not ended: blocking calls, or futures that do not yield. The file stays locked until the
    /// last of them ends; their turns are recovered at the next open.
    pub still_running: usize,
}

/// Runs durable tasks on one store. Cheap to clone; all clones are the same engine.
///
/// Dropping the last clone stops the engine as [`Engine::shutdown`] with no grace would; nothing that was
/// acknowledged is lost. It keeps its thread until the stop is on disk, at most 1 s, so that the next open does not take
/// it for a death.
///
/// ```
/// use outlive::{Ctx, Engine, HandlerError, TaskDef};
/// const LENGTH: TaskDef<String, usize> = TaskDef::new("length");
/// async fn length(_ctx: Ctx, text: String) -> Result<usize, HandlerError> {
///     Ok(text.len())
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::in_memory().task(LENGTH, length).open().await?;
/// let run = engine.start(LENGTH, "doc-17", &"outlive".to_owned()).await?;
/// assert_eq!(run.result().await?, 7);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// An engine on one redb file, which is created when it is missing. Only one engine at a time runs on a file.
    #[cfg(feature = "redb")]
    pub fn builder(path: impl Into<std::path::PathBuf>) -> Builder {
        Builder::file(path.into())
    }

    /// An engine on a store of the caller's, which belongs to this engine alone until its last handler has ended: two
    /// engines on one store would each take the other's turns for those of a dead process.
    pub fn on_store(store: Arc<dyn Store>) -> Builder {
        Builder::store(store)
    }

    /// An engine whose tasks do not outlive the process, for tests and throw-away work. It runs inside the
    /// caller's current-thread runtime, whose clock may be paused.
    pub fn in_memory() -> Builder {
        Builder::memory()
    }

    pub(crate) fn begin(mut parts: Parts) -> Result<Engine, OpenError> {
        let handlers = std::mem::take(&mut parts.handlers);
        let for_others = parts.for_others.take();
        let place = parts.place;
        let (writer, receiver) = Writer::new(place);
        let on = (place, parts.clock.clone());
        let store = Patient::around(&parts.store, on, parts.patience, &writer.poison);
        let counters = store.counters().map_err(OpenError::Store)?;
        parts.clock = parts.clock.of_life(Etag(counters.etag.0 + 1));
        let clock = parts.clock.clone();
        let held_until = sweep::held_until(&*store, clock.times()).map_err(OpenError::Store)?;
        let feeds = Arc::new(Feeds::new(counters.etag, parts.events));
        let registry = Arc::new(registry(&*store, handlers, for_others).map_err(OpenError::Store)?);
        let indexes = Indexes::settle(&*store, &registry, counters.etag);
        let indexes = indexes.map_err(OpenError::Store)?;
        let phase = parts.guard.first_phase(&*store, &registry);
        let phase = phase.map_err(OpenError::Store)?;
        let lives = Lives::begin(&*store, parts.instance, (phase, &registry), clock.now());
        let (lives, life) = lives.map_err(OpenError::Store)?;
        failpoint::reach(Failpoint::LifePut);
        let clean = lives.ended_in_order();
        let writer = Arc::new(writer);
        let reader = Reader::new(Arc::clone(&store), place, Arc::clone(&writer));
        let reader = Arc::new(reader.map_err(OpenError::Thread)?);
        let dispatcher = Arc::new(dispatcher(&parts, &registry, reader, &writer));
        let batcher = Batcher::new(
            Arc::clone(&store),
            counters,
            clock.clone(),
            registry,
            Arc::clone(&dispatcher),
            (life, Arc::clone(&feeds)),
            parts.patience,
        );
        let writer_ended = writer::drive(batcher, receiver, &parts.spawner);
        let writer_ended = writer_ended.map_err(OpenError::Thread)?;
        let tools = Tools::new(&dispatcher, store, lives);
        let guard = Guard::new(parts.guard, phase, clock.own());
        let (loop_ended, recovery) = begin_loop(&dispatcher, (tools, guard), held_until, place)?;
        let claimant = &dispatcher.claimant;
        parts.opened.report(claimant, clean, clock.now());
        let shared = Arc::new(Shared {
            dispatcher,
            indexes,
            feeds,
            #[cfg(feature = "redb")]
            door: parts.opened.door.clone(),
            format: parts.opened.format,
            recovery,
        });
        let ending = Mutex::new(Ending::NotYet([loop_ended, writer_ended]));
        Ok(Engine {
            inner: Arc::new(Inner {
                shared,
                place,
                ending,
            }),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Gives an input to the task `id`; without one, or with `()`, the task gets a fresh id. Awaiting the answer
    /// returns once the input is durable:
    ///
    /// - no such task: it is started;
    /// - it is in its first turn, which runs or waits to, its definition takes one input, the bytes are the same, and no
    ///   [`input_id`](Start::input_id) is given: attached. A batch that is started again gives input ids, or says
    ///   [`OnConflict::Attach`](crate::OnConflict::Attach), for tasks of it may have ended;
    /// - it runs or waits and is [`steerable`](TaskDef::steerable): queued for a turn of its own;
    /// - it is suspended and waits for an input: resumed with it, [`Entry::Resumed`](crate::Entry::Resumed);
    /// - the call names an [`input_id`](Start::input_id) that was accepted before: attached, whatever the state;
    /// - else: [`StartError::Conflict`].
    ///
    /// An input of another type than the definition's does not compile:
    ///
    /// ```compile_fail
    /// # use outlive::{Engine, TaskDef};
    /// const LENGTH: TaskDef<String, usize> = TaskDef::new("length");
    /// fn misuse(engine: &Engine) {
    ///     let _ = engine.start(LENGTH, "doc-17", &17);
    /// }
    /// ```
    ///
    /// # Errors
    /// Awaited, [`StartError`]: what to do is in each variant.
    pub fn start<I: Serialize, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl Into<NewTaskId>,
        input: &I,
    ) -> Start<O, S> {
        Start::new(self, def, id.into(), input)
    }

    /// Starts a task, or attaches to it, and waits for the output.
    ///
    /// # Errors
    /// [`RunError`]: the input was not accepted, or there is no output.
    pub async fn run<I: Serialize, O: DeserializeOwned + 'static, S: 'static>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl Into<NewTaskId>,
        input: &I,
    ) -> Result<O, RunError> {
        // Taken apart first, so that the input need not live, nor be Sync, across the wait.
        let going = self.start(def, id, input).go()?;
        going.end().await
    }

    /// Starts many tasks in few commits; one answer each, in order. However many there are, a bounded number is under
    /// way at once; a handle for each is returned. It has no options: a task that has ended is a [`StartError::Conflict`], and
    /// [`Engine::attach`] gives its handle; or use [`Engine::start_all`].
    ///
    /// # Errors
    /// Each answer's own: [`StartError`]. One that is refused hinders no other.
    pub async fn start_many<I, O, S, T, B>(
        &self,
        def: TaskDef<I, O, S>,
        tasks: impl IntoIterator<Item = (T, B)>,
    ) -> Vec<Result<Run<O, S>, StartError>>
    where
        I: Serialize,
        O: 'static,
        S: 'static,
        T: Into<NewTaskId>,
        B: std::borrow::Borrow<I>,
    {
        let starts = tasks.into_iter();
        self.start_all(starts.map(|(id, input)| self.start(def, id, input.borrow())))
            .await
    }

    /// As [`Engine::start_many`], with options of its own for each: a restarted batch begins each of its starts with
    /// [`on_conflict(OnConflict::Attach)`](Start::on_conflict).
    ///
    /// ```
    /// # use outlive::{Ctx, Engine, HandlerError, OnConflict, TaskDef};
    /// # const CASE: TaskDef<u32, u32> = TaskDef::new("case");
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().task(CASE, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
    /// let cases = (0..100u32).map(|n| {
    ///     let case = engine.start(CASE, format!("case-{n}"), &n);
    ///     case.session("nightly").on_conflict(OnConflict::Attach)
    /// });
    /// for run in engine.start_all(cases).await {
    ///     run?.result().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn start_all<O: 'static, S: 'static>(
        &self,
        starts: impl IntoIterator<Item = Start<O, S>>,
    ) -> Vec<Result<Run<O, S>, StartError>> {
        let mut many = StartMany::default();
        for start in starts {
            many.push(start).await;
        }
        many.finish().await
    }

    /// Waits until everything that ran at the last crash has been entered again, and tells what was found.
    /// While fewer slots are free than tasks ran, that takes as long as their handlers do.
    pub async fn recovery(&self) -> RecoveryReport {
        let mut recovery = self.shared().recovery.clone();
        // An engine that stops before its scan is through has nothing more to report.
        let report = recovery
            .wait_for(Option::is_some)
            .await
            .map(|report| report.unwrap_or_default());
        report.unwrap_or_default()
    }

    /// Stops the engine: nothing new is claimed, [`Ctx::shutdown`](crate::Ctx::shutdown) resolves, running turns have
    /// `grace` to end. What is left then is dropped; it stays in progress and is recovered at the next open,
    /// with no attempt charged. Everything acknowledged is durable already. Returns at most 0.1 s after `grace`,
    /// and what the disk takes for the commits under way.
    ///
    /// It goes on when this future is dropped, and happens once: a second call waits for the first.
    pub async fn shutdown(&self, grace: Duration) -> ShutdownReport {
        let mut report = self.inner.end(grace);
        let reported = report.wait_for(Option::is_some).await;
        let reported = reported.ok().and_then(|report| *report);
        reported.unwrap_or_else(|| ShutdownReport {
            still_running: self.shared().dispatcher.live.running(),
        })
    }

    /// Gives the file up although handlers of this engine still run, so that another engine can open it: for handlers
    /// that block for ever, once [`Engine::shutdown`] has reported them. They record nothing any more, but what they
    /// do to the outside world may meet what the next engine does: their turns are entered again there. Does nothing
    /// before a shutdown.
    pub fn abandon(&self) {
        let stopped = matches!(&*self.inner.ending.lock(), Ending::Begun(report) if report.borrow().is_some());
        if stopped {
            self.shared().dispatcher.reader.abandon();
        }
    }
}

impl Inner {
    /// Begins the shutdown, on a thread that no handler can hold up.
    fn end(&self, grace: Duration) -> watch::Receiver<Option<ShutdownReport>> {
        let mut ending = self.ending.lock();
        let (sender, report) = watch::channel(None);
        let ended = match std::mem::replace(&mut *ending, Ending::Begun(report.clone())) {
            Ending::NotYet(ended) => ended,
            Ending::Begun(earlier) => {
                *ending = Ending::Begun(earlier.clone());
                return earlier;
            }
        };
        let dispatcher = Arc::clone(&self.shared.dispatcher);
        dispatcher.stopping.begin();
        let without_runtime = Arc::clone(&dispatcher);
        let work = async move {
            let report = wind_down(&dispatcher, grace, ended).await;
            sender.send_replace(Some(report));
        };
        let begun = match self.place {
            Place::Inline => {
                self.shared.dispatcher.spawner.spawn(work);
                Ok(())
            }
            Place::Threads => env::thread("outlive-shutdown", move || {
                // Without a runtime the work is dropped, and its report with it: the caller is not left waiting.
                if env::block_on_here(work).is_err() {
                    without_runtime.drop_everything();
                }
            })
            .map(drop),
        };
        if begun.is_err() {
            self.shared.dispatcher.drop_everything();
        }
        report
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (_, report) = watch::channel(None);
        let ending = std::mem::replace(self.ending.get_mut(), Ending::Begun(report));
        let Ending::NotYet([_, writer_ended]) = ending else {
            return;
        };
        self.shared.dispatcher.drop_everything();
        if self.place == Place::Threads && !cfg!(planted = "drop_does_not_wait") {
            wait_here(writer_ended);
        }
    }
}

/// A program that drops its engine and ends must not look as if it had died: this thread waits until the stop is put
/// down.
fn wait_here(writer_ended: oneshot::Receiver<()>) {
    let ended = within(WRITER_ENDS, async {
        // A writer that died has ended, too.
        let _ = writer_ended.await;
    });
    // On a thread of its own, because this one may belong to a runtime, where nothing can be waited for.
    let waits = env::thread("outlive-drop", || {
        let _ = env::block_on_here(ended);
    });
    if let Ok(waits) = waits {
        let _ = waits.join();
    }
}

async fn wind_down(
    dispatcher: &Dispatcher,
    grace: Duration,
    ended: [oneshot::Receiver<()>; 2],
) -> ShutdownReport {
    failpoint::reach(Failpoint::ShutdownBegun);
    within(grace, dispatcher.live.empty()).await;
    dispatcher.live.stop();
    failpoint::reach(Failpoint::HandlersDropped);
    within(AFTER_DROP, dispatcher.live.empty()).await;
    let still_running = dispatcher.live.running();
    dispatcher.writer.stop();
    for end in ended {
        // A thread that died has ended, too.
        let _ = end.await;
    }
    dispatcher.reader.close(still_running);
    ShutdownReport { still_running }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("owner", &self.shared().dispatcher.claimant.owner)
            .finish_non_exhaustive()
    }
}

async fn within(limit: Duration, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = work => {}
        () = env::sleep(limit) => {}
    }
}

/// Begins what hands out tasks that are due, and sweeps. It tells when it has ended, and when what the process before has
/// left is recovered.
fn begin_loop(
    dispatcher: &Arc<Dispatcher>,
    (tools, guard): (Tools, Guard),
    held_until: Option<Micros>,
    place: Place,
) -> Result<
    (
        oneshot::Receiver<()>,
        watch::Receiver<Option<RecoveryReport>>,
    ),
    OpenError,
> {
    let (report, recovery) = watch::channel(None);
    let scan = Recovery::new(dispatcher.clock.own(), report);
    let families = Families::new(dispatcher);
    let sweep = Sweep::new(dispatcher, held_until, recovery.clone());
    let work = EngineLoop::new(tools, scan, guard).run(sweep, families);
    let ended = drive_loop(work, place, &dispatcher.spawner).map_err(|error| {
        // The writer would keep the file otherwise.
        dispatcher.writer.stop();
        dispatcher.reader.close(0);
        OpenError::Thread(error)
    })?;
    Ok((ended, recovery))
}

fn drive_loop(
    work: impl Future<Output = ()> + Send + 'static,
    place: Place,
    spawner: &Spawner,
) -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, when_ended) = oneshot::channel();
    match place {
        Place::Inline => drop(spawner.spawn(async move {
            work.await;
            let _ = ended.send(());
        })),
        Place::Threads => drop(env::thread("outlive-loop", move || {
            if let Err(error) = env::block_on_here(work) {
                tracing::error!(target: "outlive::engine", %error, "the engine loop did not start");
            }
            let _ = ended.send(());
        })?),
    }
    Ok(when_ended)
}
