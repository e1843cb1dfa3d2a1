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

/// What a handler returns when its turn ends well; an output turns into it by itself.
///
/// ```
/// use outlive::Reply;
/// let _: Reply<u32> = 7.into();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<O>(pub(crate) O);

impl<O> From<O> for Reply<O> {
    fn from(output: O) -> Self {
        Reply(output)
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
    terminal: bool,
    retry_after: Option<Duration>,
}

impl HandlerError {
    /// A failure that no further attempt can mend: the task ends as failed at once.
    pub fn terminal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HandlerError {
        HandlerError {
            error: error.into(),
            terminal: true,
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
        self.terminal
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
            terminal: false,
            retry_after: None,
        }
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError")
            .field("error", &self.error)
            .field("terminal", &self.terminal)
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
/// use outlive::{Ctx, Handler, HandlerError};
/// struct Greeter { greeting: String }
/// impl Handler<String, String> for Greeter {
///     async fn run(&self, _ctx: Ctx, name: String) -> Result<String, HandlerError> {
///         Ok(format!("{} {name}", self.greeting))
///     }
/// }
/// ```
pub trait Handler<I, O, S = ()>: Send + Sync + 'static {
    /// Works one turn. It may be entered again after a crash: see [`Ctx::entry`].
    fn run(&self, ctx: Ctx<S>, input: I) -> impl Future<Output = Result<O, HandlerError>> + Send;
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

pub(crate) type CallResult = Result<Vec<u8>, CallError>;
pub(crate) type CallFuture = Pin<Box<dyn Future<Output = CallResult> + Send>>;

/// A handler whose types are known only to itself. Decoding and encoding happen inside the call, so user code
/// never runs on a thread of the engine.
pub(crate) enum Erased {
    Async(Box<dyn Fn(Arc<CtxCore>, Vec<u8>) -> CallFuture + Send + Sync>),
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
    Erased::Async(Box::new(move |core, bytes| {
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
    erase_fn::<I, O, S, O, _, _>(move |ctx, input| {
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
    value::encode("output", &reply.0).map_err(|error| CallError::Output(error.to_string()))
}
