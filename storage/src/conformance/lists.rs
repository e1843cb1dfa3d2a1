//! Which tasks are listed where, and in which order.

use super::Factory;
use super::rows::{
    by_etag, claimed, commit, ended, isolated, labelled, moved, one, pending, put, running, start,
    started, undecodable,
};
use crate::commit::Expect;
use crate::row::{
    Deadline, DefNumber, Generation, Line, Micros, Priority, State, TaskNumber, Times, WaitReason,
};
use crate::store::{Due, PAGE_MAX, Scan, Store};

fn due(store: &impl Store, def: u32, now: u64) -> Due {
    store
        .due(DefNumber(def), Times::still(Micros(now)), 100)
        .expect("due is read")
}

pub(super) fn numbers(numbers: &[u64]) -> Vec<TaskNumber> {
    numbers.iter().copied().map(TaskNumber).collect()
}

pub(super) fn scanned(store: &impl Store, scan: Scan) -> Vec<TaskNumber> {
    let page = store.scan(scan, None, PAGE_MAX).expect("the scan is read");
    page.rows.into_iter().map(|found| found.task).collect()
}

/// Nothing waits and nothing runs.
#[track_caller]
pub(super) fn assert_listed_nowhere(store: &impl Store) {
    assert_eq!(
        due(store, 1, u64::MAX),
        Due {
            ready: vec![],
            wait_us: None
        }
    );
    for at in [Micros::AT_OPEN, Micros::ISOLATED] {
        assert_eq!(store.due_exactly(DefNumber(1), at, None, 100), Ok(vec![]));
    }
    assert_eq!(scanned(store, Scan::Running), vec![]);
}

/// A name has one number for ever, and another name another.
pub fn a_definition_keeps_its_number(factory: &impl Factory) {
    let store = factory.fresh();
    let first = store.define(&["b", "a"]).expect("defined");
    let again = store.define(&["a", "c", "b", "c"]).expect("defined");
    assert_eq!((again[0], again[2]), (first[1], first[0]));
    assert_eq!(again[1], again[3]);
    assert!(!first.contains(&again[1]) && first[0] != first[1]);
    let store = factory.reopen(store);
    assert_eq!(store.define(&["b", "a"]), Ok(first.clone()));
    let mut all = vec![
        (first[0], "b".into()),
        (first[1], "a".into()),
        (again[1], "c".into()),
    ];
    all.sort_unstable();
    assert_eq!(store.definitions(), Ok(all));
}

/// The most urgent first, among equals the earliest, among those the oldest; other definitions are not seen.
pub fn due_is_ordered_by_priority_then_time_then_number(factory: &impl Factory) {
    let store = factory.fresh();
    let tasks = [
        (10, 1, 4, 50),
        (11, 1, 4, 40),
        (12, 1, 0, 99),
        (13, 1, 4, 40),
        (14, 1, 7, 1),
        (15, 2, 0, 1),
        (16, 1, 0, 101),
    ];
    for (number, def, rank, at) in tasks {
        let mut row = pending(number, &format!("t{number}"));
        (row.def, row.priority) = (DefNumber(def), Priority::new(rank));
        row.state = State::Pending {
            due_at: Deadline::own(Micros(at)),
            wait: WaitReason::Slot,
        };
        one(&store, start(&row)).expect("the start is accepted");
    }
    assert_eq!(due(&store, 1, 100).ready, numbers(&[12, 11, 13, 10, 14]));
    assert_eq!(due(&store, 2, 100).ready, numbers(&[15]));
    let page = store
        .due(DefNumber(1), Times::still(Micros(100)), 2)
        .expect("due is read");
    assert_eq!(
        page,
        Due {
            ready: numbers(&[12, 11]),
            wait_us: Some(1)
        }
    );
}

/// An id is found by what it begins with, in the order of ids, and no more of them than are asked for.
pub fn ids_are_found_by_their_beginning(factory: &impl Factory) {
    let store = factory.fresh();
    for (number, id) in [
        (10, "b-2"),
        (11, "a"),
        (12, "b-1"),
        (13, "b"),
        (14, "c"),
        (15, "b-10"),
    ] {
        one(&store, start(&pending(number, id))).expect("the start is accepted");
    }
    let found = |prefix, limit| {
        let found = store.ids(prefix, limit).expect("ids are read");
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(found("b-", 100), ["b-1", "b-10", "b-2"]);
    assert_eq!(found("b", 2), ["b", "b-1"]);
    assert_eq!(found("", 100).len(), 6);
    assert_eq!((found("d", 100).len(), found("a", 0).len()), (0, 0));
}

/// Each line of time has its own hands: what is due of one is due, whatever the others show; what is due at once
/// is so by all of them. Of one rank the earliest moment comes first, on whatever line.
pub fn due_follows_each_line_of_time(factory: &impl Factory) {
    let store = factory.fresh();
    let jump = |life, ahead_us| Line::Jump { life, ahead_us };
    let tasks = [
        (10, Line::Own, 95),
        (11, Line::Wall, 101),
        (12, jump(7, 500), 590),
        (13, jump(7, -20), 81),
        (14, jump(6, 500), 97),
        (15, Line::Wall, 10),
        (16, jump(6, 500), 104),
        (17, Line::AtOnce, 96),
    ];
    for (number, line, at) in tasks {
        let mut row = pending(number, &format!("t{number}"));
        row.state = State::Pending {
            due_at: Deadline {
                line,
                at: Micros(at),
            },
            wait: WaitReason::Slot,
        };
        one(&store, start(&row)).expect("the start is accepted");
    }
    let times = Times {
        own: Micros(100),
        wall: Micros(20),
        life: 7,
        ahead_us: 0,
    };
    let due = |times, limit| store.due(DefNumber(1), times, limit).expect("due is read");
    let page = |ready: &[u64], wait_us| Due {
        ready: numbers(ready),
        wait_us,
    };
    assert_eq!(due(times, 100), page(&[15, 10, 17, 14, 12], Some(1)));
    assert_eq!(due(times, 2), page(&[15, 10], Some(1)));
    let forward = Times {
        wall: Micros(1_000),
        ..times
    };
    assert_eq!(due(forward, 100), page(&[15, 10, 17, 14, 11, 12], Some(1)));
    let reopened = Times {
        life: 8,
        ..Times::still(Micros(102))
    };
    // A life of its own comes to the lines of earlier ones by the wall clock of its open.
    let in_order = [15, 13, 10, 17, 14, 11];
    assert_eq!(due(reopened, 100), page(&in_order, Some(2)));
}

/// The next moment is the earliest of all ranks; what only an event moves has none.
pub fn due_tells_when_the_next_task_becomes_due(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    assert_eq!(
        due(&store, 1, 99),
        Due {
            ready: vec![],
            wait_us: Some(1)
        }
    );
    assert_eq!(
        due(&store, 1, 100),
        Due {
            ready: numbers(&[10]),
            wait_us: None
        }
    );
    let later = State::Pending {
        due_at: Deadline::own(Micros(700)),
        wait: WaitReason::BackOff,
    };
    one(&store, by_etag(10, 10, &moved(&row, 11, later))).expect("accepted");
    let mut low = pending(20, "b");
    low.priority = Priority::new(0);
    low.state = State::Pending {
        due_at: Deadline::own(Micros(800)),
        wait: WaitReason::Slot,
    };
    one(&store, start(&low)).expect("the start is accepted");
    assert_eq!(
        due(&store, 1, 100),
        Due {
            ready: vec![],
            wait_us: Some(600)
        }
    );
    let parked = State::Suspended {
        since: Micros(1),
        wait: WaitReason::WaitingHandler,
    };
    one(&store, by_etag(10, 11, &moved(&row, 12, parked))).expect("accepted");
    one(&store, by_etag(20, 20, &moved(&low, 21, undecodable()))).expect("accepted");
    assert_eq!(
        due(&store, 1, u64::MAX),
        Due {
            ready: vec![],
            wait_us: None
        }
    );
}

/// By ascending number, whatever the ranks, and page by page; each moment its own tasks.
pub fn due_exactly_lists_one_moment(factory: &impl Factory) {
    let store = factory.fresh();
    let waiting = [
        (10, 7, undecodable()),
        (15, 4, isolated()),
        (20, 0, undecodable()),
        (25, 0, isolated()),
        (30, 4, undecodable()),
    ];
    for (number, rank, state) in waiting {
        let mut row = moved(&pending(number, &format!("t{number}")), number, state);
        row.priority = Priority::new(rank);
        one(&store, start(&row)).expect("the start is accepted");
    }
    started(&store, 40, "due");
    let exactly = |at, after: Option<u64>, limit| {
        store.due_exactly(DefNumber(1), at, after.map(TaskNumber), limit)
    };
    let at_open = |after, limit| exactly(Micros::AT_OPEN, after, limit);
    assert_eq!(at_open(None, 100), Ok(numbers(&[10, 20, 30])));
    assert_eq!(at_open(None, 2), Ok(numbers(&[10, 20])));
    assert_eq!(at_open(Some(20), 2), Ok(numbers(&[30])));
    let isolated = exactly(Micros::ISOLATED, None, 100);
    assert_eq!(isolated, Ok(numbers(&[15, 25])));
    let on_time = exactly(Micros(100), None, 100);
    assert_eq!(on_time, Ok(numbers(&[40])));
}

/// A suspect has a moment at which it would be due; only the poison guard enters it.
pub fn an_isolated_task_is_never_due(factory: &impl Factory) {
    let store = factory.fresh();
    let row = moved(&pending(10, "a"), 10, isolated());
    one(&store, start(&row)).expect("the start is accepted");
    for now in [100, u64::MAX] {
        let nothing = Due {
            ready: vec![],
            wait_us: None,
        };
        assert_eq!(due(&store, 1, now), nothing, "at {now}");
    }
}

/// A claim takes the task out of `due`, a release puts it back.
pub fn a_claimed_task_is_running_and_not_due(factory: &impl Factory) {
    let store = factory.fresh();
    let row = claimed(&store, 10, "a");
    assert_eq!(
        due(&store, 1, u64::MAX),
        Due {
            ready: vec![],
            wait_us: None
        }
    );
    assert_eq!(scanned(&store, Scan::Running), numbers(&[10]));
    let again = State::Pending {
        due_at: Deadline::own(Micros(500)),
        wait: WaitReason::BackOff,
    };
    let back = commit(
        10,
        Expect::Lease(Generation(10)),
        vec![put(&moved(&row, 12, again))],
    );
    one(&store, back).expect("the release is accepted");
    assert_eq!(scanned(&store, Scan::Running), vec![]);
    assert_eq!(due(&store, 1, 500).ready, numbers(&[10]));
}

/// An end takes the task out of every list of work, for each way of keeping it.
pub fn an_ended_task_is_neither_due_nor_running(factory: &impl Factory) {
    let store = factory.fresh();
    for (number, expires_at) in [(10, Micros(900)), (20, Micros::NEVER)] {
        let row = claimed(&store, number, &format!("t{number}"));
        let done = moved(&row, number + 2, ended(expires_at));
        let end = commit(number, Expect::Lease(Generation(number)), vec![put(&done)]);
        one(&store, end).expect("the end is accepted");
    }
    assert_listed_nowhere(&store);
    assert_eq!(scanned(&store, Scan::All), numbers(&[20, 10]));
}

/// Pages join to the whole, newest first, without gaps or repeats; running tasks come oldest first.
pub fn scans_page_through_everything_once(factory: &impl Factory) {
    let store = factory.fresh();
    for number in [10, 20, 30, 40, 50] {
        let mut row = running(&pending(number, &format!("t{number}")), number, number);
        row.def = DefNumber(if number == 30 { 2 } else { 1 });
        one(&store, start(&row)).expect("the start is accepted");
    }
    let of = |def| Scan::Definition(DefNumber(def));
    for limit in [1, 2, 4, 5, 100] {
        let listed = |scan| pages(&store, &scan, limit);
        assert_eq!(listed(Scan::All), numbers(&[50, 40, 30, 20, 10]));
        assert_eq!(listed(of(1)), numbers(&[50, 40, 20, 10]));
        assert_eq!(listed(of(2)), numbers(&[30]));
        assert_eq!(listed(Scan::Running), numbers(&[10, 20, 30, 40, 50]));
    }
}

/// A label lists the tasks of its definition that carry it, newest first and page by page, whatever became of them.
pub fn a_label_lists_its_tasks_newest_first(factory: &impl Factory) {
    let store = factory.fresh();
    let labels: [(u64, u32, &[&str]); 6] = [
        (10, 1, &["red", "big", "red"]),
        (20, 1, &["re", "redder"]),
        (30, 1, &["red"]),
        (40, 2, &["red"]),
        (50, 1, &["big", "red"]),
        (60, 1, &[]),
    ];
    for (number, def, labels) in labels {
        let mut row = labelled(number, &format!("t{number}"), labels);
        row.def = DefNumber(def);
        one(&store, start(&row)).expect("the start is accepted");
    }
    let done = moved(&labelled(30, "t30", &["red"]), 70, ended(Micros(900)));
    one(&store, by_etag(30, 30, &done)).expect("accepted");
    let label = |def, label: &str| Scan::Label(DefNumber(def), label.into());
    for limit in [1, 2, 3, 100] {
        let listed = |scan| pages(&store, &scan, limit);
        assert_eq!(listed(label(1, "red")), numbers(&[50, 30, 10]));
        assert_eq!(listed(label(1, "big")), numbers(&[50, 10]));
        assert_eq!(listed(label(1, "redder")), numbers(&[20]));
        assert_eq!(listed(label(2, "red")), numbers(&[40]));
        assert_eq!(listed(label(2, "big")), vec![]);
    }
}

/// What retention may remove comes earliest first, and nothing that is kept on, kept for ever or not ended.
pub fn expired_tasks_come_in_order_of_time(factory: &impl Factory) {
    let store = factory.fresh();
    let kept_until = [
        (10, Micros(900)),
        (20, Micros(700)),
        (30, Micros(901)),
        (40, Micros::NEVER),
        (50, Micros(700)),
    ];
    for (number, until) in kept_until {
        let row = moved(
            &pending(number, &format!("t{number}")),
            number,
            ended(until),
        );
        one(&store, start(&row)).expect("the start is accepted");
    }
    started(&store, 60, "waits");
    assert_eq!(store.expired(Micros(699), 100), Ok(vec![]));
    assert_eq!(store.expired(Micros(900), 100), Ok(numbers(&[20, 50, 10])));
    assert_eq!(store.expired(Micros(900), 2), Ok(numbers(&[20, 50])));
    let all = store.expired(Micros::NEVER, 100);
    assert_eq!(all, Ok(numbers(&[20, 50, 10, 30])));
}

/// Every task of a scan, page by page.
#[track_caller]
fn pages(store: &impl Store, scan: &Scan, limit: usize) -> Vec<TaskNumber> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan(scan.clone(), after, limit);
        let page = page.expect("the scan is read");
        assert!(page.rows.len() <= limit);
        for found in page.rows {
            assert_eq!(found.row.map(Some), store.get(found.task));
            seen.push(found.task);
        }
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

/// No limit makes an answer larger than a page.
pub fn pages_are_bounded(factory: &impl Factory) {
    let store = factory.fresh();
    let last = PAGE_MAX as u64 + 5;
    let batch: Vec<_> = (1..=last)
        .map(|number| start(&pending(number, &format!("t{number}"))))
        .collect();
    assert!(
        store
            .commit(&batch)
            .expect("the batch is applied")
            .iter()
            .all(Result::is_ok)
    );
    let page = store
        .scan(Scan::All, None, usize::MAX)
        .expect("the scan is read");
    assert_eq!(
        (page.rows.len(), page.next),
        (PAGE_MAX, Some(TaskNumber(6)))
    );
    let ready = store
        .due(DefNumber(1), Times::still(Micros(100)), usize::MAX)
        .expect("due is read")
        .ready;
    assert_eq!(ready.len(), PAGE_MAX);
}
