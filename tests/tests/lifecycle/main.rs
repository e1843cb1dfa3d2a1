//! A task over many turns, days and restarts: what each turn answers, what is kept of it, when it runs, what it costs.

mod cost;
mod day;
mod delayed;
mod failed_turns;
mod kept_turns;
mod put_off;
mod turns;

use outlive::{Engine, Snapshot, TaskDef};
use outlive_tests::play::Act;

pub(crate) type Def = TaskDef<Act, String>;

/// The task of most tests.
pub(crate) const ID: &str = "the-task";

pub(crate) async fn task(engine: &Engine, id: &str) -> Snapshot {
    let found = engine.get(id).await.expect("the store answers");
    found.expect("there is such a task")
}
