//! `Prefer: wait`: how long a caller likes to wait for an end (RFC 7240).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Says which preference was granted.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The wait that is asked for, and at most this one: `wait=10` in seconds; `wait` alone is as long as it may be.
pub(crate) fn wait(headers: &HeaderMap, max: Duration) -> Option<Duration> {
    let lines = headers.get_all(PREFER).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split(',').map(str::trim));
    preferences.find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default().trim();
        let (name, value) = match preference.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (preference, None),
        };
        if !name.eq_ignore_ascii_case("wait") {
            return None;
        }
        match value {
            None | Some("") => Some(max),
            // What is no number is a preference that is not known, and is passed over.
            Some(seconds) => Some(Duration::from_secs(seconds.parse().ok()?).min(max)),
        }
    })
}

/// What is said of the wait that was granted.
pub(crate) fn applied(wait: Duration) -> HeaderValue {
    let text = format!("wait={}", wait.as_secs());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("wait"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_as_long_as_is_asked_and_may_be() {
        let max = Duration::from_secs(60);
        for (text, seconds) in [
            ("wait=10", Some(10)),
            ("respond-async, WAIT = \"7\"", Some(7)),
            ("wait", Some(60)),
            ("wait=3600", Some(60)),
            ("wait=soon", None),
            ("return=minimal", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, HeaderValue::from_str(text).unwrap());
            assert_eq!(
                wait(&headers, max),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
