//! `Idempotency-Key`: kept with what it brought about, as the id of the input, so that it holds through any crash.

use crate::problem::{Kind, Problem};
use axum::http::{HeaderMap, HeaderName};
use outlive::InputId;
use sha2::{Digest, Sha256};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key, in bytes.
const KEY_MAX: usize = 1024;

/// The key of a request, if it has one. It may be written as a string of RFC 8941, in quotes.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = given.next() else {
        return Ok(None);
    };
    let text = first.to_str().ok();
    let text = text.map(|text| text.trim().trim_matches('"'));
    let fits = |text: &&str| (1..=KEY_MAX).contains(&text.len());
    match text.filter(fits) {
        Some(text) if given.next().is_none() => Ok(Some(text.to_owned())),
        Some(_) | None => Err(Problem::new(Kind::Invalid, "invalid_idempotency_key")
            .hint("give one key of 1 to 1024 characters")),
    }
}

/// The id of the input: the one the body names, else the key, as it is where it is an id, else its hash.
pub(crate) fn input_id(
    named: Option<String>,
    key: Option<&str>,
) -> Result<Option<String>, Problem> {
    if cfg!(planted = "server_key_forgotten") {
        return Ok(named);
    }
    match (named, key.map(of_key)) {
        (Some(named), Some(key)) if named != key => {
            let problem = Problem::new(Kind::Invalid, "two_input_ids");
            Err(problem.hint("give input_id or Idempotency-Key, not two different ones"))
        }
        (Some(id), _) | (None, Some(id)) => Ok(Some(id)),
        (None, None) => Ok(None),
    }
}

/// The id of a task that is given none: repeated, the request must find the task it started.
pub(crate) fn task_id(task: &str, key: &str) -> String {
    hashed("key-", &[task, key])
}

fn of_key(key: &str) -> String {
    match InputId::new(key) {
        Ok(_) => key.to_owned(),
        Err(_) => hashed("key-", &[key]),
    }
}

fn hashed(prefix: &str, parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    let hex: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{prefix}{hex}")
}
