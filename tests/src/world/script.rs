//! What the handlers of a world are told to do: a script in each input, so that whoever reads the input knows what its turn
//! will do.

use super::dice::Dice;
use outlive::{RetryPolicy, TaskDef};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Attempts that a turn has.
pub const ATTEMPTS: u32 = 3;
const RETRY: RetryPolicy = RetryPolicy::fixed()
    .attempts(ATTEMPTS)
    .initial(Duration::from_secs(1))
    .jitter(false);

/// One input at a time; its end is kept for two minutes.
pub const SOLO: TaskDef<Act, Told, Item> = TaskDef::new("solo")
    .retry(RETRY)
    .keep_for(Duration::from_secs(120));
/// Takes three inputs while it runs.
pub const CHAT: TaskDef<Act, Told, Item> = TaskDef::new("chat")
    .retry(RETRY)
    .steerable(3)
    .keep_forever();
/// A chain of turns that outlives its failures, with little patience.
pub const CHAIN: TaskDef<Act, Told, Item> = TaskDef::new("chain")
    .retry(RETRY)
    .steerable(2)
    .keep_forever()
    .keep_alive_on_failure()
    .timeout(Duration::from_secs(50))
    .grace(Duration::from_secs(2))
    .cancel_grace(Duration::from_secs(3));
/// Gone with its end.
pub const FLEETING: TaskDef<Act, Told, Item> = TaskDef::new("fleeting").retry(RETRY).ephemeral();
/// What handlers start.
pub const LEAF: TaskDef<Act, Told, Item> = TaskDef::new("leaf").retry(RETRY).keep_forever();

/// One of the definitions whose tasks callers start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`SOLO`].
    Solo,
    /// [`CHAT`].
    Chat,
    /// [`CHAIN`].
    Chain,
    /// [`FLEETING`].
    Fleeting,
}

impl Kind {
    /// Whether its tasks stay until somebody removes them.
    pub const fn is_kept(self) -> bool {
        match self {
            Kind::Chat | Kind::Chain => true,
            Kind::Solo | Kind::Fleeting => false,
        }
    }

    /// Its definition.
    pub const fn def(self) -> TaskDef<Act, Told, Item> {
        match self {
            Kind::Solo => SOLO,
            Kind::Chat => CHAT,
            Kind::Chain => CHAIN,
            Kind::Fleeting => FLEETING,
        }
    }
}

/// One thing a handler does. Keys are used once in a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Move {
    /// A recorded step, which emits an item.
    Step(u32),
    /// A recorded step that fails so often before it is done, in each attempt.
    Flaky(u32, u32),
    /// A step that may run once; whether its handler can find out what became of it.
    Once(u32, bool),
    /// Emits so many items, the last of them durably or not.
    Emit(u32, bool),
    /// Changes metadata; whether it waits until that is durable.
    Keep(bool),
    /// Waits so many milliseconds, in memory and without a record.
    Pause(u64),
    /// A recorded sleep of so many seconds.
    Sleep(u32, u64),
    /// Asks; with a default after so many seconds, or for as long as it takes.
    Ask(u32, Option<u64>),
    /// Starts a child; whether it is detached.
    Child(u32, Box<Act>, bool),
    /// Waits for the children started so far.
    Join(u32),
    /// Takes an input at a boundary, if there is one.
    Take(u32),
    /// Waits until it is told to give way, at most so many seconds.
    Yield(u64),
    /// Fails up to and including this attempt.
    FailUntil(u32),
    /// Kills the process until it has died so often in the turn.
    Die(u32),
}

/// How a turn ends, if nothing comes between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// An output.
    Reply,
    /// An output, and the task waits for more.
    Suspend,
    /// A failure for good.
    Fail,
    /// A panic, in every attempt.
    Panic,
    /// Agrees to a cancel.
    Agree,
}

/// What a turn does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// No two scripts of a world have the same.
    pub tag: u32,
    /// One thing after the other.
    pub moves: Vec<Move>,
    /// And its end.
    pub end: End,
}

/// What a turn replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The input it worked on.
    pub input: String,
    /// In which run.
    pub run: u32,
    /// In which turn of it.
    pub turn: u32,
    /// What its steps, answers and children came to.
    pub got: Vec<u64>,
    /// The inputs it took.
    pub taken: Vec<String>,
    /// Under which claim.
    pub generation: u64,
    /// How many items it emitted beside its steps.
    pub emitted: u32,
}

/// What a turn emits. No two entries of a handler emit the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Under which claim.
    pub generation: u64,
    /// The how manieth of it.
    pub count: u32,
}

/// Makes scripts, with ever new keys.
#[derive(Debug)]
pub struct Author {
    keys: u32,
    /// Whether some kill their process.
    pub poisonous: bool,
}

impl Author {
    /// An author who has written nothing yet.
    pub fn new(poisonous: bool) -> Author {
        Author { keys: 0, poisonous }
    }

    fn key(&mut self) -> u32 {
        self.keys += 1;
        self.keys
    }

    /// A script for a task of this kind.
    pub fn act(&mut self, dice: &mut Dice, kind: Kind) -> Act {
        let chains = matches!(kind, Kind::Chat | Kind::Chain);
        let mut moves: Vec<Move> = (0..dice.below(5)).map(|_| self.a_move(dice)).collect();
        if chains && dice.percent(35) {
            moves.push(Move::Pause(dice.from_to(1, 4_000)));
            moves.push(Move::Take(self.key()));
            moves.push(self.a_move(dice));
        }
        if moves.iter().any(|one| matches!(one, Move::Child(..))) && dice.percent(85) {
            moves.push(Move::Join(self.key()));
        }
        let end = if chains && dice.percent(60) {
            End::Suspend
        } else {
            end(dice)
        };
        Act {
            tag: self.key(),
            moves,
            end,
        }
    }

    /// A script for a child: short, and without children of its own.
    fn leaf(&mut self, dice: &mut Dice) -> Act {
        let moves = match dice.below(5) {
            0 => vec![Move::Step(self.key())],
            1 => vec![Move::Pause(dice.from_to(1, 3_000))],
            2 => vec![Move::Sleep(self.key(), dice.from_to(1, 20))],
            3 => vec![Move::FailUntil(1), Move::Emit(2, false)],
            _ => Vec::new(),
        };
        Act {
            tag: self.key(),
            moves,
            end: end(dice),
        }
    }

    fn a_move(&mut self, dice: &mut Dice) -> Move {
        let key = self.key();
        match dice.below(if self.poisonous { 31 } else { 30 }) {
            0..4 => Move::Step(key),
            4 => Move::Flaky(key, 1),
            5..7 => Move::Once(key, dice.percent(60)),
            7..11 => Move::Emit(1 + dice.below(3) as u32, dice.percent(40)),
            11..13 => Move::Keep(dice.percent(60)),
            13..16 => Move::Pause(dice.from_to(1, 4_000)),
            16..18 => Move::Sleep(key, *dice.one(&[1, 3, 12, 30])),
            18..21 => Move::Ask(key, dice.percent(50).then(|| dice.from_to(2, 25))),
            21..24 => Move::Child(key, Box::new(self.leaf(dice)), dice.percent(25)),
            24..26 => Move::Take(key),
            26..28 => Move::Yield(dice.from_to(2, 20)),
            28..30 => Move::FailUntil(1 + dice.below(2) as u32),
            _ => Move::Die(1 + dice.below(3) as u32),
        }
    }
}

fn end(dice: &mut Dice) -> End {
    dice.weighted(&[
        (14, End::Reply),
        (2, End::Fail),
        (1, End::Panic),
        (1, End::Agree),
    ])
}
