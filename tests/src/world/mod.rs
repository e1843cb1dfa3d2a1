//! Whole worlds by seed: the real engine on a store that fails, with callers and handlers who do anything at any moment.
//!
//! A world has one thread, a paused clock, and no chance but its seed, so it takes place in the same way again. Its store is
//! held against what was there before at each commit ([`ledger`]); what handlers and callers are told is held against the
//! store and against what was told before ([`witness`]); at last nothing fails any more, and everything must come to its
//! end ([`settle`]).

pub mod calls;
pub mod dice;
pub mod faults;
pub mod handler;
pub mod ledger;
mod life;
pub mod plan;
pub mod run;
pub mod scene;
pub mod script;
pub mod settle;
mod summary;
pub mod trace;
pub mod witness;

pub use run::{Death, Report, Written, play, play_written};
pub use scene::Counts;
