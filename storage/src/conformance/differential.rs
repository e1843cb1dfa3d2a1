//! The file and the reference give equal answers to equal random batches.

use super::Factory;
use super::rows::{commit, ended, input, input_id, moved, pending, put, running, undecodable};
use super::stores::{File, Memory};
use crate::commit::{Commit, Expect, Write};
use crate::row::{
    DefNumber, Etag, Generation, Micros, Priority, Receipt, State, TaskNumber, TaskRow, ValueKey,
    ValueKind, WaitReason,
};
use crate::store::{Scan, Store};

/// Chance that repeats: xorshift64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

const TASKS: u64 = 12;

/// Writes numbers so that etags grow within and across batches.
struct World {
    chance: Chance,
    etag: u64,
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
        let number = 1 + self.chance.below(TASKS);
        let id = format!("t{}", self.chance.below(TASKS));
        let Some(row) = store.get(TaskNumber(number)).unwrap() else {
            let mut row = pending(self.etag, &id);
            (row.def, row.priority) = (
                DefNumber(1 + number as u32 % 2),
                Priority::new(number as u8),
            );
            let task = if self.chance.below(4) == 0 {
                self.etag
            } else {
                number
            };
            return commit(task, Expect::Absent, vec![put(&row)]);
        };
        let next = self.next(&row);
        let expect = match self.chance.below(8) {
            0 => Expect::Lease(Generation(row.generation.0.wrapping_sub(1))),
            1 => Expect::Etag(Etag(row.etag.0 - 1)),
            2..5 => Expect::Lease(row.generation),
            _ => Expect::Etag(row.etag),
        };
        let mut writes = vec![put(&next)];
        self.extras(number, &mut writes);
        commit(number, expect, writes)
    }

    fn next(&mut self, row: &TaskRow) -> TaskRow {
        let at = Micros(self.chance.below(200));
        let state = match self.chance.below(6) {
            0 | 1 => return running(row, self.etag, row.generation.0 + 1),
            2 => undecodable(),
            3 => ended(if at.0 > 100 { Micros::NEVER } else { at }),
            4 => State::Suspended {
                since: at,
                wait: WaitReason::WaitingHandler,
            },
            _ => State::Pending {
                due_at: at,
                wait: WaitReason::BackOff,
            },
        };
        moved(row, self.etag, state)
    }

    fn extras(&mut self, number: u64, writes: &mut Vec<Write>) {
        let seq = self.chance.below(5);
        let key = ValueKey {
            task: TaskNumber(number),
            kind: ValueKind::Input,
            index: seq,
        };
        writes.push(match self.chance.below(6) {
            0 => Write::PushInput {
                seq,
                input: input("x"),
            },
            1 => Write::PopInput { seq },
            2 => Write::Value {
                key,
                bytes: vec![number as u8; 3000],
            },
            3 => Write::RemoveValue(key),
            4 => Write::Receipt {
                input_id: input_id("x"),
                receipt: Receipt::Queued { seq },
            },
            _ => return,
        });
    }
}

#[track_caller]
fn assert_equal(a: &impl Store, b: &impl Store, chance: &mut Chance) {
    let limit = 1 + chance.below(TASKS * 2) as usize;
    for def in [DefNumber(1), DefNumber(2)] {
        let now = Micros(chance.below(220));
        assert_eq!(a.due(def, now, limit), b.due(def, now, limit));
        assert_eq!(
            a.due_at_open(def, None, limit),
            b.due_at_open(def, None, limit)
        );
    }
    for scan in [Scan::All, Scan::Running, Scan::Definition(DefNumber(1))] {
        let after = (chance.below(2) == 0).then(|| TaskNumber(chance.below(TASKS)));
        let (a, b) = (
            a.scan(scan, after, limit).unwrap(),
            b.scan(scan, after, limit).unwrap(),
        );
        assert_eq!(a.next, b.next);
        let rows = |page: crate::store::Page| {
            page.rows
                .into_iter()
                .map(|found| (found.task, found.row))
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(a), rows(b));
    }
    for number in (1..=TASKS).map(TaskNumber) {
        assert_eq!(a.inbox(number), b.inbox(number));
        assert_eq!(a.inputs(number, limit), b.inputs(number, limit));
        assert_eq!(
            a.receipt(number, &input_id("x")),
            b.receipt(number, &input_id("x"))
        );
        for index in 0..5 {
            let key = ValueKey {
                task: number,
                kind: ValueKind::Input,
                index,
            };
            assert_eq!(a.value(key), b.value(key));
        }
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
    };
    let mut refused = 0;
    for round in 0..400 {
        let batch = world.batch(&memory);
        let answers = memory.commit(&batch);
        assert_eq!(
            file.commit(&batch),
            answers,
            "round {round}, seed {seed}: {batch:#?}"
        );
        refused += answers.map_or(1, |answers| {
            answers.iter().filter(|answer| answer.is_err()).count()
        });
        if round % 100 == 99 {
            file = files.reopen(file);
        }
        assert_equal(&memory, &file, &mut world.chance);
    }
    assert!(
        (50..1200).contains(&refused),
        "{refused} refusals: the batches no longer try both ways"
    );
}
