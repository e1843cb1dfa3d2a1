//! The behaviour is written down in `docs/spec.md`, and every row of it names a test that exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The fewest rows the specification may have: one that was cut short does not pass for whole.
const ROWS_MIN: usize = 120;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie in the repository")
        .to_owned()
}

/// The rows of every table: the line, and the tests it names as `file` `test`.
fn rows(document: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let lines = document.lines().filter(|line| line.starts_with("| "));
    let rows = lines.filter(|line| !line.contains("| Held by |"));
    rows.map(|line| (line, tests(line))).collect()
}

/// The pairs of a file and a test in the last cell of a row.
fn tests(line: &str) -> Vec<(&str, &str)> {
    let last = line.trim_end_matches([' ', '|']).rsplit(" | ").next();
    let quoted: Vec<&str> = last
        .unwrap_or_default()
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    let mut file = "";
    let mut pairs = Vec::new();
    for part in quoted {
        if part.ends_with(".rs") {
            file = part;
        } else {
            pairs.push((file, part));
        }
    }
    pairs
}

/// What is wrong with a document: rows without a test, and tests that do not exist.
fn findings(document: &str) -> Vec<String> {
    let mut texts = BTreeMap::new();
    let mut findings = Vec::new();
    for (line, tests) in rows(document) {
        if tests.is_empty() {
            findings.push(format!("no test: {line}"));
        }
        for (file, test) in tests {
            let read = || fs::read_to_string(root().join(file)).unwrap_or_default();
            let text: &String = texts.entry(file.to_owned()).or_insert_with(read);
            if !text.contains(&format!("fn {test}(")) {
                findings.push(format!("{file} has no test {test}: {line}"));
            }
        }
    }
    findings
}

#[test]
fn every_row_of_the_specification_names_a_test_that_exists() {
    let document = fs::read_to_string(root().join("docs/spec.md")).expect("docs/spec.md");
    let found = findings(&document);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let count = rows(&document).len();
    assert!(count >= ROWS_MIN, "the specification has {count} rows");
}

#[test]
fn every_bug_that_was_found_has_a_test_that_exists() {
    let document = fs::read_to_string(root().join("ROBUSTNESS.md")).expect("ROBUSTNESS.md");
    // The figures come last, and are held by the commands beside them.
    let (bugs, _) = document.split_once("## Figures").expect("the figures");
    let found = findings(bugs);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(rows(bugs).len() >= 30, "the record was cut short");
}

#[test]
fn a_row_without_a_test_or_with_one_that_is_missing_is_refused() {
    let missing = "| It holds. | `tests/tests/spec.rs` `no_such_test` |";
    assert_eq!(findings(missing).len(), 1);
    let without = "| It holds. | by care |";
    assert_eq!(findings(without).len(), 1);
    let here = "| It holds. | `tests/tests/spec.rs` `a_row_without_a_test_or_with_one_that_is_missing_is_refused` |";
    assert!(findings(here).is_empty());
}
