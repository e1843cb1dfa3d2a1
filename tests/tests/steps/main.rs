//! Recorded steps: done once and for all, found by their keys, whatever happens to the attempts around them.

mod blocking;
mod crashes;
mod emits;
mod listed;
mod once;
mod parked;
mod replay;

use outlive::{Builder, Ctx, Engine, HandlerError, RetryPolicy, Snapshot, TaskDef};
use outlive_storage::MemStore;
use outlive_tests::gate::{Gate, Notes};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Its input says how many attempts fail.
pub(crate) const TASK: TaskDef<u32, String> = TaskDef::new("task").retry(
    RetryPolicy::fixed()
        .attempts(9)
        .initial(Duration::from_secs(1))
        .jitter(false),
);
pub(crate) const ID: &str = "a";
pub(crate) const NO_GRACE: Duration = Duration::ZERO;

/// What the steps of a test share: a gate, and the notes of those that ran.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<MemStore>,
    pub(crate) ran: Notes<String>,
    pub(crate) gate: Gate,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            store: Arc::new(MemStore::new()),
            ran: Notes::default(),
            gate: Gate::closed(),
        }
    }

    fn builder(&self) -> Builder {
        Engine::on_store(Arc::<MemStore>::clone(&self.store)).inline()
    }

    /// An engine whose handler is this; a former one has been shut down.
    pub(crate) async fn open<F, Fut>(&self, handler: F) -> Engine
    where
        F: Fn(World, Ctx, u32) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
    {
        let world = self.clone();
        let call = move |ctx, input| handler(world.clone(), ctx, input);
        let engine = self.builder().task(TASK, call).open().await.unwrap();
        engine.recovery().await;
        engine
    }

    /// A step's work: it is noted, and gives its name back.
    pub(crate) async fn work(&self, name: &str) -> Result<String, std::io::Error> {
        self.ran.add(name.to_owned());
        Ok(name.to_owned())
    }
}

/// The task, which is there.
pub(crate) async fn task(engine: &Engine) -> Snapshot {
    engine.get(ID).await.unwrap().expect("the task is there")
}

/// Waits until the task is as wanted.
pub(crate) async fn until(engine: &Engine, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    outlive_tests::gate::until(async || wanted(&task(engine).await)).await;
    task(engine).await
}
