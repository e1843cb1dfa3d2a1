//! What should be true of a task, kept by rules of its own: it never looks at a row.
//!
//! It has so many lines because every fact that a rule needs stands here once, with its meaning.

use super::ops::{failure, output};
use crate::machine::Status;
use outlive_storage::id::InputId;
use outlive_storage::row::{
    Deadline, Delivery, Generation, Micros, Outcome, Payload, TurnResult, WaitReason,
};

/// What the definition of the walked task says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Rules {
    pub(super) steerable_max: Option<u64>,
    pub(super) attempts_max: u32,
    /// `u64::MAX`: none.
    pub(super) timeout_us: u64,
    /// Empty for an ephemeral task.
    pub(super) keep_us: Option<u64>,
    pub(super) keep_turns: u32,
    pub(super) keep_alive: bool,
    /// Whether inputs come in every way, and turns take what they may.
    pub(super) deliveries: bool,
    /// Whether handlers sleep.
    pub(super) sleeps: bool,
}

/// Why something was ended from outside, or by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    First,
    Second,
    ByItsHandler,
    Deleted,
}

impl Reason {
    /// By its text.
    pub(super) fn of(text: &str) -> Reason {
        let all = [
            Reason::First,
            Reason::Second,
            Reason::ByItsHandler,
            Reason::Deleted,
        ];
        let known = all.into_iter().find(|reason| &*reason.text() == text);
        known.expect("a reason of the walk")
    }

    pub(super) fn text(self) -> Box<str> {
        match self {
            Reason::First => "first",
            Reason::Second => "second",
            Reason::ByItsHandler => "its handler cancelled it",
            Reason::Deleted => "the task was deleted",
        }
        .into()
    }
}

/// How a turn or a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    Output { suspended: bool, superseded: bool },
    Failed { attempts: u32 },
    Cancelled { reason: Reason, output: bool },
    Terminated,
    TimedOut { timeout_us: u64 },
}

impl End {
    /// As the caller of the turn is told; the turn's number over all runs makes its output.
    pub(super) fn result(self, total: u64) -> TurnResult {
        match self {
            End::Output {
                suspended,
                superseded,
            } => TurnResult::Replied {
                output: output(total),
                suspended: suspended.then(|| "more".into()),
                superseded,
            },
            End::Failed { .. } | End::Cancelled { .. } | End::Terminated | End::TimedOut { .. } => {
                TurnResult::Ended(self.outcome(total))
            }
        }
    }

    /// As the row of an ended task says it.
    pub(super) fn outcome(self, total: u64) -> Outcome {
        match self {
            End::Output { .. } => Outcome::Succeeded(output(total)),
            End::Failed { attempts } => Outcome::Failed(failure(attempts)),
            End::Cancelled {
                reason,
                output: replied,
            } => Outcome::Cancelled {
                reason: reason.text(),
                output: replied.then(|| output(total)),
            },
            End::Terminated => Outcome::Terminated {
                reason: Reason::First.text(),
                timed_out: false,
            },
            End::TimedOut { timeout_us } => Outcome::Terminated {
                reason: format!(
                    "a turn took longer than {:?}",
                    std::time::Duration::from_micros(timeout_us)
                )
                .into(),
                timed_out: true,
            },
        }
    }

    /// Whether it brought an output that lies beside the row.
    pub(super) fn is_large(self, total: u64) -> bool {
        let brought = match self {
            End::Output { .. } => true,
            End::Cancelled { output, .. } => output,
            End::Failed { .. } | End::Terminated | End::TimedOut { .. } => false,
        };
        brought && matches!(output(total), Payload::Stored { .. })
    }
}

/// What the receipt of an input should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Paper {
    Queued,
    Turn {
        run: u32,
        turn: u32,
        total: u64,
        /// The key it was taken under.
        step: Option<usize>,
    },
    Withdrawn(Reason),
    TaskEnded,
}

/// That a turn has taken an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    /// Which of [`KEYS`](super::ops::KEYS).
    pub(super) key: usize,
    /// The claim that took it last; 0: one that is gone.
    pub(super) claim: u64,
}

/// An accepted input; its position makes its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// Its digest is that of this input.
    pub(super) like: u8,
    /// Its bytes are those of the input at this position.
    pub(super) bytes: usize,
    /// Empty for the first input until its turn is over, and for one that was forgotten.
    pub(super) paper: Option<Paper>,
    /// Whether its receipt is one that retention looks at.
    pub(super) listed: bool,
    pub(super) delivery: Delivery,
    /// Of one that is in the queue.
    pub(super) taken: Option<Taken>,
}

impl Known {
    fn is_taken_by(&self, claim: u64) -> bool {
        self.taken.is_some_and(|taken| taken.claim == claim)
    }
}

/// What a task that is due waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    Slot,
    Delayed,
    BackOff,
    Handler,
    /// Its handler sleeps.
    Sleep,
}

/// Why a task waits for an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Why {
    More,
    Cancelled(Reason),
    Terminated,
    Failed,
}

/// Where the task should stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Absent,
    Pending {
        wait: Wait,
        due: Micros,
    },
    Isolated,
    Running {
        instance: u128,
        /// Whether an input came since the claim that interrupts.
        woken: bool,
    },
    Waiting(Why),
    Parked,
    /// Put aside by its handler: over a key used twice, or over a step whose outcome nobody knows.
    Aside {
        unknown: bool,
    },
    Quarantined,
    Ended {
        end: End,
        expires: Micros,
    },
}

/// Why the handler is entered, next or now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    First,
    Later,
    Failed,
    Died,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Task,
    Turn,
}

/// How the poison guard watches the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Watch {
    No,
    Group,
    Alone,
}

/// What the guard knows of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Suspect {
    pub(super) deaths: u32,
    pub(super) alone: u32,
    pub(super) watch: Watch,
}

impl Suspect {
    pub(super) const CLEAR: Suspect = Suspect {
        deaths: 0,
        alone: 0,
        watch: Watch::No,
    };
}

/// The latest turn, open or over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Turn {
    /// Position of its input.
    pub(super) input: usize,
    pub(super) run: u32,
    pub(super) number: u32,
    pub(super) total: u64,
    /// Under which turn's number its steps are recorded.
    pub(super) steps_of: u64,
    pub(super) cause: Cause,
    pub(super) steered: bool,
    /// Attempts that ended in an error.
    pub(super) failures: u32,
    /// Whether a further attempt was begun and not given back.
    pub(super) attempting: bool,
    pub(super) crashes: u32,
    pub(super) suspect: Suspect,
    /// Empty before the first claim, and without a time-out.
    pub(super) deadline: Option<Micros>,
    /// What is left of its time-out while its handler sleeps.
    pub(super) left_us: Option<u64>,
    /// How many attempts there were when the last one failed; 0: none did.
    pub(super) interim: u32,
    pub(super) cancel: Option<(Scope, Reason)>,
}

impl Turn {
    pub(super) const fn of(input: usize, run: u32, number: u32, total: u64) -> Turn {
        Turn {
            input,
            run,
            number,
            total,
            steps_of: total,
            cause: Cause::First,
            steered: false,
            failures: 0,
            attempting: false,
            crashes: 0,
            suspect: Suspect::CLEAR,
            deadline: None,
            left_us: None,
            interim: 0,
            cancel: None,
        }
    }

    pub(super) fn attempts(&self) -> u32 {
        self.failures + u32::from(self.attempting)
    }
}

/// A turn that is over and whose result is kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    pub(super) input: usize,
    pub(super) run: u32,
    pub(super) number: u32,
    pub(super) total: u64,
    pub(super) end: End,
}

/// A run that is over and was followed by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ran {
    pub(super) run: u32,
    pub(super) turns: u32,
    pub(super) total: u64,
    pub(super) interim: u32,
    pub(super) end: End,
}

/// One task as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) phase: Phase,
    /// In the order of their acceptance.
    pub(super) inputs: Vec<Known>,
    pub(super) turn: Turn,
    /// Whose bytes the turn before had.
    pub(super) previous: Option<usize>,
    /// Whether a turn of the run suspended the task.
    pub(super) chained: bool,
    /// Oldest first.
    pub(super) kept: Vec<Kept>,
    pub(super) runs: Vec<Ran>,
    /// The highest generation given in the file: every claim up to it may end at any time.
    pub(super) given: u64,
    /// The highest generation of the task.
    pub(super) generation: u64,
    /// Process deaths in the life of the task, and lives of its id.
    pub(super) deaths_in_all: u32,
    pub(super) lives: u32,
}

impl Model {
    pub(super) fn new(rules: Rules) -> Model {
        Model {
            rules,
            phase: Phase::Absent,
            inputs: Vec::new(),
            turn: Turn::of(0, 1, 1, 1),
            previous: None,
            chained: false,
            kept: Vec::new(),
            runs: Vec::new(),
            given: 0,
            generation: 0,
            deaths_in_all: 0,
            lives: 1,
        }
    }

    /// The turn is neither over nor absent.
    pub(super) fn is_open(&self) -> bool {
        match self.phase {
            Phase::Pending { .. }
            | Phase::Isolated
            | Phase::Running { .. }
            | Phase::Parked
            | Phase::Aside { .. }
            | Phase::Quarantined => true,
            Phase::Absent | Phase::Waiting(_) | Phase::Ended { .. } => false,
        }
    }

    pub(super) fn runs_now(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// The generation of the running claim.
    pub(super) fn held(&self) -> Option<Generation> {
        self.runs_now().then_some(Generation(self.generation))
    }

    /// Positions of the inputs in the queue that are like this, oldest first.
    fn queued(&self, like: impl Fn(&Known) -> bool) -> Vec<usize> {
        let is_queued = |known: &Known| known.paper == Some(Paper::Queued) && like(known);
        let positions = 0..self.inputs.len();
        positions
            .filter(|position| is_queued(&self.inputs[*position]))
            .collect()
    }

    /// Positions of the inputs in the queue, taken or not.
    pub(super) fn queue(&self) -> Vec<usize> {
        self.queued(|_| true)
    }

    /// Those that nobody has taken.
    pub(super) fn waiting(&self) -> Vec<usize> {
        self.queued(|known| known.taken.is_none())
    }

    /// Those that the latest claim has taken, which end with its turn; and those that do not.
    pub(super) fn taken(&self) -> Vec<usize> {
        self.queued(|known| known.is_taken_by(self.generation))
    }

    pub(super) fn left(&self) -> Vec<usize> {
        self.queued(|known| !known.is_taken_by(self.generation))
    }

    /// Whether a turn that begins now is told at once that somebody interrupts it.
    pub(super) fn is_interrupted(&self) -> bool {
        let interrupts = |known: &Known| known.delivery == Delivery::Interrupt;
        !self.queued(interrupts).is_empty()
    }

    pub(super) fn is_timed_out(&self, now: Micros) -> bool {
        self.turn.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// The position of an input the task still answers for.
    pub(super) fn position(&self, input_id: &InputId) -> Option<usize> {
        let position: usize = input_id.as_str().strip_prefix('i')?.parse().ok()?;
        let known = self.inputs.get(position)?;
        (position == self.turn.input || known.paper.is_some()).then_some(position)
    }

    /// How many inputs it does not answer for any more.
    pub(super) fn forgotten(&self) -> usize {
        let lost =
            |position: usize, known: &Known| position != self.turn.input && known.paper.is_none();
        let inputs = self.inputs.iter().enumerate();
        inputs
            .filter(|(position, known)| lost(*position, known))
            .count()
    }

    pub(super) fn current_id(&self) -> InputId {
        id(self.turn.input)
    }

    /// What time alone will change, and when.
    pub(super) fn next_moment(&self) -> Option<Micros> {
        match self.phase {
            Phase::Pending { due, .. } => Some(due),
            Phase::Running { .. } => self.turn.deadline,
            Phase::Ended { expires, .. } => Some(expires),
            Phase::Absent
            | Phase::Isolated
            | Phase::Waiting(_)
            | Phase::Parked
            | Phase::Aside { .. }
            | Phase::Quarantined => None,
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.phase {
            Phase::Absent | Phase::Pending { .. } | Phase::Isolated => Status::Pending,
            Phase::Running { .. } => Status::InProgress,
            Phase::Waiting(_) | Phase::Parked | Phase::Aside { .. } | Phase::Quarantined => {
                Status::Suspended
            }
            Phase::Ended { .. } => Status::Completed,
        }
    }

    /// When what waits is due.
    pub(super) fn due_at(wait: Wait, due: Micros) -> Deadline {
        match wait {
            Wait::Slot | Wait::Handler => Deadline::at_once(due),
            Wait::Delayed | Wait::BackOff | Wait::Sleep => Deadline::own(due),
        }
    }

    pub(super) fn wait(&self) -> Option<WaitReason> {
        let deaths = self.turn.suspect.deaths;
        match self.phase {
            Phase::Pending { wait, .. } => Some(match wait {
                Wait::Slot => WaitReason::Slot,
                Wait::Delayed => WaitReason::Delayed,
                Wait::BackOff => WaitReason::BackOff,
                Wait::Handler => WaitReason::WaitingHandler,
                Wait::Sleep => WaitReason::Sleeping { step: STEP.into() },
            }),
            Phase::Isolated => Some(WaitReason::Isolated { deaths }),
            Phase::Quarantined => Some(WaitReason::Quarantined { deaths }),
            Phase::Aside { unknown } => Some(aside(unknown)),
            Phase::Waiting(why) => Some(WaitReason::Input {
                reason: match why {
                    Why::More => "more".into(),
                    Why::Cancelled(reason) => reason.text(),
                    Why::Terminated => Reason::First.text(),
                    Why::Failed => "its last turn failed".into(),
                },
            }),
            Phase::Parked => Some(WaitReason::Undecodable {
                what: "input".into(),
                expected: "u32".into(),
            }),
            Phase::Absent | Phase::Running { .. } | Phase::Ended { .. } => None,
        }
    }
}

/// The key of every step of the walk.
pub(super) const STEP: &str = "s";

/// What a task that its handler put aside waits for.
pub(super) fn aside(unknown: bool) -> WaitReason {
    match unknown {
        true => WaitReason::UnknownOutcome { step: STEP.into() },
        false => WaitReason::DuplicateStep { key: STEP.into() },
    }
}

/// The id of the input at a position.
pub(super) fn id(position: usize) -> InputId {
    InputId::new(format!("i{position}")).expect("an id")
}
