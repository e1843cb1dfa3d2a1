//! Recorded steps: whose they are, what they prove, and what becomes of a turn that its handler put aside.

use super::task::{
    PLAIN, STEERABLE, Task, died, failed, id, input, retry, succeeded, suspended, us,
};
use super::{answered, replied};
use crate::machine::{Answer, Effect, Event, Rejected, Resolution, Status, TurnEnd};
use outlive_storage::commit::{Expect, Write};
use outlive_storage::row::{
    EntryKind, EventKind, Generation, Guard, Micros, State, StepRow, StepState, WaitReason,
};

fn done() -> Box<StepRow> {
    Box::new(StepRow {
        state: StepState::Done,
        attempt: 0,
        at: Micros(0),
        type_name: "u32".into(),
        value: b"1".to_vec(),
    })
}

fn step(task: &Task, step: Option<Box<StepRow>>) -> Event {
    Event::Step {
        generation: task.row().generation,
        key: "fetch".into(),
        step,
    }
}

fn unknown() -> WaitReason {
    WaitReason::UnknownOutcome { step: "pay".into() }
}

fn resolve(key: &str, resolution: Resolution) -> Event {
    Event::Resolve {
        key: key.into(),
        resolution,
        if_etag: None,
    }
}

fn forgets(writes: &[Write]) -> Option<u64> {
    writes.iter().find_map(|write| match write {
        Write::ForgetSteps { turn } => Some(*turn),
        _ => None,
    })
}

#[test]
fn a_step_is_put_down_beside_the_row_under_the_claim_of_its_turn() {
    let mut task = Task::running(PLAIN);
    task.at += 5;
    let before = task.row().clone();
    let transition = task.does(step(&task.clone(), Some(done())));
    assert_eq!(transition.expect, Expect::Lease(Generation(1)));
    assert_eq!((transition.what, transition.row), (None, None));
    let [Write::Step { turn: 1, key, step }] = &transition.writes[..] else {
        panic!("{:?}", transition.writes);
    };
    assert_eq!(
        (&**key, step.at, step.attempt),
        ("fetch", Micros(task.at), 1)
    );
    assert_eq!(*task.row(), before);
}

#[test]
fn a_recorded_step_proves_that_its_turn_does_not_kill_its_process() {
    let mut task = Task::after(PLAIN, died(2));
    assert_ne!(task.row().guard, Guard::CLEAR);
    let begun = Box::new(StepRow {
        state: StepState::Begun,
        value: Vec::new(),
        ..*done()
    });
    task.does(step(&task.clone(), Some(begun)));
    assert_ne!(task.row().guard, Guard::CLEAR, "it was only begun");
    let transition = task.does(step(&task.clone(), Some(done())));
    assert_eq!(transition.what, Some(EventKind::Acquitted));
    assert_eq!(task.row().guard, Guard::CLEAR);
}

#[test]
fn a_turn_that_begins_forgets_the_steps_of_the_one_before_and_a_retry_keeps_them() {
    let mut chain = Task::ended(STEERABLE, suspended("1"));
    let transition = chain.send(input("b"));
    assert_eq!(forgets(&transition.writes), Some(1));
    assert_eq!(chain.row().steps_of, 2);
    let mut drained = Task::running(STEERABLE);
    drained.send(input("b"));
    let transition = drained.end(succeeded("1"));
    assert_eq!(forgets(&transition.writes), Some(1));

    let mut again = Task::ended(PLAIN, failed(true));
    let transition = again.does(retry());
    assert_eq!(forgets(&transition.writes), None);
    assert_eq!((again.row().turns_total, again.row().steps_of), (2, 1));
    again.end(failed(true));
    let from_start = Event::Retry {
        if_etag: None,
        from_start: true,
        claimant: Some(us(1)),
    };
    let transition = again.does(from_start);
    assert_eq!(forgets(&transition.writes), Some(1));
    assert_eq!((again.row().turns_total, again.row().steps_of), (3, 3));
}

#[test]
fn a_turn_that_its_handler_put_aside_has_lost_nothing() {
    let mut task = Task::running(PLAIN);
    let wait = WaitReason::DuplicateStep { key: "pay".into() };
    let transition = task.end(TurnEnd::Held(wait.clone()));
    assert_eq!(transition.what, Some(EventKind::Held));
    assert_eq!(transition.effects[..], [Effect::Idle]);
    assert_eq!(task.row().attempt, 0, "nobody failed");
    assert!(matches!(&task.row().state, State::Suspended { wait: is, .. } if *is == wait));
    task.does(retry());
    task.does(Event::Claim(us(1)));
    assert_eq!(
        (task.row().attempt, task.row().entry),
        (1, EntryKind::Resumed)
    );
}

#[test]
fn only_the_step_that_is_waited_for_is_resolved() {
    let mut task = Task::running(PLAIN);
    task.end(TurnEnd::Held(unknown()));
    let conflict = task.conflict(Status::Suspended, Some(unknown()));
    let other = resolve("other", Resolution::NotDone);
    assert_eq!(task.refuses(other), conflict);
    assert_eq!(task.refuses(retry()), conflict, "nor does a retry guess");
    for (state, task) in Task::in_every_state(STEERABLE) {
        let told = task.refuses(resolve("pay", Resolution::NotDone));
        assert!(matches!(told, Rejected::Conflict { .. }), "{state}");
    }
    let mut done_by_hand = task.clone();
    let transition = done_by_hand.does(resolve("pay", Resolution::Done(done())));
    assert_eq!(transition.answer, Answer::Done);
    assert!(matches!(transition.writes[..], [Write::Step { .. }]));
    let transition = task.does(resolve("pay", Resolution::NotDone));
    assert!(matches!(transition.writes[..], [Write::RemoveStep { .. }]));
    assert_eq!(Status::of(task.row()), Status::Pending);
    task.does(Event::Claim(us(1)));
    let transition = task.end(succeeded("1"));
    assert_eq!(transition.effects[0], answered("a", 1, replied("1")));
    assert_eq!(task.row().input_id, id("a"));
}

/// It kept its steps, and was put aside again at once.
#[test]
fn a_turn_that_was_put_aside_is_not_begun_from_the_start() {
    let mut task = Task::running(PLAIN);
    task.end(TurnEnd::Held(WaitReason::DuplicateStep { key: "a".into() }));
    let from_start = Event::Retry {
        if_etag: None,
        from_start: true,
        claimant: Some(us(1)),
    };
    let refused = task.refuses(from_start);
    assert!(matches!(refused, Rejected::Conflict { .. }), "{refused:?}");
}
