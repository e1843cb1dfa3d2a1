//! The log of transitions: in order, page by page, and trimmed from its old end.

use super::Factory;
use super::rows::{event, one, removal, started, written};
use crate::commit::Write;
use crate::row::{Etag, Micros};
use crate::store::{EventPage, EventsKept, PAGE_MAX, Store};

/// Logs transitions of task 10, the first of which has etag 100 and happened at 1,000.
fn log(store: &impl Store, count: u64) {
    started(store, 10, "a");
    let events = (0..count).map(|at| Write::Event(event(100 + at, 10, 1000 + at)));
    written(store, 10, events.collect());
}

#[track_caller]
fn page(store: &impl Store, after: u64, limit: usize) -> (Vec<u64>, u64) {
    let EventPage { events, trimmed } = store.events(Etag(after), limit).expect("the log is read");
    let etags = events.iter().map(|event| event.etag.0).collect();
    (etags, trimmed.0)
}

fn kept(newest: u64, since: u64) -> EventsKept {
    EventsKept {
        newest,
        since: Micros(since),
    }
}

/// What was logged comes back, ascending, beyond an etag, page by page; also after a reopen.
pub fn events_come_in_order(factory: &impl Factory) {
    let store = factory.fresh();
    assert_eq!(page(&store, 0, 10), (vec![], 0));
    log(&store, 5);
    let store = factory.reopen(store);
    let all = store.events(Etag(0), 10).expect("the log is read");
    let expected: Vec<_> = (0..5).map(|at| event(100 + at, 10, 1000 + at)).collect();
    assert_eq!((all.events, all.trimmed), (expected, Etag(0)));
    assert_eq!(page(&store, 0, 2), (vec![100, 101], 0));
    assert_eq!(page(&store, 101, 2), (vec![102, 103], 0));
    assert_eq!(page(&store, 103, 2), (vec![104], 0));
    assert_eq!(page(&store, 104, 2), (vec![], 0));
    assert_eq!(page(&store, 50, 0), (vec![], 0));
}

/// No limit makes a page, or what one call removes, larger than a page may be.
pub fn pages_of_the_log_are_bounded(factory: &impl Factory) {
    let store = factory.fresh();
    let count = PAGE_MAX as u64 + 5;
    log(&store, count);
    assert_eq!(page(&store, 0, usize::MAX).0.len(), PAGE_MAX);
    assert_eq!(store.tidy(kept(0, 0), usize::MAX), Ok(true));
    assert_eq!(page(&store, 0, usize::MAX).0.len(), 5);
}

/// The oldest first, no more in one call than asked for, and the page says from where on nothing is missing.
pub fn the_log_is_trimmed_in_bounded_steps(factory: &impl Factory) {
    let store = factory.fresh();
    log(&store, 8);
    assert_eq!(store.tidy(kept(3, 0), 0), Ok(true));
    assert_eq!(page(&store, 0, 1), (vec![100], 0));
    assert_eq!(store.tidy(kept(3, 0), 3), Ok(true));
    assert_eq!(page(&store, 0, 10), (vec![103, 104, 105, 106, 107], 102));
    assert_eq!(store.tidy(kept(3, 0), 2), Ok(false));
    assert_eq!(store.tidy(kept(3, 0), 2), Ok(false));
    let store = factory.reopen(store);
    assert_eq!(page(&store, 0, 10), (vec![105, 106, 107], 104));
    assert_eq!(page(&store, 106, 10), (vec![107], 104));
}

/// How many stay does not depend on how far their etags lie apart: each reopen may skip thousands of them.
pub fn as_many_events_stay_as_asked_for(factory: &impl Factory) {
    let store = factory.fresh();
    log(&store, 3);
    let later = Write::Event(event(900_000, 10, 1500));
    written(&store, 10, vec![later]);
    assert_eq!(store.tidy(kept(4, 0), 10), Ok(false));
    assert_eq!(page(&store, 0, 10), (vec![100, 101, 102, 900_000], 0));
    assert_eq!(store.tidy(kept(2, 0), 10), Ok(false));
    assert_eq!(page(&store, 0, 10), (vec![102, 900_000], 101));
}

/// By age too, up to the first that stays.
pub fn the_log_is_trimmed_by_age(factory: &impl Factory) {
    let store = factory.fresh();
    log(&store, 3);
    let older = [
        event(200, 10, 1500),
        event(201, 10, 5),
        event(202, 10, 1600),
    ];
    let older = older.map(Write::Event);
    written(&store, 10, older.to_vec());
    assert_eq!(store.tidy(kept(u64::MAX, 1002), 10), Ok(false));
    assert_eq!(page(&store, 0, 10), (vec![102, 200, 201, 202], 101));
    assert_eq!(store.tidy(kept(u64::MAX, 1600), 10), Ok(false));
    assert_eq!(page(&store, 0, 10), (vec![202], 201));
    assert_eq!(store.tidy(kept(0, 0), 10), Ok(false));
    assert_eq!(page(&store, 0, 10), (vec![], 202));
}

/// The log outlives the tasks it tells of, and an etag that only the log has seen is not given again.
pub fn the_log_outlives_its_tasks(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let mut remove = removal(10, 10);
    let last = event(900_000, 10, 300);
    remove.writes.push(Write::Event(last.clone()));
    one(&store, remove).expect("the removal is accepted");
    let store = factory.reopen(store);
    let log = store.events(Etag(0), 10).expect("the log is read").events;
    assert_eq!(log, vec![last]);
    let counters = store.counters().expect("counters");
    assert!(counters.etag >= Etag(900_000), "{counters:?}");
}
