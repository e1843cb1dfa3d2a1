//! Server-sent events: frames, where a reader was, how many it may follow, and the pump that writes to one client.

pub(crate) mod frame;
pub(crate) mod permits;
pub(crate) mod position;
pub(crate) mod pump;
