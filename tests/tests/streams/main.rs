//! Streams: what handlers emit, for readers that come, go and come again.

mod bounds;
mod ends;
mod killed;
mod latency;
mod live;
mod order;
mod random;
mod resets;

use outlive::{Builder, Ended, Engine, StreamError, StreamEvent, TaskDef, TaskStream};
use outlive_storage::{MemStore, Store};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Emits as its handler pleases.
pub(crate) const TASK: TaskDef<u32, u32, u32> = TaskDef::new("task");
/// Far longer than anything here takes: with a paused clock a wait without end is over at once.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) fn on<S: Store + 'static>(store: &Arc<S>) -> Builder {
    Engine::on_store(Arc::<S>::clone(store)).inline()
}

pub(crate) fn memory() -> Arc<MemStore> {
    Arc::default()
}

/// The answer; a caller that is never answered fails here instead of hanging.
pub(crate) async fn in_time<T>(waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(NEVER, waiting);
    waited.await.expect("an answer")
}

/// What a reader was given, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen<S = u32> {
    Item(u64, S),
    Reset(u64),
    Gap(u64),
    End(u64),
}

impl<S> From<StreamEvent<S>> for Seen<S> {
    fn from(event: StreamEvent<S>) -> Seen<S> {
        match event {
            StreamEvent::Item { sequence, item, .. } => Seen::Item(sequence, item),
            StreamEvent::Reset { sequence, .. } => Seen::Reset(sequence),
            StreamEvent::Gap { until, .. } => Seen::Gap(until),
            StreamEvent::End { sequence, .. } => Seen::End(sequence),
            other => panic!(
                "an event of a kind that is not known here, at {}",
                other.sequence()
            ),
        }
    }
}

/// The next event, which there must be.
#[track_caller]
pub(crate) fn good<S>(event: Option<Result<StreamEvent<S>, StreamError>>) -> StreamEvent<S> {
    event.expect("the stream is not over").expect("an event")
}

pub(crate) async fn next<S: DeserializeOwned>(stream: &mut TaskStream<S>) -> Seen<S> {
    good(in_time(stream.next()).await).into()
}

/// So many events.
pub(crate) async fn some<S: DeserializeOwned>(
    stream: &mut TaskStream<S>,
    count: usize,
) -> Vec<Seen<S>> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(next(stream).await);
    }
    seen
}

/// Everything up to the end, which comes once, and after which nothing comes.
pub(crate) async fn whole<S: DeserializeOwned>(stream: &mut TaskStream<S>) -> Vec<Seen<S>> {
    let mut seen = Vec::new();
    loop {
        seen.push(next(stream).await);
        if let Some(Seen::End(_)) = seen.last() {
            assert!(in_time(stream.next()).await.is_none(), "the stream is over");
            return seen;
        }
    }
}

/// How the stream ended, whatever came before.
pub(crate) async fn end<S: DeserializeOwned>(stream: &mut TaskStream<S>) -> Ended {
    loop {
        if let StreamEvent::End { ended, .. } = good(in_time(stream.next()).await) {
            return ended;
        }
    }
}

/// Items of these values, numbered on from a first number.
pub(crate) fn items<S>(first: u64, values: impl IntoIterator<Item = S>) -> Vec<Seen<S>> {
    let numbered = (first..).zip(values);
    numbered
        .map(|(sequence, item)| Seen::Item(sequence, item))
        .collect()
}
