//! The recorded steps of turns.

use super::Factory;
use super::rows::{started, step_row, written};
use crate::commit::Write;
use crate::row::{Micros, StepRow, TaskNumber};
use crate::store::{EventsKept, PAGE_MAX, Store};

const TASK: TaskNumber = TaskNumber(10);
const NO_EVENTS: EventsKept = EventsKept {
    newest: u64::MAX,
    since: Micros(0),
};

fn put(turn: u64, key: &str, value: &str) -> Write {
    Write::Step {
        turn,
        key: key.into(),
        step: Box::new(step_row(value)),
    }
}

#[track_caller]
fn steps(store: &impl Store, turn: u64, after: Option<&str>, limit: usize) -> Vec<String> {
    let steps = store.steps(TASK, turn, after, limit).expect("steps");
    let texts = steps.into_iter().map(|(key, step)| {
        let value = String::from_utf8(step.value).expect("text");
        format!("{key}={value}")
    });
    texts.collect()
}

/// By turn and key, the last one written; each turn and each task its own.
pub fn steps_are_found_by_their_keys(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 20, "b");
    let large = StepRow {
        value: vec![7; 100_000],
        ..step_row("")
    };
    let writes = vec![
        put(1, "fetch", "1"),
        put(1, "pay", "2"),
        put(2, "fetch", "3"),
        put(1, "fetch", "4"),
        Write::Step {
            turn: 1,
            key: "large".into(),
            step: Box::new(large.clone()),
        },
    ];
    written(&store, 10, writes);
    let store = factory.reopen(store);
    assert_eq!(store.step(TASK, 1, "fetch"), Ok(Some(step_row("4"))));
    assert_eq!(store.step(TASK, 2, "fetch"), Ok(Some(step_row("3"))));
    assert_eq!(store.step(TASK, 1, "large"), Ok(Some(large)));
    assert_eq!(store.step(TASK, 2, "pay"), Ok(None));
    assert_eq!(store.step(TaskNumber(20), 1, "fetch"), Ok(None));
    let remove = Write::RemoveStep {
        turn: 1,
        key: "fetch".into(),
    };
    written(&store, 10, vec![remove.clone(), remove]);
    assert_eq!(store.step(TASK, 1, "fetch"), Ok(None));
    assert_eq!(store.step(TASK, 2, "fetch"), Ok(Some(step_row("3"))));
}

/// By key, page by page, and no page longer than asked for.
pub fn steps_are_listed_by_key(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    let keys = ["b", "a", "c", "", "aa"];
    written(&store, 10, keys.map(|key| put(3, key, "1")).into());
    written(&store, 10, vec![put(2, "z", "1"), put(4, "0", "1")]);
    assert_eq!(steps(&store, 3, None, 3), ["=1", "a=1", "aa=1"]);
    assert_eq!(steps(&store, 3, Some("aa"), 9), ["b=1", "c=1"]);
    assert_eq!(steps(&store, 3, Some("c"), 9), [""; 0]);
    let many = (0..=PAGE_MAX).map(|at| put(5, &format!("{at:05}"), "1"));
    written(&store, 10, many.collect());
    assert_eq!(steps(&store, 5, None, usize::MAX).len(), PAGE_MAX);
}

/// Few at once, many step by step; those of other turns stay.
pub fn forgotten_steps_go_in_bounded_steps(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    written(&store, 10, vec![put(1, "x", "1"), put(2, "x", "2")]);
    written(&store, 10, vec![Write::ForgetSteps { turn: 1 }]);
    assert_eq!(steps(&store, 1, None, 9), [""; 0]);
    assert_eq!(store.tidy(NO_EVENTS, 100), Ok(false), "it was one");
    let many = (0..500).map(|at| put(3, &format!("{at}"), "1"));
    written(&store, 10, many.collect());
    written(&store, 10, vec![Write::ForgetSteps { turn: 3 }]);
    assert!(
        !steps(&store, 3, None, 9).is_empty(),
        "too many for a commit"
    );
    let store = factory.reopen(store);
    let mut calls = 1;
    while store.tidy(NO_EVENTS, 100).expect("tidied") {
        calls += 1;
    }
    assert!((4..=6).contains(&calls), "{calls} calls");
    assert_eq!(steps(&store, 3, None, 9), [""; 0]);
    assert_eq!(steps(&store, 2, None, 9), ["x=2"]);
}
