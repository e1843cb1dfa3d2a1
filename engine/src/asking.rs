//! One question of one attempt: found again, or asked, and waited for.

use crate::ask::{ASKS_MAX, AskError};
use crate::machine::{Event, Wait, WaitFor};
use crate::one_step::OneStep;
use crate::reader::ReadError;
use crate::step::StepError;
use outlive_storage::row::{AskRow, Deadline, StepRow, StepState, TaskNumber};
use outlive_storage::{Store, StoreError};
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::ops::Bound;
use std::time::Duration;

/// What is known of a question when its turn comes to it.
enum Found {
    /// It was not asked before, or another one was.
    New,
    /// It is open.
    Open { until: Deadline },
    /// What came of it is recorded.
    Recorded(StepRow),
}

/// Reads how many questions of a task are open.
pub(crate) fn open_asks(
    task: TaskNumber,
) -> impl Fn(&dyn Store) -> Result<usize, StoreError> + Clone + Send + 'static {
    move |store| {
        let page = store.asks(Bound::Included((task, "")), AskRow::OPEN_MAX)?;
        Ok(page.iter().filter(|found| found.task == task).count())
    }
}

impl<S> OneStep<'_, S> {
    /// Asks, unless it was asked before, and waits for the answer, in memory or outside of it.
    pub(crate) async fn ask<A: DeserializeOwned>(&self, ask: AskRow) -> Result<A, AskError> {
        let core = &self.ctx.core;
        let digest = ask.digest;
        // Before anything is read: an answer that comes from here on is not missed.
        let mut wakes = core.signal.wakes();
        let found = match core.steps.recorded {
            true => self.found_question(digest).await?,
            false => Found::New,
        };
        let (until, mut new) = match found {
            Found::Recorded(step) => return self.answered(&step).await,
            Found::Open { until } => (until, None),
            Found::New if core.steps.asks() => (ask.deadline, Some(Box::new(ask))),
            Found::New => return Err(AskError::TooMany { max: ASKS_MAX }),
        };
        let long = core.steps.is_long(self.left(until));
        if !long && let Some(ask) = new.take() {
            let wait = self.wait_for(until, Some(ask));
            let told = core.put_wait_down(wait).await;
            self.settled::<Infallible>(told).await?;
        }
        let _waits = core.steps.wait(self.wait_for(until, new), long);
        drop(self.under_way.lock().take());
        loop {
            let over = tokio::select! {
                biased;
                () = wakes.changed() => false,
                () = self.reach(until) => true,
                () = core.steps.ended() => return Err(AskError::TurnOver),
            };
            // The turn does not leave memory over an answer that is there.
            let _looks = core.steps.again();
            if over {
                self.expire().await?;
            }
            if let Found::Recorded(step) = self.found_question(digest).await? {
                core.steps.is_answered();
                return self.answered(&step).await;
            }
        }
    }

    fn wait_for(&self, until: Deadline, ask: Option<Box<AskRow>>) -> Wait {
        Wait {
            key: self.key.as_str().into(),
            wait_for: WaitFor::Answer { until, ask },
            step: None,
        }
    }

    fn left(&self, until: Deadline) -> Duration {
        if until == Deadline::NEVER {
            return Duration::MAX;
        }
        let times = self.ctx.core.host.clock.times();
        Duration::from_micros(times.left_us(until))
    }

    async fn reach(&self, until: Deadline) {
        if until == Deadline::NEVER {
            return std::future::pending().await;
        }
        self.ctx.core.host.clock.reach(until).await;
    }

    /// The time of the question is over: unless somebody was faster, that is recorded.
    async fn expire(&self) -> Result<(), StepError<Infallible>> {
        let core = &self.ctx.core;
        let event = Event::ExpireAsk {
            generation: core.generation,
            key: self.key.as_str().into(),
        };
        self.settled(core.carry_out(event, None).await).await
    }

    /// What is recorded of the question with this digest.
    async fn found_question(&self, digest: [u8; 16]) -> Result<Found, StepError<Infallible>> {
        let core = &self.ctx.core;
        let (task, turn, key) = (core.task, core.row.steps_of, self.key.clone());
        let read = core.host.reader.read_on(move |store| {
            // The list first: an answer takes the question from it and is recorded in one commit, so what is not listed
            // any more is recorded by now, or was withdrawn.
            let ask = store.ask(task, key.as_str())?;
            Ok((ask, store.step(task, turn, key.as_str())?))
        });
        let (ask, step) = match read.await {
            Ok((_, None)) => return Ok(Found::New),
            Ok((ask, Some(step))) => (ask, step),
            Err(ReadError::Store(error)) if error.is_of_one_entry() => {
                return self.aside(self.undecodable(error.to_string())).await;
            }
            // The engine stops, and drops this turn.
            Err(ReadError::Store(_) | ReadError::Stopped) => return self.turn_over().await,
        };
        let same = |other: [u8; 16]| other == digest || cfg!(planted = "answer_to_other_question");
        match step.state {
            StepState::Answered { digest } | StepState::Expired { digest } if same(digest) => {
                Ok(Found::Recorded(step))
            }
            StepState::Answered { .. } | StepState::Expired { .. } => Ok(Found::New),
            StepState::Asked { .. } => match ask {
                Some(ask) if same(ask.digest) => Ok(Found::Open {
                    until: ask.deadline,
                }),
                // Another one is open, or it was withdrawn with an earlier end of the task.
                Some(_) | None => Ok(Found::New),
            },
            other @ (StepState::Begun | StepState::Done | StepState::Sleeping { .. }) => {
                self.mistaken("a question", other).await
            }
        }
    }

    async fn answered<A: DeserializeOwned>(&self, step: &StepRow) -> Result<A, AskError> {
        if step.value.is_empty() {
            return Err(AskError::Expired);
        }
        Ok(self.replayed::<A, Infallible>(step).await?)
    }
}
