//! What a definition, a variant or a call said about one task; stored at start, so that recovery keeps it.

use serde::{Deserialize, Serialize};

/// How delays between attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BackOff {
    /// The same delay each time.
    Fixed,
    /// One more first delay each time.
    Linear,
    /// Multiplied each time by this many thousandths (2000 doubles).
    Exponential {
        /// Thousandths; at least 1000.
        factor_milli: u32,
    },
}

/// When a failed attempt is tried again. Stored with the task, so that recovery keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryRow {
    /// Attempts in all, counting the first; at least 1.
    pub attempts_max: u32,
    /// The first delay, in microseconds.
    pub initial_us: u64,
    /// No delay is longer, in microseconds.
    pub max_us: u64,
    /// How delays grow.
    pub back_off: BackOff,
    /// Whether delays are spread by a quarter to either side.
    pub jitter: bool,
}

/// How long an ended task stays in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// This many microseconds after its end.
    For(u64),
    /// Until somebody deletes it.
    Forever,
    /// It is removed in the commit of its end.
    Ephemeral,
}

/// The options of one task, each as it was in force at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionsRow {
    /// When a failed attempt is tried again.
    pub retry: RetryRow,
    /// How long one turn may take, in microseconds; `u64::MAX` for no limit.
    pub timeout_us: u64,
    /// How long a turn has to end after its time-out, in microseconds, before its future is dropped.
    pub grace_us: u64,
    /// How long a turn has to end after a cancel, in microseconds; `u64::MAX`: as long as it likes.
    pub cancel_grace_us: u64,
    /// How long the ended task is kept; receipts of old turns are kept as long.
    pub keep: Keep,
    /// Turns of a living task whose results are kept whole; at least 1. As it was at the task's start, for all runs.
    pub keep_turns: u32,
    /// A turn that failed for good suspends the task instead of ending it.
    pub keep_alive_on_failure: bool,
    /// The newest items of the task's stream that are kept; empty: all.
    pub keep_items: Option<u64>,
}

impl OptionsRow {
    /// How long receipts are kept once their turn is not kept whole any more, in microseconds.
    pub fn keep_receipts_us(&self) -> u64 {
        match self.keep {
            Keep::For(us) => us,
            Keep::Forever => u64::MAX,
            Keep::Ephemeral => 0,
        }
    }
}
