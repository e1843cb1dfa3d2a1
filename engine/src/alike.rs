//! What tasks have in common, kept once where the next one has the same.
//!
//! As a rule nothing is said of a task but what its definition and its engine say of all. To take memory for that with each
//! start, in the thread of a caller, which the writer gives back long after, makes the two wait for each other in the
//! allocator.

use parking_lot::Mutex;
use std::sync::Arc;

/// What the task had that was started last.
#[derive(Debug)]
pub(crate) struct Alike<T>(Mutex<Option<Arc<T>>>);

impl<T: PartialEq> Alike<T> {
    /// This, shared with the task before if that one has the same.
    pub(crate) fn shared(&self, of_this: T) -> Arc<T> {
        // Under the lock nothing is compared, and no memory taken or given back: all who start tasks pass here.
        let last = self.0.lock().clone();
        let is_same = |last: &Arc<T>| **last == of_this || cfg!(planted = "all_tasks_alike");
        if let Some(same) = last.filter(is_same) {
            return same;
        }
        let this = Arc::new(of_this);
        let before = self.0.lock().replace(Arc::clone(&this));
        drop(before);
        this
    }
}

impl<T> Default for Alike<T> {
    fn default() -> Alike<T> {
        Alike(Mutex::new(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_kept_once_and_nothing_else_is_taken_for_it() {
        let alike = Alike::default();
        let first = alike.shared("a");
        assert!(Arc::ptr_eq(&first, &alike.shared("a")));
        let other = alike.shared("b");
        assert_eq!((*first, *other), ("a", "b"));
        assert_eq!(*alike.shared("a"), "a");
    }
}
