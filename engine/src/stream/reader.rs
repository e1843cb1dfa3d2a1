//! A stream as its reader sees it: typed items, marks, and one end.

use crate::def::TaskDef;
use crate::engine::{Engine, Shared};
use crate::error::AttachError;
use crate::reader::ReadError;
use crate::run::Run;
use crate::snapshot::Ended;
use crate::stream::StreamMemory;
use crate::stream::follow::{Follower, Next};
use crate::value;
use crate::writer::Stop;
use futures_core::Stream;
use outlive_storage::StoreError;
use outlive_storage::id::TaskId;
use outlive_storage::row::{SegmentRow, State, StreamEntry, TaskNumber, TaskRow};
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What a reader of a stream is given. Entries of all kinds but `Gap` and `End` share one sequence of numbers.
///
/// A reader that shows what counts keeps the items of the attempt apart from those that stay:
///
/// ```
/// use outlive::StreamEvent;
/// #[derive(Default)]
/// struct Page { open: Vec<(Option<Box<str>>, String)>, kept: Vec<String> }
/// impl Page {
///     fn show(&mut self, event: StreamEvent<String>) {
///         match event {
///             StreamEvent::Item { step, item, .. } => self.open.push((step, item)),
///             StreamEvent::Kept { step, .. } => {
///                 let is_kept = |(owner, _): &(Option<Box<str>>, _)| owner.as_ref() == Some(&step);
///                 let (kept, open) = std::mem::take(&mut self.open).into_iter().partition(is_kept);
///                 self.open = open;
///                 self.kept.extend(Vec::into_iter(kept).map(|(_, item)| item));
///             }
///             // One step is tried again.
///             StreamEvent::Reset { step: Some(step), .. } => {
///                 self.open.retain(|(owner, _)| owner.as_ref() != Some(&step));
///             }
///             // The turn begins anew: what is not kept goes, also of steps.
///             StreamEvent::Reset { step: None, all, .. } => {
///                 self.open.clear();
///                 if all { self.kept.clear(); }
///             }
///             _ => {} // the end, or a gap
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent<S> {
    /// An item, durable unless its definition has [`TaskDef::live_items`].
    #[non_exhaustive]
    Item {
        /// Its number among the entries of the task's stream: from 1, without a gap, over all turns, attempts and runs.
        /// Those of live items ascend, with gaps.
        sequence: u64,
        /// The run that emitted it.
        run: u32,
        /// The turn of the run.
        turn: u32,
        /// The attempt of the turn.
        attempt: u32,
        /// The key of the step that emitted it ([`StepCtx::emit`](crate::StepCtx::emit)); empty for one that belongs to
        /// its attempt.
        step: Option<Box<str>>,
        /// The item.
        item: S,
    },
    /// The turn began anew, after an error or a crash: what earlier attempts of it emitted is abandoned, but for what
    /// belongs to a step that was [kept](StreamEvent::Kept). Or one step of it began anew. This takes a number of its own.
    #[non_exhaustive]
    Reset {
        /// Its number in the task's stream.
        sequence: u64,
        /// The run.
        run: u32,
        /// The turn that began anew.
        turn: u32,
        /// The attempt that begins. After a crash it has the number of the one before.
        attempt: u32,
        /// The step that is tried once more: only what it emitted before is abandoned. Empty: the whole turn.
        step: Option<Box<str>>,
        /// Also what recorded steps had kept is abandoned: the run begins without them ([`Reenter::from_start`]).
        ///
        /// [`Reenter::from_start`]: crate::Reenter::from_start
        all: bool,
    },
    /// A step is recorded and never runs again: what it emitted stays, whatever becomes of its attempt. This takes a
    /// number of its own, and comes only for a step that emitted something.
    #[non_exhaustive]
    Kept {
        /// Its number in the task's stream.
        sequence: u64,
        /// The key of the step.
        step: Box<str>,
    },
    /// Items are missing here: they are not kept any more ([`TaskDef::keep_items`]), or are damaged, or were not stored
    /// ([`TaskDef::live_items`]) and came too fast for this reader.
    #[non_exhaustive]
    Gap {
        /// The sequence number up to which they are missing.
        until: u64,
    },
    /// The task's run has ended, and the stream is over. It takes no number of its own.
    #[non_exhaustive]
    End {
        /// The last sequence number of the stream.
        sequence: u64,
        /// How the run ended.
        ended: Ended,
    },
}

impl<S> StreamEvent<S> {
    /// Where it stands in the stream: give it to [`Engine::stream`] to go on after it.
    pub fn sequence(&self) -> u64 {
        match self {
            StreamEvent::Item { sequence, .. }
            | StreamEvent::Reset { sequence, .. }
            | StreamEvent::Kept { sequence, .. }
            | StreamEvent::End { sequence, .. } => *sequence,
            StreamEvent::Gap { until } => *until,
        }
    }

    /// The item, if it is one.
    pub fn into_item(self) -> Option<S> {
        match self {
            StreamEvent::Item { item, .. } => Some(item),
            StreamEvent::Reset { .. }
            | StreamEvent::Kept { .. }
            | StreamEvent::Gap { .. }
            | StreamEvent::End { .. } => None,
        }
    }
}

/// Why a stream gave nothing in one place, or is over without an [end](StreamEvent::End).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// An item is not what this program's type says. It is kept; the reader goes on with the next one.
    #[error("item {sequence} of task {id} is not a {expected}")]
    Undecodable {
        /// The task.
        id: TaskId,
        /// The item's number.
        sequence: u64,
        /// The type asked for, and why the bytes are not one.
        expected: Box<str>,
    },
    /// The task was removed before its run had ended; the stream is over.
    #[error("task {id} was removed before its run had ended")]
    Gone {
        /// The task.
        id: TaskId,
    },
    /// The engine has stopped; the stream is over here. Go on from [`TaskStream::position`] at the next open.
    #[error("the engine has stopped; go on from the same position at the next open")]
    ShuttingDown,
    /// The store cannot answer; the stream is over. A damaged segment is [`StoreError::Corrupt`], and the reader goes on
    /// after it. The error inside says what to do.
    #[error(transparent)]
    Store(StoreError),
}

/// A reader of one task's stream; see [`Engine::stream`].
///
/// Any number of readers may be anywhere in a stream. Each is shown everything once and in order: what is there
/// already, then what comes, as soon as it is durable. However slow it is, it holds at most
/// [`STREAM_READER_MAX`](crate::STREAM_READER_MAX) bytes, and holds up nobody. The stream of a task that waits or is
/// suspended stays open; it is over with one [`StreamEvent::End`]. A run that follows before the reader came to the end
/// of the one before goes on in the same stream.
///
/// It is a [`futures_core::Stream`], and has [`TaskStream::next`] for those who need no more.
///
/// ```
/// # use outlive::{Ctx, Engine, HandlerError, StreamEvent, TaskDef};
/// const COUNT: TaskDef<u32, (), u32> = TaskDef::new("count");
/// async fn count(ctx: Ctx<u32>, to: u32) -> Result<(), HandlerError> {
///     for n in 1..=to {
///         ctx.emit(n).await?;
///     }
///     Ok(())
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::in_memory().task(COUNT, count).open().await?;
/// let run = engine.start(COUNT, "three", &3).await?;
/// let mut stream = run.stream(0);
/// let mut seen = Vec::new();
/// while let Some(event) = stream.next().await {
///     match event? {
///         StreamEvent::Item { item, .. } => seen.push(item),
///         StreamEvent::End { sequence, .. } => assert_eq!(sequence, 3),
///         _ => {}
///     }
/// }
/// assert_eq!(seen, [1, 2, 3]);
/// # Ok(()) }
/// ```
#[must_use = "a stream gives nothing until it is asked"]
pub struct TaskStream<S> {
    shared: Arc<Shared>,
    id: TaskId,
    position: u64,
    state: Reading,
    items: PhantomData<fn() -> S>,
}

type Fetched = (Box<Follower>, Result<(), ReadError>);

enum Reading {
    Ready(Box<Follower>),
    Fetching(Pin<Box<dyn Future<Output = Fetched> + Send>>),
    Over,
}

impl<S> TaskStream<S> {
    pub(crate) fn new(shared: &Arc<Shared>, task: TaskNumber, id: TaskId, after: u64) -> Self {
        let dispatcher = &shared.dispatcher;
        let tails = &dispatcher.streams.tails;
        let follower = Follower::new(&dispatcher.reader, tails, task, after);
        TaskStream {
            shared: Arc::clone(shared),
            id,
            position: after,
            state: Reading::Ready(Box::new(follower)),
            items: PhantomData,
        }
    }

    /// The task.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The last sequence number that was given: from there [`Engine::stream`] goes on, now or after a restart.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes that this reader holds in memory, about: at most [`STREAM_READER_MAX`](crate::STREAM_READER_MAX).
    pub fn held_bytes(&self) -> usize {
        match &self.state {
            Reading::Ready(follower) => follower.held(),
            Reading::Fetching(_) | Reading::Over => 0,
        }
    }

    fn stopped(&self) -> StreamError {
        match self.shared.dispatcher.writer.poison.get() {
            Some(Stop::Failed(error)) => StreamError::Store(error),
            Some(Stop::Shutdown) | None => StreamError::ShuttingDown,
        }
    }
}

impl<S: DeserializeOwned> TaskStream<S> {
    /// The next event; waits for it where the reader has come to the end of what there is. `None` once the stream is
    /// over. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`StreamError`]: after `Undecodable`, and after a damaged segment, the next call goes on behind it; any other one
    /// is the last word.
    pub async fn next(&mut self) -> Option<Result<StreamEvent<S>, StreamError>> {
        poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamEvent<S>, StreamError>>> {
        loop {
            match std::mem::replace(&mut self.state, Reading::Over) {
                Reading::Over => return Poll::Ready(None),
                Reading::Ready(mut follower) => {
                    let next = follower.ready();
                    self.position = follower.position();
                    match next {
                        Some(next) => {
                            self.state = Reading::Ready(follower);
                            return Poll::Ready(Some(self.event(next)));
                        }
                        None if follower.is_over() => return Poll::Ready(None),
                        None => {
                            self.state = Reading::Fetching(Box::pin(async move {
                                let fetched = follower.fetch(|_| false).await;
                                (follower, fetched.map(drop))
                            }));
                        }
                    }
                }
                Reading::Fetching(mut fetching) => match fetching.as_mut().poll(context) {
                    Poll::Pending => {
                        self.state = Reading::Fetching(fetching);
                        return Poll::Pending;
                    }
                    Poll::Ready((follower, Ok(()))) => self.state = Reading::Ready(follower),
                    Poll::Ready((_, Err(ReadError::Stopped))) => {
                        return Poll::Ready(Some(Err(self.stopped())));
                    }
                    Poll::Ready((_, Err(ReadError::Store(error)))) => {
                        return Poll::Ready(Some(Err(StreamError::Store(error))));
                    }
                },
            }
        }
    }

    fn event(&mut self, next: Next) -> Result<StreamEvent<S>, StreamError> {
        match next {
            Next::Entry(sequence, row, at) => entry(&self.id, sequence, &row, at),
            Next::Gap(until) => Ok(StreamEvent::Gap { until }),
            Next::Damaged(error) => Err(StreamError::Store(error)),
            Next::End(row) => Ok(StreamEvent::End {
                sequence: self.position,
                ended: ended(&row).ok_or_else(|| StreamError::Gone {
                    id: self.id.clone(),
                })?,
            }),
            Next::Gone => Err(StreamError::Gone {
                id: self.id.clone(),
            }),
            Next::Stopped => Err(self.stopped()),
        }
    }
}

/// The entry at a place of a segment.
pub(crate) fn entry<S: DeserializeOwned>(
    id: &TaskId,
    sequence: u64,
    row: &SegmentRow,
    at: usize,
) -> Result<StreamEvent<S>, StreamError> {
    let (step, bytes) = match &row.entries[at] {
        StreamEntry::Reset { step, all } => {
            return Ok(StreamEvent::Reset {
                sequence,
                run: row.run,
                turn: row.turn,
                attempt: row.attempt,
                step: step.clone(),
                all: *all,
            });
        }
        StreamEntry::Kept { step } => {
            let step = step.clone();
            return Ok(StreamEvent::Kept { sequence, step });
        }
        StreamEntry::Item { step, bytes } => (step.clone(), bytes),
    };
    let item = value::decode(bytes).map_err(|error| StreamError::Undecodable {
        id: id.clone(),
        sequence,
        expected: format!("{}: {error}", std::any::type_name::<S>()).into(),
    })?;
    Ok(StreamEvent::Item {
        sequence,
        run: row.run,
        turn: row.turn,
        attempt: row.attempt,
        step,
        item,
    })
}

/// How a row's run ended, if it has.
pub(crate) fn ended(row: &TaskRow) -> Option<Ended> {
    match &row.state {
        State::Completed { outcome, .. } => Some(Ended::of(outcome.clone())),
        State::Pending { .. } | State::InProgress { .. } | State::Suspended { .. } => None,
    }
}

impl<S: DeserializeOwned> Stream for TaskStream<S> {
    type Item = Result<StreamEvent<S>, StreamError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_event(context)
    }
}

impl<S> fmt::Debug for TaskStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStream")
            .field("id", &self.id)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl<O, S> Run<O, S> {
    /// Reads the stream of the task, of all its turns and runs, from behind a sequence number on; 0 is from the
    /// beginning. An [ephemeral](TaskDef::ephemeral) task takes its stream along with its end: ask before.
    pub fn stream(&self, after: u64) -> TaskStream<S> {
        TaskStream::new(self.shared(), self.task(), self.id().clone(), after)
    }
}

impl Engine {
    /// Reads the stream of a task from behind a sequence number on; 0 is from the beginning. It gives what is there, then
    /// what comes; also of a task that has ended, while it is kept.
    ///
    /// # Errors
    /// [`AttachError`]: what to do is in each variant.
    pub async fn stream<I, O, S>(
        &self,
        def: TaskDef<I, O, S>,
        id: impl AsRef<str>,
        after: u64,
    ) -> Result<TaskStream<S>, AttachError> {
        let (task, _, id) = self.task_of(Some(def.name()), id).await?;
        Ok(TaskStream::new(self.shared(), task, id, after))
    }

    /// What the streams of this engine hold in memory at the moment.
    pub fn stream_memory(&self) -> StreamMemory {
        self.shared().dispatcher.streams.memory()
    }
}
