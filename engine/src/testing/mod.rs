//! What tests of programs that use this library need.

mod wall_clock;

pub use wall_clock::WallClock;
