//! Histories by seed: lives, each of which begins where a crash of the one before has left the disk.

use super::branch::Branch;
use super::caller;
use super::disk::{Journal, SimDisk};
use super::image::Kind;
use super::oracle::Walk;
use super::panics;
use super::script::Script;
use super::settle;
use crate::chance::Chance;
use outlive_storage::RedbStore;
use outlive_storage::redb::JOURNAL_BYTES;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Violations that are printed; further ones are only counted.
const SHOWN_MAX: u64 = 20;

/// A campaign of so many images looks at more of each history.
const LARGE: u64 = 1_000_000;

/// How much of what a crash may leave is tried.
#[derive(Debug, Clone)]
pub struct Share {
    /// Images of one life, about: of more only a share is tried, but for the fixed kinds.
    pub images: usize,
    /// Torn images of each grain after every call.
    pub torn: usize,
    /// One image in so many is worked until everything rests; 0: none.
    pub settle: u64,
    /// In one image in so many the recovery crashes as well; 0: in none.
    pub second: u64,
    /// So many lines of a recovery are crashed in.
    pub second_lines: usize,
    /// Images of one recovery, about.
    pub second_images: usize,
    /// Groups of calls in a life.
    pub groups: u64,
    /// Lives of a history.
    pub lives: u64,
    /// The only image to try.
    pub only: Option<String>,
}

impl Share {
    /// As a campaign of so many images has it.
    pub fn campaign(images: u64) -> Share {
        Share {
            images: if images < LARGE { 3_000 } else { 8_000 },
            torn: 2,
            settle: 50,
            second: 400,
            second_lines: 80,
            second_images: 16,
            groups: 16,
            lives: 3,
            only: None,
        }
    }

    /// Whether an image is to be tried.
    pub fn wants(&self, point: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == point)
    }

    /// That of a crash within a recovery.
    pub fn within(&self) -> Share {
        Share {
            images: self.second_images,
            second: 0,
            only: None,
            ..self.clone()
        }
    }
}

/// Where in a campaign something is.
#[derive(Debug, Clone, Copy)]
pub struct Where {
    /// The seed of the history.
    pub seed: u64,
    /// The life.
    pub life: u64,
}

impl Where {
    /// A line of the journal.
    pub fn at(&self, line: usize) -> String {
        let Where { seed, life } = self;
        format!("OUTLIVE_SEED={seed} life {life} line {line}")
    }

    /// An image.
    pub fn point(&self, line: usize, kind: Kind) -> String {
        format!("{}.{line}.{kind}", self.life)
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Counts {
    /// Seeds.
    pub histories: u64,
    /// Lives.
    pub lives: u64,
    /// Calls of disks, after each of which crashes were tried.
    pub calls: u64,
    /// Writes of stores.
    pub writes: u64,
    /// What callers and handlers were told.
    pub facts: u64,
    /// Crashes.
    pub images: u64,
    /// Crashes that could have been tried.
    pub possible: u64,
    /// Crashes within a recovery.
    pub second: u64,
    /// By their kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Images on which a write was that nobody had been told of.
    pub unanswered: u64,
    /// Backups that were compared.
    pub backups: u64,
    /// Files that were made small.
    pub compactions: u64,
    /// Retries that opened a further run.
    pub retries: u64,
    /// Starts that opened one.
    pub restarts: u64,
    /// Images whose file was read as a whole.
    pub repaired: u64,
    /// Images that were worked until everything rested.
    pub settled: u64,
    /// The longest recovery.
    pub slowest: Duration,
    /// What must not be.
    pub violations: u64,
    /// The first of them.
    pub shown: Vec<String>,
}

impl Counts {
    /// Counts a violation.
    pub fn violated(&mut self, point: &str, what: &str) {
        self.violations += 1;
        if self.violations <= SHOWN_MAX {
            const LEN: usize = 2_000;
            let what: String = what.chars().take(LEN).collect();
            self.shown.push(format!("{point}: {what}"));
        }
    }

    /// A recovery took so long.
    pub fn slowest(&mut self, took: Duration) {
        self.slowest = self.slowest.max(took);
    }

    /// Adds those of another history.
    pub fn add(&mut self, other: Counts) {
        self.histories += other.histories;
        self.lives += other.lives;
        self.calls += other.calls;
        self.writes += other.writes;
        self.facts += other.facts;
        self.images += other.images;
        self.possible += other.possible;
        self.second += other.second;
        self.unanswered += other.unanswered;
        self.backups += other.backups;
        self.compactions += other.compactions;
        self.retries += other.retries;
        self.restarts += other.restarts;
        self.repaired += other.repaired;
        self.settled += other.settled;
        self.slowest = self.slowest.max(other.slowest);
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.violations += other.violations;
        let room = (SHOWN_MAX as usize).saturating_sub(self.shown.len());
        self.shown.extend(other.shown.into_iter().take(room));
    }

    /// Adds those of crashes within a recovery.
    pub fn add_second(&mut self, other: Counts) {
        let second = other.images;
        self.add(Counts {
            images: 0,
            possible: 0,
            second,
            calls: 0,
            kinds: BTreeMap::new(),
            shown: other
                .shown
                .iter()
                .map(|what| format!("in a recovery: {what}"))
                .collect(),
            ..other
        });
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} images after {} calls of the disk in {} lives of {} histories ({} retries, {} restarts), {} in recoveries, {} worked to the end, {} failures, slowest recovery {:.1} ms",
            self.images,
            self.possible,
            self.calls,
            self.lives,
            self.histories,
            self.retries,
            self.restarts,
            self.second,
            self.settled,
            self.violations,
            self.slowest.as_secs_f64() * 1e3,
        )
    }
}

/// The history of a seed.
///
/// # Panics
/// When the system refuses a runtime.
pub fn history(seed: u64, share: &Share) -> Counts {
    panics::keep();
    let mut counts = Counts {
        histories: 1,
        ..Counts::default()
    };
    let mut script = Script::new(seed);
    let mut branch = first(seed);
    for life in 0..share.lives {
        let journal = Journal::default();
        let disk = SimDisk::logged(branch.pages.clone(), &journal);
        let place = Where { seed, life };
        branch.now = branch
            .now
            .map(|now| now + downtime(&mut Chance(seed ^ life << 32)));
        let lived = settle::run(
            branch.now,
            caller::live(&branch, (&disk, &journal), &mut script, share.groups),
        );
        counts.lives += 1;
        let lived = lived.unwrap_or_else(|why| caller::Lived {
            violations: vec![why],
            ..caller::Lived::default()
        });
        counts.backups += lived.backups;
        counts.compactions += lived.compactions;
        counts.retries += lived.retries;
        counts.restarts += lived.restarts;
        for what in lived.violations.iter().chain(&panics::taken()) {
            counts.violated(&place.at(0), what);
        }
        let mut walk = Walk::new(&branch, &lived.calls, share, place);
        walk.through(&journal.take());
        counts.add(std::mem::take(&mut walk.counts));
        let Some(next) = walk.next.take() else { break };
        branch = next;
    }
    panics::print();
    counts
}

/// How long nobody ran: a restart at once, one that finds everything due that waited, and what is between.
fn downtime(chance: &mut Chance) -> Duration {
    const DOWN: [u64; 6] = [0, 0, 1, 30, 600, 100_000];
    Duration::from_secs(DOWN[chance.below(DOWN.len() as u64) as usize])
}

/// Journals that are full soon, that of the default, and none.
const JOURNALS: [u32; 5] = [16 << 10, 64 << 10, JOURNAL_BYTES, 32 << 10, 0];

/// How far the clock of a history is ahead of the machine's.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// An empty store, which nobody has opened yet: its file appears whole or not at all.
fn first(seed: u64) -> Branch {
    let journals = JOURNALS.len() as u64;
    let mut branch = Branch {
        // How long the machine takes for a history moves no clock in it.
        now: Some(tokio::time::Instant::now() + AHEAD),
        quick_repair: !seed.is_multiple_of(8),
        journal_bytes: JOURNALS[(seed % journals) as usize],
        ..Branch::default()
    };
    let disk = SimDisk::unlogged(branch.pages.clone());
    let store = RedbStore::on_medium(Arc::new(disk.clone()), branch.options(), 1);
    drop(store.expect("a store on an empty disk"));
    branch.pages = disk.pages();
    branch
}
