//! How often and when a failed attempt is tried again, as a program says it.

use crate::env::micros;
use outlive_storage::row::{BackOff, RetryRow};
use std::time::Duration;

/// When a failed attempt is tried again.
///
/// The delay is the base by the policy's kind, then jitter of at most a quarter to either side, then the cap.
/// It is stored with the task, so a crash during the back-off keeps its time and recovery keeps the policy.
///
/// ```
/// use outlive::RetryPolicy;
/// use std::time::Duration;
/// const PATIENT: RetryPolicy = RetryPolicy::exponential().attempts(8).initial(Duration::from_millis(200));
/// assert!(PATIENT.validate().is_ok());
/// assert!(RetryPolicy::fixed().attempts(0).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    attempts: u32,
    initial: Duration,
    max: Duration,
    kind: Kind,
    jitter: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Fixed,
    Linear,
    Exponential { coefficient: f64 },
}

/// A retry policy contradicts itself. Nothing was written; correct the definition or the call.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRetry {
    /// No attempt is allowed: the first one counts, so give at least 1.
    #[error("a retry policy needs at least 1 attempt (the first one counts)")]
    NoAttempt,
    /// Delays would shrink: give a coefficient between 1 and 1000.
    #[error("the coefficient {0} is outside 1 to 1000: delays may not shrink")]
    Coefficient(f64),
    /// The cap is below the first delay: raise the cap or lower the delay.
    #[error("the longest delay {max:?} is below the first one {initial:?}")]
    MaxBelowInitial {
        /// The first delay.
        initial: Duration,
        /// The cap.
        max: Duration,
    },
}

impl RetryPolicy {
    /// Three attempts, 1 s, doubled each time, at most 60 s, with jitter. The default of a definition.
    pub const fn exponential() -> RetryPolicy {
        RetryPolicy {
            attempts: 3,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            kind: Kind::Exponential { coefficient: 2.0 },
            jitter: true,
        }
    }

    /// Three attempts, 5 s between them, with jitter.
    pub const fn fixed() -> RetryPolicy {
        let initial = Duration::from_secs(5);
        RetryPolicy {
            initial,
            kind: Kind::Fixed,
            ..RetryPolicy::exponential()
        }
    }

    /// Five attempts, 1 s, 2 s, 3 s, 4 s between them, at most 60 s, with jitter.
    pub const fn linear() -> RetryPolicy {
        RetryPolicy {
            attempts: 5,
            kind: Kind::Linear,
            ..RetryPolicy::exponential()
        }
    }

    /// One attempt.
    pub const fn none() -> RetryPolicy {
        RetryPolicy {
            attempts: 1,
            ..RetryPolicy::exponential()
        }
    }

    /// Attempts in all, counting the first. Recoveries after a crash are not counted.
    #[must_use]
    pub const fn attempts(self, attempts: u32) -> RetryPolicy {
        RetryPolicy { attempts, ..self }
    }

    /// The first delay.
    #[must_use]
    pub const fn initial(self, initial: Duration) -> RetryPolicy {
        RetryPolicy { initial, ..self }
    }

    /// The longest delay, after jitter.
    #[must_use]
    pub const fn max(self, max: Duration) -> RetryPolicy {
        RetryPolicy { max, ..self }
    }

    /// What an exponential delay is multiplied by each time; kept to a thousandth. Other kinds ignore it.
    #[must_use]
    pub const fn coefficient(self, coefficient: f64) -> RetryPolicy {
        let kind = match self.kind {
            Kind::Exponential { .. } => Kind::Exponential { coefficient },
            Kind::Fixed => Kind::Fixed,
            Kind::Linear => Kind::Linear,
        };
        RetryPolicy { kind, ..self }
    }

    /// Whether delays are spread by a quarter to either side.
    #[must_use]
    pub const fn jitter(self, jitter: bool) -> RetryPolicy {
        RetryPolicy { jitter, ..self }
    }

    /// Checks the policy. Registering a definition and starting a task do this by themselves.
    ///
    /// # Errors
    /// [`InvalidRetry`]: what to correct.
    pub fn validate(&self) -> Result<(), InvalidRetry> {
        self.row().map(drop)
    }

    pub(crate) fn row(&self) -> Result<RetryRow, InvalidRetry> {
        if self.attempts == 0 {
            return Err(InvalidRetry::NoAttempt);
        }
        // With a fixed delay the cap has nothing to cap.
        let max = if self.kind == Kind::Fixed {
            self.max.max(self.initial)
        } else {
            self.max
        };
        if max < self.initial {
            return Err(InvalidRetry::MaxBelowInitial {
                initial: self.initial,
                max,
            });
        }
        let back_off = match self.kind {
            Kind::Fixed => BackOff::Fixed,
            Kind::Linear => BackOff::Linear,
            Kind::Exponential { coefficient } => {
                if !(1.0..=1000.0).contains(&coefficient) {
                    return Err(InvalidRetry::Coefficient(coefficient));
                }
                // In range by the check above, so the conversion neither cuts nor wraps.
                BackOff::Exponential {
                    factor_milli: (coefficient * 1000.0).round() as u32,
                }
            }
        };
        Ok(RetryRow {
            attempts_max: self.attempts,
            initial_us: micros(self.initial),
            max_us: micros(max),
            back_off,
            jitter: self.jitter,
        })
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy::exponential()
    }
}
