//! The model under test: it does what a prompt says, and is wrong now and then, always in the same places.

use crate::service::chance;

/// One answer in so many is wrong.
const WRONG_ONE_IN: u64 = 9;

/// The answer of the model of this name.
pub(crate) fn answer(model: &str, prompt: &str) -> String {
    let answer = solve(prompt).unwrap_or_else(|| "I do not know".to_owned());
    if chance(&[model, prompt], WRONG_ONE_IN) {
        return format!("{answer}!");
    }
    answer
}

fn solve(prompt: &str) -> Option<String> {
    let (kind, rest) = prompt.split_once(' ')?;
    let numbers = || {
        let (a, b) = rest.split_once(' ')?;
        Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?))
    };
    Some(match kind {
        "add" => {
            let (a, b) = numbers()?;
            a.checked_add(b)?.to_string()
        }
        "multiply" => {
            let (a, b) = numbers()?;
            a.checked_mul(b)?.to_string()
        }
        "reverse" => rest.chars().rev().collect(),
        "shout" => rest.to_uppercase(),
        "sort" => {
            let mut words: Vec<&str> = rest.split(' ').collect();
            words.sort_unstable();
            words.join(" ")
        }
        _ => return None,
    })
}
