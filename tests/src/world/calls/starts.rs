//! Starts, and those who wait for what comes of them.

use super::super::plan::Given;
use super::super::scene::World;
use super::super::script::{Item, Told};
use super::super::trace::named;
use super::{Answer, of_start, reads};
use outlive::{Accepted, Engine, Run, Start, StartError};
use outlive_storage::Store;
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::State;
use std::sync::Arc;
use std::time::Duration;

/// Gives an input with its own ids: to be given again by whoever was not answered.
pub fn given(engine: &Engine, given: &Given) -> Start<Told, Item> {
    let start = engine.start(given.kind.def(), &*given.id, &given.act);
    let start = start
        .input_id(&*given.input)
        .on_conflict(given.conflict)
        .delivery(given.delivery);
    match given.delay {
        Some(secs) => start.start_in(Duration::from_secs(secs)),
        None => start,
    }
}

pub(super) async fn start(
    world: &Arc<World>,
    engine: &Engine,
    input: &Given,
    doubtful: bool,
) -> Answer {
    let told = given(engine, input).await;
    taken(world, input, told, doubtful)
}

pub(super) async fn many(
    world: &Arc<World>,
    engine: &Engine,
    inputs: &[Given],
    doubtful: bool,
) -> Answer {
    let mut starts = Vec::new();
    for input in inputs {
        starts.push(given(engine, input));
    }
    let told = engine.start_all(starts).await;
    let answers = inputs.iter().zip(told);
    let answers: Vec<Answer> = answers
        .map(|(input, told)| taken(world, input, told, doubtful))
        .collect();
    // As a whole it is as known as the one that is known least.
    let worst = [Answer::Unknown, Answer::Stopped];
    let worst = worst.into_iter().find(|worst| answers.contains(worst));
    worst.unwrap_or_else(|| Answer::Done(format!("{answers:?}")))
}

/// What a start was told is so in the store.
fn taken(
    world: &Arc<World>,
    input: &Given,
    told: Result<Run<Told, Item>, StartError>,
    doubtful: bool,
) -> Answer {
    let known = is_known(world, input);
    match told {
        Ok(run) => {
            let how = run.accepted();
            acknowledged(world, input, &run, known);
            reads::wait(world, run);
            Answer::Done(format!("{how:?}"))
        }
        Err(error) => {
            let answer = of_start(&error);
            // What the same caller asked for before may have come to pass.
            let refused = !matches!(answer, Answer::Unknown) && !doubtful;
            if refused && known && !was_there(world, input) {
                let what = format!("{} of {} was refused, and is there", input.input, input.id);
                world.state.lock().wrong(what);
            }
            answer
        }
    }
}

fn is_known(world: &World, input: &Given) -> bool {
    let Ok(id) = InputId::new(&*input.input) else {
        return false;
    };
    if world.state.lock().ledger.knows(&input.id, &id) {
        return true;
    }
    // Of a run that began and ended within one batch its receipt is all that is written.
    let receipt = number_of(world, &input.id).map(|number| world.truth.receipt(number, &id));
    matches!(receipt, Some(Ok(Some(_))))
}

/// Another call may have given the same input before.
fn was_there(world: &World, input: &Given) -> bool {
    let state = world.state.lock();
    state.witness.asked.get(&input.input).copied().unwrap_or(0) > 1
}

fn acknowledged(world: &World, input: &Given, run: &Run<Told, Item>, known: bool) {
    let mut state = world.state.lock();
    state.trace.line(format_args!(
        "accepted {} of {} as {:?} of {} run {}",
        input.input,
        input.id,
        run.accepted(),
        named(run.input_id().as_str()),
        run.run()
    ));
    let own = run.input_id().as_str() == input.input;
    if own && !known {
        let what = format!(
            "{} of {} was accepted, and is not there",
            input.input, input.id
        );
        state.wrong(what);
    }
    let accepted_anew = run.accepted() != Some(Accepted::Attached);
    let anew = (input.id.clone(), input.input.clone());
    // Of other tasks receipts are forgotten within minutes.
    let removed = state.ledger.removals.contains_key(&input.id);
    if own && accepted_anew && input.kind.is_kept() && !removed {
        // A task that is gone already may have another one under its id.
        let number = number_of(world, &input.id).filter(|number| {
            let own = (*number, run.input_id().clone());
            state.ledger.accepted.contains_key(&own)
        });
        let first = state.witness.begun.insert(anew, number);
        if first.is_some_and(|first| first == number && number.is_some()) {
            let what = format!("{} of {} was accepted twice", input.input, input.id);
            state.wrong(what);
        }
    }
}

fn number_of(world: &World, id: &str) -> Option<outlive_storage::row::TaskNumber> {
    world.truth.find(&TaskId::new(id).ok()?).ok()?
}

/// Whether a task runs; for the trace.
pub(super) fn state_of(state: &State) -> &'static str {
    match state {
        State::Pending { .. } => "pending",
        State::InProgress { .. } => "running",
        State::Suspended { .. } => "suspended",
        State::Completed { .. } => "completed",
    }
}
