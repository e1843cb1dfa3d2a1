//! `ETag`, `If-Match` and `If-None-Match`: what a caller saw, and whether it is still so.

use crate::problem::{Kind, Problem};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use outlive::{Fault, Snapshot};
use sha2::{Digest, Sha256};

/// The strong validator of a task as it is shown: its etag, and a hash of what changes without one. A precondition of a
/// change looks at the etag alone: metadata moves while a turn runs, and decides nothing.
pub(crate) fn validator(snapshot: &Snapshot) -> String {
    let metadata = serde_json::to_vec(&snapshot.metadata).unwrap_or_default();
    let hash = Sha256::digest(&metadata);
    let short: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{}.{short}\"", snapshot.etag)
}

/// The header `ETag`.
pub(crate) fn etag(snapshot: &Snapshot) -> HeaderValue {
    // Digits, dots and quotes are always a header.
    HeaderValue::from_str(&validator(snapshot)).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the caller has this representation already (`If-None-Match`).
pub(crate) fn is_known(headers: &HeaderMap, snapshot: &Snapshot) -> bool {
    let validator = validator(snapshot);
    let tags = tags(headers, &header::IF_NONE_MATCH);
    // The weak comparison of RFC 9110: a `W/` before a tag makes no difference.
    let same = |tag: &String| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == validator;
    tags.iter().any(same)
}

/// What `If-Match` requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Nothing.
    Nothing,
    /// That the task is there.
    Any,
    /// That its etag is this one.
    Etag(u64),
}

impl IfMatch {
    /// Reads the header. Of several tags one at most can be the task's, and a change is decided on one: more are refused.
    pub(crate) fn of(headers: &HeaderMap) -> Result<IfMatch, Problem> {
        let tags = tags(headers, &header::IF_MATCH);
        match tags.as_slice() {
            [] => Ok(IfMatch::Nothing),
            _ if cfg!(planted = "server_if_match_ignored") => Ok(IfMatch::Nothing),
            [tag] if tag == "*" => Ok(IfMatch::Any),
            // A weak tag, or one that is not ours, matches nothing: the strong comparison of RFC 9110.
            [tag] => Ok(IfMatch::Etag(strong(tag).unwrap_or(u64::MAX))),
            _ => {
                let problem = Problem::new(Kind::Invalid, "one_etag_at_most");
                Err(problem.hint("name the one etag you decided on in If-Match"))
            }
        }
    }

    /// The etag that is required.
    pub(crate) fn etag(&self) -> Option<u64> {
        match self {
            IfMatch::Nothing | IfMatch::Any => None,
            IfMatch::Etag(etag) => Some(*etag),
        }
    }
}

/// The etag a strong tag of ours names, with what was shown or alone.
fn strong(tag: &str) -> Option<u64> {
    let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
    inner.split('.').next()?.parse().ok()
}

/// The tags of a header, which are lists over several lines.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let tags = lines.flat_map(|line| line.split(',').map(str::trim));
    tags.filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `If-Match: *` for a task that is not there.
pub(crate) fn missing(fault: Fault, condition: &IfMatch) -> Fault {
    match (fault, condition) {
        (Fault::NotFound { id }, IfMatch::Any | IfMatch::Etag(_)) => Fault::PreconditionFailed {
            id,
            etag: None,
            last_input_id: None,
        },
        (fault, _) => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &'static str) -> Option<IfMatch> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_static(text));
        IfMatch::of(&headers).ok()
    }

    #[test]
    fn a_precondition_names_one_etag() {
        assert_eq!(condition("\"42.0a1b\""), Some(IfMatch::Etag(42)));
        assert_eq!(condition("\"42\""), Some(IfMatch::Etag(42)));
        assert_eq!(condition("*"), Some(IfMatch::Any));
        assert_eq!(condition("W/\"42\""), Some(IfMatch::Etag(u64::MAX)));
        assert_eq!(condition("42"), Some(IfMatch::Etag(u64::MAX)));
        assert_eq!(condition("\"1\", \"2\""), None);
        assert_eq!(IfMatch::of(&HeaderMap::new()).ok(), Some(IfMatch::Nothing));
    }
}
