//! A long run of everything at random in one process, and what it must not do: lose, double, or grow.

pub mod content;
pub mod jobs;
pub mod samples;
pub mod work;
