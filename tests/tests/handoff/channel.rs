//! The writer's mailbox: what is put is taken all at once, who puts something wakes whoever sleeps, and what is put in the
//! moment its receiver goes is dropped with it. Shuttle's own channel keeps such a message until the last sender has gone,
//! and with it the reply that somebody waits for.

use shuttle::sync::{Arc, Condvar, Mutex};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;

struct State<T> {
    queue: VecDeque<T>,
    has_receiver: bool,
    senders: usize,
    sleeps: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    sent: Condvar,
}

pub(crate) struct Sender<T>(Arc<Shared<T>>);

pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    taken: RefCell<VecDeque<T>>,
    /// What shuttle's own channel does.
    pub(crate) keeps_what_is_left: bool,
    /// It does not say that it sleeps.
    pub(crate) sleeps_unseen: bool,
}

pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let state = State {
        queue: VecDeque::new(),
        has_receiver: true,
        senders: 1,
        sleeps: false,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        sent: Condvar::new(),
    });
    let receiver = Receiver {
        shared: Arc::clone(&shared),
        taken: RefCell::default(),
        keeps_what_is_left: false,
        sleeps_unseen: false,
    };
    (Sender(shared), receiver)
}

impl<T> Sender<T> {
    /// False: the receiver is gone, and the message with it.
    pub(crate) fn send(&self, message: T) -> bool {
        let mut state = self.0.state.lock().unwrap();
        if !state.has_receiver {
            return false;
        }
        state.queue.push_back(message);
        let sleeps = state.sleeps;
        drop(state);
        if sleeps {
            self.0.sent.notify_one();
        }
        true
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().unwrap().senders += 1;
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().senders -= 1;
        self.0.sent.notify_one();
    }
}

impl<T> Receiver<T> {
    /// Waits; `None`: nobody can send anything any more.
    pub(crate) fn recv(&self) -> Option<T> {
        if let Some(next) = self.try_recv() {
            return Some(next);
        }
        let mut state = self.shared.state.lock().unwrap();
        while state.queue.is_empty() && state.senders > 0 {
            state.sleeps = !self.sleeps_unseen;
            state = self.shared.sent.wait(state).unwrap();
            state.sleeps = false;
        }
        drop(state);
        self.try_recv()
    }

    pub(crate) fn try_recv(&self) -> Option<T> {
        let mut taken = self.taken.borrow_mut();
        if taken.is_empty() {
            mem::swap(&mut self.shared.state.lock().unwrap().queue, &mut taken);
        }
        taken.pop_front()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.state.lock().unwrap();
            state.has_receiver = false;
            if self.keeps_what_is_left {
                return;
            }
            std::mem::take(&mut state.queue)
        };
        drop(left);
    }
}
