//! Histories of what several callers did to one thing at once: each operation with when it began, when it was answered,
//! and how.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// One operation on one thing.
#[derive(Debug, Clone)]
pub struct Operation<O, A> {
    /// Not before this moment.
    pub from: u64,
    /// Not after this moment; `u64::MAX` while nobody can say.
    pub to: u64,
    /// What was asked.
    pub asked: O,
    /// What was answered. Empty: it may have happened or not.
    pub answer: Option<A>,
}

/// The operations on several things, as many threads note them down.
#[derive(Debug)]
pub struct History<O, A> {
    clock: AtomicU64,
    operations: Mutex<BTreeMap<usize, Vec<Operation<O, A>>>>,
}

impl<O, A> Default for History<O, A> {
    fn default() -> Self {
        History {
            clock: AtomicU64::new(1),
            operations: Mutex::default(),
        }
    }
}

impl<O, A> History<O, A> {
    /// This moment. No two are the same, and they are in the order in which they were asked for.
    pub fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes an operation on a thing that began at `from` and is over now. Without an answer it may have happened, or may
    /// happen yet, until [`History::settles`].
    pub fn note(&self, thing: usize, from: u64, asked: O, answer: Option<A>) {
        let now = self.now();
        let to = if answer.is_some() { now } else { u64::MAX };
        let operation = Operation {
            from,
            to,
            asked,
            answer,
        };
        let mut operations = self.operations.lock();
        operations.entry(thing).or_default().push(operation);
    }

    /// Whatever was not answered has happened by now, or never will.
    pub fn settles(&self) {
        let now = self.now();
        let mut operations = self.operations.lock();
        for operation in operations.values_mut().flatten() {
            operation.to = operation.to.min(now);
        }
    }

    /// Takes the operations noted so far, of each thing by when they began.
    pub fn by_thing(&self) -> Vec<Vec<Operation<O, A>>> {
        let operations = std::mem::take(&mut *self.operations.lock());
        let mut things: Vec<_> = operations.into_values().collect();
        for operations in &mut things {
            operations.sort_by_key(|operation| operation.from);
        }
        things
    }
}

/// What a campaign of histories came to, for its one line.
#[derive(Debug, Default)]
pub struct Tally {
    /// One for each thing of each run.
    pub histories: usize,
    /// All operations.
    pub operations: usize,
    /// Those that nobody could answer.
    pub unknown: usize,
    /// Those whose answer says that nothing was changed.
    pub refused: usize,
    /// Most operations under way at once on one thing.
    pub widest: usize,
}

impl Tally {
    /// Counts the history of one thing, in which these answers are refusals.
    pub fn count<O, A>(&mut self, operations: &[Operation<O, A>], refused: impl Fn(&A) -> bool) {
        self.histories += 1;
        self.operations += operations.len();
        let answers = || operations.iter().map(|operation| &operation.answer);
        self.unknown += answers().filter(|answer| answer.is_none()).count();
        self.refused += answers().flatten().filter(|answer| refused(answer)).count();
        for one in operations {
            let beside = |other: &&Operation<O, A>| other.from <= one.from && one.from < other.to;
            let width = operations.iter().filter(beside).count();
            self.widest = self.widest.max(width);
        }
    }

    /// The line of a campaign in which every history was one.
    pub fn line(&self, what: &str) -> String {
        let Tally {
            histories,
            operations,
            unknown,
            refused,
            widest,
        } = self;
        format!(
            "{what}: {histories} histories checked, {operations} operations, {refused} refused, {unknown} Unknown, up to {widest} at once on one task, not linearizable 0"
        )
    }
}
