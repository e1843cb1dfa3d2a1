//! What a handler knows about its turn.

use crate::child_door::ChildDoor;
use crate::error::{FlushError, NotShuttingDown};
use crate::failpoint::{self, Failpoint};
use crate::host::Host;
use crate::inbox::{Inbox, Keys, PendingInput};
use crate::input_error::PendingError;
use crate::machine::{Asking, Event, Wait, WaitFor};
use crate::metadata::{Metadata, MetadataCell};
use crate::reply::Reply;
use crate::request::Draft;
use crate::signal::{Causes, Signal};
use crate::snapshot::Source;
use crate::stream::cell::StreamCell;
use crate::turn_steps::TurnSteps;
use crate::value;
use crate::writer::{Origin, Refused, Room, Sent, Target};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    EntryKind, Failure, Generation, StepRow, StreamEntry, TaskNumber, TaskRow,
};
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Why the handler was entered.
///
/// A handler is entered **at least once**: after a crash it may find work of its former self in the outside world.
/// Branch on `Recovered` where that matters, and use the ids of the task and of its input together as idempotency key there, or
/// that of a recorded step ([`StepCtx::effect_id`](crate::StepCtx::effect_id)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry {
    /// First turn, first attempt; also of a task that was restarted.
    Fresh,
    /// A later turn of the task, a further run by [`Engine::retry`](crate::Engine::retry), or a turn that was put aside and goes on.
    Resumed,
    /// A later attempt, because the one before failed.
    Retried {
        /// Counts attempts of this turn, from 2.
        attempt: u32,
        /// How the attempt before failed.
        error: Failure,
    },
    /// Again, because the process died, or was stopped, while the turn ran; also where such a turn was put aside since.
    /// Not charged to the retry budget.
    Recovered {
        /// How often the process died in this turn; stops in order are not counted.
        crashes: u32,
    },
}

pub(crate) struct CtxCore {
    pub(crate) task: TaskNumber,
    pub(crate) row: Arc<TaskRow>,
    pub(crate) name: &'static str,
    pub(crate) generation: Generation,
    pub(crate) host: Arc<Host>,
    pub(crate) signal: Arc<Signal>,
    /// The bytes of the input of the turn before.
    pub(crate) previous: Option<Vec<u8>>,
    pub(crate) metadata: MetadataCell,
    pub(crate) stream: Arc<StreamCell>,
    /// The keys under which it took inputs.
    pub(crate) keys: Keys,
    pub(crate) steps: Arc<TurnSteps>,
    pub(crate) children: ChildDoor,
}

impl CtxCore {
    /// Sends an event of the turn with what changed in the metadata. In order with what was sent before: what is sent
    /// later is written later. The change that goes along is durable when the event is.
    pub(crate) async fn send(&self, draft: Draft) -> Result<(Option<u64>, Sent), Refused> {
        let room = self.room(draft.size()).await;
        self.pass(room, draft, |room, draft| {
            self.host.writer.send_in(room, draft)
        })
    }

    /// As [`CtxCore::send`], for who does not wait for what it comes to, and has [room](CtxCore::room).
    pub(crate) fn post_in(&self, room: Room, draft: Draft, reply: Reply) -> Result<(), Refused> {
        let post = |room, draft| self.host.writer.post_in(room, draft, reply);
        self.pass(room, draft, post).map(|(_, ())| ())
    }

    /// Waits for room for an event that comes with so many bytes, and with the metadata that has changed.
    pub(crate) async fn room(&self, bytes: usize) -> Room {
        let bytes = bytes + self.metadata.size();
        self.host.writer.room(Origin::Engine, bytes).await
    }

    /// In order with all that takes the metadata along.
    fn pass<T>(
        &self,
        room: Room,
        mut draft: Draft,
        send: impl FnOnce(Room, Draft) -> Result<T, Refused>,
    ) -> Result<(Option<u64>, T), Refused> {
        self.metadata.in_order(|changed| {
            let version = changed.as_ref().map(|changed| changed.version);
            draft.metadata = changed.map(|changed| changed.bytes);
            Ok((version, send(room, draft)?))
        })
    }

    /// Puts a step of the turn down, with what is said of it in the stream; `None`: it is known not to have happened.
    pub(crate) async fn put_down(
        &self,
        key: Box<str>,
        step: Option<Box<StepRow>>,
        mark: Option<StreamEntry>,
    ) -> Result<(), Refused> {
        let generation = self.generation;
        let event = Event::Step {
            generation,
            key,
            step,
        };
        self.carry_out(event, mark).await
    }

    /// Puts down what the handler waits for.
    pub(crate) async fn put_wait_down(&self, wait: Wait) -> Result<(), Refused> {
        match wait.wait_for {
            WaitFor::Answer { ask: Some(ask), .. } => {
                let (generation, key) = (self.generation, wait.key);
                let asking = Asking {
                    generation,
                    key,
                    ask,
                };
                self.carry_out(Event::Ask(asking), None).await
            }
            WaitFor::Answer { ask: None, .. } | WaitFor::Time { .. } | WaitFor::Children { .. } => {
                self.put_down(wait.key, wait.step, None).await
            }
        }
    }

    /// Sends an event of the turn, with what is said of it in the stream, and waits until it is durable.
    pub(crate) async fn carry_out(
        &self,
        event: Event,
        mark: Option<StreamEntry>,
    ) -> Result<(), Refused> {
        let draft = Draft {
            stream: Some(Arc::clone(&self.stream)),
            mark: mark.map(Box::new),
            ..Draft::bare(Target::Number(self.task), event)
        };
        let (version, answer) = self.send(draft).await?;
        answer.await?;
        if let Some(version) = version {
            self.metadata.kept(version);
        }
        Ok(())
    }

    /// Makes what changed in the metadata durable.
    pub(crate) async fn flush_metadata(&self) -> Result<(), FlushError> {
        let room = self
            .host
            .writer
            .room(Origin::Engine, self.metadata.size())
            .await;
        let sent = self.metadata.in_order(|changed| {
            let changed = changed?;
            let event = Event::Keep {
                generation: self.generation,
            };
            let draft = Draft {
                metadata: Some(changed.bytes),
                ..Draft::bare(Target::Number(self.task), event)
            };
            Some((changed.version, self.host.writer.send_in(room, draft)))
        });
        let Some((version, sent)) = sent else {
            return Ok(());
        };
        failpoint::reach(Failpoint::MetadataSent);
        let answer = sent.map_err(FlushError::from_refused)?;
        let told = answer.await.map_err(FlushError::from_refused);
        if !cfg!(planted = "failed_flush_untold") {
            told?;
        }
        self.metadata.kept(version);
        Ok(())
    }
}

/// A handler's view of its turn. `S` is the item type of the task's definition.
///
/// It is `Clone`, `Send` and `'static`, so it can be moved into tasks of the handler's own.
///
/// ```
/// use outlive::{Ctx, Entry, HandlerError};
/// async fn fetch(ctx: Ctx, url: String) -> Result<usize, HandlerError> {
///     if let Entry::Recovered { crashes } = ctx.entry() {
///         println!("{}: going on after {crashes} crashes", ctx.id());
///     }
///     Ok(url.len())
/// }
/// ```
pub struct Ctx<S = ()> {
    pub(crate) core: Arc<CtxCore>,
    items: PhantomData<fn(S)>,
}

impl<S> Ctx<S> {
    pub(crate) fn new(core: Arc<CtxCore>) -> Ctx<S> {
        Ctx {
            core,
            items: PhantomData,
        }
    }

    pub(crate) fn core(&self) -> &Arc<CtxCore> {
        &self.core
    }

    /// The task's id, as its caller chose it.
    pub fn id(&self) -> &TaskId {
        &self.core.row.id
    }

    /// The id of the input this turn works on: the same after every crash. It is unique within its task, so the task's
    /// id and this one together serve as idempotency key for the outside world.
    pub fn input_id(&self) -> &InputId {
        &self.core.row.input_id
    }

    /// The name of the task's definition.
    pub fn name(&self) -> &str {
        self.core.name
    }

    /// The owner name of the engine that started the task.
    pub fn owner(&self) -> &str {
        &self.core.row.facts.owner
    }

    /// The session the task belongs to.
    pub fn session(&self) -> Option<&str> {
        self.core.row.facts.session.as_deref()
    }

    /// The task's title.
    pub fn title(&self) -> Option<&str> {
        self.core.row.facts.title.as_deref()
    }

    /// The task's description.
    pub fn description(&self) -> Option<&str> {
        self.core.row.facts.description.as_deref()
    }

    /// The task's tags in the order of their keys, without `outlive.task`, whose value is [`Ctx::name`].
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        let tags = &self.core.row.facts.tags;
        tags.iter().map(|(key, value)| (&**key, &**value))
    }

    /// What created the task.
    pub fn source(&self) -> Source {
        Source::of(&self.core.row, self.core.name)
    }

    /// The W3C trace context of the call that created the task.
    pub fn traceparent(&self) -> Option<&str> {
        self.core.row.facts.traceparent.as_deref()
    }

    /// Why the handler was entered.
    pub fn entry(&self) -> Entry {
        let row = &self.core.row;
        match (row.entry, &row.last_failure) {
            (EntryKind::Fresh, _) => Entry::Fresh,
            (EntryKind::Resumed, _) => Entry::Resumed,
            (EntryKind::Recovered, _) if cfg!(planted = "recovery_untold") => Entry::Fresh,
            (EntryKind::Recovered, _) => Entry::Recovered {
                crashes: row.crashes,
            },
            (EntryKind::Retried, Some(error)) => Entry::Retried {
                attempt: row.attempt,
                error: error.clone(),
            },
            // INVARIANT: a retry follows a recorded failure; should the row lack it, the count still tells.
            (EntryKind::Retried, None) => Entry::Recovered {
                crashes: row.crashes,
            },
        }
    }

    /// Counts the runs of this id, from 1.
    pub fn run(&self) -> u32 {
        self.core.row.run
    }

    /// Counts the turns of this run, from 1.
    pub fn turn(&self) -> u32 {
        self.core.row.turn
    }

    /// Counts the attempts of this turn, from 1; a recovery after a crash is not another attempt.
    pub fn attempt(&self) -> u32 {
        self.core.row.attempt
    }

    /// How often the process died during this turn.
    pub fn crashes(&self) -> u32 {
        self.core.row.crashes
    }

    /// The lease generation of this claim: larger than that of every claim before, in the whole file. Give it to
    /// outside systems that can refuse a stale writer.
    pub fn generation(&self) -> u64 {
        self.core.generation.0
    }

    /// Whether this turn's input came from the queue: it was given while an earlier turn ran.
    pub fn is_steered(&self) -> bool {
        self.core.row.steered && !cfg!(planted = "steered_untold")
    }

    /// The input of the turn before, read as `T`; `None` where there was none: in the first turn of a task, and after a
    /// restart. A retried run keeps that of the turn it goes on with.
    ///
    /// # Errors
    /// The input of the turn before is not a `T`.
    pub fn previous_input<T: DeserializeOwned>(&self) -> Result<Option<T>, serde_json::Error> {
        let previous = self.core.previous.as_deref();
        previous.map(value::decode).transpose()
    }

    /// The inputs that wait for the task: to take what was given [`AtBoundary`](crate::Delivery::AtBoundary).
    pub fn inbox(&self) -> Inbox {
        Inbox::new(Arc::clone(&self.core))
    }

    /// The inputs that wait, oldest first, each read as `I`; nothing is consumed. See [`Inbox::pending`].
    ///
    /// # Errors
    /// [`PendingError`]: what to do is in each variant.
    pub async fn pending_inputs<I: DeserializeOwned>(
        &self,
    ) -> Result<Vec<PendingInput<I>>, PendingError> {
        self.inbox().pending().await
    }

    /// How many inputs wait. It follows each commit, without a read. What an earlier attempt of the turn took is not
    /// counted, although [`Inbox::take`](crate::Inbox::take) gives it again: take, whatever this says.
    pub fn pending_count(&self) -> u64 {
        self.core.signal.waiting()
    }

    /// The task's metadata, to read and to change.
    pub fn metadata(&self) -> Metadata {
        Metadata::new(Arc::clone(&self.core))
    }

    /// Makes changed metadata durable: a fence. When it returns `Ok`, whatever was set before is on disk, in one
    /// commit; without it, changes follow within a second or with the turn's end.
    ///
    /// # Errors
    /// [`FlushError`]: what to do is in each variant.
    pub async fn flush_metadata(&self) -> Result<(), FlushError> {
        self.core.flush_metadata().await
    }

    /// Why the turn may want to end, if it may; causes add up.
    pub fn cause(&self) -> Option<Causes> {
        self.core.signal.causes(self.is_shutting_down())
    }

    /// Resolves when the turn should come to its end: it was cancelled, took too long, was steered, or lost its
    /// claim. [`Ctx::cause`] says which; it is visible first. A shutdown alone does not resolve it.
    pub async fn cancelled(&self) {
        if cfg!(planted = "shutdown_cancels") {
            tokio::select! {
                biased;
                () = self.shutdown() => return,
                () = self.core.signal.cancelled() => return,
            }
        }
        self.core.signal.cancelled().await;
    }

    /// Whether the engine is shutting down.
    pub fn is_shutting_down(&self) -> bool {
        *self.core.host.shutdown.borrow()
    }

    /// Resolves when the engine begins to shut down. A turn that does not end in time is dropped and recovered
    /// at the next open.
    pub async fn shutdown(&self) {
        let mut shutdown = self.core.host.shutdown.clone();
        // A sender that is gone means the engine is as well.
        let _ = shutdown.wait_for(|stopping| *stopping).await;
    }

    /// Leaves the turn to the next open, while the engine is shutting down: the handler's future is dropped here,
    /// nothing is recorded, no attempt is charged. It returns only when it refuses. It is for async handlers: the call of
    /// a blocking one cannot be dropped, so waiting for this would hold its thread for ever.
    ///
    /// ```
    /// # use outlive::{Ctx, HandlerError};
    /// async fn long(ctx: Ctx, steps: u32) -> Result<u32, HandlerError> {
    ///     for _ in 0..steps {
    ///         if ctx.is_shutting_down() {
    ///             ctx.exit_for_recovery().await?;
    ///         }
    ///     }
    ///     Ok(steps)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`NotShuttingDown`]: the engine runs on, so nobody would enter the turn again. Go on, or return an error.
    pub async fn exit_for_recovery(&self) -> Result<Infallible, NotShuttingDown> {
        if !self.is_shutting_down() && !cfg!(planted = "left_while_running") {
            return Err(NotShuttingDown);
        }
        self.core.signal.leave();
        std::future::pending().await
    }
}

impl<S> Clone for Ctx<S> {
    fn clone(&self) -> Self {
        Ctx::new(Arc::clone(&self.core))
    }
}

impl<S> fmt::Debug for Ctx<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("id", self.id())
            .field("turn", &self.turn())
            .field("attempt", &self.attempt())
            .field("generation", &self.core.generation)
            .field("task", &self.core.task)
            .finish()
    }
}
