//! Lengths of time as people say them.

use std::fmt;

/// A length of time as people say it: its two largest units.
pub(crate) struct Length {
    seconds: u64,
}

impl Length {
    pub(crate) fn between(from_us: u64, to_us: u64) -> Length {
        Length {
            seconds: to_us.saturating_sub(from_us) / 1_000_000,
        }
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
        let mut left = self.seconds;
        let mut parts = Vec::new();
        for (size, unit) in UNITS {
            if left >= size && parts.len() < 2 {
                parts.push(format!("{} {unit}", left / size));
                left %= size;
            }
        }
        if parts.is_empty() {
            return f.write_str("less than a second");
        }
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_by_its_two_largest_units() {
        let told = |seconds: u64| Length { seconds }.to_string();
        assert_eq!(told(0), "less than a second");
        assert_eq!(told(59), "59 s");
        assert_eq!(told(200), "3 min 20 s");
        assert_eq!(told(3_600), "1 h");
        assert_eq!(told(2 * 86_400 + 3 * 3_600 + 59), "2 d 3 h");
        assert_eq!(
            Length::between(5_000_000, 1).to_string(),
            "less than a second"
        );
    }
}
