//! The cases of a benchmark, and what makes two questions the same one.

use crate::Failure;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Cases made when none are given.
const MADE: u32 = 240;

/// One line of the file of cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) prompt: String,
    pub(crate) expected: String,
}

/// What one task is given: a case, and all that may change its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) case: Case,
    pub(crate) model: String,
}

impl Question {
    /// The task's id. The same question is the same task, today and next week; another prompt, another expected
    /// answer or another model is another one.
    pub(crate) fn id(&self) -> Result<String, Failure> {
        let digest = Sha256::digest(serde_json::to_vec(self)?);
        let mut id = String::new();
        for byte in &digest[..16] {
            write!(id, "{byte:02x}")?;
        }
        Ok(id)
    }
}

impl Case {
    /// What kind of work it is: the first word of the prompt.
    pub(crate) fn kind(&self) -> &str {
        self.prompt.split(' ').next().unwrap_or_default()
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<Case>, Failure> {
    let text = fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let cases: Result<Vec<Case>, _> = lines.map(serde_json::from_str).collect();
    cases.map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Writes cases of several kinds, the same each time.
pub(crate) fn make(path: &Path) -> Result<(), Failure> {
    let mut text = String::new();
    for number in 0..MADE {
        text += &serde_json::to_string(&made(number))?;
        text.push('\n');
    }
    Ok(fs::write(path, text)?)
}

fn made(number: u32) -> Case {
    let (a, b) = (number * 37 % 101, number * 59 % 89);
    let word = WORDS[number as usize % WORDS.len()];
    let other = WORDS[(number as usize / 3 + 5) % WORDS.len()];
    let (prompt, expected) = match number % 5 {
        0 => (format!("add {a} {b}"), (a + b).to_string()),
        1 => (format!("multiply {a} {b}"), (a * b).to_string()),
        2 => {
            let text = format!("{word}{a}");
            let reversed = text.chars().rev().collect();
            (format!("reverse {text}"), reversed)
        }
        3 => (
            format!("shout {word} {other} {a}"),
            format!("{word} {other} {a}").to_uppercase(),
        ),
        _ => {
            let mut words = [word.to_owned(), other.to_owned(), format!("n{a}")];
            let prompt = format!("sort {}", words.join(" "));
            words.sort_unstable();
            (prompt, words.join(" "))
        }
    };
    let name = format!("{number:03}");
    Case {
        name,
        prompt,
        expected,
    }
}

const WORDS: [&str; 13] = [
    "river", "stone", "lamp", "orchard", "winter", "copper", "garden", "violin", "anchor",
    "meadow", "thunder", "paper", "harbour",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        let model = "parrot-1".to_owned();
        Question {
            case: made(7),
            model,
        }
    }

    #[test]
    fn the_same_question_is_the_same_task_and_any_other_is_another() {
        let id = question().id().unwrap();
        assert_eq!(id, question().id().unwrap());
        let (mut prompt, mut expected, mut model) = (question(), question(), question());
        prompt.case.prompt.push('0');
        expected.case.expected.push('0');
        model.model.push('0');
        for other in [prompt, expected, model] {
            assert_ne!(other.id().unwrap(), id);
        }
    }

    #[test]
    fn made_cases_are_read_as_they_were_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cases.jsonl");
        make(&path).unwrap();
        let cases: Vec<Case> = (0..MADE).map(made).collect();
        assert_eq!(read(&path).unwrap(), cases);
    }
}
