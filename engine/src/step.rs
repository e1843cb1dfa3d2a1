//! Recorded steps: what a handler does once and for all, although its turn may be entered again.

use crate::ctx::{Ctx, CtxCore};
use crate::env::InsideRuntime;
use crate::one_step::OneStep;
use crate::retry_policy::RetryPolicy;
use crate::step_key::StepKey;
use crate::stream::emit::EmitError;
use crate::value::ValueError;
use outlive_storage::row::{StepRow, StepState, StreamEntry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Most steps of one turn: 10,000.
pub const STEPS_MAX: usize = StepRow::STEPS_MAX;

/// How a step is run; what is not said is the default.
///
/// ```
/// use outlive::{RetryPolicy, StepOptions};
/// use std::time::Duration;
/// const CHARGE: StepOptions = StepOptions::new().once().timeout(Duration::from_secs(30));
/// const FETCH: StepOptions = StepOptions::new().retry(RetryPolicy::exponential());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOptions {
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) once: bool,
}

impl StepOptions {
    /// One try, as long as it takes; one that was interrupted runs again.
    pub const fn new() -> StepOptions {
        StepOptions {
            retry: RetryPolicy::none(),
            timeout: None,
            once: false,
        }
    }

    /// When a failed try of the step is followed by another one, within the same attempt of the turn. The tries are
    /// counted in memory: after a crash they begin anew. An invalid policy gives one try.
    #[must_use]
    pub const fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long one try may take; then its future is dropped.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The step has an effect that must not happen twice, and nothing outside that would refuse it. That it begins is
    /// recorded first. Whenever it was begun and no result is recorded (a crash, a panic, a time-out, its future
    /// dropped), nobody knows what became of it. Where the turn comes to it again, `reconcile` says
    /// ([`Ctx::step_reconciled`]), else the task is put aside as
    /// [`WaitReason::UnknownOutcome`](crate::WaitReason::UnknownOutcome) until somebody does
    /// ([`Engine::resolve`](crate::Engine::resolve)). A handler that drops such a step and ends well all the same, as
    /// `select!` makes easy, has decided that it needs no answer: its task is not put aside. An error the step returns
    /// means that it did not happen.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

impl Default for StepOptions {
    fn default() -> Self {
        StepOptions::new()
    }
}

/// Why a step has no result. `E` is the error of the step's own function.
#[derive(Debug)]
#[non_exhaustive]
pub enum StepError<E> {
    /// Its function failed as often as it may. It is not recorded: in the next attempt of the turn it runs again.
    Failed {
        /// The last error.
        error: E,
        /// How often it was tried in this attempt of the turn.
        attempts: u32,
    },
    /// It took longer than it may. It is not recorded: in the next attempt of the turn it runs again. Of a step that may
    /// run once: `reconcile` said that it did not happen.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// Its result cannot be kept (it has no JSON form, or more than 10 MiB): the error inside says what to change. It has
    /// happened, and is not recorded: the outcome of a step that may run once is unknown from then on.
    Result(ValueError),
    /// The turn has as many steps as it may: work with fewer, larger steps, or in several turns.
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The turn is over, or its claim is no longer the task's: nothing more is recorded. End the work.
    TurnOver,
    /// A blocking form was called on a thread of an async runtime, whose other work it would hold up; nothing was run or
    /// recorded. Await the async form there.
    InsideRuntime,
}

impl<E: fmt::Display> fmt::Display for StepError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepError::Failed { error, attempts: 1 } => write!(f, "{error}"),
            StepError::Failed { error, attempts } => write!(f, "{error} (tried {attempts} times)"),
            StepError::TimedOut { limit } => write!(f, "the step took longer than {limit:?}"),
            StepError::Result(error) => write!(f, "{error}"),
            StepError::TooMany { max } => write!(f, "a turn has at most {max} steps; make fewer"),
            StepError::TurnOver => f.write_str("the turn is over; end the work"),
            StepError::InsideRuntime => InsideRuntime.fmt(f),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for StepError<E> {}

/// What is known of a step that was begun and whose result was not recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled<T> {
    /// It happened, with this result, which is recorded. What it emitted before it was interrupted stays abandoned.
    Done(T),
    /// It did not happen: it runs now.
    NotDone,
    /// It cannot be told: the task is put aside until somebody resolves it.
    Unknown,
}

/// The tries of a step in one attempt of its turn.
#[derive(Default)]
pub(crate) struct Tries {
    /// The one that runs; 0 before the first and after the last.
    pub(crate) runs: AtomicU32,
    /// The last one that emitted something; 0: none did.
    pub(crate) emitted: AtomicU32,
}

/// What a step's function knows of the step.
pub struct StepCtx<S = ()> {
    core: Arc<CtxCore>,
    key: StepKey,
    attempt: u32,
    tries: Arc<Tries>,
    items: PhantomData<fn(S)>,
}

impl<S> StepCtx<S> {
    pub(crate) fn new(
        core: Arc<CtxCore>,
        (key, attempt): (StepKey, u32),
        tries: Arc<Tries>,
    ) -> StepCtx<S> {
        StepCtx {
            core,
            key,
            attempt,
            tries,
            items: PhantomData,
        }
    }

    pub(crate) fn core(&self) -> &Arc<CtxCore> {
        &self.core
    }

    /// The step as the owner of an item. What an earlier try emitted is abandoned first.
    pub(crate) fn emits(&self) -> Result<Box<str>, EmitError> {
        let is_over = self.tries.runs.load(Ordering::SeqCst) != self.attempt;
        if is_over && !cfg!(planted = "stale_try_emits") {
            return Err(EmitError::StepOver);
        }
        let before = self.tries.emitted.swap(self.attempt, Ordering::SeqCst);
        if before != 0
            && before != self.attempt
            && !cfg!(planted = "failed_try_kept")
            && let Some(by) = self.core.stream.mark(StreamEntry::Reset {
                step: Some(self.key.as_str().into()),
                all: false,
            })
        {
            // A writer that has ended takes nothing of this turn any more.
            self.core.host.writer.come(&self.core.stream, by);
        }
        Ok(self.key.as_str().into())
    }

    /// The step's key.
    pub fn key(&self) -> &str {
        self.key.as_str()
    }

    /// Counts the tries of the step in this attempt of the turn, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The idempotency key of the step's effect for the outside world: 32 hexadecimal digits, the same in every try, in
    /// every attempt of the turn and after every crash, and another one for every other step, turn and task.
    pub fn effect_id(&self) -> String {
        let row = &self.core.row;
        let mut hasher = Sha256::new();
        hasher.update(row.id.as_str().as_bytes());
        hasher.update(self.core.task.0.to_le_bytes());
        hasher.update(row.created_at.0.to_le_bytes());
        hasher.update(row.steps_of.to_le_bytes());
        // A byte that no text contains parts the two texts.
        hasher.update([0xff]);
        hasher.update(row.input_id.as_str().as_bytes());
        hasher.update([0xff]);
        hasher.update(self.key.as_str().as_bytes());
        if cfg!(planted = "effect_id_of_attempt") {
            hasher.update(self.core.generation.0.to_le_bytes());
        }
        let hash = hasher.finalize();
        hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
    }
}

impl<S> fmt::Debug for StepCtx<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepCtx")
            .field("key", &self.key.as_str())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl<S> Ctx<S> {
    /// Runs `run` and records its result, in one commit with changed metadata. When the turn is entered again, after a
    /// crash or an error, the recorded result is returned and `run` is not called: a recorded step never runs again.
    /// When this returns `Ok`, the result is on disk.
    ///
    /// The key names the step within the turn. Using one twice in an attempt, also where the first call failed or was
    /// dropped ([`StepOptions::retry`] is for that), puts the task aside as
    /// [`WaitReason::DuplicateStep`](crate::WaitReason::DuplicateStep), until the program is corrected and somebody
    /// retries it; a recorded result that is not a `T` puts it aside as undecodable, an unknown outcome as that. In these
    /// cases this call does not return: the handler is dropped once the steps under way are recorded, or after 5 seconds.
    ///
    /// What stands between steps simply runs again. A step that was interrupted runs again as well, with the same
    /// [`StepCtx::effect_id`]. Steps may run beside each other (`join!`), in any order.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError};
    /// async fn report(ctx: Ctx, urls: Vec<String>) -> Result<usize, HandlerError> {
    ///     let mut words = 0;
    ///     for url in &urls {
    ///         words += ctx.step(("fetch", url), || async { Ok::<_, std::io::Error>(url.len()) }).await?;
    ///     }
    ///     Ok(words)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StepError`]: what to do is in each variant. A failed step is not recorded.
    pub async fn step<T, E, F, Fut>(
        &self,
        key: impl Into<StepKey>,
        mut run: F,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned + Send,
        E: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.step_with(key, StepOptions::new(), |_| run()).await
    }

    /// As [`Ctx::step`], with options, and with what the step knows of itself.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError, RetryPolicy, StepOptions};
    /// async fn charge(ctx: Ctx, cents: u64) -> Result<String, HandlerError> {
    ///     let retried = StepOptions::new().retry(RetryPolicy::exponential());
    ///     Ok(ctx.step_with("charge", retried, |s| async move {
    ///         Ok::<_, std::io::Error>(format!("{cents} under {}", s.effect_id()))
    ///     }).await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Ctx::step`].
    pub async fn step_with<T, E, F, Fut>(
        &self,
        key: impl Into<StepKey>,
        options: StepOptions,
        run: F,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned + Send,
        E: Send,
        F: FnMut(StepCtx<S>) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let unknown = |_| std::future::ready(Ok(Reconciled::Unknown));
        self.step_reconciled(key, options, run, unknown).await
    }

    /// As [`Ctx::step_with`] for a step that may run only once ([`StepOptions::once`]): where it was begun and its result
    /// was not recorded, be it in an earlier attempt or because it took longer than it may, `reconcile` asks the outside
    /// world what became of it. It is asked once in an attempt of the turn, and takes as long as it takes.
    ///
    /// # Errors
    /// As [`Ctx::step`]; an error of `reconcile` is one of the step, and leaves it as unknown as it was.
    pub async fn step_reconciled<T, E, F, Fut, R, Recon>(
        &self,
        key: impl Into<StepKey>,
        options: StepOptions,
        run: F,
        reconcile: R,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned + Send,
        E: Send,
        F: FnMut(StepCtx<S>) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        R: FnOnce(StepCtx<S>) -> Recon + Send,
        Recon: Future<Output = Result<Reconciled<T>, E>> + Send,
    {
        let step = OneStep::begin(self, key.into(), options).await?;
        let mut reconcile = Some(reconcile);
        match step.found().await? {
            Some(known) if known.state == StepState::Done => return step.replayed(&known).await,
            Some(_) => {
                if let Some(result) = step.reconciled(reconcile.take()).await? {
                    return Ok(result);
                }
                // It is begun already, and stays so.
                step.run(run, None::<R>, true).await
            }
            None => step.run(run, reconcile, false).await,
        }
    }
}
