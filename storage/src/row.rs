//! The rows: what one task is on disk, each field with who sets it and when it is empty.
//!
//! These structs are the format. A field added, removed or moved needs a new version in `codec`.

mod ask;
mod bytes;
mod deadline;
mod event;
mod family;
mod index;
mod input;
mod life;
mod options;
mod outcome;
mod step;
mod stream;
mod time;
mod timeline;
mod value;

pub use ask::AskRow;
#[cfg(feature = "redb")]
pub(crate) use bytes::chance;
pub(crate) use bytes::{UserBytes, user};
pub(crate) use deadline::last as last_moment;
pub use deadline::{Deadline, Line, Times};
pub use event::{EventKind, EventRow};
pub use family::{Family, Fate, ParentRow};
pub use index::IndexRow;
pub use input::{Delivery, InputRow, Mark, Receipt, RunRow, Taken, TurnResult, TurnRow};
pub use life::{GuardPhase, LifeRow};
pub use options::{BackOff, Keep, OptionsRow, RetryRow};
pub use outcome::{Failure, FailureKind, Outcome};
pub(crate) use step::whole;
pub use step::{StepRow, StepState};
pub use stream::{SegmentRow, StreamEntry};
pub use time::Micros;
pub use timeline::Timeline;
pub use value::{Payload, ValueKey, ValueKind};

use crate::id::{InputId, TaskId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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

/// Who holds a running turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The engine's owner name, for people.
    pub owner: Arc<str>,
    /// The process that claimed: a fresh id for every open.
    #[serde(with = "bytes::chance")]
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
    /// The moment its caller named.
    Delayed,
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
    /// A further input: its handler suspended it.
    Input {
        /// The handler's reason.
        reason: Box<str>,
    },
    /// The poison guard: its process died again and again while this turn ran.
    Isolated {
        /// Deaths in a row.
        deaths: u32,
    },
    /// An operator: it killed its process twice while it ran alone.
    Quarantined {
        /// Deaths in a row.
        deaths: u32,
    },
    /// An operator: its handler used one key for two steps of a turn.
    DuplicateStep {
        /// The key.
        key: Box<str>,
    },
    /// An operator: a step that may run only once was begun, and nobody knows what became of it.
    UnknownOutcome {
        /// The key of the step.
        step: Box<str>,
    },
    /// The end of a sleep of its handler.
    Sleeping {
        /// The key of the sleep.
        step: Box<str>,
    },
    /// The answer to a question of its handler.
    Answer {
        /// The key of the question; of several the first by key.
        step: Box<str>,
        /// It goes on as well when so many ends of its children are counted; `u64::MAX`: it does not wait for any.
        ended: u64,
        /// When it goes on without one; [`Deadline::NEVER`]: it does not. What a clock will show then, `explain` tells.
        until: Deadline,
    },
    /// The ends of tasks that its handler started.
    Children {
        /// The key of the wait; of several the first by key.
        step: Box<str>,
        /// It goes on when so many ends of its children are counted.
        ended: u64,
        /// When it goes on without them; [`Deadline::NEVER`]: it does not. What a clock will show then, `explain` tells.
        until: Deadline,
    },
}

impl WaitReason {
    /// Of a suspension that the handler asked for itself within its turn: when it is over whatever does not come.
    pub fn parked_until(&self) -> Option<Deadline> {
        match self {
            WaitReason::Answer { until, .. } | WaitReason::Children { until, .. } => Some(*until),
            WaitReason::Slot
            | WaitReason::Delayed
            | WaitReason::BackOff
            | WaitReason::WaitingHandler
            | WaitReason::Undecodable { .. }
            | WaitReason::Input { .. }
            | WaitReason::Isolated { .. }
            | WaitReason::Quarantined { .. }
            | WaitReason::DuplicateStep { .. }
            | WaitReason::UnknownOutcome { .. }
            | WaitReason::Sleeping { .. } => None,
        }
    }
}

/// Where a task stands; data sits in the variant that needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Due at a time. Left by a claim.
    Pending {
        /// Not claimed before this moment.
        due_at: Deadline,
        /// Why it waits.
        wait: WaitReason,
    },
    /// A turn runs under a generation. Left by the turn's end, or by recovery when its process died.
    InProgress {
        /// Who runs it.
        lease: Lease,
        /// When this attempt was claimed; a recovery does not move it.
        started_at: Micros,
        /// Whether something has come since the claim that the handler may wait for: where it goes to wait, it is entered
        /// again at once.
        woken: bool,
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

/// Who may end what: the whole task, or one turn of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelScope {
    /// The task, with whatever waits for it.
    Task,
    /// The turn of one input; the task goes on.
    Turn,
}

/// A cancel on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRow {
    /// What was asked to end.
    pub scope: CancelScope,
    /// The reason given.
    pub reason: Box<str>,
    /// When.
    pub at: Micros,
}

/// How closely the poison guard watches the claim of a running turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probation {
    /// Not at all.
    No,
    /// It runs with a part of the other suspects.
    Group,
    /// It is the only suspect that runs.
    Alone,
}

/// What the poison guard remembers of a turn. Progress and a clean stop set all of it to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Process deaths in a row while the turn was in progress.
    pub deaths: u32,
    /// Of these, while it was the only suspect that ran.
    pub alone: u32,
    /// How closely the present claim is watched.
    pub probation: Probation,
}

impl Guard {
    /// Nothing is suspected.
    pub const CLEAR: Guard = Guard {
        deaths: 0,
        alone: 0,
        probation: Probation::No,
    };
}

/// What is said about a task once, at its creation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// For people; at most 256 bytes.
    pub title: Option<Box<str>>,
    /// For people; at most 1,024 bytes.
    pub description: Option<Box<str>>,
    /// The caller's and the definition's, by ascending key; the tag `outlive.task` is not among them.
    pub tags: Vec<(Box<str>, Box<str>)>,
    /// The session it belongs to.
    pub session: Option<Box<str>>,
    /// The owner name of the engine that created it.
    pub owner: Arc<str>,
    /// The version of the library that created it.
    pub server_version: Arc<str>,
    /// The W3C trace context of the call that created it.
    pub traceparent: Option<Box<str>>,
    /// Under which labels the task is listed beside its definition. Never changed: a commit that does is malformed.
    pub labels: Vec<Box<str>>,
}

/// The input of the turn before, kept for [`TaskRow::previous`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousInput {
    /// Its position among the task's inputs.
    pub seq: u64,
    /// Its bytes.
    pub payload: Payload,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRow {
    /// Set by the writer at every transition.
    pub etag: Etag,
    /// The highest generation this task was claimed or fenced under; zero before the first claim. Never reset.
    pub generation: Generation,
    /// The caller's id; set at start.
    pub id: TaskId,
    /// The definition's number; set at start.
    pub def: DefNumber,
    /// Rank among due tasks; set at the start of each run.
    pub priority: Priority,
    /// Counts the runs of this id, from 1.
    pub run: u32,
    /// Counts the turns of this run, from 1; set when an input becomes the turn's.
    pub turn: u32,
    /// Counts the turns of all runs, from 1.
    pub turns_total: u64,
    /// Counts the attempts of this turn, from 1; counted at claim. Zero before the first claim.
    pub attempt: u32,
    /// Process deaths in this turn; counted when recovery claims it.
    pub crashes: u32,
    /// What the poison guard remembers of this turn.
    pub guard: Guard,
    /// Why the handler is, or will next be, entered.
    pub entry: EntryKind,
    /// Whether the turn's input came from the queue.
    pub steered: bool,
    /// Whether a turn of this run has suspended the task: from then on its turns are cancelled one by one.
    pub chained: bool,
    /// The id of the current turn's input.
    pub input_id: InputId,
    /// Position of the current turn's input among the task's inputs, from 0.
    pub input_seq: u64,
    /// How many inputs the task has accepted; the next one gets this number.
    pub inputs_accepted: u64,
    /// How many inputs wait in `pending_steering_inputs`; those the open turn has taken do not.
    pub inputs_waiting: u64,
    /// How many of those in `pending_steering_inputs` the open turn has taken; zero when no turn is open.
    pub inputs_taken: u64,
    /// The id of the last accepted input; empty while it is the current turn's.
    pub last_input_id: Option<InputId>,
    /// The first 16 bytes of the SHA-256 of the current input.
    #[serde(with = "bytes::digest")]
    pub input_digest: [u8; 16],
    /// The current turn's input; after the turn that of the last turn.
    pub input: Payload,
    /// The number over all runs of the turn under which this one's steps are recorded: its own, unless it works on the
    /// input of an ended run once more and keeps what that one had done.
    pub steps_of: u64,
    /// The input of the turn before; empty in the first turn of a run that began with an input of its own.
    pub previous: Option<PreviousInput>,
    /// The options of this run; set at its start.
    pub options: Arc<OptionsRow>,
    /// A cancel on record; cleared when the turn it was for, or the run, has ended.
    pub cancel: Option<CancelRow>,
    /// When the turn's time-out falls; [`Deadline::NEVER`] without one, before the turn's first claim, and while it waits
    /// for a claim after it was held back.
    pub deadline: Deadline,
    /// What is left of the turn's time-out, in microseconds, while its handler waits outside of memory; empty otherwise,
    /// and without a time-out.
    pub time_left_us: Option<u64>,
    /// The turn has asked somebody: what is still open then is withdrawn with its end. Set with the first question.
    pub asked: bool,
    /// Whose child it is; set at its start. Empty for a task that nobody's turn started, and from the moment at which
    /// that turn is over and this task was told so. An ended task does not expire before.
    pub parent: Option<ParentRow>,
    /// Whether the open turn has started tasks of its own, or is about to; set before the first, cleared when the turn is
    /// over.
    pub has_children: bool,
    /// The last failed attempt of this turn; empty before one failed, cleared when the turn succeeds or fails for good.
    pub last_failure: Option<Failure>,
    /// What was said at creation.
    pub facts: Arc<Facts>,
    /// When the task was started.
    pub created_at: Micros,
    /// When the row last changed.
    pub updated_at: Micros,
    /// The latest transitions, oldest first, at most [`TaskRow::MARKS_MAX`].
    pub timeline: Timeline,
    /// Where it stands.
    pub state: State,
}

/// Where a row stands in the indexes: each row is in exactly one of these places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In `due`, at this time: pending and suspended tasks.
    Due(Deadline),
    /// In `running`: claimed tasks.
    Running,
    /// In `expiry`, at this time.
    Ended(Micros),
    /// In no index: ended and kept for ever.
    Kept,
}

impl TaskRow {
    /// The children of the open turn.
    pub fn family(&self, task: TaskNumber) -> Family {
        Family {
            task,
            turn: self.turns_total,
        }
    }

    /// Most entries of a row's timeline.
    pub const MARKS_MAX: usize = 16;
    /// Most ended runs kept beside a task.
    pub const RUNS_KEPT: u32 = 100;
    /// Most inputs one turn may take beside its own. With those that may wait, they are no more than a page.
    pub const TAKEN_MAX: u64 = 256;

    /// Where the results of the current turn are kept when it has ended: a later turn gets the same slot, so a chain
    /// of any length takes the same room and the same writes.
    pub fn slot(&self) -> u64 {
        self.slot_of(self.turns_total)
    }

    /// The slot of a turn by its number over all runs.
    pub fn slot_of(&self, total: u64) -> u64 {
        total % u64::from(self.options.keep_turns.max(1))
    }

    /// Where the row stands in the indexes, from its state alone.
    pub fn place(&self) -> Place {
        match &self.state {
            State::Pending {
                wait: WaitReason::Isolated { .. },
                ..
            } => Place::Due(Deadline::ISOLATED),
            State::Pending { due_at, .. } => Place::Due(*due_at),
            State::InProgress { .. } => Place::Running,
            State::Suspended {
                wait: WaitReason::Undecodable { .. },
                ..
            } => Place::Due(Deadline::AT_OPEN),
            State::Suspended { wait, .. } => {
                Place::Due(wait.parked_until().unwrap_or(Deadline::NEVER))
            }
            State::Completed {
                expires_at: Micros::NEVER,
                ..
            } => Place::Kept,
            State::Completed { expires_at, .. } => Place::Ended(*expires_at),
        }
    }
}
