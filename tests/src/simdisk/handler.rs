//! The handlers of the simulation: they do what their input says, and note what they are told.

use super::disk::Journal;
use super::facts::{Fact, What};
use outlive::{
    Ask, Builder, Ctx, HandlerError, InputId, Reconciled, Reply, RetryPolicy, StepOptions, TaskDef,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

const RETRY: RetryPolicy = RetryPolicy::fixed()
    .attempts(4)
    .initial(Duration::from_secs(1));

/// Tasks with one input.
pub const PLAIN: TaskDef<Job, Line, String> = TaskDef::new("plain").retry(RETRY);
/// Tasks that take further inputs, and end only when somebody ends them.
pub const CHAT: TaskDef<Job, Line, String> = TaskDef::new("chat").retry(RETRY).steerable(9);
/// Tasks that are kept for a moment.
pub const BRIEF: TaskDef<Job, Line, String> = TaskDef::new("brief")
    .retry(RETRY)
    .keep_for(Duration::from_secs(8));
/// Tasks that others start.
pub const CHILD: TaskDef<Job, Line, String> = TaskDef::new("child").retry(RETRY);

/// One thing a handler does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Act {
    /// A recorded step, with a result of so many bytes beside its number.
    Step(usize),
    /// A step that emits.
    EmittingStep,
    /// A step that may run once, and whose outcome can be asked for.
    Once,
    /// So many items.
    Emit(u32),
    /// An item that is acknowledged.
    EmitDurable,
    /// A sleep of so many milliseconds.
    Sleep(u64),
    /// A question, with a deadline in milliseconds and a default.
    Ask(Option<u64>),
    /// A task of its own, to whose end it waits.
    Child,
    /// Takes an input that waits.
    Take,
    /// Counts in the metadata, durably.
    Note,
    /// Fails up to and including this attempt.
    FailUntil(u32),
}

/// How a handler ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// With an output.
    Say,
    /// With an output, and waits for a further input.
    Suspend,
    /// With a failure for good.
    Fail,
}

/// An input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Its input's id.
    pub label: String,
    /// What to do.
    pub acts: Vec<Act>,
    /// How to end.
    pub end: End,
    /// The size of the output, in bytes beside the rest.
    pub output: usize,
    /// Makes it as large as it is to be.
    pub pad: String,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The input it answers.
    pub label: String,
    /// What its steps gave.
    pub found: Vec<String>,
    /// Makes it as large as it is to be.
    pub pad: String,
}

/// A step: its task, the input of its turn, its key.
pub type StepOf = (String, String, String);

/// What is known of the lives before this one.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Steps whose results a handler has, or which are in the store: they do not run again.
    pub recorded: BTreeSet<StepOf>,
    /// Inputs whose answers somebody has, or which are in the store, by task: they are not worked on again.
    pub answered: BTreeSet<(String, String)>,
    /// The claims under which handlers were entered, by task the highest one.
    pub generations: BTreeMap<String, u64>,
    /// How many numbers steps were given.
    pub serial: u64,
}

impl Past {
    /// What is known of these tasks may be of the run before.
    pub fn forget(&mut self, anew: &BTreeSet<Box<str>>) {
        self.recorded
            .retain(|(task, ..)| !anew.contains(task.as_str()));
        self.answered
            .retain(|(task, _)| !anew.contains(task.as_str()));
    }
}

#[derive(Debug, Default)]
struct Present {
    past: Past,
    violations: Vec<String>,
}

/// What the handlers of one life share.
#[derive(Debug, Clone)]
pub struct World {
    journal: Journal,
    present: Arc<Mutex<Present>>,
}

impl World {
    /// Handlers that note what they are told in this journal.
    pub fn new(past: Past, journal: &Journal) -> World {
        let violations = Vec::new();
        World {
            journal: journal.clone(),
            present: Arc::new(Mutex::new(Present { past, violations })),
        }
    }

    /// What is known by now.
    pub fn past(&self) -> Past {
        self.present.lock().past.clone()
    }

    /// A task may begin a further run.
    pub fn anew(&self, task: &str) {
        let anew = BTreeSet::from([task.into()]);
        self.present.lock().past.forget(&anew);
    }

    /// What went wrong in handlers.
    pub fn violations(&self) -> Vec<String> {
        self.present.lock().violations.clone()
    }

    /// Registers all handlers.
    pub fn act_in(&self, builder: Builder) -> Builder {
        let handler = |world: &World| {
            let world = world.clone();
            move |ctx, job| {
                let turn = Turn {
                    world: world.clone(),
                    ctx,
                };
                async move { turn.perform(job).await }
            }
        };
        builder
            .task(PLAIN, handler(self))
            .task(CHAT, handler(self))
            .task(BRIEF, handler(self))
            .task(CHILD, handler(self))
    }

    fn violated(&self, what: String) {
        self.present.lock().violations.push(what);
    }
}

struct Turn {
    world: World,
    ctx: Ctx<String>,
}

impl Turn {
    fn told(&self, what: What) {
        let task = self.ctx.id().clone();
        self.world.journal.told(Fact { task, what });
    }

    fn input(&self) -> InputId {
        self.ctx.input_id().clone()
    }

    fn entered(&self, job: &Job) {
        let generation = self.ctx.generation();
        let task = self.ctx.id().to_string();
        let key = (task.clone(), job.label.clone());
        let mut present = self.world.present.lock();
        let before = present.past.generations.insert(task.clone(), generation);
        let is_answered = present.past.answered.contains(&key);
        drop(present);
        if before.is_some_and(|before| before >= generation) {
            self.world.violated(format!(
                "{task} was entered under generation {generation} after {before:?}"
            ));
        }
        if is_answered {
            self.world.violated(format!("{key:?} is worked on again"));
        }
        let input = self.input();
        self.told(What::Entered { input, generation });
    }

    /// The result of a step that runs now.
    fn run(&self, key: &str, bytes: usize) -> String {
        let step = self.step_of(key);
        let mut present = self.world.present.lock();
        present.past.serial += 1;
        let value = format!("{}{}", present.past.serial, "-".repeat(bytes));
        let runs_again = present.past.recorded.contains(&step);
        drop(present);
        if runs_again {
            self.world
                .violated(format!("the recorded step {step:?} runs again"));
        }
        value
    }

    fn step_of(&self, key: &str) -> StepOf {
        let task = self.ctx.id().to_string();
        (task, self.input().to_string(), key.to_owned())
    }

    /// The handler has the result of a step.
    fn found(&self, key: String, value: &str) -> String {
        let step = self.step_of(&key);
        self.world.present.lock().past.recorded.insert(step);
        let input = self.input();
        let json = serde_json::to_string(value).expect("a text has a JSON form");
        self.told(What::Step {
            input,
            key,
            value: json,
        });
        value.chars().take_while(char::is_ascii_digit).collect()
    }

    async fn perform(self, job: Job) -> Result<Reply<Line>, HandlerError> {
        self.entered(&job);
        let mut found = Vec::new();
        for (at, act) in job.acts.iter().enumerate() {
            found.extend(self.act(&job, act, format!("k{at}")).await?);
        }
        let line = Line {
            label: job.label,
            found,
            pad: "=".repeat(job.output),
        };
        match job.end {
            End::Say => Ok(Reply::output(line)),
            End::Suspend => Ok(Reply::suspend(line, "more")),
            End::Fail => Err(HandlerError::terminal("as it was told")),
        }
    }

    async fn act(&self, job: &Job, act: &Act, key: String) -> Result<Option<String>, HandlerError> {
        let ctx = &self.ctx;
        match act {
            Act::Step(bytes) => {
                let run = || async { Ok::<_, io::Error>(self.run(&key, *bytes)) };
                let value = ctx.step(&key, run).await?;
                return Ok(Some(self.found(key, &value)));
            }
            Act::EmittingStep => {
                let value = ctx.step_with(&key, StepOptions::new(), |step| {
                    let key = &key;
                    async move {
                        step.emit(format!("of {key}")).await?;
                        Ok::<_, outlive::EmitError>(self.run(key, 0))
                    }
                });
                let value = value.await?;
                return Ok(Some(self.found(key, &value)));
            }
            Act::Once => {
                let run = |_| async { Ok::<_, io::Error>(self.run(&key, 10)) };
                let reconcile = |_| async { Ok(Reconciled::Done("0".to_owned())) };
                let once = StepOptions::new().once();
                let value = ctx.step_reconciled(&key, once, run, reconcile).await?;
                return Ok(Some(self.found(key, &value)));
            }
            Act::Emit(count) => {
                for number in 0..*count {
                    ctx.emit(format!("{} {number}", job.label)).await?;
                }
            }
            Act::EmitDurable => {
                let item = format!("{} for good", job.label);
                let json = serde_json::to_string(&item)?;
                let sequence = ctx.emit_durable(item).await?;
                self.told(What::Item {
                    sequence,
                    item: json,
                });
            }
            Act::Sleep(ms) => ctx.sleep(&key, Duration::from_millis(*ms)).await?,
            Act::Ask(deadline) => {
                let mut ask = Ask::new(&job.label);
                if let Some(ms) = deadline {
                    let deadline = Duration::from_millis(*ms);
                    ask = ask.deadline(deadline).default_answer(&0);
                }
                ctx.ask::<u64>(&key, ask).await?;
            }
            Act::Child => self.child(job, &key).await?,
            Act::Take => {
                if let Some(taken) = ctx.inbox().take::<Job>(&key).await? {
                    self.told(What::Taken(taken.input_id));
                }
            }
            Act::Note => {
                let count = ctx.metadata().increment("notes", 1)?;
                ctx.flush_metadata().await?;
                self.told(What::Noted(count));
            }
            Act::FailUntil(attempt) if ctx.attempt() <= *attempt => return Err("once more".into()),
            Act::FailUntil(_) => {}
        }
        Ok(None)
    }

    async fn child(&self, job: &Job, key: &str) -> Result<(), HandlerError> {
        let label = format!("{}-of-{key}", job.label);
        let small = Job {
            label: label.clone(),
            acts: vec![Act::Step(10), Act::Emit(1)],
            end: End::Say,
            output: 0,
            pad: String::new(),
        };
        let child = self.ctx.start(key, CHILD, &small).await?;
        let line = self.ctx.outcome(format!("{key} ended"), &child).await?;
        if line.label != label {
            let (task, found) = (self.ctx.id(), line.label);
            self.world
                .violated(format!("{task}: {label} answers as {found}"));
        }
        Ok(())
    }
}
