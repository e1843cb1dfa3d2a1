//! Calls: carried out on the engine of the moment, and held against the store when they are answered.

mod answers;
mod orders;
mod reads;
mod starts;

use super::plan::Op;
use super::scene::World;
use outlive::{ControlError, Engine, ReenterError, StartError};
use outlive_storage::Store;
use outlive_storage::id::TaskId;
use outlive_storage::row::{TaskNumber, TaskRow};
use std::sync::Arc;

/// How a call was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out.
    Done(String),
    /// It was refused, and changed nothing.
    Refused(String),
    /// It may have been carried out.
    Unknown,
    /// The engine had stopped, and nothing was changed.
    Stopped,
}

/// One call: asked, perhaps by several callers in turn, until it is answered.
#[derive(Debug, Clone)]
pub struct Call {
    /// What for.
    pub op: Op,
    /// The answer; empty before.
    pub answer: Option<Answer>,
    /// It was asked before, and nobody knows whether it was carried out.
    pub doubtful: bool,
    /// The etag that the first caller decided on.
    pub etag: Option<u64>,
}

impl Call {
    /// A call that nobody made yet.
    pub fn new(op: Op) -> Call {
        Call {
            op,
            answer: None,
            doubtful: false,
            etag: None,
        }
    }

    /// Whether it must be asked once more in the next life.
    pub fn is_open(&self) -> bool {
        matches!(self.answer, None | Some(Answer::Unknown | Answer::Stopped))
    }
}

/// A task as it stands in the store.
fn task_of(world: &World, id: &str) -> Option<(TaskNumber, TaskRow)> {
    let number = world.truth.find(&TaskId::new(id).ok()?).ok()??;
    Some((number, world.truth.get(number).ok()??))
}

/// Makes a call, and says how it was answered.
pub async fn make(world: &Arc<World>, engine: &Engine, call: &mut Call) -> Answer {
    match call.op.clone() {
        Op::Start(given) => starts::start(world, engine, &given, call.doubtful).await,
        Op::Many(given) => starts::many(world, engine, &given, call.doubtful).await,
        Op::Cancel(id) => orders::cancel(world, engine, &id).await,
        Op::CancelInput(given) => orders::cancel_input(engine, &given).await,
        Op::Stale(id) => orders::stale(world, engine, &id).await,
        Op::Terminate(id) => orders::terminate(world, engine, &id).await,
        Op::Delete(id, force) => orders::delete(world, engine, &id, force).await,
        Op::Withdraw(given) => orders::withdraw(world, engine, &given).await,
        Op::Retry(given, from_start) => {
            orders::reenter(world, engine, (&given, Some(from_start)), call).await
        }
        Op::Resume(given) => orders::reenter(world, engine, (&given, None), call).await,
        Op::Answer(nth) => answers::answer(world, engine, nth, call.doubtful).await,
        Op::Resolve(nth) => answers::resolve(world, engine, nth).await,
        Op::Read(id) => reads::read(world, engine, &id).await,
        Op::Look(id) => reads::look(world, engine, &id).await,
    }
}

pub use answers::{answer_all, resolve_all};
pub use reads::outcome;
pub use starts::given;

fn of_start(error: &StartError) -> Answer {
    match error {
        StartError::Unknown { .. } => Answer::Unknown,
        StartError::ShuttingDown | StartError::Store(_) => Answer::Stopped,
        StartError::Conflict { status, .. } => Answer::Refused(format!("conflict {status:?}")),
        StartError::SteeringQueueFull { .. } => Answer::Refused("queue full".to_owned()),
        other => Answer::Refused(format!("unexpected {other:?}")),
    }
}

fn of_control(error: &ControlError) -> Answer {
    match error {
        ControlError::Unknown { .. } => Answer::Unknown,
        ControlError::ShuttingDown | ControlError::Store(_) => Answer::Stopped,
        ControlError::NotFound(_) => Answer::Refused("not found".to_owned()),
        ControlError::Conflict { status, .. } => Answer::Refused(format!("conflict {status:?}")),
        ControlError::PreconditionFailed { .. } => Answer::Refused("precondition".to_owned()),
        other => Answer::Refused(format!("unexpected {other:?}")),
    }
}

fn of_reentry(error: &ReenterError) -> Answer {
    match error {
        ReenterError::Control(error) => of_control(error),
        other => Answer::Refused(format!("unexpected {other:?}")),
    }
}
