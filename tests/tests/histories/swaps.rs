//! Threads that compare and swap rows at the store itself: the row of an id is a register with an etag, and a lease.

use crate::{Campaign, KEYS, THREADS};
use outlive_storage::id::TaskId;
use outlive_storage::row::{
    Etag, Generation, Lease, Micros, Place, State, TaskNumber, TaskRow, ValueKey, ValueKind,
    WaitReason,
};
use outlive_storage::{Applied, Commit, Conflict, Expect, MemStore, Store, StoreError, Write};
use outlive_tests::chance::Chance;
use outlive_tests::faulty::Faulty;
use outlive_tests::history::History;
use outlive_tests::home::Home;
use outlive_tests::linear::Thing;
use outlive_tests::made::template;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What each thread asks for in one history.
const OPERATIONS: usize = 40;
/// How many rows of an id a thread remembers, the stale ones for its bad ideas.
const REMEMBERED: usize = 4;

/// A row, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seen {
    number: u64,
    etag: u64,
    generation: u64,
    runs: bool,
}

impl Seen {
    fn of(number: TaskNumber, row: &TaskRow) -> Seen {
        Seen {
            number: number.0,
            etag: row.etag.0,
            generation: row.generation.0,
            runs: row.place() == Place::Running,
        }
    }
}

/// What a commit, or a read, asks of the row of an id.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// The id is free: it begins under this number, which is its etag.
    Start { number: u64 },
    /// The row has this etag: it becomes another one.
    Swap { expect: u64, becomes: Seen },
    /// The task runs under this generation: it gets a value beside its row.
    Append { number: u64, generation: u64 },
    /// The task runs under this generation: its row becomes another one.
    Renew { becomes: Seen },
    /// The row has this etag: it goes.
    Remove { number: u64, expect: u64 },
    /// Whatever it is.
    Read { number: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    /// Nothing was changed: it stands so.
    Found(Option<Seen>),
    /// Nothing was changed: a row's etag would not grow.
    Malformed,
}

/// The sequential register: its next state, or its refusal.
fn carried_out(state: Option<Seen>, asked: Asked) -> Result<Option<Seen>, Answer> {
    let here = |number| state.filter(|seen| seen.number == number);
    let held =
        |number, generation| here(number).filter(|seen| seen.runs && seen.generation == generation);
    match asked {
        Asked::Start { number } if state.is_none() => Ok(Some(Seen {
            number,
            etag: number,
            generation: 0,
            runs: false,
        })),
        Asked::Swap { expect, becomes }
            if here(becomes.number).is_some_and(|s| s.etag == expect) =>
        {
            Ok(Some(becomes))
        }
        Asked::Append { number, generation } if held(number, generation).is_some() => Ok(state),
        Asked::Renew { becomes } => match held(becomes.number, becomes.generation) {
            Some(seen) if seen.etag < becomes.etag => Ok(Some(becomes)),
            Some(_) => Err(Answer::Malformed),
            None => Err(Answer::Found(here(becomes.number))),
        },
        Asked::Remove { number, expect } if here(number).is_some_and(|s| s.etag == expect) => {
            Ok(None)
        }
        Asked::Start { .. } => Err(Answer::Found(state)),
        Asked::Append { number, .. } | Asked::Remove { number, .. } | Asked::Read { number } => {
            Err(Answer::Found(here(number)))
        }
        Asked::Swap { becomes, .. } => Err(Answer::Found(here(becomes.number))),
    }
}

struct Register;

impl Thing for Register {
    type State = Option<Seen>;
    type Asked = Asked;
    type Answer = Answer;

    fn after(state: &Self::State, asked: &Asked, answer: Option<&Answer>) -> Option<Self::State> {
        match (carried_out(*state, *asked), answer) {
            (Ok(next), Some(Answer::Done) | None) => Some(next),
            (Err(refusal), Some(answer)) => (refusal == *answer).then_some(*state),
            (Ok(_), Some(Answer::Found(_) | Answer::Malformed)) | (Err(_), None) => None,
        }
    }

    fn only_looked(_: &Asked, answer: &Answer) -> bool {
        *answer != Answer::Done
    }
}

/// What the threads of one history share.
struct World {
    store: Arc<dyn Store>,
    template: TaskRow,
    /// Etags and generations, each given once.
    next: AtomicU64,
    history: History<Asked, Answer>,
}

impl World {
    fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }

    fn row(&self, key: usize, seen: Seen) -> Write {
        let mut row = self.template.clone();
        row.id = TaskId::new(format!("key-{key}")).expect("an id");
        row.etag = Etag(seen.etag);
        row.generation = Generation(seen.generation);
        row.state = if seen.runs {
            let lease = Lease {
                owner: "a thread".into(),
                instance: 1,
                generation: Generation(seen.generation),
                expires_at: Micros::NEVER,
            };
            State::InProgress {
                lease,
                started_at: Micros(1),
                woken: false,
            }
        } else {
            State::Suspended {
                since: Micros(1),
                wait: WaitReason::Input { reason: "".into() },
            }
        };
        Write::Row(Arc::new(row))
    }

    /// The commit an operation stands for; a read is none.
    fn commit(&self, key: usize, asked: Asked) -> Option<Commit> {
        let (number, expect, write) = match asked {
            Asked::Start { number } => {
                let begins = Seen {
                    number,
                    etag: number,
                    generation: 0,
                    runs: false,
                };
                (number, Expect::Absent, self.row(key, begins))
            }
            Asked::Swap { expect, becomes } => {
                let row = self.row(key, becomes);
                (becomes.number, Expect::Etag(Etag(expect)), row)
            }
            Asked::Append { number, generation } => {
                let key = ValueKey {
                    task: TaskNumber(number),
                    kind: ValueKind::Metadata,
                    index: 0,
                };
                let bytes = generation.to_le_bytes().to_vec();
                let write = Write::Value { key, bytes };
                (number, Expect::Lease(Generation(generation)), write)
            }
            Asked::Renew { becomes } => {
                let expect = Expect::Lease(Generation(becomes.generation));
                (becomes.number, expect, self.row(key, becomes))
            }
            Asked::Remove { number, expect } => {
                (number, Expect::Etag(Etag(expect)), Write::RemoveTask)
            }
            Asked::Read { .. } => return None,
        };
        Some(Commit {
            task: TaskNumber(number),
            expect,
            writes: vec![write],
        })
    }

    /// Asks the store for several operations at once, each on an id of its own, and notes what it answers.
    fn ask(&self, asked: &[(usize, Asked)]) -> Vec<Option<Answer>> {
        let from = self.history.now();
        let commits = asked
            .iter()
            .filter_map(|(key, one)| self.commit(*key, *one));
        let commits: Vec<Commit> = commits.collect();
        let answers: Vec<Option<Answer>> = if let [(_, Asked::Read { number })] = asked {
            let number = TaskNumber(*number);
            let row = self.store.get(number).expect("the store answers");
            let seen = row.map(|row| Seen::of(number, &row));
            vec![Some(Answer::Found(seen))]
        } else {
            match self.store.commit(&commits) {
                Ok(answers) => answers.into_iter().map(|one| Some(answer(one))).collect(),
                Err(StoreError::Malformed { .. }) => vec![Some(Answer::Malformed); asked.len()],
                Err(_) => vec![None; asked.len()],
            }
        };
        assert_eq!(answers.len(), asked.len(), "each is answered");
        for ((key, one), answer) in asked.iter().zip(&answers) {
            self.history.note(*key, from, *one, *answer);
        }
        answers
    }
}

fn answer(answered: Result<Applied, Conflict>) -> Answer {
    match answered {
        Ok(Applied { .. }) => Answer::Done,
        Err(Conflict { task, found }) => {
            let row = found.expect("no row is damaged");
            Answer::Found(row.map(|row| Seen::of(task, &row)))
        }
    }
}

/// What a thread believes of each id, and asks for.
struct Caller {
    chance: Chance,
    seen: [VecDeque<Seen>; KEYS],
}

impl Caller {
    fn choose(&mut self, world: &World, key: usize) -> Asked {
        let seen = &self.seen[key];
        let newest = self.chance.below(4) > 0;
        let stale = self.chance.below(seen.len() as u64) as usize;
        let Some(seen) = seen.get(if newest { 0 } else { stale }).copied() else {
            return Asked::Start {
                number: world.fresh(),
            };
        };
        let Seen {
            number,
            etag,
            generation,
            ..
        } = seen;
        let swap = |runs, generation| Asked::Swap {
            expect: etag,
            becomes: Seen {
                number,
                etag: world.fresh(),
                generation,
                runs,
            },
        };
        match self.chance.below(12) {
            0 => Asked::Start {
                number: world.fresh(),
            },
            1 => Asked::Remove {
                number,
                expect: etag,
            },
            2 | 3 => swap(false, generation),
            4 | 5 => swap(true, world.fresh()),
            6..=8 => Asked::Append { number, generation },
            9 | 10 => Asked::Renew {
                becomes: Seen {
                    etag: world.fresh(),
                    runs: true,
                    ..seen
                },
            },
            _ => Asked::Read { number },
        }
    }

    /// One call of the store: one operation, or several on ids of their own in one transaction.
    fn call(&mut self, world: &World) {
        let key = self.chance.below(KEYS as u64) as usize;
        let mut asked = vec![(key, self.choose(world, key))];
        // A malformed commit, or a read, has a call to itself.
        let alone = |one: &Asked| matches!(one, Asked::Renew { .. } | Asked::Read { .. });
        if self.chance.below(3) == 0 && !alone(&asked[0].1) {
            let beside = (key + 1) % KEYS;
            let one = self.choose(world, beside);
            if !alone(&one) {
                asked.push((beside, one));
            }
        }
        for ((key, one), answer) in asked.iter().zip(world.ask(&asked)) {
            self.learn(*key, *one, answer);
        }
    }

    fn learn(&mut self, key: usize, asked: Asked, answer: Option<Answer>) {
        let seen = match (asked, answer) {
            (_, Some(Answer::Found(Some(seen)))) => seen,
            (Asked::Swap { becomes, .. } | Asked::Renew { becomes }, Some(Answer::Done)) => becomes,
            (Asked::Start { number }, Some(Answer::Done) | None) => Seen {
                number,
                etag: number,
                generation: 0,
                runs: false,
            },
            (Asked::Start { .. }, _) | (_, Some(Answer::Found(None))) => {
                self.seen[key].clear();
                return;
            }
            _ => return,
        };
        let remembered = &mut self.seen[key];
        if remembered.front() != Some(&seen) {
            remembered.push_front(seen);
            remembered.truncate(REMEMBERED);
        }
    }
}

/// One run of all threads; `outage` is called between their calls.
fn run(
    store: Arc<dyn Store>,
    template: &TaskRow,
    seed: u64,
    outage: impl Fn(&mut Chance) + Sync,
) -> World {
    let def = store.define(&["later"]).expect("the store answers")[0];
    let world = World {
        store,
        template: TaskRow {
            def,
            ..template.clone()
        },
        next: AtomicU64::new(1),
        history: History::default(),
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (world, outage) = (&world, &outage);
            scope.spawn(move || {
                let mut caller = Caller {
                    chance: Chance(seed.wrapping_mul(31).wrapping_add(thread as u64 * 7919)),
                    seen: Default::default(),
                };
                for _ in 0..OPERATIONS {
                    outage(&mut caller.chance);
                    caller.call(world);
                }
            });
        }
    });
    world
}

fn refused(answer: &Answer) -> bool {
    Register::only_looked(&Asked::Read { number: 0 }, answer)
}

#[test]
fn swaps_and_leases_of_many_threads_are_one_after_another() {
    let mut campaign = Campaign::of("swaps at the store");
    let template = template();
    for seed in campaign.seeds(30) {
        let world = run(Arc::new(MemStore::new()), &template, seed, |_| {});
        campaign.check::<Register>(seed, &None, &world.history, refused);
    }
    for seed in campaign.seeds(2) {
        let home = Home::file();
        let world = run(home.store(), &template, seed, |_| {});
        campaign.check::<Register>(seed, &None, &world.history, refused);
    }
    campaign.ends();
}

/// Some calls fail: what they asked for is in the store, or is not, and nobody is told.
#[test]
fn swaps_whose_answers_are_lost_happened_once_or_not_at_all() {
    let mut campaign = Campaign::of("swaps at a store that fails");
    let template = template();
    for seed in campaign.seeds(30) {
        let faulty = Faulty::on(&Arc::new(MemStore::new()));
        let store = Arc::<Faulty>::clone(&faulty);
        let world = run(store, &template, seed, |chance| {
            let fails = chance.below(40);
            faulty
                .fail_before_commit
                .store(fails == 0, Ordering::SeqCst);
            faulty.fail_after_commit.store(fails == 1, Ordering::SeqCst);
        });
        campaign.check::<Register>(seed, &None, &world.history, refused);
    }
    assert!(campaign.tally.unknown > 0, "no call failed");
    campaign.ends();
}
