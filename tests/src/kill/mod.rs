//! A program that is killed again and again, and the oracle that remembers what it had acknowledged.

pub mod child;
pub mod log;
pub mod long;
pub mod marks;
pub mod oracle;
pub mod owners;
pub mod short;
pub mod work;
