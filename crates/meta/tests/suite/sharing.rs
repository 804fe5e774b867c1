//! Snapshots that share the manifests of an earlier one, and the changes between two times.

use crate::restoring::{assert_quiet, damage, files_of, new_snapshot, number, snapshot, sweep};
use crate::store::{LATER_MS, Store, deletes_of, node, rows_of};
use elanus_meta::model::{Created, FileRecord, MembershipChanges, SnapshotBase, SnapshotFiles, SnapshotRecord, Totals};
use elanus_meta::{MetaError, Result};
use elanus_types::{CollectionId, FileSetId, PartitionId, SegmentId};
use std::collections::{BTreeMap, BTreeSet};

/// A pending snapshot and what it may build on.
async fn begin(
    store: &Store,
    collection: CollectionId,
    name: &str,
) -> (SnapshotRecord, SnapshotBase, MembershipChanges) {
    let created = store.coordinator.create_snapshot(new_snapshot(collection, name, LATER_MS)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    let (base, changes) = store.meta.changes_since_base(&created).await.unwrap().unwrap();
    (created, base, changes)
}

async fn commit(store: &Store, id: &SnapshotRecord, base: &SnapshotBase, manifests: usize) -> Result<SnapshotRecord> {
    let writer = node("writer");
    let plan = store.coordinator.begin_snapshot_files(id.id, &writer, LATER_MS, manifests).await?;
    let files = SnapshotFiles { base: Some(base.clone()), ..files_of(plan) };
    store.coordinator.commit_snapshot(id.id, &writer, &files, Totals::default()).await
}

async fn a_shared_manifest_has_a_reference_for_each_snapshot_that_names_it(store: Store) {
    let books = store.collection("books").await.id;
    let first = snapshot(&store.coordinator, books, "first").await;
    let (second, base, _) = begin(&store, books, "second").await;
    assert_eq!((base.id, base.create_ts, base.totals), (first.id, first.create_ts, first.totals));
    commit(&store, &second, &base, 1).await.unwrap();
    let (third, base, changes) = begin(&store, books, "third").await;
    assert_eq!((base.id, changes), (second.id, MembershipChanges::default()));
    commit(&store, &third, &base, 0).await.unwrap();
    commit(&store, &third, &base, 0).await.expect_err("another attempt's metadata object");

    let manifests = async |of: &SnapshotRecord| store.meta.snapshot_manifests(of.id).await.unwrap();
    let (of_first, of_second, of_third) = (manifests(&first).await, manifests(&second).await, manifests(&third).await);
    assert_eq!((of_first.len(), of_second.len()), (1, 2));
    assert_eq!(of_first[0], of_second[0], "the shared ones come first");
    assert_eq!(of_second, of_third);
    let refs = "SELECT refs * 10 + 1 FROM file_sets WHERE kind = 'manifest' AND refs > 1 ORDER BY file_set_id";
    assert_eq!(number(&store.url, refs).await, 31);
    assert_eq!(
        number(&store.url, "SELECT CAST(SUM(refs) AS BIGINT) FROM file_sets WHERE state = 'live'").await,
        3 + 2 + 3
    );
    sweep(&store.coordinator).await.unwrap();
    assert_quiet(&store.url).await;
}

async fn a_snapshot_builds_on_the_newest_committed_one_before_it(store: Store) {
    let books = store.collection("books").await.id;
    let early = store.coordinator.create_snapshot(new_snapshot(books, "early", LATER_MS)).await.unwrap();
    let Created::New(early) = early else { panic!("{early:?}") };
    let a = snapshot(&store.coordinator, books, "a").await;
    let b = snapshot(&store.coordinator, books, "b").await;
    assert_eq!(store.meta.changes_since_base(&early).await.unwrap(), None, "the others are later");
    assert_eq!(begin(&store, books, "c").await.1.id, b.id);
    store.coordinator.drop_snapshot(books, "b").await.unwrap();
    assert_eq!(begin(&store, books, "d").await.1.id, a.id, "neither a dropped one nor a pending one");
    store.coordinator.drop_snapshot(books, "a").await.unwrap();
    let e = store.coordinator.create_snapshot(new_snapshot(books, "e", LATER_MS)).await.unwrap();
    let Created::New(e) = e else { panic!("{e:?}") };
    assert_eq!(store.meta.changes_since_base(&e).await.unwrap(), None);
}

async fn a_manifest_that_was_released_is_not_shared_and_nothing_happened(store: Store) {
    let books = store.collection("books").await.id;
    snapshot(&store.coordinator, books, "first").await;
    let (second, base, _) = begin(&store, books, "second").await;
    store.coordinator.drop_snapshot(books, "first").await.unwrap();
    let third = store.coordinator.create_snapshot(new_snapshot(books, "third", LATER_MS)).await.unwrap();
    let Created::New(third) = third else { panic!("{third:?}") };
    commit(&store, &second, &base, 1).await.expect("what is dropped may be shared as long as it is there");

    damage(
        &store.url,
        "UPDATE file_sets SET state = 'queued', refs = 0, not_before_ms = 0, reason = 'released' \
         WHERE file_set_id = (SELECT MIN(file_set_id) FROM snapshot_file_sets)",
    )
    .await;
    let before = number(&store.url, "SELECT CAST(SUM(refs) AS BIGINT) FROM file_sets").await;
    let released = commit(&store, &third, &base, 1).await;
    assert!(matches!(released, Err(MetaError::Released { .. })), "{released:?}");
    damage(&store.url, "DELETE FROM snapshot_file_sets WHERE ordinal = 0").await;
    let released = commit(&store, &third, &base, 1).await;
    assert!(matches!(released, Err(MetaError::Released { .. })), "{released:?}");
    assert_eq!(number(&store.url, "SELECT CAST(SUM(refs) AS BIGINT) FROM file_sets").await, before);

    let writer = node("writer");
    let plan = store.coordinator.begin_snapshot_files(third.id, &writer, LATER_MS, 1).await.unwrap();
    store.coordinator.commit_snapshot(third.id, &writer, &files_of(plan), Totals::default()).await.unwrap();
    assert_eq!(sweep(&store.coordinator).await.unwrap(), 5, "what the two attempts planned, and the released manifest");
}

async fn s_1_the_changes_between_two_times_are_the_difference_of_their_views(store: Store) {
    let books = store.collection("books").await;
    let (id, default) = (books.id, books.partitions[0].id);
    let mut times = vec![store.meta.view(id, None).await.unwrap().ts];
    for n in 0..4 {
        let name = format!("p{n}");
        let partition = store.coordinator.create_partition(id, &name).await.unwrap().id;
        for places in [vec![rows_of(default)], vec![rows_of(partition), deletes_of(PartitionId::ALL)]] {
            let files = store.begin(id, &places).await;
            times.push(store.commit(id, &files).await.unwrap());
        }
        if n % 2 == 0 {
            store.coordinator.seal_segments(id).await.unwrap();
        }
        if n > 0 {
            store.coordinator.drop_partition(id, &format!("p{}", n - 1)).await.unwrap();
            times.push(store.meta.last_ts(id).await.unwrap().unwrap());
        }
    }
    type Members = BTreeMap<(SegmentId, FileSetId), FileRecord>;
    let mut views: Vec<Members> = vec![];
    for ts in &times {
        let files = store.meta.view(id, Some(*ts)).await.unwrap().files;
        views.push(files.into_iter().map(|file| ((file.segment, file.file_set), file)).collect());
    }
    let segments = |view: &Members| view.keys().map(|(segment, _)| *segment).collect::<BTreeSet<_>>().len() as i64;
    let but = |all: &Members, without: &Members| -> Vec<FileRecord> {
        all.iter().filter(|(member, _)| !without.contains_key(member)).map(|(_, file)| file.clone()).collect()
    };
    for (from, before) in times.iter().zip(&views) {
        for (to, after) in times.iter().zip(&views).filter(|(to, _)| *to >= from) {
            let expected = MembershipChanges {
                added: but(after, before),
                removed: but(before, after),
                segments: segments(after) - segments(before),
            };
            assert_eq!(store.meta.changes_between(id, *from, *to).await.unwrap(), expected, "{from:?} to {to:?}");
        }
    }
}

on_every_store!(
    a_shared_manifest_has_a_reference_for_each_snapshot_that_names_it,
    a_snapshot_builds_on_the_newest_committed_one_before_it,
    a_manifest_that_was_released_is_not_shared_and_nothing_happened,
    s_1_the_changes_between_two_times_are_the_difference_of_their_views,
);
