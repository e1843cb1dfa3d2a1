//! Which ids have a handler in this process: at most one each, whatever is committed.

use outlive_storage::row::TaskNumber;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

type Launch = Box<dyn FnOnce(Occupied) + Send>;

#[derive(Default)]
struct Seat {
    abort: Option<AbortHandle>,
    /// A later claim, entered when the present call has ended.
    next: Option<Launch>,
}

#[derive(Default)]
struct Seats {
    by_task: HashMap<TaskNumber, Seat>,
    /// Calls on threads, which nothing can stop.
    blocking: usize,
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
}

/// Held by a blocking call until it returns.
pub(crate) struct Blocking {
    table: Arc<LiveTable>,
}

impl LiveTable {
    /// Runs `launch` once no handler of the task is left. Dropped unrun when the table has stopped.
    pub(crate) fn occupy(
        self: &Arc<Self>,
        task: TaskNumber,
        launch: impl FnOnce(Occupied) + Send + 'static,
    ) {
        {
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
            seats.by_task.insert(task, Seat::default());
        }
        launch(Occupied {
            table: Arc::clone(self),
            task,
        });
    }

    /// Says how the task's handler can be stopped. A handler that has ended already is gone from the table.
    pub(crate) fn abortable(&self, task: TaskNumber, abort: AbortHandle) {
        let stopped = {
            let mut seats = self.seats.lock();
            if let Some(seat) = seats.by_task.get_mut(&task) {
                seat.abort = Some(abort.clone());
            }
            seats.stopped
        };
        if stopped {
            abort.abort();
        }
    }

    /// Counts a blocking call.
    pub(crate) fn blocking(self: &Arc<Self>) -> Blocking {
        self.seats.lock().blocking += 1;
        Blocking {
            table: Arc::clone(self),
        }
    }

    /// How many handlers run: futures, or calls on threads whose future is gone.
    pub(crate) fn running(&self) -> usize {
        let seats = self.seats.lock();
        seats.by_task.len().max(seats.blocking)
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

impl Drop for Occupied {
    fn drop(&mut self) {
        let next = {
            let mut seats = self.table.seats.lock();
            let next = seats
                .by_task
                .get_mut(&self.task)
                .and_then(|seat| seat.next.take());
            if next.is_none() {
                seats.by_task.remove(&self.task);
            }
            next
        };
        match next {
            Some(launch) => launch(Occupied {
                table: Arc::clone(&self.table),
                task: self.task,
            }),
            None => self.table.emptied.notify_waiters(),
        }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.table.seats.lock().blocking -= 1;
        self.table.emptied.notify_waiters();
    }
}
