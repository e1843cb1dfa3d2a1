//! Where a part is measured: in memory, with no disk and no other thread, and on a file with the default settings.

use crate::Failed;
use outlive::{Builder, Ctx, Engine, HandlerError, TaskDef};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// A runtime, and an engine that is to be opened in it.
pub struct Place {
    /// `in_memory` or `on_a_file`.
    pub name: &'static str,
    /// Of one thread in memory; of as many as there are processors on a file.
    pub runtime: Runtime,
    /// Not opened yet, so that a bench can register its handlers.
    pub builder: Builder,
    /// Removed with the place.
    _directory: Option<TempDir>,
}

/// Both.
///
/// # Errors
/// There is no directory for the file, or no thread to be had.
pub fn both() -> Result<[Place; 2], Failed> {
    let directory = tempfile::tempdir_in(crate::host::directory())?;
    let file = Engine::builder(directory.path().join("engine.redb"));
    Ok([
        Place {
            name: "in_memory",
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?,
            builder: Engine::in_memory(),
            _directory: None,
        },
        Place {
            name: "on_a_file",
            runtime: Runtime::new()?,
            builder: file,
            _directory: Some(directory),
        },
    ])
}

/// An engine whose handlers wait at a gate.
pub struct Gated {
    /// Of the place.
    pub runtime: Runtime,
    /// Open.
    pub engine: Engine,
    /// Holds its handlers back.
    pub gate: Gate,
    /// Removed with it.
    _directory: Option<TempDir>,
}

impl Place {
    /// An engine whose handler waits at a gate.
    ///
    /// # Errors
    /// The engine does not open.
    pub fn gated(self, def: TaskDef<u64, u64>) -> Result<Gated, Failed> {
        let gate = Gate::default();
        let waiting = gate.clone();
        let builder = self.builder.task(def, move |_: Ctx, input| {
            let gate = waiting.clone();
            async move {
                gate.pass().await;
                Ok::<_, HandlerError>(input)
            }
        });
        let engine = self.runtime.block_on(builder.open())?;
        Ok(Gated {
            runtime: self.runtime,
            engine,
            gate,
            _directory: self._directory,
        })
    }
}

/// Holds handlers back until they are let through, so that a start and the end after it are measured apart.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Returns once this caller is let through; never, if nobody is.
    pub async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }

    /// Lets so many through.
    pub fn let_through(&self, handlers: usize) {
        self.0.add_permits(handlers);
    }
}
