//! The conformance suite: what every implementation of [`Client`](goku::Client) does, whatever it stands on.
//!
//! A case is an async function on a [`Probe`] of a fresh store; [`conformance_suite!`](crate::conformance_suite) names
//! each once and makes it a test on a [`Fixture`].
//!
//! The modules `model`, `replicas`, `traffic` and `wire` are beside the suite in this crate's tests.
//!
//! The original goku had the defects and weaknesses on the left; the cases on the right would notice their return.
//!
//! | what the original did | noticed by |
//! |---|---|
//! | B1 killed renewed leases at their old deadline | `expiry::a_renewed_lease_outlives_its_old_deadline` |
//! | B2 ended short leases late | `expiry::short_leases_end_one_after_the_other`, `expiry::leases_end_soon_after_their_deadlines` |
//! | B3 stalled streams at a burned event id | `set::refused_sets_leave_no_trace`, `stream::refused_writes_hold_up_no_stream` |
//! | B4 delayed events by ten seconds a burned id | `stream::refused_writes_hold_up_no_stream` |
//! | B5 compared keys by a collation | `hostile_keys::each_is_a_key_of_its_own` |
//! | B6 took `%`, `_`, `\` in prefixes for wildcards | `hostile_keys::each_is_found_by_every_prefix_of_its_own_only` |
//! | B7 lost events of streams from the beginning | `concurrency::concurrent_creates_get_all_ids_from_1_on` |
//! | B8 shared a cache between stores of one process | `isolation::two_stores_never_touch_each_other` |
//! | B9 let a negative cursor write into the log | `stream::a_negative_position_is_none`, on the wire `wire::a_negative_cursor_is_refused_and_harms_nobody` |
//! | B10 crashed at a stream request without `req` | `wire::a_stream_request_without_req_is_answered` |
//! | B11 stored values whose events were too large to deliver | `set::the_largest_entry_can_be_read_listed_and_streamed`, `set::an_entry_over_the_limit_is_refused_and_harms_nobody` |
//! | B12 lost wake-ups between a read and a wait | `stream::an_event_wakes_a_waiting_stream_every_time` |
//! | B13 read behind its own writes | `get::reads_see_every_write_that_was_answered`, `replicas::a_write_at_one_is_read_at_the_other` |
//! | B14 cut timestamps to seconds, mixed clocks | `stream::timestamps_are_of_the_stores_time_in_milliseconds`, `expiry::no_lease_ends_before_its_deadline` |
//! | B15 failed for deadlocks | `concurrency::transactions_in_opposite_orders_do_not_deadlock`, `replicas::transactions_at_both_never_fail_for_each_other` |
//! | B16 ignored that a caller had gone | `concurrency::callers_that_give_up_harm_nobody` |
//! | B17 took version 0 for no condition | `set::a_version_of_0_is_no_version_and_absent_guards` |
//! | W1 refused most concurrent writers of one key | `concurrency::writers_to_one_key_are_queued_not_refused` |
//! | W2 burned event ids with each refusal | the same, `set::refused_sets_leave_no_trace` |
//! | W3 saw events of other replicas ten seconds late | `replicas::an_event_of_one_wakes_a_stream_of_the_other` |
//! | W4 read all values for every subscriber | `traffic::a_stream_fetches_the_values_of_its_prefix_only` |
//! | W7 held thousands of events with their values | `traffic::a_stream_that_is_not_read_on_fetches_no_more` |
//! | W8 leaked a task for each listing left halfway | `list::listings_dropped_halfway_leave_nothing_behind` |
//! | W9 leaked a listener for each idle stream | `stream::dropped_streams_leave_nothing_behind` |
//! | W10 held up all streams while one loaded | `stream::a_stream_that_nobody_reads_holds_up_no_other` |
//! | W11 left the cursors of quiet prefixes far behind | `stream::progress_tells_how_far_a_quiet_stream_is` |
//! | W12 let the expiry of a large lease lose to any Set | `expiry::a_large_lease_expires_while_its_keys_are_set`, `expiry::a_lease_with_many_keys_ends_in_steps` |
#![allow(missing_docs, reason = "the name of a case says what it checks")]

pub mod byte_keys;
pub mod chosen_lease;
pub mod concurrency;
pub mod consumer;
pub mod cursor;
pub mod delete;
pub mod expiry;
pub mod failing;
pub mod get;
pub mod group;
pub mod history;
pub mod hostile_keys;
pub mod isolation;
pub mod lease;
pub mod list;
pub mod origin;
pub mod past;
pub mod set;
pub mod setting;
pub mod status;
pub mod stream;
pub mod txn;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use goku::Admin;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use crate::fixture::Fixture;
use crate::probe::{PATIENCE, Probe};

/// How long one case may take: many times what it does, and less than the pauses of ten seconds that the original made
/// would add up to.
const CASE_LIMIT: Duration = Duration::from_secs(90);

/// Tasks that may come and go by themselves while leaks are looked for among a hundred.
const STRAY_TASKS: usize = 20;

/// Runs a case on a store of its own, and stops the store after it.
pub async fn check<F: Fixture, C: Future<Output = ()>>(case: impl FnOnce(Probe) -> C) {
    let fixture = F::start().await;
    limited(case(Probe::new(fixture.client()))).await;
    stop(fixture).await;
}

/// Runs a case on a store of its own with its operators' interface, and stops the store after it.
pub async fn check_admin<F: Fixture, C: Future<Output = ()>>(case: impl FnOnce(Probe, Arc<dyn Admin>) -> C) {
    let fixture = F::start().await;
    limited(case(Probe::new(fixture.client()), fixture.admin())).await;
    stop(fixture).await;
}

/// Runs a case on two stores of its own.
pub async fn check_pair<F: Fixture, C: Future<Output = ()>>(case: impl FnOnce(Probe, Probe) -> C) {
    let (one, other) = (F::start().await, F::start().await);
    limited(case(Probe::new(one.client()), Probe::new(other.client()))).await;
    stop(one).await;
    stop(other).await;
}

async fn limited(case: impl Future<Output = ()>) {
    let done = timeout(CASE_LIMIT, case).await;
    assert!(done.is_ok(), "the case took more than {CASE_LIMIT:?}");
}

async fn stop(fixture: impl Fixture) {
    let stopped = timeout(PATIENCE, fixture.stop()).await;
    assert!(stopped.is_ok(), "the store did not stop for {PATIENCE:?}");
}

/// How many tasks live now, to compare with later.
async fn settled_tasks() -> usize {
    tokio::task::yield_now().await;
    Handle::current().metrics().num_alive_tasks()
}

/// Waits until no more tasks live than `before`.
async fn tasks_return_to(before: usize) {
    let returned = timeout(PATIENCE, async {
        while Handle::current().metrics().num_alive_tasks() > before + STRAY_TASKS {
            sleep(Duration::from_millis(5)).await;
        }
    });
    let returned = returned.await;
    let now = Handle::current().metrics().num_alive_tasks();
    assert!(returned.is_ok(), "{now} tasks live, and there were {before}");
}

/// Makes every case of the suite a test on the named [`Fixture`].
#[macro_export]
macro_rules! conformance_suite {
    ($fixture:ty) => {
        $crate::conformance_suite! { @cases $fixture;
            set:
                a_new_key_has_version_1_and_its_event_as_refs
                a_fresh_store_counts_events_leases_and_revisions_from_1
                a_second_set_raises_the_version_and_keeps_the_creation
                versions_go_on_across_deletion_and_re_creation
                conditions_on_a_live_key
                conditions_on_a_deleted_key
                conditions_on_a_missing_key
                a_ref_names_the_last_event_only
                a_version_of_0_is_no_version_and_absent_guards
                a_ref_of_0_is_no_ref
                refused_sets_leave_no_trace
                the_condition_is_checked_before_the_lease
                a_refused_set_leaves_its_lease_as_it_was
                an_empty_value_is_a_value
                a_value_may_hold_any_bytes
                a_large_value_goes_everywhere
                the_largest_entry_can_be_read_listed_and_streamed
                an_entry_over_the_limit_is_refused_and_harms_nobody
            ;
            delete:
                a_missing_key_is_not_found
                a_deleted_key_is_not_found
                the_answer_is_the_state_that_it_left
                the_key_is_gone_from_get_and_list
                conditions_on_a_live_key
                a_ref_names_the_last_event_only
                a_condition_on_what_does_not_exist_is_not_found
                the_lease_stays_as_it_was_and_can_be_used
                makes_one_event_without_a_value
                a_deleted_key_can_be_set_on_its_tombstones_version_only
            ;
            get:
                a_missing_key_is_not_found
                a_deleted_key_is_not_found
                reads_see_every_write_that_was_answered
                concurrent_gets_each_get_their_own
                concurrent_gets_of_large_values
            ;
            list:
                keys_come_in_the_order_of_their_bytes
                an_empty_store_lists_nothing
                a_prefix_is_exact
                entries_are_what_get_answers
                a_limit_is_kept
                a_start_is_where_it_begins
                keys_only_leaves_the_values_out
                pages_go_through_everything_once
                a_listing_of_many_keys_is_whole
                large_values_are_listed_whole
                a_listing_shows_one_point_in_history
                an_empty_listing_tells_its_point_in_history
                listing_then_streaming_misses_and_repeats_nothing
                listings_dropped_halfway_leave_nothing_behind
                every_snapshot_tells_its_revision
            ;
            history:
                a_history_is_the_keys_part_of_the_log_backwards
                a_history_begins_where_it_is_told_to
                a_long_history_comes_in_pages
                a_history_of_large_values_comes_in_pages
            ;
            past:
                a_list_at_an_event_is_what_a_list_was_then
                a_get_at_an_event_is_what_a_get_was_then
                the_snapshot_of_a_read_in_the_past_is_a_position
                an_event_that_is_still_to_come_is_refused
            ;
            origin:
                each_event_of_a_request_tells_where_it_comes_from
                a_live_stream_tells_it_too
                requests_at_once_are_not_mixed_up
                a_refused_request_leaves_its_origin_nowhere
                a_repeated_write_keeps_the_origin_of_the_first_time
            ;
            chosen_lease:
                a_chosen_id_is_never_one_that_the_store_gives_out
                an_id_is_granted_once_as_long_as_it_lives
                a_key_attached_to_a_lease_lives_by_it_and_leaves_it_alone
                a_detached_key_has_no_lease_that_was_granted
                a_key_that_stays_with_its_lease_changes_nothing_of_it
                a_plain_set_takes_its_key_out_of_a_chosen_lease_and_leaves_that
                an_event_tells_whether_its_lease_was_granted
            ;
            lease:
                every_created_key_gets_a_lease_of_its_own
                a_new_keys_lease_has_version_1_and_the_deadline_asked_for
                a_set_through_a_lease_raises_its_version
                expiry_of_a_set_on_its_lease
                a_deadline_set_through_one_key_holds_for_all
                a_set_without_a_lease_keeps_the_keys_lease
                a_re_created_key_gets_a_new_lease
                a_lease_that_does_not_exist_is_not_found
                granted_by_time_to_live
                granted_by_deadline_or_without
                granted_ids_and_those_of_keys_count_together
                a_time_to_live_has_bounds
                an_update_changes_the_deadline_and_makes_no_event
                an_updated_lease_reads_as_it_was_answered
                a_keep_alive_starts_the_time_to_live_anew
                a_keep_alive_needs_a_time_to_live
                expiring_a_lease_deletes_its_live_keys
                an_expired_lease_is_gone
                an_expired_key_can_be_set_again_and_goes_on_in_version
                a_lease_without_keys_expires_without_an_event
                listed_are_leases_that_stand_for_themselves
                leases_are_listed_in_pages
                the_keys_of_a_lease_are_listed_in_pages
                the_keys_of_a_lease_without_a_deadline_are_known
                the_first_and_the_last_deadline_are_deadlines
                a_keys_own_lease_outlives_its_deletion
                a_keys_own_lease_goes_when_the_key_is_re_created
                a_keys_own_lease_goes_when_the_key_moves
                a_keys_own_lease_can_be_named_updated_and_expired
                a_lease_that_stands_for_itself_outlives_its_keys
            ;
            expiry:
                short_leases_end_one_after_the_other
                leases_end_soon_after_their_deadlines
                no_lease_ends_before_its_deadline
                a_renewed_lease_outlives_its_old_deadline
                keep_alives_keep_a_lease_alive
                a_time_to_live_counts_from_its_event
                a_deadline_moved_nearer_counts
                a_deadline_in_the_past_ends_the_lease_at_once
                a_key_whose_lease_ended_is_created_anew
                every_key_of_a_lease_ends_with_it_in_one_revision
                many_leases_end_at_once
                a_large_lease_expires_while_its_keys_are_set
                a_lease_with_many_keys_ends_in_steps
                a_lease_that_ends_in_steps_is_over_at_once
            ;
            stream:
                an_event_tells_the_whole_story_of_its_change
                timestamps_are_of_the_stores_time_in_milliseconds
                each_change_makes_one_event_of_its_type
                an_empty_log_is_at_its_head
                a_prefix_filters_by_bytes
                after_is_exclusive
                from_head_begins_after_what_is_there
                from_head_to_head_is_over_at_once
                the_head_of_a_stream_to_head_is_that_of_the_request
                a_stream_to_head_ends_though_nothing_matches
                a_position_beyond_the_head_waits
                a_negative_position_is_none
                resumes_after_the_position_of_an_event
                a_position_of_another_history_is_lost
                streams_opened_at_any_time_see_the_same_log
                an_event_wakes_a_waiting_stream_every_time
                refused_writes_hold_up_no_stream
                only_the_types_asked_for_are_delivered
                a_live_stream_filters_by_type_too
                progress_tells_how_far_a_quiet_stream_is
                progress_is_never_ahead_of_what_was_delivered
                no_progress_unless_asked_for
                a_lag_holds_events_back_until_they_are_so_old
                a_lag_delays_what_was_there_before_too
                a_lag_to_head_ends_before_what_is_too_young
                the_last_position_of_all_is_a_position
                a_stream_of_no_type_delivers_nothing
                a_partition_has_the_events_of_its_keys
                many_small_streams_each_see_their_own
                a_stream_that_nobody_reads_holds_up_no_other
                large_events_are_delivered_from_the_log_and_live
                dropped_streams_leave_nothing_behind
                events_of_one_commit_share_its_tag
            ;
            txn:
                compares_of_a_live_key
                compares_of_a_missing_key
                compares_of_a_deleted_key_are_those_of_a_missing_one
                compares_of_existence
                existence_has_no_order
                all_comparisons_must_hold
                comparisons_see_the_state_before_any_write
                operations_see_the_earlier_ones
                answers_are_those_of_the_single_calls
                all_events_have_one_revision_and_one_tag
                an_operation_that_fails_undoes_all
                conditions_of_operations_see_the_earlier_ones
                deleting_what_does_not_exist_has_no_effect
                sets_use_leases_as_single_sets_do
                a_lease_that_an_operation_left_is_gone_for_the_next
                a_transaction_that_only_reads_has_no_revision
                an_empty_transaction_succeeds
                reading_transactions_see_one_state
                at_is_where_a_stream_goes_on
                as_many_operations_as_the_limit_says
                as_many_rows_as_the_limit_says
                as_many_bytes_as_the_limit_says
                keys_with_anything_in_them
            ;
            consumer:
                every_event_is_handled_in_order_and_the_next_run_goes_on
                an_event_that_fails_is_tried_again_and_those_after_it_wait
                it_tells_how_far_it_is_behind
                a_handler_that_panics_has_failed_an_attempt
                a_handler_may_end_the_run
                dead_letters_are_kept_listed_and_replayed
                a_consumer_of_everything_is_not_given_dead_letters
                what_fails_again_and_again_may_be_skipped
                from_the_head_on_nothing_older_is_delivered
                the_current_state_may_come_first
                batches_are_full_or_due
                of_a_batch_that_fails_only_what_is_at_fault_is_dead
                several_are_under_way_with_each_keys_in_order
                the_cursor_stands_before_what_is_not_acknowledged
                what_is_not_acknowledged_at_the_end_is_repeated
                a_quiet_prefix_moves_its_cursor_too
                events_are_delivered_only_once_they_are_old_enough
                a_reset_moves_a_consumer_that_runs
                one_of_two_that_run_at_once_ends_when_the_other_is_ahead
                partitions_are_handled_apart_and_a_newer_holder_takes_over
                a_cursor_of_another_history_ends_the_run
                a_spec_that_cannot_be_right_is_refused
                waiting_ends_with_the_first_state_or_event_that_is_it
            ;
            failing:
                the_first_that_fails_is_told_of_until_it_succeeds
                what_failed_at_the_end_is_told_of_no_longer
                what_fails_in_a_group_is_told_of_by_partition
            ;
            group:
                members_share_the_partitions_and_nothing_is_lost_or_out_of_order
                one_that_joins_gets_its_share_and_one_that_leaves_gives_it_up
                the_partitions_of_one_that_dies_are_taken_over
                one_that_stood_still_is_refused_and_joins_anew
                a_lease_that_cannot_be_renewed_ends_the_handling
                another_number_of_partitions_is_refused
                a_consumer_alone_is_refused_under_the_name_of_a_group
                a_group_goes_on_where_a_consumer_alone_has_come_to
                a_group_at_the_head_begins_at_the_same_place_everywhere
                a_group_that_runs_is_reset_again_and_again
                a_group_of_everything_is_not_given_its_own_keys
                members_beyond_the_partitions_wait
                a_group_is_repartitioned_and_nothing_is_lost
                a_group_without_members_can_be_forgotten
                a_group_that_cannot_be_right_is_refused
                a_member_whose_handler_ends_the_run_leaves_at_once
            ;
            cursor:
                a_cursor_is_read_as_it_was_moved
                a_cursor_moves_on_and_never_back_by_accident
                a_move_that_is_sent_again_is_answered_as_before
                a_newer_holder_takes_over_and_an_older_one_is_fenced
                a_reset_moves_a_cursor_anywhere_and_fences_its_holder
                a_place_of_another_history_is_lost
                each_move_of_a_request_stands_for_itself
                requests_have_bounds
                cursors_are_listed_in_pages
                deleted_cursors_are_gone
                cursors_make_no_events
                a_stream_from_a_cursor_misses_and_repeats_nothing
                concurrent_moves_take_no_cursor_back
                of_concurrent_holders_the_last_one_stays
            ;
            status:
                of_an_empty_store
                counts_what_is_there
                the_epoch_is_one_and_the_same_everywhere
                time_never_goes_back
            ;
            byte_keys:
                each_is_a_key_of_its_own
                each_is_found_by_every_prefix_of_its_own_only
                a_list_goes_on_at_each
                each_is_deleted_alone_and_made_anew
                each_reaches_a_live_stream_of_its_prefix
                a_transaction_takes_them_everywhere
                they_live_by_leases_as_others_do
                a_key_has_1_to_1024_bytes
            ;
            hostile_keys:
                each_is_a_key_of_its_own
                each_is_found_by_every_prefix_of_its_own_only
                each_can_be_deleted_alone
                each_reaches_a_live_stream_of_its_prefix
                a_key_has_1_to_255_bytes
            ;
            concurrency:
                writers_to_one_key_are_queued_not_refused
                concurrent_creates_get_all_ids_from_1_on
                one_of_many_conditional_creates_succeeds
                conditional_increments_lose_nothing
                the_log_replayed_is_the_state
                transactions_in_opposite_orders_do_not_deadlock
                callers_that_give_up_harm_nobody
                a_key_that_moves_survives_the_end_of_its_old_lease
                reads_never_go_back_behind_an_answered_write
            ;
        }
        $crate::conformance_suite! { @admins $fixture;
            setting:
                a_setting_is_what_it_was_set_to
                a_change_of_a_setting_is_no_event_and_no_revision
                a_condition_of_a_change_is_kept
                of_changes_at_once_on_one_condition_one_is_made
                settings_are_changed_together_or_not_at_all
                changes_and_writes_at_once_are_all_made
                what_is_no_setting_is_refused
                settings_and_their_changes_come_in_pages
                the_changes_of_a_setting_tell_who_made_which
            ;
        }
        $crate::conformance_suite! { @pairs $fixture;
            isolation:
                two_stores_never_touch_each_other
                a_lease_of_one_store_is_none_of_the_other
            ;
        }
    };
    (@cases $fixture:ty; $($noun:ident: $($case:ident)*;)*) => {
        $(
            mod $noun {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        $crate::conformance::check::<$fixture, _>($crate::conformance::$noun::$case).await;
                    }
                )*
            }
        )*
    };
    (@admins $fixture:ty; $($noun:ident: $($case:ident)*;)*) => {
        $(
            mod $noun {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        $crate::conformance::check_admin::<$fixture, _>($crate::conformance::$noun::$case).await;
                    }
                )*
            }
        )*
    };
    (@pairs $fixture:ty; $($noun:ident: $($case:ident)*;)*) => {
        $(
            mod $noun {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        $crate::conformance::check_pair::<$fixture, _>($crate::conformance::$noun::$case).await;
                    }
                )*
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    /// A case that is not named in the list would never run.
    #[test]
    fn every_case_is_in_the_suite() {
        let suite = include_str!("conformance.rs");
        let (_, list) = suite.split_once("macro_rules!").unwrap();
        let nouns = [
            ("concurrency", include_str!("conformance/concurrency.rs")),
            ("consumer", include_str!("conformance/consumer.rs")),
            ("cursor", include_str!("conformance/cursor.rs")),
            ("delete", include_str!("conformance/delete.rs")),
            ("expiry", include_str!("conformance/expiry.rs")),
            ("failing", include_str!("conformance/failing.rs")),
            ("get", include_str!("conformance/get.rs")),
            ("group", include_str!("conformance/group.rs")),
            ("byte_keys", include_str!("conformance/byte_keys.rs")),
            ("chosen_lease", include_str!("conformance/chosen_lease.rs")),
            ("history", include_str!("conformance/history.rs")),
            ("hostile_keys", include_str!("conformance/hostile_keys.rs")),
            ("isolation", include_str!("conformance/isolation.rs")),
            ("lease", include_str!("conformance/lease.rs")),
            ("list", include_str!("conformance/list.rs")),
            ("origin", include_str!("conformance/origin.rs")),
            ("past", include_str!("conformance/past.rs")),
            ("set", include_str!("conformance/set.rs")),
            ("setting", include_str!("conformance/setting.rs")),
            ("status", include_str!("conformance/status.rs")),
            ("stream", include_str!("conformance/stream.rs")),
            ("txn", include_str!("conformance/txn.rs")),
        ];
        for (noun, source) in nouns {
            let (_, listed) = list.split_once(&format!(" {noun}:\n")).unwrap();
            let (listed, _) = listed.split_once(';').unwrap();
            let listed: Vec<&str> = listed.split_whitespace().collect();
            let cases: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
                .collect();
            assert_eq!(listed, cases, "{noun}");
        }
    }

    /// A table that names tests which are not there would reassure for nothing.
    #[test]
    fn every_case_that_the_table_names_is_there() {
        let modules = [
            ("concurrency", include_str!("conformance/concurrency.rs")),
            ("expiry", include_str!("conformance/expiry.rs")),
            ("failing", include_str!("conformance/failing.rs")),
            ("get", include_str!("conformance/get.rs")),
            ("hostile_keys", include_str!("conformance/hostile_keys.rs")),
            ("isolation", include_str!("conformance/isolation.rs")),
            ("list", include_str!("conformance/list.rs")),
            ("replicas", include_str!("../tests/it/replicas.rs")),
            ("set", include_str!("conformance/set.rs")),
            ("stream", include_str!("conformance/stream.rs")),
            ("traffic", include_str!("../tests/it/traffic.rs")),
            ("wire", include_str!("../tests/it/wire.rs")),
        ];
        let table = include_str!("conformance.rs")
            .lines()
            .filter(|line| line.starts_with("//! | "));
        let named: Vec<&str> = table
            .flat_map(|line| line.split('`').filter(|part| part.contains("::")))
            .collect();
        assert!(named.len() > 30);
        for name in named {
            let (module, case) = name.split_once("::").unwrap();
            let (_, source) = modules.iter().find(|(name, _)| *name == module).unwrap();
            assert!(source.contains(&format!("async fn {case}(")), "{name}");
        }
    }
}
