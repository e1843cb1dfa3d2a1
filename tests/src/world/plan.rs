//! What callers do in a world, by seed: any call at any moment.

use super::dice::Dice;
use super::script::{Act, Author, Kind};
use outlive::{Delivery, OnConflict};
use std::time::Duration;

/// Tasks that callers name.
const TASKS: u64 = 6;

/// How a world is set up.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What callers do, in so many steps.
    pub steps: u64,
    /// Handlers at once.
    pub max_running: usize,
    /// From when on waits leave memory.
    pub park_after: Duration,
    /// Whether poisonous tasks are found out.
    pub guard: bool,
    /// Whether some tasks are poisonous.
    pub poisonous: bool,
    /// Whether transitions are kept in the log. Without it less tells what became of a commit.
    pub log: bool,
}

impl Settings {
    /// Those of a seed.
    pub fn of(seed: u64) -> Settings {
        let mut dice = Dice::of(seed, 3);
        Settings {
            steps: dice.from_to(15, 70),
            max_running: *dice.one(&[1, 2, 3, 8, 64]),
            park_after: Duration::from_secs(*dice.one(&[2, 10, 30])),
            guard: dice.percent(60),
            poisonous: dice.percent(20),
            log: dice.percent(70),
        }
    }
}

impl Settings {
    /// Those of a world that is written down.
    pub fn written(steps: u64) -> Settings {
        Settings {
            steps,
            max_running: 64,
            park_after: Duration::from_secs(10),
            guard: true,
            poisonous: false,
            log: true,
        }
    }
}

/// An input that a caller gives.
#[derive(Debug, Clone)]
pub struct Given {
    /// The task's id.
    pub id: String,
    /// The input's.
    pub input: String,
    /// What its definition is.
    pub kind: Kind,
    /// What it says.
    pub act: Act,
    /// What happens where it does not fit.
    pub conflict: OnConflict,
    /// How it comes to a turn that runs.
    pub delivery: Delivery,
    /// A new run is due so many seconds later.
    pub delay: Option<u64>,
}

/// One thing a caller asks for. Each can be asked for again by a caller that was not answered.
#[derive(Debug, Clone)]
pub enum Op {
    /// Gives an input.
    Start(Given),
    /// Gives several, in one call.
    Many(Vec<Given>),
    /// Cancels a task.
    Cancel(String),
    /// Cancels for one input of a task.
    CancelInput(Given),
    /// Terminates a task.
    Terminate(String),
    /// Terminates a task as it was before.
    Stale(String),
    /// Removes a task; whether by force.
    Delete(String, bool),
    /// Takes an input back.
    Withdraw(Given),
    /// Goes on with an ended or parked task; whether from its start.
    Retry(Given, bool),
    /// Goes on with a task that waits for an input.
    Resume(Given),
    /// Answers the open question at this place of the list, if there is one.
    Answer(u64),
    /// Says what became of the step at this place of those whose outcome is unknown.
    Resolve(u64),
    /// Reads a stream from where it was read last.
    Read(String),
    /// Looks at a task.
    Look(String),
}

impl Op {
    /// The inputs it gives.
    pub fn given(&self) -> &[Given] {
        match self {
            Op::Start(given) => std::slice::from_ref(given),
            Op::Many(given) => given,
            Op::Cancel(_)
            | Op::CancelInput(_)
            | Op::Terminate(_)
            | Op::Stale(_)
            | Op::Delete(..)
            | Op::Withdraw(_)
            | Op::Retry(..)
            | Op::Resume(_)
            | Op::Answer(_)
            | Op::Resolve(_)
            | Op::Read(_)
            | Op::Look(_) => &[],
        }
    }
}

/// What happens in one step of a world.
#[derive(Debug, Clone)]
pub enum Happening {
    /// Somebody asks for something; whether everybody waits for the answer.
    Call(Op, bool),
    /// Time passes, in milliseconds.
    Pass(u64),
    /// The tasks of the runtime go on a little.
    Breathe(u64),
    /// The wall clock jumps, in seconds.
    Jump(i64),
    /// The process dies.
    Die,
    /// The engine is stopped in order, with a grace of so many milliseconds.
    Stop(u64),
}

/// Decides what happens.
#[derive(Debug)]
pub struct Planner {
    dice: Dice,
    author: Author,
    given: Vec<Given>,
}

impl Planner {
    /// The planner of a seed.
    pub fn new(seed: u64, settings: &Settings) -> Planner {
        Planner {
            dice: Dice::of(seed, 1),
            author: Author::new(settings.poisonous),
            given: Vec::new(),
        }
    }

    /// What happens next.
    pub fn happens(&mut self) -> Happening {
        match self.dice.below(100) {
            0..62 => {
                let op = self.op();
                Happening::Call(op, self.dice.percent(45))
            }
            62..84 => Happening::Pass(self.dice.weighted(&[
                (3, 1),
                (4, 50),
                (4, 700),
                (4, 2_500),
                (3, 12_000),
                (1, 130_000),
            ])),
            84..92 => Happening::Breathe(self.dice.from_to(1, 12)),
            92..95 => Happening::Jump(*self.dice.one(&[-600, -30, 2, 40, 600, 86_400])),
            95..98 => Happening::Die,
            _ => Happening::Stop(*self.dice.one(&[0, 0, 500, 5_000])),
        }
    }

    fn op(&mut self) -> Op {
        if self.given.len() < 2 {
            return Op::Start(self.fresh());
        }
        match self.dice.below(100) {
            0..36 => Op::Start(self.fresh()),
            36..44 => Op::Start(self.known()),
            44..48 => Op::Many((0..3).map(|_| self.fresh()).collect()),
            48..55 => Op::Cancel(self.id()),
            55..59 => Op::CancelInput(self.known()),
            59..62 => Op::Terminate(self.id()),
            62..66 => Op::Delete(self.id(), self.dice.percent(50)),
            66..70 => Op::Withdraw(self.known()),
            70..77 => Op::Retry(self.known(), self.dice.percent(40)),
            77..79 => Op::Resume(self.known()),
            79..86 => Op::Answer(self.dice.below(4)),
            86..89 => Op::Resolve(self.dice.below(2)),
            89..94 => Op::Read(self.id()),
            94..96 => Op::Stale(self.id()),
            _ => Op::Look(self.id()),
        }
    }

    fn id(&mut self) -> String {
        self.known().id
    }

    /// An input that was given before.
    fn known(&mut self) -> Given {
        self.dice.one(&self.given).clone()
    }

    /// An input that nobody gave before, for a task that may be there.
    fn fresh(&mut self) -> Given {
        let task = self.dice.below(TASKS);
        let kind = match task {
            0 => Kind::Solo,
            1 | 2 | 5 => Kind::Chat,
            3 => Kind::Chain,
            _ => Kind::Fleeting,
        };
        let given = Given {
            id: format!("t{task}"),
            input: format!("i{}", self.given.len()),
            kind,
            act: self.author.act(&mut self.dice, kind),
            conflict: self.dice.weighted(&[
                (5, OnConflict::Refuse),
                (4, OnConflict::Restart),
                (1, OnConflict::Attach),
            ]),
            delivery: self.dice.weighted(&[
                (3, Delivery::Interrupt),
                (3, Delivery::AtBoundary),
                (2, Delivery::AfterTurn),
            ]),
            delay: self.dice.percent(8).then(|| self.dice.from_to(1, 15)),
        };
        self.given.push(given.clone());
        given
    }
}
