//! What came of each case, as a file for programs and as a table for people.

use crate::Failure;
use crate::case::Case;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// How a case stands. An infrastructure error says nothing about the model, so it is no failed case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Passed,
    Failed,
    InfrastructureError,
}

/// One line of `results.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// The task, for whoever wants to look it up in the store.
    pub(crate) id: String,
    pub(crate) status: Status,
    /// The model's answer, or why there is none.
    pub(crate) said: String,
    pub(crate) expected: String,
    /// Attempts of the last run, and how often the case was run.
    pub(crate) attempts: u32,
    pub(crate) runs: u32,
}

/// Writes the lines in the order of the cases, so that two files of results can be compared byte by byte.
pub(crate) fn write(path: &Path, lines: &[Line]) -> Result<(), Failure> {
    let mut text = String::new();
    for line in lines {
        text += &serde_json::to_string(line)?;
        text.push('\n');
    }
    // Under another name first: whoever looks finds all of it or nothing.
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, path)?)
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    passed: u64,
    failed: u64,
    infrastructure: u64,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    kinds: BTreeMap<String, Count>,
    all: Count,
    /// Cases that the infrastructure failed at least once, and those of them that were run twice.
    tried_again: u64,
    run_twice: u64,
}

impl Summary {
    pub(crate) fn of<'a>(results: impl IntoIterator<Item = (&'a Case, &'a Line)>) -> Summary {
        let mut summary = Summary::default();
        for (case, line) in results {
            summary.tried_again += u64::from(line.attempts > 1 || line.runs > 1);
            summary.run_twice += u64::from(line.runs > 1);
            let kind = summary.kinds.entry(case.kind().to_owned()).or_default();
            for count in [kind, &mut summary.all] {
                match line.status {
                    Status::Passed => count.passed += 1,
                    Status::Failed => count.failed += 1,
                    Status::InfrastructureError => count.infrastructure += 1,
                }
            }
        }
        summary
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kind      passed  failed  pass rate  infrastructure errors"
        )?;
        let kinds = self
            .kinds
            .iter()
            .map(|(kind, count)| (kind.as_str(), count));
        for (kind, count) in kinds.chain([("all", &self.all)]) {
            let Count {
                passed,
                failed,
                infrastructure,
            } = *count;
            let judged = (passed + failed).max(1) as f64;
            let rate = passed as f64 / judged * 100.0;
            writeln!(
                f,
                "{kind:<9} {passed:>6} {failed:>7} {rate:>9.1}% {infrastructure:>22}"
            )?;
        }
        let Summary {
            tried_again,
            run_twice,
            ..
        } = self;
        writeln!(
            f,
            "{tried_again} cases met infrastructure errors; {run_twice} of them were run a second time"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_infrastructure_error_is_no_failed_case() {
        let case = Case {
            name: "one".to_owned(),
            prompt: "add 1 2".to_owned(),
            expected: "3".to_owned(),
        };
        let line = |status| Line {
            name: "one".to_owned(),
            id: "id".to_owned(),
            status,
            said: "3".to_owned(),
            expected: "3".to_owned(),
            attempts: 1,
            runs: 2,
        };
        let lines = [
            Status::Passed,
            Status::Failed,
            Status::InfrastructureError,
            Status::InfrastructureError,
        ];
        let lines = lines.map(line);
        let summary = Summary::of(lines.iter().map(|line| (&case, line)));
        let Count {
            passed,
            failed,
            infrastructure,
        } = summary.all;
        assert_eq!((passed, failed, infrastructure), (1, 1, 2));
        assert_eq!((summary.tried_again, summary.run_twice), (4, 4));
    }
}
