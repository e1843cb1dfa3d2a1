//! What is known of labels: replaced as a whole, and kept.

use super::Factory;
use crate::row::{DefNumber, IndexRow, TaskNumber};
use crate::store::Store;

fn index(def: u32, by: &str, from: u64) -> IndexRow {
    IndexRow {
        def: DefNumber(def),
        by: by.into(),
        from: TaskNumber(from),
    }
}

/// In order of definition and kind, whatever the order they were given in; what is not given any more is gone. Also
/// after a reopen.
pub fn indexes_are_replaced_as_a_whole(factory: &impl Factory) {
    let store = factory.fresh();
    assert_eq!(store.indexes(), Ok(vec![]));
    let (session, tag, other) = (index(1, "s", 1), index(1, "t:k", 70), index(2, "s", 5));
    let given = [other.clone(), tag.clone(), session.clone()];
    store.put_indexes(&given).expect("they are put");
    assert_eq!(store.indexes(), Ok(vec![session, tag, other.clone()]));
    let moved = index(1, "t:k", 90);
    let given = [moved.clone(), other.clone()];
    store.put_indexes(&given).expect("they are put");
    let store = factory.reopen(store);
    assert_eq!(store.indexes(), Ok(vec![moved, other]));
}
