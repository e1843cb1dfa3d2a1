//! The way to the writer's thread: messages are put one by one and taken all at once.
//!
//! A channel that hands each over by itself takes memory in the threads that send and gives it back in the one that receives,
//! and they wait for each other in the allocator. Here two queues change places, and both keep their room.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// Messages that a queue keeps room for: two batches. What a rush took beyond that is given back.
const KEPT: usize = 2048;

/// The two ends of a mailbox.
pub(crate) fn mailbox<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        letters: Mutex::new(Letters {
            waiting: VecDeque::new(),
            is_open: true,
            sleeps: false,
        }),
        came: Condvar::new(),
    });
    let receiver = Receiver {
        shared: Arc::clone(&shared),
        taken: VecDeque::new(),
        haul: 0,
    };
    (Sender { shared }, receiver)
}

/// Nobody can send anything any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone;

struct Shared<T> {
    letters: Mutex<Letters<T>>,
    came: Condvar,
}

struct Letters<T> {
    waiting: VecDeque<T>,
    /// Both ends are there.
    is_open: bool,
    /// Whoever puts something must wake the receiver.
    sleeps: bool,
}

/// Where messages are put. There is one, which threads share.
pub(crate) struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Puts a message; false when nobody will take it.
    pub(crate) fn send(&self, message: T) -> bool {
        let sleeps = {
            let mut letters = self.shared.letters.lock();
            if !letters.is_open {
                return false;
            }
            letters.waiting.push_back(message);
            // It says so until it is awake: one of several who put something may be stopped before it wakes anybody.
            letters.sleeps
        };
        if sleeps && !cfg!(planted = "letter_wakes_nobody") {
            self.shared.came.notify_one();
        }
        true
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.letters.lock().is_open = false;
        self.shared.came.notify_one();
    }
}

/// Where messages are taken, in the order in which they were put.
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// What was taken and not looked at.
    taken: VecDeque<T>,
    /// How many were taken at once the last time.
    haul: usize,
}

impl<T> Receiver<T> {
    /// The next message, if one is there.
    pub(crate) fn try_recv(&mut self) -> Option<T> {
        if self.taken.is_empty() {
            // Not while a rush lasts: both would only grow again.
            if self.haul <= KEPT && !cfg!(planted = "room_for_a_rush_kept") {
                self.taken.shrink_to(KEPT);
            }
            let mut letters = self.shared.letters.lock();
            mem::swap(&mut letters.waiting, &mut self.taken);
            drop(letters);
            self.haul = self.taken.len();
        }
        self.taken.pop_front()
    }

    /// The next message, for which it waits so long at most; as long as it takes when nothing is said. `None`: it has waited, or
    /// was woken, in vain.
    ///
    /// # Errors
    /// [`Gone`] when nothing is there and nothing can come.
    pub(crate) fn recv(&mut self, patience: Option<Duration>) -> Result<Option<T>, Gone> {
        if let Some(message) = self.try_recv() {
            return Ok(Some(message));
        }
        let mut letters = self.shared.letters.lock();
        while letters.waiting.is_empty() && letters.is_open {
            letters.sleeps = true;
            match patience {
                None => self.shared.came.wait(&mut letters),
                Some(patience) => drop(self.shared.came.wait_for(&mut letters, patience)),
            }
            letters.sleeps = false;
            if patience.is_some() {
                break;
            }
        }
        let is_open = letters.is_open;
        drop(letters);
        match self.try_recv() {
            None if !is_open => Err(Gone),
            next => Ok(next),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = {
            let mut letters = self.shared.letters.lock();
            letters.is_open = cfg!(planted = "mailbox_open_for_ever");
            mem::take(&mut letters.waiting)
        };
        // Not under the lock: whoever waits for an answer to one may send something when it goes.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env;
    use std::sync::mpsc;

    /// Longer than any of these tests may take.
    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    #[test]
    fn messages_come_in_their_order() {
        let (sender, mut receiver) = mailbox();
        for round in 0..3 {
            for message in 0..10 {
                assert!(sender.send((round, message)));
            }
            let first = receiver.recv(LONG).expect("the sender is there");
            assert_eq!(first, Some((round, 0)));
            assert!(sender.send((round, 10)), "while some are taken");
            for message in 1..=10 {
                assert_eq!(receiver.try_recv(), Some((round, message)));
            }
            assert_eq!(receiver.try_recv(), None);
        }
    }

    /// Each waits for the other for as long as it takes: one that is not woken waits for ever, and so does the test's thread.
    #[test]
    fn whoever_sleeps_is_woken_by_the_next_message() {
        const ROUNDS: u32 = 2_000;
        let (to, mut from) = mailbox();
        let (back, mut answers) = mailbox();
        let echo = env::thread("outlive-echo", move || {
            while let Ok(Some(message)) = from.recv(None) {
                back.send(message);
            }
        });
        let (done, when_done) = mpsc::channel();
        let rounds = env::thread("outlive-rounds", move || {
            for round in 0..ROUNDS {
                assert!(to.send(round));
                assert_eq!(answers.recv(None), Ok(Some(round)));
            }
            drop(to);
            assert_eq!(answers.recv(None), Err(Gone));
            done.send(()).expect("the test waits");
        });
        let all_woken = when_done.recv_timeout(LONG.unwrap_or_default());
        all_woken.expect("each is woken");
        for thread in [echo, rounds] {
            let thread = thread.expect("the system gives a thread");
            thread.join().expect("it ends");
        }
    }

    /// As the writer does: sometimes it waits, sometimes only so long, sometimes not at all.
    #[test]
    fn what_several_put_is_taken_once_and_in_the_order_of_each() {
        const SENDERS: usize = 3;
        const EACH: usize = 5_000;
        let (sender, mut receiver) = mailbox();
        let sender = Arc::new(sender);
        let senders = (0..SENDERS).map(|of| {
            let sender = Arc::clone(&sender);
            let put = move || (0..EACH).for_each(|message| assert!(sender.send((of, message))));
            env::thread("outlive-sender", put).expect("the system gives a thread")
        });
        let senders: Vec<_> = senders.collect();
        drop(sender);
        let (mut next, mut round) = ([0; SENDERS], 0);
        let patience = [None, Some(Duration::ZERO), Some(Duration::from_micros(20))];
        while let Ok(taken) = receiver.recv(patience[round % patience.len()]) {
            round += 1;
            if let Some((of, message)) = taken {
                assert_eq!(message, next[of]);
                next[of] += 1;
            }
        }
        assert_eq!(next, [EACH; SENDERS]);
        for sender in senders {
            sender.join().expect("it ends");
        }
    }

    #[test]
    fn who_waits_in_vain_waits_no_longer() {
        let (sender, mut receiver) = mailbox::<u32>();
        let waited = receiver.recv(Some(Duration::from_millis(1)));
        assert_eq!(waited, Ok(None));
        assert!(sender.send(7), "the next one is put as ever");
        assert_eq!(receiver.recv(LONG), Ok(Some(7)));
    }

    #[test]
    fn what_was_put_before_the_sender_went_is_taken() {
        let (sender, mut receiver) = mailbox();
        assert!(sender.send(1));
        drop(sender);
        assert_eq!(receiver.recv(None), Ok(Some(1)));
        assert_eq!(receiver.recv(None), Err(Gone));
    }

    #[test]
    fn what_nobody_will_take_is_not_put() {
        let (sender, receiver) = mailbox();
        let told = Arc::new(());
        assert!(sender.send(Arc::clone(&told)));
        drop(receiver);
        assert_eq!(Arc::strong_count(&told), 1, "what waited goes with it");
        assert!(!sender.send(Arc::clone(&told)));
    }

    #[test]
    fn room_for_a_rush_is_given_back() {
        let (sender, mut receiver) = mailbox();
        for message in 0..10 * KEPT {
            assert!(sender.send(message));
        }
        let taken = std::iter::from_fn(|| receiver.try_recv()).count();
        assert_eq!(taken, 10 * KEPT);
        for message in 0..3 {
            assert!(sender.send(message));
            assert_eq!(receiver.try_recv(), Some(message));
            assert_eq!(receiver.try_recv(), None);
        }
        let waiting = receiver.shared.letters.lock().waiting.capacity();
        let kept = waiting.max(receiver.taken.capacity());
        assert!(kept <= 2 * KEPT, "room for {kept}");
    }
}
