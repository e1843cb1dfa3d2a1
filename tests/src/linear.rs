//! Whether a history could have been one thing after another: the search of Wing and Gong, with the memory of Lowe.
//!
//! A history is linearizable when its operations can be put in an order that respects who was answered before whom
//! began, and in which each answer is what the thing gives that was asked in this order. What was not answered may stand
//! anywhere after its beginning, up to the moment at which it was settled, or nowhere.

use crate::history::Operation;
use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::hash::Hash;

/// Something that is asked for one thing after another.
pub trait Thing {
    /// What it remembers.
    type State: Clone + Eq + Hash + Debug;
    /// What it is asked.
    type Asked: Debug;
    /// What it answers.
    type Answer: Debug;

    /// The state after the operation, if one in this state may answer so. Without an answer: the state after the operation
    /// has changed something, if it would.
    fn after(
        state: &Self::State,
        asked: &Self::Asked,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;

    /// True when who is answered so has changed nothing, whatever the state.
    fn only_looked(asked: &Self::Asked, answer: &Self::Answer) -> bool;
}

/// A history that could not have been one thing after another.
#[derive(Debug)]
pub struct NotLinear {
    /// How many operations were put in order at most.
    pub ordered: usize,
    /// How many have an answer.
    pub answered: usize,
    /// The last of the longest order, the state after it, and those that might have come next.
    pub stuck: String,
}

impl fmt::Display for NotLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotLinear {
            ordered, answered, ..
        } = self;
        write!(f, "{ordered} of {answered} in order, then\n{}", self.stuck)
    }
}

/// One operation put in order, and what is left to try in its place.
struct Placed<S> {
    state: S,
    /// The latest beginning so far: what was settled before it cannot come any more.
    latest: u64,
    next: Vec<usize>,
    /// The operation that led here.
    by: Option<usize>,
}

struct Search<'a, T: Thing> {
    operations: &'a [Operation<T::Asked, T::Answer>],
    done: Vec<u64>,
    /// How many answered operations are in order.
    ordered: usize,
    seen: HashSet<(Vec<u64>, T::State)>,
    longest: Option<NotLinear>,
}

/// Requires that operations, sorted by their beginning, could have been one after another on a thing that began so.
///
/// # Errors
/// [`NotLinear`]: no order explains every answer.
pub fn linearize<T: Thing>(
    begins: T::State,
    operations: &[Operation<T::Asked, T::Answer>],
) -> Result<(), NotLinear> {
    let answered = operations.iter().filter(|one| one.answer.is_some()).count();
    let mut search = Search::<T> {
        operations,
        done: vec![0; operations.len() / 64 + 1],
        ordered: 0,
        seen: HashSet::new(),
        longest: None,
    };
    let mut placed = vec![search.place(begins, 0, None)];
    while let Some(last) = placed.last_mut() {
        if search.ordered == answered {
            return Ok(());
        }
        let Some(index) = last.next.pop() else {
            if let Some(index) = placed.pop().and_then(|last| last.by) {
                search.mark(index, false);
            }
            continue;
        };
        let one = &operations[index];
        let Some(state) = T::after(&last.state, &one.asked, one.answer.as_ref()) else {
            continue;
        };
        let latest = last.latest.max(one.from);
        search.mark(index, true);
        if search.seen.insert((search.done.clone(), state.clone())) {
            let next = search.place(state, latest, Some(index));
            search.remember(&next, answered);
            placed.push(next);
        } else {
            search.mark(index, false);
        }
    }
    Err(search.longest.unwrap_or_else(|| NotLinear {
        ordered: 0,
        answered,
        stuck: format!("{:#?}", operations.first()),
    }))
}

impl<T: Thing> Search<'_, T> {
    fn is_done(&self, index: usize) -> bool {
        self.done[index / 64] & (1 << (index % 64)) != 0
    }

    fn mark(&mut self, index: usize, done: bool) {
        self.done[index / 64] ^= 1 << (index % 64);
        if self.operations[index].answer.is_some() {
            self.ordered = if done {
                self.ordered + 1
            } else {
                self.ordered - 1
            };
        }
    }

    /// A state, and all that may come after it: whatever began before the first of the rest was answered.
    fn place(&self, state: T::State, latest: u64, by: Option<usize>) -> Placed<T::State> {
        let operations = self.operations;
        let mut horizon = u64::MAX;
        let (mut answered, mut next): (Vec<usize>, Vec<usize>) = Default::default();
        let full = self.done.iter().take_while(|word| **word == u64::MAX);
        let low = full.count() * 64;
        for (index, one) in operations.iter().enumerate().skip(low) {
            if one.from > horizon {
                break;
            }
            if self.is_done(index) {
                continue;
            }
            if let Some(answer) = &one.answer {
                // Who has only looked, and could have done so here, may as well have: no other place need be tried. Unless
                // something that was settled before it could not come any more.
                let looked = T::only_looked(&one.asked, answer);
                let hinders_nobody = next.iter().all(|other| operations[*other].to > one.from);
                if looked
                    && hinders_nobody
                    && T::after(&state, &one.asked, Some(answer)).as_ref() == Some(&state)
                {
                    next = vec![index];
                    answered.clear();
                    break;
                }
                horizon = horizon.min(one.to);
                answered.push(index);
            } else if one.to > latest {
                next.push(index);
            }
        }
        // The last is tried first: an answer before a guess, the earlier before the later.
        answered.reverse();
        next.append(&mut answered);
        Placed {
            state,
            latest,
            next,
            by,
        }
    }

    fn remember(&mut self, placed: &Placed<T::State>, answered: usize) {
        let ordered = self.ordered;
        if self.longest.as_ref().is_some_and(|l| l.ordered >= ordered) {
            return;
        }
        let named = |index: &usize| format!("{:?}", self.operations[*index]);
        let next: Vec<String> = placed.next.iter().rev().map(named).collect();
        let stuck = format!(
            "after {}\nin    {:?}\nnone of\n{}",
            placed.by.as_ref().map_or_else(String::new, named),
            placed.state,
            next.join("\n")
        );
        self.longest = Some(NotLinear {
            ordered,
            answered,
            stuck,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Asked {
        Put(u8),
        /// From, to.
        Swap(u8, u8),
        Read,
    }

    struct Cell;

    impl Thing for Cell {
        type State = u8;
        type Asked = Asked;
        /// The value before.
        type Answer = u8;

        fn after(state: &u8, asked: &Asked, answer: Option<&u8>) -> Option<u8> {
            if answer.is_some_and(|answer| answer != state) {
                return None;
            }
            match asked {
                Asked::Put(value) => Some(*value),
                Asked::Swap(from, to) if from == state => Some(*to),
                Asked::Swap(..) | Asked::Read => answer.map(|_| *state),
            }
        }

        fn only_looked(asked: &Asked, _: &u8) -> bool {
            matches!(asked, Asked::Read)
        }
    }

    fn operation(from: u64, to: u64, asked: Asked, answer: Option<u8>) -> Operation<Asked, u8> {
        Operation {
            from,
            to,
            asked,
            answer,
        }
    }

    #[track_caller]
    fn holds(linear: bool, operations: &[Operation<Asked, u8>]) {
        let found = linearize::<Cell>(0, operations);
        assert_eq!(found.is_ok(), linear, "{found:?}");
    }

    const LATER: u64 = u64::MAX;

    #[test]
    fn operations_at_once_are_put_in_the_order_their_answers_tell() {
        holds(
            true,
            &[
                operation(1, 10, Asked::Put(2), Some(1)),
                operation(2, 9, Asked::Put(1), Some(0)),
                operation(3, 4, Asked::Read, Some(0)),
                operation(5, 6, Asked::Read, Some(1)),
                operation(11, 12, Asked::Read, Some(2)),
            ],
        );
    }

    #[test]
    fn a_read_of_what_was_overwritten_before_it_began_is_refused() {
        holds(
            false,
            &[
                operation(1, 2, Asked::Put(1), Some(0)),
                operation(3, 4, Asked::Put(2), Some(1)),
                operation(5, 6, Asked::Read, Some(1)),
            ],
        );
    }

    #[test]
    fn two_swaps_from_one_value_are_refused() {
        holds(
            false,
            &[
                operation(1, 10, Asked::Swap(0, 1), Some(0)),
                operation(2, 9, Asked::Swap(0, 2), Some(0)),
            ],
        );
    }

    #[test]
    fn two_reads_that_saw_two_writes_in_different_orders_are_refused() {
        holds(
            false,
            &[
                operation(1, 20, Asked::Put(1), Some(0)),
                operation(2, 20, Asked::Put(2), Some(1)),
                operation(3, 4, Asked::Read, Some(2)),
                operation(5, 6, Asked::Read, Some(1)),
            ],
        );
    }

    #[test]
    fn what_was_not_answered_may_have_happened_or_not() {
        let unknown = operation(1, LATER, Asked::Put(1), None);
        for seen in [0, 1] {
            let read = operation(2, 3, Asked::Read, Some(seen));
            holds(true, &[unknown.clone(), read]);
        }
        let before = operation(1, 2, Asked::Read, Some(1));
        let begins_later = operation(3, LATER, Asked::Put(1), None);
        holds(false, &[before, begins_later]);
    }

    #[test]
    fn what_was_not_answered_happens_once_and_not_after_it_was_settled() {
        let unknown = |to| operation(1, to, Asked::Put(1), None);
        let read = |at, seen| operation(at, at + 1, Asked::Read, Some(seen));
        let put = operation(5, 6, Asked::Put(0), Some(1));
        holds(true, &[unknown(LATER), read(3, 1), put.clone()]);
        holds(false, &[unknown(LATER), read(3, 1), put, read(7, 1)]);
        holds(true, &[unknown(LATER), read(3, 0), read(5, 1)]);
        holds(false, &[unknown(2), read(3, 0), read(5, 1)]);
    }

    /// As many orders as there are would take for ever: what was seen before is not tried again, and who only looked is
    /// put first.
    #[test]
    fn many_operations_at_once_are_searched_in_little_time() {
        let reads = (0..20).map(|n| operation(n + 1, 100, Asked::Read, Some(0)));
        let puts = (0..12).map(|n| operation(n + 30, 100, Asked::Put(0), Some(0)));
        let mut operations: Vec<_> = reads.chain(puts).collect();
        operations.push(operation(60, 70, Asked::Read, Some(7)));
        assert!(linearize::<Cell>(0, &operations).is_err());
    }
}
