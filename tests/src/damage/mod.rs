//! Damaged files: what an engine makes of them, what `verify` says, and what `salvage` saves.

pub mod campaign;
pub mod kind;
pub mod look;
pub mod trial;
pub mod world;
