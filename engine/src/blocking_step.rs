//! Recorded steps for handlers that block: the step runs on the handler's own thread.

use crate::ctx::Ctx;
use crate::env::InsideRuntime;
use crate::one_step::OneStep;
use crate::step::{Reconciled, StepCtx, StepError, StepOptions};
use crate::step_key::StepKey;
use outlive_storage::row::StepState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;

impl<S> Ctx<S> {
    /// [`Ctx::step`] for a [blocking handler](crate::Builder::blocking): `run` is called on this thread, which waits for
    /// the record of its result. Everything said there holds, but for this: nothing can drop a blocking handler, so where
    /// the task is put aside, or the turn is over, this returns [`StepError::TurnOver`]. Return then; nothing more is
    /// recorded.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError};
    /// fn report(ctx: Ctx, paths: Vec<String>) -> Result<u64, HandlerError> {
    ///     let mut bytes = 0;
    ///     for path in &paths {
    ///         bytes += ctx.step_blocking(("read", path), || std::fs::metadata(path).map(|file| file.len()))?;
    ///     }
    ///     Ok(bytes)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`StepError`]: what to do is in each variant. `InsideRuntime` on a thread of an async runtime, which it would hold
    /// up: nothing was run there.
    pub fn step_blocking<T, E>(
        &self,
        key: impl Into<StepKey>,
        mut run: impl FnMut() -> Result<T, E>,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.step_blocking_with(key, StepOptions::new(), |_| run())
    }

    /// As [`Ctx::step_blocking`], with options, and with what the step knows of itself. A
    /// [time-out](StepOptions::timeout) has no effect: nothing can stop a blocking call, and a result that came late is
    /// one all the same.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError, StepOptions};
    /// fn charge(ctx: Ctx, cents: u64) -> Result<String, HandlerError> {
    ///     let once = StepOptions::new().once();
    ///     Ok(ctx.step_blocking_with("charge", once, |s| {
    ///         Ok::<_, std::io::Error>(format!("{cents} under {}", s.effect_id()))
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Ctx::step_blocking`].
    pub fn step_blocking_with<T, E>(
        &self,
        key: impl Into<StepKey>,
        options: StepOptions,
        run: impl FnMut(StepCtx<S>) -> Result<T, E>,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        self.step_blocking_reconciled(key, options, run, |_| Ok(Reconciled::Unknown))
    }

    /// [`Ctx::step_reconciled`] for a blocking handler: where the step was begun and its result was not recorded,
    /// `reconcile` asks the outside world, on this thread, what became of it.
    ///
    /// # Errors
    /// As [`Ctx::step_blocking`]; an error of `reconcile` is one of the step, and leaves it as unknown as it was.
    pub fn step_blocking_reconciled<T, E>(
        &self,
        key: impl Into<StepKey>,
        options: StepOptions,
        mut run: impl FnMut(StepCtx<S>) -> Result<T, E>,
        reconcile: impl FnOnce(StepCtx<S>) -> Result<Reconciled<T>, E>,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        // What is the user's runs outside of every wait, so that it may wait for the engine itself.
        let step = self.waited(OneStep::begin(self, key.into(), options))?;
        let mut begun = false;
        let known = self.waited(step.found())?;
        match known.filter(|_| !cfg!(planted = "blocking_step_runs_again")) {
            Some(known) if known.state == StepState::Done => {
                return self.waited(step.replayed(&known));
            }
            Some(_) => {
                begun = true;
                let said = reconcile(step.ctx(1));
                if let Some(result) = self.waited(step.settle(said))? {
                    return Ok(result);
                }
            }
            None => {}
        }
        for attempt in 1.. {
            if !begun && !cfg!(planted = "blocking_intent_left_out") {
                self.waited(step.intend())?;
            }
            begun = false;
            let error = match run(step.ctx(attempt)) {
                Ok(result) => return self.waited(step.record(result, attempt)),
                Err(error) => error,
            };
            self.waited(step.did_not_happen())?;
            let Some(pause) = step.pause(attempt) else {
                return Err(StepError::Failed {
                    error,
                    attempts: attempt,
                });
            };
            self.waited(async {
                step.paused(pause).await;
                Ok::<_, StepError<E>>(())
            })?;
        }
        // INVARIANT: the loop ends by its own returns.
        Err(StepError::TurnOver)
    }

    /// Waits on this thread.
    fn waited<T, E>(
        &self,
        waiting: impl Future<Output = Result<T, StepError<E>>>,
    ) -> Result<T, StepError<E>> {
        let waited = self.core().host.runtime.wait_here(waiting);
        waited.unwrap_or_else(|InsideRuntime| Err(StepError::InsideRuntime))
    }
}
