//! Tasks without their types, for programs that pass values on and never look into them: a server, a command line.
//!
//! Values are JSON in the file. A definition whose types are `Box<serde_json::value::RawValue>` carries them byte for
//! byte; made from the name of a registered one ([`Engine::definitions`]) it starts its tasks. What needs no definition
//! at all is here.

use crate::control::{Again, Reenter};
use crate::engine::Engine;
use crate::error::AttachError;
use crate::input_error::InputError;
use crate::machine::Named;
use crate::receipt::InputStatus;
use crate::run::Run;
use outlive_storage::Store;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{Delivery, InputRow};
use outlive_storage::store::PAGE_MAX;
use std::sync::Arc;

/// An input that waits for a turn, or that the open turn has taken; without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingInput {
    /// Its id.
    pub input_id: InputId,
    /// How it comes to the task.
    pub delivery: Delivery,
    /// When it was accepted, in microseconds since 1970 UTC.
    pub accepted_at_us: u64,
    /// The bytes of its JSON.
    pub size: u64,
    /// The key under which the open turn has taken it; empty while it waits.
    pub taken: Option<String>,
}

impl WaitingInput {
    fn of(row: InputRow) -> WaitingInput {
        WaitingInput {
            input_id: row.input_id,
            delivery: row.delivery,
            accepted_at_us: row.accepted_at.0,
            size: row.payload.len(),
            taken: row.taken.map(|taken| taken.key.into()),
        }
    }
}

impl Engine {
    /// As [`Engine::attach`], whatever definition the task has.
    ///
    /// ```
    /// # use outlive::{Ctx, Engine, HandlerError, TaskDef};
    /// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
    /// engine.start(ECHO, "a", &17).await?;
    /// let run = engine.attach_untyped::<serde_json::Value, ()>("a").await?;
    /// assert_eq!(run.result().await?, 17);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`AttachError`]; never `OtherDefinition`.
    pub async fn attach_untyped<O, S>(
        &self,
        id: impl AsRef<str>,
    ) -> Result<Run<O, S>, AttachError> {
        let (task, row, id) = self.task_of(None, id).await?;
        self.handle((task, row), id).await
    }

    /// A handle to any input of a task that is still known: its result, and orders to its turn alone.
    ///
    /// # Errors
    /// [`InputError`]: what to do is in each variant.
    pub async fn attach_input<O, S>(
        &self,
        id: impl AsRef<str>,
        input_id: impl AsRef<str>,
    ) -> Result<Run<O, S>, InputError> {
        let (id, input_id) = (TaskId::new(id)?, InputId::new(input_id)?);
        let wanted = id.clone();
        let read = move |store: &dyn Store| {
            let Some(task) = store.find(&wanted)? else {
                return Ok(None);
            };
            Ok(store.get(task)?.map(|row| (task, row)))
        };
        let found = self.shared().dispatcher.reader.read(read).await;
        let Some((task, row)) = found.map_err(InputError::from_read)? else {
            return Err(InputError::NotFound { id, input_id });
        };
        let status = self.shared().input(task, id.clone(), input_id.clone());
        let run = match status.await? {
            InputStatus::InTurn { run, .. } | InputStatus::Consumed { run, .. } => run,
            InputStatus::Queued { .. } | InputStatus::Withdrawn { .. } | InputStatus::TaskEnded => {
                row.run
            }
        };
        let named = Named { input_id, run };
        Ok(Run::new(Arc::clone(self.shared()), task, id, named, None))
    }

    /// As [`Engine::resume`], whatever definition the task has.
    ///
    /// # Errors
    /// Awaited, [`ReenterError`](crate::ReenterError); never `OtherDefinition`.
    pub fn resume_untyped<O, S>(&self, id: impl AsRef<str>) -> Reenter<O, S> {
        self.reenter(None, id, Again::Resume)
    }

    /// As [`Engine::retry`], whatever definition the task has.
    ///
    /// # Errors
    /// Awaited, [`ReenterError`](crate::ReenterError); never `OtherDefinition`.
    pub fn retry_untyped<O, S>(&self, id: impl AsRef<str>) -> Reenter<O, S> {
        self.reenter(None, id, Again::Retry)
    }

    /// The inputs of a task that wait for a turn or that its open turn has taken, oldest first, without their bytes: at
    /// most 1,024. The input that the open turn began with is not among them.
    ///
    /// # Errors
    /// [`AttachError`]: there is no such task, or it cannot be read.
    pub async fn inputs(&self, id: impl AsRef<str>) -> Result<Vec<WaitingInput>, AttachError> {
        let (task, _, _) = self.task_of(None, id).await?;
        let read = move |store: &dyn Store| store.inputs(task, PAGE_MAX);
        let inputs = self.shared().dispatcher.reader.read(read).await;
        let inputs = inputs.map_err(crate::error::GetError::from)?;
        Ok(inputs
            .into_iter()
            .map(|(_, row)| WaitingInput::of(row))
            .collect())
    }
}
