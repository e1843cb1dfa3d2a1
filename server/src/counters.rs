//! What the server counts of itself, for `/metrics`.

use axum::http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the router was made.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Answers by the first digit of their status, from 1.
    answers: [AtomicU64; 5],
    /// Requests being answered.
    under_way: AtomicU64,
    /// Streams followed at the moment.
    pub(crate) streams: AtomicU64,
    /// Clients of streams that were dropped because they did not read.
    pub(crate) slow: AtomicU64,
}

impl Counters {
    /// A request has come.
    pub(crate) fn begin(self: &Arc<Self>) -> Counted {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(self))
    }

    /// How many answers there were of each class, 1xx first.
    pub(crate) fn answers(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.answers[class].load(Ordering::Relaxed))
    }

    pub(crate) fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }
}

/// A request being answered.
pub(crate) struct Counted(Arc<Counters>);

impl Counted {
    pub(crate) fn end(self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = self.0.answers.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
