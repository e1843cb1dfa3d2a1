//! Metadata: a small map that a running turn keeps, and everybody else reads as of the last commit.

mod durability;
mod killed;
mod map;

use outlive::{Builder, Ctx, Engine, HandlerError, MetadataMap, TaskDef};
use outlive_storage::{MemStore, Store};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const TASK: TaskDef<u32, u32> = TaskDef::new("task");
/// Far longer than anything here takes: with a paused clock a wait without end is over at once.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) fn on<S: Store + 'static>(store: &Arc<S>) -> Builder {
    Engine::on_store(Arc::<S>::clone(store)).inline()
}

pub(crate) async fn opened(builder: Builder) -> Engine {
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine
}

/// The answer; a caller that is never answered fails here instead of hanging.
pub(crate) async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(NEVER, waiting);
    waited.await.expect("an answer")
}

/// What everybody sees of the task's metadata.
pub(crate) async fn seen(engine: &Engine, id: &str) -> MetadataMap {
    let task = engine.get(id).await.unwrap();
    task.expect("the task is there").metadata
}

/// One turn of a handler, which must end well: what it asserts fails the test.
pub(crate) async fn in_a_turn(
    work: impl Fn(&Ctx) + Send + Sync + 'static,
) -> (Engine, MetadataMap) {
    let store = Arc::new(MemStore::new());
    let builder = on(&store).task(TASK, move |ctx: Ctx, n| {
        work(&ctx);
        async move { Ok::<_, HandlerError>(n) }
    });
    let engine = opened(builder).await;
    let run = engine.start(TASK, "a", &7).await.unwrap();
    let ended = in_time(run.result()).await;
    assert_eq!(ended.unwrap(), 7);
    let metadata = seen(&engine, "a").await;
    (engine, metadata)
}
