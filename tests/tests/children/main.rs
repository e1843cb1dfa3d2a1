//! Tasks that start tasks: found again by a replay, waited for outside of memory, cancelled with their parent.

mod cancel;
mod crashes;
mod joins;
mod many;
mod starts;

use outlive::{Builder, ChildError, Ctx, Engine, HandlerError, Reply, Snapshot, TaskDef};
use outlive_storage::{MemStore, Store};
use outlive_tests::gate::{Drops, Gate, Notes};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The task that starts others.
pub(crate) const PARENT: TaskDef<u32, String> = TaskDef::new("parent");
/// A child; its input says what it does.
pub(crate) const CHILD: TaskDef<String, String> = TaskDef::new("child");
pub(crate) const ID: &str = "p";
pub(crate) const NO_GRACE: Duration = Duration::ZERO;

/// What the handlers of a test share with it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: Arc<MemStore>,
    /// What handlers were entered with.
    pub(crate) notes: Notes<String>,
    /// Children whose input begins with `gate` wait at it.
    pub(crate) gate: Gate,
    pub(crate) gone: Drops,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            store: Arc::new(MemStore::new()),
            notes: Notes::default(),
            gate: Gate::closed(),
            gone: Drops::default(),
        }
    }

    pub(crate) fn builder(&self) -> Builder {
        let world = self.clone();
        let builder = Engine::on_store(Arc::clone(&self.store) as Arc<dyn Store>).inline();
        builder.task(CHILD, move |ctx, input| child(world.clone(), ctx, input))
    }

    /// An engine on which `handler` is the parent.
    pub(crate) async fn open<F, Fut>(&self, handler: F) -> Engine
    where
        F: Fn(World, Ctx, u32) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
    {
        self.open_with(|builder| builder, handler).await
    }

    pub(crate) async fn open_with<F, Fut>(
        &self,
        with: impl FnOnce(Builder) -> Builder,
        handler: F,
    ) -> Engine
    where
        F: Fn(World, Ctx, u32) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, HandlerError>> + Send + 'static,
    {
        let world = self.clone();
        let call = move |ctx, input| handler(world.clone(), ctx, input);
        let engine = with(self.builder())
            .task(PARENT, call)
            .open()
            .await
            .unwrap();
        engine.recovery().await;
        engine
    }
}

/// Echoes its input; waits at the gate, fails, or suspends first, if that says so.
async fn child(world: World, ctx: Ctx, input: String) -> Result<Reply<String>, HandlerError> {
    let _guard = world.gone.guard();
    world.notes.add(format!("{} {:?}", ctx.id(), ctx.entry()));
    if input.starts_with("gate") {
        world.gate.pass().await;
    }
    if input.starts_with("fail") {
        return Err(HandlerError::terminal(input));
    }
    if input.starts_with("suspend") {
        return Ok(Reply::suspend(input, "more"));
    }
    Ok(input.into())
}

/// Outputs and errors, as text.
pub(crate) fn told(results: &[Result<String, ChildError>]) -> Vec<String> {
    let text = |result: &Result<String, ChildError>| match result {
        Ok(output) => output.clone(),
        Err(ChildError::Failed(failure)) => format!("failed {}", failure.message),
        Err(other) => format!("{other:?}"),
    };
    results.iter().map(text).collect()
}

pub(crate) async fn task(engine: &Engine, id: &str) -> Snapshot {
    engine.get(id).await.unwrap().expect("the task is there")
}

/// Waits until the task is as wanted.
pub(crate) async fn until(
    engine: &Engine,
    id: &str,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
    outlive_tests::gate::until(async || wanted(&task(engine, id).await)).await;
    task(engine, id).await
}
