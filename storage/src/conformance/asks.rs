//! The open questions of tasks.

use super::Factory;
use super::rows::{ask_row, one, removal, started, written};
use crate::commit::Write;
use crate::row::{AskRow, TaskNumber};
use crate::store::{PAGE_MAX, Store};
use std::ops::Bound::{self, Excluded, Included, Unbounded};

const TASK: TaskNumber = TaskNumber(10);

fn put(key: &str, text: &str) -> Write {
    Write::Ask {
        key: key.into(),
        ask: Box::new(ask_row(text)),
    }
}

/// What is listed: tasks and keys.
#[track_caller]
fn listed(store: &impl Store, from: Bound<(TaskNumber, &str)>, limit: usize) -> Vec<(u64, String)> {
    let page = store.asks(from, limit).expect("questions");
    let found = page.into_iter().map(|found| {
        found.ask.expect("whole");
        (found.task.0, String::from(found.key))
    });
    found.collect()
}

/// By task and key, the last one put; one that is removed is gone, its neighbours are not.
pub fn questions_are_found_by_their_keys(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 20, "b");
    let large = AskRow {
        question: vec![b'7'; 100_000],
        schema: None,
        default: None,
        ..ask_row("")
    };
    let writes = vec![
        put("delete", "1"),
        put("pay", "2"),
        put("delete", "3"),
        Write::Ask {
            key: "large".into(),
            ask: Box::new(large.clone()),
        },
    ];
    written(&store, 10, writes);
    let store = factory.reopen(store);
    assert_eq!(store.ask(TASK, "delete"), Ok(Some(ask_row("3"))));
    assert_eq!(store.ask(TASK, "large"), Ok(Some(large)));
    assert_eq!(store.ask(TaskNumber(20), "delete"), Ok(None));
    let remove = Write::RemoveAsk {
        key: "delete".into(),
    };
    written(&store, 10, vec![remove.clone(), remove]);
    assert_eq!(store.ask(TASK, "delete"), Ok(None));
    assert_eq!(store.ask(TASK, "pay"), Ok(Some(ask_row("2"))));
}

/// By task, then by key, page by page, and no page longer than asked for.
pub fn questions_are_listed_by_task_and_key(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 20, "b");
    written(&store, 20, vec![put("a", "1"), put("", "1")]);
    written(
        &store,
        10,
        vec![put("b", "1"), put("aa", "1"), put("a", "1")],
    );
    let of = |task: u64, key: &str| (task, key.to_owned());
    assert_eq!(listed(&store, Unbounded, 2), [of(10, "a"), of(10, "aa")]);
    let rest = [of(10, "b"), of(20, ""), of(20, "a")];
    assert_eq!(listed(&store, Excluded((TASK, "aa")), 9), rest);
    let from_b = listed(&store, Included((TaskNumber(20), "")), 9);
    assert_eq!(from_b, rest[1..]);
    assert_eq!(listed(&store, Excluded((TaskNumber(20), "a")), 9), []);
    let many = (0..=PAGE_MAX).map(|at| put(&format!("{at:05}"), "1"));
    written(&store, 20, many.collect());
    assert_eq!(listed(&store, Unbounded, usize::MAX).len(), PAGE_MAX);
}

/// All at once, with one write or with their task; those of others stay.
pub fn questions_go_with_their_task(factory: &impl Factory) {
    let store = factory.fresh();
    for (number, id) in [(10, "a"), (20, "b"), (30, "c")] {
        started(&store, number, id);
        let many = (0..AskRow::OPEN_MAX).map(|at| put(&at.to_string(), "1"));
        written(&store, number, many.collect());
    }
    written(&store, 10, vec![Write::RemoveAsks, put("new", "1")]);
    assert_eq!(listed(&store, Unbounded, 1), [(10, "new".to_owned())]);
    one(&store, removal(30, 30)).expect("removed");
    assert_eq!(store.ask(TaskNumber(30), "1"), Ok(None));
    let store = factory.reopen(store);
    let left = listed(&store, Excluded((TASK, "new")), usize::MAX);
    assert_eq!(left.len(), AskRow::OPEN_MAX);
    assert!(left.iter().all(|(task, _)| *task == 20), "{left:?}");
}
