//! What a crash test tried.

use std::fmt;

/// What a crash test tried, all of which passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Runs with one crash: two for each commit of the undisturbed run.
    pub cases: usize,
    /// Runs with a second crash inside the recovery from the first.
    pub double_cases: usize,
    /// Each commit of the undisturbed run, in words.
    pub commits: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commits, {} runs with one crash and {} with two: all is well",
            self.commits.len(),
            self.cases,
            self.double_cases
        )
    }
}
