//! What a batch hands over to the workers: the turns it has claimed, on their way to their handlers, and the words for those
//! who wait.
//!
//! To start a task of a runtime from outside of it takes the runtime's locks, and memory that a worker gives back to the
//! thread it came from: both are what the writer waits for when hundreds are entered. So it hands turns over in crews: it
//! starts one task for several turns, and that one, on a worker, [enters](Relay) them. So it is with [words](Words).

use crate::env::Place;
use crate::relay::Relay;
use crate::turn::{Dispatcher, Seated};
use crate::word::{Handed, Word, Words};
use outlive_storage::row::Times;
use std::sync::Arc;

/// Most turns in one crew: the others are started by another worker meanwhile.
const CREW_MAX: usize = 32;

/// Turns whose seats are taken, and words.
pub(crate) struct Crew {
    turns: Vec<Seated>,
    words: Words,
    handed: Handed,
    dispatcher: Arc<Dispatcher>,
    /// The time at which turns are entered.
    pub(crate) at: Times,
}

impl Crew {
    /// Nobody yet. What workers were to say of the batch before is said.
    pub(crate) fn new(dispatcher: &Arc<Dispatcher>, handed: Handed, at: Times) -> Crew {
        Crew {
            turns: Vec::new(),
            words: Words::default(),
            handed,
            dispatcher: Arc::clone(dispatcher),
            at,
        }
    }

    /// The turn starts with those before it, at the latest when the crew [goes](Crew::go).
    pub(crate) fn join(&mut self, turn: Seated) {
        match self.dispatcher.reader.place() {
            // The writer is a task of the runtime itself.
            Place::Inline => turn.start(),
            Place::Threads => {
                if self.turns.len() == 1 {
                    // Who is not alone seldom stays a pair.
                    self.turns.reserve_exact(CREW_MAX - 1);
                }
                self.turns.push(turn);
                if self.turns.len() >= CREW_MAX {
                    self.start();
                }
            }
        }
    }

    /// The word is said with those before it, at the latest when the crew [goes](Crew::go).
    pub(crate) fn tell(&mut self, word: Word) {
        match self.dispatcher.reader.place() {
            Place::Inline => word.say(),
            // It would not be alone, for nobody.
            Place::Threads if word.is_for_nobody() => {}
            Place::Threads => {
                if self.words.add(word) {
                    let words = std::mem::take(&mut self.words);
                    self.handed.give(words, &self.dispatcher.spawner);
                }
            }
        }
    }

    /// Starts all who have joined, and has said what is to be said; some of it workers are to say.
    pub(crate) fn go(mut self) -> Handed {
        self.start();
        self.handed.give(self.words, &self.dispatcher.spawner);
        self.handed
    }

    /// Starts all who have joined. A runtime that is gone drops them, as it drops handlers that run.
    fn start(&mut self) {
        let mut turns = std::mem::take(&mut self.turns);
        if turns.len() > 1 {
            return Relay::start(turns, &self.dispatcher.spawner);
        }
        if let Some(turn) = turns.pop() {
            turn.start();
        }
    }
}
