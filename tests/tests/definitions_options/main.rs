//! Definitions, their variants and calls: names, each option at each place it can be said, and who has the last word.

mod formerly;
mod levels;
mod names;
mod order;

use outlive::{Builder, Engine, Snapshot};
use outlive_storage::MemStore;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const NO_GRACE: Duration = Duration::ZERO;
/// Far longer than anything here takes: with a paused clock a wait without end is over at once.
const NEVER: Duration = Duration::from_secs(300 * 24 * 3600);

pub(crate) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn on(store: &Arc<MemStore>) -> Builder {
    Engine::on_store(Arc::<MemStore>::clone(store)).inline()
}

pub(crate) async fn opened(builder: Builder) -> Engine {
    let engine = builder.open().await.unwrap();
    engine.recovery().await;
    engine
}

pub(crate) async fn task(engine: &Engine, id: &str) -> Snapshot {
    engine.get(id).await.unwrap().expect("the task is there")
}

/// The answer; a caller that is never answered fails here instead of hanging.
pub(crate) async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(NEVER, waiting);
    waited.await.expect("an answer")
}
