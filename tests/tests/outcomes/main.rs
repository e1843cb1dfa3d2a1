//! How turns and tasks end, and what each end answers: outcomes, errors, outputs of every size, and handles.

mod ends;
mod errors;
mod handles;
mod outputs;

use outlive::{Engine, Snapshot, TaskDef};
use outlive_tests::play::Act;

pub(crate) type Def = TaskDef<Act, String>;

/// The task of every test.
pub(crate) const ID: &str = "the-task";

pub(crate) async fn task(engine: &Engine) -> Snapshot {
    let found = engine.get(ID).await.expect("the store answers");
    found.expect("there is such a task")
}
