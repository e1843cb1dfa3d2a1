//! Sealed values moved to where they do not belong, by somebody who can write to the file.

use super::*;

/// Two tasks with everything, and a third one that nobody touches.
fn three(path: &Path) -> (Arc<RedbStore>, SealedStore) {
    let below = file(path);
    let store = SealedStore::open(below.clone(), old()).unwrap();
    for number in [1, 10, 20] {
        let row = row(
            number,
            &format!("task-{number}"),
            suspended(WaitReason::Slot),
        );
        one(&store, start(&row)).unwrap();
        let hangs = commit(number, Expect::Etag(Etag(number)), hanging(number));
        one(&store, hangs).unwrap();
    }
    (below, store)
}

fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    (directory, path)
}

#[track_caller]
fn assert_untouched(store: &SealedStore) {
    let task = TaskNumber(20);
    assert!(matches!(store.get(task), Ok(Some(_))));
    assert!(matches!(store.value(value_key(20)), Ok(Some(_))));
    assert!(matches!(store.step(task, 1, "fetch"), Ok(Some(_))));
    let segments = store.segments(task, 0, 1 << 20).unwrap();
    assert!(segments.iter().all(|segment| segment.row.is_ok()));
}

#[test]
fn a_value_of_another_task_is_damage_and_harms_nobody_else() {
    let (_directory, path) = place();
    let (below, store) = three(&path);
    let (task, other) = (TaskNumber(1), TaskNumber(10));
    let mut row = below.get(task).unwrap().unwrap();
    row.input = below.get(other).unwrap().unwrap().input;
    row.etag = Etag(101);
    let step = below.step(other, 1, "fetch").unwrap().unwrap();
    let ask = below.ask(other, "may").unwrap().unwrap();
    let segment = below.segments(other, 0, 1 << 20).unwrap().remove(0);
    let moved = vec![
        put(&row),
        Write::Value {
            key: value_key(1),
            bytes: below.value(value_key(10)).unwrap().unwrap(),
        },
        Write::Step {
            turn: 1,
            key: "fetch".into(),
            step: Box::new(step),
        },
        Write::Ask {
            key: "may".into(),
            ask: Box::new(ask),
        },
        Write::Segment {
            first: 3,
            segment: segment.row.unwrap(),
        },
    ];
    rewritten(&below, vec![commit(1, Expect::Etag(Etag(1)), moved)]);
    assert!(is_corrupt(store.get(task)));
    assert!(is_corrupt(store.value(value_key(1))));
    assert!(is_corrupt(store.step(task, 1, "fetch")));
    assert!(is_corrupt(store.ask(task, "may")));
    let segments = store.segments(task, 0, 1 << 20).unwrap();
    let read: Vec<bool> = segments.iter().map(|found| found.row.is_ok()).collect();
    assert_eq!(read, [true, false]);
    assert_untouched(&store);
}

#[test]
fn two_values_of_one_task_cannot_stand_in_for_each_other() {
    let (_directory, path) = place();
    let (below, store) = three(&path);
    let task = TaskNumber(1);
    let mut row = below.get(task).unwrap().unwrap();
    let previous = row.previous.as_mut().unwrap();
    std::mem::swap(&mut row.input, &mut previous.payload);
    row.etag = Etag(101);
    let step = below.step(task, 1, "fetch").unwrap().unwrap();
    let segment = below.segments(task, 0, 1 << 20).unwrap().remove(0);
    let mut segment = SegmentRow::clone(&segment.row.unwrap());
    segment.entries.reverse();
    let moved = vec![
        put(&row),
        Write::Step {
            turn: 1,
            key: "send".into(),
            step: Box::new(step),
        },
        Write::Segment {
            first: 3,
            segment: Arc::new(segment),
        },
    ];
    rewritten(&below, vec![commit(1, Expect::Etag(Etag(1)), moved)]);
    assert!(is_corrupt(store.get(task)));
    assert!(is_corrupt(store.step(task, 1, "send")));
    assert!(matches!(store.step(task, 1, "fetch"), Ok(Some(_))));
    let segments = store.segments(task, 0, 1 << 20).unwrap();
    assert!(segments[1].row.is_err());
    assert_untouched(&store);
}

#[test]
fn an_earlier_version_of_a_row_cannot_stand_in_for_the_present_one() {
    let (_directory, path) = place();
    let (below, store) = three(&path);
    let earlier = below.get(TaskNumber(1)).unwrap().unwrap();
    let mut row = store.get(TaskNumber(1)).unwrap().unwrap();
    row.etag = Etag(101);
    row.input = inline("another input");
    one(&store, commit(1, Expect::Etag(Etag(1)), vec![put(&row)])).unwrap();
    let mut back = earlier;
    back.etag = Etag(102);
    let back = commit(1, Expect::Etag(Etag(101)), vec![put(&back)]);
    rewritten(&below, vec![back]);
    assert!(is_corrupt(store.get(TaskNumber(1))));
    assert_untouched(&store);
}

#[test]
fn a_value_of_another_file_is_damage_under_the_same_key_too() {
    let (_directory, path) = place();
    let (_elsewhere, other) = place();
    let (below, store) = three(&path);
    let (stranger, _) = three(&other);
    let theirs = Write::Value {
        key: value_key(1),
        bytes: stranger.value(value_key(1)).unwrap().unwrap(),
    };
    rewritten(&below, vec![commit(1, Expect::Etag(Etag(1)), vec![theirs])]);
    assert!(is_corrupt(store.value(value_key(1))));
    assert_untouched(&store);
}

#[test]
fn each_flipped_bit_of_a_sealed_value_is_told() {
    let (_directory, path) = place();
    let below = file(&path);
    let store = SealedStore::open(below.clone(), old()).unwrap();
    one(&store, start(&pending(1, "a"))).unwrap();
    let put = |store: &dyn Store, bytes: Vec<u8>| {
        let write = Write::Value {
            key: value_key(1),
            bytes,
        };
        let answers = store.commit(&[commit(1, Expect::Etag(Etag(1)), vec![write])]);
        assert!(answers.unwrap()[0].is_ok());
    };
    put(&store, b"\"seven\"".to_vec());
    let whole = below.value(value_key(1)).unwrap().unwrap();
    for byte in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        put(&*below, bytes);
        let found = store.value(value_key(1));
        // A flipped id of a key names another key.
        let is_told = is_corrupt(found.clone()) || is_missing_key(found.clone());
        assert!(is_told, "byte {byte}: {found:?}");
    }
}

#[test]
fn a_scan_shows_the_neighbours_of_a_row_that_does_not_open() {
    let (_directory, path) = place();
    let (below, store) = three(&path);
    let mut row = below.get(TaskNumber(10)).unwrap().unwrap();
    row.etag = Etag(101);
    rewritten(
        &below,
        vec![commit(10, Expect::Etag(Etag(10)), vec![put(&row)])],
    );
    let page = store.scan(crate::store::Scan::All, None, 10).unwrap();
    let read: Vec<bool> = page.rows.iter().map(|found| found.row.is_ok()).collect();
    assert_eq!(read, [true, false, true]);
}
