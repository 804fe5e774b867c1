//! Drops of partitions: one change, and everything that follows from it in chunks, which nobody sees.

use crate::restoring::{assert_quiet, code, content, number, snapshot};
use crate::rollback::roll_back;
use crate::store::{Store, deletes_of, node, refusal, rows_of};
use elanus_meta::model::{MembershipChanges, Statistics, ViewChanges};
use elanus_meta::{Coordinator, Progress, SegmentRecord};
use elanus_types::{CollectionId, PartitionId, Timestamp};

/// Ends what left with the partitions of all collections, in chunks of `limit`; how many references.
pub(crate) async fn release_partitions(coordinator: &Coordinator, limit: u32) -> u64 {
    let mut released = 0;
    for _ in 0..1_000 {
        let Some(id) = coordinator.meta().to_be_released(1).await.unwrap().partitions.first().copied() else {
            return released;
        };
        match coordinator.release_partition(id, limit).await.unwrap() {
            Progress::More(n) => released += n,
            Progress::Done => {}
            Progress::Kept(brake) => panic!("kept: {brake:?}"),
        }
    }
    panic!("the release has no end");
}

/// What anybody can read of a collection, now, at some times, and between them.
#[derive(Debug, PartialEq)]
struct Readings {
    views: Vec<String>,
    changes: Vec<ViewChanges>,
    between: Vec<MembershipChanges>,
    statistics: Statistics,
    segments: Vec<SegmentRecord>,
}

async fn read(store: &Store, id: CollectionId, times: &[Timestamp]) -> Readings {
    let meta = &store.meta;
    let mut views = vec![format!("{:?}", meta.view(id, None).await.unwrap())];
    let (mut changes, mut between) = (vec![], vec![]);
    for (n, from) in times.iter().enumerate() {
        views.push(format!("{:?}", meta.view(id, Some(*from)).await.unwrap()));
        changes.push(meta.changes(id, *from).await.unwrap().unwrap());
        for to in &times[n..] {
            between.push(meta.changes_between(id, *from, *to).await.unwrap());
        }
    }
    let statistics = meta.statistics(id, &[]).await.unwrap();
    Readings { views, changes, between, statistics, segments: meta.segments(id).await.unwrap() }
}

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

async fn pd_1_pd_2_what_is_read_is_the_same_before_during_and_after_the_release(store: Store) {
    let mut chance = Chance(11);
    for history in 0..4 {
        let id = store.collection(&format!("books{history}")).await.id;
        let (mut names, mut times) = (vec![], vec![]);
        for n in 0..24 {
            store.clock.advance_ms(1);
            match chance.below(5) {
                0 | 1 => {
                    // Names come again.
                    let name = format!("p{}", chance.below(3));
                    let partition = store.coordinator.create_partition(id, &name).await.unwrap().id;
                    for _ in 0..=chance.below(3) {
                        let places = [rows_of(partition), deletes_of(PartitionId::ALL), deletes_of(partition)];
                        let files = store.begin(id, &places[..=chance.below(3)]).await;
                        store.commit(id, &files).await.unwrap();
                    }
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                2 if !names.is_empty() => {
                    let name = names.remove(chance.below(names.len()));
                    store.coordinator.drop_partition(id, &name).await.unwrap();
                }
                3 => drop(store.coordinator.seal_segments(id).await.unwrap()),
                _ => drop(snapshot(&store.coordinator, id, &format!("s{n}")).await),
            }
            times.push(store.meta.last_ts(id).await.unwrap().unwrap());
        }
        let before = read(&store, id, &times).await;
        let pending = store.meta.to_be_released(10).await.unwrap().partitions;
        for partition in pending {
            store.coordinator.release_partition(partition, 1).await.unwrap();
            assert_eq!(read(&store, id, &times).await, before, "history {history}, in the middle");
        }
        release_partitions(&store.coordinator, 2).await;
        assert_eq!(number(&store.url, "SELECT COUNT(*) FROM partition_drops").await, 0);
        assert_eq!(read(&store, id, &times).await, before, "history {history}, at the end");
        assert_quiet(&store.url).await;
    }
}

/// A collection with a partition `part` of three segments with two files each; the partition.
async fn parted(store: &Store) -> (CollectionId, PartitionId) {
    let books = store.collection("books").await;
    let part = store.coordinator.create_partition(books.id, "part").await.unwrap().id;
    for _ in 0..3 {
        store.insert(books.id, part).await;
        store.insert(books.id, part).await;
        store.coordinator.seal_segments(books.id).await.unwrap();
    }
    store.insert(books.id, books.partitions[0].id).await;
    (books.id, part)
}

const QUEUED: &str = "SELECT COUNT(*) FROM file_sets WHERE state = 'queued' AND kind = 'insert'";

async fn pd_1_the_call_ends_no_membership_and_nothing_of_the_partition_is_seen(store: Store) {
    let (books, _) = parted(&store).await;
    let taken = snapshot(&store.coordinator, books, "s").await;
    let held = content(&store.meta, books, Some(taken.create_ts)).await;
    store.coordinator.drop_partition(books, "part").await.unwrap();
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM memberships WHERE removed_ts < 9223372036854775807").await, 0);
    assert_eq!(store.meta.view(books, None).await.unwrap().files.len(), 1);
    assert_eq!(store.meta.segments(books).await.unwrap().len(), 1);
    assert_eq!(content(&store.meta, books, Some(taken.create_ts)).await, held, "exact");

    let again = store.coordinator.create_partition(books, "part").await.unwrap().id;
    let (file, _) = store.insert(books, again).await;
    assert!(store.members(books, None).await.contains(&file));
    assert_eq!(store.meta.view(books, None).await.unwrap().files.len(), 2);

    assert_eq!(release_partitions(&store.coordinator, 2).await, 0, "PD-3: the snapshot protects all of it");
    assert_eq!(number(&store.url, QUEUED).await, 0);
    assert_eq!(content(&store.meta, books, Some(taken.create_ts)).await, held, "exact");
    assert_eq!(store.meta.view(books, None).await.unwrap().files.len(), 2);
}

async fn pd_3_a_chunk_releases_what_no_snapshot_before_the_drop_protects(store: Store) {
    let (books, part) = parted(&store).await;
    snapshot(&store.coordinator, books, "before").await;
    let (late, _) = store.insert(books, part).await;
    store.coordinator.drop_partition(books, "part").await.unwrap();
    let after = snapshot(&store.coordinator, books, "after").await;
    assert!(!store.members(books, Some(after.create_ts)).await.contains(&late));

    assert_eq!(release_partitions(&store.coordinator, 2).await, 1, "the one that came after the snapshot");
    assert_eq!(number(&store.url, QUEUED).await, 1);
    assert_quiet(&store.url).await;

    // The snapshot that protects the rest ends while half of another drop is done.
    store.coordinator.drop_snapshot(books, "before").await.unwrap();
    let before = store.meta.to_be_released(1).await.unwrap().snapshots[0];
    while store.coordinator.release_snapshot(before, 2).await.unwrap() != Progress::Done {}
    assert_eq!(number(&store.url, QUEUED).await, 7);
    assert_quiet(&store.url).await;
}

async fn pd_3_a_snapshot_that_ends_between_two_chunks_leaves_nothing_behind(store: Store) {
    let (books, _) = parted(&store).await;
    snapshot(&store.coordinator, books, "s").await;
    store.coordinator.drop_partition(books, "part").await.unwrap();
    let part = store.meta.to_be_released(1).await.unwrap().partitions[0];
    assert_eq!(store.coordinator.release_partition(part, 3).await.unwrap(), Progress::More(0));
    store.coordinator.drop_snapshot(books, "s").await.unwrap();
    let s = store.meta.to_be_released(1).await.unwrap().snapshots[0];
    while store.coordinator.release_snapshot(s, 2).await.unwrap() != Progress::Done {}
    assert_eq!(number(&store.url, QUEUED).await, 3, "those that had ended");
    release_partitions(&store.coordinator, 2).await;
    assert_eq!(number(&store.url, QUEUED).await, 6);
    assert_eq!(store.coordinator.release_missed(100).await.unwrap(), 0);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM segments WHERE state = 'dropped'").await, 3);
    assert_quiet(&store.url).await;
}

async fn pd_4_a_write_that_began_before_the_drop_does_not_join(store: Store) {
    let (books, part) = parted(&store).await;
    let began = store.begin(books, &[rows_of(part)]).await;
    store.coordinator.drop_partition(books, "part").await.unwrap();
    assert_eq!(refusal(store.commit(books, &began).await).0, 200);
    assert_eq!(code(store.meta.begin_write(books, &node("w1"), i64::MAX, &[rows_of(part)]).await.map(drop)), 200);
    assert_eq!(refusal(store.coordinator.drop_partition(books, "part").await).0, 200, "it is gone");
    release_partitions(&store.coordinator, 4).await;
    assert_eq!(number(&store.url, QUEUED).await, 6);
}

async fn a_rollback_brings_a_partition_back_whose_drop_is_not_done(store: Store) {
    let (books, _) = parted(&store).await;
    snapshot(&store.coordinator, books, "s").await;
    let held = content(&store.meta, books, None).await;
    store.coordinator.drop_partition(books, "part").await.unwrap();
    roll_back(&store, books, "s").await;
    assert_eq!(content(&store.meta, books, None).await, held);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM partition_drops").await, 0);
    assert_eq!(release_partitions(&store.coordinator, 2).await, 0);
    assert_quiet(&store.url).await;
}

async fn a_collection_that_comes_back_does_not_bring_a_dropped_partition_back(store: Store) {
    let (books, _) = parted(&store).await;
    store.coordinator.drop_partition(books, "part").await.unwrap();
    let held = content(&store.meta, books, None).await;
    let later_ms = store.meta.clock().now_ms() + 1_000;
    store.coordinator.trash_collection(books, later_ms).await.unwrap();
    let trashed = &store.meta.trash("default").await.unwrap()[0];
    assert_eq!(
        trashed.rows,
        store.meta.view(books, Some(Timestamp(trashed.dropped_ts.0 - 1))).await.unwrap().files[0].rows
    );
    // Also while it is in the trash.
    let part = store.meta.to_be_released(1).await.unwrap().partitions[0];
    store.coordinator.release_partition(part, 2).await.unwrap();
    store.coordinator.restore_from_trash(books, None).await.unwrap();
    assert_eq!(content(&store.meta, books, None).await, held);

    store.coordinator.drop_collection(books).await.unwrap();
    while store.coordinator.release_collection(books, 2).await.unwrap() != Progress::Done {}
    assert_eq!(number(&store.url, QUEUED).await, 7);
    store.coordinator.undo_collection(books, None, "ada").await.unwrap();
    assert_eq!(content(&store.meta, books, None).await, held);
    assert_eq!(number(&store.url, QUEUED).await, 6);
    assert_quiet(&store.url).await;
}

async fn a_hold_keeps_what_left_with_a_partition(store: Store) {
    let (books, _) = parted(&store).await;
    let hold = store.coordinator.hold_gc(books, None, "audit", "ada").await.unwrap();
    store.coordinator.drop_partition(books, "part").await.unwrap();
    let part = store.meta.to_be_released(1).await.unwrap().partitions[0];
    let kept = store.coordinator.release_partition(part, 100).await.unwrap();
    assert!(matches!(kept, Progress::Kept(brake) if brake.label() == "held"), "{kept:?}");
    assert_eq!(store.meta.view(books, None).await.unwrap().files.len(), 1, "PD-1: however long that takes");
    assert_eq!(store.meta.gc_status().await.unwrap().unreleased_partitions, 1);
    store.coordinator.lift_hold(hold.id, "ada").await.unwrap();
    assert_eq!(release_partitions(&store.coordinator, 100).await, 6);
}

on_every_store! {
    pd_1_pd_2_what_is_read_is_the_same_before_during_and_after_the_release,
    pd_1_the_call_ends_no_membership_and_nothing_of_the_partition_is_seen,
    pd_3_a_chunk_releases_what_no_snapshot_before_the_drop_protects,
    pd_3_a_snapshot_that_ends_between_two_chunks_leaves_nothing_behind,
    pd_4_a_write_that_began_before_the_drop_does_not_join,
    a_rollback_brings_a_partition_back_whose_drop_is_not_done,
    a_collection_that_comes_back_does_not_bring_a_dropped_partition_back,
    a_hold_keeps_what_left_with_a_partition,
}
