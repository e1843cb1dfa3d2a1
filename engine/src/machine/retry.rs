//! When a failed attempt is tried again: arithmetic without a clock and without chance.

use outlive_storage::row::{BackOff, RetryRow, TaskNumber};

/// The delay before the attempt that follows `attempt` (counted from 1), in microseconds.
///
/// Base by the policy, then jitter of at most a quarter to either side, then the cap. The jitter is a hash of
/// task, turn and attempt: spread over tasks as chance would be, and the same each time it is asked.
pub fn delay_us(policy: &RetryRow, task: TaskNumber, turn: u32, attempt: u32) -> u64 {
    let base = base_us(policy, attempt.max(1));
    let spread_out = if policy.jitter {
        jittered(base, spread(task, turn, attempt))
    } else {
        base
    };
    spread_out.min(policy.max_us)
}

fn base_us(policy: &RetryRow, attempt: u32) -> u64 {
    match policy.back_off {
        BackOff::Fixed => policy.initial_us,
        BackOff::Linear => policy.initial_us.saturating_mul(u64::from(attempt)),
        BackOff::Exponential { factor_milli } => {
            let mut delay = u128::from(policy.initial_us);
            // The cap, or a delay that does not grow, ends the loop early, so that a policy of a million attempts costs
            // no more than a short one.
            for _ in 1..attempt {
                let longer = delay * u128::from(factor_milli) / 1000;
                if longer == delay {
                    break;
                }
                delay = longer;
                if delay >= u128::from(policy.max_us) {
                    break;
                }
            }
            u64::try_from(delay).unwrap_or(u64::MAX)
        }
    }
}

fn jittered(base: u64, hash: u64) -> u64 {
    // 0 to 500 thousandths, moved down by 250.
    let thousandths = 750 + hash % 501;
    let delay = u128::from(base) * u128::from(thousandths) / 1000;
    u64::try_from(delay).unwrap_or(u64::MAX)
}

/// A well-spread number made of task, turn and attempt: the finalizer of `SplitMix64` over their sum.
pub fn spread(task: TaskNumber, turn: u32, attempt: u32) -> u64 {
    let mut x =
        task.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(turn) << 32 | u64::from(attempt));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPONENTIAL: RetryRow = RetryRow {
        attempts_max: 10,
        initial_us: 1_000_000,
        max_us: 60_000_000,
        back_off: BackOff::Exponential { factor_milli: 2000 },
        jitter: false,
    };

    #[test]
    fn exponential_delays_double_up_to_the_cap() {
        let seconds: Vec<u64> = (1..=8)
            .map(|n| delay_us(&EXPONENTIAL, TaskNumber(1), 1, n) / 1_000_000)
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn linear_delays_grow_by_the_first_one() {
        let policy = RetryRow {
            back_off: BackOff::Linear,
            ..EXPONENTIAL
        };
        assert_eq!(delay_us(&policy, TaskNumber(1), 1, 3), 3_000_000);
    }

    #[test]
    fn jitter_stays_within_a_quarter_and_is_repeatable() {
        let policy = RetryRow {
            jitter: true,
            back_off: BackOff::Fixed,
            ..EXPONENTIAL
        };
        let delays: Vec<u64> = (0..1000)
            .map(|n| delay_us(&policy, TaskNumber(n), 1, 1))
            .collect();
        assert!(delays.iter().all(|d| (750_000..=1_250_000).contains(d)));
        let low = delays.iter().filter(|d| **d < 1_000_000).count();
        assert!((400..600).contains(&low), "spread to both sides: {low}");
        assert_eq!(delays[7], delay_us(&policy, TaskNumber(7), 1, 1));
    }

    #[test]
    fn no_policy_overflows() {
        let policy = RetryRow {
            initial_us: u64::MAX,
            max_us: u64::MAX,
            jitter: true,
            ..EXPONENTIAL
        };
        assert!(delay_us(&policy, TaskNumber(3), 1, u32::MAX) > 0);
        assert!(
            delay_us(
                &RetryRow {
                    back_off: BackOff::Linear,
                    ..policy
                },
                TaskNumber(3),
                1,
                u32::MAX
            ) > 0
        );
    }

    /// A first delay of zero never reaches the cap, and the loop ran once for each attempt there had been: the last
    /// ones of a policy without end held the writer for seconds each.
    #[test]
    fn a_delay_that_does_not_grow_costs_no_loop() {
        for initial_us in [0, 1] {
            let policy = RetryRow {
                initial_us,
                back_off: BackOff::Exponential { factor_milli: 1001 },
                ..EXPONENTIAL
            };
            assert_eq!(delay_us(&policy, TaskNumber(1), 1, u32::MAX), initial_us);
        }
    }

    #[test]
    fn the_cap_holds_after_jitter() {
        let policy = RetryRow {
            jitter: true,
            max_us: 1_000_000,
            ..EXPONENTIAL
        };
        assert!((0..1000).all(|n| delay_us(&policy, TaskNumber(n), 1, 4) <= 1_000_000));
    }
}
