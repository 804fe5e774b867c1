//! The accident, replayed: two real processes with different metadata on one root path. Not one file of the other is
//! deleted, changed or added to, and what the operator is told says what happened. Everything that is dropped is deleted at
//! once here, so that a collector that takes what is not its own has no time to be saved by.
//!
//! Every story is told in a local directory and in a bucket. In a directory the lock of a running process is in the way of a
//! second one as well; in a bucket there is nothing but the marker.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod foreign;
mod place;
mod rebuild;
mod stories;

macro_rules! everywhere {
    ($($file:ident::$story:ident,)*) => {
        mod in_a_directory {
            $(#[tokio::test]
            async fn $story() {
                crate::$file::$story(crate::place::Place::directory()).await;
            })*
        }

        mod in_a_bucket {
            $(#[tokio::test]
            async fn $story() {
                crate::$file::$story(crate::place::Place::bucket().await).await;
            })*
        }
    };
}

everywhere! {
    stories::a_second_cluster_is_refused_while_the_first_one_runs_and_after_it,
    stories::a_forced_takeover_stops_the_old_owner_and_touches_none_of_its_files,
    stories::a_marker_that_was_deleted_stops_deletes_and_lets_no_second_cluster_in,
    stories::metadata_from_yesterday_deletes_nothing_until_it_is_reconciled,
    stories::a_backup_of_a_running_server_is_known_as_one_from_the_first_deletion_on,
    stories::two_copies_of_the_metadata_are_told_apart_whatever_their_numbers_say,
    stories::a_bucket_that_another_system_fills_is_refused_and_shared_only_when_that_is_said,
    stories::a_copied_bucket_with_other_metadata_is_refused_and_with_its_own_is_another_place,
    stories::a_root_path_in_another_one_is_refused,
    foreign::g_3_the_folder_of_a_former_owner_is_emptied_and_not_one_byte_beside_it,
    foreign::a_root_path_that_is_somebody_elses_is_read_and_not_touched,
}
