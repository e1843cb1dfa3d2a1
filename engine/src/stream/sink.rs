//! Sinks: where a task's stream goes beside its readers.

use crate::env::Spawner;
use crate::snapshot::Ended;
use crate::stream::reader::{StreamEvent, entry};
use outlive_storage::id::TaskId;
use outlive_storage::row::SegmentRow;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// Why a sink could not do what it should. It is logged, and the sink is dropped.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Takes a task's stream elsewhere: to a file, a socket, another system.
///
/// A definition's sinks come from a factory ([`Builder::sink_by`](crate::Builder::sink_by)), those of one call from
/// [`Start::sink`](crate::Start::sink). A sink is made when a turn of the task is entered and the task has none: at a
/// fresh start, a resumption, a recovery. It lives over turns that follow one another at once and over failed attempts,
/// and is closed when the task is suspended or ends. It is fed from the store and the live stream like any other reader,
/// beside the task: however slow it is, nobody waits for it and it misses nothing. What it does wrong hurts itself alone:
/// an error or a panic is logged (`sink.failed`), and the sink is dropped; the next entered turn makes another one. When
/// the engine stops, a sink is dropped without being closed, and made anew at the recovery.
///
/// ```
/// use outlive::{SinkError, StreamEvent, StreamSink};
/// /// Keeps what it was given; a real one would write it somewhere.
/// struct Lines { last: Option<u64>, lines: Vec<String> }
/// impl StreamSink<String> for Lines {
///     async fn last(&mut self) -> Result<Option<u64>, SinkError> {
///         Ok(self.last) // what it has already is not given again
///     }
///     async fn put(&mut self, event: StreamEvent<String>) -> Result<(), SinkError> {
///         self.last = Some(event.sequence());
///         self.lines.extend(event.into_item());
///         Ok(())
///     }
/// }
/// ```
pub trait StreamSink<S>: Send + 'static {
    /// The last sequence number that it has already: it is given everything behind it. `None`, which is what it says
    /// unless it says otherwise: it is given what is emitted from the entered turn on.
    ///
    /// # Errors
    /// The sink is dropped.
    fn last(&mut self) -> impl Future<Output = Result<Option<u64>, SinkError>> + Send {
        async { Ok(None) }
    }

    /// Takes the next event of the stream: an item, or a mark that earlier ones are abandoned, kept or missing; never the
    /// end, which is told by [`StreamSink::close`]. After a crash it may be given again what it had taken, if
    /// [`StreamSink::last`] does not say that it has it.
    ///
    /// # Errors
    /// The sink is dropped.
    fn put(&mut self, event: StreamEvent<S>) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// The task is suspended or has ended, and everything was given; then the sink is dropped. By default it does
    /// nothing.
    ///
    /// # Errors
    /// It is logged.
    fn close(&mut self, how: SinkEnd) -> impl Future<Output = Result<(), SinkError>> + Send {
        let _ = how;
        async { Ok(()) }
    }
}

/// Why a sink is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SinkEnd {
    /// The task waits for an input, or is parked. A later turn makes another sink.
    Suspended,
    /// The task's run has ended so.
    Ended(Ended),
    /// The task was removed before its run had ended.
    Removed,
}

type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + 'a>>;

/// What a sink is given.
pub(crate) enum Given {
    /// An entry of a segment: its sequence number, and its place.
    Entry(u64, Arc<SegmentRow>, usize),
    /// Entries up to this sequence number are not there any more.
    Gap(u64),
}

/// A sink whose item type is known only to itself: items are decoded inside its own futures.
pub(crate) trait ErasedSink: Send {
    fn last(&mut self) -> Doing<'_, Option<u64>>;
    fn put(&mut self, id: TaskId, given: Given) -> Doing<'_, ()>;
    fn close(&mut self, how: SinkEnd) -> Doing<'_, ()>;
}

/// Makes sinks for the tasks of a definition.
pub(crate) type SinkFactory =
    Arc<dyn Fn(&TaskId) -> Result<Box<dyn ErasedSink>, SinkError> + Send + Sync>;

struct Typed<K, S> {
    sink: K,
    items: PhantomData<fn(S)>,
}

impl<S: DeserializeOwned + Send + 'static, K: StreamSink<S>> ErasedSink for Typed<K, S> {
    fn last(&mut self) -> Doing<'_, Option<u64>> {
        // Called inside the future, where a panic of it is kept.
        Box::pin(async move { self.sink.last().await })
    }

    fn put(&mut self, id: TaskId, given: Given) -> Doing<'_, ()> {
        Box::pin(async move {
            let event = match given {
                Given::Gap(until) => Ok(StreamEvent::Gap { until }),
                Given::Entry(sequence, row, at) => entry(&id, sequence, &row, at),
            };
            match event {
                Ok(event) => self.sink.put(event).await,
                Err(error) => {
                    tracing::warn!(target: "outlive::task", %id, %error, "sink.passed_over");
                    Ok(())
                }
            }
        })
    }

    fn close(&mut self, how: SinkEnd) -> Doing<'_, ()> {
        Box::pin(async move { self.sink.close(how).await })
    }
}

pub(crate) fn erase<S, K>(sink: K) -> Box<dyn ErasedSink>
where
    S: DeserializeOwned + Send + 'static,
    K: StreamSink<S>,
{
    Box::new(Typed {
        sink,
        items: PhantomData,
    })
}

/// A sink that a call brought, on its way to the turn it begins. Wherever it ends, it is not dropped by a thread of the
/// engine: its drop is the user's code.
pub(crate) struct Brought {
    sink: Option<Box<dyn ErasedSink>>,
    spawner: Spawner,
}

impl Brought {
    pub(crate) fn new(sink: Box<dyn ErasedSink>, spawner: Spawner) -> Brought {
        Brought {
            sink: Some(sink),
            spawner,
        }
    }

    /// The sink; there is none in one that was taken.
    pub(crate) fn take(mut self) -> Option<Box<dyn ErasedSink>> {
        self.sink.take()
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        if cfg!(planted = "sink_dropped_by_the_writer") {
            return;
        }
        if let Some(sink) = self.sink.take() {
            self.spawner.spawn(async move { drop(sink) });
        }
    }
}
