//! Tasks that are steered by a program which is killed again and again, and what must be true of every input in the end.

pub mod child;
pub mod log;
pub mod oracle;
pub mod work;
