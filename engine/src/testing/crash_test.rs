//! A scenario that is run anew for each crash it could meet.

use super::case::{Case, Crash, chosen, crashes};
use super::failure::Failure;
use super::life::{Played, message, play};
use super::problem::Problem;
use super::report::Report;
use crate::builder::Builder;
use crate::engine::Engine;
use crate::env;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

/// By default the script ends within so much virtual time: 30 days.
const DEADLINE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// By default one engine is waited for so long in real time.
const PATIENCE: Duration = Duration::from_secs(60);
/// A second crash falls into so many commits of the recovery from the first.
const RECOVERY_COMMITS: usize = 4;

/// Any error of a script: `?` makes it of whatever an engine answers.
pub type ScriptError = Box<dyn Error>;

/// What a script comes to.
type Playing<'l, T> = Pin<Box<dyn Future<Output = Result<T, ScriptError>> + 'l>>;

/// A script whose type is known only to itself.
pub(super) trait Play<W, T> {
    fn play<'l>(&'l self, engine: &'l Engine, world: &'l W) -> Playing<'l, T>;
}

impl<W, T, F: AsyncFn(&Engine, &W) -> Result<T, ScriptError>> Play<W, T> for F {
    fn play<'l>(&'l self, engine: &'l Engine, world: &'l W) -> Playing<'l, T> {
        Box::pin(self(engine, world))
    }
}

/// What a check answers: nothing, for one that panics where it does not hold, or a `Result` whose error says what is
/// wrong.
pub trait Verdict {
    /// What is wrong, if anything is.
    fn wrong(self) -> Option<String>;
}

impl Verdict for () {
    fn wrong(self) -> Option<String> {
        None
    }
}

impl<E: fmt::Display> Verdict for Result<(), E> {
    fn wrong(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

type SetUp<'a, W> = Box<dyn Fn(Builder, &W) -> Builder + 'a>;
type Check<'a, W, T> = Box<dyn Fn(&W, &T) -> Option<String> + 'a>;

/// The result of a test without a script, which cannot be run.
#[derive(Debug)]
pub struct NoScript(());

async fn no_script<W>(_: &Engine, _: &W) -> Result<NoScript, ScriptError> {
    Ok(NoScript(()))
}

/// A scenario that is run once undisturbed, and then anew for each of its commits with the engine killed just before it,
/// and just after it. See the [module](super) for what that means and for a whole test.
#[must_use = "nothing is tested before run() or try_run()"]
pub struct CrashTest<'a, W, T = NoScript> {
    pub(super) world: Box<dyn Fn() -> W + 'a>,
    pub(super) engine: SetUp<'a, W>,
    pub(super) script: Box<dyn Play<W, T> + 'a>,
    pub(super) deadline: Duration,
    pub(super) patience: Duration,
    checks: Vec<Check<'a, W, T>>,
    compares: bool,
    seed: u64,
    pairs_max: usize,
    only: Option<String>,
}

impl<'a, W: 'a> CrashTest<'a, W> {
    /// A test in a world that `world` makes anew for each run: the bank, the mail server, whatever handlers act on. It
    /// outlives the crashes of its run; everything else is made again at each open. [`Effects`](super::Effects) is one
    /// that only keeps count.
    pub fn new(world: impl Fn() -> W + 'a) -> CrashTest<'a, W> {
        CrashTest {
            world: Box::new(world),
            engine: Box::new(|builder, _| builder),
            script: Box::new(no_script::<W>),
            deadline: DEADLINE,
            patience: PATIENCE,
            checks: Vec::new(),
            compares: true,
            seed: 0,
            pairs_max: 0,
            only: None,
        }
    }

    /// What the caller of the tasks does: start them, wait, steer, answer, resolve. It is run again from its beginning after each
    /// crash, as a program that is started again, and must go on as that would: with the same task ids, and with an
    /// [`input_id`](crate::Start::input_id) for each input, so that one whose answer was lost is not given twice, and a
    /// task that has ended meanwhile answers again. What tasks still do when it returns is not waited for.
    ///
    /// # Panics
    /// After [`CrashTest::check`]: a check is one of this script's result, so the script is said first.
    pub fn script<T, F>(self, script: F) -> CrashTest<'a, W, T>
    where
        F: AsyncFn(&Engine, &W) -> Result<T, ScriptError> + 'a,
    {
        assert!(
            self.checks.is_empty(),
            "say the script before its checks: they would look at the result of another one"
        );
        CrashTest {
            script: Box::new(script),
            checks: Vec::new(),
            world: self.world,
            engine: self.engine,
            deadline: self.deadline,
            patience: self.patience,
            compares: self.compares,
            seed: self.seed,
            pairs_max: self.pairs_max,
            only: self.only,
        }
    }
}

impl<'a, W, T> CrashTest<'a, W, T> {
    /// Registers the handlers, at each open anew: they take of the world what they act on. The builder is that of an engine
    /// in memory, on a clock of its own; its poison guard is off.
    pub fn engine(mut self, engine: impl Fn(Builder, &W) -> Builder + 'a) -> Self {
        self.engine = Box::new(engine);
        self
    }

    /// What must hold of the world and of the script's result at the end of each run. One that does not hold says so by an
    /// error or by a panic.
    pub fn check<V: Verdict>(mut self, check: impl Fn(&W, &T) -> V + 'a) -> Self {
        let check = move |world: &W, result: &T| check(world, result).wrong();
        self.checks.push(Box::new(check));
        self
    }

    /// The result of the script need not be that of an undisturbed run, as by default it must, compared as JSON: for one
    /// that tells of time or chance.
    pub fn outcome_may_differ(mut self) -> Self {
        self.compares = false;
        self
    }

    /// So many further runs have a second crash at one of the first 4 commits after the first one. Where there are more such
    /// pairs the seed chooses; with `usize::MAX` every pair is tried. By default there are none.
    pub fn double_crashes(mut self, runs: usize) -> Self {
        self.pairs_max = runs;
        self
    }

    /// What chooses among the runs with two crashes; by default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs this case alone, after an undisturbed run to compare with: the text is as a [`Failure`] has printed it. The
    /// environment variable `OUTLIVE_CRASH_CASE` does the same for all tests of a process that name none.
    pub fn only(mut self, case: impl Into<String>) -> Self {
        self.only = Some(case.into());
        self
    }

    /// How much virtual time a run may take, over all its engines; by default 30 days. It costs next to no real time.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How much real time one engine may take; by default 60 s. It is for what is busy and lets no virtual time pass; code
    /// that never awaits cannot be stopped by it.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl<W: fmt::Debug, T: Serialize> CrashTest<'_, W, T> {
    /// As [`CrashTest::try_run`], for tests.
    ///
    /// # Panics
    /// With the text of the [`Failure`].
    #[track_caller]
    pub fn run(self) -> Report {
        match self.try_run() {
            Ok(report) => report,
            Err(failure) => panic!("{failure}"),
        }
    }

    /// Runs the scenario undisturbed, twice, and then through each crash, shortest cases first.
    ///
    /// It has a runtime of its own, so it is called from a plain `#[test]`.
    ///
    /// # Errors
    /// The first [`Failure`], which is of the shortest case that fails.
    pub fn try_run(self) -> Result<Report, Box<Failure>> {
        let mut tried = Tried {
            test: &self,
            seed: self.seed,
            expected: None,
            commits: Vec::new(),
            passed: 0,
        };
        let named = self
            .before()
            .map_err(|problem| tried.without_case(problem))?;
        let whole = play(&self, &[]);
        tried.commits = whole.lives.first().cloned().unwrap_or_default();
        tried.expected = Some(tried.judge(whole, &[])?);
        if tried.commits.is_empty() {
            return Err(tried.without_case(Problem::NothingCommitted));
        }
        if let Some(case) = named {
            tried.seed = case.seed;
            tried.play(&case.crashes)?;
            return Ok(tried.report(usize::from(case.crashes.len() == 1), 0));
        }
        tried.play(&[])?;
        let cases: Vec<Crash> = match cfg!(planted = "kit_longest_case_first") {
            false => crashes(tried.commits.len()).collect(),
            true => crashes(tried.commits.len()).rev().collect(),
        };
        let mut pairs = Vec::new();
        for first in &cases {
            let recovery = tried.play(&[*first])?;
            let seconds = crashes(recovery.min(RECOVERY_COMMITS));
            pairs.extend(seconds.map(|second| [*first, second]));
        }
        let pairs = match cfg!(planted = "kit_no_second_crash") {
            false => chosen(pairs, self.pairs_max, self.seed),
            true => Vec::new(),
        };
        for pair in &pairs {
            tried.play(pair)?;
        }
        Ok(tried.report(cases.len(), pairs.len()))
    }

    /// What can be told before anything runs: the one case to run, if somebody named one.
    fn before(&self) -> Result<Option<Case>, Problem> {
        env::refuse_inside_runtime().map_err(|_| Problem::InsideRuntime)?;
        let Some(text) = self.only.clone().or_else(env::crash_case) else {
            return Ok(None);
        };
        if cfg!(planted = "kit_runs_every_case") {
            return Ok(None);
        }
        let case = Case::read(&text).ok_or(Problem::NoSuchCase(text))?;
        Ok(Some(case))
    }
}

/// The runs of a test so far.
struct Tried<'t, 'a, W, T> {
    test: &'t CrashTest<'a, W, T>,
    seed: u64,
    /// The result of an undisturbed run, once there is one.
    expected: Option<String>,
    /// The commits of an undisturbed run.
    commits: Vec<String>,
    passed: usize,
}

impl<W: fmt::Debug, T: Serialize> Tried<'_, '_, W, T> {
    /// One run more; how many commits its last engine made.
    fn play(&mut self, crashes: &[Crash]) -> Result<usize, Box<Failure>> {
        let played = play(self.test, crashes);
        let recovery = played.lives.last().map_or(0, Vec::len);
        self.judge(played, crashes)?;
        Ok(recovery)
    }

    /// The result of the run, as JSON, if all is well with it.
    fn judge(&mut self, played: Played<W, T>, crashes: &[Crash]) -> Result<String, Box<Failure>> {
        let Played {
            world,
            outcome,
            lives,
        } = played;
        let judged = outcome.and_then(|result| self.verdict(&world, &result));
        judged
            .inspect(|_| self.passed += 1)
            .map_err(|problem| self.failure(problem, &world, &lives, crashes))
    }

    fn verdict(&self, world: &W, result: &T) -> Result<String, Problem> {
        for check in &self.test.checks {
            let checked = catch_unwind(AssertUnwindSafe(|| check(world, result)));
            let wrong = checked.unwrap_or_else(|panic| Some(message(&*panic)));
            if let Some(wrong) = wrong.filter(|_| !cfg!(planted = "kit_checks_nothing")) {
                return Err(Problem::Check(wrong));
            }
        }
        // As a value, so that the order of a map's keys does not matter.
        let found =
            serde_json::to_value(result).map_err(|error| Problem::NoJson(error.to_string()))?;
        let found = found.to_string();
        let compares = self.test.compares && !cfg!(planted = "kit_outcome_not_compared");
        match &self.expected {
            Some(expected) if compares && *expected != found => Err(Problem::Unequal {
                expected: expected.clone(),
                found,
            }),
            Some(_) | None => Ok(found),
        }
    }

    fn failure(
        &self,
        problem: Problem,
        world: &W,
        lives: &[Vec<String>],
        crashes: &[Crash],
    ) -> Box<Failure> {
        let died_at = |(commits, crash): (&Vec<String>, &Crash)| {
            let commit = commits.get(crash.commit - 1);
            commit.cloned()
        };
        Box::new(Failure {
            crashes: crashes.to_vec(),
            killed_at: lives.iter().zip(crashes).filter_map(died_at).collect(),
            world: format!("{world:?}"),
            ..*self.without_case(problem)
        })
    }

    /// The failure of what is no run.
    fn without_case(&self, problem: Problem) -> Box<Failure> {
        Box::new(Failure {
            problem,
            crashes: Vec::new(),
            killed_at: Vec::new(),
            seed: self.seed,
            world: String::new(),
            commits: self.commits.clone(),
            passed: self.passed,
            test: env::thread_name(),
        })
    }

    fn report(self, cases: usize, double_cases: usize) -> Report {
        Report {
            seed: self.seed,
            cases,
            double_cases,
            commits: self.commits,
        }
    }
}
