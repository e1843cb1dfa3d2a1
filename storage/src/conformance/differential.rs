//! The file and the reference give equal answers to equal random batches.

use super::Factory;
use super::rows::{
    ask_row, commit, ended, event, input, input_id, isolated, life, moved, pending, put, run_row,
    running, segment, step_row, task_id, turn_row, undecodable,
};
use super::stores::{File, Memory};
use crate::commit::{Commit, Expect, Write};
use crate::row::{
    Deadline, DefNumber, Etag, Family, Fate, Generation, InputRow, Line, Micros, ParentRow,
    Priority, Receipt, State, TaskNumber, TaskRow, Times, ValueKey, ValueKind, WaitReason,
};
use crate::store::{EventsKept, Page, Scan, Store};
use std::ops::Bound;
use std::sync::Arc;

/// Chance that repeats: xorshift64.
pub(crate) struct Chance(u64);

impl Chance {
    /// The chance of a seed, which is not zero.
    pub(crate) fn of(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// How many tasks there are at a time.
const TASKS: u64 = 12;
const LABELS: [&str; 3] = ["big", "red", "redder"];
const INPUTS: [&str; 3] = ["x", "y", "z"];

/// Writes numbers so that etags grow within and across batches.
struct World {
    chance: Chance,
    etag: u64,
    /// The numbers last given, those of removed tasks among them.
    numbers: Vec<TaskNumber>,
}

impl World {
    fn batch(&mut self, store: &impl Store) -> Vec<Commit> {
        (0..=self.chance.below(6))
            .map(|_| self.commit(store))
            .collect()
    }

    /// A commit that is often right, often stale, and at times the second one on its task in the batch.
    fn commit(&mut self, store: &impl Store) -> Commit {
        self.etag += 1;
        let place = self.chance.below(TASKS) as usize;
        let number = self.numbers[place];
        let Some(row) = store.get(number).unwrap() else {
            return self.start(place);
        };
        let expect = match self.chance.below(8) {
            0 => Expect::Lease(Generation(row.generation.0.wrapping_sub(1))),
            1 => Expect::Etag(Etag(row.etag.0 - 1)),
            2..5 => Expect::Lease(row.generation),
            _ => Expect::Etag(row.etag),
        };
        let mut writes = vec![];
        if self.chance.below(8) != 0 {
            writes.push(put(&self.next(&row)));
        }
        for _ in 0..self.chance.below(3) {
            self.extras(number, &mut writes);
        }
        if self.chance.below(10) == 0 {
            writes.push(Write::RemoveTask);
        }
        if self.chance.below(2) == 0 {
            let event = event(self.etag, number.0, self.chance.below(200));
            writes.push(Write::Event(event));
        }
        commit(number.0, expect, writes)
    }

    /// A start whose id, or at times whose number, may be another task's.
    fn start(&mut self, place: usize) -> Commit {
        let mut row = pending(self.etag, &format!("t{}", self.chance.below(TASKS)));
        row.parent = self.parent();
        (row.def, row.priority) = (DefNumber(1 + place as u32 % 2), Priority::new(place as u8));
        for label in LABELS {
            if self.chance.below(2) == 0 {
                Arc::make_mut(&mut row.facts).labels.push(label.into());
            }
        }
        if self.chance.below(4) == 0 {
            let taken = self.numbers[self.chance.below(TASKS) as usize];
            return commit(taken.0, Expect::Absent, vec![put(&row)]);
        }
        self.numbers[place] = TaskNumber(self.etag);
        commit(self.etag, Expect::Absent, vec![put(&row)])
    }

    fn next(&mut self, row: &TaskRow) -> TaskRow {
        let at = Micros(self.chance.below(200));
        let state = match self.chance.below(7) {
            0 | 1 => return running(row, self.etag, row.generation.0 + 1),
            2 => undecodable(),
            3 => ended(if at.0 > 100 { Micros::NEVER } else { at }),
            4 => State::Suspended {
                since: at,
                wait: WaitReason::WaitingHandler,
            },
            5 => isolated(),
            _ => State::Pending {
                due_at: Deadline {
                    line: self.line(),
                    at,
                },
                wait: WaitReason::BackOff,
            },
        };
        let mut next = moved(row, self.etag, state);
        // Let go by its parent, or taken over by a turn when it has none.
        match row.parent {
            Some(_) if self.chance.below(3) == 0 => next.parent = None,
            Some(_) => {}
            None => next.parent = self.parent(),
        }
        next
    }

    fn family(&mut self) -> Family {
        Family {
            task: self.numbers[self.chance.below(3) as usize],
            turn: self.chance.below(2),
        }
    }

    fn parent(&mut self) -> Option<ParentRow> {
        let family = self.family();
        (self.chance.below(2) == 0).then_some(ParentRow {
            family,
            id: task_id("p"),
            detached: false,
        })
    }

    fn families(&mut self, writes: &mut Vec<Write>) {
        let family = self.family();
        let reason = "r".into();
        writes.push(match self.chance.below(3) {
            0 => Write::ChildEnded(family),
            1 => Write::FamilyOver {
                turn: family.turn,
                fate: Fate::Alone,
            },
            _ => Write::FamilyOver {
                turn: family.turn,
                fate: Fate::Cancelled { reason },
            },
        });
    }

    fn line(&mut self) -> Line {
        let life = 1 + self.chance.below(2);
        let ahead_us = self.chance.below(100) as i64 - 50;
        match self.chance.below(4) {
            0 => Line::Own,
            1 => Line::Wall,
            2 => Line::AtOnce,
            _ => Line::Jump { life, ahead_us },
        }
    }

    fn extras(&mut self, task: TaskNumber, writes: &mut Vec<Write>) {
        let seq = self.chance.below(5);
        let key = |index| ValueKey {
            task,
            kind: ValueKind::Input,
            index,
        };
        let input_id = input_id(INPUTS[self.chance.below(3) as usize]);
        let (listed_at, until) = (Micros(self.chance.below(4)), Micros(self.chance.below(4)));
        writes.push(match self.chance.below(22) {
            0 => Write::PushInput {
                seq,
                input: InputRow {
                    accepted_at: until,
                    ..input("x")
                },
            },
            1 => Write::PopInput { seq },
            2 => Write::Value {
                key: key(seq),
                bytes: vec![task.0 as u8; 3000],
            },
            3 => Write::RemoveValue(key(seq)),
            4 => Write::Receipt {
                input_id,
                receipt: Receipt::Queued { seq },
                expires_at: (seq > 1).then_some(until),
            },
            5 => Write::KeepReceipt {
                input_id,
                listed_at,
                until,
            },
            6 => Write::RemoveReceipt {
                input_id,
                listed_at,
            },
            7 => Write::Turn {
                slot: seq,
                turn: Box::new(turn_row(self.etag)),
            },
            8 => Write::Run(Box::new(run_row(1 + self.chance.below(250) as u32))),
            9 | 10 => {
                // Lower numbers put again: the store checks no order, and both do the same.
                let first = 1 + seq * 3;
                let segment = Arc::new(segment(first, 1 + self.chance.below(5)));
                Write::Segment { first, segment }
            }
            11 => Write::EvictSegments {
                below: self.chance.below(15),
            },
            12..16 => return self.steps(writes),
            16 | 17 => return self.asks(writes),
            18..21 => return self.families(writes),
            // Far more than goes with the removal of its task.
            _ => {
                let values = (10..150).map(|index| Write::Value {
                    key: key(index),
                    bytes: vec![1],
                });
                return writes.extend(values);
            }
        });
    }

    fn steps(&mut self, writes: &mut Vec<Write>) {
        let turn = self.chance.below(3);
        let key = Box::from(INPUTS[self.chance.below(3) as usize]);
        let put = |key| Write::Step {
            turn,
            key,
            step: Box::new(step_row("1")),
        };
        match self.chance.below(4) {
            0 => writes.push(put(key)),
            1 => writes.push(Write::RemoveStep { turn, key }),
            2 => writes.push(Write::ForgetSteps { turn }),
            // More than are forgotten at once.
            _ => writes.extend((0..100).map(|at| put(format!("s{at}").into()))),
        }
    }

    fn asks(&mut self, writes: &mut Vec<Write>) {
        let key = Box::from(INPUTS[self.chance.below(3) as usize]);
        let ask = Box::new(ask_row(&self.etag.to_string()));
        writes.push(match self.chance.below(5) {
            0 => Write::RemoveAsk { key },
            1 => Write::RemoveAsks,
            _ => Write::Ask { key, ask },
        });
    }

    /// What the stores do beside commits.
    fn upkeep(&mut self, a: &impl Store, b: &impl Store) {
        if self.chance.below(4) == 0 {
            let kept = EventsKept {
                newest: self.chance.below(60),
                since: Micros(self.chance.below(150)),
            };
            let limit = self.chance.below(40) as usize;
            assert_eq!(a.tidy(kept, limit), b.tidy(kept, limit));
        }
        if self.chance.below(3) == 0 {
            let life = life(u128::from(self.chance.below(100)), self.chance.below(9));
            assert_eq!(a.put_life(&life), b.put_life(&life));
        }
    }

    #[track_caller]
    fn assert_equal(&mut self, a: &impl Store, b: &impl Store) {
        let limit = 1 + self.chance.below(TASKS * 2) as usize;
        let now = Micros(self.chance.below(220));
        let times = Times {
            wall: Micros(self.chance.below(220)),
            life: 2,
            ..Times::still(now)
        };
        for def in [DefNumber(1), DefNumber(2)] {
            assert_eq!(a.due(def, times, limit), b.due(def, times, limit));
            for at in [Micros::AT_OPEN, Micros::ISOLATED, now] {
                let exactly = |store: &dyn Store| store.due_exactly(def, at, None, limit);
                assert_eq!(exactly(a), exactly(b));
            }
        }
        let after = self.numbers[self.chance.below(TASKS) as usize];
        let after = (self.chance.below(2) == 0).then_some(after);
        let red = Scan::Label(DefNumber(1), "red".into());
        let of_one = Scan::Definition(DefNumber(1));
        for scan in [Scan::All, Scan::Running, of_one, red] {
            let page = |store: &dyn Store| parts(store.scan(scan.clone(), after, limit).unwrap());
            assert_eq!(page(a), page(b));
        }
        assert_eq!(a.expired(now, limit), b.expired(now, limit));
        let receipts = |store: &dyn Store| store.expired_receipts(Micros(now.0 / 50), limit);
        assert_eq!(receipts(a), receipts(b));
        let after = Etag(self.etag - self.chance.below(60));
        assert_eq!(a.events(after, limit), b.events(after, limit));
        let at = (self.numbers[0], "x");
        for from in [Bound::Unbounded, Bound::Excluded(at), Bound::Included(at)] {
            assert_eq!(a.asks(from, limit), b.asks(from, limit));
        }
        assert_eq!(a.lives(), b.lives());
        let family = self.family();
        let after = (self.chance.below(2) == 0).then_some(family);
        assert_eq!(a.families_over(after, limit), b.families_over(after, limit));
        assert_eq!(a.ended_children(family), b.ended_children(family));
        let older = self.numbers[self.chance.below(TASKS) as usize];
        let children = |store: &dyn Store| store.children(family, Some(older), limit);
        assert_eq!(children(a), children(b));
        for number in &self.numbers {
            assert_equal_hanging(a, b, *number, limit);
        }
    }
}

impl World {
    /// What is answered also while the tables lag behind.
    fn assert_equal_rows(&self, a: &impl Store, b: &impl Store) {
        for number in &self.numbers {
            let row = a.get(*number);
            assert_eq!(b.get(*number), row);
            if let Ok(Some(row)) = row {
                assert_eq!(b.find(&row.id), a.find(&row.id));
            }
        }
    }
}

type Parts = (
    Vec<(TaskNumber, Result<TaskRow, crate::StoreError>)>,
    Option<TaskNumber>,
);

fn parts(page: Page) -> Parts {
    let rows = page.rows.into_iter().map(|found| (found.task, found.row));
    (rows.collect(), page.next)
}

#[track_caller]
fn assert_equal_hanging(a: &impl Store, b: &impl Store, number: TaskNumber, limit: usize) {
    assert_eq!(a.inbox(number), b.inbox(number));
    assert_eq!(a.inputs(number, limit), b.inputs(number, limit));
    assert_eq!(a.runs(number), b.runs(number));
    assert_eq!(a.stream_end(number), b.stream_end(number));
    for after in 0..4 {
        let bytes = limit * 40;
        let page = |store: &dyn Store| store.segments(number, after * 3, bytes);
        assert_eq!(page(a), page(b));
    }
    for turn in 0..3 {
        let of_turn = |store: &dyn Store| store.steps(number, turn, Some("s1"), limit);
        assert_eq!(of_turn(a), of_turn(b));
        assert_eq!(a.step(number, turn, "x"), b.step(number, turn, "x"));
    }
    assert_eq!(a.ask(number, "x"), b.ask(number, "x"));
    for id in INPUTS.map(input_id) {
        assert_eq!(a.receipt(number, &id), b.receipt(number, &id));
    }
    for index in 0..5 {
        let key = ValueKey {
            task: number,
            kind: ValueKind::Input,
            index,
        };
        assert_eq!(a.value(key), b.value(key));
        assert_eq!(a.turn(number, index), b.turn(number, index));
    }
}

#[test]
fn random_batches_do_the_same_to_both_stores() {
    let seed = std::env::var("OUTLIVE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0x5eed);
    println!("OUTLIVE_SEED={seed}");
    let files = File::new();
    let (memory, mut file) = (Memory.fresh(), files.fresh());
    let mut world = World {
        chance: Chance(seed),
        etag: 1000,
        numbers: (1..=TASKS).map(TaskNumber).collect(),
    };
    let (mut refused, mut removed, mut garbage) = (0, 0, 0);
    for round in 0..2_400 {
        let batch = world.batch(&memory);
        let answers = memory.commit(&batch);
        assert_eq!(
            file.commit(&batch),
            answers,
            "round {round}, seed {seed}: {batch:#?}"
        );
        for (commit, answer) in batch.iter().zip(answers.into_iter().flatten()) {
            refused += u64::from(answer.is_err());
            removed += u64::from(answer.is_ok() && commit.writes.contains(&Write::RemoveTask));
        }
        world.assert_equal_rows(&memory, &file);
        if world.chance.below(20) == 0 {
            assert_eq!(file.catch_up(), Ok(()));
        }
        // Reads bring what the journal has into the tables: mostly they are to get several batches at once.
        if world.chance.below(4) > 0 {
            continue;
        }
        world.upkeep(&memory, &file);
        if world.chance.below(20) == 0 {
            file = files.reopen(file);
        }
        world.assert_equal(&memory, &file);
        // Not only what reads show is the same, but also what no read shows any more.
        let entries = memory.entries();
        assert_eq!(file.entries(), entries, "round {round}, seed {seed}");
        let garbage_now = entries.iter().find(|(table, _)| *table == "garbage");
        garbage += garbage_now.map_or(0, |(_, len)| *len);
    }
    assert!(
        (300..7200).contains(&refused) && removed > 120 && garbage > 30,
        "{refused} refusals, {removed} removals, {garbage} times garbage: the batches no longer try everything"
    );
}
