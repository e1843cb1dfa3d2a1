//! Orders to tasks: what was acknowledged has happened.

use super::super::plan::Given;
use super::super::scene::World;
use super::starts::given;
use super::{Answer, Call, of_control, of_reentry, of_start, reads, task_of};
use outlive::{ControlError, Engine, InputStatus};
use outlive_storage::Store;
use outlive_storage::row::{State, TaskNumber, TaskRow};
use std::sync::Arc;

/// What an order must have come to.
fn ordered(
    world: &World,
    told: Result<(), ControlError>,
    holds: impl FnOnce() -> bool,
    what: &str,
) -> Answer {
    match told {
        Ok(()) => {
            if !holds() {
                world
                    .state
                    .lock()
                    .wrong(format!("{what} was acknowledged, and is not so"));
            }
            Answer::Done(what.to_owned())
        }
        Err(error) => of_control(&error),
    }
}

/// Whether the run that was looked at before has ended, or is gone, or may not go on.
fn is_over(world: &World, before: Option<&(TaskNumber, TaskRow)>, or_cancelled: bool) -> bool {
    let Some((number, before)) = before else {
        return true;
    };
    let Some(row) = world.truth.get(*number).ok().flatten() else {
        return true;
    };
    let ended = matches!(row.state, State::Completed { .. });
    row.run != before.run || ended || or_cancelled && row.cancel.is_some()
}

pub(super) async fn cancel(world: &Arc<World>, engine: &Engine, id: &str) -> Answer {
    let before = task_of(world, id);
    let told = engine.cancel(id, "enough").await;
    let what = format!("the cancel of {id}");
    ordered(world, told, || is_over(world, before.as_ref(), true), &what)
}

pub(super) async fn terminate(world: &Arc<World>, engine: &Engine, id: &str) -> Answer {
    let before = task_of(world, id);
    let told = engine.terminate(id, "gone mad").await;
    let what = format!("the termination of {id}");
    ordered(
        world,
        told,
        || is_over(world, before.as_ref(), false),
        &what,
    )
}

/// An order that was decided on an etag which is not the task's any more changes nothing.
pub(super) async fn stale(world: &Arc<World>, engine: &Engine, id: &str) -> Answer {
    let Some((_, before)) = task_of(world, id) else {
        return Answer::Refused("not there".to_owned());
    };
    let told = engine
        .terminate(id, "stale")
        .if_etag(before.etag.0 - 1)
        .await;
    match told {
        Ok(()) => {
            let what = format!("{id} was terminated on an etag that was not its own");
            world.state.lock().wrong(what);
            Answer::Done("stale".to_owned())
        }
        Err(error) => of_control(&error),
    }
}

pub(super) async fn cancel_input(engine: &Engine, input: &Given) -> Answer {
    // Only who gave it may cancel it: where it was never accepted there is nothing to cancel.
    match engine.input(&*input.id, &*input.input).await {
        Ok(InputStatus::Queued { .. } | InputStatus::InTurn { .. }) => {}
        Ok(_) | Err(_) => return Answer::Refused("not open".to_owned()),
    }
    let run = match given(engine, input).await {
        Ok(run) => run,
        Err(error) => return of_start(&error),
    };
    match run.cancel("not this one").await {
        Ok(()) => Answer::Done("cancelled an input".to_owned()),
        Err(error) => of_control(&error),
    }
}

pub(super) async fn delete(world: &Arc<World>, engine: &Engine, id: &str, force: bool) -> Answer {
    {
        let mut state = world.state.lock();
        let asked = state.ledger.removals.entry(id.to_owned()).or_default();
        *asked |= force;
    }
    let before = task_of(world, id);
    let order = engine.delete(id);
    let told = if force {
        order.force().await
    } else {
        order.await
    };
    let gone = || {
        let number = before.as_ref().map(|(number, _)| *number);
        number.is_none_or(|number| world.truth.get(number).ok().flatten().is_none())
    };
    let what = format!("the removal of {id}");
    ordered(world, told.map(drop), gone, &what)
}

pub(super) async fn withdraw(world: &Arc<World>, engine: &Engine, input: &Given) -> Answer {
    let told = engine.withdraw(&*input.id, &*input.input, "no").await;
    let what = format!("the withdrawal of {}", input.input);
    let number = task_of(world, &input.id);
    let withdrawn = || {
        let Some((number, row)) = number else {
            return true;
        };
        row.input_id.as_str() != input.input
            && !world.truth.inputs(number, 100).is_ok_and(|inputs| {
                let mut inputs = inputs.iter();
                inputs.any(|(_, waits)| waits.input_id.as_str() == input.input)
            })
    };
    ordered(world, told, withdrawn, &what)
}

/// Enters a task again, decided on the etag it had: who asks again cannot do it twice. From the start or not; empty for
/// a task that waits for an input.
pub(super) async fn reenter(
    world: &Arc<World>,
    engine: &Engine,
    (input, from_start): (&Given, Option<bool>),
    call: &mut Call,
) -> Answer {
    let Some((number, before)) = task_of(world, &input.id) else {
        return Answer::Refused("not there".to_owned());
    };
    let etag = *call.etag.get_or_insert(before.etag.0);
    let def = input.kind.def();
    let order = match from_start {
        None => engine.resume(def, &*input.id),
        Some(false) => engine.retry(def, &*input.id),
        Some(true) => engine.retry(def, &*input.id).from_start(),
    };
    match order.if_etag(etag).await {
        Ok(run) => {
            let row = world.truth.get(number).ok().flatten();
            let began_anew = row.as_ref().is_none_or(|row| {
                let runs_on = row.run == before.run || from_start != Some(true);
                runs_on || row.steps_of == row.turns_total
            });
            if !began_anew {
                let what = format!("{} was to begin from its start, and does not", input.id);
                world.state.lock().wrong(what);
            }
            if row.is_some_and(|row| row.etag.0 <= etag || row.run < run.run()) {
                let what = format!("{} was entered again, and was not", input.id);
                world.state.lock().wrong(what);
            }
            reads::wait(world, run);
            Answer::Done("entered again".to_owned())
        }
        Err(error) => of_reentry(&error),
    }
}
