//! The engine for programs without an async runtime: it brings its own, and its calls block.

use crate::answer_ask::AnswerError;
use crate::asks::{AskList, AskListing};
use crate::builder::Builder;
use crate::def::TaskDef;
use crate::engine::{Engine, ShutdownReport};
use crate::env::{self, InsideRuntime, OwnRuntime};
use crate::error::{
    AttachError, ControlError, GetError, OpenError, ReenterError, ResultError, RunError, StartError,
};
use crate::explain::Explanation;
use crate::list::{List, Listing};
use crate::recovery::RecoveryReport;
use crate::run::Run;
use crate::snapshot::Snapshot;
use crate::start::NewTaskId;
use crate::step_key::StepKey;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

/// Why a blocking call gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockingError<E> {
    /// The call was made inside an async runtime, whose thread it would hold up; nothing was done. Await the async form
    /// of it there: [`BlockingEngine::engine`] has it.
    #[error("a blocking call was made inside an async runtime; await the async form there")]
    InsideRuntime,
    /// The call was made, and this is its own error.
    #[error(transparent)]
    Call(E),
}

/// An engine that needs no async runtime: it owns one, on which its handlers run, and its calls block their thread.
///
/// The calls here are those of [`Engine`], waited for; whatever has options is said to the engine itself and waited for
/// with [`BlockingEngine::wait`]. A start, a look or an order takes as long as a commit or a read does, so that a thread
/// that draws windows may make it; what waits for a handler ([`BlockingEngine::run`], the result of a run) takes as long
/// as the handler, and belongs on another thread. On a thread of an async runtime every call is refused with a typed
/// error; the thread of a blocking handler is none of these, and may call.
///
/// Cheap to clone; all clones are the same engine. Dropping the last one stops the engine as [`Engine`] says, and its
/// runtime with it; no handler is waited for.
///
/// ```
/// use outlive::{Ctx, Engine, HandlerError, Status, TaskDef};
/// const COUNT: TaskDef<String, usize> = TaskDef::new("count");
/// fn count(_ctx: Ctx, text: String) -> Result<usize, HandlerError> {
///     Ok(text.split_whitespace().count())
/// }
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let engine = Engine::in_memory().blocking(COUNT, count).open_blocking()?;
///     let run = engine.start(COUNT, "page-1", &"three little words".to_owned())?;
///     assert_eq!(engine.wait(run)?, 3);
///     // Whatever has options is said to the engine itself.
///     let start = engine.engine().start(COUNT, "page-2", &"two words".to_owned());
///     engine.wait(engine.wait(start.tag("book", "17"))?)?;
///     let listed = engine.wait(engine.engine().list(COUNT).status(Status::Completed).tag("book", "17"))?;
///     assert_eq!(listed.tasks[0].id.as_str(), "page-2");
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct BlockingEngine {
    // Declared, and so dropped, before its runtime: handlers are dropped as at a shutdown, not as by a lost runtime.
    engine: Engine,
    runtime: Arc<OwnRuntime>,
}

impl Builder {
    /// Opens the engine on a runtime of its own, for programs that have none, as [`Builder::open`] does on theirs. With
    /// [`Builder::runtime`] its handlers run there instead; [`Builder::inline`] has no effect.
    ///
    /// # Errors
    /// [`OpenError`]; `InsideRuntime` on a thread of an async runtime.
    pub fn open_blocking(self) -> Result<BlockingEngine, OpenError> {
        env::refuse_inside_runtime().map_err(|InsideRuntime| OpenError::InsideRuntime)?;
        let runtime = Arc::new(OwnRuntime::new().map_err(OpenError::Thread)?);
        let opened = runtime.wait(self.on_own(runtime.spawner()).open());
        let engine = opened.map_err(|InsideRuntime| OpenError::InsideRuntime)??;
        Ok(BlockingEngine { engine, runtime })
    }
}

impl BlockingEngine {
    /// The engine itself, with everything it can do: to be awaited, or given to [`BlockingEngine::wait`]. A clone of it
    /// outlives the last [`BlockingEngine`], but not as an engine: handlers stop with their runtime.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Blocks until a call of the engine, or of a [`Run`], has been answered.
    ///
    /// # Errors
    /// [`BlockingError`]: the call's own error, or that this thread must not wait.
    pub fn wait<C, T, E>(&self, call: C) -> Result<T, BlockingError<E>>
    where
        C: IntoFuture<Output = Result<T, E>>,
    {
        // Made inside, for a future may need its runtime from the start.
        let answered = self.runtime.wait(async move { call.await });
        match answered {
            Ok(answered) => answered.map_err(BlockingError::Call),
            Err(InsideRuntime) => Err(BlockingError::InsideRuntime),
        }
    }

    /// [`Engine::start`], waited for: the input is durable when it returns.
    ///
    /// # Errors
    /// [`StartError`] in a [`BlockingError`].
    pub fn start<I: Serialize, O: 'static, S: 'static>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl Into<NewTaskId>,
        input: &I,
    ) -> Result<Run<O, S>, BlockingError<StartError>> {
        self.wait(self.engine.start(def, id, input))
    }

    /// [`Engine::run`], waited for: the output is durable when it returns. It takes as long as the handler.
    ///
    /// # Errors
    /// [`RunError`] in a [`BlockingError`].
    pub fn run<I: Serialize, O: DeserializeOwned + 'static, S: 'static>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl Into<NewTaskId>,
        input: &I,
    ) -> Result<O, BlockingError<RunError>> {
        self.wait(self.engine.run(def, id, input))
    }

    /// [`Run::result`], waited for: it takes as long as the handler.
    ///
    /// # Errors
    /// [`ResultError`] in a [`BlockingError`].
    pub fn result<O: DeserializeOwned, S>(
        &self,
        run: &Run<O, S>,
    ) -> Result<O, BlockingError<ResultError>> {
        self.wait(run.result())
    }

    /// [`Engine::attach`], waited for.
    ///
    /// # Errors
    /// [`AttachError`] in a [`BlockingError`].
    pub fn attach<I, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl AsRef<str>,
    ) -> Result<Run<O, S>, BlockingError<AttachError>> {
        self.wait(self.engine.attach(def, id))
    }

    /// [`Engine::get`], waited for.
    ///
    /// # Errors
    /// [`GetError`] in a [`BlockingError`].
    pub fn get(&self, id: impl AsRef<str>) -> Result<Option<Snapshot>, BlockingError<GetError>> {
        self.wait(self.engine.get(id))
    }

    /// [`Engine::list`], waited for: one page, with the conditions that `ask` adds.
    ///
    /// ```
    /// # use outlive::{Engine, Status, TaskDef};
    /// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let engine = Engine::in_memory().open_blocking()?;
    /// let page = engine.list(ECHO, |list| list.status(Status::Suspended).limit(10))?;
    /// assert!(page.tasks.is_empty() && page.next.is_none());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`GetError`] in a [`BlockingError`].
    pub fn list<I, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        ask: impl FnOnce(Listing) -> Listing,
    ) -> Result<List, BlockingError<GetError>> {
        self.wait(ask(self.engine.list(def)))
    }

    /// [`Engine::list_all`], waited for: one page, with the conditions that `ask` adds.
    ///
    /// # Errors
    /// [`GetError`] in a [`BlockingError`].
    pub fn list_all(
        &self,
        ask: impl FnOnce(Listing) -> Listing,
    ) -> Result<List, BlockingError<GetError>> {
        self.wait(ask(self.engine.list_all()))
    }

    /// [`Engine::explain`], waited for.
    ///
    /// # Errors
    /// [`GetError`] in a [`BlockingError`].
    pub fn explain(
        &self,
        id: impl AsRef<str>,
    ) -> Result<Option<Explanation>, BlockingError<GetError>> {
        self.wait(self.engine.explain(id))
    }

    /// [`Engine::asks`], waited for: one page, with the conditions that `ask` adds.
    ///
    /// # Errors
    /// [`GetError`] in a [`BlockingError`].
    pub fn asks(
        &self,
        ask: impl FnOnce(AskListing) -> AskListing,
    ) -> Result<AskList, BlockingError<GetError>> {
        self.wait(ask(self.engine.asks()))
    }

    /// [`Engine::answer`], waited for: the answer is durable when it returns.
    ///
    /// # Errors
    /// [`AnswerError`] in a [`BlockingError`].
    pub fn answer<T: Serialize + ?Sized>(
        &self,
        id: impl AsRef<str>,
        key: impl Into<StepKey>,
        answer: &T,
    ) -> Result<(), BlockingError<AnswerError>> {
        self.wait(self.engine.answer(id, key, answer))
    }

    /// [`Engine::cancel`], waited for: the wish is durable when it returns.
    ///
    /// # Errors
    /// [`ControlError`] in a [`BlockingError`].
    pub fn cancel(
        &self,
        id: impl AsRef<str>,
        why: impl Into<String>,
    ) -> Result<(), BlockingError<ControlError>> {
        self.wait(self.engine.cancel(id, why))
    }

    /// [`Engine::terminate`], waited for: the task has ended, durably, when it returns.
    ///
    /// # Errors
    /// [`ControlError`] in a [`BlockingError`].
    pub fn terminate(
        &self,
        id: impl AsRef<str>,
        why: impl Into<String>,
    ) -> Result<(), BlockingError<ControlError>> {
        self.wait(self.engine.terminate(id, why))
    }

    /// [`Engine::delete`], waited for: true when there was such a task.
    ///
    /// # Errors
    /// [`ControlError`] in a [`BlockingError`].
    pub fn delete(&self, id: impl AsRef<str>) -> Result<bool, BlockingError<ControlError>> {
        self.wait(self.engine.delete(id))
    }

    /// [`Engine::resume`], waited for.
    ///
    /// # Errors
    /// [`ReenterError`] in a [`BlockingError`].
    pub fn resume<I, O: 'static, S: 'static>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl AsRef<str>,
    ) -> Result<Run<O, S>, BlockingError<ReenterError>> {
        self.wait(self.engine.resume(def, id))
    }

    /// [`Engine::retry`], waited for.
    ///
    /// # Errors
    /// [`ReenterError`] in a [`BlockingError`].
    pub fn retry<I, O: 'static, S: 'static>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl AsRef<str>,
    ) -> Result<Run<O, S>, BlockingError<ReenterError>> {
        self.wait(self.engine.retry(def, id))
    }

    /// [`Engine::recovery`], waited for.
    ///
    /// # Errors
    /// [`InsideRuntime`]: this thread must not wait.
    pub fn recovery(&self) -> Result<RecoveryReport, InsideRuntime> {
        self.runtime.wait(self.engine.recovery())
    }

    /// [`Engine::shutdown`], waited for: at most 0.1 s longer than `grace`, whatever handlers do.
    ///
    /// # Errors
    /// [`InsideRuntime`]: this thread must not wait, and nothing was stopped.
    pub fn shutdown(&self, grace: Duration) -> Result<ShutdownReport, InsideRuntime> {
        self.runtime.wait(self.engine.shutdown(grace))
    }
}
