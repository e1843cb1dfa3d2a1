//! The rows: what one task is on disk, each field with who sets it and when it is empty.
//!
//! These structs are the format. A field added, removed or moved needs a new version in `codec`.

use crate::id::{InputId, TaskId};
use serde::{Deserialize, Serialize};

/// A moment on the wall clock: microseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Micros(pub u64);

impl Micros {
    /// Sorts after every real moment: nothing but an event moves the task.
    pub const NEVER: Micros = Micros(u64::MAX);
    /// Sorts after every real moment, before [`Micros::NEVER`]: looked at once at each open.
    pub const AT_OPEN: Micros = Micros(u64::MAX - 1);

    /// This moment plus a number of microseconds, never past the last real moment.
    #[must_use]
    pub fn plus(self, micros: u64) -> Micros {
        Micros(self.0.saturating_add(micros).min(u64::MAX - 2))
    }
}

/// The internal key of a task: the etag of its start, so it ascends and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskNumber(pub u64);

/// The number a task name has in this file; given once, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DefNumber(pub u32);

/// Changes with each transition of a row; only grows, for the whole file.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Etag(pub u64);

/// Names one claim of a turn; only grows, for the whole file. Zero: never claimed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Generation(pub u64);

/// Rank among due tasks of one definition: 0 first, 7 last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Priority(u8);

impl Priority {
    /// The default rank.
    pub const NORMAL: Priority = Priority(4);
    /// Number of ranks.
    pub const LEVELS: u8 = 8;

    /// A rank; values above 7 become 7.
    pub const fn new(rank: u8) -> Priority {
        Priority(if rank < Self::LEVELS {
            rank
        } else {
            Self::LEVELS - 1
        })
    }

    /// The rank as a number, 0 to 7.
    pub const fn rank(self) -> u8 {
        self.0
    }
}

/// Bytes of the user, exactly as given (JSON), or where they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// At most [`Payload::INLINE_MAX`] bytes, in the row itself.
    Inline(Vec<u8>),
    /// A larger value, in the table of values under [`ValueKey`], `len` bytes long.
    Stored {
        /// Length in bytes.
        len: u64,
    },
}

impl Payload {
    /// Largest value kept in its row, in bytes: a transition rewrites the row, so rows stay small.
    pub const INLINE_MAX: usize = 1024;

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Payload::Inline(bytes) => bytes.len() as u64,
            Payload::Stored { len } => *len,
        }
    }

    /// True for a value of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a value in the table of values is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ValueKind {
    /// The input of a turn; `index` is the sequence number of the input in its task.
    Input,
    /// The output of a turn; `index` is the turn.
    Output,
}

impl ValueKind {
    /// The byte that stands for it in a key.
    pub const fn byte(self) -> u8 {
        match self {
            ValueKind::Input => 1,
            ValueKind::Output => 2,
        }
    }
}

/// The key of one large value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueKey {
    /// The task it hangs on.
    pub task: TaskNumber,
    /// What it is.
    pub kind: ValueKind,
    /// Which one of its kind.
    pub index: u64,
}

/// Who holds a running turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The engine's owner name, for people.
    pub owner: Box<str>,
    /// The process that claimed: a fresh id for every open.
    pub instance: u128,
    /// Names this claim; whatever the turn writes names it too.
    pub generation: Generation,
    /// When others may take over on a shared store; [`Micros::NEVER`] on an exclusive one.
    pub expires_at: Micros,
}

/// What a task that does not run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WaitReason {
    /// A free slot of the engine: it is due and will be claimed.
    Slot,
    /// The end of the back-off after a failed attempt.
    BackOff,
    /// A program that registers a handler for its name.
    WaitingHandler,
    /// A program that can read its stored input; looked at once at each open.
    Undecodable {
        /// What could not be read: `input`.
        what: Box<str>,
        /// The type the handler expected, and why the bytes are not one.
        expected: Box<str>,
    },
}

/// How a handler failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
    /// Its output could not be kept: too large or not encodable.
    Output,
}

/// A failure as people read it, kept with the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How it failed.
    pub kind: FailureKind,
    /// The error's own text or the panic's payload, at most [`Failure::MESSAGE_MAX`] bytes.
    pub message: Box<str>,
    /// The texts of its sources, outermost first, at most [`Failure::CHAIN_MAX`] of them.
    pub chain: Vec<Box<str>>,
    /// Attempts of the turn when it was recorded, counting this one.
    pub attempts: u32,
}

impl Failure {
    /// Longest kept message, in bytes.
    pub const MESSAGE_MAX: usize = 4096;
    /// Most kept sources.
    pub const CHAIN_MAX: usize = 8;
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// Its handler returned this output.
    Succeeded(Payload),
    /// Its handler failed for good.
    Failed(Failure),
}

/// Where a task stands; data sits in the variant that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Due at a time. Left by a claim.
    Pending {
        /// Not claimed before this moment.
        due_at: Micros,
        /// Why it waits.
        wait: WaitReason,
    },
    /// A turn runs under a generation. Left by the turn's end, or by recovery when its process died.
    InProgress {
        /// Who runs it.
        lease: Lease,
        /// When this attempt was claimed; a recovery does not move it.
        started_at: Micros,
    },
    /// Waits for something other than time. Left by the event it waits for.
    Suspended {
        /// Since when.
        since: Micros,
        /// What for.
        wait: WaitReason,
    },
    /// Ended; never left while the row is kept.
    Completed {
        /// When.
        at: Micros,
        /// How.
        outcome: Outcome,
        /// When retention may remove it; [`Micros::NEVER`] keeps it.
        expires_at: Micros,
    },
}

/// Why the handler is entered, next time or now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// First turn, first attempt.
    Fresh,
    /// A later turn.
    Resumed,
    /// A later attempt after an error.
    Retried,
    /// Again, because the process died.
    Recovered,
}

/// How delays between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackOff {
    /// The same delay each time.
    Fixed,
    /// One more first delay each time.
    Linear,
    /// Multiplied each time by this many thousandths (2000 doubles).
    Exponential {
        /// Thousandths; at least 1000.
        factor_milli: u32,
    },
}

/// When a failed attempt is tried again. Stored with the task, so that recovery keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRow {
    /// Attempts in all, counting the first; at least 1.
    pub attempts_max: u32,
    /// The first delay, in microseconds.
    pub initial_us: u64,
    /// No delay is longer, in microseconds.
    pub max_us: u64,
    /// How delays grow.
    pub back_off: BackOff,
    /// Whether delays are spread by a quarter to either side.
    pub jitter: bool,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Set by the writer at every transition.
    pub etag: Etag,
    /// The highest generation this task was claimed under; zero before the first claim. Never reset.
    pub generation: Generation,
    /// The caller's id; set at start.
    pub id: TaskId,
    /// The definition's number; set at start.
    pub def: DefNumber,
    /// Rank among due tasks; set at start.
    pub priority: Priority,
    /// Counts the runs of this id, from 1.
    pub run: u32,
    /// Counts the turns of this run, from 1; set when an input becomes the turn's.
    pub turn: u32,
    /// Counts the attempts of this turn, from 1; counted at claim. Zero before the first claim.
    pub attempt: u32,
    /// Process deaths in this turn; counted when recovery claims it.
    pub crashes: u32,
    /// Why the handler is, or will next be, entered.
    pub entry: EntryKind,
    /// The id of the current turn's input.
    pub input_id: InputId,
    /// Position of the current turn's input among the task's inputs, from 0.
    pub input_seq: u64,
    /// How many inputs the task has accepted; the next one gets this number.
    pub inputs_accepted: u64,
    /// The first 16 bytes of the SHA-256 of the current input.
    pub input_digest: [u8; 16],
    /// The current turn's input.
    pub input: Payload,
    /// The retry policy, when the call or the definition set one at start.
    pub retry: RetryRow,
    /// How long the ended row is kept, in microseconds; `u64::MAX` for ever. Set at start.
    pub keep_us: u64,
    /// The last failed attempt of this turn; empty before one failed, cleared when the turn succeeds.
    pub last_failure: Option<Failure>,
    /// The engine's owner name at start.
    pub owner: Box<str>,
    /// When the task was started.
    pub created_at: Micros,
    /// When the row last changed.
    pub updated_at: Micros,
    /// Where it stands.
    pub state: State,
}

/// Where a row stands in the indexes: each row is in exactly one of these places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In `due`, at this time: pending and suspended tasks.
    Due(Micros),
    /// In `running`: claimed tasks.
    Running,
    /// In `expiry`, at this time.
    Ended(Micros),
    /// In no index: ended and kept for ever.
    Kept,
}

impl TaskRow {
    /// Where the row stands in the indexes, from its state alone.
    pub fn place(&self) -> Place {
        match &self.state {
            State::Pending { due_at, .. } => Place::Due(*due_at),
            State::InProgress { .. } => Place::Running,
            State::Suspended {
                wait: WaitReason::Undecodable { .. },
                ..
            } => Place::Due(Micros::AT_OPEN),
            State::Suspended { .. } => Place::Due(Micros::NEVER),
            State::Completed {
                expires_at: Micros::NEVER,
                ..
            } => Place::Kept,
            State::Completed { expires_at, .. } => Place::Ended(*expires_at),
        }
    }
}

/// One input that waits its turn, in `pending_steering_inputs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRow {
    /// Its idempotency key.
    pub input_id: InputId,
    /// The first 16 bytes of its SHA-256.
    pub digest: [u8; 16],
    /// Its bytes.
    pub payload: Payload,
    /// When it was accepted.
    pub accepted_at: Micros,
}

/// What became of one accepted input of a task with more than one; in `receipts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Receipt {
    /// Waits its turn; its row is in `pending_steering_inputs` under this number.
    Queued {
        /// Position among the task's inputs.
        seq: u64,
    },
    /// The turn of this number works or worked on it; the answer is in the task's row until the next turn begins.
    Turn {
        /// The turn.
        turn: u32,
    },
    /// The turn of this number ended with this output and another turn followed.
    Answered {
        /// The turn.
        turn: u32,
        /// What the turn returned.
        output: Payload,
    },
    /// The task ended first: no turn will consume it.
    TaskEnded,
}
