//! What a commit may change, and when it is refused.

use super::Factory;
use super::rows::{
    by_etag, claimed, commit, ended, event, found, get, input, moved, one, pending, put, running,
    start, started, task_id,
};
use crate::commit::{Applied, Conflict, Expect, Write};
use crate::row::{DefNumber, Etag, Generation, Micros, TaskNumber, ValueKey, ValueKind};
use crate::store::{Inbox, Store, StoreError};
use std::sync::Arc;

/// A started task is there under its id and its number.
pub fn a_start_is_found_by_id_and_number(factory: &impl Factory) {
    let store = factory.fresh();
    assert_eq!(store.find(&task_id("a")), Ok(None));
    let row = pending(10, "a");
    assert_eq!(one(&store, start(&row)), Ok(Applied { etag: Etag(10) }));
    assert_eq!(store.find(&task_id("a")), Ok(Some(TaskNumber(10))));
    assert_eq!(get(&store, 10), Some(row));
    assert_eq!(get(&store, 11), None);
}

/// A second start of an id changes nothing and learns of the first.
pub fn a_taken_id_is_a_conflict_that_carries_the_row(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    assert_eq!(one(&store, start(&pending(20, "a"))), found(10, &row));
    assert_eq!(get(&store, 20), None);
    assert_eq!(get(&store, 10), Some(row));
}

/// A task number is never given twice.
pub fn a_taken_number_is_a_conflict_that_carries_the_row(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    assert_eq!(one(&store, start(&pending(10, "b"))), found(10, &row));
    assert_eq!(store.find(&task_id("b")), Ok(None));
}

/// Who decided on an older row changes nothing.
pub fn a_stale_etag_is_refused(factory: &impl Factory) {
    let store = factory.fresh();
    let row = claimed(&store, 10, "a");
    let late = moved(&row, 30, ended(Micros::NEVER));
    assert_eq!(one(&store, by_etag(10, 10, &late)), found(10, &row));
    assert_eq!(one(&store, by_etag(10, 12, &late)), found(10, &row));
    assert_eq!(get(&store, 10), Some(row));
}

/// Who ran under an older generation changes nothing.
pub fn a_stale_lease_is_refused(factory: &impl Factory) {
    let store = factory.fresh();
    let row = running(&claimed(&store, 10, "a"), 12, 20);
    one(&store, by_etag(10, 11, &row)).expect("the second claim is accepted");
    let late = moved(&row, 30, ended(Micros::NEVER));
    for stale in [0, 10, 19, 21] {
        let write = commit(10, Expect::Lease(Generation(stale)), vec![put(&late)]);
        assert_eq!(one(&store, write), found(10, &row), "generation {stale}");
    }
    assert_eq!(get(&store, 10), Some(row));
}

/// The right generation is not enough once the task waits or has ended.
pub fn a_lease_on_a_task_that_does_not_run_is_refused(factory: &impl Factory) {
    let store = factory.fresh();
    let fresh = started(&store, 5, "waits");
    let write = commit(
        5,
        Expect::Lease(Generation(0)),
        vec![put(&moved(&fresh, 6, ended(Micros::NEVER)))],
    );
    assert_eq!(one(&store, write), found(5, &fresh));
    let row = claimed(&store, 10, "ends");
    let done = moved(&row, 12, ended(Micros(900)));
    one(
        &store,
        commit(10, Expect::Lease(Generation(10)), vec![put(&done)]),
    )
    .expect("the end is accepted");
    let late = commit(
        10,
        Expect::Lease(Generation(10)),
        vec![put(&moved(&row, 13, ended(Micros::NEVER)))],
    );
    assert_eq!(one(&store, late), found(10, &done));
}

/// A running turn goes on although somebody else's commit moved the etag.
pub fn a_lease_does_not_compare_the_etag(factory: &impl Factory) {
    let store = factory.fresh();
    let row = claimed(&store, 10, "a");
    let mut steered = row.clone();
    (steered.etag, steered.inputs_accepted) = (Etag(12), 2);
    one(&store, by_etag(10, 11, &steered)).expect("the steer is accepted");
    let done = moved(&steered, 13, ended(Micros::NEVER));
    let end = commit(10, Expect::Lease(Generation(10)), vec![put(&done)]);
    assert_eq!(one(&store, end), Ok(Applied { etag: Etag(13) }));
    assert_eq!(get(&store, 10), Some(done));
}

/// Nothing but a start makes a task.
pub fn an_unknown_task_is_a_conflict_without_a_row(factory: &impl Factory) {
    let store = factory.fresh();
    let nothing = Err(Conflict {
        task: TaskNumber(10),
        found: Ok(None),
    });
    assert_eq!(one(&store, by_etag(10, 10, &pending(11, "a"))), nothing);
    let write = commit(
        10,
        Expect::Lease(Generation(0)),
        vec![put(&pending(11, "a"))],
    );
    assert_eq!(one(&store, write), nothing);
    assert_eq!(get(&store, 10), None);
}

/// Not even the writes that need no expectation of their own.
pub fn a_refused_commit_writes_nothing(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    let key = ValueKey {
        task: TaskNumber(10),
        kind: ValueKind::Input,
        index: 0,
    };
    let value = Write::Value {
        key,
        bytes: vec![1],
    };
    let push = Write::PushInput {
        seq: 1,
        input: input("x"),
    };
    let late = moved(&row, 20, ended(Micros::NEVER));
    let refused = commit(10, Expect::Etag(Etag(9)), vec![value, push, put(&late)]);
    assert_eq!(one(&store, refused), found(10, &row));
    assert_eq!(get(&store, 10), Some(row));
    assert_eq!(store.value(key), Ok(None));
    assert_eq!(store.inbox(TaskNumber(10)), Ok(Inbox::default()));
}

/// The commits before and after a refused one take place.
pub fn a_refused_commit_does_not_hinder_its_neighbours(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    let (left, right) = (pending(20, "left"), pending(30, "right"));
    let refused = by_etag(10, 9, &moved(&row, 25, ended(Micros::NEVER)));
    let answers = store
        .commit(&[start(&left), refused, start(&right)])
        .expect("the batch is applied");
    let applied = |etag| Ok(Applied { etag: Etag(etag) });
    assert_eq!(answers, vec![applied(20), found(10, &row), applied(30)]);
    assert_eq!(
        (get(&store, 20), get(&store, 30)),
        (Some(left), Some(right))
    );
    assert_eq!(get(&store, 10), Some(row));
}

/// A commit is judged by what the batch has made of its task so far, and a conflict shows that row.
pub fn a_commit_sees_the_commits_before_it(factory: &impl Factory) {
    let store = factory.fresh();
    let row = pending(10, "a");
    let claim = running(&row, 11, 1);
    let batch = [
        start(&row),
        by_etag(10, 10, &claim),
        by_etag(10, 10, &moved(&row, 12, ended(Micros::NEVER))),
    ];
    let answers = store.commit(&batch).expect("the batch is applied");
    assert_eq!(answers[1], Ok(Applied { etag: Etag(11) }));
    assert_eq!(answers[2], found(10, &claim));
    assert_eq!(get(&store, 10), Some(claim));
}

/// Start, claim and end in one batch leave the last row, and its place only.
pub fn one_task_changes_several_times_in_a_batch(factory: &impl Factory) {
    let store = factory.fresh();
    let row = pending(10, "a");
    let claim = running(&row, 11, 1);
    let done = moved(&claim, 12, ended(Micros(900)));
    let end = commit(10, Expect::Lease(Generation(1)), vec![put(&done)]);
    let answers = store
        .commit(&[start(&row), by_etag(10, 10, &claim), end])
        .expect("the batch is applied");
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(get(&store, 10), Some(done));
    super::lists::assert_listed_nowhere(&store);
}

/// One id is one task, also when both starts are in one batch.
pub fn two_starts_of_one_id_in_a_batch_make_one_task(factory: &impl Factory) {
    let store = factory.fresh();
    let row = pending(10, "a");
    let answers = store
        .commit(&[start(&row), start(&pending(20, "a"))])
        .expect("the batch is applied");
    assert_eq!(
        answers,
        vec![Ok(Applied { etag: Etag(10) }), found(10, &row)]
    );
    assert_eq!(get(&store, 20), None);
}

/// Appends do not touch the row.
pub fn a_commit_without_a_row_keeps_the_etag(factory: &impl Factory) {
    let store = factory.fresh();
    let row = claimed(&store, 10, "a");
    let push = Write::PushInput {
        seq: 1,
        input: input("x"),
    };
    let append = commit(10, Expect::Lease(Generation(10)), vec![push]);
    assert_eq!(one(&store, append), Ok(Applied { etag: Etag(11) }));
    assert_eq!(get(&store, 10), Some(row));
}

/// Nothing of a batch is written when one of its commits breaks a rule, and the store goes on.
pub fn a_malformed_commit_stops_its_whole_batch(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    let shrunk = by_etag(10, 10, &row);
    let answer = store.commit(&[start(&pending(20, "b")), shrunk]);
    assert!(
        matches!(answer, Err(StoreError::Malformed { .. })),
        "{answer:?}"
    );
    assert_eq!(get(&store, 20), None);
    started(&store, 30, "c");
}

/// Each rule of the format.
pub fn what_is_malformed_is_refused(factory: &impl Factory) {
    let store = factory.fresh();
    let mut row = pending(10, "a");
    (row.generation, row.run) = (Generation(4), 2);
    one(&store, start(&row)).expect("the start is accepted");
    let with = |change: fn(&mut crate::row::TaskRow)| {
        let mut next = moved(&row, 20, ended(Micros::NEVER));
        change(&mut next);
        by_etag(10, 10, &next)
    };
    let key = ValueKey {
        task: TaskNumber(11),
        kind: ValueKind::Input,
        index: 0,
    };
    let foreign_event = Write::Event(event(20, 11, 300));
    let mut lease_of_another = running(&row, 20, 5);
    lease_of_another.generation = Generation(6);
    let malformed = [
        with(|row| row.id = task_id("b")),
        with(|row| Arc::make_mut(&mut row.facts).labels = vec!["red".into()]),
        with(|row| row.def = DefNumber(2)),
        with(|row| row.etag = Etag(10)),
        with(|row| row.generation = Generation(3)),
        with(|row| row.run = 1),
        by_etag(10, 10, &lease_of_another),
        commit(10, Expect::Etag(Etag(10)), vec![Write::RemoveValue(key)]),
        commit(10, Expect::Etag(Etag(10)), vec![foreign_event]),
        commit(
            11,
            Expect::Absent,
            vec![Write::PopInput { seq: 0 }, put(&pending(11, "b"))],
        ),
        commit(11, Expect::Absent, vec![]),
    ];
    for commit in malformed {
        let answer = store.commit(std::slice::from_ref(&commit));
        assert!(
            matches!(answer, Err(StoreError::Malformed { .. })),
            "{commit:?} gave {answer:?}"
        );
    }
    assert_eq!(get(&store, 10), Some(row));
}

/// No value below the counters is ever new, whatever happened to the process in between.
pub fn counters_only_grow_and_survive_a_reopen(factory: &impl Factory) {
    let store = factory.fresh();
    let before = store.counters().expect("counters");
    let row = running(&pending(500_000, "a"), 500_001, 300_000);
    one(&store, commit(500_000, Expect::Absent, vec![put(&row)])).expect("the start is accepted");
    let after = store.counters().expect("counters");
    assert!(
        after.etag >= Etag(500_001) && after.etag > before.etag,
        "{after:?}"
    );
    assert!(after.generation >= Generation(300_000), "{after:?}");
    let store = factory.reopen(store);
    let reopened = store.counters().expect("counters");
    assert!(
        reopened.etag >= after.etag && reopened.generation >= after.generation,
        "{reopened:?}"
    );
}
