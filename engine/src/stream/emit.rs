//! Emitting: what a handler adds to its task's stream.

use crate::ctx::{Ctx, CtxCore};
use crate::step::StepCtx;
use crate::stream::ITEM_MAX;
use crate::value::{self, Json, VALUE_DEPTH_MAX};
use crate::writer::Stop;
use outlive_storage::StoreError;
use serde::Serialize;
use std::future::Future;
use std::sync::Arc;

/// Why an item was not added to the stream, or is not known to be durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// Its JSON is longer than the limit: emit it in parts, or keep it in a file and emit its path. Nothing was added.
    #[error("the item takes {size} bytes, the limit is {limit}; emit it in parts")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes: [`ITEM_MAX`](crate::ITEM_MAX).
        limit: u64,
    },
    /// Its JSON nests deeper than what can be read again: make it flatter. Nothing was added.
    #[error("the item nests deeper than {limit}; make it flatter")]
    TooDeep {
        /// The limit: [`VALUE_DEPTH_MAX`](crate::VALUE_DEPTH_MAX).
        limit: usize,
    },
    /// It has no JSON form (for example a map whose keys are not text): change the type. Nothing was added.
    #[error("the item has no JSON form: {0}")]
    NotJson(serde_json::Error),
    /// The task's stream has taken as many items as it may. Nothing was added. Emit less, or give the definition
    /// [`TaskDef::keep_items`](crate::TaskDef::keep_items).
    #[error("the stream has taken {max} items, and takes no more; see keep_items")]
    StreamFull {
        /// The limit: [`STREAM_MAX`](crate::STREAM_MAX).
        max: u64,
    },
    /// The turn is over, or its claim is no longer the task's: nothing more is recorded. End the handler.
    #[error("the turn is over; end the handler")]
    TurnOver,
    /// The try of the step that emits is over: its step is recorded, or a later try runs. Nothing was added. Emit before
    /// the function of the step returns.
    #[error("this try of the step is over; emit before its function returns")]
    StepOver,
    /// The engine has stopped; the turn is recovered at the next open, and what was not durable is gone.
    #[error("the engine has stopped; the turn is recovered at the next open")]
    ShuttingDown,
    /// The store failed: the item may or may not be durable. The turn is recovered at the next open.
    #[error("the store failed ({0}); the turn is recovered at the next open")]
    Store(StoreError),
}

impl CtxCore {
    /// Adds an item; its number. `now`: the caller waits until it is durable.
    async fn emit(
        &self,
        step: Option<Box<str>>,
        bytes: Vec<u8>,
        now: bool,
    ) -> Result<u64, EmitError> {
        if self.signal.is_lost() {
            return Err(EmitError::TurnOver);
        }
        let pushed = self.stream.push(step, bytes, now).await?;
        if let Some(by) = pushed.tell
            && !self.host.writer.come(&self.stream, by)
        {
            return Err(match self.host.writer.poison.get() {
                Some(Stop::Failed(error)) => EmitError::Store(error),
                Some(Stop::Shutdown) | None => EmitError::ShuttingDown,
            });
        }
        Ok(pushed.sequence)
    }
}

impl<S: Serialize> Ctx<S> {
    /// Adds an item to the task's stream, for those who [read](crate::Engine::stream) it; answers its number in the
    /// stream, which counts from 1 over all turns, attempts and runs.
    ///
    /// This is cheap and is **no acknowledgement**: the item is in memory, and on its way to the disk at the latest 5 ms later, or with
    /// the turn's end, which takes all items along in its own commit. After a crash what was not durable is gone. It
    /// waits while this turn has [`STREAM_BUFFER`](crate::STREAM_BUFFER) bytes, or all turns together
    /// [`STREAM_BUFFERS`](crate::STREAM_BUFFERS), that are not durable yet. [`Ctx::emit_durable`] is an acknowledgement.
    ///
    /// When a turn is tried again, readers are told that its earlier items are abandoned
    /// ([`StreamEvent::Reset`](crate::StreamEvent::Reset)); none is taken back.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError};
    /// async fn copy(ctx: Ctx<String>, files: Vec<String>) -> Result<(), HandlerError> {
    ///     for file in files {
    ///         ctx.emit(format!("copied {file}")).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`EmitError`]: what to do is in each variant.
    pub fn emit(&self, item: S) -> impl Future<Output = Result<u64, EmitError>> + Send + use<S> {
        let (core, bytes) = (Arc::clone(self.core()), encode(&item));
        async move { core.emit(None, bytes?, false).await }
    }

    /// As [`Ctx::emit`], and returns once the item, and all before it, are on disk. Dropping the future after it was
    /// polled leaves the item in the stream.
    ///
    /// # Errors
    /// As [`Ctx::emit`]; after `TurnOver`, `ShuttingDown` and `Store` the item may or may not be durable.
    pub fn emit_durable(
        &self,
        item: S,
    ) -> impl Future<Output = Result<u64, EmitError>> + Send + use<S> {
        let (core, bytes) = (Arc::clone(self.core()), encode(&item));
        async move {
            let sequence = core.emit(None, bytes?, true).await?;
            if !cfg!(planted = "durable_emit_does_not_wait") {
                core.stream.until_durable(sequence).await?;
            }
            Ok(sequence)
        }
    }
}

impl<S: Serialize> StepCtx<S> {
    /// As [`Ctx::emit`], for an item that belongs to the step: with the record of the step it is durable, and readers
    /// are told that it stays ([`StreamEvent::Kept`](crate::StreamEvent::Kept)), so that what a recorded step emitted is
    /// neither abandoned nor emitted again. What a try emitted that is followed by another one is abandoned
    /// ([`StreamEvent::Reset`](crate::StreamEvent::Reset)).
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError, StepOptions};
    /// async fn answer(ctx: Ctx<String>, prompt: String) -> Result<String, HandlerError> {
    ///     Ok(ctx.step_with("model", StepOptions::new(), |s| {
    ///         let prompt = &prompt;
    ///         async move {
    ///             for token in prompt.split(' ') {
    ///                 s.emit(token.to_owned()).await?; // readers see it at once, and only once
    ///             }
    ///             Ok::<_, outlive::EmitError>(prompt.to_uppercase())
    ///         }
    ///     }).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Ctx::emit`].
    pub fn emit(&self, item: S) -> impl Future<Output = Result<u64, EmitError>> + Send + use<S> {
        let (core, step, bytes) = (Arc::clone(self.core()), self.emits(), encode(&item));
        async move { core.emit(Some(step?), bytes?, false).await }
    }
}

fn encode<S: Serialize>(item: &S) -> Result<Vec<u8>, EmitError> {
    let limit = if cfg!(planted = "large_item_taken") {
        u64::MAX
    } else {
        ITEM_MAX
    };
    match value::json(item, limit) {
        Ok(Json::Fits(bytes)) => Ok(bytes),
        Ok(Json::TooLarge { size }) => Err(EmitError::TooLarge { size, limit }),
        Ok(Json::TooDeep) => Err(EmitError::TooDeep {
            limit: VALUE_DEPTH_MAX,
        }),
        Err(error) => Err(EmitError::NotJson(error)),
    }
}
