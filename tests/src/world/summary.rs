//! What a world came to at last, without what a death may change: attempts, claims, numbers that only grow.

use super::plan::Given;
use super::scene::World;
use super::witness::Heard;
use outlive_storage::id::TaskId;
use outlive_storage::row::{Outcome, State, TaskNumber, TaskRow};
use outlive_storage::{Scan, Store};

/// More tasks than a written world has.
const TASKS_MAX: usize = 500;

/// One line for each task, and for each input that was given.
pub(super) fn summary(world: &World, given: &[Given]) -> Vec<String> {
    let page = world.truth.scan(Scan::All, None, TASKS_MAX);
    let rows = page.into_iter().flat_map(|page| page.rows);
    let tasks = rows.filter_map(|found| Some((found.task, found.row.ok()?)));
    let mut lines: Vec<String> = tasks
        .map(|(task, row)| of_task(world, task, &row))
        .collect();
    // Which child was started first is nobody's promise.
    lines.sort_unstable();
    lines.extend(given.iter().map(|given| of_input(world, given)));
    lines
}

fn of_task(world: &World, task: TaskNumber, row: &TaskRow) -> String {
    let ended = match &row.state {
        State::Pending { .. } => "pending",
        State::InProgress { .. } => "running",
        State::Suspended { .. } => "suspended",
        State::Completed { outcome, .. } => kind_of(outcome),
    };
    let steps = world.truth.steps(task, row.steps_of, None, 100);
    let keys: Vec<_> = steps.into_iter().flatten().map(|(key, _)| key).collect();
    format!(
        "{} {ended} run {} turn {} steps {keys:?}",
        row.id.as_str(),
        row.run,
        row.turn
    )
}

fn kind_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded(_) => "succeeded",
        Outcome::Failed(_) => "failed",
        Outcome::Cancelled { .. } => "cancelled",
        Outcome::Terminated {
            timed_out: false, ..
        } => "terminated",
        Outcome::Terminated {
            timed_out: true, ..
        } => "timed out",
        // The enum may grow; a new end is not one of these worlds'.
        _ => "ended in another way",
    }
}

fn of_input(world: &World, given: &Given) -> String {
    let id = TaskId::new(&*given.id).ok();
    let number = id.and_then(|id| world.truth.find(&id).ok().flatten());
    let state = world.state.lock();
    let heard = state
        .witness
        .heard
        .iter()
        .filter(|((task, _, input), _)| Some(*task) == number && *input == given.input);
    // Who waited for an earlier run may have died with it.
    let last = heard.max_by_key(|((_, run, _), _)| *run);
    let told = last.map(|((_, run, _), heard)| told(*run, heard));
    format!("{} of {} was told {told:?}", given.input, given.id)
}

fn told(run: u32, heard: &Heard) -> String {
    match heard {
        Heard::Output(told, suspended) => format!(
            "run {run} turn {} got {} took {:?} suspended {suspended}",
            told.turn,
            told.got.len(),
            told.taken
        ),
        other => format!("run {run} {other:?}"),
    }
}
