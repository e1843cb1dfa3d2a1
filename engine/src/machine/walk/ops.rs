//! What is tried in every state of the walk, whether it fits or not.

use super::model::{Fate, Model};
use super::world::{Bounds, World};
use crate::machine::{Claimant, Event, NewInput, TurnEnd};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::row::{
    BackOff, DefNumber, Failure, FailureKind, Generation, Payload, Priority, RetryRow,
};

pub(super) const DEF: DefNumber = DefNumber(1);
const OTHER_DEF: DefNumber = DefNumber(2);
pub(super) const BACK_OFF_US: u64 = 50;
/// What a failure may ask for instead.
const RETRY_AFTER_US: u64 = 7;
/// The two processes.
const INSTANCES: [u128; 2] = [0xa, 0xb];

/// One thing to try.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Send(Event),
    /// Time passes.
    Tick,
}

/// All of them for a state.
pub(super) fn all(world: &World) -> Vec<Op> {
    let mut events = inputs(&world.model, world.bounds);
    for instance in INSTANCES {
        events.push(Event::Claim(claimant(instance)));
        events.push(Event::Recover(claimant(instance)));
        events.push(Event::Orphan(claimant(instance)));
    }
    events.push(Event::Reconsider);
    // One generation more than was ever given: nobody may end what was not claimed.
    for generation in 1..=world.model.given + 1 {
        events.extend(ends(&world.model, Generation(generation)));
    }
    let ops = events.into_iter().map(Op::Send);
    if world.model.due().is_some_and(|due| due > world.now) {
        return ops.chain([Op::Tick]).collect();
    }
    ops.collect()
}

/// Every known input once more, a new one, and what is like them in all but one respect.
fn inputs(model: &Model, bounds: Bounds) -> Vec<Event> {
    let new = model.inputs.len();
    let mut inputs = Vec::new();
    for position in 0..new {
        inputs.push(input(position, position, true, bounds));
        // The same id with other bytes is still the same input: the id is the key.
        inputs.push(input(position, position + 1, true, bounds));
    }
    inputs.push(input(new, new, true, bounds));
    // Without an id of its caller: equal to the first input, and to none.
    inputs.push(input(new, 0, false, bounds));
    inputs.push(input(new, new, false, bounds));
    // The walk's own definition is the one that starts the task.
    if new > 0 {
        let other = NewInput {
            def: OTHER_DEF,
            ..input(new, new, true, bounds)
        };
        inputs.push(other);
    }
    // A slot that comes with a further input must not be used.
    let claimants = [None, Some(INSTANCES[0])];
    let with = |input: &NewInput, instance: Option<u128>| {
        Event::Input(Box::new(NewInput {
            claimant: instance.map(claimant),
            ..input.clone()
        }))
    };
    inputs
        .iter()
        .flat_map(|input| claimants.map(|instance| with(input, instance)))
        .collect()
}

fn input(position: usize, like: usize, input_id_given: bool, bounds: Bounds) -> NewInput {
    NewInput {
        id: TaskId::new("walked").expect("an id"),
        def: DEF,
        input_id: InputId::new(format!("i{position}")).expect("an id"),
        input_id_given,
        digest: [u8::try_from(like).expect("few inputs"); 16],
        payload: payload(position),
        priority: Priority::NORMAL,
        retry: RetryRow {
            attempts_max: bounds.attempts_max,
            initial_us: BACK_OFF_US,
            max_us: BACK_OFF_US,
            back_off: BackOff::Fixed,
            jitter: false,
        },
        keep_us: u64::MAX,
        owner: "walk".into(),
        claimant: None,
    }
}

/// Every second input is too large for a row.
fn payload(position: usize) -> Payload {
    if position % 2 == 1 {
        return Payload::Stored { len: 2000 };
    }
    Payload::Inline(vec![u8::try_from(position).expect("few inputs")])
}

fn ends(model: &Model, generation: Generation) -> Vec<Event> {
    let turn = u32::try_from(model.position(Fate::Current).unwrap_or(0) + 1).expect("few turns");
    let failed = |terminal, retry_after_us| TurnEnd::Failed {
        failure: failure(),
        terminal,
        retry_after_us,
    };
    let ends = [
        TurnEnd::Succeeded(output(turn)),
        failed(false, None),
        failed(false, Some(RETRY_AFTER_US)),
        failed(true, None),
        TurnEnd::Undecodable {
            what: "input".into(),
            expected: "u32".into(),
        },
    ];
    let by = |instance, end: &TurnEnd| Event::End {
        generation,
        end: end.clone(),
        claimant: claimant(instance),
    };
    ends.iter()
        .flat_map(|end| INSTANCES.map(|instance| by(instance, end)))
        .collect()
}

/// What the handler returns in a turn.
pub(super) fn output(turn: u32) -> Payload {
    Payload::Inline(turn.to_string().into_bytes())
}

/// How the handler fails, before the machine counts the attempt.
pub(super) fn failure() -> Failure {
    Failure {
        kind: FailureKind::Error,
        message: "no".into(),
        chain: Vec::new(),
        attempts: 0,
    }
}

fn claimant(instance: u128) -> Claimant {
    Claimant {
        owner: "walk".into(),
        instance,
    }
}
