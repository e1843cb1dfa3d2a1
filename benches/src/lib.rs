//! What the benchmarks share.

pub mod callers;
pub mod disk;
pub mod host;
pub mod numbers;
pub mod places;
pub mod process;
pub mod raw;
pub mod rows;

/// Any failure of a benchmark: it ends the run.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;
