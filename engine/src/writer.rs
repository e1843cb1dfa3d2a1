//! The writer's door and its drivers: events in, answers out after the sync.
//!
//! One writer owns the store's writes. What arrives during a sync is the next batch, so an event that comes
//! alone waits for nothing. A batch of several pauses once for company, and what turns emit may wait a moment for others to
//! share its commit with.
//!
//! It has so many lines because the door and both drivers, which must agree on every message, are read side by side.

use crate::batch::Batcher;
use crate::company::Company;
use crate::env::{self, Place, Spawner};
use crate::follower::Follower;
use crate::gather::{Gathered, Then, gather};
use crate::hub::Expecting;
use crate::machine::{Answer, Rejected};
use crate::mailbox::{self, Gone, mailbox};
use crate::poison::Poison;
use crate::reply::Reply;
use crate::request::{Draft, Request};
use crate::stream::cell::StreamCell;
use crate::stream::linger::Lingering;
use outlive_storage::id::TaskId;
use outlive_storage::row::{GuardPhase, Micros, TaskNumber};
use outlive_storage::{EventsKept, StoreError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// What may wait for the writer, in KiB: 64 MiB, of which an eighth is the engine's own.
const QUEUE_KIB: u32 = 64 * 1024;
const ENGINE_KIB: u32 = QUEUE_KIB / 8;

/// How long workers may take to say what they are to say. One that is free does so within microseconds.
const WORKERS_MAX: Duration = Duration::from_millis(5);

/// Which task an event is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// The one of this id; where there is none, an input begins it.
    Id(TaskId),
    /// A task begins under an id that was made for it: nobody else has it.
    Unborn,
    /// The one of this number.
    Number(TaskNumber),
}

/// Why the writer changed nothing, or cannot say.
#[derive(Debug, Clone)]
pub(crate) enum Refused {
    /// The machine's answer; nothing was written.
    Rejected(Rejected),
    /// The task's row cannot be read; nothing was written.
    Unreadable(StoreError),
    /// The commit failed: it may or may not be in the store.
    Unknown(StoreError),
    /// The writer had stopped; nothing was written.
    Stopped(Stop),
}

/// Why the writer takes no more.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    Shutdown,
    Failed(StoreError),
}

/// What the sender of an event is told.
pub(crate) type Told = Result<Settled, Refused>;

/// What an event came to.
pub(crate) struct Settled {
    pub(crate) task: TaskNumber,
    pub(crate) answer: Answer,
    /// For the handle to an input of a task that is gone with its end.
    pub(crate) expecting: Option<Expecting>,
}

/// Room for an event, which is given back when the event is decided.
pub(crate) struct Room {
    permit: OwnedSemaphorePermit,
    /// Who asked for it.
    pub(crate) origin: Origin,
}

impl Room {
    /// Both together, so that they are given back at once.
    fn and(mut self, other: Room) -> Room {
        self.permit.merge(other.permit);
        self
    }
}

/// Room of several events, which is given back together: one by one, each would be a lock that all callers take.
#[derive(Default)]
pub(crate) struct Rooms {
    callers: Option<Room>,
    engine: Option<Room>,
}

impl Rooms {
    pub(crate) fn add(&mut self, room: Room) {
        let same = match room.origin {
            Origin::Caller => &mut self.callers,
            Origin::Engine => &mut self.engine,
        };
        *same = Some(match same.take() {
            Some(before) => before.and(room),
            None => room,
        });
    }
}

/// The poison guard enters a phase, which is put down beside the batches.
pub(crate) struct PhaseChange {
    pub(crate) phase: GuardPhase,
    pub(crate) reply: oneshot::Sender<()>,
}

/// A step of the store's upkeep, which is a commit of its own.
pub(crate) struct Upkeep {
    pub(crate) kept: EventsKept,
    /// Entries removed at most.
    pub(crate) limit: usize,
    /// Whether there is more to remove.
    pub(crate) reply: oneshot::Sender<bool>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events, and a box for each would cost more than its room"
)]
pub(crate) enum Message {
    Event(Request),
    Phase(PhaseChange),
    Upkeep(Upkeep),
    /// A turn has emitted something: the writer is to come for it by then.
    Stream(Arc<StreamCell>, Micros),
    Stop,
}

enum Sender {
    Thread(mailbox::Sender<Message>),
    Inline(mpsc::UnboundedSender<Message>),
}

/// The writer's own end of the channel.
pub(crate) enum Receiver {
    Thread(mailbox::Receiver<Message>),
    Inline(mpsc::UnboundedReceiver<Message>),
}

/// Who sends: callers wait for room behind each other, the engine has a reserve of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    Caller,
    Engine,
}

/// The durable answer to an event that was sent.
pub(crate) struct Sent {
    answer: oneshot::Receiver<Told>,
    poison: Arc<Poison>,
}

impl Sent {
    /// The answer, if it is there.
    pub(crate) fn said(&mut self) -> Option<Told> {
        self.answer.try_recv().ok()
    }
}

impl Future for Sent {
    type Output = Told;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Told> {
        let answered = ready!(Pin::new(&mut self.answer).poll(context));
        // A dropped reply means the writer died with the event in hand.
        Poll::Ready(answered.unwrap_or_else(|_| Err(lost(&self.poison))))
    }
}

/// The door to the writer.
pub(crate) struct Writer {
    sender: Sender,
    callers: Arc<Semaphore>,
    engine: Arc<Semaphore>,
    pub(crate) poison: Arc<Poison>,
}

impl Writer {
    /// The two ends of the way to the writer.
    pub(crate) fn new(place: Place) -> (Writer, Receiver) {
        let (sender, receiver) = match place {
            Place::Threads => {
                let (sender, receiver) = mailbox();
                (Sender::Thread(sender), Receiver::Thread(receiver))
            }
            Place::Inline => {
                let (sender, receiver) = mpsc::unbounded_channel();
                (Sender::Inline(sender), Receiver::Inline(receiver))
            }
        };
        let writer = Writer {
            sender,
            callers: Arc::new(Semaphore::new((QUEUE_KIB - ENGINE_KIB) as usize)),
            engine: Arc::new(Semaphore::new(ENGINE_KIB as usize)),
            poison: Arc::default(),
        };
        (writer, receiver)
    }

    /// Sends an event and waits for its durable answer. Dropping the future after it was polled loses nothing:
    /// an event already sent still happens.
    pub(crate) async fn ask(&self, origin: Origin, draft: Draft) -> Told {
        self.send(origin, draft).await?.await
    }

    /// Sends an event once there is room; the answer is awaited apart, so that many can be under way.
    pub(crate) async fn send(&self, origin: Origin, draft: Draft) -> Result<Sent, Refused> {
        let room = self.room(origin, draft.size()).await;
        self.send_in(room, draft)
    }

    /// Sends an event for which there is room.
    pub(crate) fn send_in(&self, room: Room, draft: Draft) -> Result<Sent, Refused> {
        self.send_for(room, draft, Reply::Sender)
    }

    /// Sends an event for which there is room, with what is to be done with the word on it.
    pub(crate) fn send_for(
        &self,
        room: Room,
        draft: Draft,
        reply: impl FnOnce(oneshot::Sender<Told>) -> Reply,
    ) -> Result<Sent, Refused> {
        let (sender, answer) = oneshot::channel();
        self.post_in(room, draft, reply(sender))?;
        Ok(Sent {
            answer,
            poison: Arc::clone(&self.poison),
        })
    }

    /// Sends an event for which there is room, and does not wait for what it comes to.
    pub(crate) fn post_in(&self, room: Room, draft: Draft, reply: Reply) -> Result<(), Refused> {
        if let Some(refused) = self.poison.refuses(room.origin, &draft.target) {
            return Err(refused);
        }
        let request = Request::new(draft, room, reply);
        if !self.pass(Message::Event(request)) {
            return Err(Refused::Stopped(
                self.poison.get().unwrap_or(Stop::Shutdown),
            ));
        }
        Ok(())
    }

    /// Waits for room for an event that comes with so many bytes.
    pub(crate) async fn room(&self, origin: Origin, bytes: usize) -> Room {
        let (semaphore, kib) = self.takes(origin, bytes);
        let permit = Arc::clone(semaphore).acquire_many_owned(kib).await;
        // INVARIANT: nothing closes the semaphores.
        let permit = permit.expect("the semaphore is never closed");
        Room { permit, origin }
    }

    /// As [`Writer::room`], if there is some now that nobody waits for.
    pub(crate) fn room_now(&self, origin: Origin, bytes: usize) -> Option<Room> {
        let (semaphore, kib) = self.takes(origin, bytes);
        let permit = Arc::clone(semaphore).try_acquire_many_owned(kib).ok()?;
        Some(Room { permit, origin })
    }

    /// Where an event that comes with so many bytes has room, and how much it takes.
    fn takes(&self, origin: Origin, bytes: usize) -> (&Arc<Semaphore>, u32) {
        let (semaphore, most) = match origin {
            Origin::Caller => (&self.callers, QUEUE_KIB - ENGINE_KIB),
            Origin::Engine => (&self.engine, ENGINE_KIB),
        };
        // An event without a value still takes memory: it counts as 1 KiB.
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(most).min(most);
        (semaphore, kib)
    }

    /// Ends the writer because the store, or a part of the engine, has failed.
    pub(crate) fn fail(&self, error: StoreError) {
        tracing::error!(target: "outlive::store", %error, "the engine stops");
        self.poison.set(Stop::Failed(error));
        self.stop();
    }

    /// Puts down the phase the poison guard enters. False: the writer has ended, so nothing may be done in it.
    pub(crate) async fn enter_phase(&self, phase: GuardPhase) -> bool {
        let (reply, answer) = oneshot::channel();
        self.pass(Message::Phase(PhaseChange { phase, reply })) && answer.await.is_ok()
    }

    /// Removes what nobody needs any more, at most `limit` entries with one commit; true when there is more. `None`:
    /// the writer has ended.
    pub(crate) async fn tidy(&self, kept: EventsKept, limit: usize) -> Option<bool> {
        let (reply, answer) = oneshot::channel();
        let upkeep = Upkeep { kept, limit, reply };
        if !self.pass(Message::Upkeep(upkeep)) {
            return None;
        }
        answer.await.ok()
    }

    /// Asks the writer to come for what a turn has emitted. False: it has ended.
    pub(crate) fn come(&self, cell: &Arc<StreamCell>, by: Micros) -> bool {
        self.pass(Message::Stream(Arc::clone(cell), by))
    }

    /// Asks the writer to end after what it was sent before.
    pub(crate) fn stop(&self) {
        self.poison.hurry();
        // A writer that is gone has stopped already.
        let _ = self.pass(Message::Stop);
    }

    /// Hands a message over; false when the writer is gone.
    fn pass(&self, message: Message) -> bool {
        match &self.sender {
            Sender::Thread(sender) => sender.send(message),
            Sender::Inline(sender) => sender.send(message).is_ok(),
        }
    }
}

fn lost(poison: &Poison) -> Refused {
    match poison.get() {
        Some(Stop::Failed(error)) => Refused::Unknown(error),
        Some(Stop::Shutdown) => Refused::Stopped(Stop::Shutdown),
        None => Refused::Unknown(StoreError::Poisoned {
            cause: "the writer ended without an answer".into(),
        }),
    }
}

/// Drives the batcher until it is told to stop. The answer arrives when the writer has ended.
///
/// # Errors
/// The system's refusal of a thread.
pub(crate) fn drive(
    batcher: Batcher,
    receiver: Receiver,
    spawner: &Spawner,
) -> std::io::Result<oneshot::Receiver<()>> {
    let (ended, when_ended) = oneshot::channel();
    match receiver {
        Receiver::Thread(mut receiver) => {
            env::thread("outlive-writer", move || {
                let mut follower = Follower::of(batcher.store());
                let mut guarded = Guarded::new(batcher);
                let mut company = Company::default();
                loop {
                    let first = receiver.recv(guarded.patience());
                    let Ok(first) = first else { break };
                    let goes_on = guarded.go_on(first, || company.next(|| receiver.try_recv()));
                    company.part();
                    if !goes_on {
                        break;
                    }
                    follower.look();
                }
                guarded.refuse_rest(|| receiver.try_recv());
                drop(guarded);
                // Whoever waits for the end may want the file to be closed then.
                drop(follower);
                let _ = ended.send(());
            })?;
        }
        Receiver::Inline(mut receiver) => {
            spawner.spawn(async move {
                let mut guarded = Guarded::new(batcher);
                loop {
                    let first = match guarded.patience() {
                        None => receiver.recv().await.map(Some).ok_or(Gone),
                        Some(wait) => tokio::select! {
                            biased;
                            first = receiver.recv() => first.map(Some).ok_or(Gone),
                            () = env::sleep(wait) => Ok(None),
                        },
                    };
                    let Ok(first) = first else { break };
                    if !guarded.go_on(first, || receiver.try_recv().ok()) {
                        break;
                    }
                }
                guarded.refuse_rest(|| receiver.try_recv().ok());
                drop(guarded);
                let _ = ended.send(());
            });
        }
    }
    Ok(when_ended)
}

/// However the writer ends, also by a panic, it never looks alive afterwards.
struct Guarded {
    batcher: Batcher,
    lingering: Lingering,
    /// What came while a failed batch was held. Its room is taken until it is answered, so it is bounded.
    stash: VecDeque<Message>,
    /// Room for the events of a batch, which the last one has left.
    room: Vec<Request>,
}

impl Guarded {
    fn new(batcher: Batcher) -> Guarded {
        Guarded {
            batcher,
            lingering: Lingering::default(),
            stash: VecDeque::new(),
            room: Vec::new(),
        }
    }

    /// How long the writer may wait for something to do; `None`: as long as it takes.
    fn patience(&self) -> Option<Duration> {
        let due = match self.batcher.held_until() {
            Some(held_until) => Some(held_until),
            None if !self.stash.is_empty() => return Some(Duration::ZERO),
            None => self.lingering.due(),
        };
        let now = self.batcher.clock().own();
        let until = due.map(|due| Duration::from_micros(due.0.saturating_sub(now.0)));
        let words = (self.batcher.has_handed_over()).then_some(WORKERS_MAX);
        until.into_iter().chain(words).min()
    }

    /// Carries out what waits, of which this is the first, if there is a first. False: the writer must end.
    fn go_on(&mut self, first: Option<Message>, mut more: impl FnMut() -> Option<Message>) -> bool {
        let is_held = self.batcher.held_until().is_some();
        if first.is_none() || is_held {
            // Workers have had their time.
            self.batcher.handed().say_left();
        }
        self.stash.extend(first);
        if is_held {
            self.stash.extend(std::iter::from_fn(more));
            return self.settle();
        }
        let stash = &mut self.stash;
        let first = stash.pop_front();
        let more = || stash.pop_front().or_else(&mut more);
        let room = std::mem::take(&mut self.room);
        let mut gathered = gather(first, more, &mut self.lingering, room);
        let idle = gathered.requests.is_empty() && gathered.then.is_none();
        if idle && self.patience().is_none_or(|wait| !wait.is_zero()) {
            self.room = gathered.requests;
            return true;
        }
        // What was emitted goes first: an order that ends a turn in the same commit leaves it its items.
        let mut riders = if !idle && cfg!(planted = "items_ride_alone") {
            Vec::new()
        } else {
            self.lingering.riders(&gathered.requests)
        };
        if riders.is_empty() || cfg!(planted = "items_ride_behind") {
            gathered.requests.append(&mut riders);
        } else {
            riders.append(&mut gathered.requests);
            gathered.requests = riders;
        }
        self.carry_out(gathered)
    }

    /// A failed batch is held: what comes meanwhile waits behind it. False: the writer must end.
    fn settle(&mut self) -> bool {
        self.refuse_callers();
        let stops = self
            .stash
            .iter()
            .any(|message| matches!(message, Message::Stop));
        let waits = self.patience().is_some_and(|wait| !wait.is_zero());
        if waits && !stops {
            return true;
        }
        self.batcher.settle(stops)
    }

    /// Callers need not wait behind a batch for which there is no room: nothing was decided for them yet.
    fn refuse_callers(&mut self) {
        let poison = self.batcher.poison();
        if !poison.is_full() || cfg!(planted = "callers_wait_behind_a_full_disk") {
            return;
        }
        for message in std::mem::take(&mut self.stash) {
            let refused = match &message {
                Message::Event(request) => poison.refuses(request.origin, &request.draft.target),
                Message::Phase(_) | Message::Upkeep(_) | Message::Stream(..) | Message::Stop => {
                    None
                }
            };
            match (message, refused) {
                (Message::Event(request), Some(refused)) => {
                    request.reply.tell(Err(refused));
                }
                (message, _) => self.stash.push_back(message),
            }
        }
    }

    /// One batch, and what comes after it. False: the writer must end.
    fn carry_out(&mut self, Gathered { mut requests, then }: Gathered) -> bool {
        let goes_on = self.batcher.run(&mut requests) && self.go_on_with(then);
        self.room = requests;
        // In their order, before what comes after them.
        for message in self.batcher.put_off().into_iter().rev() {
            self.stash.push_front(message);
        }
        self.refuse_callers();
        goes_on
    }

    /// What comes after a batch. False: the writer must end.
    fn go_on_with(&mut self, then: Option<Then>) -> bool {
        let is_held = self.batcher.held_until().is_some();
        if then.is_some() {
            // It writes as well, and nobody knows how long that takes.
            self.batcher.handed().say_left();
        }
        match then {
            None => true,
            // What comes after a batch that is held waits behind it.
            Some(Then::Phase(change)) if is_held => self.put_off(Message::Phase(change)),
            Some(Then::Upkeep(upkeep)) if is_held => self.put_off(Message::Upkeep(upkeep)),
            Some(Then::Phase(change)) => self.batcher.enter_phase(change),
            Some(Then::Upkeep(upkeep)) => self.batcher.tidy(upkeep),
            Some(Then::Stop) => {
                // Its last try: whoever waits for it would be told that nothing has happened.
                if cfg!(planted = "stop_forgets_held") || self.batcher.settle(true) {
                    self.batcher.stopped();
                }
                false
            }
        }
    }

    /// Before anything that has come since. The writer goes on.
    fn put_off(&mut self, message: Message) -> bool {
        self.stash.push_front(message);
        true
    }

    /// Closes the door first, so that nothing can be sent that nobody reads, then answers what was already sent.
    fn refuse_rest(&mut self, mut more: impl FnMut() -> Option<Message>) {
        self.batcher.poison().set(Stop::Shutdown);
        while let Some(message) = self.stash.pop_front().or_else(&mut more) {
            let stop = self.batcher.poison().get().unwrap_or(Stop::Shutdown);
            match message {
                Message::Event(request) => {
                    let poison = self.batcher.poison();
                    let refused = poison.refuses(request.origin, &request.draft.target);
                    let refused = refused.unwrap_or(Refused::Stopped(stop));
                    request.reply.tell(Err(refused));
                }
                Message::Stream(cell, _) => cell.close(stop.into()),
                // Who sent them learns it from the closed channel.
                Message::Phase(_) | Message::Upkeep(_) | Message::Stop => {}
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let cause = "the writer panicked; please report it with its log".into();
        self.batcher
            .poison()
            .set(Stop::Failed(StoreError::Poisoned { cause }));
        self.batcher.close();
    }
}
