//! What an engine is and how it is, for whoever shows it to others: definitions, health, numbers.

use crate::engine::Engine;
use crate::flow::Kind;
use crate::recovery::RecoveryReport;
use crate::stream::StreamMemory;
use crate::writer::Stop;
use outlive_storage::StoreError;

/// A definition whose handler is registered with an engine.
///
/// ```
/// use outlive::{Ctx, Engine, HandlerError, TaskDef};
/// const ECHO: TaskDef<u32, u32> = TaskDef::new("echo").remote().steerable(3);
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
/// let echo = &engine.definitions()[0];
/// assert_eq!((echo.name, echo.is_remote, echo.steerable_max), ("echo", true, Some(3)));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Definition {
    /// Its name on disk.
    pub name: &'static str,
    /// Whether it is [`remote`](crate::TaskDef::remote): for who listens to the outside to ask, before a start or a further
    /// input.
    pub is_remote: bool,
    /// How many inputs may wait while a turn runs; empty when it takes none.
    pub steerable_max: Option<u64>,
    /// How many of its tasks run at once; empty when the engine's slots alone bound them.
    pub concurrency: Option<usize>,
    /// Whether its stream items are [live](crate::TaskDef::live_items) only.
    pub live_items: bool,
    /// Whether its handler blocks a thread of its own.
    pub is_blocking: bool,
}

/// Whether an engine does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It takes calls, and what ran before the open is entered again.
    Running,
    /// It takes calls; what ran before the open is still being entered again.
    Recovering,
    /// It is shutting down, or has: nothing new is claimed.
    ShuttingDown,
    /// Its store failed for longer than it waits, and it has stopped: open it again.
    Failed(StoreError),
}

/// How many handlers of one kind run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlersRunning {
    /// How many run.
    pub running: usize,
    /// How many may.
    pub allowed: usize,
}

/// An engine at one moment; see [`Engine::about`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct About {
    /// The version of this library.
    pub version: &'static str,
    /// The format of the file; zero without one.
    pub format: u32,
    /// The owner name it writes on the tasks it starts.
    pub owner: String,
    /// The session of the tasks it starts, unless a call names its own.
    pub session: Option<String>,
    /// Names this open of the store, and no other one.
    pub instance: u128,
    /// Whether it does its work.
    pub health: Health,
    /// Its async handlers.
    pub handlers: HandlersRunning,
    /// Its blocking handlers.
    pub blocking: HandlersRunning,
    /// What its streams hold in memory.
    pub streams: StreamMemory,
    /// Whether transitions are logged, for [`Engine::events`].
    pub logs_events: bool,
    /// The last transition that is durable: where [`Engine::events`] begins for who wants only what comes.
    pub last_event: u64,
    /// What the start-up scan found; empty while it goes on.
    pub recovery: Option<RecoveryReport>,
}

impl Engine {
    /// The registered definitions, by name, and those whose tasks may be
    /// [started for others](crate::Builder::start_for_others).
    pub fn definitions(&self) -> Vec<Definition> {
        let registry = &self.shared().dispatcher.registry;
        let registered = registry.defs().into_iter();
        let mut definitions: Vec<Definition> = registered
            .filter_map(|(number, kind)| {
                let registered = registry.get(number)?;
                let options = &registered.options;
                Some(Definition {
                    name: registered.name,
                    is_remote: options.remote,
                    steerable_max: options.steerable_max,
                    concurrency: options.concurrency,
                    live_items: options.live_items,
                    is_blocking: kind == Kind::Blocking,
                })
            })
            .collect();
        definitions.extend(registry.elsewhere().map(|name| Definition {
            name,
            is_remote: true,
            steerable_max: None,
            concurrency: None,
            live_items: false,
            is_blocking: false,
        }));
        definitions.sort_by_key(|definition| definition.name);
        definitions
    }

    /// Says where the engine is reached from now on: whoever wants to open its file meanwhile is told, in
    /// [`OpenError::AlreadyRunning`](crate::OpenError::AlreadyRunning). A server calls it when it listens. At most 8
    /// addresses of at most 256 bytes are told, and none that has control characters; nothing is, for a store without a
    /// file.
    pub fn reached_at(&self, addresses: &[String]) {
        self.shared().dispatcher.reader.reached_at(addresses);
    }

    /// Whether the engine does its work. Nothing is read from the store for it, and nothing waited for.
    pub fn health(&self) -> Health {
        let shared = self.shared();
        match shared.dispatcher.writer.poison.get() {
            Some(Stop::Failed(error)) => Health::Failed(error),
            Some(Stop::Shutdown) => Health::ShuttingDown,
            None if shared.dispatcher.is_stopping() => Health::ShuttingDown,
            None if shared.is_recovering() => Health::Recovering,
            None => Health::Running,
        }
    }

    /// What the engine is and how it is at the moment. Nothing is read from the store for it, and nothing waited for.
    ///
    /// ```
    /// # use outlive::{Engine, Health};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let engine = Engine::in_memory().owner("desk").open().await?;
    /// engine.recovery().await;
    /// let about = engine.about();
    /// assert_eq!((about.owner.as_str(), about.health), ("desk", Health::Running));
    /// # Ok(()) }
    /// ```
    pub fn about(&self) -> About {
        let shared = self.shared();
        let dispatcher = &shared.dispatcher;
        let running = |kind| {
            let taken = dispatcher.slots.taken_of(kind);
            HandlersRunning {
                running: taken.running,
                allowed: taken.allowed,
            }
        };
        About {
            version: env!("CARGO_PKG_VERSION"),
            format: shared.format,
            owner: dispatcher.creator.owner.to_string(),
            session: dispatcher.creator.session.as_deref().map(str::to_owned),
            instance: dispatcher.claimant.instance,
            health: self.health(),
            handlers: running(Kind::Async),
            blocking: running(Kind::Blocking),
            streams: self.stream_memory(),
            logs_events: shared.feeds.log.is_kept,
            last_event: shared.feeds.log.last().0,
            recovery: *shared.recovery.borrow(),
        }
    }
}
