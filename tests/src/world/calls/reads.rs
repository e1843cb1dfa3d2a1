//! What callers are shown: outcomes, streams, snapshots. Nothing of it is ahead of the store, or differs the next time.

use super::super::scene::{State, World};
use super::super::script::{Item, Told};
use super::super::trace::named;
use super::super::witness::Heard;
use super::{Answer, starts, task_of};
use outlive::{Engine, Outcome, ResultError, Run, Status, StreamEvent};
use outlive_storage::Store;
use outlive_storage::row::{Keep, StreamEntry, TaskNumber, TaskRow};
use std::sync::Arc;

/// A caller who waits for what comes of an input, for as long as the engine lives.
pub(super) fn wait(world: &Arc<World>, run: Run<Told, Item>) {
    let world = Arc::clone(world);
    world.state.lock().witness.waiting += 1;
    tokio::spawn(async move {
        let heard = outcome(&world, &run).await;
        let mut state = world.state.lock();
        state.witness.waiting -= 1;
        // Who is told that the engine stopped does nothing more, and in which order they learn it is nobody's promise.
        if let Some(heard) = heard {
            let id = named(run.id().as_str());
            let input = named(run.input_id().as_str());
            let heard = heard.in_story();
            state.trace.line(format_args!("heard {id} {input} {heard}"));
        }
    });
}

/// What comes of an input; `None` when the engine stops first, or somebody has to look at the task.
pub async fn outcome(world: &Arc<World>, run: &Run<Told, Item>) -> Option<Heard> {
    // A task that goes with its end may have gone before its caller comes here, and another one has its id.
    let may_be_another = |row: &TaskRow| row.options.keep == Keep::Ephemeral;
    let found = task_of(world, run.id().as_str());
    let found = found.filter(|(number, row)| !may_be_another(row) || is_only(world, run, *number));
    let number = found.map(|(number, _)| number);
    let input = run.input_id().to_string();
    let told = run.outcome().await;
    let heard = match told {
        Ok(outcome) => {
            let suspended = outcome.is_suspended();
            answered_for(world, run, number, &outcome);
            Heard::Output(outcome.into_output(), suspended)
        }
        Err(ResultError::Failed(_)) => Heard::Failed,
        Err(ResultError::Cancelled { .. }) => Heard::Cancelled,
        Err(ResultError::Terminated { timed_out, .. }) => Heard::Terminated(timed_out),
        Err(ResultError::Conflict { .. }) => Heard::TaskEnded,
        Err(ResultError::Gone { .. } | ResultError::NotFound { .. }) => Heard::Gone,
        Err(ResultError::ShuttingDown | ResultError::Store(_)) => return None,
        Err(other) => {
            world.state.lock().wrong(format!("{input}: {other:?}"));
            return None;
        }
    };
    if let Some(number) = number {
        let mut state = world.state.lock();
        let of = (number, run.run(), input.clone());
        if let Some(before) = state.witness.hear(of, &heard) {
            let id = run.id().as_str();
            state.wrong(format!(
                "{input} of {id} was told {before:?}, then {heard:?}"
            ));
        }
    }
    Some(heard)
}

/// Whether no other task ever had the id.
fn is_only(world: &World, run: &Run<Told, Item>, number: TaskNumber) -> bool {
    let state = world.state.lock();
    let numbers = state.ledger.numbers.get(run.id().as_str());
    numbers.is_some_and(|numbers| *numbers == [number])
}

/// An output answers for the input its turn worked on, or for one it took.
fn answered_for(
    world: &World,
    run: &Run<Told, Item>,
    number: Option<TaskNumber>,
    outcome: &Outcome<Told>,
) {
    let (told, input) = (outcome.output(), run.input_id().as_str());
    let own = told.input == input || told.taken.iter().any(|taken| taken == input);
    if !own || told.run != run.run() {
        let what = format!("{input} in run {} was answered with {told:?}", run.run());
        world.state.lock().wrong(what);
    }
    let Some(number) = number.filter(|number| is_there(world, *number)) else {
        return;
    };
    let durable = items_under(world, number, told.generation);
    // The id may be that of another task by now, whose claims are others.
    if durable != told.emitted && told.emitted > 0 && knows_claim(world, number, told.generation) {
        let emitted = told.emitted;
        let what = format!("{number:?} has {durable} of {emitted} items: {told:?}");
        world.state.lock().wrong(what);
    }
}

fn is_there(world: &World, number: TaskNumber) -> bool {
    world.truth.get(number).ok().flatten().is_some()
}

fn knows_claim(world: &World, number: TaskNumber, generation: u64) -> bool {
    let state = world.state.lock();
    state.ledger.claims.get(&generation) == Some(&number)
}

/// How many items a claim has left in the stream, beside those of its steps.
fn items_under(world: &World, number: TaskNumber, generation: u64) -> u32 {
    let segments = world
        .truth
        .segments(number, 0, usize::MAX)
        .unwrap_or_default();
    let rows = segments.into_iter().filter_map(|segment| segment.row.ok());
    let of_claim = rows.filter(|row| row.generation.0 == generation);
    let items = of_claim.map(|row| {
        let entries = row.entries.iter();
        let own = entries.filter(|entry| matches!(entry, StreamEntry::Item { step: None, .. }));
        own.count() as u32
    });
    items.sum()
}

/// Most events that are read at once.
const READ_MAX: usize = 50;

/// Reads on in a stream, as far as it goes by now.
pub(super) async fn read(world: &Arc<World>, engine: &Engine, id: &str) -> Answer {
    let Some((number, row)) = task_of(world, id) else {
        return Answer::Refused("not there".to_owned());
    };
    let after = world.state.lock().witness.read.get(&number).copied();
    let def = [
        super::super::script::SOLO,
        super::super::script::CHAT,
        super::super::script::CHAIN,
        super::super::script::FLEETING,
    ];
    let named_so = |def: &outlive::TaskDef<_, _, _>| world.defined(def.name()) == Some(row.def);
    let Some(def) = def.into_iter().find(named_so) else {
        return Answer::Refused("of no definition".to_owned());
    };
    let after = after.unwrap_or_default();
    let Ok(mut stream) = engine.stream(def, id, after).await else {
        return Answer::Refused("no stream".to_owned());
    };
    let mut last = after;
    for _ in 0..READ_MAX {
        let patience = std::time::Duration::from_millis(20);
        let Ok(Some(Ok(event))) = tokio::time::timeout(patience, stream.next()).await else {
            break;
        };
        let mut state = world.state.lock();
        shown(world, &mut state, number, (last, &event));
        last = event.sequence();
        state.witness.read.insert(number, last);
    }
    Answer::Done("read".to_owned())
}

/// An event comes after the one before it, without a gap, is in the store, and is the same for every reader.
fn shown(
    world: &World,
    state: &mut State,
    number: TaskNumber,
    (last, event): (u64, &StreamEvent<Item>),
) {
    let sequence = event.sequence();
    let end = world.truth.stream_end(number).ok().flatten();
    let there = world.truth.get(number).ok().flatten().is_some();
    let stored = end.map_or(0, |end| end.last);
    if there && sequence > stored {
        state.wrong(format!(
            "{number:?} shows {sequence}, and {stored} is durable"
        ));
    }
    let ends = matches!(event, StreamEvent::End { .. });
    if !ends && sequence != last + 1 {
        state.wrong(format!("{number:?} shows {sequence} after {last}"));
    }
    if let StreamEvent::Item { item, .. } = event {
        let known = state.witness.items.insert((number, sequence), item.clone());
        if known.is_some_and(|known| known != *item) {
            state.wrong(format!("{number:?} shows another item at {sequence}"));
        }
    }
}

/// A task as its callers see it is as it is in the store.
pub(super) async fn look(world: &Arc<World>, engine: &Engine, id: &str) -> Answer {
    let Ok(seen) = engine.get(id).await else {
        return Answer::Stopped;
    };
    let Some(seen) = seen else {
        return Answer::Refused("not there".to_owned());
    };
    // Inline reads happen at once, so nothing has changed since.
    let mut state = world.state.lock();
    match task_of(world, id) {
        Some((_, row)) if row.etag.0 >= seen.etag => {
            let told = starts::state_of(&row.state);
            state
                .trace
                .line(format_args!("look {id} {told} {}", seen.run));
        }
        Some((_, row)) => state.wrong(format!(
            "{id} shows etag {}, it is {:?}",
            seen.etag, row.etag
        )),
        None => {}
    }
    if (seen.status == Status::Completed) != seen.ended.is_some() {
        state.wrong(format!("{id} is shown half ended: {seen:?}"));
    }
    Answer::Done("looked".to_owned())
}
