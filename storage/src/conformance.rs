//! Every promise of [`Store`], as a function over any store.
//!
//! A store is one when [`all`] returns: each promise is a function that panics when it is broken.

mod asks;
mod commits;
#[cfg(all(test, feature = "redb"))]
pub(crate) mod differential;
mod families;
mod hanging;
mod indexes;
mod lists;
mod lives;
mod log;
mod removal;
pub(crate) mod rows;
mod settling;
mod steps;
mod stream;

pub use asks::*;
pub use commits::*;
pub use families::*;
pub use hanging::*;
pub use indexes::*;
pub use lists::*;
pub use lives::*;
pub use log::*;
pub use removal::*;
pub use settling::*;
pub use steps::*;
pub use stream::*;

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
            #[cfg(feature = "seal")]
            mod sealed {
                $(#[test] fn $promise() { super::super::$promise(&crate::conformance::stores::Sealed) })*
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
    ids_are_found_by_their_beginning,
    due_follows_each_line_of_time,
    due_tells_when_the_next_task_becomes_due,
    due_exactly_lists_one_moment,
    an_isolated_task_is_never_due,
    a_claimed_task_is_running_and_not_due,
    an_ended_task_is_neither_due_nor_running,
    scans_page_through_everything_once,
    a_label_lists_its_tasks_newest_first,
    expired_tasks_come_in_order_of_time,
    pages_are_bounded,
    values_come_back_as_given,
    inputs_wait_in_order,
    an_input_is_marked_in_its_place,
    receipts_come_back,
    receipts_expire_in_order_of_time,
    a_receipt_is_listed_where_it_was_put_last,
    a_receipt_is_kept_on,
    a_receipt_is_removed_when_its_time_has_come,
    a_later_turn_overwrites_the_slot,
    runs_come_in_order_and_bounded,
    steps_are_found_by_their_keys,
    steps_are_listed_by_key,
    forgotten_steps_go_in_bounded_steps,
    a_child_does_not_change_its_parent, a_family_that_is_over_lasts_as_long_as_its_children, a_former_child_is_listed_no_more, an_end_is_counted_with_the_removal_of_the_child, children_are_listed_under_their_turn, ends_of_children_are_counted, questions_are_found_by_their_keys, questions_are_listed_by_task_and_key, questions_go_with_their_task, the_children_of_a_removed_parent_are_found,
    segments_come_in_order,
    a_page_begins_with_the_next_sequence_number,
    a_page_of_segments_is_bounded,
    the_end_of_a_stream_is_known,
    an_append_leaves_the_row_alone,
    segments_are_evicted_from_the_front,
    the_stream_of_a_removed_task_is_gone,
    a_malformed_segment_is_refused,
    everything_survives_a_reopen,
    a_removal_frees_the_id,
    a_removal_leaves_no_index_entry,
    a_last_row_and_the_removal_are_one_commit,
    a_stale_removal_is_refused,
    a_removal_is_seen_by_the_commits_after_it,
    a_task_may_come_and_go_in_one_batch,
    a_malformed_removal_is_refused,
    what_hung_on_a_removed_task_is_gone_for_readers,
    what_hung_on_a_removed_task_goes_in_bounded_steps,
    events_come_in_order,
    pages_of_the_log_are_bounded,
    the_log_is_trimmed_in_bounded_steps,
    as_many_events_stay_as_asked_for,
    the_log_is_trimmed_by_age,
    the_log_outlives_its_tasks,
    lives_come_newest_first,
    a_life_is_overwritten_by_its_own_instance,
    lives_are_bounded,
    indexes_are_replaced_as_a_whole,
    what_became_of_a_batch_is_told,
    a_removal_of_what_its_batch_began_tells_nothing,
    what_leaves_no_trace_changes_nothing_twice,
}

#[cfg(test)]
pub(crate) mod stores;
