//! Which tasks of a definition are due: one walk over the keys of `due`, for every store.

use crate::row::{DefNumber, Line, Micros, Priority, TaskNumber, Times, last_moment};
use crate::store::{Due, PAGE_MAX, StoreError};
use std::ops::Range;

/// A key of `due`: definition, rank, line of time, moment, task.
pub(crate) type DueKey = (u32, u8, u64, i64, u64, u64);

type Result<T> = std::result::Result<T, StoreError>;

/// Finds what is due, where `entries` answers the keys of a range in their order.
///
/// Only ranks and lines that have entries are looked at: from one to the next it seeks.
///
/// # Errors
/// What `entries` fails with.
pub(crate) fn due<I>(
    def: DefNumber,
    times: Times,
    limit: usize,
    entries: impl Fn(Range<DueKey>) -> Result<I>,
) -> Result<Due>
where
    I: Iterator<Item = Result<DueKey>>,
{
    let limit = limit.min(PAGE_MAX);
    let mut due = Due {
        ready: Vec::new(),
        wait_us: None,
    };
    let end = (def.0, Priority::LEVELS, 0, 0, 0, 0);
    let mut of_rank = OfRank::default();
    let mut from = (def.0, 0, 0, i64::MIN, 0, 0);
    while let Some(first) = entries(from..end)?.next() {
        let (_, rank, life, ahead_us, ..) = first?;
        if rank != of_rank.rank {
            due.ready.append(&mut of_rank.finish(rank));
        }
        // An index that names no line hides no task.
        let line = Line::of_parts(life, ahead_us).unwrap_or(Line::Own);
        let now = times.on(line);
        let at = |at: u64| (def.0, rank, life, ahead_us, at, 0);
        let room = limit - due.ready.len();
        for entry in entries(at(0)..at(now.0 + 1))?.take(room) {
            let (.., due_at, task) = entry?;
            of_rank.ready.push((due_at, task));
        }
        of_rank.keep(room);
        if let Some(later) = entries(at(now.0 + 1)..at(last_moment().0 + 1))?.next() {
            let (.., due_at, _) = later?;
            let wait_us = due_at - now.0;
            due.wait_us = Some(due.wait_us.map_or(wait_us, |sooner| sooner.min(wait_us)));
        }
        from = match ahead_us.checked_add(1) {
            Some(ahead_us) => (def.0, rank, life, ahead_us, 0, 0),
            None => (def.0, rank, life.saturating_add(1), i64::MIN, 0, 0),
        };
    }
    due.ready.append(&mut of_rank.finish(0));
    Ok(due)
}

/// What is due of one rank, from all lines.
#[derive(Default)]
struct OfRank {
    rank: u8,
    /// The moment, which agreed with the wall clock when it was made, and the task.
    ready: Vec<(u64, u64)>,
}

impl OfRank {
    /// Only the first ones have room.
    fn keep(&mut self, room: usize) {
        if !cfg!(planted = "lines_not_merged") {
            self.ready.sort_unstable();
        }
        self.ready.truncate(room);
    }

    fn finish(&mut self, next: u8) -> Vec<TaskNumber> {
        self.rank = next;
        let ready = self.ready.drain(..);
        ready.map(|(_, task)| TaskNumber(task)).collect()
    }
}

/// The keys of what is listed under exactly this moment, which no line comes to, in one rank, beyond `after`.
pub(crate) fn exactly(
    def: DefNumber,
    rank: u8,
    at: Micros,
    after: Option<TaskNumber>,
) -> std::ops::RangeInclusive<DueKey> {
    let (life, ahead_us) = Line::Own.parts();
    let from = after.map_or(0, |task| task.0.saturating_add(1));
    let of = |task| (def.0, rank, life, ahead_us, at.0, task);
    of(from)..=of(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const DEF: DefNumber = DefNumber(3);

    fn walked(keys: &BTreeSet<DueKey>, times: Times, limit: usize) -> Due {
        let entries = |range: Range<DueKey>| Ok(keys.range(range).copied().map(Ok));
        due(DEF, times, limit, entries).expect("nothing fails")
    }

    /// The same, without a seek: every key is looked at.
    fn looked_up(keys: &BTreeSet<DueKey>, times: Times, limit: usize) -> Due {
        let (mut ready, mut waits) = (Vec::new(), Vec::new());
        for &(def, rank, life, ahead_us, at, task) in keys {
            let now = times.on(Line::of_parts(life, ahead_us).expect("a line")).0;
            match at.checked_sub(now) {
                _ if def != DEF.0 || at > Micros::LAST.0 => {}
                None | Some(0) => ready.push((rank, at, TaskNumber(task))),
                Some(wait_us) => waits.push(wait_us),
            }
        }
        ready.sort_unstable();
        ready.truncate(limit);
        Due {
            ready: ready.into_iter().map(|(.., task)| task).collect(),
            wait_us: waits.into_iter().min(),
        }
    }

    /// Chance that repeats: xorshift64.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }

        fn signed(&mut self) -> i64 {
            match self.below(10) {
                0 => i64::MAX,
                1 => i64::MIN,
                _ => self.below(18) as i64 - 9,
            }
        }

        fn key(&mut self, task: u64) -> DueKey {
            let (life, ahead_us) = match self.below(7) {
                0 | 1 => Line::Own.parts(),
                2 | 3 => Line::Wall.parts(),
                4 => Line::AtOnce.parts(),
                _ => (1 + self.below(3), self.signed()),
            };
            let at = match self.below(10) {
                0 => Micros::LAST,
                1 => Micros::ISOLATED,
                2 => Micros::NEVER,
                _ => Micros(80 + self.below(40)),
            };
            let (def, rank) = (2 + self.below(3) as u32, self.below(8) as u8);
            (def, rank, life, ahead_us, at.0, task)
        }
    }

    #[test]
    fn the_walk_finds_what_a_look_at_every_key_finds() {
        for seed in 1..=2_000 {
            let mut chance = Chance(seed * 7_919);
            let tasks = chance.below(40);
            let keys: BTreeSet<DueKey> = (0..tasks).map(|task| chance.key(task)).collect();
            let times = Times {
                own: Micros(85 + chance.below(30)),
                wall: Micros(chance.below(200)),
                life: chance.below(4),
                ahead_us: chance.signed(),
            };
            let limit = chance.below(12) as usize;
            let (walked, expected) = (walked(&keys, times, limit), looked_up(&keys, times, limit));
            assert_eq!(walked, expected, "seed {seed}: {keys:?} at {times:?}");
        }
    }
}
