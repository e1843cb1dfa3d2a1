//! Examples of outlive, each of which runs; and the README, so that its code compiles as it stands there.
#![doc = include_str!("../../README.md")]
