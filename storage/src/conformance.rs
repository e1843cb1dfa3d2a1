//! Every promise of [`Store`], as a function over any store.
//!
//! A store is one when [`all`] returns: each promise is a function that panics when it is broken.

mod commits;
#[cfg(all(test, feature = "redb"))]
mod differential;
mod reads;
pub(crate) mod rows;

pub use commits::*;
pub use reads::*;

use crate::store::Store;

/// Makes the stores a promise is tried on.
pub trait Factory {
    /// The store.
    type Store: Store;

    /// An empty store that shares nothing with earlier ones.
    fn fresh(&self) -> Self::Store;

    /// Closes a store and opens what it left; the same store where nothing outlives it.
    fn reopen(&self, store: Self::Store) -> Self::Store;
}

/// Writes down the promises once: for [`all`], and as one test per promise and store.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        /// Tries every promise.
        ///
        /// # Panics
        /// When a promise is broken.
        pub fn all(factory: &impl Factory) {
            $($promise(factory);)*
        }

        #[cfg(test)]
        mod tests {
            mod memory {
                $(#[test] fn $promise() { super::super::$promise(&crate::conformance::stores::Memory) })*
            }
            #[cfg(feature = "redb")]
            mod redb {
                $(#[test] fn $promise() { super::super::$promise(&crate::conformance::stores::File::new()) })*
            }
        }
    };
}

promises! {
    a_start_is_found_by_id_and_number,
    a_taken_id_is_a_conflict_that_carries_the_row,
    a_taken_number_is_a_conflict_that_carries_the_row,
    a_stale_etag_is_refused,
    a_stale_lease_is_refused,
    a_lease_on_a_task_that_does_not_run_is_refused,
    a_lease_does_not_compare_the_etag,
    an_unknown_task_is_a_conflict_without_a_row,
    a_refused_commit_writes_nothing,
    a_refused_commit_does_not_hinder_its_neighbours,
    a_commit_sees_the_commits_before_it,
    one_task_changes_several_times_in_a_batch,
    two_starts_of_one_id_in_a_batch_make_one_task,
    a_commit_without_a_row_keeps_the_etag,
    a_malformed_commit_stops_its_whole_batch,
    what_is_malformed_is_refused,
    counters_only_grow_and_survive_a_reopen,
    a_definition_keeps_its_number,
    due_is_ordered_by_priority_then_time_then_number,
    due_tells_when_the_next_task_becomes_due,
    due_at_open_lists_only_what_is_looked_at_once,
    a_claimed_task_is_running_and_not_due,
    an_ended_task_is_neither_due_nor_running,
    scans_page_through_everything_once,
    pages_are_bounded,
    values_come_back_as_given,
    inputs_wait_in_order,
    receipts_come_back,
    everything_survives_a_reopen,
}

#[cfg(test)]
pub(crate) mod stores;
