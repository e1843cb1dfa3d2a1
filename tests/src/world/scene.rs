//! Where everything of one seed takes place: what outlives every engine, and what is known of it.

use super::faults::{Fault, Plan};
use super::ledger::Ledger;
use super::trace::{Trace, named};
use super::witness::Witness;
use outlive::testing::WallClock;
use outlive_storage::row::{DefNumber, StepState};
use outlive_storage::{Applied, Commit, Conflict, MemStore, Store, StoreError, Write};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What the wall clock of every world shows at first: a moment in 2027, so that no world depends on when it is played.
const BEGINNING: Duration = Duration::from_secs(1_800_000_000);
/// More commits than any world makes; one that makes more has come to no end.
const COMMITS_MAX: u64 = 20_000;

/// Counts of one world, or of many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// What callers did.
    pub steps: u64,
    /// Commits that took place.
    pub commits: u64,
    /// Writes that failed and were not there.
    pub refused: u64,
    /// Writes that failed and were there.
    pub lost: u64,
    /// Deaths of an engine: at a write, at any other moment, by a handler.
    pub crashes: u64,
    /// Stops in order.
    pub stops: u64,
    /// Calls that were acknowledged.
    pub acknowledged: u64,
    /// Calls whose answer was unknown, and which were answered when asked again.
    pub resolved: u64,
    /// Entries of handlers.
    pub entries: u64,
}

impl Counts {
    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Refused | Fault::Full => self.refused += 1,
            Fault::AnswerLost => self.lost += 1,
            Fault::KilledBefore | Fault::KilledAfter => self.crashes += 1,
        }
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Counts) -> Counts {
        Counts {
            steps: self.steps + other.steps,
            commits: self.commits + other.commits,
            refused: self.refused + other.refused,
            lost: self.lost + other.lost,
            crashes: self.crashes + other.crashes,
            stops: self.stops + other.stops,
            acknowledged: self.acknowledged + other.acknowledged,
            resolved: self.resolved + other.resolved,
            entries: self.entries + other.entries,
        }
    }
}

/// What changes.
pub struct State {
    /// The story.
    pub trace: Trace,
    /// What the store took.
    pub ledger: Ledger,
    /// What handlers and callers were told.
    pub witness: Witness,
    /// What fails.
    pub faults: Plan,
    /// Counts.
    pub counts: Counts,
    /// The first thing that is wrong.
    pub broken: Option<String>,
}

impl State {
    /// Something is wrong; the first is told.
    pub fn wrong(&mut self, what: String) {
        self.trace.line(format_args!("WRONG: {what}"));
        self.broken.get_or_insert(what);
    }
}

/// The world of one seed.
pub struct World {
    /// What is in the store, whatever engines think.
    pub truth: Arc<MemStore>,
    /// The wall clock, which goes on over every life.
    pub wall: WallClock,
    /// What changes.
    pub state: Mutex<State>,
}

impl World {
    /// A world with these faults; whether its story is kept as text.
    pub fn new(faults: Plan, kept: bool) -> Arc<World> {
        Arc::new(World {
            truth: Arc::new(MemStore::new()),
            wall: WallClock::new(),
            state: Mutex::new(State {
                trace: Trace::new(kept),
                ledger: Ledger::default(),
                witness: Witness::default(),
                faults,
                counts: Counts::default(),
                broken: None,
            }),
        })
    }

    /// What the wall clock shows; to be asked inside of a runtime.
    pub fn shows(&self) -> Duration {
        let now = self.wall.now();
        now.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }

    /// Sets the wall clock to what it must show at the beginning of a life, whatever the system's shows.
    pub fn set_wall(&self, since: Option<Duration>) {
        let (wanted, shown) = (since.unwrap_or(BEGINNING), self.shows());
        if wanted >= shown {
            self.wall.jump_ahead(wanted - shown);
        } else {
            self.wall.jump_back(shown - wanted);
        }
    }

    /// The number of a definition.
    pub fn defined(&self, name: &str) -> Option<DefNumber> {
        let all = self.truth.definitions().unwrap_or_default();
        let found = all.into_iter().find(|(_, defined)| **defined == *name);
        found.map(|(number, _)| number)
    }

    /// Whether something is wrong already.
    pub fn is_broken(&self) -> bool {
        self.state.lock().broken.is_some()
    }

    /// A batch goes into the store, and is held against what was there.
    ///
    /// # Errors
    /// What the store fails with: a batch it refuses as malformed.
    pub fn commit(
        &self,
        store: &MemStore,
        batch: &[Commit],
    ) -> Result<Vec<Result<Applied, Conflict>>, StoreError> {
        let shows = u64::try_from(self.shows().as_micros()).unwrap_or(u64::MAX);
        let before = self.state.lock().ledger.before(batch, store);
        let answers = store.commit(batch)?;
        let mut state = self.state.lock();
        state.ledger.wall_us = shows;
        state.counts.commits += 1;
        let found = state.ledger.after(batch, &answers, &before, store);
        for commit in batch {
            tell(&mut state.trace, commit);
        }
        for what in found {
            state.wrong(what);
        }
        if state.counts.commits > COMMITS_MAX {
            state.wrong("it comes to no end".to_owned());
        }
        Ok(answers)
    }
}

/// A commit in the story.
fn tell(trace: &mut Trace, commit: &Commit) {
    for write in &commit.writes {
        match write {
            Write::Event(event) => trace.line(format_args!(
                "commit {} {:?} run {} turn {} attempt {} generation {} etag {}",
                named(event.id.as_str()),
                event.kind,
                event.run,
                event.turn,
                event.attempt,
                event.generation.0,
                event.etag.0
            )),
            Write::Step { key, step, .. } => {
                trace.line(format_args!(
                    "commit step {key} {:?}",
                    step.state == StepState::Done
                ));
            }
            Write::Segment { first, segment } => {
                trace.line(format_args!(
                    "commit items {first} +{}",
                    segment.entries.len()
                ));
            }
            _ => {}
        }
    }
}
