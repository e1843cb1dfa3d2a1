//! The door of a running turn to the inputs that wait for its task: to count them, to look at them, to take them.

use crate::ctx::CtxCore;
use crate::input_error::{PendingError, TakeError};
use crate::machine::{Answer, Event, Handed};
use crate::request::Draft;
use crate::value;
use crate::writer::{Origin, Target};
use outlive_storage::Store;
use outlive_storage::id::InputId;
use outlive_storage::row::{Delivery, InputRow, Payload, TaskNumber, TaskRow, ValueKey, ValueKind};
use outlive_storage::store::PAGE_MAX;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::sync::Arc;

/// Most inputs one turn may take beside its own; the next take is refused with [`TakeError::TooMany`]. End the turn,
/// and the next one may take as many.
pub const TAKEN_MAX: u64 = TaskRow::TAKEN_MAX;
/// Longest key of a take, in bytes.
pub const TAKE_KEY_MAX: usize = 128;

/// The inputs that wait for a running turn's task; from [`Ctx::inbox`](crate::Ctx::inbox).
///
/// An input given [`AtBoundary`](crate::Delivery::AtBoundary) is for the turn that runs, where that turn says it has a
/// boundary: it takes it there. What no turn takes becomes a turn of its own, like any other input.
///
/// ```
/// # use outlive::{Ctx, Delivery, Engine, HandlerError, TaskDef};
/// # use std::time::Duration;
/// const SUM: TaskDef<Vec<u32>, u32> = TaskDef::new("sum").steerable(9);
///
/// async fn sum(ctx: Ctx, numbers: Vec<u32>) -> Result<u32, HandlerError> {
///     let (mut sum, mut part) = (numbers.iter().sum(), 0);
/// #   while ctx.pending_count() == 0 { tokio::task::yield_now().await; }
///     while let Some(more) = ctx.inbox().take::<Vec<u32>>(&format!("part {part}")).await? {
///         sum += more.input.iter().sum::<u32>();
///         part += 1;
///     }
///     Ok(sum)
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::in_memory().task(SUM, sum).open().await?;
/// // A moment later, so that the second input comes before its turn is over.
/// let run = engine.start(SUM, "a", &vec![1, 2]).start_in(Duration::from_millis(20)).await?;
/// let more = engine.start(SUM, "a", &vec![3]).delivery(Delivery::AtBoundary).await?;
/// assert_eq!((run.await?, more.await?), (6, 6)); // One turn worked on both.
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Inbox {
    core: Arc<CtxCore>,
}

/// An input that a running turn has taken. Its caller is answered with this turn's result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenInput<I> {
    /// Its id.
    pub input_id: InputId,
    /// When it was accepted, in microseconds since 1970.
    pub accepted_at_us: u64,
    /// The input.
    pub input: I,
}

/// An input that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingInput<I> {
    /// Its id.
    pub input_id: InputId,
    /// How it comes to the task.
    pub delivery: Delivery,
    /// When it was accepted, in microseconds since 1970.
    pub accepted_at_us: u64,
    /// The input.
    pub input: I,
}

impl Inbox {
    pub(crate) fn new(core: Arc<CtxCore>) -> Inbox {
        Inbox { core }
    }

    /// How many inputs wait for a turn of their own, or to be taken; as [`Ctx::pending_count`](crate::Ctx::pending_count).
    pub fn count(&self) -> u64 {
        self.core.signal.waiting()
    }

    /// The inputs that wait, oldest first, as of the last commit; nothing is consumed. What this turn took is not among
    /// them.
    ///
    /// # Errors
    /// [`PendingError`]: what to do is in each variant.
    pub async fn pending<I: DeserializeOwned>(&self) -> Result<Vec<PendingInput<I>>, PendingError> {
        let task = self.core.task;
        let read = move |store: &dyn Store| {
            let inputs = store.inputs(task, PAGE_MAX)?;
            let waiting = inputs.into_iter().filter(|(_, input)| {
                input.taken.is_none() || cfg!(planted = "taken_input_is_pending")
            });
            let mut found = Vec::new();
            for (seq, input) in waiting {
                // One whose bytes are gone was consumed since the page was read.
                if let Some(bytes) = store.bytes(input_key(task, seq), &input.payload)? {
                    found.push((input, bytes));
                }
            }
            Ok(found)
        };
        let found = self.core.host.reader.read_on(read).await;
        let found: Vec<(InputRow, Vec<u8>)> = found.map_err(PendingError::from_read)?;
        let pending = found.into_iter().map(|(row, bytes)| {
            let input = value::decode(&bytes).map_err(|error| PendingError::Undecodable {
                input_id: row.input_id.clone(),
                expected: expected::<I>(&error),
            })?;
            Ok(PendingInput {
                input_id: row.input_id,
                delivery: row.delivery,
                accepted_at_us: row.accepted_at.0,
                input,
            })
        });
        pending.collect()
    }

    /// Takes the oldest input that waits, if it was given [`AtBoundary`](crate::Delivery::AtBoundary). An older one that
    /// was not is never overtaken: then nothing is taken. Durable when this returns an input: its caller is answered
    /// with this turn's result, and nobody can withdraw it any more.
    ///
    /// `key` names this place of the handler, 1 to [`TAKE_KEY_MAX`] bytes without control characters, once in an
    /// attempt. When the turn is entered again, after a crash or an error, the same key gets the same input, and nothing
    /// new is taken before all that was recorded is taken again: every attempt sees the same inputs in the same order. An
    /// input that the attempt which ends the turn did not take again returns to the head of the queue. Where nothing was
    /// taken nothing is recorded, and the key may be used again.
    ///
    /// Dropped before it returns, it may have taken an input: the same key gets it, and where it is not asked for again
    /// the input returns to the queue with the end of the turn.
    ///
    /// # Errors
    /// [`TakeError`]: what to do is in each variant.
    pub async fn take<I: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<TakenInput<I>>, TakeError> {
        let bytes_len = key.len();
        if key.is_empty() || bytes_len > TAKE_KEY_MAX || key.contains(char::is_control) {
            return Err(TakeError::InvalidKey { bytes: bytes_len });
        }
        let asking = Asking::begin(&self.core.keys, key)?;
        let event = Event::Take {
            generation: self.core.generation,
            key: key.into(),
        };
        let draft = Draft::bare(Target::Number(self.core.task), event);
        let told = self.core.host.writer.ask(Origin::Engine, draft).await;
        let told = told.map_err(TakeError::from_refused);
        let handed = match told {
            Ok(settled) => match settled.answer {
                Answer::Taken(handed) => handed,
                // The machine answers a take with nothing else; a bug is told as a turn that is over.
                Answer::Accepted { .. } | Answer::Recovered(_) | Answer::Done => None,
            },
            Err(refused) => {
                asking.got_nothing();
                return Err(refused);
            }
        };
        let Some(handed) = handed else {
            asking.got_nothing();
            return Ok(None);
        };
        let bytes = self.bytes_of(&handed).await?;
        asking.got_it()?;
        let input = value::decode(&bytes).map_err(|error| TakeError::Undecodable {
            input_id: handed.input_id.clone(),
            expected: expected::<I>(&error),
        })?;
        Ok(Some(TakenInput {
            input_id: handed.input_id,
            accepted_at_us: handed.accepted_at.0,
            input,
        }))
    }

    async fn bytes_of(&self, handed: &Handed) -> Result<Vec<u8>, TakeError> {
        if let Payload::Inline(bytes) = &handed.payload {
            return Ok(bytes.clone());
        }
        let (key, payload) = (
            input_key(self.core.task, handed.seq),
            handed.payload.clone(),
        );
        let read = move |store: &dyn Store| store.bytes(key, &payload);
        let found = self.core.host.reader.read_on(read).await;
        // Its value goes with the end of the turn.
        found
            .map_err(TakeError::from_read)?
            .ok_or(TakeError::TurnOver)
    }
}

/// Where an input of this task lies that is too large for its row.
fn input_key(task: TaskNumber, seq: u64) -> ValueKey {
    ValueKey {
        task,
        kind: ValueKind::Input,
        index: seq,
    }
}

fn expected<I>(error: &serde_json::Error) -> Box<str> {
    format!("{}: {error}", std::any::type_name::<I>()).into()
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// The keys an attempt has asked with. Whether an answer reached the handler only its process knows: the machine, which
/// handed an input out, cannot tell a handler that got it from one whose future was dropped before.
#[derive(Default)]
pub(crate) struct Keys(Mutex<Asked>);

#[derive(Default)]
struct Asked {
    /// Their answers are on their way.
    under_way: HashSet<Box<str>>,
    /// Their answers came when nobody waited for them any more.
    missed: HashSet<Box<str>>,
    /// The handler has what was taken under them.
    got: HashSet<Box<str>>,
    /// The turn is over: what comes now comes too late.
    over: bool,
}

impl Keys {
    /// The turn is over. The keys whose answers the handler did not get, and from here on does not get.
    pub(crate) fn close(&self) -> Vec<Box<str>> {
        let mut asked = self.0.lock();
        asked.over = true;
        let (missed, under_way) = (asked.missed.drain().collect(), asked.under_way.drain());
        let mut keys: Vec<Box<str>> = missed;
        keys.extend(under_way);
        keys
    }
}

/// One take under way.
struct Asking<'a> {
    keys: &'a Keys,
    /// Empty once its answer is known.
    key: Option<Box<str>>,
}

impl<'a> Asking<'a> {
    fn begin(keys: &'a Keys, key: &str) -> Result<Asking<'a>, TakeError> {
        let mut asked = keys.0.lock();
        if asked.over {
            return Err(TakeError::TurnOver);
        }
        let used = asked.got.contains(key) || asked.under_way.contains(key);
        if used && !cfg!(planted = "take_key_used_twice") {
            return Err(TakeError::KeyUsed { key: key.into() });
        }
        asked.missed.remove(key);
        if (asked.under_way.len() + asked.missed.len()) as u64 >= TAKEN_MAX {
            return Err(TakeError::TooMany { max: TAKEN_MAX });
        }
        asked.under_way.insert(key.into());
        Ok(Asking {
            keys,
            key: Some(key.into()),
        })
    }

    /// Nothing was taken, so the key is as good as new.
    fn got_nothing(mut self) {
        if let Some(key) = self.key.take() {
            self.keys.0.lock().under_way.remove(&key);
        }
    }

    /// The handler gets it, unless its turn is over: then it has gone back to the queue.
    fn got_it(mut self) -> Result<(), TakeError> {
        let Some(key) = self.key.take() else {
            return Ok(());
        };
        let mut asked = self.keys.0.lock();
        if asked.over && !cfg!(planted = "late_take_handed_out") {
            return Err(TakeError::TurnOver);
        }
        asked.under_way.remove(&key);
        asked.got.insert(key);
        Ok(())
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let mut asked = self.keys.0.lock();
        asked.under_way.remove(&key);
        if !asked.over && !cfg!(planted = "dropped_take_forgotten") {
            asked.missed.insert(key);
        }
    }
}
