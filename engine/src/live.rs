//! Which ids have a handler in this process: at most one each, whatever is committed.

use crate::alarms::{Alarms, Watched};
use crate::hold::Hold;
use crate::signal::Signal;
use foldhash::{HashMap, HashSet};
use outlive_storage::id::TaskId;
use outlive_storage::row::{Generation, TaskNumber};
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use tokio::sync::Notify;

type Launch = Box<dyn FnOnce(Occupied) + Send>;

/// One claim of a task, and how to reach its handler.
#[derive(Clone)]
pub(crate) struct Claim {
    pub(crate) task: TaskNumber,
    pub(crate) generation: Generation,
    pub(crate) signal: Arc<Signal>,
    /// Its alarms, from the first on.
    pub(crate) watched: Option<Arc<Watched>>,
}

struct Seat {
    claim: Claim,
    /// Its future is gone, its thread is not: whoever is next waits for that one, too.
    thread_left: bool,
    /// A later claim, entered when the present call has ended.
    next: Option<Box<(Claim, Launch)>>,
}

impl Seat {
    /// The claim of this task that counts: the one that waits has replaced the one that runs.
    fn latest(&self, task: TaskNumber) -> Option<&Claim> {
        let next = self.next.as_ref().map(|next| &next.0);
        let claims = [next, Some(&self.claim)].into_iter().flatten();
        claims.into_iter().find(|claim| claim.task == task)
    }

    /// As [`Seat::latest`], to be changed.
    fn latest_mut(&mut self, task: TaskNumber) -> Option<&mut Claim> {
        let next = self.next.as_mut().map(|next| &mut next.0);
        let claims = [next, Some(&mut self.claim)].into_iter().flatten();
        claims.into_iter().find(|claim| claim.task == task)
    }
}

/// Seats are the ids': a task that was removed may leave its handler behind, and the next task of its id waits for
/// that one as for its own.
#[derive(Default)]
struct Seats {
    by_id: HashMap<TaskId, Seat>,
    /// The ids of the tasks that have a seat or wait for one.
    ids: HashMap<TaskNumber, TaskId>,
    /// Ids with a call on a thread, which nothing can stop.
    blocking: HashSet<TaskId>,
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
    id: TaskId,
    /// The lock on the file goes with its last holder, and a free seat means a free file: this goes first.
    file: Option<Arc<Hold>>,
}

/// Held by a blocking call until it returns.
pub(crate) struct Blocking {
    table: Arc<LiveTable>,
    id: TaskId,
}

impl LiveTable {
    /// Takes the seat of the id for a turn, which is given back with it. Where a handler of the id is left, the turn is
    /// launched when that one has ended. Dropped when the table has stopped.
    pub(crate) fn occupy<T: Send + 'static>(
        self: &Arc<Self>,
        id: TaskId,
        claim: Claim,
        (turn, launch): (T, fn(T, Occupied)),
    ) -> Option<(T, Occupied)> {
        {
            let mut seats = self.seats.lock();
            if seats.stopped {
                return None;
            }
            let task = claim.task;
            let taken = seats.by_id.get_mut(&id).filter(|seat| {
                seat.claim.task == claim.task || !cfg!(planted = "seats_are_the_tasks")
            });
            if let Some(seat) = taken
                && !cfg!(planted = "two_handlers_for_one_id")
            {
                let launch = Box::new(move |occupied| launch(turn, occupied));
                let replaced = seat.next.replace(Box::new((claim, launch)));
                if let Some(replaced) = replaced {
                    seats.ids.remove(&replaced.0.task);
                }
                seats.ids.insert(task, id);
                return None;
            }
            seats.sit(id.clone(), claim);
        }
        let occupied = Occupied {
            table: Arc::clone(self),
            id,
            file: None,
        };
        Some((turn, occupied))
    }

    /// Tells the handler of the task's latest claim, if it is this one's.
    pub(crate) fn time_out(
        &self,
        task: TaskNumber,
        generation: Generation,
    ) -> Option<Arc<Watched>> {
        let claim = self
            .latest(task)
            .filter(|claim| claim.generation == generation)?;
        claim.signal.time_out();
        claim.watched
    }

    /// The alarms of the task's latest claim, which may be the first it has.
    pub(crate) fn watched(&self, task: TaskNumber, alarms: &Arc<Alarms>) -> Option<Arc<Watched>> {
        let mut seats = self.seats.lock();
        let claim = seats.of_mut(task)?.latest_mut(task)?;
        let first = || alarms.silent(task, claim.generation);
        Some(Arc::clone(claim.watched.get_or_insert_with(first)))
    }

    /// The latest claim of the task in this process.
    pub(crate) fn latest(&self, task: TaskNumber) -> Option<Claim> {
        let seats = self.seats.lock();
        seats.of(task)?.latest(task).cloned()
    }

    /// Whether the task's latest claim waits for the end of a former call.
    pub(crate) fn is_held_up(&self, task: TaskNumber) -> bool {
        let seats = self.seats.lock();
        seats.of(task).is_some_and(|seat| seat.next.is_some())
    }

    /// Drops the handler of a claim that was taken away. One that blocks its thread runs on, and is told.
    pub(crate) fn fence(&self, task: TaskNumber) {
        let (signal, next) = {
            let mut seats = self.seats.lock();
            let Some(seat) = seats.of_mut(task) else {
                return;
            };
            let next = seat.next.take_if(|next| next.0.task == task);
            if seat.claim.task != task {
                // Its handler was never entered: the one that runs is of a task that had the id before.
                seats.ids.remove(&task);
                (None, next)
            } else {
                (Some(Arc::clone(&seat.claim.signal)), next)
            }
        };
        drop(next);
        let Some(signal) = signal else { return };
        if !cfg!(planted = "lost_claim_untold") {
            signal.lose_lease();
        }
        if !cfg!(planted = "fenced_handler_runs_on") {
            signal.stop();
        }
    }

    /// The call has ended: whoever is next takes the seat.
    fn vacate(self: &Arc<Self>, mut seats: MutexGuard<'_, Seats>, id: &TaskId) {
        let seat = seats.by_id.remove(id);
        let next = seat.and_then(|seat| {
            seats.ids.remove(&seat.claim.task);
            seat.next
        });
        let launch = next.map(|next| {
            let (claim, launch) = *next;
            seats.sit(id.clone(), claim);
            launch
        });
        drop(seats);
        let Some(launch) = launch else {
            self.emptied.notify_waiters();
            return;
        };
        launch(Occupied {
            table: Arc::clone(self),
            id: id.clone(),
            file: None,
        });
    }

    /// Counts a blocking call.
    pub(crate) fn blocking(self: &Arc<Self>, id: TaskId) -> Blocking {
        self.seats.lock().blocking.insert(id.clone());
        Blocking {
            table: Arc::clone(self),
            id,
        }
    }

    /// How many handlers run: futures, or calls on threads whose future is gone.
    pub(crate) fn running(&self) -> usize {
        let seats = self.seats.lock();
        let without_seat = |id: &&TaskId| !seats.by_id.contains_key(*id);
        seats.by_id.len() + seats.blocking.iter().filter(without_seat).count()
    }

    /// Resolves when no handler runs.
    pub(crate) async fn empty(&self) {
        self.until(|| self.running() == 0).await;
    }

    /// Resolves when there is nobody left to be told anything: no handler runs, or all were dropped.
    pub(crate) async fn over(&self) {
        self.until(|| self.seats.lock().stopped || self.running() == 0)
            .await;
    }

    async fn until(&self, done: impl Fn() -> bool) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if done() {
                return;
            }
            emptied.await;
        }
    }

    /// Drops what runs, without telling it anything, and lets nothing in any more.
    pub(crate) fn stop(&self) {
        let (signals, launches): (Vec<_>, Vec<_>) = {
            let mut seats = self.seats.lock();
            seats.stopped = true;
            seats
                .by_id
                .values_mut()
                .map(|seat| (Arc::clone(&seat.claim.signal), seat.next.take()))
                .unzip()
        };
        signals.iter().for_each(|signal| signal.stop());
        drop(launches);
        self.emptied.notify_waiters();
    }
}

impl Seats {
    fn of(&self, task: TaskNumber) -> Option<&Seat> {
        self.by_id.get(self.ids.get(&task)?)
    }

    fn of_mut(&mut self, task: TaskNumber) -> Option<&mut Seat> {
        self.by_id.get_mut(self.ids.get(&task)?)
    }

    /// A new call takes the seat of its id.
    fn sit(&mut self, id: TaskId, claim: Claim) {
        self.ids.insert(claim.task, id.clone());
        let seat = Seat {
            claim,
            thread_left: false,
            next: None,
        };
        self.by_id.insert(id, seat);
    }
}

impl Occupied {
    /// Keeps the file locked for as long as the handler may run.
    pub(crate) fn hold(&mut self, file: Arc<Hold>) {
        self.file = Some(file);
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        drop(self.file.take());
        let mut seats = self.table.seats.lock();
        let blocks = seats.blocking.contains(&self.id);
        if blocks
            && !cfg!(planted = "thread_forgotten")
            && let Some(seat) = seats.by_id.get_mut(&self.id)
        {
            seat.thread_left = true;
            return;
        }
        self.table.vacate(seats, &self.id);
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let mut seats = self.table.seats.lock();
        seats.blocking.remove(&self.id);
        let seat = seats.by_id.get(&self.id);
        if seat.is_some_and(|seat| seat.thread_left) {
            self.table.vacate(seats, &self.id);
        } else {
            drop(seats);
        }
        self.table.emptied.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Spawner;
    use std::sync::mpsc;

    /// The number of a call, and whom it tells that it was launched.
    type Turn = (u64, mpsc::Sender<(u64, Occupied)>);

    fn claim(task: u64, generation: u64) -> Claim {
        Claim {
            task: TaskNumber(task),
            generation: Generation(generation),
            signal: Arc::new(Signal::new(false, 0)),
            watched: None,
        }
    }

    /// Whether a call is stopped when it starts, where this has happened between its seat and its start, when nobody knew yet how
    /// to stop it.
    async fn is_stopped_on_its_way(what: fn(&LiveTable)) -> bool {
        let table = Arc::new(LiveTable::default());
        let (id, claim) = (TaskId::new("a").expect("an id"), claim(7, 1));
        let signal = Arc::clone(&claim.signal);
        let seated = table.occupy(id, claim, ((), |(), _| {}));
        let ((), _occupied) = seated.expect("the seat is free");
        what(&table);
        let spawner = Spawner::current().expect("the test runs in a runtime");
        let call = spawner.spawn(std::future::pending());
        signal.stoppable(call.clone());
        tokio::task::yield_now().await;
        call.is_finished()
    }

    #[tokio::test]
    async fn a_call_that_was_fenced_on_its_way_is_stopped_when_it_starts() {
        assert!(!is_stopped_on_its_way(|_| {}).await);
        assert!(!is_stopped_on_its_way(|table| table.fence(TaskNumber(8))).await);
        assert!(is_stopped_on_its_way(|table| table.fence(TaskNumber(7))).await);
    }

    #[tokio::test]
    async fn a_call_whose_engine_was_dropped_on_its_way_is_stopped_when_it_starts() {
        assert!(is_stopped_on_its_way(LiveTable::stop).await);
    }

    /// The second task may have the id anew: a removal leaves its handler behind.
    fn second_waits_for_first(tasks: [u64; 2]) {
        let table = Arc::new(LiveTable::default());
        let (sender, launched) = mpsc::channel();
        let id = TaskId::new("a").expect("an id");
        for (call, task) in [1, 2].into_iter().zip(tasks) {
            let launch = |(call, sender): Turn, occupied| drop(sender.send((call, occupied)));
            let turn = (call, sender.clone());
            if let Some((turn, occupied)) =
                table.occupy(id.clone(), claim(task, call), (turn, launch))
            {
                launch(turn, occupied);
            }
        }
        let (first, occupied) = launched.try_recv().expect("the first is launched at once");
        assert_eq!(first, 1);
        assert!(launched.try_recv().is_err(), "the second waits");
        drop(occupied);
        let (second, _occupied) = launched.try_recv().expect("now it is its turn");
        assert_eq!(second, 2);
    }

    #[test]
    fn a_second_call_of_a_task_waits_for_the_end_of_the_first() {
        second_waits_for_first([7, 7]);
    }

    #[test]
    fn a_call_of_a_task_that_has_the_id_anew_waits_for_the_end_of_the_former_ones() {
        second_waits_for_first([7, 8]);
    }
}
