//! A client of HTTP that says exactly what it is told to, so that a test can say what no well-meant client would.

mod client;
mod connection;
mod follower;

pub use client::Client;
pub use connection::{Connection, Reply};
pub use follower::{Event, Follower};
