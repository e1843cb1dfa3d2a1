//! Moments on the wire: RFC 3339, to the microsecond, UTC.

use crate::problem::{Kind, Problem};
use jiff::Timestamp;
use std::time::{Duration, SystemTime};

/// A moment in microseconds since 1970 UTC, as text.
pub(crate) fn text(at_us: u64) -> String {
    let at = i64::try_from(at_us).ok();
    let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
    at.unwrap_or(Timestamp::MAX).to_string()
}

/// The moment a text names.
pub(crate) fn parse(what: &str, text: &str) -> Result<SystemTime, Problem> {
    let at: Result<Timestamp, _> = text.parse();
    let at = at.map_err(|_| {
        let detail = format!("{what} is not a moment");
        Problem::new(Kind::Invalid, "invalid_time")
            .detail(detail)
            .hint("give one as RFC 3339 does, for example 2026-01-31T12:00:00Z")
    })?;
    let since = Duration::from_micros(u64::try_from(at.as_microsecond()).unwrap_or(0));
    Ok(SystemTime::UNIX_EPOCH + since)
}

/// Milliseconds as a duration.
pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_to_the_microsecond() {
        let at_us = 1_769_860_800_123_456;
        assert_eq!(text(at_us), "2026-01-31T12:00:00.123456Z");
        let parsed = parse("at", &text(at_us)).unwrap();
        let since = parsed.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_micros(), u128::from(at_us));
        assert!(text(u64::MAX).starts_with("9999-"));
    }
}
