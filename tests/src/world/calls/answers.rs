//! Answers to what handlers ask, and words on what nobody knows.

use super::super::scene::World;
use super::super::trace::named;
use super::super::witness::Place;
use super::{Answer, of_control, task_of};
use outlive::{AnswerError, Engine, OpenAsk, Resolution, ResolveError};
use outlive_storage::Store;
use outlive_storage::row::{State, WaitReason};
use std::sync::Arc;

/// Answers the open question at this place of the list.
pub(super) async fn answer(
    world: &Arc<World>,
    engine: &Engine,
    nth: u64,
    doubtful: bool,
) -> Answer {
    let Ok(list) = engine.asks().await else {
        return Answer::Stopped;
    };
    let nth = usize::try_from(nth).unwrap_or_default();
    match list.asks.get(nth) {
        Some(ask) => answer_one(world, engine, ask).await,
        None if doubtful => Answer::Done("answered before".to_owned()),
        None => Answer::Refused("nobody asks".to_owned()),
    }
}

/// Answers every open question.
pub async fn answer_all(world: &Arc<World>, engine: &Engine) {
    if let Ok(list) = engine.asks().await {
        for ask in &list.asks {
            answer_one(world, engine, ask).await;
        }
    }
}

async fn answer_one(world: &Arc<World>, engine: &Engine, ask: &OpenAsk) -> Answer {
    let place: Option<Place> = task_of(world, ask.id.as_str())
        .map(|(number, row)| (number, row.steps_of, ask.key.clone()));
    let value = {
        let mut state = world.state.lock();
        state.witness.serial += 1;
        state.witness.serial
    };
    let told = engine.answer(&ask.id, &*ask.key, &value).to(ask).await;
    let mut state = world.state.lock();
    let id = named(ask.id.as_str());
    state
        .trace
        .line(format_args!("answer {id} {} {}", ask.key, told.is_ok()));
    match told {
        Ok(()) => {
            if let Some(place) = place {
                let step = world.truth.step(place.0, place.1, &place.2);
                let stored = step.ok().flatten().map(|step| step.value);
                // The turn may have gone on with it, and be over.
                if stored.is_some_and(|stored| stored != value.to_string().as_bytes()) {
                    state.wrong(format!("{place:?} was answered {value}, and is not"));
                }
                state.witness.answers.insert(place, value);
            }
            Answer::Done("answered".to_owned())
        }
        Err(AnswerError::Control(error)) => of_control(&error),
        Err(_) => Answer::Refused("answered by another".to_owned()),
    }
}

/// What is said of the step at this place of those that nobody knows of.
pub(super) async fn resolve(world: &Arc<World>, engine: &Engine, nth: u64) -> Answer {
    let Some((id, step)) = unknown(engine).await.into_iter().nth(nth as usize) else {
        return Answer::Refused("everything is known".to_owned());
    };
    resolve_one(world, engine, &id, &step).await
}

/// Says of every step that nobody knows of what became of it.
pub async fn resolve_all(world: &Arc<World>, engine: &Engine) {
    for (id, step) in unknown(engine).await {
        resolve_one(world, engine, &id, &step).await;
    }
}

/// The tasks that wait to be told what became of a step.
async fn unknown(engine: &Engine) -> Vec<(String, String)> {
    let Ok(page) = engine.list_all().limit(100).await else {
        return Vec::new();
    };
    let waits = page.tasks.into_iter().filter_map(|task| match task.wait {
        Some(WaitReason::UnknownOutcome { step }) => Some((task.id.to_string(), step.into())),
        _ => None,
    });
    waits.collect()
}

/// Only the world knows whether it ran.
async fn resolve_one(world: &Arc<World>, engine: &Engine, id: &str, step: &str) -> Answer {
    let Some((number, row)) = task_of(world, id) else {
        return Answer::Refused("not there".to_owned());
    };
    if !matches!(row.state, State::Suspended { .. }) {
        return Answer::Refused("moved on".to_owned());
    }
    let place = (number, row.steps_of, step.to_owned());
    let last = {
        let state = world.state.lock();
        let ran = state.witness.ran.get(&place);
        ran.and_then(|ran| ran.last().copied())
    };
    let resolution = match last {
        Some(serial) => Resolution::done(&serial),
        None => Resolution::not_done(),
    };
    let resolve = engine.resolve(id, step, resolution).if_etag(row.etag.0);
    match resolve.await {
        Ok(()) => Answer::Done("resolved".to_owned()),
        Err(ResolveError::Control(error)) => of_control(&error),
        Err(other) => Answer::Refused(format!("unexpected {other:?}")),
    }
}
