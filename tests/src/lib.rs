//! What the tests share: programs that are killed, logs of what was acknowledged, and the stores they run on.

pub mod faulty;
pub mod kill;
pub mod latch;
pub mod process;
