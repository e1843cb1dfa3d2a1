//! What handlers did and were told, and what callers were told: none of it may be taken back by any engine that comes later.

use super::plan::Op;
use super::script::{Item, Told};
use super::trace::named;
use outlive_storage::row::TaskNumber;
use std::collections::{BTreeMap, HashMap};

/// Where a step is: its task, the turn over all runs under which it is recorded, its key.
pub type Place = (TaskNumber, u64, String);

/// What a caller is told of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An output; whether its turn suspended the task.
    Output(Told, bool),
    /// The turn failed for good.
    Failed,
    /// Cancelled, or taken back.
    Cancelled,
    /// Terminated; whether for its time.
    Terminated(bool),
    /// The task ended first.
    TaskEnded,
    /// The task, or what is known of the turn, is not kept any more.
    Gone,
}

impl Heard {
    /// In the story, where ids that the engine made are not named.
    pub fn in_story(&self) -> String {
        match self {
            Heard::Output(told, suspended) => {
                let Told {
                    input,
                    run,
                    turn,
                    got,
                    taken,
                    generation,
                    emitted,
                } = told;
                let taken: Vec<_> = taken.iter().map(|taken| named(taken)).collect();
                let input = named(input);
                format!(
                    "{input} run {run} turn {turn} {got:?} {taken:?} {suspended} under {generation}, {emitted} items"
                )
            }
            other => format!("{other:?}"),
        }
    }
}

/// All that was seen from outside of the engine.
#[derive(Debug, Default)]
pub struct Witness {
    /// Handlers that run now, by the ids of their tasks.
    pub live: BTreeMap<String, u32>,
    /// Gives each run of a step a number of its own.
    pub serial: u64,
    /// How often a step ran, and what it came to at last.
    pub ran: HashMap<Place, Vec<u64>>,
    /// What a handler was told that a step came to.
    pub told: HashMap<Place, u64>,
    /// What callers were told: by task, run and input.
    pub heard: HashMap<(TaskNumber, u32, String), Heard>,
    /// What readers were shown, by task and number.
    pub items: HashMap<(TaskNumber, u64), Item>,
    /// What was said to be durable of a task's metadata: the turn over all runs, and the count.
    pub kept: HashMap<TaskNumber, (u64, i64)>,
    /// How often an input was given, by its id.
    pub asked: HashMap<String, u32>,
    /// The tasks of which inputs were accepted anew: by the ids of both.
    pub begun: HashMap<(String, String), Option<TaskNumber>>,
    /// Callers that wait for what comes of an input.
    pub waiting: u64,
    /// How far each stream was read.
    pub read: HashMap<TaskNumber, u64>,
    /// Answers that were acknowledged: the question's task, turn over all runs and key.
    pub answers: HashMap<Place, u64>,
}

impl Witness {
    /// A handler is entered. False: another one of its id runs still.
    pub fn enter(&mut self, id: &str) -> bool {
        let count = self.live.entry(id.to_owned()).or_default();
        *count += 1;
        *count == 1
    }

    /// A process is dead: nobody waits in it any more.
    pub fn begin_anew(&mut self) {
        self.waiting = 0;
        self.live.clear();
    }

    /// A call is made.
    pub fn gives(&mut self, op: &Op) {
        for given in op.given() {
            *self.asked.entry(given.input.clone()).or_default() += 1;
        }
    }

    /// A handler is gone.
    pub fn leave(&mut self, id: &str) {
        if let Some(count) = self.live.get_mut(id) {
            *count -= 1;
        }
    }

    /// A step runs once more.
    pub fn run(&mut self, place: Place) -> u64 {
        self.serial += 1;
        self.ran.entry(place).or_default().push(self.serial);
        self.serial
    }

    /// A caller was told something of an input. What it was told before, if that was something else.
    pub fn hear(&mut self, of: (TaskNumber, u32, String), heard: &Heard) -> Option<Heard> {
        let before = self.heard.entry(of).or_insert_with(|| heard.clone());
        // What is not kept any more was kept when somebody was told.
        let same = before == heard || *heard == Heard::Gone || *before == Heard::Gone;
        (!same).then(|| before.clone())
    }
}
