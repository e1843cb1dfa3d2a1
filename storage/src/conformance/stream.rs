//! The stream of a task: segments in order, in bounded pages, evicted from the front.

use super::Factory;
use super::rows::{claimed, commit, get, one, removal, segment, started, written};
use crate::commit::{EVICTED_AT_ONCE, Expect, Write};
use crate::row::{Generation, TaskNumber};
use crate::store::{Store, StoreError, StreamEnd};
use std::sync::Arc;

/// A segment of so many entries from `first` on.
fn put(first: u64, entries: u64) -> Write {
    let segment = Arc::new(segment(first, entries));
    Write::Segment { first, segment }
}

/// The first and last sequence numbers of a page.
#[track_caller]
fn page(store: &impl Store, task: u64, after: u64, limit_bytes: usize) -> Vec<(u64, u64)> {
    let page = store.segments(TaskNumber(task), after, limit_bytes);
    let bounds = |segment: crate::store::Segment| {
        let row = segment.row.expect("the segment is read");
        (segment.first, row.last(segment.first))
    };
    let page = page.expect("the stream is read");
    page.into_iter().map(bounds).collect()
}

/// Ascending, each task its own, as they were put.
pub fn segments_come_in_order(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 11, "b");
    written(&store, 10, vec![put(1, 3), put(4, 1)]);
    written(&store, 11, vec![put(1, 2)]);
    written(&store, 10, vec![put(5, 400)]);
    let store = factory.reopen(store);
    assert_eq!(page(&store, 10, 0, 1 << 20), [(1, 3), (4, 4), (5, 404)]);
    assert_eq!(page(&store, 11, 0, 1 << 20), [(1, 2)]);
    assert_eq!(page(&store, 12, 0, 1 << 20), []);
    let second = store
        .segments(TaskNumber(10), 3, 0)
        .expect("read")
        .remove(0);
    assert_eq!((second.first, second.row), (4, Ok(Arc::new(segment(4, 1)))));
}

/// From the segment that holds the next sequence number, wherever in it that is.
pub fn a_page_begins_with_the_next_sequence_number(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    written(&store, 10, vec![put(1, 3), put(4, 5), put(9, 1)]);
    let expected = [(0, 1), (1, 1), (2, 1), (3, 4), (4, 4), (7, 4), (8, 9)];
    for (after, first) in expected {
        let found = page(&store, 10, after, 1 << 20);
        assert_eq!(
            found.first().map(|(first, _)| *first),
            Some(first),
            "after {after}"
        );
    }
    for after in [9, 10, u64::MAX] {
        assert_eq!(page(&store, 10, after, 1 << 20), []);
    }
}

/// By the sizes of its segments, but one segment at least.
pub fn a_page_of_segments_is_bounded(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    written(&store, 10, (0..10).map(|at| put(1 + at * 3, 3)).collect());
    let size = segment(4, 3).size();
    assert_eq!(page(&store, 10, 0, 0), [(1, 3)]);
    assert_eq!(page(&store, 10, 4, size), [(4, 6)]);
    assert_eq!(page(&store, 10, 4, size + 1), [(4, 6), (7, 9)]);
    assert_eq!(page(&store, 10, 0, 3 * size).len(), 3);
    assert_eq!(page(&store, 10, 0, usize::MAX).len(), 10);
}

/// What the next writer needs to go on: where the stream begins and ends, and who wrote last.
pub fn the_end_of_a_stream_is_known(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 11, "b");
    let end = |store: &dyn Store, task| store.stream_end(TaskNumber(task));
    assert_eq!(end(&store, 10), Ok(None));
    written(&store, 10, vec![put(1, 3)]);
    let expected = |last, writer| StreamEnd {
        first: 1,
        last,
        run: 1,
        turn: 2,
        generation: Generation(writer),
        input_seq: 4,
    };
    assert_eq!(end(&store, 10), Ok(Some(expected(3, 1))));
    written(&store, 10, vec![put(4, 2)]);
    let store = factory.reopen(store);
    assert_eq!(end(&store, 10), Ok(Some(expected(5, 4))));
    assert_eq!(end(&store, 11), Ok(None));
}

/// A turn that emits does not touch its row, and one whose claim is lost adds nothing.
pub fn an_append_leaves_the_row_alone(factory: &impl Factory) {
    let store = factory.fresh();
    let row = claimed(&store, 10, "a");
    let by = |generation| commit(10, Expect::Lease(Generation(generation)), vec![put(1, 3)]);
    assert!(one(&store, by(9)).is_err());
    assert_eq!(page(&store, 10, 0, 0), []);
    let applied = one(&store, by(10)).expect("the claim holds");
    assert_eq!(applied.etag, row.etag);
    assert_eq!(get(&store, 10), Some(row));
    assert_eq!(page(&store, 10, 0, 0), [(1, 3)]);
}

/// Oldest first, whole segments, a bounded number at once; the last one stays.
pub fn segments_are_evicted_from_the_front(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    started(&store, 11, "b");
    let evict = |below| Write::EvictSegments { below };
    written(&store, 10, vec![evict(9)]);
    written(&store, 11, vec![put(1, 1), put(2, 1)]);
    let many = EVICTED_AT_ONCE as u64 + 5;
    written(&store, 10, (0..many).map(|at| put(1 + at * 2, 2)).collect());
    let first = |store: &dyn Store| {
        store
            .stream_end(TaskNumber(10))
            .map(|end| end.map(|end| end.first))
    };
    let expected = [(1, 1), (2, 1), (3, 3), (4, 3), (8, 7)];
    for (below, kept) in expected {
        written(&store, 10, vec![evict(below)]);
        assert_eq!(first(&store), Ok(Some(kept)), "below {below}");
    }
    written(&store, 10, vec![evict(u64::MAX)]);
    let left = page(&store, 10, 0, usize::MAX);
    assert_eq!(left.len() as u64, many - 3 - EVICTED_AT_ONCE as u64);
    written(&store, 10, vec![evict(u64::MAX)]);
    assert_eq!(page(&store, 10, 0, usize::MAX), [(many * 2 - 1, many * 2)]);
    let end = store
        .stream_end(TaskNumber(10))
        .expect("read")
        .expect("there is one");
    assert_eq!((end.first, end.last), (many * 2 - 1, many * 2));
    assert_eq!(page(&store, 11, 0, usize::MAX), [(1, 1), (2, 2)]);
}

/// Gone with its task for every reader.
pub fn the_stream_of_a_removed_task_is_gone(factory: &impl Factory) {
    let store = factory.fresh();
    started(&store, 10, "a");
    written(&store, 10, (1..200).map(|first| put(first, 1)).collect());
    one(&store, removal(10, 10)).expect("the removal is accepted");
    assert_eq!(page(&store, 10, 0, usize::MAX), []);
    assert_eq!(store.stream_end(TaskNumber(10)), Ok(None));
}

/// A segment without entries, or without a sequence number, is none.
pub fn a_malformed_segment_is_refused(factory: &impl Factory) {
    let store = factory.fresh();
    let row = started(&store, 10, "a");
    for broken in [put(0, 1), put(1, 0)] {
        let batch = [commit(10, Expect::Etag(row.etag), vec![broken])];
        let answer = store.commit(&batch);
        assert!(
            matches!(answer, Err(StoreError::Malformed { .. })),
            "{answer:?}"
        );
    }
}
