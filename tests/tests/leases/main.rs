//! A worker that lost its claim, kept alive and trying everything it could once do, in every state its task can reach.

mod events;
mod world;

use events::{
    FIRST, KEEP_TICKS, SECOND, TIMEOUT_TICKS, at_boundary, by_the_worker, cancel, claimant, delete,
    end, everything, failed, input, of, orphan, probe, recover, retry, stop, succeeded, suspended,
    take, terminate, undecodable,
};
use outlive::machine::{
    ALONE_DEATHS, Aim, Event, OnConflict, Overdue, Parting, Rejected, TurnEnd, Verdict,
};
use outlive_storage::redb::RedbOptions;
use outlive_storage::row::{Generation, Place, TaskNumber};
use outlive_storage::{Expect, MemStore, RedbStore, Store};
use world::{Seen, World};

/// What became of the task after the worker lost it.
#[derive(Debug, Clone, Copy)]
enum Then {
    RunsElsewhere,
    BacksOff,
    Orphaned,
    Succeeded,
    Failed,
    Parked,
    WaitsForInput,
    Resumed,
    NextTurn,
    ClaimedAgain,
    Cancelled,
    TurnCancelled,
    Terminated,
    TimedOut,
    CancelIgnored,
    Isolated,
    Probed,
    Quarantined,
    Released,
    Retried,
    Restarted,
    Deleted,
    Expired,
    StartedAnew,
}

const ALL: [Then; 24] = [
    Then::RunsElsewhere,
    Then::BacksOff,
    Then::Orphaned,
    Then::Succeeded,
    Then::Failed,
    Then::Parked,
    Then::WaitsForInput,
    Then::Resumed,
    Then::NextTurn,
    Then::ClaimedAgain,
    Then::Cancelled,
    Then::TurnCancelled,
    Then::Terminated,
    Then::TimedOut,
    Then::CancelIgnored,
    Then::Isolated,
    Then::Probed,
    Then::Quarantined,
    Then::Released,
    Then::Retried,
    Then::Restarted,
    Then::Deleted,
    Then::Expired,
    Then::StartedAnew,
];

/// What three processes saw that decide too late: one before there was a task, one before its claim, and the worker.
fn claimed<S: Store>(world: &mut World<S>) -> [Seen; 3] {
    let nothing = world.look();
    world.happens(input("first", OnConflict::Refuse));
    let before = world.look();
    world.happens(Event::Claim(claimant(FIRST)));
    [nothing, before, world.look()]
}

/// The turn is found by the other process, and ends there.
fn ends_elsewhere<S: Store>(world: &mut World<S>, how: TurnEnd) {
    world.happens(recover(SECOND, Parting::Died, Verdict::Count));
    world.happens(end(world.generation(), how));
}

/// Its process dies again and again, until the turn is held back.
fn is_isolated<S: Store>(world: &mut World<S>) {
    for finder in [SECOND, FIRST, SECOND] {
        world.happens(recover(finder, Parting::Died, Verdict::Count));
    }
}

fn goes_on<S: Store>(world: &mut World<S>, then: Then) {
    let first = world.generation();
    match then {
        Then::RunsElsewhere => world.happens(recover(SECOND, Parting::Died, Verdict::Count)),
        Then::BacksOff => ends_elsewhere(world, failed(false)),
        Then::Orphaned => world.happens(orphan(SECOND)),
        Then::Succeeded => ends_elsewhere(world, succeeded()),
        Then::Failed => ends_elsewhere(world, failed(true)),
        Then::Parked => ends_elsewhere(world, undecodable()),
        Then::WaitsForInput => ends_elsewhere(world, suspended()),
        Then::Resumed => {
            ends_elsewhere(world, suspended());
            world.happens(input("second", OnConflict::Refuse));
            world.happens(Event::Claim(claimant(SECOND)));
        }
        Then::NextTurn => {
            world.happens(input("second", OnConflict::Refuse));
            ends_elsewhere(world, succeeded());
        }
        Then::ClaimedAgain => {
            ends_elsewhere(world, failed(false));
            world.next += 10;
            world.happens(Event::Claim(claimant(SECOND)));
        }
        Then::Cancelled => {
            world.happens(cancel(Aim::Task));
            world.happens(recover(SECOND, Parting::Died, Verdict::Count));
        }
        Then::TurnCancelled => {
            world.happens(cancel(of("first")));
            world.happens(end(first, TurnEnd::Cancelled));
        }
        Then::Terminated => world.happens(terminate()),
        Then::TimedOut => {
            world.next += TIMEOUT_TICKS;
            world.happens(stop(first, Overdue::TimedOut));
        }
        Then::CancelIgnored => {
            world.happens(cancel(of("first")));
            world.happens(input("second", OnConflict::Refuse));
            world.happens(stop(first, Overdue::CancelIgnored));
        }
        Then::Isolated => is_isolated(world),
        Then::Probed => {
            is_isolated(world);
            world.happens(probe());
        }
        Then::Quarantined | Then::Released => {
            is_isolated(world);
            for _ in 0..ALONE_DEATHS {
                world.happens(probe());
                world.happens(recover(FIRST, Parting::Died, Verdict::Count));
            }
            if let Then::Released = then {
                world.happens(retry());
            }
        }
        Then::Retried => {
            world.happens(terminate());
            world.happens(retry());
        }
        Then::Restarted => {
            ends_elsewhere(world, succeeded());
            world.happens(input("second", OnConflict::Restart));
        }
        Then::Deleted => world.happens(delete()),
        Then::Expired => {
            ends_elsewhere(world, succeeded());
            world.next += KEEP_TICKS;
            world.happens(Event::Expire);
        }
        Then::StartedAnew => {
            world.happens(delete());
            world.task = TaskNumber(world.next);
            world.happens(input("first", OnConflict::Refuse));
            world.happens(Event::Claim(claimant(SECOND)));
        }
    }
}

/// Tries in every state what every stale view allows; none of it may change anything.
fn nothing_stale_is_taken<S: Store>(fresh: impl Fn() -> S) {
    let (mut decided, mut refused) = (0, 0);
    for then in ALL {
        let mut world = World::new(fresh());
        let stale = claimed(&mut world);
        let generation = world.generation();
        goes_on(&mut world, then);
        let (now, rest) = (world.look(), world.rest());
        let freed = rest.found.is_none();
        for (which, seen) in stale.iter().enumerate() {
            for event in everything(generation) {
                let what = format!("{then:?}, view {which}: {event:?}");
                let Ok(commit) = world.decide(seen, event) else {
                    continue;
                };
                // An id that is free may be started, whenever that was decided; and what writes nothing changes nothing.
                let starts = freed && commit.expect == Expect::Absent;
                if starts || commit.writes.is_empty() {
                    continue;
                }
                decided += 1;
                let conflict = world.commit(commit).expect_err(&what);
                // Under the number of a task that is gone there is nothing to be found.
                let there = now.row.clone().filter(|_| conflict.task == now.task);
                assert_eq!(conflict.found, Ok(there.map(Box::new)), "{what}");
                assert_eq!(world.look(), now, "{what}");
                assert_eq!(world.rest(), rest, "{what}");
                refused += 1;
            }
        }
        // The machine itself refuses it when it is shown the row as it is.
        for event in by_the_worker(generation) {
            let what = format!("{then:?}: {event:?}");
            let told = world.decide(&now, event);
            assert_eq!(told, Err(Rejected::LeaseLost), "{what}");
        }
    }
    println!(
        "{decided} stale decisions in {} states, {refused} refused",
        ALL.len()
    );
    assert!(decided >= 25 * ALL.len(), "too little was tried: {decided}");
}

#[test]
fn a_stale_worker_changes_nothing_in_memory() {
    nothing_stale_is_taken(MemStore::new);
}

#[test]
fn a_stale_worker_changes_nothing_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0_u32);
    nothing_stale_is_taken(|| {
        count.set(count.get() + 1);
        let path = directory.path().join(count.get().to_string());
        RedbStore::open(path, RedbOptions::default(), 1, 1).unwrap()
    });
}

/// Neither what waits nor what an earlier attempt had taken gets the mark of a worker that lost its claim.
#[test]
fn a_stale_worker_takes_nothing() {
    for taken_before in [false, true] {
        let finder = if taken_before { FIRST } else { SECOND };
        let found = recover(finder, Parting::Died, Verdict::Count);
        for lost in [found, orphan(finder), terminate(), delete()] {
            let mut world = World::new(MemStore::new());
            claimed(&mut world);
            world.happens(at_boundary("other"));
            if taken_before {
                world.happens(take(world.generation()));
                world.happens(recover(SECOND, Parting::Died, Verdict::Count));
            }
            let (seen, generation) = (world.look(), world.generation());
            world.happens(lost.clone());
            let (now, rest) = (world.look(), world.rest());
            let commit = world.decide(&seen, take(generation));
            let commit = commit.expect("it saw a turn that may take");
            assert_eq!(commit.expect, Expect::Lease(Generation(generation)));
            assert!(!commit.writes.is_empty(), "it would mark something");
            assert!(world.commit(commit).is_err(), "{lost:?}");
            assert_eq!((world.look(), world.rest()), (now, rest), "{lost:?}");
        }
    }
}

/// A steer moves the etag and leaves the claim: the worker is not fenced out by its callers.
#[test]
fn a_steered_worker_keeps_its_claim() {
    let mut world = World::new(MemStore::new());
    let [_, _, seen] = claimed(&mut world);
    let generation = world.generation();
    world.happens(input("second", OnConflict::Refuse));
    let commit = world.decide(&seen, end(generation, failed(false))).unwrap();
    assert_eq!(commit.expect, Expect::Lease(Generation(generation)));
    assert_eq!(world.commit(commit), Ok(()));
}

/// So does a cancel: the turn that was told of it may still reply.
#[test]
fn a_cancelled_worker_keeps_its_claim() {
    let mut world = World::new(MemStore::new());
    let [_, _, _] = claimed(&mut world);
    let generation = world.generation();
    world.happens(cancel(Aim::Task));
    world.happens(end(generation, succeeded()));
    let row = world.look().row.expect("a task");
    assert!(matches!(row.place(), Place::Ended(_)));
}
