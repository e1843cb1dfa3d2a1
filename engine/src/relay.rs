//! Turns entered one after the other, by tasks of the runtime that hand them on.
//!
//! To give each turn a task of its own from the beginning takes longer than most of what a turn does before it first waits, and
//! many never wait. So a runner polls each turn for the first time itself: one that ends then needed no task, one that waits
//! gets its own, which polls it from there on.
//!
//! Nobody waits behind a handler that holds its thread up. Who takes a turn while others are left has sent for the next runner
//! before, and a free worker of the runtime runs that one. And a runner gives way after each turn, to whatever that turn has
//! woken, to its rest, and to a runtime that ends.

use crate::env::{self, Spawner};
use crate::turn::Seated;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// Turns on their way to their handlers.
pub(crate) struct Relay {
    left: Mutex<Left>,
    spawner: Spawner,
}

struct Left {
    turns: VecDeque<Seated>,
    /// A runner was sent for that has not come yet.
    one_comes: bool,
}

impl Relay {
    /// Has the workers of the runtime enter these turns. A runtime that is gone drops them, as it drops handlers that run.
    pub(crate) fn start(turns: Vec<Seated>, spawner: &Spawner) {
        let left = Left {
            turns: turns.into(),
            one_comes: true,
        };
        let relay = Relay {
            left: Mutex::new(left),
            spawner: spawner.clone(),
        };
        spawner.spawn(Arc::new(relay).run());
    }

    /// Sends for another runner, from a worker of the runtime.
    fn send(self: Arc<Self>) {
        let spawner = self.spawner.clone();
        spawner.spawn(self.run());
        if !cfg!(planted = "runner_kept_by_its_worker") {
            // What a worker was given last it keeps for itself, however long it is held up. That is this now.
            spawner.spawn(async {});
        }
    }

    /// Enters turns for as long as there are any.
    async fn run(self: Arc<Self>) {
        self.left.lock().one_comes = false;
        let mut room = None;
        while let Some(turn) = self.next() {
            let (signal, turn) = turn.into_turn();
            if signal.is_stopped() && !cfg!(planted = "stopped_turn_entered") {
                continue;
            }
            let mut place = room.take().unwrap_or_else(|| Box::pin(None));
            place.set(Some(turn));
            if is_over(&mut place).await {
                place.set(None);
                room = Some(place);
            } else {
                let call = self.spawner.spawn(rest(place));
                signal.stoppable(call);
            }
            if !cfg!(planted = "runner_never_gives_way") {
                env::give_way().await;
            }
        }
    }

    /// The next turn. While there are more, another runner is on its way.
    fn next(self: &Arc<Self>) -> Option<Seated> {
        let (turn, nobody_comes) = {
            let mut left = self.left.lock();
            let turn = left.turns.pop_front()?;
            let nobody_comes = !left.turns.is_empty() && !left.one_comes;
            left.one_comes |= nobody_comes;
            (turn, nobody_comes)
        };
        if nobody_comes && !cfg!(planted = "turns_wait_behind_a_handler") {
            Arc::clone(self).send();
        }
        Some(turn)
    }
}

/// Polls the turn once. Whether it has ended.
async fn is_over<F: Future<Output = ()>>(turn: &mut Pin<Box<Option<F>>>) -> bool {
    poll_fn(|context| {
        let turn = turn.as_mut().as_pin_mut();
        Poll::Ready(turn.is_none_or(|turn| turn.poll(context).is_ready()))
    })
    .await
}

/// What is left of a turn that waits.
async fn rest<F: Future<Output = ()>>(mut turn: Pin<Box<Option<F>>>) {
    if let Some(turn) = turn.as_mut().as_pin_mut() {
        turn.await;
    }
}
