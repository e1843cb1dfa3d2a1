//! What callers ask for, by a seed.

use super::handler::{Act, End, Job};
use crate::chance::Chance;
use outlive::Delivery;
use std::collections::BTreeMap;

/// The definition of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Def {
    /// One input.
    Plain,
    /// Many inputs.
    Chat,
    /// One input, and gone soon after its end.
    Brief,
}

/// One call of a caller.
#[derive(Debug, Clone)]
pub enum Call {
    /// Gives a task an input.
    Start {
        /// The task.
        task: String,
        /// Its definition.
        def: Def,
        /// The input, whose label is its id.
        job: Job,
        /// How it comes to a turn that runs.
        delivery: Delivery,
        /// The id was used before: a task that has ended begins a further run, one that is gone another task.
        again: bool,
    },
    /// Waits for the answer to an input.
    Hear {
        /// The task.
        task: String,
        /// The input.
        input: String,
    },
    /// Cancels a task.
    Cancel(String),
    /// Opens a further run with the input of the last one.
    Retry(String, Def),
    /// Removes a task.
    Delete(String),
    /// Takes an input back.
    Withdraw {
        /// The task.
        task: String,
        /// The input.
        input: String,
    },
    /// Answers every open question.
    AnswerAll,
    /// Looks at a task.
    Look(String),
}

/// What callers do at once.
#[derive(Debug, Clone)]
pub enum Group {
    /// These calls, beside each other.
    Calls(Vec<Call>),
    /// Nothing for so many milliseconds.
    Wait(u64),
    /// Stops the engine in order, makes the file small, and opens it again.
    Compact,
    /// Copies the file, and looks whether the copy says what the file says.
    Backup,
    /// Stops the engine in order, and opens it again.
    Reopen,
}

/// What callers know of one task.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its definition.
    pub def: Def,
    /// Its inputs, in the order in which they were given, and how their turns end.
    pub inputs: Vec<Job>,
    /// Somebody asked for its removal.
    pub deleted: bool,
    /// Somebody asked for its end.
    pub cancelled: bool,
    /// Its id was used again: there may have been another task.
    pub again: bool,
    /// Inputs that somebody asked to have back.
    pub withdrawn: Vec<String>,
}

impl Known {
    /// Whether a retry may find an end to go on from. What is kept for a moment is mostly gone by then.
    fn may_be_retried(&self) -> bool {
        let fails = self.inputs.last().is_some_and(|job| job.end == End::Fail);
        self.def != Def::Brief && !self.deleted && (self.cancelled || fails)
    }
}

/// The tasks that callers know, by their ids.
#[derive(Debug, Clone, Default)]
pub struct Plan(pub BTreeMap<String, Known>);

impl Plan {
    /// Adds what a call is about.
    pub fn add(&mut self, call: &Call) {
        match call {
            Call::Start {
                task,
                def,
                job,
                again,
                ..
            } => {
                let known = self.0.entry(task.clone()).or_insert_with(|| Known {
                    def: *def,
                    inputs: Vec::new(),
                    deleted: false,
                    cancelled: false,
                    again: false,
                    withdrawn: Vec::new(),
                });
                if *again {
                    (known.again, known.deleted) = (true, false);
                }
                // A call that was not answered is made again.
                if known.inputs.iter().all(|known| known.label != job.label) {
                    known.inputs.push(job.clone());
                }
            }
            Call::Cancel(task) => self.change(task, |known| known.cancelled = true),
            Call::Delete(task) => self.change(task, |known| known.deleted = true),
            Call::Withdraw { task, input } => {
                self.change(task, |known| known.withdrawn.push(input.clone()));
            }
            Call::Hear { .. } | Call::Retry(..) | Call::AnswerAll | Call::Look(_) => {}
        }
    }

    fn change(&mut self, task: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.0.get_mut(task) {
            change(known);
        }
    }

    fn alive(&self) -> Vec<&String> {
        let alive = self.0.iter().filter(|(_, known)| !known.deleted);
        alive.map(|(task, _)| task).collect()
    }
}

/// As many tasks as a file has at once: what is compared after each crash must stay little.
const TASKS_MAX: usize = 24;

/// Writes the script as it goes.
pub struct Script {
    chance: Chance,
    /// Labels given so far.
    labels: u64,
}

impl Script {
    /// What comes of this seed.
    pub fn new(seed: u64) -> Script {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        chance.below(9);
        Script { chance, labels: 0 }
    }

    /// The chance it draws from.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// What callers do next.
    pub fn next(&mut self, plan: &Plan) -> Group {
        let crowded = plan.alive().len() >= TASKS_MAX;
        match self.chance.below(29) {
            0..7 if !crowded => self.starts(),
            0..7 => Group::Calls(vec![
                self.one_of(plan).map_or(Call::AnswerAll, Call::Delete),
            ]),
            7..12 => self.steers(plan),
            12..15 => self.hears(plan),
            15..18 => Group::Wait([5, 500, 3_000, 70_000][self.chance.below(4) as usize]),
            18 => self.about_one(plan, Call::Cancel),
            19 => self.about_one(plan, Call::Delete),
            20 => self.withdraws(plan),
            21 => Group::Calls(vec![Call::AnswerAll]),
            22 => self.about_one(plan, Call::Look),
            23 | 24 => self.retries(plan, crowded),
            25 => self.starts_again(plan),
            26 => Group::Backup,
            27 => Group::Compact,
            _ => Group::Reopen,
        }
    }

    fn one_of(&mut self, plan: &Plan) -> Option<String> {
        let alive = plan.alive();
        let at = self.chance.below(alive.len() as u64) as usize;
        alive.get(at).map(|task| (*task).clone())
    }

    fn about_one(&mut self, plan: &Plan, call: impl FnOnce(String) -> Call) -> Group {
        Group::Calls(self.one_of(plan).map(call).into_iter().collect())
    }

    fn starts(&mut self) -> Group {
        let count = [1, 1, 1, 1, 5, 5, 20][self.chance.below(7) as usize];
        let calls = (0..count).map(|_| {
            let def = [Def::Plain, Def::Plain, Def::Chat, Def::Brief];
            let def = def[self.chance.below(4) as usize];
            let job = self.job(def, count > 1);
            Call::Start {
                task: format!("t-{}", job.label),
                def,
                job,
                delivery: Delivery::Interrupt,
                again: false,
            }
        });
        Group::Calls(calls.collect())
    }

    /// Of two that have ended otherwise than with success, or soon do. Where there is none, one begins that will.
    fn retries(&mut self, plan: &Plan, crowded: bool) -> Group {
        let known = plan.0.iter().filter(|(_, known)| known.may_be_retried());
        let mut known: Vec<_> = known.collect();
        let mut calls = Vec::new();
        while !known.is_empty() && calls.len() < 2 {
            let at = self.chance.below(known.len() as u64) as usize;
            let (task, known) = known.swap_remove(at);
            calls.push(Call::Retry(task.clone(), known.def));
        }
        if !calls.is_empty() {
            return Group::Calls(calls);
        }
        if crowded {
            return self.about_one(plan, Call::Cancel);
        }
        let job = self.job(Def::Plain, true);
        Group::Calls(vec![Call::Start {
            task: format!("t-{}", job.label),
            def: Def::Plain,
            job: Job {
                end: End::Fail,
                ..job
            },
            delivery: Delivery::Interrupt,
            again: false,
        }])
    }

    /// Whether it runs, has ended or is gone: its id is used once more.
    fn starts_again(&mut self, plan: &Plan) -> Group {
        let used = plan.0.iter().filter(|(_, known)| known.def != Def::Chat);
        let used: Vec<_> = used.collect();
        let at = self.chance.below(used.len() as u64) as usize;
        let Some((task, def)) = used.get(at).map(|(task, known)| (*task, known.def)) else {
            return self.starts();
        };
        Group::Calls(vec![Call::Start {
            task: task.clone(),
            def,
            job: self.job(def, false),
            delivery: Delivery::Interrupt,
            again: true,
        }])
    }

    fn steers(&mut self, plan: &Plan) -> Group {
        let chats = plan.0.iter();
        let chats = chats.filter(|(_, known)| known.def == Def::Chat && !known.deleted);
        let chats: Vec<&String> = chats.map(|(task, _)| task).collect();
        let Some(task) = chats.get(self.chance.below(chats.len() as u64) as usize) else {
            return self.starts();
        };
        let calls = (0..1 + self.chance.below(3)).map(|_| {
            let deliveries = [
                Delivery::Interrupt,
                Delivery::AtBoundary,
                Delivery::AtBoundary,
                Delivery::AfterTurn,
            ];
            Call::Start {
                task: (*task).clone(),
                def: Def::Chat,
                job: self.job(Def::Chat, false),
                delivery: deliveries[self.chance.below(4) as usize],
                again: false,
            }
        });
        Group::Calls(calls.collect())
    }

    fn hears(&mut self, plan: &Plan) -> Group {
        let mut calls = Vec::new();
        for _ in 0..2 {
            let task = self.one_of(plan);
            if let Some((task, known)) = task.and_then(|task| plan.0.get_key_value(&task)) {
                let at = self.chance.below(known.inputs.len() as u64) as usize;
                let (task, input) = (task.clone(), known.inputs[at].label.clone());
                calls.push(Call::Hear { task, input });
            }
        }
        Group::Calls(calls)
    }

    fn withdraws(&mut self, plan: &Plan) -> Group {
        let task = self.one_of(plan);
        let last = task.and_then(|task| {
            let input = plan.0[&task].inputs.last()?.label.clone();
            Some(Call::Withdraw { task, input })
        });
        Group::Calls(last.into_iter().collect())
    }

    fn job(&mut self, def: Def, small: bool) -> Job {
        self.labels += 1;
        let acts = self.chance.below(if small { 2 } else { 4 });
        let acts = (0..acts).map(|_| self.act(def)).collect();
        let end = match (def, self.chance.below(8)) {
            (Def::Chat, _) => End::Suspend,
            (Def::Plain | Def::Brief, 0 | 1) => End::Fail,
            (Def::Plain | Def::Brief, _) => End::Say,
        };
        let output = self.size(small);
        let pad = "+".repeat(self.size(small));
        Job {
            label: format!("i{}", self.labels),
            acts,
            end,
            output,
            pad,
        }
    }

    /// Mostly 200 bytes, at times up to 60 KB.
    fn size(&mut self, small: bool) -> usize {
        let bound = match self.chance.below(if small { 14 } else { 20 }) {
            0..10 => 200,
            10..15 => 3_000,
            15..19 => 15_000,
            _ => 60_000,
        };
        self.chance.below(bound) as usize
    }

    fn act(&mut self, def: Def) -> Act {
        match self.chance.below(15) {
            0..3 => Act::Step([5, 300, 5_000][self.chance.below(3) as usize]),
            3 => Act::EmittingStep,
            4 => Act::Once,
            5 | 6 => Act::Emit(1 + self.chance.below(6) as u32),
            7 => Act::EmitDurable,
            8 => Act::Sleep([10, 2_000, 40_000][self.chance.below(3) as usize]),
            9 => Act::Ask([None, Some(20_000)][self.chance.below(2) as usize]),
            10 => Act::Child,
            11 | 12 if def == Def::Chat => Act::Take,
            11 | 12 => Act::Note,
            13 => Act::Note,
            _ => Act::FailUntil(1 + self.chance.below(2) as u32),
        }
    }
}
