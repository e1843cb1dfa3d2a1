//! The end of a world: nothing fails any more, everybody is answered, and so everything comes to its end.

use super::calls::{self, answer_all, resolve_all};
use super::plan::Given;
use super::scene::World;
use super::script::{CHAIN, CHAT, FLEETING, LEAF, SOLO};
use super::trace::named;
use super::witness::Heard;
use outlive::{Engine, InputError, InputStatus, LogItem};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{State, TaskRow, WaitReason};
use outlive_storage::{Scan, Store};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(15);
/// Within so many looks everything must have come to its end: an hour.
const LOOKS: u32 = 240;
/// Within so long an answer that is there is given.
const IN_TIME: Duration = Duration::from_secs(30);
/// More tasks than a world has.
const TASKS_MAX: usize = 500;

/// Waits until everything has come to its end, and asks for every answer once more.
pub async fn settle(world: &Arc<World>, engine: &Engine, given: &[Given]) {
    world.state.lock().trace.line(format_args!("settle"));
    let mut open = Vec::new();
    for _ in 0..LOOKS {
        answer_all(world, engine).await;
        resolve_all(world, engine).await;
        release_all(world, engine).await;
        tokio::time::sleep(LOOK).await;
        open = unfinished(world);
        let waiting = world.state.lock().witness.waiting;
        if open.is_empty() && waiting == 0 || world.is_broken() {
            break;
        }
    }
    if world.is_broken() {
        return;
    }
    {
        let mut state = world.state.lock();
        let waiting = state.witness.waiting;
        if let Some(first) = open.first() {
            state.wrong(format!("{} comes to no end: {first:?}", first.id.as_str()));
        } else if waiting > 0 {
            state.wrong(format!("{waiting} callers wait for ever"));
        }
    }
    for one in given {
        asked_for(world, engine, one).await;
    }
    taken_once(world, engine).await;
    log_is_whole(world, engine).await;
}

/// What a turn says that it took, it took, and no other turn had it.
async fn taken_once(world: &World, engine: &Engine) {
    let mut took = Vec::new();
    {
        let state = world.state.lock();
        for ((number, ..), heard) in &state.witness.heard {
            let Some(row) = world.truth.get(*number).ok().flatten() else {
                continue;
            };
            if let Heard::Output(told, _) = heard {
                let place = (row.id.to_string(), told.run, told.turn);
                let taken = told
                    .taken
                    .iter()
                    .map(|input| (place.clone(), input.clone()));
                took.extend(taken);
            }
        }
    }
    for ((id, run, turn), input) in took {
        let status = engine.input(&*id, &*input).await;
        let as_told = match &status {
            Ok(InputStatus::Consumed {
                run: in_run,
                turn: in_turn,
                step,
            }) => (*in_run, *in_turn) == (run, turn) && step.is_some(),
            // Of a task that is kept for minutes the receipts are, too.
            Err(InputError::NotFound { .. }) => true,
            Ok(_) | Err(_) => false,
        };
        if !as_told {
            let what = format!("{input} of {id} was taken in run {run} turn {turn}: {status:?}");
            world.state.lock().wrong(what);
        }
    }
}

/// Every transition is in the log, in order, and nothing else is.
async fn log_is_whole(world: &World, engine: &Engine) {
    let mut log = engine.events(Some(0));
    let mut told = Vec::new();
    while let Ok(Some(LogItem::Event(event))) = log.try_next().await {
        told.push(event.etag);
    }
    let mut state = world.state.lock();
    let committed: Vec<u64> = state.ledger.events.keys().copied().collect();
    if told != committed {
        let (told, committed) = (told.len(), committed.len());
        state.wrong(format!(
            "{committed} transitions took place, the log has {told}"
        ));
    }
}

/// Tasks that neither have ended nor wait for an input.
fn unfinished(world: &World) -> Vec<TaskRow> {
    let page = world.truth.scan(Scan::All, None, TASKS_MAX);
    let rows = page.into_iter().flat_map(|page| page.rows);
    let rows = rows.filter_map(|found| found.row.ok());
    rows.filter(|row| match &row.state {
        State::Pending { .. } | State::InProgress { .. } => true,
        State::Suspended { wait, .. } => !matches!(wait, WaitReason::Input { .. }),
        State::Completed { .. } => false,
    })
    .collect()
}

/// Somebody looks after what was put aside.
async fn release_all(world: &World, engine: &Engine) {
    for row in unfinished(world) {
        let State::Suspended { wait, .. } = &row.state else {
            continue;
        };
        if !matches!(wait, WaitReason::Quarantined { .. }) {
            continue;
        }
        let defs = [SOLO, CHAT, CHAIN, FLEETING, LEAF];
        let def = defs
            .into_iter()
            .find(|def| world.defined(def.name()) == Some(row.def));
        if let Some(def) = def {
            // It may have moved on.
            let _ = engine.retry(def, row.id.as_str()).await;
        }
    }
}

/// An accepted input has come to something, and its caller is told so by its ids.
async fn asked_for(world: &Arc<World>, engine: &Engine, given: &Given) {
    let (Ok(id), Ok(input)) = (TaskId::new(&*given.id), InputId::new(&*given.input)) else {
        return;
    };
    let Some(number) = world.truth.find(&id).ok().flatten() else {
        return;
    };
    let accepted = {
        let state = world.state.lock();
        state.ledger.accepted.contains_key(&(number, input.clone()))
    };
    if !accepted {
        return;
    }
    let status = engine.input(&*given.id, &*given.input).await;
    {
        let mut state = world.state.lock();
        state.trace.line(format_args!(
            "at last {} {} {status:?}",
            named(&given.id),
            given.input
        ));
        match status {
            Ok(InputStatus::Queued { .. } | InputStatus::InTurn { .. }) => {
                state.wrong(format!("{} of {} was never worked", given.input, given.id));
            }
            Ok(_) => {}
            // Of a task that is kept for minutes the receipts are, too.
            Err(_) if !given.kind.is_kept() => return,
            Err(error) => {
                state.wrong(format!(
                    "{} of {} is lost: {error:?}",
                    given.input, given.id
                ));
                return;
            }
        }
    }
    let run = calls::given(engine, given).await;
    let Ok(run) = run else {
        let what = format!("{} of {} is not attached: {run:?}", given.input, given.id);
        return world.state.lock().wrong(what);
    };
    match tokio::time::timeout(IN_TIME, calls::outcome(world, &run)).await {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => {
            let what = format!("{} of {} is not answered", given.input, given.id);
            world.state.lock().wrong(what);
        }
    }
}
