//! The calls, each of which can be made again by a caller that was not answered.

use crate::stage::{ACT, Act, Caller, Line, Stage};
use outlive::{
    Accepted, ControlError, Delivery, Engine, OnConflict, ReenterError, ResultError, Run,
    StartError, Status, TaskOptions,
};
use std::time::Duration;

const NOTHING: TaskOptions = TaskOptions::new();
const IMPATIENT: TaskOptions = TaskOptions::new()
    .timeout(Duration::from_secs(20))
    .grace(Duration::from_secs(1));

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Gives a task an input.
    Start {
        task: &'static str,
        input: &'static str,
        act: Act,
        with: With,
    },
    /// Waits for the answer to an input.
    Hear {
        task: &'static str,
        input: &'static str,
    },
    /// Starts a task that is gone with its end, and waits for its answer.
    Once {
        task: &'static str,
        input: &'static str,
    },
    /// Waits until the task's metadata is durable.
    Kept { task: &'static str },
    /// Cancels a task.
    Cancel { task: &'static str },
    /// Cancels the turn of one input, or takes the input back.
    CancelInput {
        task: &'static str,
        input: &'static str,
    },
    /// Takes an input back that waits.
    Withdraw {
        task: &'static str,
        input: &'static str,
    },
    /// Terminates a task.
    Terminate { task: &'static str },
    /// Enters a suspended task again, and waits for the answer.
    Resume { task: &'static str },
    /// Opens a further run, and waits for its answer.
    Retry { task: &'static str },
    /// Removes a task, also while it runs.
    Delete { task: &'static str },
}

/// What a start says besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    Nothing,
    Delay,
    TimeOut,
    Restart,
    AtBoundary,
}

/// A call had no answer that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It may or may not have happened.
    Unknown,
    /// It did not happen.
    Refused,
}

const fn start(task: &'static str, input: &'static str, act: Act) -> Step {
    start_with(task, input, act, With::Nothing)
}

const fn start_with(task: &'static str, input: &'static str, act: Act, with: With) -> Step {
    Step::Start {
        task,
        input,
        act,
        with,
    }
}

const fn hear(task: &'static str, input: &'static str) -> Step {
    Step::Hear { task, input }
}

/// Every transition of the life cycle, each after one that was acknowledged.
pub(crate) const SCRIPT: &[Step] = &[
    start("plain", "p1", Act::Say),
    hear("plain", "p1"),
    start_with("delayed", "d1", Act::Say, With::Delay),
    hear("delayed", "d1"),
    // A turn that is steered out, one that comes from the queue, one that resumes, one without an input of its own.
    start("chat", "c1", Act::AskWhenSteered),
    start("chat", "c2", Act::Ask),
    hear("chat", "c1"),
    hear("chat", "c2"),
    start("chat", "c3", Act::Ask),
    hear("chat", "c3"),
    Step::Resume { task: "chat" },
    // A queue of which one is taken back, and a turn that is cancelled and gives way to the other.
    start("chat", "c5", Act::Obey),
    start("chat", "c6", Act::Ask),
    start("chat", "c7", Act::Ask),
    Step::CancelInput {
        task: "chat",
        input: "c7",
    },
    Step::CancelInput {
        task: "chat",
        input: "c5",
    },
    hear("chat", "c5"),
    hear("chat", "c6"),
    hear("chat", "c7"),
    Step::Cancel { task: "chat" },
    // A turn that takes an input and answers for it, is steered out by another, and one that is withdrawn.
    start("agent", "a1", Act::TakeAndAsk),
    start_with("agent", "a2", Act::Say, With::AtBoundary),
    start_with("agent", "a3", Act::Say, With::AtBoundary),
    Step::Withdraw {
        task: "agent",
        input: "a3",
    },
    start("agent", "a4", Act::Say),
    hear("agent", "a1"),
    hear("agent", "a2"),
    hear("agent", "a3"),
    hear("agent", "a4"),
    start("fails", "f1", Act::SayAtLast),
    hear("fails", "f1"),
    start("broken", "b1", Act::Fail),
    hear("broken", "b1"),
    Step::Retry { task: "broken" },
    start_with("broken", "b2", Act::Say, With::Restart),
    hear("broken", "b2"),
    start("keeps", "k1", Act::Keep),
    Step::Kept { task: "keeps" },
    Step::Cancel { task: "keeps" },
    hear("keeps", "k1"),
    start("mad", "m1", Act::Wait),
    start("mad", "m2", Act::Say),
    Step::Terminate { task: "mad" },
    hear("mad", "m1"),
    hear("mad", "m2"),
    start("gone", "g1", Act::Wait),
    Step::Delete { task: "gone" },
    start("gone", "g2", Act::Say),
    hear("gone", "g2"),
    start_with("late-comer", "l1", Act::Wait, With::TimeOut),
    hear("late-comer", "l1"),
    Step::Once {
        task: "once",
        input: "o1",
    },
];

/// Whether an order that finds its task ended, or its turn over, was carried out by a call before it.
fn ordered<T>(answer: Result<T, ControlError>) -> Result<(), Broken> {
    match answer {
        Ok(_) | Err(ControlError::Conflict { .. }) => Ok(()),
        Err(ControlError::Unknown { .. }) => Err(Broken::Unknown),
        Err(ControlError::Store(_) | ControlError::ShuttingDown) => Err(Broken::Refused),
        Err(other) => panic!("{other:?}"),
    }
}

fn started(answer: Result<Run<Line>, StartError>) -> Result<Run<Line>, Broken> {
    match answer {
        Ok(run) => Ok(run),
        Err(StartError::Unknown { .. }) => Err(Broken::Unknown),
        Err(StartError::Store(_) | StartError::ShuttingDown) => Err(Broken::Refused),
        Err(other) => panic!("{other:?}"),
    }
}

/// The handle to an input that was accepted.
async fn asked_again(engine: &Engine, task: &str, input: &str) -> Result<Run<Line>, Broken> {
    let run = started(engine.start(ACT, task, &Act::Say).input_id(input).await)?;
    assert_eq!(
        run.accepted(),
        Some(Accepted::Attached),
        "{input} of {task} is not there"
    );
    Ok(run)
}

impl Step {
    /// How many kinds of calls there are.
    pub(crate) const KINDS: usize = 11;

    /// Its kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Step::Start { .. } => "start",
            Step::Hear { .. } => "hear",
            Step::Once { .. } => "once",
            Step::Kept { .. } => "kept",
            Step::Cancel { .. } => "cancel",
            Step::CancelInput { .. } => "cancel input",
            Step::Withdraw { .. } => "withdraw",
            Step::Terminate { .. } => "terminate",
            Step::Resume { .. } => "resume",
            Step::Retry { .. } => "retry",
            Step::Delete { .. } => "delete",
        }
    }

    /// The name under which its answer is remembered.
    fn name(&self, at: usize) -> String {
        format!("{at:02} {self:?}")
    }

    /// Makes the call, perhaps once more.
    pub(crate) async fn call(
        &self,
        engine: &Engine,
        stage: &Stage,
        caller: &mut Caller,
    ) -> Result<(), Broken> {
        match *self {
            Step::Start {
                task,
                input,
                act,
                with,
            } => {
                let call = engine.start(ACT, task, &act).input_id(input);
                let call = match with {
                    With::Nothing => call,
                    With::Delay => call.start_in(Duration::from_secs(3)),
                    With::TimeOut => call.options(IMPATIENT),
                    With::Restart => call.on_conflict(OnConflict::Restart),
                    With::AtBoundary => call.delivery(Delivery::AtBoundary),
                };
                started(call.await).map(drop)
            }
            Step::Hear { task, input } => {
                let run = asked_again(engine, task, input).await?;
                caller.hear(self.name(caller.at), &run).await
            }
            Step::Once { task, input } => {
                loop {
                    let call = engine
                        .start(ACT, task, &Act::Say)
                        .options(NOTHING.ephemeral());
                    // Later, so that it does not end before anybody waits.
                    let call = call.input_id(input).start_in(Duration::from_secs(1));
                    let outcome = started(call.await)?.outcome().await;
                    // A result that nobody had taken is gone with its process, and the id may run again.
                    if !matches!(outcome, Err(ResultError::NotFound { .. })) {
                        return caller.heard(self.name(caller.at), outcome);
                    }
                }
            }
            Step::Kept { .. } => {
                while stage.kept.is_empty() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Ok(())
            }
            Step::Cancel { task } => ordered(engine.cancel(task, "enough").await),
            Step::CancelInput { task, input } => {
                let run = asked_again(engine, task, input).await?;
                ordered(run.cancel("this one not").await)
            }
            Step::Withdraw { task, input } => {
                ordered(engine.withdraw(task, input, "this one not").await)
            }
            Step::Terminate { task } => ordered(engine.terminate(task, "gone mad").await),
            Step::Delete { task } => ordered(engine.delete(task).force().await),
            Step::Resume { task } => self.reenter(engine, caller, task).await,
            Step::Retry { task } => self.reenter(engine, caller, task).await,
        }
    }

    /// Enters a task again, decided on the etag it had: who asks again cannot do it twice.
    async fn reenter(
        &self,
        engine: &Engine,
        caller: &mut Caller,
        task: &str,
    ) -> Result<(), Broken> {
        let at = caller.at;
        let looked = match engine.get(task).await {
            Ok(found) => found.expect("it is there"),
            Err(_) => return Err(Broken::Refused),
        };
        let etag = *caller.decided_on.entry(at).or_insert(looked.etag);
        let call = if matches!(self, Step::Resume { .. }) {
            engine.resume(ACT, task)
        } else {
            engine.retry(ACT, task)
        };
        let run = match call.if_etag(etag).await {
            Ok(run) => run,
            // It was done by the call that was not answered.
            Err(ReenterError::Control(ControlError::PreconditionFailed { .. })) => engine
                .attach(ACT, task)
                .await
                .map_err(|_| Broken::Unknown)?,
            Err(ReenterError::Control(ControlError::Unknown { .. })) => {
                return Err(Broken::Unknown);
            }
            Err(ReenterError::Control(ControlError::Store(_) | ControlError::ShuttingDown)) => {
                return Err(Broken::Refused);
            }
            Err(other) => panic!("{other:?}"),
        };
        caller.hear(self.name(at), &run).await
    }

    /// Whether one of the calls made since may have removed what this one did, or asked for another answer.
    pub(crate) fn is_undone_by<'a>(&self, since: impl Iterator<Item = &'a Step>) -> bool {
        let mut since = since.filter(|step| step.task() == self.task());
        let hears = matches!(self, Step::Hear { .. });
        since.any(|step| {
            let removes = matches!(step, Step::Delete { .. } | Step::Once { .. });
            removes || hears && matches!(step, Step::Retry { .. })
        })
    }

    fn task(&self) -> &'static str {
        match *self {
            Step::Start { task, .. }
            | Step::Hear { task, .. }
            | Step::Once { task, .. }
            | Step::Kept { task }
            | Step::Cancel { task }
            | Step::CancelInput { task, .. }
            | Step::Withdraw { task, .. }
            | Step::Terminate { task }
            | Step::Resume { task }
            | Step::Retry { task }
            | Step::Delete { task } => task,
        }
    }

    /// The call was answered: so it must be found done, before any handler goes on.
    pub(crate) async fn still_holds(&self, at: usize, engine: &Engine, caller: &mut Caller) {
        match *self {
            Step::Start { task, input, .. } => {
                let run = asked_again(engine, task, input).await;
                assert!(run.is_ok(), "{input} of {task}");
            }
            Step::Hear { task, input } => {
                let run = asked_again(engine, task, input).await.expect("it answers");
                caller.hear(self.name(at), &run).await.expect("it answers");
            }
            Step::Kept { task } => {
                let kept = engine
                    .get(task)
                    .await
                    .unwrap()
                    .expect("it is there")
                    .metadata;
                assert!(kept.contains_key("default"), "{task}: {kept:?}");
            }
            Step::Cancel { task } | Step::Terminate { task } => {
                let task = engine.get(task).await.unwrap().expect("it is there");
                assert_eq!(task.status, Status::Completed, "{task:?}");
            }
            Step::CancelInput { task, input } | Step::Withdraw { task, input } => {
                let run = asked_again(engine, task, input).await.expect("it answers");
                let told = run.result().await;
                assert!(
                    matches!(told, Err(ResultError::Cancelled { .. })),
                    "{input} of {task}: {told:?}"
                );
            }
            Step::Resume { task } => {
                let task = engine.get(task).await.unwrap().expect("it is there");
                assert!(task.turn >= 4, "{task:?}");
            }
            Step::Retry { task } => {
                let task = engine.get(task).await.unwrap().expect("it is there");
                assert!(task.run >= 2, "{task:?}");
            }
            // What is left of these is checked by what comes after them.
            Step::Once { .. } | Step::Delete { .. } => {}
        }
    }
}
