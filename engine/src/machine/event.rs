//! Everything that can happen to a task.
//!
//! It has so many lines because every event stands in each match over them.

use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    AskRow, Deadline, DefNumber, Delivery, Etag, Facts, Failure, Family, Generation, Micros,
    OptionsRow, ParentRow, Payload, Priority, StepRow, TaskNumber, TaskRow, ValueKey, ValueKind,
    WaitReason,
};
use std::sync::Arc;

/// The process that wants to run a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// The engine's owner name.
    pub owner: Arc<str>,
    /// The id of this open of the engine.
    pub instance: u128,
}

/// What a start does where the task's state refuses its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Refuse,
    /// An ended task begins a further run with it; otherwise it is refused.
    Restart,
    /// It answers for the input the task works or worked on; its own is dropped.
    Attach,
}

/// The turn that starts a task, or takes one over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewParent {
    /// What the child remembers of it.
    pub row: ParentRow,
    /// The claim the turn holds.
    pub generation: Generation,
}

/// That the turn is over which started a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentOver {
    /// That turn.
    pub family: Family,
    /// Why the task is cancelled; empty when it goes on.
    pub reason: Option<Box<str>>,
    /// The process that tells.
    pub instance: u128,
}

/// An input as a caller gave it, with the options of a start.
#[derive(Debug, Clone)]
pub struct NewInput {
    /// The task it is for.
    pub id: TaskId,
    /// The definition the caller named.
    pub def: DefNumber,
    /// The input's id.
    pub input_id: InputId,
    /// True when the caller chose `input_id`; a generated one never attaches by id.
    pub input_id_given: bool,
    /// The first 16 bytes of the SHA-256 of the input.
    pub digest: [u8; 16],
    /// The input.
    pub payload: Payload,
    /// How it comes to a task that has an open turn.
    pub delivery: Delivery,
    /// Rank among due tasks, for a new run.
    pub priority: Priority,
    /// The options of a new run.
    pub options: Arc<OptionsRow>,
    /// What a new task is created with; empty when that could not be made, so that only an existing task takes
    /// the input.
    pub facts: Option<Arc<Facts>>,
    /// Not before this moment, for a new run.
    pub start_at: Option<Deadline>,
    /// What to do where the state refuses the input.
    pub on_conflict: OnConflict,
    /// Accepted only if this is the last accepted input.
    pub after: Option<InputId>,
    /// Accepted only if the task's etag is this.
    pub if_etag: Option<Etag>,
    /// Set when a slot is free: the turn is claimed at once, in the same commit.
    pub claimant: Option<Claimant>,
    /// Set when a turn of another task starts it: then the input begins a task, or is that of the child it began before,
    /// and nothing else.
    pub parent: Option<Box<NewParent>>,
}

/// How a turn ended, as the shell saw it.
#[derive(Debug, Clone)]
pub enum TurnEnd {
    /// The handler returned this output.
    Succeeded(Payload),
    /// The handler returned this output and wants to wait for a further input.
    Suspended {
        /// The output.
        output: Payload,
        /// What it waits for, in its own words.
        reason: Box<str>,
    },
    /// The handler failed.
    Failed {
        /// How; its attempt count is filled in by the machine.
        failure: Failure,
        /// No further attempt makes sense.
        terminal: bool,
        /// The delay the error asked for, in microseconds, instead of the policy's.
        retry_after_us: Option<u64>,
    },
    /// The handler agreed to be cancelled.
    Cancelled,
    /// The handler waits for an operator: it used the key of a step twice, or nobody knows what became of a step.
    Held(WaitReason),
    /// The handler waits for something that takes long: it is entered again when one of these has come. Never empty.
    Parked(Vec<Wait>),
    /// What was stored cannot be read by this program: the input, an input that the turn took, or a recorded step.
    Undecodable {
        /// What could not be read.
        what: Box<str>,
        /// The type expected, and why the bytes are not one.
        expected: Box<str>,
        /// Whether the handler was entered: what it had done by then is there when it is entered again.
        entered: bool,
    },
}

/// What a handler waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitFor {
    /// A moment.
    Time {
        /// The moment.
        until: Deadline,
    },
    /// The answer to a question.
    Answer {
        /// When it goes on without one; [`Deadline::NEVER`]: it does not.
        until: Deadline,
        /// The question, to be put down; empty when it was before.
        ask: Option<Box<AskRow>>,
    },
    /// Ends of children of the turn.
    Children {
        /// When so many are counted.
        ended: u64,
    },
}

/// A wait of a handler, under its key.
#[derive(Debug, Clone)]
pub struct Wait {
    /// The key, as that of a step.
    pub key: Box<str>,
    /// For what.
    pub wait_for: WaitFor,
    /// What is to be put down under the key, whose moment is filled in by the machine; empty when it was before.
    pub step: Option<Box<StepRow>>,
}

impl Wait {
    /// Whether something is to be put down for it.
    pub fn is_new(&self) -> bool {
        let asks = match &self.wait_for {
            WaitFor::Answer { ask, .. } => ask.is_some(),
            WaitFor::Time { .. } | WaitFor::Children { .. } => false,
        };
        asks || self.step.is_some()
    }

    /// The wait as it is to be put down, if it is; from then on it was.
    pub fn take_new(&mut self) -> Option<Wait> {
        let new = self.is_new().then(|| self.clone());
        self.step = None;
        if let WaitFor::Answer { ask, .. } = &mut self.wait_for {
            *ask = None;
        }
        new
    }

    /// Bytes of a question that is to be put down.
    fn size(&self) -> usize {
        match &self.wait_for {
            WaitFor::Answer { ask, .. } => ask.as_ref().map_or(0, |ask| ask.size()),
            WaitFor::Time { .. } | WaitFor::Children { .. } => 0,
        }
    }
}

/// What a handle names of its task: an input, and the run it was worked in. A further run may work the same input
/// again, and is another matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Named {
    /// The input.
    pub input_id: InputId,
    /// The run, from 1.
    pub run: u32,
}

impl Named {
    /// Whether it is what the row's turn works or worked on.
    pub fn is_of(&self, row: &TaskRow) -> bool {
        let same_run = self.run == row.run || cfg!(planted = "handle_names_no_run");
        self.input_id == row.input_id && same_run
    }
}

/// What a cancel or a termination is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// The task.
    Task,
    /// One input of it: its handle asks.
    Input(Named),
    /// One input of it, as long as it waits: somebody takes it back.
    Queued(InputId),
}

/// That something shall end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub aim: Aim,
    /// Why.
    pub reason: Box<str>,
    /// Accepted only if the task's etag is this.
    pub if_etag: Option<Etag>,
    /// The process that asks: on an exclusive store a turn claimed by any other one is a dead process's.
    pub instance: u128,
}

/// How the process that held a turn went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It died.
    Died,
    /// It stopped in order: nobody's fault.
    Stopped,
}

/// What the poison guard says about a process that died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Count the death against the turns that ran.
    Count,
    /// It died while no suspect ran, or while others than this turn were on probation: not its fault, and its counts
    /// return to nothing.
    Innocent,
    /// The guard is off: deaths are counted for people and decide nothing.
    Off,
}

/// Why a turn is stopped without its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overdue {
    /// Its time-out and its grace ran out.
    TimedOut,
    /// It was cancelled and did not end within the grace of a cancel.
    CancelIgnored,
}

/// What became of a step that was begun and whose result was not recorded.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// It happened, and this is its result.
    Done(Box<StepRow>),
    /// It did not happen: it runs again.
    NotDone,
    /// Whatever happened, the task has failed.
    Failed(Failure),
}

/// A question of a turn.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The claim the worker holds.
    pub generation: Generation,
    /// The question's key, as that of a step.
    pub key: Box<str>,
    /// The question; when and by which turn it is asked is filled in by the machine.
    pub ask: Box<AskRow>,
}

/// An answer as somebody gives it.
#[derive(Debug, Clone)]
pub struct Given {
    /// The question's key.
    pub key: Box<str>,
    /// The answer, as it is recorded; its state and its moment are filled in by the machine.
    pub answer: Box<StepRow>,
    /// The digest of the question it is meant for.
    pub digest: Option<Box<str>>,
    /// The run and the turn that asked the question it is meant for.
    pub turn: Option<(u32, u32)>,
    /// Accepted only if the task's etag is this.
    pub if_etag: Option<Etag>,
}

/// What can happen to a task.
///
/// The largest is the most frequent: in a box it would be memory that one thread takes and another one gives back each time.
#[derive(Debug, Clone)]
pub enum Event {
    /// A caller's input: starts the task, is queued, resumes, attaches, or is refused.
    Input(NewInput),
    /// Somebody re-enters a task that waits for an input, without one.
    Resume {
        /// The id of the turn's input, whose bytes are those of the last one.
        input_id: InputId,
        /// Accepted only if the task's etag is this.
        if_etag: Option<Etag>,
        /// Set when a slot is free.
        claimant: Option<Claimant>,
    },
    /// Somebody opens a further run with the same input, or releases a parked task.
    Retry {
        /// Accepted only if the task's etag is this.
        if_etag: Option<Etag>,
        /// Without the steps recorded so far.
        from_start: bool,
        /// Set when a slot is free.
        claimant: Option<Claimant>,
    },
    /// Somebody asks for the end of the task, or of one input's turn.
    Cancel(Order),
    /// Somebody stops the task without its handler.
    Terminate(Order),
    /// Somebody removes the task.
    Delete {
        /// Also while a turn runs.
        force: bool,
        /// Accepted only if the task's etag is this.
        if_etag: Option<Etag>,
    },
    /// A free slot for a due task.
    Claim(Claimant),
    /// The start-up scan found a turn whose process is gone.
    Recover {
        /// Who would run it.
        claimant: Claimant,
        /// How the process went.
        parting: Parting,
        /// What the poison guard says about it.
        verdict: Verdict,
    },
    /// As [`Event::Recover`], but nobody here can run it now: this program has no handler of that name, or as many of
    /// its definition run as it allows itself.
    Orphan {
        /// Who looked.
        claimant: Claimant,
        /// How the process went.
        parting: Parting,
        /// What the poison guard says about it.
        verdict: Verdict,
    },
    /// The time-out of a turn that waits for its slot has come.
    Lapse,
    /// The engine was opened anew: what could not be read may be readable now.
    Reconsider,
    /// The poison guard enters a suspect.
    Probe {
        /// Who runs it.
        claimant: Claimant,
        /// Whether no other suspect runs.
        alone: bool,
    },
    /// The poison guard drops its suspicion.
    Acquit,
    /// A turn's end, as its worker reports it.
    End {
        /// The claim the worker holds.
        generation: Generation,
        /// How the turn ended.
        end: TurnEnd,
        /// Who would run the next turn, if an input waits.
        claimant: Claimant,
        /// The keys of takes whose answers did not reach the handler: what was taken under them is not the turn's.
        missed: Vec<Box<str>>,
    },
    /// A running turn asks for the oldest input that waits.
    Take {
        /// The claim the worker holds.
        generation: Generation,
        /// What the take is recorded under: the same one finds the same input in a later attempt.
        key: Box<str>,
    },
    /// A turn did not end in the time it had.
    Stop {
        /// The claim of the turn.
        generation: Generation,
        /// Which time ran out.
        why: Overdue,
    },
    /// What a running turn keeps beside its row: the value that comes with the event.
    Keep {
        /// The claim the worker holds.
        generation: Generation,
    },
    /// A running turn records a step.
    Step {
        /// The claim the worker holds.
        generation: Generation,
        /// The step's key within the turn.
        key: Box<str>,
        /// The step, whose moment is filled in by the machine; `None`: what was begun is known not to have happened.
        step: Option<Box<StepRow>>,
    },
    /// A running turn is about to start tasks.
    BecomeParent {
        /// The claim the worker holds.
        generation: Generation,
    },
    /// A turn of another task waits for this one, which it had started in an earlier run.
    TakeOver(NewParent),
    /// Children of the task have ended with commits of this batch.
    ChildEnded,
    /// The turn that started the task is over.
    LetGo(ParentOver),
    /// Somebody says what became of a step that was begun and not recorded.
    Resolve {
        /// The step's key.
        key: Box<str>,
        /// What became of it.
        resolution: Resolution,
        /// Accepted only if the task's etag is this.
        if_etag: Option<Etag>,
    },
    /// A running turn puts a question down.
    Ask(Asking),
    /// A running turn has come to a question of its own whose time is over.
    ExpireAsk {
        /// The claim the worker holds.
        generation: Generation,
        /// The question's key.
        key: Box<str>,
    },
    /// Somebody answers a question.
    Answer(Given),
    /// Retention: the ended task's time has come.
    Expire,
    /// Retention: the time of an old receipt has come.
    ForgetInput {
        /// The input.
        input_id: InputId,
        /// The moment it is listed under.
        listed_at: Micros,
    },
}

impl Event {
    /// The input whose receipt decides about the event: the one its [`View`](super::View) must show.
    pub fn named_input(&self) -> Option<&InputId> {
        match self {
            // A generated id was never given before.
            Event::Input(input) => input.input_id_given.then_some(&input.input_id),
            Event::Resume { input_id, .. } | Event::ForgetInput { input_id, .. } => Some(input_id),
            Event::Cancel(order) | Event::Terminate(order) => match &order.aim {
                Aim::Input(Named { input_id, .. }) | Aim::Queued(input_id) => Some(input_id),
                Aim::Task => None,
            },
            Event::Retry { .. }
            | Event::Delete { .. }
            | Event::Claim(_)
            | Event::Recover { .. }
            | Event::Orphan { .. }
            | Event::Lapse
            | Event::Reconsider
            | Event::Probe { .. }
            | Event::Acquit
            | Event::End { .. }
            | Event::Stop { .. }
            | Event::Keep { .. }
            | Event::Take { .. }
            | Event::Step { .. }
            | Event::Ask(_)
            | Event::ExpireAsk { .. }
            | Event::Answer(_)
            | Event::BecomeParent { .. }
            | Event::TakeOver(_)
            | Event::ChildEnded
            | Event::LetGo(_)
            | Event::Resolve { .. }
            | Event::Expire => None,
        }
    }

    /// The question that decides about the event: the one its [`View`](super::View) must show.
    pub fn named_question(&self) -> Option<&str> {
        match self {
            Event::Answer(Given { key, .. }) | Event::ExpireAsk { key, .. } => Some(key),
            // It is asked whether it was before or not.
            Event::Ask(_)
            | Event::Input(_)
            | Event::Resume { .. }
            | Event::Retry { .. }
            | Event::Resolve { .. }
            | Event::Cancel(_)
            | Event::Terminate(_)
            | Event::Delete { .. }
            | Event::Acquit
            | Event::Claim(_)
            | Event::Recover { .. }
            | Event::Orphan { .. }
            | Event::Lapse
            | Event::Reconsider
            | Event::Probe { .. }
            | Event::End { .. }
            | Event::Stop { .. }
            | Event::Keep { .. }
            | Event::Take { .. }
            | Event::Step { .. }
            | Event::BecomeParent { .. }
            | Event::TakeOver(_)
            | Event::ChildEnded
            | Event::LetGo(_)
            | Event::Expire
            | Event::ForgetInput { .. } => None,
        }
    }

    /// The parent whose row decides about the event: the one its [`View`](super::View) must show.
    pub fn named_parent(&self) -> Option<TaskNumber> {
        if let Event::Input(input) = self {
            return Some(input.parent.as_ref()?.row.family.task);
        }
        if let Event::TakeOver(parent) = self {
            return Some(parent.row.family.task);
        }
        None
    }

    /// Whether the ends of the task's children decide about the event.
    pub fn counts_children(&self) -> bool {
        if let Event::End {
            end: TurnEnd::Parked(waits),
            ..
        } = self
        {
            let mut waits = waits.iter();
            return waits.any(|wait| matches!(wait.wait_for, WaitFor::Children { .. }));
        }
        matches!(self, Event::ChildEnded)
    }

    /// Bytes of a step's result, an answer or a question that comes with the event.
    pub fn step_bytes(&self) -> usize {
        match self {
            Event::Step {
                step: Some(step), ..
            }
            | Event::Resolve {
                resolution: Resolution::Done(step),
                ..
            }
            | Event::Answer(Given { answer: step, .. }) => step.value.len(),
            Event::Ask(asking) => asking.ask.size(),
            Event::End {
                end: TurnEnd::Parked(waits),
                ..
            } => waits.iter().map(Wait::size).sum(),
            Event::Step { step: None, .. }
            | Event::Resolve {
                resolution: Resolution::NotDone | Resolution::Failed(_),
                ..
            }
            | Event::Input(_)
            | Event::Resume { .. }
            | Event::Retry { .. }
            | Event::Cancel(_)
            | Event::Terminate(_)
            | Event::Delete { .. }
            | Event::Acquit
            | Event::Claim(_)
            | Event::Recover { .. }
            | Event::Orphan { .. }
            | Event::Lapse
            | Event::Reconsider
            | Event::Probe { .. }
            | Event::End { .. }
            | Event::Stop { .. }
            | Event::Keep { .. }
            | Event::Take { .. }
            | Event::ExpireAsk { .. }
            | Event::BecomeParent { .. }
            | Event::TakeOver(_)
            | Event::ChildEnded
            | Event::LetGo(_)
            | Event::Expire
            | Event::ForgetInput { .. } => 0,
        }
    }

    /// Where the large value goes that comes with the event, if it may bring one; `row` is the task's before it.
    pub fn value_key(&self, task: TaskNumber, row: Option<&TaskRow>) -> Option<ValueKey> {
        match self {
            Event::Input(_) => Some(ValueKey {
                task,
                kind: ValueKind::Input,
                index: row.map_or(0, |row| row.inputs_accepted),
            }),
            Event::End {
                end: TurnEnd::Succeeded(_) | TurnEnd::Suspended { .. },
                ..
            } => row.map(|row| ValueKey {
                task,
                kind: ValueKind::Output,
                index: row.slot(),
            }),
            Event::End {
                end:
                    TurnEnd::Failed { .. }
                    | TurnEnd::Cancelled
                    | TurnEnd::Held(_)
                    | TurnEnd::Parked(_)
                    | TurnEnd::Undecodable { .. },
                ..
            }
            | Event::Resume { .. }
            | Event::Retry { .. }
            | Event::Cancel(_)
            | Event::Terminate(_)
            | Event::Delete { .. }
            | Event::Claim(_)
            | Event::Recover { .. }
            | Event::Orphan { .. }
            | Event::Lapse
            | Event::Reconsider
            | Event::Probe { .. }
            | Event::Acquit
            | Event::Stop { .. }
            | Event::Keep { .. }
            | Event::Take { .. }
            | Event::Step { .. }
            | Event::Ask(_)
            | Event::ExpireAsk { .. }
            | Event::Answer(_)
            | Event::BecomeParent { .. }
            | Event::TakeOver(_)
            | Event::ChildEnded
            | Event::LetGo(_)
            | Event::Resolve { .. }
            | Event::Expire
            | Event::ForgetInput { .. } => None,
        }
    }
}
