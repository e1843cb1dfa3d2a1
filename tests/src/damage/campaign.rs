//! Many damages, one after the other, and what came of them. It has so many lines because what counts as right is said here, in one
//! place.

use super::kept;
use super::kind::{Damage, Kind};
use super::tail;
use super::trial::{self, Trial, Truth};
use super::world::{self, World};
use crate::chance::Chance;
use outlive::ChildError;
use outlive::store::{self, CopyError, FoundBy, OpenError, SalvageReport};
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// An engine that says nothing for so many rounds hangs.
const HUNG_ROUNDS: u32 = 120;
/// A round. They are counted one by one: whoever is stopped for an hour, and goes on, has waited for one round.
const ROUND: Duration = Duration::from_secs(1);
/// Of files that open, one in so many is salvaged as well.
const SALVAGED_EVERY: u64 = 8;
/// Of how many tasks one record of the journal has commits at most: few calls come at once.
const TASKS_OF_RECORD_MAX: usize = 6;

/// What came of all of them.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Files that were damaged.
    pub damages: u64,
    /// Of these, not opened, with a typed error.
    pub refused: u64,
    /// Opened, and damage was reported when it was met.
    pub reported: u64,
    /// Opened, and nothing of it was ever met.
    pub unharmed: u64,
    /// Engines that stopped with a typed error.
    pub stopped: u64,
    /// Files that are right to say nothing of the last record of their journal: a crash that tears it leaves the same.
    pub torn: u64,
    /// Values told that are not so.
    pub wrong: u64,
    /// Files in which a disk brought back an old version of a sector, and of which something out of date was told: each
    /// page of them is one that was written, and only [`store::verify`] compares a page with what its parent knows of it.
    pub outdated: u64,
    /// Files of which something was told as not there without a word, or what follows from that: damage that empties a page
    /// hides what stood in it, and only [`store::verify`] compares a page with what its parent knows of it.
    pub hiding: u64,
    /// Files of which lists left something out without a word.
    pub omitting: u64,
    /// Files in which a task did not go on, without a word.
    pub stalling: u64,
    /// Panics that came to the caller.
    pub panics: u64,
    /// Panics inside redb that did not.
    pub caught: u64,
    /// Engines that hung.
    pub hung: u64,
    /// Files in which something was met, and of which `verify` says that nothing is wrong.
    pub unverified: u64,
    /// Files that were salvaged.
    pub salvaged: u64,
    /// Rows that there were in these.
    pub rows: u64,
    /// Rows saved of them.
    pub saved: u64,
    /// Rows that there were in files that do not open.
    pub refused_rows: u64,
    /// Rows saved of them.
    pub refused_saved: u64,
    /// Values told of a salvaged file that are not so.
    pub salvaged_wrong: u64,
    /// The first of what was wrong.
    pub examples: Vec<String>,
}

impl Counts {
    /// Whether nothing happened that must not.
    pub fn is_good(&self) -> bool {
        let bad = self.wrong + self.panics + self.hung + self.unverified + self.salvaged_wrong;
        bad == 0 && share(self.refused_saved, self.refused_rows) >= 99.0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} damages, {} refused, {} opened and reported, {} never met, {} as a crash leaves it, {} engines stopped with a cause, {} silent wrong, {} that hide entries, {} out of date, \
             {} panics, {} hung, {} caught inside redb, {} with lists that leave out, {} with tasks that stand still, \
             {} missed by verify; {} salvaged, {:.2} % of rows saved, {:.2} % of refused files, {} silent wrong",
            self.damages,
            self.refused,
            self.reported,
            self.unharmed,
            self.torn,
            self.stopped,
            self.wrong,
            self.hiding,
            self.outdated,
            self.panics,
            self.hung,
            self.caught,
            self.omitting,
            self.stalling,
            self.unverified,
            self.salvaged,
            share(self.saved, self.rows),
            share(self.refused_saved, self.refused_rows),
            self.salvaged_wrong,
        )
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 100.0;
    }
    part as f64 * 100.0 / whole as f64
}

/// What a whole file says.
struct Whole {
    truth: Arc<Truth>,
    rows: u64,
}

/// What is damaged, and what it says undamaged.
pub struct Campaign {
    world: Arc<World>,
    whole: Whole,
    /// The sectors of the last record of the journal of the file that was killed, and what it says without that record.
    torn: Option<(Range<usize>, Whole)>,
    directory: tempfile::TempDir,
}

impl Whole {
    /// What these bytes say.
    ///
    /// # Panics
    /// When the file is not whole.
    fn of(file: &[u8], world: &World, directory: &Path) -> Whole {
        let [path, saved] = ["truth.redb", "saved.redb"].map(|name| directory.join(name));
        fs::write(&path, file).expect("written");
        let truth = runtime().block_on(async {
            let stage = world::Stage::default();
            let engine = stage.on(outlive::Engine::builder(&path)).open().await;
            let engine = engine.expect("the undamaged file opens");
            let truth = trial::read(&engine, world).await;
            engine.shutdown(Duration::ZERO).await;
            truth
        });
        fs::write(&path, file).expect("written");
        let report = store::verify(&path).expect("verified");
        assert!(report.is_whole(), "{report:?}");
        let _ = fs::remove_file(&saved);
        let saved = store::salvage(&path, saved).expect("salvaged");
        assert_eq!((saved.lost(), saved.findings.total()), (0, 0), "{saved:?}");
        Whole {
            truth: Arc::new(truth),
            rows: saved.saved(),
        }
    }
}

impl Campaign {
    /// A file with so many tasks.
    ///
    /// # Panics
    /// When the undamaged file is not whole.
    pub fn new(tasks: usize) -> Campaign {
        Campaign::kept(tasks, None)
    }

    /// As [`Campaign::new`], on the file that was kept in a directory, or on a new one that is kept there: the same damage of the
    /// same file can then be looked at alone.
    ///
    /// # Panics
    /// As for [`Campaign::new`].
    pub fn kept(tasks: usize, place: Option<&Path>) -> Campaign {
        let directory = tempfile::tempdir().expect("a directory");
        let world = match place.and_then(|place| kept::load(place, tasks)) {
            Some(world) => world,
            None => runtime().block_on(World::build(directory.path(), tasks)),
        };
        if let Some(place) = place {
            kept::keep(place, &world).expect("kept");
        }
        let torn = tail::torn(&world.killed).map(|(sectors, file)| {
            let whole = Whole::of(&file, &world, directory.path());
            (sectors, whole)
        });
        // Last, for what was saved of it is looked at below.
        let whole = Whole::of(&world.killed, &world, directory.path());
        let campaign = Campaign {
            world: Arc::new(world),
            whole,
            torn,
            directory,
        };
        for file in [&campaign.world.killed, &campaign.world.stopped] {
            let trial = campaign
                .engine_on(file, ("undamaged", false), &campaign.whole)
                .expect("no panic");
            assert_eq!(trial, Some(Trial::default()), "the undamaged file");
        }
        let path = campaign.directory.path().join("saved.redb");
        let file = fs::read(path).expect("the salvaged file");
        let trial = campaign
            .engine_on(&file, ("salvaged", false), &campaign.whole)
            .expect("no panic");
        assert_eq!(trial, Some(Trial::default()), "the salvaged file");
        campaign
    }

    /// Does the damages with these numbers to the file, and counts what comes of it. `told` is given each that is noteworthy, as
    /// soon as it is known.
    pub fn run(&self, damages: Range<u64>, seed: u64, mut told: impl FnMut(&str)) -> Counts {
        let caught = count_panics();
        let mut counts = Counts::default();
        for n in damages {
            let mut chance = Chance(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let before = counts.examples.len();
            self.one(n, &mut chance, &mut counts);
            counts.examples[before..]
                .iter()
                .for_each(|example| told(example));
        }
        counts.caught = caught.load(Ordering::Relaxed);
        let _ = std::panic::take_hook();
        counts
    }

    fn one(&self, n: u64, chance: &mut Chance, counts: &mut Counts) {
        let kind = Kind::ALL[n as usize % Kind::ALL.len()];
        let is_killed = chance.below(2) == 0;
        let mut file = match is_killed {
            true => self.world.killed.clone(),
            false => self.world.stopped.clone(),
        };
        let damage = Damage::new(kind, &mut file, &self.world.before, chance);
        let note = |what: &dyn fmt::Display| format!("damage {n} {damage:?}: {what}");
        counts.damages += 1;
        let verified = self.verify(&file);
        let torn = self.torn_by(damage, is_killed, &file);
        counts.torn += u64::from(torn.is_some());
        let whole = torn.unwrap_or(&self.whole);
        let trial = match self.engine_on(&file, ("trial", false), whole) {
            Ok(Some(trial)) => trial,
            Ok(None) => {
                counts.hung += 1;
                counts.examples.push(note(&"hung"));
                return;
            }
            Err(panic) => {
                counts.panics += 1;
                counts.examples.push(note(&panic));
                return;
            }
        };
        counts.refused += u64::from(trial.refused);
        counts.stopped += u64::from(trial.stopped);
        if kind == Kind::Older {
            counts.outdated += u64::from(!trial.wrong.is_empty() || trial.hidden > 0);
        } else if trial.hidden > 0 {
            counts.hiding += 1;
        } else {
            counts.wrong += trial.wrong.len() as u64;
        }
        counts.omitting += u64::from(trial.omitted > 0);
        counts.stalling += u64::from(trial.stalled > 0);
        if !trial.refused {
            let met = trial.noticed();
            counts.reported += u64::from(met);
            counts.unharmed += u64::from(!met);
        }
        for wrong in trial.wrong.iter().take(2) {
            counts.examples.push(note(wrong));
        }
        if trial.omitted > 0 {
            counts
                .examples
                .push(note(&format_args!("omitted {}", trial.omitted)));
        }
        if trial.stalled > 0 && trial.reported == 0 {
            counts
                .examples
                .push(note(&format_args!("stalled {}", trial.stalled)));
        }
        match verified {
            Ok(whole) if whole && (trial.noticed() || !trial.wrong.is_empty()) => {
                counts.unverified += 1;
                counts
                    .examples
                    .push(note(&format_args!("verify: whole, {trial:?}")));
            }
            Ok(_) => {}
            Err(panic) => {
                counts.panics += 1;
                counts.examples.push(note(&panic));
            }
        }
        if trial.refused || n.is_multiple_of(SALVAGED_EVERY) {
            self.salvage(&file, (trial.refused, whole), &note, counts);
        }
    }

    /// What the file says without the last record of its journal, where nothing can tell this damage from a crash that has torn
    /// that record: it lies in it, and all that the engine says is what it says of the file of which the record never came to
    /// the disk. Whatever else it says is judged by what the whole file says.
    fn torn_by(&self, damage: Damage, is_killed: bool, file: &[u8]) -> Option<&Whole> {
        let (sectors, whole) = self.torn.as_ref()?;
        if !is_killed || !sectors.contains(&damage.sector) {
            return None;
        }
        let trial = self.engine_on(file, ("torn", false), whole);
        (trial == Ok(Some(Trial::default()))).then_some(whole)
    }

    /// Whether `verify` finds nothing wrong.
    fn verify(&self, file: &[u8]) -> Result<bool, String> {
        let path = self.directory.path().join("verify.redb");
        fs::write(&path, file).expect("written");
        let verified = catch_unwind(AssertUnwindSafe(|| store::verify(&path)));
        match verified {
            Ok(Ok(report)) => Ok(report.is_whole()),
            Ok(Err(OpenError::NotAStore { .. } | OpenError::TooNew { .. })) => Ok(false),
            Ok(Err(error)) => Err(format!("verify: {error}")),
            Err(_) => Err("verify panicked".to_owned()),
        }
    }

    fn salvage(
        &self,
        file: &[u8],
        (refused, whole): (bool, &Whole),
        note: &dyn Fn(&dyn fmt::Display) -> String,
        counts: &mut Counts,
    ) {
        let [from, to] = ["damaged.redb", "new.redb"].map(|name| self.directory.path().join(name));
        fs::write(&from, file).expect("written");
        let _ = fs::remove_file(&to);
        let salvaged = catch_unwind(AssertUnwindSafe(|| store::salvage(&from, &to)));
        assert_eq!(
            fs::read(&from).expect("read"),
            file,
            "the damaged file stays"
        );
        counts.salvaged += 1;
        counts.rows += whole.rows;
        counts.refused_rows += if refused { whole.rows } else { 0 };
        let report = match salvaged {
            Ok(Ok(report)) => report,
            Ok(Err(error @ CopyError::From(_))) => {
                counts.examples.push(note(&error));
                return;
            }
            Ok(Err(error)) => {
                counts.panics += 1;
                counts.examples.push(note(&error));
                return;
            }
            Err(_) => {
                counts.panics += 1;
                counts.examples.push(note(&"salvage panicked"));
                return;
            }
        };
        let saved = report.saved().min(whole.rows);
        counts.saved += saved;
        counts.refused_saved += if refused { saved } else { 0 };
        if share(saved, whole.rows) < 99.0 {
            counts.examples.push(note(&format_args!(
                "saved {saved} of {}: {report:?}",
                whole.rows
            )));
        }
        let verified = store::verify(&to);
        if !verified
            .as_ref()
            .is_ok_and(|verified| is_as_told(&report, verified))
        {
            counts.salvaged_wrong += 1;
            counts
                .examples
                .push(note(&format_args!("salvaged and not whole: {verified:?}")));
        }
        let bytes = fs::read(&to).expect("read");
        let untold = match self.engine_on(&bytes, ("salvaged", true), whole) {
            Ok(Some(trial)) if !trial.refused => {
                let mut wrong = trial.wrong;
                let of_tasks = tasks(&wrong);
                wrong.retain(|wrong| !is_told(&report, wrong));
                self.leave_out_who_asks_anew(&report, &mut wrong);
                // A broken journal excuses what one record had, and no more.
                if report.journal.is_broken && of_tasks.len() > TASKS_OF_RECORD_MAX {
                    wrong.push(format!("of one record: {of_tasks:?}"));
                }
                wrong
            }
            other => vec![format!("{other:?}")],
        };
        counts.salvaged_wrong += u64::from(!untold.is_empty());
        for untold in untold {
            counts
                .examples
                .push(note(&format_args!("salvaged: {untold}")));
        }
    }

    /// Who waits for the answer to a question that is lost asks once more, in a turn and a step of this engine: as many as the
    /// report says are lost, and no more.
    fn leave_out_who_asks_anew(&self, report: &SalvageReport, wrong: &mut Vec<String>) {
        let asks_anew = |wrong: &String| {
            let (id, what) = wrong.split_once(' ').unwrap_or_default();
            let is_of_turn = what.starts_with("task: ") || what.starts_with("steps: ");
            is_of_turn && self.world.kind_of(id) == Some(world::Kind::Asks)
        };
        let (anew, rest): (Vec<_>, Vec<_>) = wrong.drain(..).partition(asks_anew);
        *wrong = rest;
        let lost = report.tables.iter().find(|table| table.table == "asks");
        if lost.is_none_or(|table| table.lost < tasks(&anew).len() as u64) {
            wrong.extend(anew);
        }
    }

    /// Runs an engine on a file of these bytes; `None`: it hung.
    fn engine_on(
        &self,
        file: &[u8],
        (name, salvaged): (&str, bool),
        whole: &Whole,
    ) -> Result<Option<Trial>, String> {
        let directory = tempfile::tempdir_in(self.directory.path()).expect("a directory");
        let path = directory.path().join(name);
        fs::write(&path, file).expect("written");
        let (world, truth) = (Arc::clone(&self.world), Arc::clone(&whole.truth));
        let (sender, answer) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let trial = on(&path, &world, &truth, salvaged);
            let _ = sender.send(trial);
        });
        for _ in 0..HUNG_ROUNDS {
            match answer.recv_timeout(ROUND) {
                Ok(trial) => {
                    drop(directory);
                    return Ok(Some(trial));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return match thread.join() {
                        Ok(()) => Ok(None),
                        Err(_) => Err("the engine panicked".to_owned()),
                    };
                }
            }
        }
        Ok(None)
    }
}

/// The tasks of which something is not so.
fn tasks(wrong: &[String]) -> BTreeSet<String> {
    let mut tasks = BTreeSet::new();
    for wrong in wrong {
        let text = wrong.strip_prefix("listed ").unwrap_or(wrong);
        tasks.extend(text.split([' ', ':']).next().map(str::to_owned));
    }
    tasks
}

/// Whether a salvaged file is whole but for the values that its report says are lost.
fn is_as_told(report: &SalvageReport, verified: &store::VerifyReport) -> bool {
    let lost = report.tables.iter().find(|table| table.table == "values");
    let without_value = |finding: &store::Finding| finding.what == store::Wrong::ValueMissing;
    let named = verified.findings.named();
    verified.is_whole()
        || lost.is_some_and(|table| verified.findings.total() <= table.lost)
            && named.iter().all(without_value)
}

/// Whether what is not so of a salvaged file follows from what its report says is lost: a stream that has lost its last
/// items ends earlier, a task that has lost what hung on it comes to another end, the parent of one that is lost does not
/// find it, and one of which only an earlier version was found stands where it stood then.
fn is_told(report: &SalvageReport, wrong: &str) -> bool {
    let lost = |tables: &[&str]| {
        let of_these = |table: &&store::TableSaved| tables.contains(&table.table);
        report
            .tables
            .iter()
            .filter(of_these)
            .any(|table| table.lost > 0)
    };
    let is_named_anew = wrong.contains("lost.definition.");
    let of_name = |finding: &store::Finding| finding.table == "definitions";
    if is_named_anew && report.findings.named().iter().any(of_name) {
        return true;
    }
    // One of which the tables have only an earlier version as well, or of which all of it may be of an earlier moment.
    let goes_back =
        report.journal.is_broken || report.outdated > 0 || report.found == FoundBy::ByPages;
    if wrong.contains(" stream end: ") {
        return lost(&["stream"]) || goes_back;
    }
    if wrong.ends_with(&format!(": {}", ChildError::Gone)) {
        return lost(&["tasks"]) || report.journal.is_broken;
    }
    let stands = [
        " task: ",
        " history: ",
        " input i",
        " output: ",
        " metadata: ",
    ];
    // What a damaged record of the journal had is not there: a task that it was the last one of goes on from what was before it,
    // and begins anew.
    let anew = wrong.starts_with("listed ")
        || wrong.contains(" steps: ")
        || wrong.contains(" stream ")
        || wrong.contains(" ended with ");
    if goes_back && (anew || stands.iter().any(|what| wrong.contains(what))) {
        return true;
    }
    let of_turns = [
        "pending_steering_inputs",
        "values",
        "receipts",
        "turns",
        "steps",
        "asks",
    ];
    wrong.contains(" ended with ") && lost(&of_turns)
}

fn on(path: &Path, world: &World, truth: &Truth, salvaged: bool) -> Trial {
    runtime().block_on(trial::run(path, world, truth, salvaged))
}

fn runtime() -> tokio::runtime::Runtime {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    built.expect("a runtime")
}

/// Counts panics instead of printing them: those that redb meets on bad pages are expected, and caught.
fn count_panics() -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    std::panic::set_hook(Box::new(move |info| {
        counting.fetch_add(1, Ordering::Relaxed);
        if std::env::var_os("OUTLIVE_SHOW_PANICS").is_some() {
            eprintln!("{info}");
        }
    }));
    count
}
