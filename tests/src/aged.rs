//! Makes what a store holds older than it is, as if its file had lain untouched since.

use outlive_storage::row::{Etag, EventRow, Micros, State, TaskNumber, TaskRow};
use outlive_storage::store::PAGE_MAX;
use outlive_storage::{Commit, Expect, Scan, Store, Write};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Moves the times of every task, and of its lines in the log, so far into the past. No engine may be on the store.
///
/// # Panics
/// When the store does not do as it is asked.
pub fn age(store: &dyn Store, by: Duration) {
    let by_us = u64::try_from(by.as_micros()).expect("a time that fits");
    let mut logged = log(store);
    let mut etag = store.counters().expect("counters").etag;
    let mut after = None;
    loop {
        let page = store.scan(Scan::All, after, PAGE_MAX).expect("a page");
        let mut batch = Vec::new();
        for found in page.rows {
            let row = found.row.expect("a readable row");
            let expect = Expect::Etag(row.etag);
            etag = Etag(etag.0 + 1);
            let mut writes = vec![Write::Row(Arc::new(older(row, etag, by_us)))];
            for mut event in logged.remove(&found.task).unwrap_or_default() {
                event.at = earlier(event.at, by_us);
                writes.push(Write::Event(event));
            }
            batch.push(Commit {
                task: found.task,
                expect,
                writes,
            });
        }
        let answers = store.commit(&batch).expect("a commit");
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// All lines of the log, by their tasks.
fn log(store: &dyn Store) -> HashMap<TaskNumber, Vec<EventRow>> {
    let mut logged: HashMap<_, Vec<_>> = HashMap::new();
    let mut after = Etag(0);
    loop {
        let events = store.events(after, PAGE_MAX).expect("the log").events;
        let Some(last) = events.last() else {
            return logged;
        };
        after = last.etag;
        for event in events {
            logged.entry(event.task).or_default().push(event);
        }
    }
}

fn older(mut row: TaskRow, etag: Etag, by_us: u64) -> TaskRow {
    row.etag = etag;
    row.created_at = earlier(row.created_at, by_us);
    row.updated_at = earlier(row.updated_at, by_us);
    if let State::Completed { at, expires_at, .. } = &mut row.state {
        *at = earlier(*at, by_us);
        *expires_at = earlier(*expires_at, by_us);
    }
    row
}

/// What is never is never earlier.
fn earlier(at: Micros, by_us: u64) -> Micros {
    if at == Micros::NEVER {
        return at;
    }
    Micros(at.0.saturating_sub(by_us))
}
