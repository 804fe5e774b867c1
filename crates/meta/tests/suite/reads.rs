//! A collection at a time, and what changed since.

use crate::store::{Store, deletes_of, node, refusal, rows_of};
use elanus_meta::model::FileRecord;
use elanus_types::{PartitionId, Timestamp};
use std::collections::BTreeSet;

async fn a_view_of_the_past_stays_what_it_was(store: Store) {
    let collection = store.collection("books").await;
    let (id, default) = (collection.id, collection.partitions[0].id);
    let empty = store.meta.view(id, None).await.unwrap();
    store.insert(id, default).await;
    let one = store.meta.view(id, None).await.unwrap();
    store.clock.advance_ms(5);
    store.coordinator.create_partition(id, "p").await.unwrap();
    store.insert(id, default).await;
    let two = store.meta.view(id, None).await.unwrap();
    store.coordinator.drop_collection(id).await.unwrap();
    for view in [empty, one, two] {
        assert_eq!(store.meta.view(id, Some(view.ts)).await.unwrap(), view);
    }
}

async fn a_collection_is_seen_only_between_its_creation_and_its_drop(store: Store) {
    let collection = store.collection("books").await;
    let id = collection.id;
    let (_, last) = store.insert(id, collection.partitions[0].id).await;
    assert_eq!(refusal(store.meta.view(id, Some(Timestamp(collection.created_ts.0 - 1))).await).0, 100);
    store.coordinator.drop_collection(id).await.unwrap();
    assert_eq!(store.meta.view(id, Some(last)).await.unwrap().files.len(), 1);
    assert_eq!(refusal(store.meta.view(id, Some(Timestamp(last.0 + 1))).await).0, 100);
}

async fn a_view_of_the_future_is_the_view_of_now_and_misses_no_later_change(store: Store) {
    let collection = store.collection("books").await;
    let (id, default) = (collection.id, collection.partitions[0].id);
    let (_, ts) = store.insert(id, default).await;
    let view = store.meta.view(id, Some(Timestamp(ts.0 + 1_000))).await.unwrap();
    assert_eq!(view.ts, ts);
    let (later, later_ts) = store.insert(id, default).await;
    let changes = store.meta.changes(id, view.ts).await.unwrap().unwrap();
    assert_eq!(changes.ts, later_ts);
    assert_eq!(changes.added.iter().map(|file| file.file_set).collect::<Vec<_>>(), [later]);
}

async fn files_come_in_order_of_segment_and_file_set(store: Store) {
    let collection = store.collection("books").await;
    let (id, default) = (collection.id, collection.partitions[0].id);
    for n in 0..3 {
        let places = [deletes_of(PartitionId::ALL), rows_of(default), deletes_of(default)];
        let files = store.begin(id, &places[n % 2..]).await;
        store.commit(id, &files).await.unwrap();
        store.coordinator.seal_segments(id).await.unwrap();
    }
    let files = store.meta.view(id, None).await.unwrap().files;
    assert_eq!(files.len(), 8);
    assert!(files.is_sorted_by_key(|file| (file.segment, file.file_set)));
    assert!(files.iter().all(|file| file.objects.len() == 1));
}

async fn pages_of_a_listing_are_together_the_view_of_its_time(store: Store) {
    let collection = store.collection("books").await;
    let (id, default) = (collection.id, collection.partitions[0].id);
    // Another collection's segments stand between.
    let other = store.collection("films").await;
    let mut times = vec![store.meta.view(id, None).await.unwrap().ts];
    for name in ["p", "q"] {
        let partition = store.coordinator.create_partition(id, name).await.unwrap().id;
        for places in [vec![rows_of(default), deletes_of(PartitionId::ALL)], vec![rows_of(partition); 3]] {
            let files = store.begin(id, &places).await;
            times.push(store.commit(id, &files).await.unwrap());
            store.insert(other.id, other.partitions[0].id).await;
            store.coordinator.seal_segments(id).await.unwrap();
        }
    }
    store.clock.advance_ms(5);
    store.coordinator.drop_partition(id, "p").await.unwrap();
    times.push(store.meta.view(id, None).await.unwrap().ts);

    for (at, limit) in times.iter().flat_map(|at| [1, 2, 3, 100].map(|limit| (*at, limit))) {
        let mut listed: Vec<FileRecord> = Vec::new();
        loop {
            let page = store.meta.files_page(id, at, listed.last(), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
        }
        assert!(listed.is_sorted_by_key(|file| (file.partition, file.segment, file.file_set)));
        let members = store.meta.members_at(id, at).await.unwrap();
        let segments: BTreeSet<_> = listed.iter().map(|file| file.segment).collect();
        assert_eq!((members.file_sets, members.segments), (listed.len() as u64, segments.len() as u64));
        listed.sort_by_key(|file| (file.segment, file.file_set));
        assert_eq!(listed, store.meta.view(id, Some(at)).await.unwrap().files, "{at} {limit}");
    }
}

async fn a_file_that_came_and_went_is_no_change(store: Store) {
    let collection = store.collection("books").await;
    let id = collection.id;
    let partition = store.coordinator.create_partition(id, "p").await.unwrap().id;
    let (old, before) = store.insert(id, partition).await;
    store.insert(id, partition).await;
    store.coordinator.drop_partition(id, "p").await.unwrap();
    let changes = store.meta.changes(id, before).await.unwrap().unwrap();
    assert_eq!(changes.added, []);
    assert_eq!(changes.removed.iter().map(|(_, file_set)| *file_set).collect::<Vec<_>>(), [old]);
    let since = store.meta.changes(id, changes.ts).await.unwrap().unwrap();
    assert_eq!((since.added.len(), since.removed.len(), since.ts), (0, 0, changes.ts));
}

async fn what_was_committed_is_there_after_a_restart(store: Store) {
    let collection = store.collection("books").await;
    let (id, default) = (collection.id, collection.partitions[0].id);
    store.insert(id, default).await;
    let open = store.begin(id, &[rows_of(default)]).await;
    let (view, record) = (store.meta.view(id, None).await.unwrap(), store.record(id).await);
    let events = store.meta.next_events(100).await.unwrap();
    let epoch = store.coordinator.epoch();

    let store = store.reopened().await;
    assert_eq!(store.meta.view(id, None).await.unwrap(), view);
    assert_eq!(store.record(id).await, record);
    assert_eq!(store.meta.next_events(100).await.unwrap(), events);
    assert!(store.coordinator.epoch() > epoch);
    let ts = store.meta.commit_write(id, &node("w1"), 1, &open).await.unwrap();
    assert!(ts > view.ts, "time goes on");
}

on_every_store!(
    a_view_of_the_past_stays_what_it_was,
    a_collection_is_seen_only_between_its_creation_and_its_drop,
    a_view_of_the_future_is_the_view_of_now_and_misses_no_later_change,
    files_come_in_order_of_segment_and_file_set,
    pages_of_a_listing_are_together_the_view_of_its_time,
    a_file_that_came_and_went_is_no_change,
    what_was_committed_is_there_after_a_restart,
);
