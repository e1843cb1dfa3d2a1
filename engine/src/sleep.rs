//! Durable sleeps: a handler that waits for a time, through crashes, and in memory only while it is short.

use crate::builder::Builder;
use crate::ctx::Ctx;
use crate::env::{micros, moment};
use crate::one_step::OneStep;
use crate::step::{StepError, StepOptions};
use crate::step_key::StepKey;
use outlive_storage::row::{Deadline, StepState};
use std::convert::Infallible;
use std::time::Duration;

/// From which length on a wait leaves memory: 30 seconds, unless [`Builder::park_after`](crate::Builder::park_after) says
/// otherwise.
pub const PARK_AFTER: Duration = Duration::from_secs(30);

/// Why a sleep did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SleepError {
    /// The turn has as many steps as it may, and a sleep is one: work with fewer, or in several turns.
    #[error("a turn has at most {max} steps; make fewer")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The turn is over, or its claim is no longer the task's. End the work.
    #[error("the turn is over; end the work")]
    TurnOver,
}

impl From<StepError<Infallible>> for SleepError {
    fn from(error: StepError<Infallible>) -> SleepError {
        match error {
            StepError::TooMany { max } => SleepError::TooMany { max },
            // No sleep has a limit or a result, and none blocks.
            StepError::TurnOver
            | StepError::TimedOut { .. }
            | StepError::Result(_)
            | StepError::InsideRuntime => SleepError::TurnOver,
            StepError::Failed { error, .. } => match error {},
        }
    }
}

impl Builder {
    /// From which length on a handler's wait leaves memory and frees its slot; by default [`PARK_AFTER`], 30 s. A wait
    /// that leaves memory costs the handler's way from the top to it once more. Such a task is not among
    /// [`Engine::parked`](crate::Engine::parked), whose tasks somebody has to look at.
    pub fn park_after(mut self, wait: Duration) -> Builder {
        self.park_after = wait;
        self
    }
}

impl<S> Ctx<S> {
    /// Sleeps for `duration`, through crashes: the moment at which it is over is on disk, and is not moved by being
    /// entered again. While the process lives it is measured by a clock that nobody sets; after a restart the moment on
    /// disk counts.
    ///
    /// A sleep of 30 seconds or more ([`Builder::park_after`](crate::Builder::park_after)) leaves memory: once the steps
    /// under way are recorded, the handler is dropped where it stands, its slot is free, and its task is pending with
    /// [`WaitReason::Sleeping`](crate::WaitReason::Sleeping). When it is over the handler is entered again from the top,
    /// as [`Entry::Resumed`](crate::Entry::Resumed), finds its recorded steps, and comes through here at once. Whatever
    /// ran beside it (`join!`, `select!`) is dropped as in a crash. Of several waits beside each other the first that is
    /// over enters the handler again. Time outside of memory is not
    /// charged to the turn's time-out; a wait in memory is.
    ///
    /// An input that interrupts ([`Delivery::Interrupt`](crate::Delivery::Interrupt)) enters the handler at once, with
    /// the signal set; the sleep stays as it was, and the same call goes on with it. In a blocking handler every sleep
    /// stays in memory and holds its thread (`Handle::current().block_on(ctx.sleep(..))` with tokio's handle).
    ///
    /// The key is that of a step: see [`Ctx::step`], also for what using one twice leads to.
    ///
    /// ```
    /// use outlive::{Ctx, HandlerError};
    /// use std::time::Duration;
    /// async fn remind(ctx: Ctx, text: String) -> Result<String, HandlerError> {
    ///     ctx.sleep("a day", Duration::from_secs(24 * 60 * 60)).await?;
    ///     Ok(format!("do not forget: {text}"))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SleepError`]: what to do is in each variant.
    pub async fn sleep(
        &self,
        key: impl Into<StepKey>,
        duration: Duration,
    ) -> Result<(), SleepError> {
        let until = self.core.host.clock.times().after(micros(duration));
        self.sleep_to(key.into(), until).await
    }

    /// As [`Ctx::sleep`], until this moment of the wall clock: never before it, and at most a second after the clock, as
    /// it is read, reaches it. A moment that has passed is no sleep.
    ///
    /// # Errors
    /// As [`Ctx::sleep`].
    #[allow(clippy::disallowed_types)] // The caller's own word for a moment.
    pub async fn sleep_until(
        &self,
        key: impl Into<StepKey>,
        at: std::time::SystemTime,
    ) -> Result<(), SleepError> {
        self.sleep_to(key.into(), Deadline::wall(moment(at))).await
    }

    async fn sleep_to(&self, key: StepKey, until: Deadline) -> Result<(), SleepError> {
        let step = OneStep::begin::<Infallible>(self, key, StepOptions::new()).await?;
        let (until, is_new) = match step.known::<Infallible>().await?.map(|known| known.state) {
            Some(StepState::Done) => return Ok(()),
            Some(StepState::Sleeping { until }) => (until, false),
            Some(
                other @ (StepState::Begun
                | StepState::Asked { .. }
                | StepState::Answered { .. }
                | StepState::Expired { .. }),
            ) => {
                return Ok(step.mistaken::<(), Infallible>("a sleep", other).await?);
            }
            None => (until, true),
        };
        Ok(step.sleep::<Infallible>(until, is_new).await?)
    }
}
