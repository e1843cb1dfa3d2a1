//! Medians and percentiles of what was measured.

/// The value in the middle; of an even number the lower one of the two. Zero for nothing.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

/// The smallest value that `share` (0 to 1) of the values do not exceed. Zero for nothing.
#[must_use]
pub fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// A whole number with a comma after each three digits.
#[must_use]
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let hundred = || (1..=100).map(f64::from);
        assert_eq!(median(hundred()), 50.0);
        assert_eq!(percentile(hundred(), 0.99), 99.0);
        assert_eq!(percentile([7.0], 0.99), 7.0);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
