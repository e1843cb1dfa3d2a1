//! What an engine is opened with: a place for its rows, handlers, limits.

use crate::ctx::Ctx;
use crate::def::TaskDef;
use crate::engine::{Engine, Parts};
use crate::env::{self, Place, Spawner};
use crate::error::OpenError;
use crate::flow::{MAX_BLOCKING, MAX_RUNNING};
use crate::handler::{
    Erased, Handler, HandlerError, Reply, erase_blocking, erase_fn, erase_handler,
};
use crate::registry::Registered;
use outlive_storage::Store;
use outlive_storage::mem::MemStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

enum Source {
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
    source: Source,
    place: Place,
    handlers: Vec<Registered>,
    max_running: usize,
    max_blocking: usize,
    owner: Option<Box<str>>,
    runtime: Option<Spawner>,
}

impl Builder {
    fn new(source: Source, place: Place) -> Builder {
        Builder {
            source,
            place,
            handlers: Vec::new(),
            max_running: MAX_RUNNING,
            max_blocking: MAX_BLOCKING,
            owner: None,
            runtime: None,
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

    /// Registers an async function or closure as the handler of a definition.
    pub fn task<I, O, S, R, F, Fut>(self, def: TaskDef<I, O, S>, f: F) -> Builder
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        S: 'static,
        R: Into<Reply<O>> + Send + 'static,
        F: Fn(Ctx<S>, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        self.register(def, erase_fn(f))
    }

    /// Registers a type with state as the handler of a definition.
    pub fn handler<I, O, S, H>(self, def: TaskDef<I, O, S>, handler: H) -> Builder
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        S: 'static,
        H: Handler<I, O, S>,
    {
        self.register(def, erase_handler(handler))
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
        self.register(def, erase_blocking(f))
    }

    fn register<I, O, S>(mut self, def: TaskDef<I, O, S>, handler: Erased) -> Builder {
        self.handlers.push(Registered {
            name: def.name(),
            options: def.options,
            handler,
        });
        self
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
        self.check()?;
        let spawner = self
            .runtime
            .clone()
            .or_else(Spawner::current)
            .ok_or(OpenError::NoRuntime)?;
        let instance = env::fresh_instance();
        let clock = env::Clock::new(self.place);
        let store = open_store(self.source, self.place, instance, clock.now().0).await?;
        Engine::begin(Parts {
            store,
            place: self.place,
            handlers: self.handlers,
            max_running: self.max_running,
            max_blocking: self.max_blocking,
            owner: self.owner.unwrap_or_else(|| env::program_name().into()),
            spawner,
            instance,
            clock,
        })
    }

    /// What can be told without touching the file.
    fn check(&self) -> Result<(), OpenError> {
        let mut names = HashSet::new();
        for registered in &self.handlers {
            let name = registered.name;
            if !names.insert(name) {
                return Err(OpenError::Duplicate { name });
            }
            let retry = registered.options.retry.validate();
            retry.map_err(|error| OpenError::InvalidRetry { name, error })?;
        }
        Ok(())
    }
}

async fn open_store(
    source: Source,
    place: Place,
    instance: u128,
    now_us: u64,
) -> Result<Arc<dyn Store>, OpenError> {
    match source {
        Source::Memory => Ok(Arc::new(MemStore::new())),
        Source::Store(store) => Ok(store),
        #[cfg(feature = "redb")]
        Source::File(path, options) => {
            let open = move || open_file(&path, options, instance, now_us);
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
    now_us: u64,
) -> Result<Arc<dyn Store>, OpenError> {
    use outlive_storage::redb::{OpenError as FileError, RedbStore};
    match RedbStore::open(path, options, instance, now_us) {
        Ok(store) => Ok(Arc::new(store)),
        Err(FileError::AlreadyRunning { pid, .. }) => Err(OpenError::AlreadyRunning {
            pid,
            path: path.display().to_string(),
        }),
        Err(error) => Err(OpenError::File(error)),
    }
}
