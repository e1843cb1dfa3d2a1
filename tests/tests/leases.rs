//! A worker that lost its claim, kept alive and trying everything it could once do, in every state its task can reach.

use outlive::machine::{self, Claimant, DefLimits, Event, NewInput, Now, Rejected, TurnEnd, View};
use outlive_storage::id::{InputId, TaskId};
use outlive_storage::redb::RedbOptions;
use outlive_storage::row::{
    BackOff, DefNumber, Etag, Failure, FailureKind, Generation, InputRow, Micros, Payload,
    Priority, RetryRow, TaskNumber, TaskRow,
};
use outlive_storage::{Commit, Conflict, Expect, MemStore, RedbStore, Scan, Store};

const TASK: TaskNumber = TaskNumber(1);
const DEF: DefNumber = DefNumber(1);
const LIMITS: DefLimits = DefLimits {
    steerable_max: Some(2),
};
/// The process whose worker is left behind, and the one that took over.
const FIRST: u128 = 1;
const SECOND: u128 = 2;

fn claimant(instance: u128) -> Claimant {
    Claimant {
        owner: "owner".into(),
        instance,
    }
}

fn input(input_id: &str) -> Event {
    Event::Input(Box::new(NewInput {
        id: TaskId::new("a").unwrap(),
        def: DEF,
        input_id: InputId::new(input_id).unwrap(),
        input_id_given: true,
        digest: [7; 16],
        payload: Payload::Inline(b"1".to_vec()),
        priority: Priority::NORMAL,
        retry: RetryRow {
            attempts_max: 3,
            initial_us: 10,
            max_us: 10,
            back_off: BackOff::Fixed,
            jitter: false,
        },
        keep_us: u64::MAX,
        owner: "owner".into(),
        claimant: None,
    }))
}

fn end(generation: u64, end: TurnEnd) -> Event {
    Event::End {
        generation: Generation(generation),
        end,
        claimant: claimant(FIRST),
    }
}

fn succeeded() -> TurnEnd {
    TurnEnd::Succeeded(Payload::Inline(b"2".to_vec()))
}

fn failed(terminal: bool) -> TurnEnd {
    let failure = Failure {
        kind: FailureKind::Error,
        message: "no".into(),
        chain: Vec::new(),
        attempts: 0,
    };
    TurnEnd::Failed {
        failure,
        terminal,
        retry_after_us: None,
    }
}

fn undecodable() -> TurnEnd {
    TurnEnd::Undecodable {
        what: "input".into(),
        expected: "a number".into(),
    }
}

/// Every way in which the worker of a claim can end its turn.
fn ends(generation: u64) -> Vec<Event> {
    let all = [succeeded(), failed(false), failed(true), undecodable()];
    all.into_iter().map(|how| end(generation, how)).collect()
}

/// Everything a process may send that decided on a row it saw.
fn everything(generation: u64) -> Vec<Event> {
    let mut events = ends(generation);
    for instance in [FIRST, SECOND] {
        events.push(Event::Claim(claimant(instance)));
        events.push(Event::Recover(claimant(instance)));
        events.push(Event::Orphan(claimant(instance)));
    }
    events.extend([Event::Reconsider, input("other")]);
    events
}

/// What a process saw of the task.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    row: Option<TaskRow>,
    waiting: Vec<(u64, InputRow)>,
}

/// A task in a store, and the values not given out yet.
struct World<S> {
    store: S,
    next: u64,
}

impl<S: Store> World<S> {
    fn new(store: S) -> World<S> {
        assert_eq!(store.define(&["task"]), Ok(vec![DEF]));
        World { store, next: 1 }
    }

    fn look(&self) -> Seen {
        Seen {
            row: self.store.get(TASK).unwrap(),
            waiting: self.store.inputs(TASK, 10).unwrap(),
        }
    }

    /// What the machine makes of an event for one who saw this.
    fn decide(&mut self, seen: &Seen, event: Event) -> Result<Commit, Rejected> {
        let view = View {
            task: TASK,
            row: seen.row.as_ref(),
            inbox_len: seen.waiting.len() as u64,
            inbox_head: seen.waiting.first().map(|(seq, input)| (*seq, input)),
            receipt: None,
            limits: LIMITS,
        };
        let now = Now {
            at: Micros(self.next * 1000),
            etag: Etag(self.next),
            generation: Generation(self.next),
        };
        self.next += 1;
        let transition = machine::step(&view, event, now)?;
        let row = transition.row.map(outlive_storage::Write::Row);
        Ok(Commit {
            task: TASK,
            expect: transition.expect,
            writes: row.into_iter().chain(transition.writes).collect(),
        })
    }

    fn commit(&self, commit: Commit) -> Result<(), Conflict> {
        let mut answers = self.store.commit(&[commit]).unwrap();
        answers.remove(0).map(drop)
    }

    /// Something that happens to the task as it is.
    #[track_caller]
    fn happens(&mut self, event: Event) {
        let seen = self.look();
        let commit = self.decide(&seen, event).expect("it fits the state");
        self.commit(commit).expect("nobody was faster");
    }

    fn generation(&self) -> u64 {
        self.look().row.expect("a task").generation.0
    }

    /// Everything the store holds of the task besides its row.
    fn rest(&self) -> (Option<TaskNumber>, usize, usize) {
        let running = self.store.scan(Scan::Running, None, 10).unwrap().rows.len();
        let due = self
            .store
            .due(DEF, Micros(1 << 40), 10)
            .unwrap()
            .ready
            .len();
        (
            self.store.find(&TaskId::new("a").unwrap()).unwrap(),
            running,
            due,
        )
    }
}

/// What became of the task after the worker lost it.
#[derive(Debug, Clone, Copy)]
enum Then {
    RunsElsewhere,
    BacksOff,
    Waits,
    Succeeded,
    Failed,
    Parked,
    NextTurn,
    ClaimedAgain,
}

const ALL: [Then; 8] = [
    Then::RunsElsewhere,
    Then::BacksOff,
    Then::Waits,
    Then::Succeeded,
    Then::Failed,
    Then::Parked,
    Then::NextTurn,
    Then::ClaimedAgain,
];

/// Claims the task, and returns what its worker saw: the row before the claim, and the row of the claim.
fn claimed<S: Store>(world: &mut World<S>) -> [Seen; 2] {
    world.happens(input("first"));
    let before = world.look();
    world.happens(Event::Claim(claimant(FIRST)));
    [before, world.look()]
}

fn goes_on<S: Store>(world: &mut World<S>, then: Then) {
    if let Then::Waits = then {
        world.happens(Event::Orphan(claimant(SECOND)));
        return;
    }
    world.happens(Event::Recover(claimant(SECOND)));
    let generation = world.generation();
    match then {
        Then::RunsElsewhere | Then::Waits => {}
        Then::BacksOff => world.happens(end(generation, failed(false))),
        Then::Succeeded => world.happens(end(generation, succeeded())),
        Then::Failed => world.happens(end(generation, failed(true))),
        Then::Parked => world.happens(end(generation, undecodable())),
        Then::NextTurn => {
            world.happens(input("second"));
            world.happens(end(generation, succeeded()));
        }
        Then::ClaimedAgain => {
            world.happens(end(generation, failed(false)));
            world.next += 10;
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
        let generation = stale[1].row.as_ref().expect("a claim").generation.0;
        goes_on(&mut world, then);
        let (now, rest) = (world.look(), world.rest());
        for (which, seen) in stale.iter().enumerate() {
            for event in everything(generation) {
                let what = format!("{then:?}, view {which}: {event:?}");
                let Ok(commit) = world.decide(seen, event) else {
                    continue;
                };
                decided += 1;
                let found = world.commit(commit).expect_err(&what);
                assert_eq!(found.found, Ok(now.row.clone().map(Box::new)), "{what}");
                assert_eq!((world.look(), world.rest()), (now.clone(), rest), "{what}");
                refused += 1;
            }
        }
        // The machine itself refuses it when it is shown the row as it is.
        for event in ends(generation) {
            assert_eq!(
                world.decide(&now, event),
                Err(Rejected::LeaseLost),
                "{then:?}"
            );
        }
    }
    println!(
        "{decided} stale decisions in {} states, {refused} refused",
        ALL.len()
    );
    assert!(decided >= 8 * ALL.len(), "too little was tried: {decided}");
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

/// A steer moves the etag and leaves the claim: the worker is not fenced out by its callers.
#[test]
fn a_steered_worker_keeps_its_claim() {
    let mut world = World::new(MemStore::new());
    let [_, seen] = claimed(&mut world);
    let generation = world.generation();
    world.happens(input("second"));
    let commit = world.decide(&seen, end(generation, failed(false))).unwrap();
    assert_eq!(commit.expect, Expect::Lease(Generation(generation)));
    assert_eq!(world.commit(commit), Ok(()));
}
