//! Which ids have a handler in this process: at most one each, whatever is committed.

use outlive_storage::Store;
use outlive_storage::row::TaskNumber;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

type Launch = Box<dyn FnOnce(Occupied) + Send>;

#[derive(Default)]
struct Seat {
    /// Tells the calls of one task apart.
    number: u64,
    abort: Option<AbortHandle>,
    /// A later claim, entered when the present call has ended.
    next: Option<Launch>,
}

#[derive(Default)]
struct Seats {
    by_task: HashMap<TaskNumber, Seat>,
    given: u64,
    /// Tasks with a call on a thread, which nothing can stop.
    blocking: HashSet<TaskNumber>,
    stopped: bool,
}

/// The handlers of this process.
#[derive(Default)]
pub(crate) struct LiveTable {
    seats: Mutex<Seats>,
    emptied: Notify,
}

/// Held while a handler of the task may run; dropping it lets the next one in.
pub(crate) struct Occupied {
    table: Arc<LiveTable>,
    task: TaskNumber,
    number: u64,
    /// The lock on the file goes with its last holder, and a free seat means a free file: this goes first.
    file: Option<Arc<dyn Store>>,
}

/// Which call of which task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeatId {
    task: TaskNumber,
    number: u64,
}

/// Held by a blocking call until it returns.
pub(crate) struct Blocking {
    table: Arc<LiveTable>,
    task: TaskNumber,
}

impl LiveTable {
    /// Runs `launch` once no handler of the task is left. Dropped unrun when the table has stopped.
    pub(crate) fn occupy(
        self: &Arc<Self>,
        task: TaskNumber,
        launch: impl FnOnce(Occupied) + Send + 'static,
    ) {
        let number = {
            let mut seats = self.seats.lock();
            if seats.stopped {
                return;
            }
            if let Some(seat) = seats.by_task.get_mut(&task)
                && !cfg!(planted = "two_handlers_for_one_id")
            {
                seat.next = Some(Box::new(launch));
                return;
            }
            seats.sit(task)
        };
        launch(Occupied {
            table: Arc::clone(self),
            task,
            number,
            file: None,
        });
    }

    /// Says how a call can be stopped. One that has ended already is gone from the table.
    pub(crate) fn abortable(&self, seat: SeatId, abort: AbortHandle) {
        let stopped = {
            let mut seats = self.seats.lock();
            let found = seats.by_task.get_mut(&seat.task);
            if let Some(found) = found.filter(|found| found.number == seat.number) {
                found.abort = Some(abort.clone());
            }
            seats.stopped
        };
        if stopped {
            abort.abort();
        }
    }

    /// Counts a blocking call.
    pub(crate) fn blocking(self: &Arc<Self>, task: TaskNumber) -> Blocking {
        self.seats.lock().blocking.insert(task);
        Blocking {
            table: Arc::clone(self),
            task,
        }
    }

    /// How many handlers run: futures, or calls on threads whose future is gone.
    pub(crate) fn running(&self) -> usize {
        let seats = self.seats.lock();
        let without_seat = |task: &&TaskNumber| !seats.by_task.contains_key(*task);
        seats.by_task.len() + seats.blocking.iter().filter(without_seat).count()
    }

    /// Resolves when no handler runs.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.running() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Drops what runs, without telling it anything, and lets nothing in any more.
    pub(crate) fn stop(&self) {
        let (aborts, launches): (Vec<_>, Vec<_>) = {
            let mut seats = self.seats.lock();
            seats.stopped = true;
            seats
                .by_task
                .values_mut()
                .map(|seat| (seat.abort.take(), seat.next.take()))
                .unzip()
        };
        aborts.into_iter().flatten().for_each(|abort| abort.abort());
        drop(launches);
    }
}

impl Seats {
    /// A new call of the task takes its seat.
    fn sit(&mut self, task: TaskNumber) -> u64 {
        self.given += 1;
        let seat = Seat {
            number: self.given,
            ..Seat::default()
        };
        self.by_task.insert(task, seat);
        self.given
    }
}

impl Occupied {
    /// Keeps the file locked for as long as the handler may run.
    pub(crate) fn hold(&mut self, file: Arc<dyn Store>) {
        self.file = Some(file);
    }

    /// Which call this is.
    pub(crate) fn seat(&self) -> SeatId {
        SeatId {
            task: self.task,
            number: self.number,
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        drop(self.file.take());
        let next = {
            let mut seats = self.table.seats.lock();
            let seat = seats.by_task.remove(&self.task);
            let next = seat.and_then(|seat| seat.next);
            next.map(|launch| (launch, seats.sit(self.task)))
        };
        let Some((launch, number)) = next else {
            self.table.emptied.notify_waiters();
            return;
        };
        launch(Occupied {
            table: Arc::clone(&self.table),
            task: self.task,
            number,
            file: None,
        });
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.table.seats.lock().blocking.remove(&self.task);
        self.table.emptied.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_second_call_of_a_task_waits_for_the_end_of_the_first() {
        let table = Arc::new(LiveTable::default());
        let (sender, launched) = mpsc::channel();
        for call in [1, 2] {
            let sender = sender.clone();
            table.occupy(TaskNumber(7), move |occupied| {
                let _ = sender.send((call, occupied));
            });
        }
        let (first, occupied) = launched.try_recv().expect("the first is launched at once");
        assert_eq!(first, 1);
        assert!(launched.try_recv().is_err(), "the second waits");
        drop(occupied);
        let (second, _occupied) = launched.try_recv().expect("now it is its turn");
        assert_eq!(second, 2);
    }
}
