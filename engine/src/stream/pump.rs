//! Pumps: each feeds one task's stream to its sink, beside the task, for as long as the task goes on.

use crate::call::caught;
use crate::machine::Status;
use crate::reader::{ReadError, Reader};
use crate::registry::Registry;
use crate::stream::Streams;
use crate::stream::follow::{Follower, Next};
use crate::stream::reader::ended;
use crate::stream::sink::{Brought, ErasedSink, Given, SinkEnd, SinkError};
use foldhash::HashMap;
use outlive_storage::id::TaskId;
use outlive_storage::row::{DefNumber, Generation, TaskNumber, TaskRow};
use parking_lot::Mutex;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which tasks have a pump, and the sinks that calls brought for tasks that are not entered yet.
#[derive(Default)]
pub(crate) struct Pumps {
    seats: Mutex<HashMap<TaskNumber, Seat>>,
    brought: Mutex<HashMap<TaskNumber, Brought>>,
    /// How many were brought: nobody takes a lock where no call brings a sink.
    count: AtomicUsize,
}

/// The place of a task's pump.
struct Seat {
    /// A pump feeds the task, and goes on with whatever turn comes.
    lives: bool,
    /// The claim of the last turn that was entered.
    entered: Generation,
    /// Held by the pump until its last sink is closed: a task never has two sinks at a time.
    held: Arc<tokio::sync::Mutex<()>>,
}

impl Pumps {
    /// A call brought a sink for the task it began.
    pub(crate) fn bring(&self, task: TaskNumber, sink: Brought) {
        let before = self.brought.lock().insert(task, sink);
        if before.is_none() {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The sink that was brought for the task.
    pub(crate) fn take(&self, task: TaskNumber) -> Option<Brought> {
        if self.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let brought = self.brought.lock().remove(&task);
        if brought.is_some() {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
        brought
    }

    /// Whether a sink was brought for the task.
    pub(crate) fn has(&self, task: TaskNumber) -> bool {
        self.count.load(Ordering::SeqCst) > 0 && self.brought.lock().contains_key(&task)
    }
}

/// Whatever was entered: there is nothing more to feed.
const LAST: Generation = Generation(u64::MAX);

/// The place of a pump, given up when dropped.
struct Sitting {
    streams: Arc<Streams>,
    task: TaskNumber,
    /// Held until the last sink is closed: a task never has two sinks at a time.
    held: Option<Arc<tokio::sync::Mutex<()>>>,
    left: bool,
}

impl Sitting {
    /// A turn is entered: the place for its task's pump, unless one lives.
    fn take(streams: &Arc<Streams>, task: TaskNumber, entered: Generation) -> Option<Sitting> {
        let mut seats = streams.pumps.seats.lock();
        let seat = seats.entry(task).or_insert_with(|| Seat {
            lives: false,
            entered,
            held: Arc::default(),
        });
        seat.entered = seat.entered.max(entered);
        if seat.lives && !cfg!(planted = "two_sinks_for_one_task") {
            return None;
        }
        seat.lives = true;
        Some(Sitting {
            streams: Arc::clone(streams),
            task,
            held: Some(Arc::clone(&seat.held)),
            left: false,
        })
    }

    /// Waits for the pump before this one to have closed its sink.
    async fn alone(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        let held = self.held.as_ref().map(Arc::clone)?;
        Some(held.lock_owned().await)
    }

    /// Leaves, unless a turn was entered under a later claim than this one: it has counted on this pump. A turn entered
    /// from here on makes another one.
    fn leave(&mut self, seen: Generation) -> bool {
        let mut seats = self.streams.pumps.seats.lock();
        if let Some(seat) = seats.get_mut(&self.task) {
            if seat.entered > seen && !cfg!(planted = "pump_leaves_its_task") {
                return false;
            }
            seat.lives = false;
        }
        self.left = true;
        true
    }
}

impl Drop for Sitting {
    fn drop(&mut self) {
        if !self.left {
            // Its sink failed, or panicked as it was dropped, or the runtime is gone.
            self.leave(LAST);
        }
        let mut seats = self.streams.pumps.seats.lock();
        drop(self.held.take());
        if let Some(seat) = seats.get(&self.task)
            && !seat.lives
            && Arc::strong_count(&seat.held) == 1
        {
            seats.remove(&self.task);
        }
    }
}

/// The pump of one task.
pub(crate) struct Pump {
    pub(crate) streams: Arc<Streams>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) task: TaskNumber,
    pub(crate) id: TaskId,
    pub(crate) def: DefNumber,
    /// The claim of the turn.
    pub(crate) generation: Generation,
    /// How far the stream went when the turn was entered.
    pub(crate) after: u64,
}

/// A pump that has begun.
struct Pumping {
    pump: Pump,
    /// The sink that the call brought.
    brought: Option<Box<dyn ErasedSink>>,
}

/// Why a pump stopped feeding a sink.
enum Fed {
    /// The task is suspended or over under this claim, and the sink is closed.
    Close(Generation),
    /// The engine stopped.
    Stopped,
}

/// What a sink did wrong.
struct Failed {
    what: &'static str,
    error: SinkError,
}

impl Pump {
    /// Begins to feed the task's sink, which its definition makes or a call brought, unless one is fed already.
    pub(crate) fn begin(self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        let sitting = Sitting::take(&self.streams, self.task, self.generation)?;
        // Followed from here on, so that a stream that goes with its task is not missed.
        let follower = self.follower(self.after);
        // Taken at once: a turn that ends soon is no reason not to give it what it emitted.
        let brought = self.streams.pumps.take(self.task).and_then(Brought::take);
        let pumping = Pumping {
            pump: self,
            brought: brought.filter(|_| !cfg!(planted = "sink_of_a_call_ignored")),
        };
        Some(Box::pin(pumping.run(follower, sitting)))
    }

    fn follower(&self, after: u64) -> Follower {
        Follower::new(&self.reader, &self.streams.tails, self.task, after)
    }

    /// Gives the sink what comes, until there is a reason to close it; `None` when the engine stopped.
    async fn feed(
        &self,
        sink: &mut dyn ErasedSink,
        follower: &mut Follower,
    ) -> Result<Option<(SinkEnd, Generation)>, Failed> {
        loop {
            let given = match follower.ready() {
                Some(Next::Entry(sequence, row, at)) => Given::Entry(sequence, row, at),
                Some(Next::Gap(until)) => Given::Gap(until),
                Some(Next::Damaged(error)) => {
                    let id = &self.id;
                    tracing::warn!(target: "outlive::task", %id, %error, "sink.passed_over");
                    continue;
                }
                Some(Next::End(row)) => {
                    let how = ended(&row).map_or(SinkEnd::Removed, SinkEnd::Ended);
                    return Ok(Some((how, row.generation)));
                }
                Some(Next::Gone) => return Ok(Some((SinkEnd::Removed, LAST))),
                Some(Next::Stopped) => return Ok(None),
                None => match follower.fetch(is_suspended).await {
                    Ok(None) => continue,
                    Ok(Some(row)) => return Ok(Some((SinkEnd::Suspended, row.generation))),
                    Err(ReadError::Stopped) => return Ok(None),
                    Err(ReadError::Store(error)) => return Err(failed("read", error.into())),
                },
            };
            tried("put", sink.put(self.id.clone(), given)).await?;
        }
    }
}

impl Pumping {
    async fn run(mut self, mut follower: Follower, mut sitting: Sitting) {
        // Dropped first: who waits for it may see the place free.
        let _alone = sitting.alone().await;
        loop {
            match self.sink(&mut follower).await {
                Ok(Fed::Stopped) => return,
                Ok(Fed::Close(seen)) => {
                    if sitting.leave(seen) {
                        return;
                    }
                    // A further turn was entered meanwhile, and has counted on this pump.
                    follower = self.pump.follower(follower.position());
                }
                Err(Failed { what, error }) => {
                    let id = &self.pump.id;
                    tracing::warn!(target: "outlive::task", %id, what, %error, "sink.failed");
                    return;
                }
            }
        }
    }

    /// One sink, from its making to its closing.
    async fn sink(&mut self, follower: &mut Follower) -> Result<Fed, Failed> {
        let mut sink = self.make()?;
        let last = tried("last", sink.last()).await?;
        if let Some(last) = last.filter(|_| !cfg!(planted = "sink_begins_anew")) {
            *follower = self.pump.follower(last);
        }
        let Some((how, seen)) = self.pump.feed(&mut *sink, follower).await? else {
            return Ok(Fed::Stopped);
        };
        if !cfg!(planted = "sink_not_closed") {
            tried("close", sink.close(how)).await?;
        }
        dropped(sink)?;
        Ok(Fed::Close(seen))
    }

    fn make(&mut self) -> Result<Box<dyn ErasedSink>, Failed> {
        let pump = &self.pump;
        let later = || pump.streams.pumps.take(pump.task).and_then(Brought::take);
        if let Some(brought) = self.brought.take().or_else(later) {
            return Ok(brought);
        }
        let factory = pump.registry.get(pump.def);
        let factory = factory.and_then(|registered| registered.sink.as_ref());
        let Some(factory) = factory else {
            return Err(failed("factory", "the definition has no sink".into()));
        };
        let made = catch_unwind(AssertUnwindSafe(|| factory(&pump.id)));
        let made = made.unwrap_or_else(|panic| Err(crate::call::text_of(panic).into()));
        made.map_err(|error| failed("factory", error))
    }
}

fn is_suspended(row: &TaskRow) -> bool {
    Status::of(row) == Status::Suspended
}

fn failed(what: &'static str, error: SinkError) -> Failed {
    Failed { what, error }
}

/// One call of a sink; a panic of it is an error of it.
async fn tried<T>(
    what: &'static str,
    call: Pin<Box<dyn Future<Output = Result<T, SinkError>> + Send + '_>>,
) -> Result<T, Failed> {
    let called = caught(call).await;
    let called = called.unwrap_or_else(|panic| Err(panic.into()));
    called.map_err(|error| failed(what, error))
}

fn dropped(sink: Box<dyn ErasedSink>) -> Result<(), Failed> {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(sink)));
    dropped.map_err(|panic| failed("drop", crate::call::text_of(panic).into()))
}
