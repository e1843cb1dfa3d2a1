//! What runs a task: an async function, a type with state, or a blocking function, behind one erased door.

use crate::ctx::Ctx;
use crate::ctx::CtxCore;
use crate::value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a handler returns when its turn ends well: an output, which turns into it by itself, or an output with the
/// wish to wait for a further input.
///
/// ```
/// use outlive::{Ctx, HandlerError, Reply};
/// async fn chat(ctx: Ctx, line: String) -> Result<Reply<String>, HandlerError> {
///     if line == "bye" {
///         return Ok(Reply::output("goodbye".to_owned())); // the task ends
///     }
///     Ok(Reply::suspend(format!("turn {}: {line}", ctx.turn()), "waiting for the next line"))
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<O> {
    output: O,
    suspend: Option<String>,
}

impl<O> Reply<O> {
    /// The turn's output; unless another input waits, it is the task's.
    pub fn output(output: O) -> Reply<O> {
        Reply {
            output,
            suspend: None,
        }
    }

    /// The turn's output, and what the task waits for now. It stays suspended, for days if need be, until somebody
    /// starts it again with an input, or resumes it; an input that waits already begins the next turn at once.
    /// The reason is kept to 1,024 bytes.
    pub fn suspend(output: O, reason: impl Into<String>) -> Reply<O> {
        Reply {
            output,
            suspend: Some(reason.into()),
        }
    }
}

impl<O> From<O> for Reply<O> {
    fn from(output: O) -> Self {
        Reply::output(output)
    }
}

/// A handler's failure. `?` turns any error, and `&str` and `String`, into a retryable one.
///
/// It does not itself implement [`std::error::Error`], which is what lets `?` work on every error type.
///
/// ```
/// use outlive::HandlerError;
/// fn parse(text: &str) -> Result<u32, HandlerError> {
///     if text.is_empty() {
///         return Err(HandlerError::terminal("no number given"));
///     }
///     Ok(text.parse()?)
/// }
/// assert!(parse("").is_err_and(|e| e.is_terminal()));
/// assert!(parse("x").is_err_and(|e| !e.is_terminal()));
/// ```
pub struct HandlerError {
    error: Box<dyn std::error::Error + Send + Sync>,
    kind: ErrorKind,
    retry_after: Option<Duration>,
}

/// What the handler wants of its failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Retryable,
    Terminal,
    Cancelled,
}

impl HandlerError {
    /// A failure that no further attempt can mend: the task ends as failed at once.
    pub fn terminal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HandlerError {
        HandlerError {
            error: error.into(),
            kind: ErrorKind::Terminal,
            retry_after: None,
        }
    }

    /// The handler agrees to be cancelled: with a cancel on record the task, or the turn, ends as cancelled. A turn
    /// that was only steered gives way to the next input; without either the task ends as cancelled.
    pub fn cancelled() -> HandlerError {
        HandlerError {
            error: "cancelled".into(),
            kind: ErrorKind::Cancelled,
            retry_after: None,
        }
    }

    /// Asks for this delay before the next attempt, instead of the policy's.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> HandlerError {
        self.retry_after = Some(delay);
        self
    }

    /// Whether no further attempt is made.
    pub fn is_terminal(&self) -> bool {
        self.kind == ErrorKind::Terminal
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error itself.
    pub fn error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.error
    }

    pub(crate) fn delay(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        HandlerError {
            error: error.into(),
            kind: ErrorKind::Retryable,
            retry_after: None,
        }
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError")
            .field("error", &self.error)
            .field("kind", &self.kind)
            .finish()
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// A handler with state of its own. For functions and closures use [`Builder::task`](crate::Builder::task).
///
/// ```
/// use outlive::{Ctx, Handler, HandlerError, Reply};
/// struct Greeter { greeting: String }
/// impl Handler<String, String> for Greeter {
///     async fn run(&self, _ctx: Ctx, name: String) -> Result<Reply<String>, HandlerError> {
///         Ok(format!("{} {name}", self.greeting).into())
///     }
/// }
/// ```
pub trait Handler<I, O, S = ()>: Send + Sync + 'static {
    /// Works one turn. It may be entered again after a crash: see [`Ctx::entry`].
    fn run(
        &self,
        ctx: Ctx<S>,
        input: I,
    ) -> impl Future<Output = Result<Reply<O>, HandlerError>> + Send;
}

/// How an erased call ended, with the output already encoded.
pub(crate) enum CallError {
    Undecodable {
        what: &'static str,
        expected: String,
    },
    Failed(HandlerError),
    Output(String),
}

/// An encoded reply.
pub(crate) struct Replied {
    pub(crate) output: Vec<u8>,
    pub(crate) suspend: Option<String>,
}

pub(crate) type CallResult = Result<Replied, CallError>;
pub(crate) type CallFuture = Pin<Box<dyn Future<Output = CallResult> + Send>>;

/// A handler whose types are known only to itself. Decoding and encoding happen inside the call, so user code
/// never runs on a thread of the engine.
#[derive(Clone)]
pub(crate) enum Erased {
    Async(Arc<dyn Fn(Arc<CtxCore>, Vec<u8>) -> CallFuture + Send + Sync>),
    Blocking(Arc<dyn Fn(Arc<CtxCore>, Vec<u8>) -> CallResult + Send + Sync>),
}

pub(crate) fn erase_fn<I, O, S, R, F, Fut>(f: F) -> Erased
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    S: 'static,
    R: Into<Reply<O>> + Send + 'static,
    F: Fn(Ctx<S>, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
{
    let f = Arc::new(f);
    let outputs = PhantomData::<fn() -> O>;
    Erased::Async(Arc::new(move |core, bytes| {
        let f = Arc::clone(&f);
        Box::pin(async move {
            let input = decode::<I>(&bytes)?;
            drop(bytes);
            let reply = f(Ctx::new(core), input).await.map_err(CallError::Failed)?;
            encode(outputs, reply.into())
        })
    }))
}

pub(crate) fn erase_handler<I, O, S, H>(handler: H) -> Erased
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    S: 'static,
    H: Handler<I, O, S>,
{
    let handler = Arc::new(handler);
    erase_fn::<I, O, S, Reply<O>, _, _>(move |ctx, input| {
        let handler = Arc::clone(&handler);
        async move { handler.run(ctx, input).await }
    })
}

pub(crate) fn erase_blocking<I, O, S, R, F>(f: F) -> Erased
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    S: 'static,
    R: Into<Reply<O>> + Send + 'static,
    F: Fn(Ctx<S>, I) -> Result<R, HandlerError> + Send + Sync + 'static,
{
    let outputs = PhantomData::<fn() -> O>;
    Erased::Blocking(Arc::new(move |core, bytes| {
        let input = decode::<I>(&bytes)?;
        drop(bytes);
        let reply = f(Ctx::new(core), input).map_err(CallError::Failed)?;
        encode(outputs, reply.into())
    }))
}

fn decode<I: DeserializeOwned>(bytes: &[u8]) -> Result<I, CallError> {
    value::decode(bytes).map_err(|error| CallError::Undecodable {
        what: "input",
        expected: format!("{}: {error}", std::any::type_name::<I>()),
    })
}

fn encode<O: Serialize>(_: PhantomData<fn() -> O>, reply: Reply<O>) -> CallResult {
    let output = value::encode("output", &reply.output);
    let output = output.map_err(|error| CallError::Output(error.to_string()))?;
    Ok(Replied {
        output,
        suspend: reply.suspend,
    })
}
