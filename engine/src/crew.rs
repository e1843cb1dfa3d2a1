//! The turns that a batch has claimed, on their way to their handlers.
//!
//! To start a task of a runtime from outside of it takes the runtime's locks, and memory that a worker gives back to the
//! thread it came from: both are what the writer waits for when hundreds are entered. So it hands turns over in crews: it
//! starts one task for several turns, and that one, on a worker, starts the others.

use crate::env::Place;
use crate::turn::{Dispatcher, Seated};
use outlive_storage::row::Times;

/// Most turns in one crew: the others are started by another worker meanwhile.
const CREW_MAX: usize = 32;

/// Turns whose seats are taken.
pub(crate) struct Crew {
    turns: Vec<Seated>,
    place: Place,
    /// The time at which they are entered.
    pub(crate) at: Times,
}

impl Crew {
    pub(crate) fn new(place: Place, at: Times) -> Crew {
        Crew {
            turns: Vec::new(),
            place,
            at,
        }
    }

    /// The turn starts with those before it, at the latest when the crew [goes](Crew::go).
    pub(crate) fn join(&mut self, turn: Seated, dispatcher: &Dispatcher) {
        match self.place {
            // The writer is a task of the runtime itself.
            Place::Inline => turn.start(),
            Place::Threads => {
                if self.turns.len() == 1 {
                    // Who is not alone seldom stays a pair.
                    self.turns.reserve_exact(CREW_MAX - 1);
                }
                self.turns.push(turn);
                if self.turns.len() >= CREW_MAX {
                    self.go(dispatcher);
                }
            }
        }
    }

    /// Starts all who have joined. A runtime that is gone drops them, as it drops handlers that run.
    pub(crate) fn go(&mut self, dispatcher: &Dispatcher) {
        let mut turns = std::mem::take(&mut self.turns);
        if turns.len() > 1 {
            dispatcher.spawner.spawn(async move {
                turns.into_iter().for_each(Seated::start);
            });
            return;
        }
        if let Some(turn) = turns.pop() {
            turn.start();
        }
    }
}
