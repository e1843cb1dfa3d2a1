//! Why a crash test failed, told so that its reader can go to work.

use super::case::{Case, Crash, Side};
use super::problem::Problem;
use std::fmt;

/// Most commits of the undisturbed run that a failure lists.
const LISTED_MAX: usize = 40;

/// The shortest case of a crash test that fails: with the fewest crashes, and of these the earliest. Its text says
/// what was wrong, where the engine died, what the world was then, and how to run this case alone.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What was wrong.
    pub problem: Problem,
    /// Where the engines died, in turn; empty for an undisturbed run.
    pub crashes: Vec<Crash>,
    /// What the commit of each crash did, in words.
    pub killed_at: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// The world in the end, as its `Debug` form.
    pub world: String,
    /// Each commit of the undisturbed run, in words.
    pub commits: Vec<String>,
    /// How many runs had passed before this one.
    pub passed: usize,
    /// The name of the test, if its thread has one.
    pub(super) test: Option<String>,
}

impl Failure {
    /// The case, as [`CrashTest::only`](super::CrashTest::only) and the environment variable `OUTLIVE_CRASH_CASE` take it.
    pub fn case(&self) -> String {
        let (seed, crashes) = (self.seed, self.crashes.clone());
        Case { seed, crashes }.to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = self.case();
        match self.crashes.len() {
            0 => writeln!(f, "without any crash: {}\n", self.problem)?,
            1 => writeln!(f, "after a crash: {}\n", self.problem)?,
            many => writeln!(f, "after {many} crashes: {}\n", self.problem)?,
        }
        for (life, crash) in self.crashes.iter().enumerate() {
            let side = match crash.side {
                Side::Before => "just before it was applied",
                Side::After => "just after it was applied, before anybody was answered",
            };
            let what = self.killed_at.get(life).map_or("not reached", |what| what);
            let (engine, commit) = (life + 1, crash.commit);
            writeln!(
                f,
                "  engine {engine} killed at its commit {commit}, {side}\n    {what}"
            )?;
        }
        writeln!(f, "  the world in the end\n    {}", self.world)?;
        if !self.commits.is_empty() {
            writeln!(f, "  the commits of an undisturbed run")?;
        }
        for (at, commit) in self.commits.iter().take(LISTED_MAX).enumerate() {
            writeln!(f, "    {:>3}  {commit}", at + 1)?;
        }
        if self.commits.len() > LISTED_MAX {
            writeln!(f, "    .. and {} more", self.commits.len() - LISTED_MAX)?;
        }
        let test = self.test.as_deref().filter(|name| *name != "main");
        let test = test.map_or(String::new(), |name| format!(" cargo test {name}"));
        write!(
            f,
            "  case {case} (seed {}, {} runs passed before it); alone: OUTLIVE_CRASH_CASE={case}{test}, or .only(\"{case}\")",
            self.seed, self.passed
        )
    }
}

/// As it is displayed: it is there to be read.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Failure {}
