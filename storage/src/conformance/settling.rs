//! What became of a batch is told by what it left.

use super::Factory;
use super::rows::{
    by_etag, commit, ended, event, labelled, moved, pending, put, removal, running, segment, start,
};
use crate::commit::{Commit, Expect, Write};
use crate::row::{Etag, Generation, Micros, TaskNumber, TaskRow};
use crate::settle;
use crate::store::Store;
use std::sync::Arc;

/// A start that puts an event into the log.
fn logged_start(row: &TaskRow) -> Commit {
    let mut start = start(row);
    let logged = event(row.etag.0, row.etag.0, 100);
    start.writes.push(Write::Event(logged));
    start
}

/// Applied or not, each batch of a task's life is told from what is there, and only then.
pub fn what_became_of_a_batch_is_told(factory: &impl Factory) {
    let mut store = factory.fresh();
    let first = pending(10, "a");
    let claimed = running(&first, 11, 1);
    let over = moved(&claimed, 12, ended(Micros(900)));
    let emitted = Write::Segment {
        first: 1,
        segment: Arc::new(segment(1, 3)),
    };
    let lease = Expect::Lease(Generation(1));
    let mut last_word = removal(10, 12);
    last_word.writes.push(Write::Event(event(30, 10, 300)));
    let batches = [
        vec![logged_start(&first)],
        vec![by_etag(10, 10, &claimed)],
        vec![commit(10, lease.clone(), vec![emitted])],
        // Of the two, the second alone tells.
        vec![
            commit(10, lease, vec![Write::RemoveAsks]),
            logged_start(&labelled(20, "b", &["red"])),
        ],
        vec![by_etag(10, 11, &over)],
        vec![removal(20, 20)],
        vec![last_word],
    ];
    for batch in batches {
        assert_eq!(settle(&store, &batch), Ok(None), "before {batch:?}");
        let answers = store.commit(&batch).expect("the batch is applied");
        let told = settle(&store, &batch).expect("it is read");
        let told = told.expect("it is there");
        assert_eq!(told.len(), answers.len(), "{batch:?}");
        assert!(told.iter().all(Result::is_ok), "{batch:?}");
        store = factory.reopen(store);
        assert!(settle(&store, &batch).is_ok_and(|told| told.is_some()));
    }
}

/// A start and a removal of one task in one batch are two commits. That the task is not there afterwards was taken for
/// their trace, so that a batch of which nothing was written was told as applied, with the starts of its neighbours.
pub fn a_removal_of_what_its_batch_began_tells_nothing(factory: &impl Factory) {
    let store = factory.fresh();
    let neighbour = pending(20, "b");
    let batch = [
        commit(10, Expect::Absent, vec![put(&pending(10, "a"))]),
        removal(10, 10),
        commit(20, Expect::Absent, vec![put(&neighbour)]),
    ];
    for batch in [&batch[..], &batch[..2]] {
        assert_eq!(settle(&store, batch), Ok(None), "nothing is there");
    }
    let answers = store.commit(&batch).expect("the batch is applied");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let told = settle(&store, &batch).expect("it is read");
    assert_eq!(told.map(|told| told.len()), Some(3), "its neighbour tells");
    // Alone they tell nothing, and may be committed again.
    assert_eq!(settle(&store, &batch[..2]), Ok(None));
    let again = store.commit(&batch[..2]).expect("it is applied");
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    assert_eq!(store.get(TaskNumber(10)), Ok(None));
    assert_eq!(store.get(TaskNumber(20)), Ok(Some(neighbour)));
}

/// A batch that leaves nothing of its own may be committed again.
pub fn what_leaves_no_trace_changes_nothing_twice(factory: &impl Factory) {
    let store = factory.fresh();
    let row = running(&pending(10, "a"), 10, 1);
    store
        .commit(&[commit(10, Expect::Absent, vec![put(&row)])])
        .expect("it starts");
    let lease = Expect::Lease(Generation(1));
    let batch = [commit(10, lease, vec![Write::RemoveAsks])];
    for _ in 0..2 {
        assert!(store.commit(&batch).expect("it is applied")[0].is_ok());
        assert_eq!(settle(&store, &batch), Ok(None));
    }
    assert_eq!(store.get(TaskNumber(10)), Ok(Some(row)));
    assert!(store.reopen().is_ok(), "a store that is well is opened");
    assert_eq!(
        store.counters().map(|counters| counters.etag >= Etag(10)),
        Ok(true)
    );
}
