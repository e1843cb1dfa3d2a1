//! The log of transitions, followed from any point: replayed from the store, then live, never ahead of the disk.

use crate::engine::{Engine, Shared};
use crate::reader::ReadError;
use crate::registry::Registry;
use crate::watch::Watchers;
use crate::writer::Stop;
use outlive_storage::id::TaskId;
use outlive_storage::row::{Etag, EventKind, EventRow};
use outlive_storage::store::EventPage;
use outlive_storage::{Store, StoreError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Most transitions that the log keeps, newest first.
pub const EVENTS_KEPT: u64 = 1_000_000;
/// How long the log keeps a transition: 7 days.
pub const EVENTS_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Transitions read at once: all that a reader ever holds.
const PAGE: usize = 256;

/// What is followed from outside, and how its readers are woken.
pub(crate) struct Feeds {
    pub(crate) log: Log,
    pub(crate) watchers: Watchers,
}

impl Feeds {
    /// `last` is the last etag in the store; all up to it is durable.
    pub(crate) fn new(last: Etag, is_kept: bool) -> Feeds {
        let durable = Durable {
            etag: last,
            stopped: false,
        };
        Feeds {
            log: Log {
                is_kept,
                durable: watch::Sender::new(durable),
            },
            watchers: Watchers::default(),
        }
    }

    /// Nothing will change any more: readers learn it.
    pub(crate) fn close(&self) {
        self.log
            .durable
            .send_modify(|durable| durable.stopped = true);
        self.watchers.close();
    }
}

/// How far the log goes.
pub(crate) struct Log {
    /// Whether transitions are logged.
    pub(crate) is_kept: bool,
    durable: watch::Sender<Durable>,
}

#[derive(Debug, Clone, Copy)]
struct Durable {
    /// Every transition up to this etag is durable, and no other one is shown.
    etag: Etag,
    /// No further one will come.
    stopped: bool,
}

impl Log {
    /// The last etag of a transition that is durable.
    pub(crate) fn last(&self) -> Etag {
        self.durable.borrow().etag
    }

    /// A batch is durable: everything up to this etag.
    pub(crate) fn durable(&self, etag: Etag) {
        self.durable.send_if_modified(|durable| {
            let grown = durable.etag < etag;
            durable.etag = etag.max(durable.etag);
            grown
        });
    }
}

/// One committed transition of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEvent {
    /// The task's id.
    pub id: TaskId,
    /// The name of its definition.
    pub name: String,
    /// What happened.
    pub what: EventKind,
    /// The run afterwards, from 1.
    pub run: u32,
    /// The turn of the run afterwards, from 1.
    pub turn: u32,
    /// The attempt of the turn afterwards, from 1; zero before the first claim.
    pub attempt: u32,
    /// The lease generation afterwards; zero before the first claim.
    pub generation: u64,
    /// The etag the transition gave the task: the position in the log, which only grows.
    pub etag: u64,
    /// When, in microseconds since 1970 UTC.
    pub at_us: u64,
}

impl LogEvent {
    fn of(row: EventRow, registry: &Registry) -> LogEvent {
        LogEvent {
            name: registry.name(row.def).to_owned(),
            id: row.id,
            what: row.kind,
            run: row.run,
            turn: row.turn,
            attempt: row.attempt,
            generation: row.generation.0,
            etag: row.etag.0,
            at_us: row.at.0,
        }
    }
}

/// What a reader of the log is given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogItem {
    /// The next transition.
    Event(LogEvent),
    /// Transitions are missing here: the log does not keep them any more, and this reader had not come to them. Look
    /// at the tasks themselves, with [`Engine::list_all`], to learn where they stand.
    Gap {
        /// The etag up to which transitions are missing.
        until: u64,
    },
}

impl LogItem {
    /// The position in the log: give it to [`Engine::events`] to go on after this item.
    pub fn etag(&self) -> u64 {
        match self {
            LogItem::Event(event) => event.etag,
            LogItem::Gap { until } => *until,
        }
    }
}

/// Why the log gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The engine was opened with [`Builder::log_events`](crate::Builder::log_events) off. Turn it on.
    #[error("transitions are not logged; open the engine with log_events(true)")]
    NotLogged,
    /// The engine has stopped. Go on from [`Events::position`] at the next open.
    #[error("the engine has stopped; go on from the same position at the next open")]
    ShuttingDown,
    /// The store cannot answer. A damaged entry of the log is [`StoreError::Corrupt`] with its etag as key: follow the
    /// log anew from that etag to pass it over.
    #[error(transparent)]
    Store(StoreError),
}

impl From<ReadError> for EventsError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopped => EventsError::ShuttingDown,
            ReadError::Store(error) => EventsError::Store(error),
        }
    }
}

/// A reader of the log of transitions; see [`Engine::events`].
///
/// Any number of readers may be anywhere in the log. A reader holds one page in memory, however far it is behind: what
/// it has not come to waits in the store. Dropping the future of a call loses nothing.
///
/// ```
/// # use outlive::{Ctx, Engine, EventKind, HandlerError, LogItem, TaskDef};
/// # const ECHO: TaskDef<u32, u32> = TaskDef::new("echo");
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let engine = Engine::in_memory().task(ECHO, |_: Ctx, n| async move { Ok::<_, HandlerError>(n) }).open().await?;
/// engine.run(ECHO, "a", &1).await?;
/// let mut events = engine.events(None);
/// while let LogItem::Event(event) = events.next().await? {
///     println!("{} {}: {:?}", event.etag, event.id, event.what);
///     if event.what == EventKind::Succeeded {
///         break;
///     }
/// }
/// let later = engine.events(Some(events.position())); // now, or after the next open
/// # assert_eq!(later.position(), events.position());
/// # Ok(()) }
/// ```
pub struct Events {
    shared: Arc<Shared>,
    durable: watch::Receiver<Durable>,
    /// The last etag that was read.
    read: Etag,
    /// The last etag that was given.
    given: Etag,
    page: VecDeque<LogItem>,
}

impl Events {
    /// The next item; waits for it where the reader has come to the end of the log. What it gives is durable.
    ///
    /// # Errors
    /// [`EventsError`]: what to do is in each variant.
    pub async fn next(&mut self) -> Result<LogItem, EventsError> {
        loop {
            if let Some(item) = self.try_next().await? {
                return Ok(item);
            }
            // The look above came after everything that was durable when the engine stopped.
            let stopped = self.durable.borrow().stopped;
            if stopped || self.durable.changed().await.is_err() {
                return Err(self.stopped());
            }
        }
    }

    /// The next item, or `None` when the reader has come to the end of the log as it is now.
    ///
    /// # Errors
    /// As for [`Events::next`].
    pub async fn try_next(&mut self) -> Result<Option<LogItem>, EventsError> {
        if !self.shared.feeds.log.is_kept {
            return Err(EventsError::NotLogged);
        }
        if self.page.is_empty() {
            self.fill().await?;
        }
        let item = self.page.pop_front();
        if let Some(item) = &item {
            self.given = Etag(item.etag());
        }
        Ok(item)
    }

    /// The etag of the last item that was given, or the one the reader began after. Give it to [`Engine::events`] to go
    /// on from here, in any process.
    pub fn position(&self) -> u64 {
        self.given.0
    }

    /// Reads the next page, as far as it is durable.
    async fn fill(&mut self) -> Result<(), EventsError> {
        // Taken before the look: what becomes durable meanwhile wakes the reader once more.
        let durable = self.durable.borrow_and_update().etag;
        if durable <= self.read {
            return Ok(());
        }
        let skips = cfg!(planted = "feed_skips_page_edge") && self.given > Etag(0);
        let after = Etag(self.read.0 + u64::from(skips));
        let reader = &self.shared.dispatcher.reader;
        let page = reader.read(move |store| page(store, after)).await?;
        if page.trimmed > self.read && !cfg!(planted = "log_gap_unmarked") {
            let until = page.trimmed.0;
            self.page.push_back(LogItem::Gap { until });
            self.read = page.trimmed;
        }
        for row in page.events {
            // The writer has not yet said so, or the commit failed: it may not be there after the next open.
            if row.etag > durable && !cfg!(planted = "event_log_shown_before_durable") {
                break;
            }
            self.read = row.etag;
            let event = LogEvent::of(row, &self.shared.dispatcher.registry);
            self.page.push_back(LogItem::Event(event));
        }
        Ok(())
    }

    fn stopped(&self) -> EventsError {
        match self.shared.dispatcher.writer.poison.get() {
            Some(Stop::Failed(error)) => EventsError::Store(error),
            Some(Stop::Shutdown) | None => EventsError::ShuttingDown,
        }
    }
}

/// A page of the log. A damaged entry does not hide what comes before it.
fn page(store: &dyn Store, after: Etag) -> Result<EventPage, StoreError> {
    match store.events(after, PAGE) {
        Err(error) if error.is_of_one_entry() => store.events(after, 1),
        answer => answer,
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("position", &self.given)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Follows the log of transitions: every committed transition of every task, in the order of their commits, each
    /// once. It begins after the etag `after`, or with the oldest one that is kept, replays what is in the store, and
    /// goes on with what comes.
    ///
    /// The log keeps the last [`EVENTS_KEPT`] transitions, none longer than [`EVENTS_KEPT_FOR`]. A reader that had not
    /// come to what was removed is told by a [`LogItem::Gap`]. What happens while an engine has the log
    /// [off](crate::Builder::log_events) is not in it, without a mark.
    pub fn events(&self, after: Option<u64>) -> Events {
        let shared = Arc::clone(self.shared());
        let after = Etag(after.unwrap_or(0));
        Events {
            durable: shared.feeds.log.durable.subscribe(),
            shared,
            read: after,
            given: after,
            page: VecDeque::new(),
        }
    }
}
