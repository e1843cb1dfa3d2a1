//! Tasks watched and driven over HTTP, on real sockets.

mod inputs;
mod limits;
mod looks;
mod orders;
mod resume;
mod security;
mod serve;
mod streams;
mod tasks;
mod world;
