//! The rules of the machine as sentences: what each event makes of each state. The walk tests that no order of them
//! breaks a law.

mod after;
mod asks;
mod asks_walk;
mod cancel;
mod ends;
mod family;
mod guard;
pub(super) mod held;
mod kept;
mod lines;
mod park;
mod retries;
mod start;
mod states;
mod steer;
mod steps;
mod table;
mod take;

mod task;
mod turns;

use super::{Accepted, Answer, Effect, Transition};
use outlive_storage::row::{Generation, Payload, TurnResult};
use task::{Task, id};

/// The event was taken as an input in this way, and the call answers for this input.
#[track_caller]
fn assert_accepted(transition: &Transition, how: Accepted, text: &str) {
    let input_id = id(text);
    assert!(
        matches!(&transition.answer, Answer::Accepted { how: is, named } if *is == how && named.input_id == input_id),
        "{:?}",
        transition.answer
    );
    let writes = transition.row.is_some() || !transition.writes.is_empty();
    assert_eq!(
        writes,
        how != Accepted::Attached,
        "only an attach writes nothing"
    );
}

/// Those who wait for the input learn this.
fn answered(text: &str, turn: u32, result: TurnResult) -> Effect {
    Effect::Answered {
        input_id: id(text),
        turn,
        result,
    }
}

/// The handler is entered under this claim, and nothing interrupts it.
fn enters(generation: u64) -> Effect {
    Effect::Enter {
        generation: Generation(generation),
        steered: false,
    }
}

/// A reply that ended its task.
fn replied(output: &str) -> TurnResult {
    TurnResult::Replied {
        output: Payload::Inline(output.into()),
        suspended: None,
        superseded: false,
    }
}

/// Nothing was changed: neither the row nor anything that hangs on it.
#[track_caller]
fn assert_nothing_changed(before: &Task, after: &Task, what: &str) {
    assert_eq!(before.held, after.held, "{what}");
}
