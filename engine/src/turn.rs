//! Enters handlers and carries the end of their turns back to the writer.
//!
//! It has so many lines because a turn is followed here from its claim to its end, in the one order that loses nothing.

use crate::alarms::Alarms;
use crate::alike::Alike;
use crate::asking::open_asks;
use crate::call::{SharedSlot, caught};
use crate::child_door::ChildDoor;
use crate::crew::Crew;
use crate::ctx::CtxCore;
use crate::ended::{turn_end, undecodable};
use crate::env::{self, Clock, Spawner};
use crate::facts::Creator;
use crate::failpoint::{self, Failpoint};
use crate::flow::{Kind, Slot, Slots};
use crate::handler::{CallResult, Erased};
use crate::hold::Hold;
use crate::host::Host;
use crate::hub::Hub;
use crate::inbox::Keys;
use crate::live::{Claim, LiveTable, Occupied};
use crate::machine::{Cause, Claimant, Event, TurnEnd};
use crate::metadata::MetadataCell;
use crate::meter::Running;
use crate::park;
use crate::reader::{ReadError, Reader};
use crate::registry::{Registered, Registry};
use crate::reply::{self, Reply};
use crate::request::Draft;
use crate::sealed::Digests;
use crate::signal::Signal;
use crate::span;
use crate::stopping::Stopping;
use crate::stream::Streams;
use crate::stream::cell::StreamCell;
use crate::stream::pump::Pump;
use crate::turn_steps::TurnSteps;
use crate::writer::{Origin, Refused, Room, Target, Writer};
use outlive_storage::row::{
    EntryKind, Facts, Generation, OptionsRow, Payload, StreamEntry, TaskNumber, TaskRow, ValueKey,
    ValueKind,
};
use outlive_storage::{Store, StoreError, StreamEnd};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::Instrument;

/// Changed metadata is durable at the latest after this, whatever its task commits.
const METADATA_AFTER: Duration = Duration::from_secs(1);

/// A committed claim, ready to enter its handler.
pub(crate) struct Entered {
    pub(crate) task: TaskNumber,
    pub(crate) row: Arc<TaskRow>,
    pub(crate) generation: Generation,
    /// Whether it begins with the signal set.
    pub(crate) steered: bool,
}

impl Entered {
    /// The first attempt of a new task: nothing of it is in the store but its row.
    fn is_first(&self) -> bool {
        let row = &self.row;
        row.turns_total == 1 && row.attempt <= 1 && row.entry == EntryKind::Fresh
    }
}

/// Enters handlers, each on the caller's runtime.
pub(crate) struct Dispatcher {
    pub(crate) registry: Arc<Registry>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) spawner: Spawner,
    pub(crate) claimant: Claimant,
    /// What is said about the tasks this engine starts.
    pub(crate) creator: Creator,
    /// What was said about the task before, and with which options it was started.
    pub(crate) facts: Alike<Facts>,
    pub(crate) options: Alike<OptionsRow>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) clock: Clock,
    /// What equal inputs are told by.
    pub(crate) digests: Digests,
    pub(crate) stopping: Stopping,
    pub(crate) streams: Arc<Streams>,
    pub(crate) families: Arc<Notify>,
    /// From which length on the waits of handlers leave memory.
    pub(crate) park_after: Duration,
    pub(crate) host: OnceLock<Arc<Host>>,
}

impl Dispatcher {
    /// Whether the engine claims nothing any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.has_begun()
    }

    /// What its turns have of it.
    fn host(self: &Arc<Self>) -> &Arc<Host> {
        self.host.get_or_init(|| Arc::new(Host::of(self)))
    }

    /// Stops at once, in the order that leaves nothing half done.
    pub(crate) fn drop_everything(&self) {
        self.stopping.begin();
        self.live.stop();
        self.writer.stop();
        self.reader.close(self.live.running());
    }

    /// Wakes the engine loop: something will be due.
    pub(crate) fn wake(&self) {
        self.slots.wake.notify_one();
    }

    /// Nothing can be committed any more: handlers are told as at a shutdown, their turns are recovered later.
    pub(crate) fn writer_ended(&self) {
        self.stopping.begin();
        self.wake();
    }

    /// Enters the handler of a committed claim: with the crew, or after a former call for the same id has ended.
    pub(crate) fn enter(self: &Arc<Self>, entered: Entered, slot: Slot, crew: &mut Crew) {
        // A turn not entered stays in progress and is recovered at the next open.
        let Some(file) = self.reader.hold().filter(|_| !self.is_stopping()) else {
            return;
        };
        failpoint::reach(Failpoint::Claimed);
        let (steered, waiting) = (entered.steered, entered.row.inputs_waiting);
        let claim = Claim {
            task: entered.task,
            generation: entered.generation,
            signal: Arc::new(Signal::new(steered, waiting)),
            watched: self
                .alarms
                .watch(entered.task, &entered.row, entered.generation, crew.at),
        };
        let id = entered.row.id.clone();
        let turn = Turn {
            dispatcher: Arc::clone(self),
            signal: Arc::clone(&claim.signal),
            entered,
            slot,
            file,
        };
        let launch = |turn: Turn, occupied| turn.sit(occupied).start();
        if let Some((turn, occupied)) = self.live.occupy(id, claim, (turn, launch)) {
            crew.join(turn.sit(occupied));
        }
    }

    /// Tells the task's handler of a cause. A cancel may have a grace, after which the turn is stopped.
    pub(crate) fn signal(&self, task: TaskNumber, cause: Cause, cancel_grace_us: u64) {
        let Some(claim) = self.live.latest(task) else {
            return;
        };
        let cancel = matches!(cause, Cause::CancelRequested { .. });
        claim.signal.tell(cause);
        if cancel && cancel_grace_us != u64::MAX && !cfg!(planted = "cancel_not_enforced") {
            let at = self.clock.own().plus(cancel_grace_us);
            if let Some(watched) = self.live.watched(task, &self.alarms) {
                watched.stop_after_cancel(at);
            }
        }
    }

    /// Tells the task's handler how many inputs wait.
    pub(crate) fn waiting(&self, task: TaskNumber, inputs: u64) {
        if let Some(claim) = self.live.latest(task) {
            claim.signal.wait_for(inputs);
        }
    }

    /// Tells the task's handler that something it may wait for has come.
    pub(crate) fn woken(&self, task: TaskNumber) {
        if let Some(claim) = self.live.latest(task) {
            claim.signal.wake();
        }
    }

    async fn work(
        self: &Arc<Self>,
        entered: Entered,
        slot: Slot,
        (occupied, signal): (Occupied, &Arc<Signal>),
    ) {
        let slot: SharedSlot = Arc::new(Mutex::new(Some(slot)));
        failpoint::reach(Failpoint::Spawned);
        let prepared = self.prepare(&entered, Arc::clone(signal)).await;
        failpoint::reach(Failpoint::Prepared);
        let mut ended = None;
        let (end, value) = match prepared {
            Err(end) => (end, None),
            Ok(Prepared {
                registered,
                core,
                input,
            }) => {
                let call = (Arc::clone(&core), Arc::clone(&slot));
                let _over = Over(Arc::clone(&core.steps));
                // What seldom comes is boxed: see `Seated::start`.
                let end = tokio::select! {
                    biased;
                    called = self.call(registered, call, input) => turn_end(called, registered),
                    end = Box::pin(park::set_aside(&core)) => (end, None),
                    // Its turn stays in progress and is recovered at the next open.
                    () = signal.left() => return,
                    () = self.keep_metadata(&core) => return,
                };
                ended = Some(core);
                end
            }
        };
        failpoint::reach(Failpoint::HandlerEnded);
        let closed = ended.as_deref().map(Closed::of).unwrap_or_default();
        let bytes = value.as_ref().map_or(0, Vec::len);
        let room = match &ended {
            Some(core) => core.room(bytes).await,
            None => self.writer.room(Origin::Engine, bytes).await,
        };
        let slot = slot.lock().take();
        let posted = self.post_end(&entered, (ended, closed), (end, value), (room, slot));
        failpoint::reach(Failpoint::EndSent);
        // The end is on its way in order, so the id may be entered again: the next turn comes after it.
        drop(occupied);
        if let Err(refused) = posted {
            reply::untaken(&entered.row, entered.generation, &refused);
        }
    }

    /// Sends the end of a turn for which there is room. Apart from [`work`](Dispatcher::work), for what is made here would be kept
    /// in its future for each turn that runs.
    fn post_end(
        &self,
        entered: &Entered,
        (ended, closed): (Option<Arc<CtxCore>>, Closed),
        (end, value): (TurnEnd, Option<Vec<u8>>),
        (room, slot): (Room, Option<Slot>),
    ) -> Result<(), Refused> {
        let event = Event::End {
            generation: entered.generation,
            end,
            claimant: self.claimant.clone(),
            missed: closed.missed,
        };
        let draft = Draft {
            value,
            stream: closed.stream,
            slot,
            ..Draft::bare(Target::Number(entered.task), event)
        };
        let reply = Reply::Log {
            row: Arc::clone(&entered.row),
            generation: entered.generation,
        };
        match ended {
            Some(core) => core.post_in(room, draft, reply),
            None => self.writer.post_in(room, draft, reply),
        }
    }

    /// All that a handler is entered with; or how its turn ends without it.
    async fn prepare(
        self: &Arc<Self>,
        entered: &Entered,
        signal: Arc<Signal>,
    ) -> Result<Prepared<'_>, TurnEnd> {
        let row = &entered.row;
        let Some(registered) = self.registry.get(row.def) else {
            let missing = "a registered handler of this name".to_owned();
            return Err(undecodable("handler", missing, false));
        };
        let input = self.bytes(entered.task, &row.input, row.input_seq).await;
        let input = input.map_err(|unreadable| undecodable("input", unreadable, false))?;
        let previous = match &row.previous {
            None => None,
            Some(_) if cfg!(planted = "previous_input_lost") => None,
            Some(previous) => {
                let bytes = self.bytes(entered.task, &previous.payload, previous.seq);
                let unreadable = |text| undecodable("previous input", text, false);
                Some(bytes.await.map_err(unreadable)?)
            }
        };
        let metadata = self.metadata(entered).await;
        let metadata = metadata.map_err(|unreadable| undecodable("metadata", unreadable, false))?;
        let stream = self.stream(entered, registered).await;
        let stream = stream.map_err(|unreadable| undecodable("stream", unreadable, false))?;
        let recorded = self.has_steps(entered).await;
        let recorded = recorded.map_err(|unreadable| undecodable("steps", unreadable, false))?;
        let steps = TurnSteps::new(recorded, self.park_after(registered));
        if row.asked {
            let open = self.read(open_asks(entered.task)).await;
            steps.found_open(open.map_err(|text| undecodable("questions", text, false))?);
        }
        let core = CtxCore {
            task: entered.task,
            row: Arc::clone(row),
            name: registered.name,
            generation: entered.generation,
            host: Arc::clone(self.host()),
            signal,
            previous,
            metadata,
            stream,
            keys: Keys::default(),
            steps,
            children: ChildDoor::default(),
        };
        Ok(Prepared {
            registered,
            core: Arc::new(core),
            input,
        })
    }

    async fn call(
        &self,
        registered: &Registered,
        (core, slot): (Arc<CtxCore>, SharedSlot),
        input: Vec<u8>,
    ) -> Result<CallResult, String> {
        let running = Running::begin(self.clock.clone(), &core.row, registered.name);
        let span = span::attempt(&core.row, core.generation, registered.name);
        let called = match &registered.handler {
            Erased::Async(call) => caught(call(core, input)).instrument(span).await,
            Erased::Blocking(call) => {
                let (call, inside) = (Arc::clone(call), span);
                let call = move |core, input| inside.in_scope(|| call(core, input));
                self.call_blocking(Arc::new(call), (core, slot), input)
                    .await
            }
        };
        running.ended();
        called
    }

    /// Writes changed metadata down, a second after a change, for as long as the handler runs.
    async fn keep_metadata(&self, core: &CtxCore) {
        loop {
            core.metadata.change().await;
            if cfg!(planted = "metadata_kept_back") {
                return std::future::pending().await;
            }
            env::sleep(METADATA_AFTER).await;
            if let Err(error) = core.flush_metadata().await {
                tracing::warn!(target: "outlive::task", id = %core.row.id, %error, "metadata was not written");
            }
        }
    }

    /// The metadata the turn begins with. A first attempt of a new task has none.
    async fn metadata(&self, entered: &Entered) -> Result<MetadataCell, String> {
        if entered.is_first() || cfg!(planted = "metadata_forgotten") {
            return Ok(MetadataCell::default());
        }
        let (task, kind, index) = (entered.task, ValueKind::Metadata, 0);
        match self.value(ValueKey { task, kind, index }).await? {
            None => Ok(MetadataCell::default()),
            Some(bytes) => MetadataCell::decode(&bytes).map_err(|error| error.to_string()),
        }
    }

    /// Where the turn's items go. What earlier attempts of the turn emitted is abandoned first.
    async fn stream(
        &self,
        entered: &Entered,
        registered: &Registered,
    ) -> Result<Arc<StreamCell>, String> {
        let (task, row) = (entered.task, &*entered.row);
        let live = registered.options.live_items && !cfg!(planted = "live_items_stored");
        let end = if entered.is_first() || live {
            None
        } else {
            self.read(move |store| store.stream_end(task)).await?
        };
        self.pump(entered, registered, end.as_ref());
        let claim = (task, row, entered.generation);
        let tails = live.then(|| Arc::clone(&self.streams.tails));
        let cell = StreamCell::new(
            claim,
            end.as_ref(),
            &self.streams.budget,
            tails,
            self.clock.clone(),
        );
        let cell = Arc::new(cell);
        // A further run without the steps of the one before, which is what `from_start` asks for.
        let all = end
            .as_ref()
            .is_some_and(|end| end.run < row.run && row.steps_of == row.turns_total)
            && !cfg!(planted = "from_start_keeps_items");
        let abandons = match &end {
            Some(end) => end.generation != entered.generation && is_same_turn(end, row),
            None => live && (row.attempt > 1 || row.entry == EntryKind::Recovered),
        };
        if abandons
            && !cfg!(planted = "reset_untold")
            && let Some(by) = cell.mark(StreamEntry::Reset { step: None, all })
        {
            // A writer that has ended takes nothing of this turn any more.
            self.writer.come(&cell, by);
        }
        Ok(cell)
    }

    /// From which length on its waits leave memory: never, where its call cannot be dropped.
    fn park_after(&self, registered: &Registered) -> Option<Duration> {
        match registered.kind() {
            Kind::Async => Some(self.park_after),
            Kind::Blocking => None,
        }
    }

    /// Whether an earlier attempt recorded steps. A first attempt of a new task did not.
    async fn has_steps(&self, entered: &Entered) -> Result<bool, String> {
        if entered.is_first() {
            return Ok(false);
        }
        let (task, turn) = (entered.task, entered.row.steps_of);
        let read = (self.reader).read_on(move |store| store.steps(task, turn, None, 1));
        match Box::pin(read).await {
            Ok(steps) => Ok(!steps.is_empty()),
            // Whichever of them is damaged is found where it is asked for.
            Err(ReadError::Store(error)) if error.is_of_one_entry() => Ok(true),
            Err(ReadError::Store(error)) => Err(error.to_string()),
            Err(ReadError::Stopped) => std::future::pending().await,
        }
    }

    /// Whoever has a sink is given what the task emits from here on.
    fn pump(&self, entered: &Entered, registered: &Registered, end: Option<&StreamEnd>) {
        if registered.sink.is_none() && !self.streams.pumps.has(entered.task) {
            return;
        }
        let pump = Pump {
            streams: Arc::clone(&self.streams),
            reader: Arc::clone(&self.reader),
            registry: Arc::clone(&self.registry),
            task: entered.task,
            id: entered.row.id.clone(),
            def: entered.row.def,
            generation: entered.generation,
            after: end.map_or(0, |end| end.last),
        };
        if let Some(pumping) = pump.begin() {
            self.spawner.spawn(pumping);
        }
    }

    async fn bytes(
        &self,
        task: TaskNumber,
        payload: &Payload,
        seq: u64,
    ) -> Result<Vec<u8>, String> {
        if let Payload::Inline(bytes) = payload {
            return Ok(bytes.clone());
        }
        let (kind, index) = (ValueKind::Input, seq);
        let (key, payload) = (ValueKey { task, kind, index }, payload.clone());
        let found = self.read(move |store| store.bytes(key, &payload)).await?;
        found.ok_or_else(|| "its bytes, which are not in the store".to_owned())
    }

    async fn value(&self, key: ValueKey) -> Result<Option<Vec<u8>>, String> {
        self.read(move |store| store.value(key)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&dyn Store) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, String> {
        // In a box, for a first attempt reads nothing, and need not have the room.
        match Box::pin(self.reader.read_on(read)).await {
            Ok(found) => Ok(found),
            Err(ReadError::Store(error)) => Err(error.to_string()),
            Err(ReadError::Stopped) => std::future::pending().await,
        }
    }
}

/// Whether the last segment of a stream was emitted by the turn that is entered, or by the same turn of a run before.
fn is_same_turn(end: &StreamEnd, row: &TaskRow) -> bool {
    let in_this_run = end.run == row.run && end.turn == row.turn;
    let retried = end.run < row.run && !cfg!(planted = "retry_abandons_nothing");
    end.input_seq == row.input_seq && (in_this_run || retried)
}

/// A claim that waits for its seat. It may have to give way to a later one.
struct Turn {
    dispatcher: Arc<Dispatcher>,
    entered: Entered,
    slot: Slot,
    signal: Arc<Signal>,
    file: Arc<Hold>,
}

impl Turn {
    fn sit(self, mut occupied: Occupied) -> Seated {
        occupied.hold(self.file);
        Seated {
            entered: self.entered,
            slot: self.slot,
            occupied,
            unfinished: Unfinished {
                dispatcher: self.dispatcher,
                signal: self.signal,
                is_over: false,
            },
        }
    }
}

/// A turn whose handler is the next of its id: from here on, who drops it is the runtime, or whoever fenced it.
pub(crate) struct Seated {
    entered: Entered,
    slot: Slot,
    occupied: Occupied,
    unfinished: Unfinished,
}

impl Seated {
    /// Starts its task on the runtime of the handlers.
    pub(crate) fn start(self) {
        let spawner = self.unfinished.dispatcher.spawner.clone();
        let (signal, turn) = self.into_turn();
        if signal.is_stopped() {
            return;
        }
        // The runtime moves what it is given several times. And a box of no more than a kilobyte is memory that glibc gives and
        // takes back without a lock: that is why what a turn seldom needs is in boxes of its own.
        signal.stoppable(spawner.spawn(Box::pin(turn)));
    }

    /// The whole turn, and what is to be told how it can be stopped once it has a task.
    pub(crate) fn into_turn(self) -> (Arc<Signal>, impl Future<Output = ()> + Send + 'static) {
        let Seated {
            entered,
            slot,
            occupied,
            unfinished,
        } = self;
        let signal = Arc::clone(&unfinished.signal);
        // Where it is dropped before it starts, that it is unfinished is told last.
        let work = (entered, slot, occupied);
        let turn = async move {
            let (entered, slot, occupied) = work;
            let unfinished = unfinished;
            let (dispatcher, signal) = (&unfinished.dispatcher, &unfinished.signal);
            dispatcher.work(entered, slot, (occupied, signal)).await;
            unfinished.finish();
        };
        (signal, turn)
    }
}

/// What a turn has left behind that its handler has ended.
#[derive(Default)]
struct Closed {
    /// The keys of takes whose answers the handler did not get.
    missed: Vec<Box<str>>,
    /// Where something is that it has emitted.
    stream: Option<Arc<StreamCell>>,
}

impl Closed {
    /// From here on contexts that the handler left behind take and emit nothing.
    fn of(core: &CtxCore) -> Closed {
        let stream = Some(&core.stream).filter(|cell| !cell.end_unused());
        Closed {
            missed: core.keys.close(),
            stream: stream.cloned(),
        }
    }
}

/// A turn about to be entered.
struct Prepared<'a> {
    registered: &'a Registered,
    core: Arc<CtxCore>,
    input: Vec<u8>,
}

/// However the turn is left, contexts that its handler left behind record nothing any more.
struct Over(Arc<TurnSteps>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A handler dropped before its end, by anybody but the engine, lost its runtime: that counts as a shutdown, since
/// whatever is claimed from now on would be dropped as well.
struct Unfinished {
    dispatcher: Arc<Dispatcher>,
    signal: Arc<Signal>,
    is_over: bool,
}

impl Unfinished {
    /// The turn's end was sent.
    fn finish(mut self) {
        self.is_over = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_over && !self.dispatcher.is_stopping() && !self.signal.is_lost() {
            tracing::warn!(target: "outlive::engine", "the runtime of the handlers is gone; the engine stops");
            self.dispatcher.stopping.begin();
            self.dispatcher.writer.stop();
        }
    }
}
