//! The poison guard: deaths counted, suspects held back and probed, the guilty kept, the innocent released.

use super::enters;
use super::task::{
    DEF, OPTIONS, PLAIN, STEERABLE, Task, died, failed, orphan, probe, recover, retry, succeeded,
    us,
};
use crate::machine::{
    ALONE_DEATHS, Answer, Effect, Event, Parting, Recovered, Rejected, SUSPECT_DEATHS, Status,
    Verdict,
};
use outlive_storage::commit::Expect;
use outlive_storage::row::{
    Deadline, EntryKind, EventKind, Guard, Micros, OptionsRow, Place, Probation, State, WaitReason,
};

/// The process that holds the turn, and the one that finds it.
const HOLDER: u128 = 40;
const FINDER: u128 = 41;

fn isolated(deaths: u32) -> State {
    State::Pending {
        due_at: Deadline::ISOLATED,
        wait: WaitReason::Isolated { deaths },
    }
}

/// A suspect that runs, alone or in a group.
#[track_caller]
fn probed(alone: bool) -> Task {
    let mut task = Task::isolated(STEERABLE);
    task.does(probe(HOLDER, alone));
    task
}

#[test]
fn the_first_deaths_of_a_turn_are_forgiven_and_the_third_makes_it_a_suspect() {
    let mut task = Task::running(STEERABLE);
    for deaths in 1..SUSPECT_DEATHS {
        let transition = task.does(died(u128::from(deaths) + 1));
        assert_eq!(transition.what, Some(EventKind::Recovered));
        assert_eq!(task.row().guard.deaths, deaths);
        assert_eq!(Status::of(task.row()), Status::InProgress);
    }
    let etag = task.row().etag;
    let transition = task.does(died(9));
    assert_eq!(transition.what, Some(EventKind::Isolated));
    assert_eq!(transition.expect, Expect::Etag(etag));
    assert_eq!(transition.effects[..], [], "it is not entered");
    assert_eq!(task.row().state, isolated(SUSPECT_DEATHS));
    assert_eq!(task.row().crashes, SUSPECT_DEATHS);
}

#[test]
fn nobody_but_the_guard_enters_a_suspect() {
    let mut task = Task::isolated(STEERABLE);
    assert_eq!(task.row().place(), Place::Due(Deadline::ISOLATED));
    task.at = 1 << 60;
    let due_at = Micros::ISOLATED;
    let told = task.refuses(Event::Claim(us(1)));
    assert_eq!(told, Rejected::NotDue { due_at });
    let etag = task.row().etag;
    let transition = task.does(probe(HOLDER, false));
    assert_eq!(transition.expect, Expect::Etag(etag));
    assert_eq!(transition.what, Some(EventKind::Probed));
    let row = task.row();
    assert_eq!(transition.effects[..], [enters(row.generation.0)]);
    assert_eq!((row.attempt, row.entry), (1, EntryKind::Recovered));
}

#[test]
fn what_is_not_a_suspect_is_not_probed() {
    for (state, task) in Task::in_every_state(STEERABLE) {
        if state == "isolated" {
            continue;
        }
        let status = Status::of(task.row());
        let told = task.refuses(probe(HOLDER, true));
        assert_eq!(told, Rejected::WrongState { status }, "{state}");
    }
}

#[test]
fn a_death_in_a_group_proves_nothing_against_one_of_it() {
    let mut task = probed(false);
    assert_eq!(task.row().guard.probation, Probation::Group);
    for deaths in [4, 5, 6] {
        task.does(died(FINDER));
        assert_eq!(task.row().state, isolated(deaths));
        assert_eq!(task.row().guard.alone, 0);
        task.does(probe(HOLDER, false));
    }
}

#[test]
fn a_turn_that_kills_its_process_alone_twice_is_quarantined() {
    let mut task = probed(true);
    assert_eq!(task.row().guard.probation, Probation::Alone);
    task.does(died(FINDER));
    assert_eq!(task.row().state, isolated(4), "once is not enough");
    assert_eq!(task.row().guard.alone, 1);
    // A death among others in between does not clear it.
    task.does(probe(HOLDER, false));
    task.does(died(FINDER));
    task.does(probe(HOLDER, true));
    let generation = task.row().generation;
    let transition = task.does(died(FINDER));
    assert_eq!(transition.what, Some(EventKind::Quarantined));
    assert_eq!(
        transition.effects[..],
        [],
        "its callers wait for an operator"
    );
    let deaths = 6;
    let (since, wait) = (Micros(10_000), WaitReason::Quarantined { deaths });
    assert_eq!(task.row().state, State::Suspended { since, wait });
    assert_eq!(task.row().guard.alone, ALONE_DEATHS);
    assert!(task.row().generation > generation, "fenced off");
}

#[test]
fn a_death_while_no_suspect_ran_clears_everybody() {
    let mut task = Task::running(STEERABLE);
    for _ in 0..10 {
        task.does(recover(FINDER, Parting::Died, Verdict::Innocent));
        assert_eq!(task.row().guard, Guard::CLEAR);
        task.does(died(HOLDER));
        assert_eq!(task.row().guard.deaths, 1);
    }
}

#[test]
fn a_stop_in_order_clears_the_record_and_is_no_crash() {
    for alone in [true, false] {
        let mut task = probed(alone);
        let crashes = task.row().crashes;
        let transition = task.does(recover(FINDER, Parting::Stopped, Verdict::Count));
        assert_eq!(transition.what, Some(EventKind::Recovered));
        let row = task.row();
        assert_eq!((row.guard, row.crashes), (Guard::CLEAR, crashes));
        assert_eq!((row.attempt, row.entry), (1, EntryKind::Recovered));
    }
}

#[test]
fn a_guard_that_is_off_counts_and_decides_nothing() {
    let mut task = Task::running(STEERABLE);
    for deaths in 1..20 {
        let process = u128::from(deaths) + 1;
        task.does(recover(process, Parting::Died, Verdict::Off));
        assert_eq!(task.row().guard.deaths, deaths);
        assert_eq!(Status::of(task.row()), Status::InProgress);
    }
}

#[test]
fn a_recovery_says_what_became_of_the_turn() {
    let fate = |mut task: Task| task.does(died(FINDER)).answer;
    let mut cancelled = Task::running(STEERABLE);
    cancelled.does(super::task::cancel(crate::machine::Aim::Task, "enough"));
    let mut suspected = Task::running(STEERABLE);
    suspected.does(died(2));
    suspected.does(died(3));
    let mut guilty = probed(true);
    guilty.does(died(FINDER));
    guilty.does(probe(HOLDER, true));
    let fates = [
        (Task::running(STEERABLE), Recovered::Entered),
        (suspected, Recovered::Isolated),
        (guilty, Recovered::Quarantined),
        (cancelled, Recovered::Cancelled),
    ];
    for (task, became) in fates {
        assert_eq!(fate(task), Answer::Recovered(became));
    }
}

#[test]
fn a_turn_that_survives_its_probation_is_cleared_and_runs_on() {
    let mut task = probed(true);
    let (etag, generation) = (task.row().etag, task.row().generation);
    let transition = task.does(Event::Acquit);
    assert_eq!(transition.expect, Expect::Etag(etag));
    assert_eq!(transition.effects[..], [], "its handler is not disturbed");
    let row = task.row();
    assert_eq!((row.guard, row.generation), (Guard::CLEAR, generation));
    task.end(succeeded("1"));
}

#[test]
fn a_suspect_that_is_cleared_before_it_ran_is_due() {
    let mut task = Task::isolated(STEERABLE);
    let transition = task.does(Event::Acquit);
    let at = Micros(10_000);
    assert_eq!(transition.effects[..], [Effect::Due { def: DEF, at }]);
    assert_eq!(task.row().guard, Guard::CLEAR);
    task.does(Event::Claim(us(1)));
    assert_eq!(task.row().attempt, 1, "the deaths were not charged");
}

#[test]
fn who_is_not_suspected_is_not_acquitted() {
    for (state, task) in Task::in_every_state(STEERABLE) {
        if state == "isolated" {
            continue;
        }
        let status = Status::of(task.row());
        let told = task.refuses(Event::Acquit);
        assert_eq!(told, Rejected::WrongState { status }, "{state}");
    }
}

#[test]
fn a_released_turn_is_forgiven_all_its_deaths() {
    let mut task = Task::quarantined(STEERABLE);
    task.does(retry());
    task.does(Event::Claim(us(FINDER)));
    let transition = task.does(died(HOLDER));
    assert_eq!(transition.what, Some(EventKind::Recovered));
    assert_eq!(task.row().guard.deaths, 1);
}

#[test]
fn an_error_proves_that_a_suspect_does_not_kill_its_process() {
    let mut task = probed(true);
    task.end(failed(false));
    assert_eq!(task.row().guard, Guard::CLEAR);
    assert_eq!(Status::of(task.row()), Status::Pending);
}

/// A suspect whose process died while it ran alone, and which was found by a program without its handler, kept its
/// probation: claimed among all others later, it was blamed as if it had run alone. And a stop in order did not clear it.
#[test]
fn an_orphan_is_not_on_probation_any_more() {
    let mut task = probed(true);
    task.does(orphan(FINDER, Parting::Died));
    assert_eq!(task.row().guard.probation, Probation::No);
    assert_eq!(task.row().guard.deaths, 4, "its death is counted");
    task.does(Event::Claim(us(HOLDER)));
    task.does(died(FINDER));
    assert_eq!((task.row().guard.deaths, task.row().guard.alone), (5, 0));
    let mut stopped = probed(true);
    stopped.does(orphan(FINDER, Parting::Stopped));
    assert_eq!(stopped.row().guard, Guard::CLEAR);
}

#[test]
fn a_suspect_does_not_pass_for_another_turn() {
    let mut task = Task::isolated(STEERABLE);
    task.send(super::task::input("b"));
    task.does(super::task::cancel(super::task::of("a"), "enough"));
    assert_eq!(task.row().guard, Guard::CLEAR);
    assert_eq!((task.row().turn, task.row().crashes), (2, 0));
}

#[test]
fn the_time_of_a_suspect_begins_anew_when_it_is_entered() {
    let options = OptionsRow {
        timeout_us: 1_000,
        ..OPTIONS
    };
    let mut task = Task::running_with(PLAIN, options);
    for process in [2, 3, 4] {
        task.does(died(process));
    }
    task.at += 900;
    task.does(probe(HOLDER, true));
    assert_eq!(task.row().deadline.at, Micros(task.at + 1_000));
}
