//! The two transactions of a write, and everything that may happen between them.

use crate::store::{LATER_MS, START_MS, Store, assert_fenced, deletes_of, node, refusal, rows_of, written};
use elanus_meta::model::{FileKind, FilePlace, Statistics};
use elanus_types::{PartitionId, Shard, Timestamp};
use std::collections::BTreeSet;

async fn a_file_is_invisible_until_its_commit_and_visible_after_it(store: Store) {
    let collection = store.collection("books").await;
    let places = [rows_of(collection.partitions[0].id), deletes_of(PartitionId::ALL)];
    let files = store.begin(collection.id, &places).await;
    assert_eq!(store.members(collection.id, None).await.len(), 0);
    let ts = store.commit(collection.id, &files).await.unwrap();
    let view = store.meta.view(collection.id, None).await.unwrap();
    assert_eq!(view.ts, ts);
    assert_eq!(view.schema, collection.definition.schema);
    assert_eq!(view.files.len(), 2);
    for file in &files {
        let seen = view.files.iter().find(|seen| seen.file_set == file.planned.file_set).unwrap();
        assert_eq!(seen.segment, file.planned.segment);
        assert_eq!((seen.partition, seen.shard, seen.kind), (file.place.partition, file.place.shard, file.place.kind));
        assert_eq!((seen.base_ts, seen.added_ts, seen.rows), (ts, ts, file.rows));
        let object = &seen.objects[0];
        assert_eq!((&object.key, object.size, object.checksum), (&file.planned.key, file.size, file.checksum));
        assert!(store.meta.keys().owns(&object.key));
    }
    assert_eq!(store.members(collection.id, Some(Timestamp(ts.0 - 1))).await.len(), 0);
}

async fn files_of_one_place_share_a_segment_until_it_is_sealed(store: Store) {
    let collection = store.collection("books").await;
    let place = rows_of(collection.partitions[0].id);
    let first = store.begin(collection.id, &[place, place]).await;
    assert_eq!(first[0].planned.segment, first[1].planned.segment);
    assert_ne!(first[0].planned.key, first[1].planned.key);
    store.commit(collection.id, &first).await.unwrap();
    let second = store.begin(collection.id, &[place]).await;
    assert_eq!(second[0].planned.segment, first[0].planned.segment);
    let others = [
        FilePlace { shard: Shard(1), ..place },
        FilePlace { kind: FileKind::Delete, ..place },
        FilePlace { partition: PartitionId::ALL, kind: FileKind::Delete, ..place },
    ];
    let mut segments: BTreeSet<_> =
        store.begin(collection.id, &others).await.iter().map(|file| file.planned.segment).collect();
    segments.insert(first[0].planned.segment);
    let of_another_node = store.meta.begin_write(collection.id, &node("w2"), LATER_MS, &[place]).await.unwrap();
    segments.insert(of_another_node[0].segment);
    assert_eq!(segments.len(), 5, "place, kind and writer each have their own");
}

async fn a_flush_seals_what_holds_something_and_later_files_go_elsewhere(store: Store) {
    let collection = store.collection("books").await;
    let place = rows_of(collection.partitions[0].id);
    let first = store.begin(collection.id, &[place]).await;
    let acknowledged = store.commit(collection.id, &first).await.unwrap();
    let late = store.begin(collection.id, &[place, deletes_of(place.partition)]).await;
    assert_eq!(late[0].planned.segment, first[0].planned.segment);
    let (sealed, ts) = store.coordinator.seal_segments(collection.id).await.unwrap();
    assert_eq!(sealed, [first[0].planned.segment], "not the one for deletes, which is empty");
    assert!(ts > acknowledged);

    store.commit(collection.id, &late).await.unwrap();
    let view = store.meta.view(collection.id, None).await.unwrap();
    let segment_of =
        |file: usize| view.files.iter().find(|f| f.file_set == late[file].planned.file_set).unwrap().segment;
    assert_ne!(segment_of(0), sealed[0], "a sealed segment never grows");
    assert_eq!(segment_of(1), late[1].planned.segment, "what was not sealed stays");
    let next = store.begin(collection.id, &[place]).await;
    assert_eq!(next[0].planned.segment, segment_of(0), "the fresh segment is the place's segment now");
}

async fn a_full_segment_is_sealed_by_the_write_that_filled_it(store: Store) {
    let collection = store.collection("books").await;
    let place = rows_of(collection.partitions[0].id);
    let mut segments = Vec::new();
    for rows in [999_999, 1, 5_000_000, 1] {
        let planned = store.meta.begin_write(collection.id, &node("w1"), LATER_MS, &[place]).await.unwrap();
        let mut files = written(&[place], planned, rows);
        files[0].size = 1;
        segments.push(files[0].planned.segment);
        store.commit(collection.id, &files).await.unwrap();
    }
    assert_eq!(segments[0], segments[1]);
    assert_eq!(segments.iter().collect::<BTreeSet<_>>().len(), 3, "{segments:?}");
}

async fn a_group_of_requests_takes_one_timestamp_for_each(store: Store) {
    let collection = store.collection("books").await;
    let place = rows_of(collection.partitions[0].id);
    let files = store.begin(collection.id, &[place]).await;
    let base = store.meta.commit_write(collection.id, &node("w1"), 5, &files).await.unwrap();
    assert_eq!(store.meta.last_ts(collection.id).await.unwrap(), Some(Timestamp(base.0 + 4)));
    let (_, next) = store.insert(collection.id, place.partition).await;
    assert_eq!(next, Timestamp(base.0 + 5), "the clock of the machine stands still");
    store.clock.advance_ms(-60_000);
    let (_, next) = store.insert(collection.id, place.partition).await;
    assert_eq!(next, Timestamp(base.0 + 6), "the clock of the machine went back");
    store.clock.advance_ms(120_000);
    let (_, next) = store.insert(collection.id, place.partition).await;
    assert_eq!(next, Timestamp::from_ms(START_MS + 60_000));
}

async fn a_commit_of_an_abandoned_intent_is_fenced_and_shows_nothing(store: Store) {
    let collection = store.collection("books").await;
    let place = rows_of(collection.partitions[0].id);
    let files = store.begin(collection.id, &[place, place]).await;
    let before = store.meta.last_ts(collection.id).await.unwrap();
    store.meta.abandon(&node("w1"), &[files[1].planned.file_set], "tested").await.unwrap();
    assert_fenced(store.commit(collection.id, &files).await);
    assert_fenced(store.commit(collection.id, &files[1..]).await);
    assert_eq!(store.members(collection.id, None).await.len(), 0);
    assert_eq!(store.meta.last_ts(collection.id).await.unwrap(), before, "the clock did not move");
    assert!(store.is_intent(&files[0]).await);
    assert!(!store.is_intent(&files[1]).await);
    store.commit(collection.id, &files[..1]).await.unwrap();
}

async fn an_intent_is_committed_renewed_and_abandoned_by_its_owner_alone(store: Store) {
    let collection = store.collection("books").await;
    let files = store.begin(collection.id, &[rows_of(collection.partitions[0].id)]).await;
    let id = files[0].planned.file_set;
    assert_fenced(store.meta.commit_write(collection.id, &node("w2"), 1, &files).await);
    assert_fenced(store.meta.renew(&node("w2"), &[id], LATER_MS).await);
    store.meta.abandon(&node("w2"), &[id], "tested").await.unwrap();
    assert!(store.is_intent(&files[0]).await);
    store.commit(collection.id, &files).await.unwrap();
}

async fn what_is_visible_is_not_abandoned_any_more(store: Store) {
    let collection = store.collection("books").await;
    let (file_set, ts) = store.insert(collection.id, collection.partitions[0].id).await;
    store.meta.abandon(&node("w1"), &[file_set], "tested").await.unwrap();
    store.meta.renew(&node("w1"), &[file_set], LATER_MS).await.unwrap();
    assert_eq!(store.members(collection.id, Some(ts)).await, [file_set].into());
}

async fn a_commit_that_comes_again_answers_the_same_timestamp_and_adds_nothing(store: Store) {
    let collection = store.collection("books").await;
    let place = rows_of(collection.partitions[0].id);
    let files = store.begin(collection.id, &[place, deletes_of(place.partition)]).await;
    let ts = store.meta.commit_write(collection.id, &node("w1"), 3, &files).await.unwrap();
    store.insert(collection.id, place.partition).await;
    let view = store.meta.view(collection.id, None).await.unwrap();
    let statistics = store.meta.statistics(collection.id, &[]).await.unwrap();
    assert_eq!(store.meta.commit_write(collection.id, &node("w1"), 3, &files).await.unwrap(), ts);
    assert_eq!(store.meta.view(collection.id, None).await.unwrap(), view);
    assert_eq!(store.meta.statistics(collection.id, &[]).await.unwrap(), statistics);
    let mixed = [files, store.begin(collection.id, &[place]).await].concat();
    assert_eq!(refusal(store.commit(collection.id, &mixed).await).0, 5, "files of two commits");
}

async fn a_write_into_a_collection_that_is_dropped_meanwhile_is_refused(store: Store) {
    let collection = store.collection("books").await;
    let files = store.begin(collection.id, &[rows_of(collection.partitions[0].id)]).await;
    store.coordinator.drop_collection(collection.id).await.unwrap();
    assert_eq!(refusal(store.commit(collection.id, &files).await).0, 100);
    assert!(store.is_intent(&files[0]).await, "left for its owner to abandon");
    store.meta.abandon(&node("w1"), &[files[0].planned.file_set], "tested").await.unwrap();
    assert!(!store.is_intent(&files[0]).await);
}

async fn a_write_into_a_partition_that_is_dropped_meanwhile_is_refused_as_a_whole(store: Store) {
    let collection = store.collection("books").await;
    let partition = store.coordinator.create_partition(collection.id, "p").await.unwrap().id;
    let places = [rows_of(collection.partitions[0].id), rows_of(partition)];
    let files = store.begin(collection.id, &places).await;
    store.coordinator.drop_partition(collection.id, "p").await.unwrap();
    let expected = (200, format!("partition not found[partition={partition}]"));
    assert_eq!(refusal(store.commit(collection.id, &files).await), expected);
    assert_eq!(store.members(collection.id, None).await.len(), 0);
    assert!(store.is_intent(&files[0]).await && store.is_intent(&files[1]).await);
    assert_eq!(refusal(store.meta.begin_write(collection.id, &node("w1"), LATER_MS, &places).await), expected);
    let of_another = store.collection("films").await.partitions[0].id;
    let refused = store.meta.begin_write(collection.id, &node("w1"), LATER_MS, &[rows_of(of_another)]).await;
    assert_eq!(refusal(refused).0, 200, "a partition of another collection");
}

async fn statistics_count_present_files_once(store: Store) {
    let collection = store.collection("books").await;
    let default = collection.partitions[0].id;
    let partition = store.coordinator.create_partition(collection.id, "p").await.unwrap().id;
    let places = [rows_of(default), rows_of(default), rows_of(partition), deletes_of(PartitionId::ALL)];
    let files = store.begin(collection.id, &places).await;
    store.commit(collection.id, &files).await.unwrap();
    let statistics = async |partitions: &[PartitionId]| store.meta.statistics(collection.id, partitions).await.unwrap();
    let all = Statistics { rows: 30, delete_records: 10, files: 4, bytes: 4_000, segments: 3 };
    assert_eq!(statistics(&[]).await, all);
    let one = Statistics { rows: 10, delete_records: 10, files: 2, bytes: 2_000, segments: 2 };
    assert_eq!(statistics(&[partition]).await, one);
    store.coordinator.drop_partition(collection.id, "p").await.unwrap();
    let rest = Statistics { rows: 20, delete_records: 10, files: 3, bytes: 3_000, segments: 2 };
    assert_eq!(statistics(&[]).await, rest);
}

on_every_store!(
    a_file_is_invisible_until_its_commit_and_visible_after_it,
    files_of_one_place_share_a_segment_until_it_is_sealed,
    a_flush_seals_what_holds_something_and_later_files_go_elsewhere,
    a_full_segment_is_sealed_by_the_write_that_filled_it,
    a_group_of_requests_takes_one_timestamp_for_each,
    a_commit_of_an_abandoned_intent_is_fenced_and_shows_nothing,
    an_intent_is_committed_renewed_and_abandoned_by_its_owner_alone,
    what_is_visible_is_not_abandoned_any_more,
    a_commit_that_comes_again_answers_the_same_timestamp_and_adds_nothing,
    a_write_into_a_collection_that_is_dropped_meanwhile_is_refused,
    a_write_into_a_partition_that_is_dropped_meanwhile_is_refused_as_a_whole,
    statistics_count_present_files_once,
);
