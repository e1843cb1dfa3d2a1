//! A change of keys: what it leaves, whenever it is interrupted.

use super::*;
use crate::redb::{compact, reseal, verify};
use crate::sealed::{CodecError, Location, PayloadCodec};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fails for good after so many seals, as a process that is gone.
struct Dying {
    keys: Arc<Keys>,
    seals_left: AtomicUsize,
}

impl PayloadCodec for Dying {
    fn seal(&self, at: &Location<'_>, clear: &[u8]) -> Result<Vec<u8>, CodecError> {
        let left = self.seals_left.load(Ordering::Relaxed);
        let Some(left) = left.checked_sub(1) else {
            return Err(CodecError::Failed {
                message: "gone".into(),
            });
        };
        self.seals_left.store(left, Ordering::Relaxed);
        self.keys.seal(at, clear)
    }

    fn open(&self, at: &Location<'_>, sealed: &[u8]) -> Result<Vec<u8>, CodecError> {
        self.keys.open(at, sealed)
    }

    fn is_current(&self, sealed: &[u8]) -> bool {
        self.keys.is_current(sealed)
    }

    fn chance(&self, out: &mut [u8]) -> Result<(), CodecError> {
        self.keys.chance(out)
    }
}

fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    (directory, path)
}

#[test]
fn after_a_change_of_keys_the_old_one_is_not_needed() {
    let (_directory, path) = place();
    filled(&sealed(&path, old()));
    let report = reseal(&path, both(), 2, 0).unwrap();
    assert!(report.is_whole() && report.resealed >= 15, "{report:?}");
    assert_all_told(&sealed(&path, new()));
    // The mark under the old key stays, but no value opens by that key.
    let store = sealed(&path, old());
    assert!(is_missing_key(store.get(TaskNumber(1))));
    assert!(is_missing_key(store.value(value_key(1))));
    drop(store);
    assert!(verify(&path, 3, 0).unwrap().is_whole());
    let again = reseal(&path, new(), 4, 0).unwrap();
    assert_eq!((again.resealed, again.is_whole()), (0, true));
}

#[test]
fn etags_stay_what_they_are_when_keys_change() {
    let (_directory, path) = place();
    filled(&sealed(&path, old()));
    let before = file(&path).counters();
    reseal(&path, both(), 2, 0).unwrap();
    assert_eq!(file(&path).counters(), before);
    let row = sealed(&path, new()).get(TaskNumber(1)).unwrap();
    assert_eq!(row.map(|row| row.etag), Some(Etag(1)));
}

#[test]
fn an_interrupted_change_of_keys_loses_nothing_and_goes_on() {
    let mut interrupted = 0;
    for seals_left in (0..).step_by(9) {
        let (_directory, path) = place();
        filled(&sealed(&path, old()));
        let dying = Arc::new(Dying {
            keys: both(),
            seals_left: AtomicUsize::new(seals_left),
        });
        let ended = reseal(&path, dying, 2, 0);
        assert_all_told(&sealed(&path, both()));
        assert!(reseal(&path, both(), 3, 0).unwrap().is_whole());
        assert_all_told(&sealed(&path, new()));
        match ended {
            Ok(_) => break,
            Err(_) => interrupted += 1,
        }
    }
    assert!(interrupted > 4, "{interrupted}");
}

#[test]
fn a_key_that_is_gone_is_named_for_each_value_and_nothing_else_is_harmed() {
    let (_directory, path) = place();
    let store = sealed(&path, old());
    one(
        &store,
        start(&row(1, "before", suspended(WaitReason::Slot))),
    )
    .unwrap();
    drop(store);
    let store = sealed(&path, both());
    one(&store, start(&row(2, "after", suspended(WaitReason::Slot)))).unwrap();
    drop(store);
    let store = sealed(&path, new());
    assert!(is_missing_key(store.get(TaskNumber(1))));
    assert!(matches!(store.get(TaskNumber(2)), Ok(Some(_))));
    drop(store);
    let report = reseal(&path, new(), 2, 0).unwrap();
    assert_eq!((report.is_whole(), report.unreadable.total()), (false, 1));
    assert!(reseal(&path, both(), 3, 0).unwrap().is_whole());
    let read = sealed(&path, new()).get(TaskNumber(1));
    assert!(matches!(read, Ok(Some(_))));
}

#[test]
fn a_clear_file_is_adopted_whole_and_takes_no_clear_value_afterwards() {
    let (_directory, path) = place();
    let clear = row(1, "clear", suspended(WaitReason::Slot));
    let below = file(&path);
    one(&*below, start(&clear)).unwrap();
    for number in 2..60 {
        let mut begins = start(&row(number, &format!("task-{number}"), clear.state.clone()));
        begins.writes.push(Write::Value {
            key: value_key(number),
            bytes: json(&"large ".repeat(number as usize * 5)),
        });
        one(&*below, begins).unwrap();
    }
    drop(below);
    assert!(reseal(&path, old(), 2, 0).unwrap().is_whole());
    // What lay in the file before is in its unused pages until then.
    compact(&path, 3, 0).unwrap();
    assert_unreadable(&path);
    assert_eq!(
        sealed(&path, old()).get(TaskNumber(1)),
        Ok(Some(clear.clone()))
    );
    let mut back = clear;
    back.etag = Etag(2);
    let back = commit(1, Expect::Etag(Etag(1)), vec![put(&back)]);
    rewritten(&file(&path), vec![back]);
    assert!(is_corrupt(sealed(&path, old()).get(TaskNumber(1))));
}

/// More than one transaction takes: no entry may be passed by between two of them.
#[test]
fn a_large_file_is_resealed_in_bounded_steps_and_wholly() {
    let (_directory, path) = place();
    let store = sealed(&path, old());
    let starts: Vec<Commit> = (1..=1_300)
        .map(|number| start(&pending(number, &format!("task-{number}"))))
        .collect();
    assert!(store.commit(&starts).unwrap().iter().all(Result::is_ok));
    drop(store);
    let report = reseal(&path, both(), 2, 0).unwrap();
    assert_eq!((report.resealed, report.current), (1_300, 0));
    let store = sealed(&path, new());
    for number in 1..=1_300 {
        assert!(matches!(store.get(TaskNumber(number)), Ok(Some(_))));
    }
}
