//! Rows of durable tasks, and the one way to change them.
//!
//! A task is a row; a [`Store`] changes a row only if it is still the row its caller saw. This crate knows
//! nothing of the engine that decides what to write: see the crate `outlive`.

#[cfg(feature = "redb")]
mod codec;
pub mod commit;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod due;
mod front;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod header;
pub mod id;
pub mod mem;
mod plan;
mod receipt;
#[cfg(feature = "redb")]
pub mod redb;
mod roll;
pub mod row;
pub mod sealed;
mod settle;
mod slot;
pub mod store;

#[cfg(feature = "redb")]
pub use crate::redb::RedbStore;
pub use commit::{Applied, Commit, Conflict, Expect, Write};
pub use front::Front;
pub use mem::MemStore;
pub use settle::settle;
pub use store::{
    Counters, Due, EventPage, EventsKept, ExpiredReceipt, Found, FoundAsk, Inbox, Page, Scan,
    Segment, Sharing, Store, StoreError, StoreErrorKind, StreamEnd,
};
