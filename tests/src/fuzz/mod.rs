//! What fuzzers give to the library, and what must be true of its answers: the same functions for the seeded mutator of
//! the tests and for the coverage-guided run of `fuzz/run`.
//!
//! Each target takes any bytes and panics when it has found something.

pub mod entry;
pub mod file;
pub mod mutate;
pub mod text;
pub mod value;

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken for something, and that is what it was.
    Accepted,
    /// It was refused by a typed error.
    Refused,
}
