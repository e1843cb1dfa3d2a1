//! What must be true of every step and of every state; each law says what it found broken.

use super::advance::Story;
use super::world::World;
use crate::machine::{Answer, Effect, Event, Recovered, Transition, would_hold_back};
use outlive_storage::commit::Expect;
use outlive_storage::row::{EventKind, Generation, Mark, State, TaskRow};
use std::collections::HashSet;
use std::fmt::Debug;

/// One decided event.
pub(super) struct Step<'a> {
    pub(super) before: &'a World,
    pub(super) event: &'a Event,
    pub(super) transition: &'a Transition,
    pub(super) story: &'a Story,
    pub(super) after: &'a World,
}

type Law = Result<(), String>;

fn hold(law: bool, broken: &str) -> Law {
    if law { Ok(()) } else { Err(broken.to_owned()) }
}

fn same<T: PartialEq + Debug>(is: &T, should_be: &T, what: &str) -> Law {
    if is == should_be {
        return Ok(());
    }
    let [is, should_be] = [is, should_be].map(|side| format!("{side:#?}"));
    // Of a whole row only the lines that differ are worth reading.
    let only_in = |one: &str, other: &str| {
        let lines: HashSet<&str> = other.lines().collect();
        let differ = one.lines().filter(|line| !lines.contains(line));
        differ.collect::<Vec<_>>().join("\n")
    };
    Err(format!(
        "{what} is\n{}\nand should be\n{}",
        only_in(&is, &should_be),
        only_in(&should_be, &is)
    ))
}

pub(super) fn of_step(step: &Step<'_>) -> Law {
    let Step {
        transition, story, ..
    } = step;
    same(&transition.effects, &story.effects, "the effects")?;
    same(&transition.what, &story.what, "the line in the log")?;
    expectation(step)?;
    foretold(step)?;
    let Some(after) = &transition.row else {
        let removed = step.after.held.row.is_none();
        let kept = step.after.held.row == step.before.held.row;
        return hold(removed || kept, "what writes no row leaves it as it is");
    };
    successor(step, after)?;
    if let Some(before) = &step.before.held.row {
        ended_stays(step, before)?;
        started(before, after, step)?;
    }
    Ok(())
}

/// What a running turn writes names its claim, what others write the etag they decided on.
fn expectation(step: &Step<'_>) -> Law {
    let should_be = match (&step.before.held.row, step.event) {
        (None, _) => Expect::Absent,
        (
            Some(_),
            Event::End { generation, .. }
            | Event::Stop { generation, .. }
            | Event::Keep { generation }
            | Event::Take { generation, .. }
            | Event::Step { generation, .. },
        ) => Expect::Lease(*generation),
        (Some(row), _) => Expect::Etag(row.etag),
    };
    same(&step.transition.expect, &should_be, "what a commit names")
}

/// What the start-up scan asks before it gives away a slot is what the recovery then does.
fn foretold(step: &Step<'_>) -> Law {
    let (
        Some(row),
        Event::Recover {
            parting, verdict, ..
        },
    ) = (&step.before.held.row, step.event)
    else {
        return Ok(());
    };
    let held_back = match step.transition.answer {
        Answer::Recovered(Recovered::Isolated | Recovered::Quarantined) => true,
        Answer::Recovered(Recovered::Entered) => false,
        // Its end needs no slot, whatever it is suspected of.
        Answer::Recovered(Recovered::Cancelled) => return Ok(()),
        Answer::Accepted { .. } | Answer::Taken(_) | Answer::Done => {
            return Err("a recovery says its fate".into());
        }
    };
    let foretold = would_hold_back(row, *parting, *verdict);
    same(&foretold, &held_back, "what was foretold")
}

/// A changed row says when, under an etag of its own, and in its timeline. A claim and a fence take the generation that was
/// handed out, and nothing else does.
fn successor(step: &Step<'_>, after: &TaskRow) -> Law {
    let now = step.before.handed_out();
    hold(after.etag == now.etag, "each transition has its own etag")?;
    hold(after.updated_at == now.at, "a changed row says when")?;
    let what = step.transition.what.unwrap_or(EventKind::Removed);
    let (at, turn) = (now.at, after.turn);
    let mark = Mark { at, turn, what };
    same(&after.timeline.last(), &Some(&mark), "the timeline's end")?;
    let marks = after.timeline.len();
    hold(marks <= TaskRow::MARKS_MAX, "the timeline has a bound")?;
    let taken = |effect: &Effect| matches!(effect, Effect::Enter { .. } | Effect::Fence(_));
    let takes = step.story.effects.iter().any(taken) || what == EventKind::Quarantined;
    let before = step.before.held.row.as_ref();
    let known = before.map_or(Generation(0), |row| row.generation);
    let generation = if takes { now.generation } else { known };
    same(&after.generation, &generation, "the generation")
}

/// An ended run never changes: only another run follows it, and it becomes history.
fn ended_stays(step: &Step<'_>, before: &TaskRow) -> Law {
    let State::Completed { outcome, .. } = &before.state else {
        return Ok(());
    };
    let latest = step.after.held.runs.last();
    let kept = latest.is_some_and(|run| run.outcome == *outcome && run.run == before.run);
    let follows = matches!(step.event, Event::Input(_) | Event::Retry { .. });
    hold(kept && follows, "an ended run never changes")
}

/// A crash does not move the start of an attempt; whatever else enters a handler begins one.
fn started(before: &TaskRow, after: &TaskRow, step: &Step<'_>) -> Law {
    let State::InProgress { started_at, .. } = after.state else {
        return Ok(());
    };
    let enters = step.after.model.given > step.before.model.given;
    let should_be = match &before.state {
        State::InProgress { started_at, .. }
            if !enters || matches!(step.event, Event::Recover { .. }) =>
        {
            *started_at
        }
        _ => step.before.now,
    };
    same(&started_at, &should_be, "the start of the attempt")
}

pub(super) fn of_state(world: &World) -> Law {
    let World { held, model, .. } = world;
    let should_be = model.expected(held);
    same(&held.row, &should_be.row, "the row")?;
    same(&held.inbox, &should_be.inbox, "the queue")?;
    same(&held.receipts, &should_be.receipts, "the receipts")?;
    same(&held.turns, &should_be.turns, "the turns kept whole")?;
    same(&held.runs, &should_be.runs, "the earlier runs")?;
    same(&held.values, &should_be.values, "the large values")?;
    let Some(row) = &held.row else { return Ok(()) };
    same(&row.place(), &model.place(), "the place in the indexes")?;
    let max = model.rules.steerable_max.unwrap_or(0);
    // What is put back was accepted within the bound.
    let beside = if model.rules.deliveries {
        TaskRow::TAKEN_MAX
    } else {
        0
    };
    let held_in_all = row.inputs_waiting + row.inputs_taken;
    hold(held_in_all <= max + beside, "the queue keeps its bound")?;
    let most = model.rules.attempts_max;
    hold(row.attempt <= most, "no attempt is beyond the budget")?;
    one_writer(world)
}

/// At most one of all claims that were ever given may write, and it is the one that runs.
fn one_writer(world: &World) -> Law {
    let accepted = |generation: &u64| world.held.meets(&Expect::Lease(Generation(*generation)));
    let writers: Vec<u64> = (0..=world.model.given + 1).filter(accepted).collect();
    let held: Vec<u64> = world.model.held().iter().map(|held| held.0).collect();
    same(&writers, &held, "the claims that may write")
}
