//! What must be true of every step and of every state; each law says what it found broken.

use super::model::{Cause, Fate, Known, Model, Phase};
use super::ops::{failure, output};
use super::world::{TURN_BEGAN, World};
use crate::machine::{Effect, Event, Status, Transition, TurnAnswer, TurnEnd};
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    EntryKind, Failure, Generation, Outcome, Payload, Receipt, State, TaskRow,
};

/// One decided event.
pub(super) struct Step<'a> {
    pub(super) before: &'a World,
    pub(super) event: &'a Event,
    pub(super) transition: &'a Transition,
    pub(super) after: &'a World,
}

type Law = Result<(), String>;

fn hold(law: bool, broken: &str) -> Law {
    if law { Ok(()) } else { Err(broken.to_owned()) }
}

pub(super) fn of_step(step: &Step<'_>) -> Law {
    let Some(after) = &step.transition.row else {
        let attaches = matches!(step.event, Event::Input(_)) && step.before.row.is_some();
        hold(attaches, "only an attach changes nothing")?;
        return hold(
            step.transition.effects.is_empty(),
            "an attach has no effect",
        );
    };
    expectation(step)?;
    match &step.before.row {
        Some(before) => successor(before, after, step)?,
        None => hold(
            after.run == 1 && after.created_at == step.before.now,
            "a start begins a run",
        )?,
    }
    hold(
        after.updated_at == step.before.now,
        "a changed row says when",
    )?;
    effects(step, after)
}

/// What a running turn writes names its claim, what others write the etag they decided on.
fn expectation(step: &Step<'_>) -> Law {
    let expected = match (&step.before.row, step.event) {
        (None, _) => Expect::Absent,
        (Some(_), Event::End { generation, .. }) => Expect::Lease(*generation),
        (
            Some(row),
            Event::Input(_)
            | Event::Claim(_)
            | Event::Recover(_)
            | Event::Orphan(_)
            | Event::Reconsider,
        ) => Expect::Etag(row.etag),
    };
    hold(
        step.transition.expect == expected,
        "a commit names what it was decided on",
    )
}

fn successor(before: &TaskRow, after: &TaskRow, step: &Step<'_>) -> Law {
    let ended = matches!(before.state, State::Completed { .. });
    hold(!ended, "an ended row never changes")?;
    hold(after.etag > before.etag, "the etag grows with each change")?;
    hold(
        after.generation >= before.generation,
        "the generation never shrinks",
    )?;
    hold(
        after.turn >= before.turn && after.run == before.run,
        "turns only grow",
    )?;
    let same = (
        &after.id,
        after.def,
        after.retry,
        after.keep_us,
        after.created_at,
    ) == (
        &before.id,
        before.def,
        before.retry,
        before.keep_us,
        before.created_at,
    );
    hold(same, "what a start set stays")?;
    if let State::InProgress { started_at, .. } = &after.state {
        let goes_on = matches!(step.event, Event::Recover(_) | Event::Input(_));
        let began = if goes_on { TURN_BEGAN } else { step.before.now };
        hold(
            *started_at == began,
            "a crash does not move the start of the turn",
        )?;
    }
    Ok(())
}

/// The effects are exactly these: nothing is entered, answered or forgotten beyond what the change says.
fn effects(step: &Step<'_>, after: &TaskRow) -> Law {
    let mut expected = Vec::new();
    let (old, new) = (&step.before.model, &step.after.model);
    let ends = matches!(new.phase, Phase::Ended { .. });
    let next_turn = old.position(Fate::Current) != new.position(Fate::Current);
    if let Event::End { end, .. } = step.event
        && (ends || next_turn)
    {
        expected.push(answered(step, end, !ends)?);
    }
    if ends {
        expected.push(Effect::TaskEnded);
    }
    if let (Phase::Parked, Event::End { end, .. }) = (&new.phase, step.event) {
        expected.push(parked(step, end)?);
    }
    if let Phase::Slot { due } | Phase::BackOff { due } = new.phase
        && old.phase != new.phase
    {
        expected.push(Effect::Due {
            def: after.def,
            at: due,
        });
    }
    if new.given > old.given {
        expected.push(Effect::Enter(Generation(new.given)));
    }
    hold(
        step.transition.effects == expected,
        &format!("the effects are {expected:?}"),
    )
}

/// What those who wait for the parked turn are told.
fn parked(step: &Step<'_>, end: &TurnEnd) -> Result<Effect, String> {
    let old = &step.before.model;
    let current = old
        .position(Fate::Current)
        .ok_or("a turn without an input parks")?;
    let TurnEnd::Undecodable { what, expected } = end else {
        return Err("what was read is parked".into());
    };
    Ok(Effect::Parked {
        input_id: old.inputs[current].id.clone(),
        what: what.clone(),
        expected: expected.clone(),
    })
}

/// The answer to the caller of the turn that ended, under its own input.
fn answered(step: &Step<'_>, end: &TurnEnd, superseded: bool) -> Result<Effect, String> {
    let old = &step.before.model;
    let current = old
        .position(Fate::Current)
        .ok_or("a turn without an input ends")?;
    let turn = turn_of(current);
    let answer = match end {
        TurnEnd::Succeeded(_) => TurnAnswer::Output {
            payload: output(turn),
            turn,
            superseded,
        },
        TurnEnd::Failed { .. } => TurnAnswer::Failed(failed(old.failures + 1)),
        TurnEnd::Undecodable { .. } => return Err("what was not entered is answered".into()),
    };
    Ok(Effect::Answered {
        input_id: old.inputs[current].id.clone(),
        answer,
    })
}

fn failed(attempts: u32) -> Failure {
    Failure {
        attempts,
        ..failure()
    }
}

fn turn_of(position: usize) -> u32 {
    u32::try_from(position + 1).expect("few turns")
}

pub(super) fn of_state(world: &World) -> Law {
    let Some(row) = &world.row else {
        return hold(world.model.phase == Phase::Absent, "a task is not lost");
    };
    stands(row, &world.model)?;
    counts(row, world)?;
    current(row, &world.model)?;
    queue(row, world)?;
    receipts(world)?;
    values(world)
}

fn stands(row: &TaskRow, model: &Model) -> Law {
    hold(
        Status::of(row) == model.status(),
        "the row stands where its events led",
    )?;
    match &row.state {
        State::Pending { due_at, wait } => {
            hold(Some(*due_at) == model.due(), "it is due when it should be")?;
            hold(
                Some(wait) == model.wait().as_ref(),
                "it says what it waits for",
            )
        }
        State::InProgress { lease, .. } => {
            hold(
                Some(lease.generation) == model.held(),
                "each claim has a generation of its own",
            )?;
            let Phase::Running { instance, .. } = model.phase else {
                return Err("nobody runs it".into());
            };
            hold(lease.instance == instance, "the lease names its holder")?;
            hold(
                row.generation == lease.generation,
                "the row's generation is its lease's",
            )
        }
        State::Suspended { wait, .. } => hold(
            Some(wait) == model.wait().as_ref(),
            "it says what it waits for",
        ),
        State::Completed { outcome, .. } => ended(row, outcome, model),
    }
}

fn ended(row: &TaskRow, outcome: &Outcome, model: &Model) -> Law {
    let failed_for_good = matches!(model.phase, Phase::Ended { failed: true });
    let says_so = matches!(outcome, Outcome::Failed(_));
    hold(
        says_so == failed_for_good,
        "the outcome is how the last turn ended",
    )?;
    match outcome {
        Outcome::Succeeded(payload) => {
            hold(*payload == output(row.turn), "the output is the turn's")?;
            hold(
                row.inputs_accepted == row.input_seq + 1,
                "a queued input is worked on before the end",
            )
        }
        Outcome::Failed(failure) => hold(
            *failure == failed(row.attempt),
            "a failure counts its attempts",
        ),
        _ => Err("an outcome the walk does not know".into()),
    }
}

fn counts(row: &TaskRow, world: &World) -> Law {
    let model = &world.model;
    hold(
        row.generation.0 == model.given,
        "the row keeps the highest generation",
    )?;
    hold(
        row.attempt <= world.bounds.attempts_max,
        "no attempt beyond the budget",
    )?;
    // An attempt is charged when it is claimed; only a failure makes room for the next.
    let attempts = match model.phase {
        Phase::Running { .. } | Phase::Ended { failed: false } => model.failures + 1,
        Phase::Ended { failed: true } => model.failures,
        Phase::Absent
        | Phase::Slot { .. }
        | Phase::BackOff { .. }
        | Phase::WaitingHandler { .. }
        | Phase::Parked => model.failures + u32::from(model.cause == Cause::Died),
    };
    hold(
        row.attempt == attempts,
        "neither a crash nor a park is charged as an attempt",
    )?;
    hold(
        row.crashes == model.deaths,
        "each death in the turn is counted once",
    )?;
    let entry = match model.cause {
        Cause::NewInput if row.turn == 1 => EntryKind::Fresh,
        Cause::NewInput => EntryKind::Resumed,
        Cause::Failed => EntryKind::Retried,
        Cause::Died => EntryKind::Recovered,
    };
    hold(row.entry == entry, "the handler is told why it is entered")?;
    let failing = model.failures > 0 && !matches!(model.phase, Phase::Ended { .. });
    let last = failing.then(|| failed(model.failures));
    hold(
        row.last_failure == last,
        "the last failure is kept until the turn ends",
    )
}

/// The row shows the input of its turn; inputs come to their turns in the order of acceptance.
fn current(row: &TaskRow, model: &Model) -> Law {
    let fate = if matches!(model.phase, Phase::Ended { .. }) {
        Fate::Last
    } else {
        Fate::Current
    };
    let at = model.position(fate).ok_or("a task without an input")?;
    let Known {
        id,
        digest,
        payload,
        ..
    } = &model.inputs[at];
    let shown = (&row.input_id, &row.input_digest, &row.input) == (id, digest, payload);
    hold(shown, "the row shows the input of its turn")?;
    hold(
        row.input_seq == at as u64 && row.turn == turn_of(at),
        "turns take inputs in order",
    )?;
    hold(
        row.inputs_accepted == model.inputs.len() as u64,
        "each accepted input is counted",
    )
}

fn queue(row: &TaskRow, world: &World) -> Law {
    let first = usize::try_from(row.input_seq).expect("few inputs") + 1;
    let waiting = &world.model.inputs[first..];
    hold(
        waiting.len() == world.inbox.len(),
        "what was accepted after the turn's input waits",
    )?;
    for ((seq, input), (at, known)) in world.inbox.iter().zip(waiting.iter().enumerate()) {
        let same = (&input.input_id, &input.digest, &input.payload)
            == (&known.id, &known.digest, &known.payload);
        hold(
            *seq == (first + at) as u64 && same,
            "the queue keeps inputs in order, as given",
        )?;
    }
    let max = world.bounds.steerable_max.unwrap_or(0);
    hold(world.inbox.len() as u64 <= max, "the queue keeps its bound")
}

/// Every input but a first one that still works has exactly one receipt, and it is true.
fn receipts(world: &World) -> Law {
    let mut many = 0;
    for (at, known) in world.model.inputs.iter().enumerate() {
        let turn = turn_of(at);
        let expected = match known.fate {
            // The queue of an ended task stays as it is; its end is in the row.
            Fate::Queued | Fate::TaskEnded => Some(Receipt::Queued { seq: at as u64 }),
            Fate::Current | Fate::Last if at == 0 => None,
            Fate::Current | Fate::Last => Some(Receipt::Turn { turn }),
            Fate::Answered => Some(Receipt::Answered {
                turn,
                output: output(turn),
            }),
        };
        many += usize::from(expected.is_some());
        hold(
            world.receipts.get(&known.id) == expected.as_ref(),
            "every input has its receipt",
        )?;
    }
    hold(
        world.receipts.len() == many,
        "a receipt belongs to an accepted input",
    )
}

/// A large input is kept while a turn may read it, and no longer than the next turn's start.
fn values(world: &World) -> Law {
    let kept = world.model.inputs.iter().enumerate().filter(|(_, known)| {
        known.fate != Fate::Answered && matches!(known.payload, Payload::Stored { .. })
    });
    let same = kept
        .map(|(at, _)| at as u64)
        .eq(world.values.iter().copied());
    hold(
        same,
        "a large input is kept as long as its turn may need it",
    )
}
