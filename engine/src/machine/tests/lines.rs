//! Deadlines when the wall clock jumps: which of them it moves, and what a restart makes of them.

use super::task::{BACK_OFF_US, PLAIN, Task, died, failed, input, us};
use crate::machine::{Event, NewInput, Overdue, Rejected};
use outlive_storage::row::{Deadline, Line, Micros, State};
use std::sync::Arc;

const YEARS: i64 = 10 * 365 * 86_400_000_000;
/// Far enough from 1970 for a clock that is set back by ten years.
const NOON: u64 = 1_700_000_000_000_000;
const HOUR_US: u64 = 3_600_000_000;

fn at_noon() -> Task {
    let mut task = Task::none(PLAIN);
    task.at = NOON;
    task
}

#[track_caller]
fn due_at(task: &Task) -> Deadline {
    let State::Pending { due_at, .. } = task.row().state else {
        panic!("not due: {:?}", task.row().state)
    };
    due_at
}

#[track_caller]
fn assert_not_due(task: &Task) {
    let told = task.refuses(Event::Claim(us(1)));
    assert!(matches!(told, Rejected::NotDue { .. }), "{told:?}");
}

/// Delayed by the caller until a moment of the wall clock.
fn delayed_until(at: u64) -> Task {
    let mut task = at_noon();
    task.send(NewInput {
        start_at: Some(Deadline::wall(Micros(at))),
        ..input("a")
    });
    task
}

/// Its turn has so long, and runs.
fn timed(timeout_us: u64) -> Task {
    let mut task = at_noon();
    let mut timed = input("a");
    Arc::make_mut(&mut timed.options).timeout_us = timeout_us;
    task.send(timed);
    task
}

#[test]
fn a_moment_of_the_wall_clock_comes_when_the_wall_clock_shows_it() {
    let mut task = delayed_until(NOON + HOUR_US);
    (task.at, task.ahead_us) = (NOON + 2 * HOUR_US, -YEARS);
    assert_not_due(&task);
    (task.at, task.ahead_us) = (NOON, 3_600_000_000);
    task.does(Event::Claim(us(1)));
}

#[test]
fn a_back_off_is_moved_by_no_jump_while_its_process_lives() {
    for ahead_us in [YEARS, -YEARS] {
        let mut task = at_noon();
        task.send(input("a"));
        task.end(failed(false));
        let wait = BACK_OFF_US;
        task.ahead_us = ahead_us;
        task.at = NOON + wait - 1;
        assert_not_due(&task);
        task.at += 1;
        task.does(Event::Claim(us(1)));
    }
}

#[test]
fn a_back_off_after_a_jump_is_written_by_the_wall_clock_as_it_is_now() {
    for ahead_us in [YEARS, -YEARS] {
        let mut task = at_noon();
        task.send(input("a"));
        task.ahead_us = ahead_us;
        task.end(failed(false));
        let wall = NOON.saturating_add_signed(ahead_us);
        let wait = BACK_OFF_US;
        let line = Line::Jump { life: 1, ahead_us };
        let at = Micros(wall + wait);
        assert_eq!(due_at(&task), Deadline { line, at });
        assert_eq!(task.row().updated_at, Micros(wall));
        task.ahead_us = 0;
        task.at = NOON + wait - 1;
        assert_not_due(&task);
        // The next life began by reading the wall clock, and so its own time comes to that moment.
        (task.life, task.at) = (2, wall + wait - 1);
        assert_not_due(&task);
        task.at += 1;
        task.does(Event::Claim(us(1)));
    }
}

#[test]
fn the_time_of_a_turn_is_moved_by_no_jump_while_its_process_lives() {
    let generation = |task: &Task| task.row().generation;
    for ahead_us in [YEARS, -YEARS] {
        let mut task = timed(1_000);
        task.ahead_us = ahead_us;
        task.at = NOON + 999;
        let why = Overdue::TimedOut;
        let stop = |task: &Task| Event::Stop {
            generation: generation(task),
            why,
        };
        let early = task.refuses(stop(&task));
        assert!(matches!(early, Rejected::NotDue { .. }), "{early:?}");
        task.at += 1;
        let stop = stop(&task);
        task.does(stop);
    }
}

/// Compared by their numbers, the one that the clock had made small would always come first, and the other never.
#[test]
fn a_back_off_that_outlasts_its_turn_ends_with_it_on_whatever_line() {
    for ahead_us in [YEARS, -YEARS] {
        let mut short = timed(BACK_OFF_US - 1);
        short.ahead_us = ahead_us;
        short.end(failed(false));
        let deadline = Deadline::own(Micros(NOON + BACK_OFF_US - 1));
        assert_eq!(due_at(&short), deadline);
        let mut long = timed(BACK_OFF_US + 1);
        long.ahead_us = ahead_us;
        long.end(failed(false));
        assert!(matches!(due_at(&long).line, Line::Jump { .. }));
    }
}

/// A crash long after a jump leaves a deadline under either clock; no turn gets more than it may have, and none loses
/// what it had left by the wall clock.
#[test]
fn a_recovered_turn_has_between_nothing_and_a_whole_time_out_left() {
    for (ahead_us, left_us) in [(0, 600), (400, 200), (-YEARS, 1_000), (YEARS, 0)] {
        let mut task = timed(1_000);
        (task.life, task.at) = (2, (NOON + 400).saturating_add_signed(ahead_us));
        task.does(died(2));
        let left = task.row().deadline.at.0.saturating_sub(task.at);
        assert_eq!(left, left_us, "{ahead_us}");
    }
}

#[test]
fn retention_follows_the_wall_clock_as_it_is_read() {
    let mut task = at_noon();
    task.send(input("a"));
    task.end(super::task::succeeded("1"));
    let State::Completed { expires_at, .. } = task.row().state else {
        panic!("not ended")
    };
    (task.at, task.ahead_us) = (expires_at.0, -1);
    task.refuses(Event::Expire);
    (task.at, task.ahead_us) = (NOON, YEARS);
    task.does(Event::Expire);
}

#[test]
fn what_is_due_at_once_is_due_under_a_clock_that_was_set_back() {
    let mut task = at_noon();
    task.send(NewInput {
        claimant: None,
        ..input("a")
    });
    task.life = 2;
    task.at = NOON - HOUR_US;
    task.does(Event::Claim(us(1)));
}
