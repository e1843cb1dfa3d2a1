//! The lives of the file: one row for each open, which says how it ended.

use crate::row::Micros;
use serde::{Deserialize, Serialize};

/// How far the poison guard is in one life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardPhase {
    /// Nothing is suspected.
    Calm,
    /// Everything but the suspects runs: a death now is not their fault.
    Control,
    /// Some of the suspects run: a death now is probably their fault.
    Probation,
}

/// One open of the file; in `lives`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeRow {
    /// The id of the open, as leases name it.
    #[serde(with = "super::bytes::chance")]
    pub instance: u128,
    /// When.
    pub opened_at: Micros,
    /// How far the poison guard got.
    pub phase: GuardPhase,
    /// When it was stopped; empty while it lives, and for ever when it died.
    pub stopped_at: Option<Micros>,
}

impl LifeRow {
    /// Most lives kept, newest first: far more deaths in a row than it takes to find a poisonous task.
    pub const KEPT_MAX: usize = 64;
}
