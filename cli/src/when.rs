//! Moments and lengths of time as they are written on a command line.

use crate::error::CliError;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Numbers from here on are milliseconds since 1970 and not seconds: the year 5138, or March 1973.
const MILLIS_FROM: i64 = 100_000_000_000;

/// Which way a length of time leads from now, where it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    Past,
    Future,
}

/// A moment, as the API takes it: `2h ago`, `in 5m`, `2h`, `now`, a date, a date and time (UTC where it does not say), or
/// seconds or milliseconds since 1970.
///
/// # Errors
/// [`CliError::Usage`] for anything else.
pub(crate) fn moment(text: &str, towards: Towards) -> Result<String, CliError> {
    moment_at(text, towards, Timestamp::now())
        .map(|at| at.to_string())
        .ok_or_else(|| {
            let hint = "give one as 2h, \"2h ago\", \"in 5m\", now, 2026-01-31T12:00:00Z, or seconds since 1970";
            CliError::usage(format!("{text:?} is no moment"), hint)
        })
}

fn moment_at(text: &str, towards: Towards, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if text == "now" {
        return Some(now);
    }
    if let Ok(number) = text.parse::<i64>() {
        return match number.abs() >= MILLIS_FROM {
            true => Timestamp::from_millisecond(number).ok(),
            false => Timestamp::from_second(number).ok(),
        };
    }
    if let Some(ahead) = text.strip_prefix("in ") {
        return now.checked_add(length_of(ahead)?).ok();
    }
    if let Some(back) = text.strip_suffix(" ago") {
        return now.checked_sub(length_of(back)?).ok();
    }
    if let Some(length) = length_of(text) {
        return match towards {
            Towards::Past => now.checked_sub(length).ok(),
            Towards::Future => now.checked_add(length).ok(),
        };
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let at = text.parse::<DateTime>().ok()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

/// A length of time: `90s`, `1h30m`, or a number of seconds.
///
/// # Errors
/// [`CliError::Usage`] for anything else, and for one that leads back.
pub(crate) fn length(text: &str) -> Result<Duration, CliError> {
    let length = match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => length_of(text).and_then(|length| Duration::try_from(length).ok()),
    };
    length.ok_or_else(|| {
        let what = format!("{text:?} is no length of time");
        CliError::usage(
            what,
            "give one as 90s, 5m, 1h30m, 2d, or a number of seconds",
        )
    })
}

/// Days are 24 hours here.
fn length_of(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    let mut days = SignedDuration::ZERO;
    // What is longer than an hour has no length of its own in a calendar.
    if let Some((number, after)) = rest.split_once('d')
        && let Ok(number) = number.trim().parse::<i64>()
    {
        let hours = number.checked_mul(24)?;
        days = SignedDuration::try_from_hours(hours)?;
        let after = after
            .strip_prefix("ays")
            .or_else(|| after.strip_prefix("ay"));
        rest = after.unwrap_or_else(|| text.trim().split_once('d').map_or("", |(_, after)| after));
        rest = rest.trim();
        if rest.is_empty() {
            return Some(days);
        }
    }
    let length: SignedDuration = rest.parse().ok()?;
    (!length.is_negative()).then_some(())?;
    days.checked_add(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_769_860_800).unwrap()
    }

    fn told(text: &str, towards: Towards) -> Option<String> {
        moment_at(text, towards, now()).map(|at| at.to_string())
    }

    #[test]
    fn a_moment_is_what_it_says() {
        let table = [
            ("now", "2026-01-31T12:00:00Z"),
            ("2h ago", "2026-01-31T10:00:00Z"),
            ("in 5m", "2026-01-31T12:05:00Z"),
            ("2h", "2026-01-31T10:00:00Z"),
            ("1d", "2026-01-30T12:00:00Z"),
            ("1d 2h ago", "2026-01-30T10:00:00Z"),
            ("2 days ago", "2026-01-29T12:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T10:30", "2026-01-31T10:30:00Z"),
            ("2026-01-31T10:30:00+02:00", "2026-01-31T08:30:00Z"),
            ("1769860800", "2026-01-31T12:00:00Z"),
            ("1769860800123", "2026-01-31T12:00:00.123Z"),
        ];
        for (text, moment) in table {
            assert_eq!(told(text, Towards::Past).as_deref(), Some(moment), "{text}");
        }
        assert_eq!(
            told("2h", Towards::Future).as_deref(),
            Some("2026-01-31T14:00:00Z")
        );
        for wrong in ["", "soon", "2 fortnights", "-2h", "2026-13-01"] {
            assert_eq!(told(wrong, Towards::Past), None, "{wrong}");
        }
    }

    #[test]
    fn a_length_of_time_is_what_it_says() {
        for (text, ms) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("0.25", 250),
            ("2d", 172_800_000),
        ] {
            assert_eq!(length(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for wrong in ["-1", "-1s", "soon", "NaN", "1e30"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }
}
