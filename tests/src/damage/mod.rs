//! Damaged files: what an engine makes of them, what `verify` says, and what `salvage` saves.

pub mod campaign;
pub mod kept;
pub mod kind;
pub mod look;
pub mod tail;
pub mod trial;
pub mod world;
