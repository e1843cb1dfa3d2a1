//! What every user does: start tasks, wait for them, steer them, and find them again after a restart.

mod failures;
mod handles;
mod limits;
mod one_id;
mod restart;
mod steering;
mod values;

use outlive::{Ctx, Engine, HandlerError, TaskDef};
use outlive_storage::MemStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

pub(crate) const ECHO: TaskDef<String, String> = TaskDef::new("echo");
/// Waits for its gate.
pub(crate) const GATED: TaskDef<u32, u32> = TaskDef::new("gated");

/// No grace: what has not ended is left for the next open.
pub(crate) const NO_GRACE: Duration = Duration::ZERO;

pub(crate) async fn echo(_ctx: Ctx, text: String) -> Result<String, HandlerError> {
    Ok(text)
}

/// A gate that handlers wait at, and a count of those that came.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    came: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn closed() -> Gate {
        let empty = || Arc::new(Semaphore::new(0));
        Gate {
            came: empty(),
            open: empty(),
        }
    }

    /// In a handler: says that it came, and waits to be let through.
    pub(crate) async fn pass(&self) {
        self.came.add_permits(1);
        take(&self.open, 1).await;
    }

    /// Lets so many through, now or later.
    pub(crate) fn let_through(&self, count: usize) {
        self.open.add_permits(count);
    }

    /// Waits until so many more have come.
    pub(crate) async fn came(&self, count: u32) {
        take(&self.came, count).await;
    }

    /// How many came and were not waited for.
    pub(crate) fn uncounted(&self) -> usize {
        self.came.available_permits()
    }
}

async fn take(semaphore: &Semaphore, count: u32) {
    let permits = semaphore.acquire_many(count).await;
    permits.expect("nobody closes it").forget();
}

/// An engine with threads of its own on a store in memory, whose [`GATED`] handlers wait at the gate.
pub(crate) async fn gated(store: &Arc<MemStore>, gate: &Gate) -> Engine {
    let gate = gate.clone();
    Engine::on_store(Arc::<MemStore>::clone(store))
        .task(GATED, move |_: Ctx, n| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, HandlerError>(n + 1)
            }
        })
        .open()
        .await
        .expect("the engine opens")
}
