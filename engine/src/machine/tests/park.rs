//! A handler that waits for something that takes long: its turn leaves memory and comes back.

use super::enters;
use super::task::{PLAIN, STEERABLE, Task, cancel, died, input, sleeps, us};
use crate::machine::{Aim, Effect, Event, Rejected, Transition};
use outlive_storage::commit::Write;
use outlive_storage::row::{
    Deadline, Delivery, EntryKind, EventKind, Guard, Micros, Outcome, State, StepState, WaitReason,
};

fn outcome(task: &Task) -> &Outcome {
    match &task.row().state {
        State::Completed { outcome, .. } => outcome,
        other => panic!("not ended: {other:?}"),
    }
}

/// The steps a transition puts down.
fn put_down(transition: &Transition) -> Vec<(&str, StepState)> {
    let steps = transition.writes.iter().filter_map(|write| match write {
        Write::Step { key, step, .. } => Some((&**key, step.state)),
        _ => None,
    });
    steps.collect()
}

#[test]
fn a_turn_that_sleeps_is_due_when_its_first_sleep_is_over_and_all_is_put_down_with_it() {
    let mut task = Task::running(PLAIN);
    let until = task.at + 50;
    let transition = task.end(sleeps(&[("a", until + 1), ("b", until)]));
    let due_at = Micros(until);
    let step = "b".into();
    assert_eq!(
        task.row().state,
        State::Pending {
            due_at: Deadline::own(due_at),
            wait: WaitReason::Sleeping { step }
        }
    );
    let sleeping = |until| StepState::Sleeping {
        until: Deadline::own(Micros(until)),
    };
    let both = vec![("a", sleeping(until + 1)), ("b", sleeping(until))];
    assert_eq!(put_down(&transition), both);
    let due = Effect::Due {
        def: task.row().def,
        at: due_at,
    };
    assert_eq!(transition.effects[..], [due]);
    assert_eq!(transition.what, Some(EventKind::Waits));
}

#[test]
fn a_sleep_whose_time_has_come_is_over_for_good() {
    let mut task = Task::running(PLAIN);
    task.end(sleeps(&[("a", task.at + 50)]));
    let due_at = Micros(task.at + 50);
    task.at += 49;
    assert_eq!(
        task.refuses(Event::Claim(us(1))),
        Rejected::NotDue { due_at }
    );
    task.at += 1;
    let transition = task.does(Event::Claim(us(1)));
    assert_eq!(put_down(&transition), [("a", StepState::Done)]);
    let enter = enters(task.row().generation.0);
    assert_eq!(transition.effects[..], [enter]);
    assert_eq!(task.row().entry, EntryKind::Resumed);
    assert_eq!(task.row().attempt, 1, "the attempt goes on");
}

#[test]
fn a_sleep_that_an_input_wakes_is_not_over() {
    let mut task = Task::running(STEERABLE);
    task.end(sleeps(&[("a", task.at + 50)]));
    task.send(input("b"));
    let transition = task.does(Event::Claim(us(1)));
    assert_eq!(put_down(&transition), []);
    let told = Effect::Enter {
        generation: task.row().generation,
        steered: true,
    };
    assert_eq!(transition.effects[..], [told]);
}

#[test]
fn an_input_that_interrupts_nobody_wakes_nobody() {
    for delivery in [Delivery::AtBoundary, Delivery::AfterTurn] {
        let mut task = Task::running(STEERABLE);
        task.end(sleeps(&[("a", task.at + 50)]));
        let was = task.row().state.clone();
        let mut later = input("b");
        later.delivery = delivery;
        task.send(later);
        assert_eq!(task.row().state, was);
    }
}

/// It came between the handler's last look and its sleep: whoever missed it would sleep through it.
#[test]
fn what_came_before_the_sleep_is_not_slept_through() {
    let mut task = Task::running(STEERABLE);
    task.send(input("b"));
    task.end(sleeps(&[("a", task.at + 50)]));
    task.does(Event::Claim(us(1)));
    // Once is enough: a handler that sleeps on is let sleep.
    task.end(sleeps(&[("a", task.at + 50)]));
    let due_at = Micros(task.at + 50);
    assert_eq!(
        task.refuses(Event::Claim(us(1))),
        Rejected::NotDue { due_at }
    );
}

#[test]
fn the_time_of_a_turn_stands_still_while_it_sleeps() {
    let mut task = Task::timed(PLAIN, 40);
    task.at += 10;
    task.end(sleeps(&[("a", task.at + 1_000)]));
    assert_eq!(task.row().deadline, Deadline::NEVER);
    task.at += 2_000;
    task.does(Event::Claim(us(1)));
    assert_eq!(task.row().deadline, Deadline::own(Micros(task.at + 30)));
    assert_eq!(task.row().time_left_us, None);
}

#[test]
fn a_turn_whose_time_is_up_does_not_go_to_sleep() {
    let mut task = Task::timed(PLAIN, 40);
    task.at += 40;
    task.end(sleeps(&[("a", task.at + 50)]));
    let outcome = outcome(&task);
    assert!(
        matches!(
            outcome,
            Outcome::Terminated {
                timed_out: true,
                ..
            }
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_turn_that_was_cancelled_does_not_go_to_sleep_and_one_that_sleeps_is_cancelled_at_once() {
    for asleep in [false, true] {
        let mut task = Task::running(PLAIN);
        let sleep = sleeps(&[("a", task.at + 50)]);
        if asleep {
            task.end(sleep);
            task.does(cancel(Aim::Task, "enough"));
        } else {
            task.does(cancel(Aim::Task, "enough"));
            task.end(sleep);
        }
        let outcome = outcome(&task);
        assert!(matches!(outcome, Outcome::Cancelled { .. }), "{outcome:?}");
    }
}

#[test]
fn a_turn_that_comes_to_sleep_does_not_kill_its_process() {
    let mut task = Task::after(PLAIN, died(2));
    assert_ne!(task.row().guard, Guard::CLEAR);
    task.end(sleeps(&[("a", task.at + 50)]));
    assert_eq!(task.row().guard, Guard::CLEAR);
    assert_eq!(
        task.row().attempt,
        0,
        "the claim that follows counts it again"
    );
    task.at += 50;
    task.does(Event::Claim(us(3)));
    assert_eq!(task.row().attempt, 1);
}
