//! How much of anything a caller may ask for.

use std::time::Duration;

/// The bounds of a server. Take the default and change what should differ.
///
/// ```
/// use outlive_server::Limits;
/// let mut limits = Limits::default();
/// limits.streams = 8;
/// assert_eq!(limits.body_bytes, 11 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest body of a request: 11 MiB, which is a value of 10 MiB and its frame. More is answered with 413.
    pub body_bytes: usize,
    /// Deepest nesting of arrays and objects in a body: 64.
    pub json_depth: usize,
    /// Longest target of a request: 8 KiB. More is answered with 414.
    pub uri_bytes: usize,
    /// How long a body may take to come: 30 s. Then the answer is 408.
    pub body_time: Duration,
    /// The longest wait that `Prefer: wait` is given: 60 s.
    pub wait_time: Duration,
    /// Streams that one caller may follow at once: 32. Callers are told apart by their tokens.
    pub streams: usize,
    /// How often a stream that has nothing to say says so: every 15 s.
    pub keep_alive: Duration,
    /// After how long a client of a stream comes back when its connection ends: 1 s.
    pub retry: Duration,
    /// How long a client of a stream may leave unread what it was sent before it is dropped: 10 s. It loses nothing: it
    /// comes back and goes on from where it was.
    pub slow_reader: Duration,
    /// Largest head of a request: 16 KiB, and at least 8. Held by [`serve`](crate::serve()) alone, as is all that follows.
    pub header_bytes: usize,
    /// How long the head of a request may take to come: 10 s.
    pub header_time: Duration,
    /// How long a connection is kept on which nothing is asked: 60 s.
    pub idle_time: Duration,
    /// How long a client may take nothing of what it is sent before its connection is closed: 30 s.
    pub write_time: Duration,
    /// Connections at once: 256. One more closes the oldest of those on which no request is being answered; where there is
    /// none, it is refused itself.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 11 * 1024 * 1024,
            json_depth: 64,
            uri_bytes: 8 * 1024,
            body_time: Duration::from_secs(30),
            wait_time: Duration::from_secs(60),
            streams: 32,
            keep_alive: Duration::from_secs(15),
            retry: Duration::from_secs(1),
            slow_reader: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            header_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            write_time: Duration::from_secs(30),
            connections: 256,
        }
    }
}
