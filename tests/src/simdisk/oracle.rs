//! Walks through the journal of a life, and after every call of the disk holds what a crash would leave against what must
//! be true.

use super::branch::{Branch, Issued};
use super::disk::{Call, Entry, Journal, Pages, SimDisk};
use super::dump::{Dump, Given};
use super::facts::Fact;
use super::image::{self, Kind};
use super::panics;
use super::run::{Counts, Share, Where};
use super::settle;
use super::witness::{Answer, Op};
use crate::chance::Chance;
use outlive_storage::{MemStore, RedbStore, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// What is tried of the further kinds at least, in a million.
const ODDS_MIN: u64 = 20_000;

/// The reference: what the store must say after each write.
struct Reference {
    store: MemStore,
    /// After the last write that was answered.
    acknowledged: Arc<Dump>,
    /// After the last write that was begun.
    attempted: Arc<Dump>,
    answer: Option<Answer>,
    /// How many writes were answered.
    answered: usize,
}

/// A walk through one life.
pub struct Walk<'a> {
    branch: &'a Branch,
    given: Given,
    calls: &'a [Issued],
    reference: Reference,
    ops: Vec<Arc<Op>>,
    facts: Vec<Fact>,
    may_be_gone: BTreeSet<Box<str>>,
    anew: BTreeSet<Box<str>>,
    now: Option<tokio::time::Instant>,
    synced: Pages,
    unsynced: Vec<Call>,
    chance: Chance,
    share: &'a Share,
    place: Where,
    /// What was counted.
    pub counts: Counts,
    /// Where the next life begins: one of the images by chance.
    pub next: Option<Branch>,
    candidates: u64,
    /// What is known at one line, with or without the write that was begun.
    known: Option<((usize, bool), Arc<Branch>)>,
}

impl<'a> Walk<'a> {
    /// A walk that begins there; `calls` are those of the life, with those before it.
    pub fn new(branch: &'a Branch, calls: &'a [Issued], share: &'a Share, place: Where) -> Self {
        let given = Branch::given(calls);
        let store = branch.reference();
        let dump = Arc::new(Dump::of(&store, &given).expect("memory answers"));
        Walk {
            branch,
            given,
            calls,
            reference: Reference {
                store,
                acknowledged: Arc::clone(&dump),
                attempted: dump,
                answer: None,
                answered: branch.ops.len(),
            },
            ops: branch.ops.clone(),
            facts: branch.facts.clone(),
            may_be_gone: branch.may_be_gone.clone(),
            anew: branch.anew.clone(),
            now: branch.now,
            synced: branch.pages.clone(),
            unsynced: Vec::new(),
            chance: Chance(place.seed.wrapping_mul(0xd134_2543_de82_ef95) ^ place.life),
            share,
            place,
            counts: Counts::default(),
            next: None,
            candidates: 0,
            known: None,
        }
    }

    /// Through all lines of the journal.
    pub fn through(&mut self, entries: &[Entry]) {
        let mut told: BTreeMap<usize, Vec<&Fact>> = BTreeMap::new();
        for entry in entries {
            if let Entry::Told { since, fact } = entry {
                told.entry(*since).or_default().push(fact);
            }
        }
        let odds = self.odds(entries);
        let mut is_new = false;
        for (line, entry) in entries.iter().enumerate() {
            for fact in told.remove(&line).into_iter().flatten() {
                self.learn(fact, line);
            }
            // Everything that was acknowledged since the last call must be there although nothing was asked of the disk.
            if matches!(entry, Entry::Call(_)) && is_new {
                self.crash(line, odds);
            }
            is_new |= matches!(entry, Entry::Call(_));
            self.step(entry, line);
        }
        for fact in told.into_values().flatten() {
            self.learn(fact, entries.len());
        }
        if is_new {
            self.crash(entries.len(), odds);
        }
    }

    /// What share of the further images is tried, in a million.
    fn odds(&mut self, entries: &[Entry]) -> u64 {
        let mut unsynced: Vec<Call> = Vec::new();
        let (mut fixed, mut further) = (0, 0);
        for entry in entries {
            let Entry::Call(call) = entry else { continue };
            if matches!(call, Call::Sync) {
                unsynced.clear();
                fixed += 1;
            } else {
                unsynced.push(call.clone());
                fixed += image::fixed(&unsynced).len();
                further += image::further(&unsynced, self.share.torn, &mut Chance(1)).len();
            }
        }
        self.counts.possible += (fixed + further) as u64;
        let room = self.share.images.saturating_sub(fixed) as u64;
        let odds = room.saturating_mul(1_000_000) / further.max(1) as u64;
        // Of each kind something, however many there are.
        odds.clamp(ODDS_MIN, 1_000_000)
    }

    fn violated(&mut self, line: usize, what: &str) {
        self.counts.violated(&self.place.at(line), what);
    }

    fn learn(&mut self, fact: &Fact, line: usize) {
        let acknowledged = Arc::clone(&self.reference.acknowledged);
        self.counts.facts += 1;
        if let Some(what) = fact.contradiction(&acknowledged, &self.may_be_gone) {
            self.violated(line, &format!("told before it was durable: {what}"));
        }
        if fact.lasts() {
            self.facts.push(fact.clone());
        }
    }

    fn step(&mut self, entry: &Entry, line: usize) {
        match entry {
            Entry::Call(Call::Sync) => {
                for call in self.unsynced.drain(..) {
                    self.synced.apply(&call);
                }
            }
            Entry::Call(call) => self.unsynced.push(call.clone()),
            Entry::Begun(op, now) => self.begun(op, *now, line),
            Entry::Done(answer) => {
                if self.reference.answer.as_ref() != Some(answer) {
                    let expected = &self.reference.answer;
                    let what = format!("the store answers {answer:?}, not {expected:?}");
                    self.violated(line, &what);
                }
                self.reference.acknowledged = Arc::clone(&self.reference.attempted);
                self.reference.answered = self.ops.len();
            }
            Entry::Told { .. } => {}
            Entry::MayGo(task) => {
                self.may_be_gone.insert(task.clone());
            }
            Entry::Anew(task) => {
                // Claims only grow, whoever has the id.
                let facts = &mut self.facts;
                facts.retain(|fact| fact.task.as_str() != &**task || fact.generation().is_some());
                self.anew.insert(task.clone());
            }
        }
    }

    fn begun(&mut self, op: &Arc<Op>, now: tokio::time::Instant, line: usize) {
        self.now = Some(now);
        self.ops.push(Arc::clone(op));
        self.reference.answer = Some(op.apply(&self.reference.store));
        let dump = Dump::of(&self.reference.store, &self.given).expect("memory answers");
        for what in dump.contradictions() {
            self.violated(line, &what);
        }
        let contradiction = |fact: &Fact| fact.contradiction(&dump, &self.may_be_gone);
        let broken: Vec<String> = self.facts.iter().filter_map(contradiction).collect();
        for what in broken {
            self.violated(line, &format!("{what}, which is undone by {op:?}"));
        }
        self.reference.attempted = Arc::new(dump);
        self.counts.writes += 1;
    }

    /// All images of a crash right before this line.
    fn crash(&mut self, line: usize, odds: u64) {
        self.counts.calls += 1;
        let mut kinds = image::fixed(&self.unsynced);
        let further = image::further(&self.unsynced, self.share.torn, &mut self.chance);
        for kind in further {
            if self.chance.below(1_000_000) < odds {
                kinds.push(kind);
            }
        }
        for kind in kinds {
            self.image(line, kind);
        }
    }

    fn image(&mut self, line: usize, kind: Kind) {
        let draws = [0; 3].map(|_| self.chance.below(1_000_000));
        self.candidates += 1;
        // Where the next life begins does not depend on which images are looked at. Late ones more often: there is more in
        // them.
        let is_next = self.chance.below((self.candidates / 2).max(1)) == 0;
        let point = self.place.point(line, kind);
        if !self.share.wants(&point) && !is_next {
            return;
        }
        let pages = image::build(&self.synced, &self.unsynced, kind);
        let one_in = |draw: u64, many: u64| many > 0 && draw * many < 1_000_000;
        let settles = one_in(draws[1], self.share.settle);
        let second = one_in(draws[0], self.share.second).then_some(draws[2]);
        self.counts.images += 1;
        *self.counts.kinds.entry(name(kind)).or_default() += 1;
        let examined = catch_unwind(AssertUnwindSafe(|| {
            self.examine(&pages, line, (second, settles))
        }));
        let panics = panics::taken();
        match examined {
            Ok(Ok(branch)) if panics.is_empty() => {
                if is_next {
                    let branch = Branch::clone(&branch);
                    self.next = Some(Branch { pages, ..branch });
                }
            }
            Ok(Err(what)) => self.violated_at(&point, &format!("{what} {panics:?}")),
            Ok(Ok(_)) | Err(_) => self.violated_at(&point, &format!("panics: {panics:?}")),
        }
    }

    fn violated_at(&mut self, point: &str, what: &str) {
        let seed = self.place.seed;
        let point = format!("OUTLIVE_SEED={seed} OUTLIVE_POINT={point}");
        self.counts.violated(&point, what);
    }

    /// What is on the disk, as the store that opens it says; and the engine after it.
    fn examine(
        &mut self,
        pages: &Pages,
        line: usize,
        (second, settles): (Option<u64>, bool),
    ) -> Result<Arc<Branch>, String> {
        let journal = Journal::default();
        let disk = if second.is_some() {
            SimDisk::logged(pages.clone(), &journal)
        } else {
            SimDisk::unlogged(pages.clone())
        };
        let began = Instant::now();
        let store = RedbStore::on_medium(Arc::new(disk.clone()), self.branch.options(), 2);
        let store = store.map_err(|error| format!("does not open: {error:?}"))?;
        let took = began.elapsed();
        self.counts.repaired += u64::from(store.opened().repaired);
        let dump = Dump::of(&store, &self.given).map_err(|error| format!("damaged: {error:?}"))?;
        let is_attempted = dump != *self.reference.acknowledged;
        if is_attempted && dump != *self.reference.attempted {
            let of_acknowledged = dump.difference(&self.reference.acknowledged);
            let of_attempted = dump.difference(&self.reference.attempted);
            return Err(format!(
                "neither what was acknowledged ({of_acknowledged:?}) nor what was begun ({of_attempted:?})"
            ));
        }
        self.counts.unanswered += u64::from(is_attempted);
        self.numbers_grow(&store, &dump)?;
        let branch = self.here(&dump, line, is_attempted);
        let opened = settle::Opened {
            branch: &branch,
            dump: &dump,
            journal: &journal,
        };
        let recovered = opened.recover(store, settles, second.is_some())?;
        self.counts.settled += u64::from(settles);
        self.counts.slowest(took + recovered);
        if let Some(draw) = second {
            let begins = Branch {
                pages: pages.clone(),
                ..Branch::clone(&branch)
            };
            self.crash_again(&begins, &journal, draw);
        }
        Ok(branch)
    }

    /// What is known of a crash right before this line, but for what is on the disk. It is the same for most images.
    fn here(&mut self, dump: &Dump, line: usize, is_attempted: bool) -> Arc<Branch> {
        let known = (line, is_attempted);
        if let Some((of, branch)) = &self.known
            && *of == known
        {
            return Arc::clone(branch);
        }
        let mut branch = self.without_pages(line);
        if !is_attempted {
            branch.ops.truncate(self.reference.answered);
        }
        branch.learn(dump);
        let branch = Arc::new(branch);
        self.known = Some((known, Arc::clone(&branch)));
        branch
    }

    fn without_pages(&self, line: usize) -> Branch {
        // Those of the lives before were made before this one began.
        let earlier = |number: usize| self.branch.calls.get(number);
        let made = self.calls.iter().enumerate();
        let made = made.filter(|(number, issued)| earlier(*number).is_some() || issued.at < line);
        let calls = made.map(|(number, issued)| {
            let was_answered = earlier(number).is_some_and(|before| before.answered.is_some());
            let is_answered = was_answered || issued.answered.is_some_and(|at| at <= line);
            Issued {
                at: 0,
                call: Arc::clone(&issued.call),
                answered: is_answered.then_some(0),
            }
        });
        Branch {
            pages: Pages::default(),
            ops: self.ops.clone(),
            facts: self.facts.clone(),
            may_be_gone: self.may_be_gone.clone(),
            anew: self.anew.clone(),
            calls: calls.collect(),
            past: self.branch.past.clone(),
            now: self.now,
            lives: self.branch.lives + 1,
            quick_repair: self.branch.quick_repair,
            journal_bytes: self.branch.journal_bytes,
        }
    }

    /// No number that was ever given is given again.
    fn numbers_grow(&self, store: &dyn Store, dump: &Dump) -> Result<(), String> {
        let counters = store.counters().map_err(|error| format!("{error:?}"))?;
        let rows = dump.tasks.values().map(|whole| &whole.row);
        let etag = rows.clone().map(|row| row.etag).max().unwrap_or_default();
        let generation = rows.map(|row| row.generation).max().unwrap_or_default();
        if counters.etag < etag || counters.generation < generation {
            return Err(format!(
                "numbers begin at {counters:?}, and there are {etag:?} and {generation:?}"
            ));
        }
        let claims = self.facts.iter().filter_map(|fact| fact.generation());
        let told = claims.max().unwrap_or(0);
        if counters.generation.0 < told {
            return Err(format!("claims begin at {counters:?} after {told}"));
        }
        Ok(())
    }

    /// The recovery is a life of its own, in which nobody calls.
    fn crash_again(&mut self, branch: &Branch, journal: &Journal, draw: u64) {
        let place = Where {
            life: self.place.life + 1000,
            ..self.place
        };
        let share = self.share.within();
        let mut walk = Walk::new(branch, &branch.calls, &share, place);
        walk.chance = Chance(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut entries = journal.take();
        entries.truncate(self.share.second_lines);
        walk.through(&entries);
        let counts = std::mem::take(&mut walk.counts);
        self.counts.add_second(counts);
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::LostAll => "lost-all",
        Kind::KeptAll => "kept-all",
        Kind::HeaderOnly => "header-only",
        Kind::AllButHeader => "all-but-header",
        Kind::AllButLength => "all-but-length",
        Kind::Without(_) => "one-missing",
        Kind::OneAndHeader(_) => "one-and-header",
        Kind::Torn { .. } => "torn",
    }
}
