//! The protocol of the writer's door, step by step, on primitives that try every order of its threads.
//!
//! All of it is a model; `real.rs` beside it tries the writer itself. What `engine/src/writer.rs` has stands here under the
//! same name: `Poison`, `send_in`, `Sent`, `lost`, `drive`, `go_on`, `settle`, `refuse_rest` and the drop of `Guarded`. Lock
//! and reply are shuttle's, the channel is made of these. An event is a number, the machine is left out, and the store is a
//! set of numbers that fails, or kills the writer, at one of its commits. There is no clock: what is late is not missed.

use crate::channel::{Receiver, Sender, channel};
use shuttle::sync::{Arc, Mutex, mpsc};
use shuttle::thread;
use std::collections::{BTreeSet, VecDeque};

/// How the life of the writer ends, beside being told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A commit fails, in the store or not; then the store is opened again.
    Once {
        applied: bool,
    },
    /// A commit fails, in the store or not, and every one after it.
    ForGood {
        applied: bool,
    },
    /// The writer dies in a commit, which is in the store or not.
    Death {
        applied: bool,
    },
}

impl Fault {
    pub(crate) const ALL: [Fault; 7] = [
        Fault::None,
        Fault::Once { applied: false },
        Fault::Once { applied: true },
        Fault::ForGood { applied: false },
        Fault::ForGood { applied: true },
        Fault::Death { applied: false },
        Fault::Death { applied: true },
    ];
}

/// What may be wrong with the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// Answers go out before the commit.
    AckBeforeCommit,
    /// What was sent is answered first and the door closed after that, and the channel keeps what comes in between.
    CloseAfterDrain,
    /// A writer that dies keeps the replies it had in hand.
    DeathWithoutReplies,
    /// A batch of which nobody knows what became of it is answered as if it had not happened.
    UnknownAsRefused,
    /// A writer that is told to stop right behind a batch that failed drops it.
    StopForgetsHeld,
    /// What came behind a held batch is forgotten when the writer gives up.
    StashForgotten,
    /// A writer that sleeps does not say so: nobody wakes it.
    SleepUnseen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Shutdown,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Stopped(Stop),
    Unknown,
}

type Told = Result<(), Refused>;

#[derive(Default)]
struct Poison(Mutex<Option<Stop>>);

impl Poison {
    fn set(&self, stop: Stop) {
        self.0.lock().unwrap().get_or_insert(stop);
    }

    fn get(&self) -> Option<Stop> {
        *self.0.lock().unwrap()
    }
}

fn lost(poison: &Poison) -> Refused {
    match poison.get() {
        Some(Stop::Failed) | None => Refused::Unknown,
        Some(Stop::Shutdown) => Refused::Stopped(Stop::Shutdown),
    }
}

struct Request {
    number: u32,
    reply: mpsc::Sender<Told>,
}

enum Message {
    Event(Request),
    Stop,
}

struct Sent {
    answer: mpsc::Receiver<Told>,
    poison: Arc<Poison>,
}

impl Sent {
    fn wait(self) -> Told {
        let told = self.answer.recv();
        let told = told.unwrap_or_else(|_| Err(lost(&self.poison)));
        assert!(self.answer.try_recv().is_err(), "answered twice");
        told
    }
}

#[derive(Clone)]
struct Writer {
    sender: Sender<Message>,
    poison: Arc<Poison>,
}

impl Writer {
    fn send_in(&self, number: u32) -> Result<Sent, Refused> {
        let (reply, answer) = mpsc::channel();
        if let Some(stop) = self.poison.get() {
            return Err(Refused::Stopped(stop));
        }
        let request = Request { number, reply };
        if !self.sender.send(Message::Event(request)) {
            let stop = self.poison.get().unwrap_or(Stop::Shutdown);
            return Err(Refused::Stopped(stop));
        }
        Ok(Sent {
            answer,
            poison: Arc::clone(&self.poison),
        })
    }
}

/// What is on disk, and what goes wrong next.
struct Store {
    durable: Mutex<BTreeSet<u32>>,
    fault: Fault,
    /// Counted down: the fault is at zero.
    until: u32,
}

enum Committed {
    Done,
    Failed,
    Died,
}

impl Store {
    fn commit(&mut self, batch: &[Request]) -> Committed {
        let at_fault = self.until == 0;
        let after = self.until == u32::MAX;
        if !after {
            self.until = self.until.checked_sub(1).unwrap_or(u32::MAX);
        }
        let (applied, answer) = match self.fault {
            Fault::Once { applied } if at_fault => (applied, Committed::Failed),
            Fault::ForGood { applied } if at_fault => (applied, Committed::Failed),
            Fault::ForGood { .. } if after => (false, Committed::Failed),
            Fault::Death { applied } if at_fault => (applied, Committed::Died),
            Fault::None | Fault::Once { .. } | Fault::ForGood { .. } | Fault::Death { .. } => {
                (true, Committed::Done)
            }
        };
        thread::yield_now();
        if applied {
            let numbers = batch.iter().map(|request| request.number);
            self.durable.lock().unwrap().extend(numbers);
        }
        answer
    }
}

/// The writer, and what it leaves behind however it ends.
struct Guarded {
    store: Arc<Mutex<Store>>,
    poison: Arc<Poison>,
    held: Option<Vec<Request>>,
    stash: VecDeque<Message>,
    bug: Bug,
}

/// How the writer goes on after a batch.
enum Then {
    GoesOn,
    Ends,
    Died,
}

impl Guarded {
    fn go_on(&mut self, first: Message, receiver: &Receiver<Message>) -> Then {
        self.stash.push_back(first);
        self.stash
            .extend(std::iter::from_fn(|| receiver.try_recv()));
        if self.held.is_some() {
            let stops = self.stash.iter().any(|one| matches!(one, Message::Stop));
            return self.settle(stops);
        }
        let mut batch = Vec::new();
        let mut stops = false;
        while let Some(message) = self.stash.pop_front() {
            match message {
                Message::Event(request) => batch.push(request),
                Message::Stop => {
                    stops = true;
                    break;
                }
            }
        }
        match self.run(batch) {
            Then::GoesOn if stops => {
                if self.bug != Bug::StopForgetsHeld {
                    self.settle(true);
                }
                Then::Ends
            }
            then => then,
        }
    }

    fn run(&mut self, batch: Vec<Request>) -> Then {
        if batch.is_empty() {
            return Then::GoesOn;
        }
        if self.bug == Bug::AckBeforeCommit {
            answer(&batch, Ok(()));
        }
        let committed = self.store.lock().unwrap().commit(&batch);
        match committed {
            Committed::Done if self.bug == Bug::AckBeforeCommit => Then::GoesOn,
            Committed::Done => {
                answer(&batch, Ok(()));
                Then::GoesOn
            }
            Committed::Failed => {
                self.held = Some(batch);
                self.settle(false)
            }
            Committed::Died => {
                if self.bug == Bug::DeathWithoutReplies {
                    std::mem::forget(batch);
                }
                Then::Died
            }
        }
    }

    /// The store is opened again: what is there was committed, what is not is sent again.
    fn settle(&mut self, is_last: bool) -> Then {
        let Some(batch) = self.held.take() else {
            return Then::GoesOn;
        };
        let mut store = self.store.lock().unwrap();
        if let Fault::Once { .. } = store.fault {
            let is_there = batch
                .iter()
                .all(|request| store.durable.lock().unwrap().contains(&request.number));
            if !is_there {
                store.commit(&batch);
            }
            drop(store);
            answer(&batch, Ok(()));
            return Then::GoesOn;
        }
        drop(store);
        // A writer whose patience is not over yet tries again when the next message comes.
        if !is_last && self.stash.is_empty() {
            self.held = Some(batch);
            return Then::GoesOn;
        }
        self.poison.set(Stop::Failed);
        let told = match self.bug {
            Bug::UnknownAsRefused => Refused::Stopped(Stop::Failed),
            _ => Refused::Unknown,
        };
        answer(&batch, Err(told));
        Then::Ends
    }

    fn refuse_rest(&mut self, receiver: &Receiver<Message>) {
        if self.bug != Bug::CloseAfterDrain {
            self.poison.set(Stop::Shutdown);
        }
        if self.bug == Bug::StashForgotten {
            std::mem::take(&mut self.stash)
                .into_iter()
                .for_each(std::mem::forget);
        }
        while let Some(message) = self.stash.pop_front().or_else(|| receiver.try_recv()) {
            let stop = self.poison.get().unwrap_or(Stop::Shutdown);
            if let Message::Event(request) = message {
                let _ = request.reply.send(Err(Refused::Stopped(stop)));
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // A writer that ended in order has closed the door itself.
        self.poison.set(Stop::Failed);
    }
}

fn answer(batch: &[Request], told: Told) {
    for request in batch {
        let _ = request.reply.send(told);
    }
}

fn drive(mut guarded: Guarded, receiver: &mut Receiver<Message>) {
    let then = loop {
        let Some(first) = receiver.recv() else {
            break Then::Ends;
        };
        match guarded.go_on(first, receiver) {
            Then::GoesOn => {}
            then => break then,
        }
    };
    if !matches!(then, Then::Died) {
        guarded.refuse_rest(receiver);
    }
    receiver.keeps_what_is_left = guarded.bug == Bug::CloseAfterDrain;
}

/// One life of the writer with so many senders, of two events each, and somebody who stops it.
pub(crate) fn life(senders: u32, fault: Fault, until: u32, bug: Bug) {
    let (sender, mut receiver) = channel();
    receiver.sleeps_unseen = bug == Bug::SleepUnseen;
    let poison: Arc<Poison> = Arc::default();
    let store = Arc::new(Mutex::new(Store {
        durable: Mutex::default(),
        fault,
        until,
    }));
    let guarded = Guarded {
        store: Arc::clone(&store),
        poison: Arc::clone(&poison),
        held: None,
        stash: VecDeque::new(),
        bug,
    };
    let writer = Writer { sender, poison };
    let drives = thread::spawn(move || drive(guarded, &mut receiver));
    let callers: Vec<_> = (0..senders)
        .map(|caller| {
            let (writer, store) = (writer.clone(), Arc::clone(&store));
            thread::spawn(move || {
                let mut told = Vec::new();
                for number in [caller * 2, caller * 2 + 1] {
                    let answer = writer.send_in(number).and_then(Sent::wait);
                    if answer.is_ok() {
                        let store = store.lock().unwrap();
                        let durable = store.durable.lock().unwrap();
                        assert!(durable.contains(&number), "acknowledged before its commit");
                    }
                    told.push((number, answer));
                }
                told
            })
        })
        .collect();
    let _ = writer.sender.send(Message::Stop);
    let mut told = Vec::new();
    for caller in callers {
        told.extend(caller.join().unwrap());
    }
    drives.join().unwrap();
    let store = store.lock().unwrap();
    let durable = store.durable.lock().unwrap();
    for (number, answer) in told {
        match answer {
            Ok(()) => assert!(durable.contains(&number), "an acknowledged event is gone"),
            Err(Refused::Stopped(_)) => {
                assert!(!durable.contains(&number), "a refused event is there");
            }
            Err(Refused::Unknown) => assert!(
                matches!(fault, Fault::ForGood { .. } | Fault::Death { .. }),
                "nothing failed, and nobody knows"
            ),
        }
    }
}
