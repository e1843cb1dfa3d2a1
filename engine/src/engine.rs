//! The engine as its user holds it: start, look, wait, stop.

use crate::batch::Batcher;
use crate::builder::Builder;
use crate::def::TaskDef;
use crate::engine_loop::{EngineLoop, Tools};
use crate::env::{self, Clock, Place, Spawner};
use crate::error::{AttachError, GetError, OpenError, RunError, StartError};
use crate::flow::Slots;
use crate::hub::Hub;
use crate::live::LiveTable;
use crate::machine::Claimant;
use crate::reader::Reader;
use crate::recovery::{Recovery, RecoveryReport};
use crate::registry::{Registered, Registry};
use crate::run::Run;
use crate::snapshot::{Cursor, List, Snapshot};
use crate::start::{NewTaskId, Start, StartMany};
use crate::turn::Dispatcher;
use crate::writer::{self, Writer};
use outlive_storage::id::TaskId;
use outlive_storage::row::TaskRow;
use outlive_storage::{Scan, Store};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long dropped handlers may take to go before [`Engine::shutdown`] returns without them.
const AFTER_DROP: Duration = Duration::from_millis(50);

pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) place: Place,
    pub(crate) handlers: Vec<Registered>,
    pub(crate) max_running: usize,
    pub(crate) max_blocking: usize,
    pub(crate) owner: Box<str>,
    pub(crate) spawner: Spawner,
    pub(crate) instance: u128,
    pub(crate) clock: Clock,
}

/// What handles share with the engine. It holds no store of its own: the file is free after shutdown, however
/// many handles are left.
pub(crate) struct Shared {
    pub(crate) dispatcher: Arc<Dispatcher>,
    recovery: watch::Receiver<Option<RecoveryReport>>,
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
) -> Result<Registry, outlive_storage::StoreError> {
    let names: Vec<&str> = handlers.iter().map(|registered| registered.name).collect();
    let numbers = store.define(&names)?;
    Ok(Registry::new(handlers, numbers, store.definitions()?))
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
/// acknowledged is lost.
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

    pub(crate) fn begin(parts: Parts) -> Result<Engine, OpenError> {
        let Parts {
            store,
            place,
            handlers,
            max_running,
            max_blocking,
            owner,
            spawner,
            instance,
            clock,
        } = parts;
        let counters = store.counters().map_err(OpenError::Store)?;
        let registry = Arc::new(registry(&*store, handlers).map_err(OpenError::Store)?);
        let (writer, receiver) = Writer::new(place);
        let writer = Arc::new(writer);
        let stopping = watch::Sender::new(false);
        let reader = Reader::new(Arc::clone(&store), place, Arc::clone(&writer));
        let reader = Arc::new(reader.map_err(OpenError::Thread)?);
        let dispatcher = Arc::new(Dispatcher {
            registry: Arc::clone(&registry),
            slots: Slots::new(max_running, max_blocking),
            hub: Arc::new(Hub::new()),
            writer: Arc::clone(&writer),
            reader,
            spawner: spawner.clone(),
            claimant: Claimant { owner, instance },
            live: Arc::new(LiveTable::default()),
            stopping,
        });
        let poison = Arc::clone(&writer.poison);
        let batcher = Batcher::new(
            Arc::clone(&store),
            counters,
            clock,
            registry,
            Arc::clone(&dispatcher),
            poison,
        );
        let writer_ended = writer::drive(batcher, receiver, &spawner).map_err(OpenError::Thread)?;
        let (report, recovery) = watch::channel(None);
        let tools = Tools::new(&dispatcher, store, clock);
        let recovery_scan = Recovery::new(clock.now(), report);
        let engine_loop = EngineLoop::new(tools, recovery_scan);
        let loop_ended = drive_loop(engine_loop, place, &spawner).map_err(|error| {
            // The writer would keep the file otherwise.
            dispatcher.writer.stop();
            dispatcher.reader.close();
            OpenError::Thread(error)
        })?;
        let shared = Arc::new(Shared {
            dispatcher,
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
    /// - it runs or waits to, its definition takes one input, and the bytes are the same: attached, so that a
    ///   restarted batch may start everything again;
    /// - it runs or waits and is [`steerable`](TaskDef::steerable): queued for a turn of its own;
    /// - the call names an [`input_id`](Start::input_id) that was accepted before: attached, whatever the state;
    /// - else: [`StartError::Conflict`].
    pub fn start<I: Serialize, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl Into<NewTaskId>,
        input: &I,
    ) -> Start<O> {
        Start::new(self, def, id.into(), input)
    }

    /// Starts a task, or attaches to it, and waits for the output.
    ///
    /// # Errors
    /// [`RunError`]: the input was not accepted, or there is no output.
    pub async fn run<I: Serialize, O: DeserializeOwned + 'static, S>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl Into<NewTaskId>,
        input: &I,
    ) -> Result<O, RunError> {
        // Taken apart first, so that the input need not live, nor be Sync, across the wait.
        let start = self.start(def, id, input);
        Ok(start.await?.result().await?)
    }

    /// Starts many tasks in few commits; one answer each, in order. Memory is bounded, however many there are.
    pub async fn start_many<I, O, S, T, B>(
        &self,
        def: TaskDef<I, O, S>,
        tasks: impl IntoIterator<Item = (T, B)>,
    ) -> Vec<Result<Run<O>, StartError>>
    where
        I: Serialize,
        O: 'static,
        T: Into<NewTaskId>,
        B: std::borrow::Borrow<I>,
    {
        let mut many = StartMany::default();
        for (id, input) in tasks {
            many.push(self.start(def, id, input.borrow())).await;
        }
        many.finish().await
    }

    /// The task as of its last commit, or `None`. Nothing changes.
    ///
    /// # Errors
    /// [`GetError`]; a damaged row is an error, never `None`.
    pub async fn get(&self, id: impl AsRef<str>) -> Result<Option<Snapshot>, GetError> {
        let id = TaskId::new(id)?;
        let row = self.shared().row(id).await?;
        Ok(row.map(|(_, row)| Snapshot::of(row, &self.shared().dispatcher.registry)))
    }

    /// A handle to a task that runs, waits or has ended; for the input it works or worked on last.
    ///
    /// # Errors
    /// [`AttachError`]: there is no such task, it is of another definition, or it cannot be read.
    pub async fn attach<I, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl AsRef<str>,
    ) -> Result<Run<O>, AttachError> {
        let id = TaskId::new(id).map_err(GetError::from)?;
        let found = self.shared().row(id.clone()).await?;
        let Some((task, row)) = found else {
            return Err(AttachError::NotFound(id));
        };
        let registry = &self.shared().dispatcher.registry;
        let name = registry.name(row.def);
        if name != def.name() {
            return Err(AttachError::OtherDefinition {
                id,
                name: name.to_owned(),
            });
        }
        Ok(Run::new(
            Arc::clone(self.shared()),
            task,
            id,
            row.input_id,
            None,
        ))
    }

    /// A page of the tasks of one definition, newest first; at most `limit`, from 1 to 1,024.
    ///
    /// # Errors
    /// [`GetError`] when the store cannot be read; damaged rows are listed apart.
    pub async fn list<I, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<List, GetError> {
        match self.shared().dispatcher.registry.number(def.name()) {
            Some(number) => {
                self.shared()
                    .list(Scan::Definition(number), after, limit)
                    .await
            }
            None => Ok(List {
                tasks: Vec::new(),
                damaged: Vec::new(),
                next: None,
            }),
        }
    }

    /// A page of all tasks, newest first, also those whose definition nobody registered here.
    ///
    /// # Errors
    /// As [`Engine::list`].
    pub async fn list_all(&self, after: Option<Cursor>, limit: usize) -> Result<List, GetError> {
        self.shared().list(Scan::All, after, limit).await
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
        dispatcher.stopping.send_replace(true);
        let work = async move {
            let report = wind_down(&dispatcher, grace, ended).await;
            sender.send_replace(Some(report));
        };
        let begun = match self.place {
            Place::Inline => {
                self.shared.dispatcher.spawner.spawn(work);
                Ok(())
            }
            Place::Threads => env::thread("outlive-shutdown", || {
                // Without a runtime the work is dropped, and its report with it: the caller is not left waiting.
                let _ = env::block_on_here(work);
            })
            .map(drop),
        };
        if begun.is_err() {
            self.drop_everything();
        }
        report
    }

    fn drop_everything(&self) {
        let dispatcher = &self.shared.dispatcher;
        dispatcher.stopping.send_replace(true);
        dispatcher.live.stop();
        dispatcher.writer.stop();
        dispatcher.reader.close();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Ending::NotYet(_) = &*self.ending.get_mut() {
            self.drop_everything();
        }
    }
}

async fn wind_down(
    dispatcher: &Dispatcher,
    grace: Duration,
    ended: [oneshot::Receiver<()>; 2],
) -> ShutdownReport {
    within(grace, dispatcher.live.empty()).await;
    dispatcher.live.stop();
    within(AFTER_DROP, dispatcher.live.empty()).await;
    let still_running = dispatcher.live.running();
    dispatcher.writer.stop();
    for end in ended {
        // A thread that died has ended, too.
        let _ = end.await;
    }
    dispatcher.reader.close();
    ShutdownReport { still_running }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("owner", &self.shared().dispatcher.claimant.owner)
            .finish_non_exhaustive()
    }
}

impl Shared {
    async fn row(
        &self,
        id: TaskId,
    ) -> Result<Option<(outlive_storage::row::TaskNumber, TaskRow)>, GetError> {
        let read = move |store: &dyn Store| {
            let Some(task) = store.find(&id)? else {
                return Ok(None);
            };
            Ok(store.get(task)?.map(|row| (task, row)))
        };
        Ok(self.dispatcher.reader.read(read).await?)
    }

    async fn list(
        &self,
        scan: Scan,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<List, GetError> {
        let (after, limit) = (after.map(|Cursor(task)| task), limit.max(1));
        let page = self
            .dispatcher
            .reader
            .read(move |store| store.scan(scan, after, limit))
            .await?;
        let mut list = List {
            tasks: Vec::new(),
            damaged: Vec::new(),
            next: page.next.map(Cursor),
        };
        for found in page.rows {
            match found.row {
                Ok(row) => list
                    .tasks
                    .push(Snapshot::of(row, &self.dispatcher.registry)),
                Err(error) => list.damaged.push(error),
            }
        }
        Ok(list)
    }
}

async fn within(limit: Duration, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = env::sleep(limit) => {}
    }
}

fn drive_loop(
    engine_loop: EngineLoop,
    place: Place,
    spawner: &Spawner,
) -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, when_ended) = oneshot::channel();
    match place {
        Place::Inline => drop(spawner.spawn(async move {
            engine_loop.run().await;
            let _ = ended.send(());
        })),
        Place::Threads => drop(env::thread("outlive-loop", move || {
            if let Err(error) = env::block_on_here(engine_loop.run()) {
                tracing::error!(target: "outlive::engine", %error, "the engine loop did not start");
            }
            let _ = ended.send(());
        })?),
    }
    Ok(when_ended)
}
