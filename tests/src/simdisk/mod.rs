//! A whole engine on a simulated disk that crashes after every call: what is written, what a crash may leave of it, and what
//! must be true then.

mod backup;
mod branch;
pub mod caller;
pub mod disk;
pub mod dump;
pub mod facts;
pub mod handler;
pub mod image;
pub mod oracle;
pub mod panics;
pub mod run;
pub mod script;
pub mod settle;
pub mod witness;
