//! One step of one attempt: found again, or run, and recorded.

use crate::ctx::Ctx;
use crate::ended;
use crate::env;
use crate::failpoint::{self, Failpoint};
use crate::machine::{TurnEnd, Wait, WaitFor, delay_us};
use crate::reader::ReadError;
use crate::signal::Wakes;
use crate::step::{Reconciled, STEPS_MAX, StepCtx, StepError, StepOptions, Tries};
use crate::step_key::StepKey;
use crate::turn_steps::{Unclaimed, UnderWay};
use crate::value;
use crate::writer::Refused;
use outlive_storage::row::{Deadline, Micros, StepRow, StepState, StreamEntry, WaitReason};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One step of one attempt.
pub(crate) struct OneStep<'a, S> {
    pub(crate) ctx: &'a Ctx<S>,
    pub(crate) key: StepKey,
    options: StepOptions,
    /// Until it is recorded or given up, the turn is not put aside.
    pub(crate) under_way: Mutex<Option<UnderWay>>,
    tries: Arc<Tries>,
}

impl<'a, S> OneStep<'a, S> {
    pub(crate) async fn begin<E>(
        ctx: &'a Ctx<S>,
        key: StepKey,
        options: StepOptions,
    ) -> Result<OneStep<'a, S>, StepError<E>> {
        let steps = &ctx.core.steps;
        if steps.is_over() {
            return Err(StepError::TurnOver);
        }
        match steps.claim(key.as_str()) {
            Ok(under_way) => Ok(OneStep {
                ctx,
                key,
                options,
                under_way: Mutex::new(Some(under_way)),
                tries: Arc::default(),
            }),
            Err(Unclaimed::TooMany) => Err(StepError::TooMany { max: STEPS_MAX }),
            Err(Unclaimed::Duplicate) => {
                let key = key.as_str().into();
                steps.put_aside(TurnEnd::Held(WaitReason::DuplicateStep { key }));
                steps.ended().await;
                Err(StepError::TurnOver)
            }
        }
    }

    /// For a try, which begins with it: what earlier ones left behind emits nothing more.
    pub(crate) fn ctx(&self, attempt: u32) -> StepCtx<S> {
        self.tries.runs.store(attempt, Ordering::SeqCst);
        StepCtx::new(
            Arc::clone(&self.ctx.core),
            (self.key.clone(), attempt),
            Arc::clone(&self.tries),
        )
    }

    /// What an earlier attempt recorded.
    pub(crate) async fn known<E>(&self) -> Result<Option<StepRow>, StepError<E>> {
        let core = &self.ctx.core;
        if !core.steps.recorded || cfg!(planted = "recorded_step_runs_again") {
            return Ok(None);
        }
        let (task, turn, key) = (core.task, core.row.steps_of, self.key.clone());
        let read = core
            .host
            .reader
            .read_on(move |store| store.step(task, turn, key.as_str()));
        match read.await {
            Ok(known) => Ok(known),
            Err(ReadError::Store(error)) if error.is_of_one_entry() => {
                self.aside(self.undecodable(error.to_string())).await
            }
            // The engine stops, and drops this turn.
            Err(ReadError::Store(_) | ReadError::Stopped) => self.turn_over().await,
        }
    }

    /// What an earlier attempt recorded of a step; a wait under its key is a mistake of the program.
    pub(crate) async fn found<E>(&self) -> Result<Option<StepRow>, StepError<E>> {
        match self.known().await? {
            Some(known) if known.state.is_wait() => self.mistaken("a step", known.state).await,
            known => Ok(known),
        }
    }

    /// The recorded result.
    pub(crate) async fn replayed<T: DeserializeOwned, E>(
        &self,
        known: &StepRow,
    ) -> Result<T, StepError<E>> {
        match value::decode(&known.value) {
            Ok(result) => Ok(result),
            Err(error) => {
                let expected = format!(
                    "{}, as which {} was recorded: {error}",
                    std::any::type_name::<T>(),
                    known.type_name
                );
                self.aside(self.undecodable(expected)).await
            }
        }
    }

    /// What the outside world says of a step that was begun and not recorded, if it can be asked, and has not been yet;
    /// `None`: it did not happen.
    pub(crate) async fn reconciled<T, E, R, Recon>(
        &self,
        reconcile: Option<R>,
    ) -> Result<Option<T>, StepError<E>>
    where
        T: Serialize,
        R: FnOnce(StepCtx<S>) -> Recon + Send,
        Recon: Future<Output = Result<Reconciled<T>, E>> + Send,
    {
        let Some(reconcile) = reconcile.filter(|_| !cfg!(planted = "nobody_reconciles")) else {
            return self.aside(self.unknown()).await;
        };
        let said = reconcile(self.ctx(1)).await;
        self.settle(said).await
    }

    /// What was said of a step that was begun and not recorded; `None`: it did not happen.
    pub(crate) async fn settle<T: Serialize, E>(
        &self,
        said: Result<Reconciled<T>, E>,
    ) -> Result<Option<T>, StepError<E>> {
        match said {
            Ok(Reconciled::Done(result)) => Ok(Some(self.record(result, 1).await?)),
            Ok(Reconciled::NotDone) => Ok(None),
            Ok(Reconciled::Unknown) => self.aside(self.unknown()).await,
            Err(error) => Err(StepError::Failed { error, attempts: 1 }),
        }
    }

    /// Runs it as often as it may, and records its result; `begun`: it is known that this was put down already.
    pub(crate) async fn run<T, E, F, Fut, R, Recon>(
        &self,
        mut run: F,
        mut reconcile: Option<R>,
        mut begun: bool,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize,
        F: FnMut(StepCtx<S>) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        R: FnOnce(StepCtx<S>) -> Recon + Send,
        Recon: Future<Output = Result<Reconciled<T>, E>> + Send,
    {
        for attempt in 1.. {
            if !begun || cfg!(planted = "begun_twice") {
                self.intend().await?;
            }
            begun = false;
            let error = match self.in_time(run(self.ctx(attempt))).await {
                Some(Ok(result)) => return self.record(result, attempt).await,
                Some(Err(error)) => StepError::Failed {
                    error,
                    attempts: attempt,
                },
                None if self.options.once => match self.reconciled(reconcile.take()).await? {
                    Some(result) => return Ok(result),
                    None => self.timed_out(),
                },
                None => self.timed_out(),
            };
            self.did_not_happen().await?;
            let Some(pause) = self.pause(attempt) else {
                return Err(error);
            };
            self.paused(pause).await;
        }
        // INVARIANT: the loop ends by its own returns.
        Err(StepError::TurnOver)
    }

    /// Before a try: that it begins is put down, of a step that may run only once.
    pub(crate) async fn intend<E>(&self) -> Result<(), StepError<E>> {
        if !self.options.once {
            return Ok(());
        }
        self.keep(Some(step_row(StepState::Begun)), None).await
    }

    /// After a try: it is known not to have happened.
    pub(crate) async fn did_not_happen<E>(&self) -> Result<(), StepError<E>> {
        if !self.options.once || cfg!(planted = "failed_try_unknown") {
            return Ok(());
        }
        self.keep(None, None).await
    }

    /// How long to wait after this try for the next one, if there is to be one.
    pub(crate) fn pause(&self, attempt: u32) -> Option<Duration> {
        let core = &self.ctx.core;
        let retry = self.options.retry.row().ok();
        let retry = retry.filter(|retry| attempt < retry.attempts_max)?;
        let delay = delay_us(&retry, core.task, core.row.turn, attempt);
        Some(Duration::from_micros(delay))
    }

    /// Nothing is under way meanwhile that a turn could lose.
    pub(crate) async fn paused(&self, pause: Duration) {
        let steps = &self.ctx.core.steps;
        let paused = steps.pause();
        drop(self.under_way.lock().take());
        env::sleep(pause).await;
        *self.under_way.lock() = Some(steps.again());
        drop(paused);
    }

    fn timed_out<E>(&self) -> StepError<E> {
        StepError::TimedOut {
            limit: self.options.timeout.unwrap_or_default(),
        }
    }

    /// What a try came to, unless it took longer than it may.
    async fn in_time<F: Future>(&self, running: F) -> Option<F::Output> {
        let Some(limit) = self.options.timeout else {
            return Some(running.await);
        };
        tokio::select! {
            biased;
            result = running => Some(result),
            () = env::sleep(limit) => None,
        }
    }

    /// Records the result; when this returns it is on disk.
    pub(crate) async fn record<T: Serialize, E>(
        &self,
        result: T,
        attempt: u32,
    ) -> Result<T, StepError<E>> {
        let bytes = value::encode("result of a step", &result).map_err(StepError::Result)?;
        let done = StepRow {
            type_name: std::any::type_name::<T>().into(),
            value: bytes,
            ..step_row(StepState::Done)
        };
        self.tries.runs.store(0, Ordering::SeqCst);
        let mark = self.settled_items(attempt);
        if cfg!(planted = "kept_before_recorded")
            && let Some(mark) = &mark
        {
            let _ = self.ctx.core.stream.mark(mark.clone());
        }
        failpoint::reach(Failpoint::StepRan);
        self.keep(Some(done), mark).await?;
        failpoint::reach(Failpoint::StepRecorded);
        Ok(result)
    }

    /// What the recorded try emitted stays; what only an earlier one did is abandoned. Said with the record, in one
    /// commit: a record that is not made keeps nothing.
    fn settled_items(&self, attempt: u32) -> Option<StreamEntry> {
        let step = Box::from(self.key.as_str());
        match self.tries.emitted.load(Ordering::SeqCst) {
            0 => None,
            emitted if emitted == attempt && !cfg!(planted = "step_items_not_kept") => {
                Some(StreamEntry::Kept { step })
            }
            _ => Some(StreamEntry::Reset {
                step: Some(step),
                all: false,
            }),
        }
    }

    /// Puts the step down, with what is said of it in the stream; `None`: it is known not to have happened.
    async fn keep<E>(
        &self,
        step: Option<StepRow>,
        mark: Option<StreamEntry>,
    ) -> Result<(), StepError<E>> {
        let key = self.key.as_str().into();
        let told = self.ctx.core.put_down(key, step.map(Box::new), mark);
        self.settled(told.await).await
    }

    /// What the writer said of an event of the turn.
    pub(crate) async fn settled<E>(&self, told: Result<(), Refused>) -> Result<(), StepError<E>> {
        match told {
            Ok(()) => Ok(()),
            // The task's row is damaged: its end is refused as well, and frees whoever waits.
            Err(Refused::Unreadable(error)) if !cfg!(planted = "step_on_damage_hangs") => {
                self.aside(self.undecodable(error.to_string())).await
            }
            // A lost claim, and the end of the engine, end the turn.
            Err(
                Refused::Unreadable(_)
                | Refused::Rejected(_)
                | Refused::Unknown(_)
                | Refused::Stopped(_),
            ) => self.turn_over().await,
        }
    }

    /// Waits, in memory or outside of it, until this moment. That it waits is on disk before it does, or in the commit in
    /// which the turn leaves memory.
    pub(crate) async fn sleep<E>(&self, until: Deadline, is_new: bool) -> Result<(), StepError<E>> {
        let core = &self.ctx.core;
        let left = core.host.clock.times().left_us(until);
        let long = core.steps.is_long(Duration::from_micros(left));
        let mut step = is_new.then(|| Box::new(step_row(StepState::Sleeping { until })));
        if !long && let Some(step) = step.take() {
            self.keep(Some(*step), None).await?;
        }
        let wait = Wait {
            key: self.key.as_str().into(),
            wait_for: WaitFor::Time { until },
            step,
        };
        let _waits = core.steps.wait(wait, long);
        drop(self.under_way.lock().take());
        tokio::select! {
            biased;
            () = core.host.clock.reach(until) => Ok(()),
            () = core.steps.ended() => Err(StepError::TurnOver),
        }
    }

    /// Waits, outside of memory where that is possible, until so many ends of the turn's children are counted, or `wakes`
    /// tells of one.
    pub(crate) async fn wait_for_children<E>(
        &self,
        ended: u64,
        mut wakes: Wakes,
    ) -> Result<(), StepError<E>> {
        let steps = &self.ctx.core.steps;
        let wait = Wait {
            key: self.key.as_str().into(),
            wait_for: WaitFor::Children { ended },
            step: None,
        };
        // Nobody knows how long they take, and they may wait for the slot of this very turn.
        let waits = steps.wait(wait, steps.is_long(Duration::MAX));
        loop {
            drop(self.under_way.lock().take());
            tokio::select! {
                biased;
                () = wakes.changed() => {}
                () = steps.ended() => return Err(StepError::TurnOver),
            }
            // Before the wait is over, or the turn might leave memory over what has come.
            *self.under_way.lock() = Some(steps.again());
            // To read the count is cheaper than to look at each of them once more.
            let core = &self.ctx.core;
            let family = core.row.family(core.task);
            let read = core
                .host
                .reader
                .read_on(move |store| store.ended_children(family));
            if read.await.is_ok_and(|counted| counted < ended) {
                continue;
            }
            drop(waits);
            return Ok(());
        }
    }

    /// Two parts of the step have one key.
    pub(crate) async fn used_twice<T, E>(&self, key: &str) -> Result<T, StepError<E>> {
        let key = format!("{}/{key}", self.key.as_str()).into();
        self.aside(TurnEnd::Held(WaitReason::DuplicateStep { key }))
            .await
    }

    /// The key was used for something else when this was recorded.
    pub(crate) async fn mistaken<T, E>(
        &self,
        expected: &str,
        known: StepState,
    ) -> Result<T, StepError<E>> {
        let recorded = match known {
            StepState::Begun => "a step that was begun",
            StepState::Done => "a result",
            StepState::Sleeping { .. } => "a sleep",
            StepState::Asked { .. } => "a question",
            StepState::Answered { .. } | StepState::Expired { .. } => "the answer to a question",
        };
        let expected = format!("{expected}, where {recorded} is recorded");
        self.aside(self.undecodable(expected)).await
    }

    fn unknown(&self) -> TurnEnd {
        let step = self.key.as_str().into();
        TurnEnd::Held(WaitReason::UnknownOutcome { step })
    }

    pub(crate) fn undecodable(&self, expected: String) -> TurnEnd {
        ended::undecodable(&format!("step {}", self.key.as_str()), expected, true)
    }

    /// Waits for the end of the turn: the handler is dropped there, unless this is a context it left behind.
    pub(crate) async fn turn_over<T, E>(&self) -> Result<T, StepError<E>> {
        drop(self.under_way.lock().take());
        self.ctx.core.steps.ended().await;
        Err(StepError::TurnOver)
    }

    /// Has the turn put aside, and waits for its end.
    pub(crate) async fn aside<T, E>(&self, end: TurnEnd) -> Result<T, StepError<E>> {
        self.ctx.core.steps.put_aside(end);
        self.turn_over().await
    }
}

/// A step of which the machine fills in when it was put down, and in which attempt.
fn step_row(state: StepState) -> StepRow {
    StepRow {
        state,
        attempt: 0,
        at: Micros(0),
        type_name: Box::default(),
        value: Vec::new(),
    }
}
