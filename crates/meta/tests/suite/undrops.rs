//! Dropped snapshots that come back, exactly or not at all.

use crate::partition_drops::release_partitions;
use crate::restoring::{Content, assert_quiet, code, content, damage, files_of, new_snapshot, number, snapshot};
use crate::store::{LATER_MS, Store, node};
use elanus_meta::model::{Created, SnapshotRecord, SnapshotStatus, Totals};
use elanus_meta::{Coordinator, Progress, Retention, Room, WhichDropped};
use elanus_types::{CollectionId, SnapshotId};
use std::collections::BTreeSet;

const TOLERANCE_MS: i64 = 24 * 3_600_000;
const KEEP: Retention = Retention { tombstones_ms: 1_000, history_ms: 1_000, audit_ms: 1_000 };

/// As [`snapshot`], and says truly how much it sees.
async fn measured(store: &Store, collection: CollectionId, name: &str) -> SnapshotRecord {
    let created = store.coordinator.create_snapshot(new_snapshot(collection, name, LATER_MS)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    let files = store.meta.view(collection, Some(created.create_ts)).await.unwrap().files;
    let objects = || files.iter().flat_map(|file| &file.objects);
    let totals = Totals {
        rows: files.iter().map(|file| file.rows).sum(),
        files: objects().count() as u64,
        bytes: objects().map(|object| object.size).sum(),
        segments: files.iter().map(|file| file.segment).collect::<BTreeSet<_>>().len() as u64,
    };
    let plan = store.coordinator.begin_snapshot_files(created.id, &node("writer"), LATER_MS, 2).await.unwrap();
    store.coordinator.commit_snapshot(created.id, &node("writer"), &files_of(plan), totals).await.unwrap()
}

/// A collection with files that only the snapshot `s` sees, one of them twice, and what that holds.
async fn shelf(store: &Store) -> (CollectionId, SnapshotRecord, Content) {
    let books = store.collection("books").await;
    for name in ["old", "older"] {
        let part = store.coordinator.create_partition(books.id, name).await.unwrap().id;
        store.insert(books.id, part).await;
        store.coordinator.seal_segments(books.id).await.unwrap();
        store.insert(books.id, part).await;
    }
    store.insert(books.id, books.partitions[0].id).await;
    let taken = measured(store, books.id, "s").await;
    let held = content(&store.meta, books.id, Some(taken.create_ts)).await;
    store.coordinator.drop_partition(books.id, "old").await.unwrap();
    release_partitions(&store.coordinator, 10).await;
    // Of this one the end is not written down yet.
    store.coordinator.drop_partition(books.id, "older").await.unwrap();
    (books.id, taken, held)
}

async fn undrop(coordinator: &Coordinator, books: CollectionId, name: &str) -> elanus_meta::Result<SnapshotRecord> {
    coordinator.undrop_snapshot(books, WhichDropped::Name(name), None, "ada").await
}

/// At most so many chunks of one reference.
async fn release(coordinator: &Coordinator, chunks: usize) {
    for _ in 0..chunks {
        let waiting = coordinator.meta().to_be_released(1).await.unwrap();
        if let Some(id) = waiting.partitions.first() {
            coordinator.release_partition(*id, 1).await.unwrap();
        } else if let Some(id) = waiting.snapshots.first() {
            coordinator.release_snapshot(*id, 1).await.unwrap();
        }
    }
}

async fn un_1_un_2_it_comes_back_exactly_from_wherever_its_release_is(store: Store) {
    let (books, taken, held) = shelf(&store).await;
    // None, some, all of what it kept is released, then some and all of its files, then its row has ended.
    for chunks in [0, 1, 3, 6, 8, 10, 40] {
        assert!(store.coordinator.drop_snapshot(books, "s").await.unwrap());
        release(&store.coordinator, chunks).await;
        assert_eq!(store.meta.dropped_snapshots(books).await.unwrap().len(), 1);
        let back = undrop(&store.coordinator, books, "s").await.unwrap();
        assert_eq!((back.id, back.state, back.create_ts), (taken.id, SnapshotStatus::Committed, taken.create_ts));
        assert_eq!((back.totals, back.metadata_key.clone()), (taken.totals, taken.metadata_key.clone()));
        assert_eq!(store.meta.snapshots(books).await.unwrap(), [back]);
        assert_eq!(content(&store.meta, books, Some(taken.create_ts)).await, held, "after {chunks} chunks");
        assert_eq!(store.meta.snapshot_manifests(taken.id).await.unwrap().len(), 2);
        assert_eq!(number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'queued'").await, 0);
        assert_quiet(&store.url).await;
        assert_eq!(store.meta.dropped_snapshots(books).await.unwrap(), []);
        assert_eq!(code(undrop(&store.coordinator, books, "s").await), 2600, "it is back");
    }
    // It protects again.
    store.clock.advance_ms(TOLERANCE_MS * 2);
    release(&store.coordinator, 40).await;
    assert_eq!(store.coordinator.claim_unneeded(Room::Any(100)).await.unwrap().file_sets, 0);
    assert_eq!(content(&store.meta, books, Some(taken.create_ts)).await, held);
    assert_eq!(store.coordinator.release_missed(100).await.unwrap(), 0, "what it protects is referenced");
}

async fn un_1_what_is_being_deleted_does_not_come_back(store: Store) {
    let (books, taken, _) = shelf(&store).await;
    store.coordinator.drop_snapshot(books, "s").await.unwrap();
    release(&store.coordinator, 40).await;
    store.clock.advance_ms(TOLERANCE_MS);
    let claimed = store.coordinator.claim_unneeded(Room::Any(2)).await.unwrap();
    assert!(claimed.file_sets > 0);
    let before = number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'queued'").await;
    let refused = undrop(&store.coordinator, books, "s").await;
    let Err(elanus_meta::MetaError::Refused(failure)) = refused else { panic!("{refused:?}") };
    assert!(failure.message.contains("deleted or being deleted"), "{}", failure.message);
    assert_eq!(
        number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'queued'").await,
        before,
        "nothing moved"
    );
    assert_eq!(store.meta.snapshot_by_id(taken.id).await.unwrap(), None);

    store.coordinator.mark_gone(claimed.claim).await.unwrap();
    let claimed = store.coordinator.claim_unneeded(Room::Any(100)).await.unwrap();
    store.coordinator.mark_gone(claimed.claim).await.unwrap();
    assert_eq!(code(undrop(&store.coordinator, books, "s").await), 1100);
    store.clock.advance_ms(TOLERANCE_MS + 1);
    while store.coordinator.forget(KEEP, 100).await.unwrap().total() > 0 {}
    assert_eq!(code(undrop(&store.coordinator, books, "s").await), 2600, "its note has ended");
    for table in ["dropped_snapshots", "dropped_snapshot_files"] {
        let sql = Box::leak(format!("SELECT COUNT(*) FROM {table}").into_boxed_str());
        assert_eq!(number(&store.url, sql).await, 0, "{table}");
    }
}

async fn un_1_what_is_forgotten_is_noticed_although_every_file_that_is_left_is_live(store: Store) {
    let (books, _, _) = shelf(&store).await;
    store.coordinator.drop_snapshot(books, "s").await.unwrap();
    release(&store.coordinator, 40).await;
    damage(&store.url, "DELETE FROM memberships WHERE file_set_id = (SELECT MIN(file_set_id) FROM memberships)").await;
    let refused = undrop(&store.coordinator, books, "s").await;
    let Err(elanus_meta::MetaError::Refused(failure)) = refused else { panic!("{refused:?}") };
    assert!(
        failure.message.contains("it saw 5 objects") && failure.message.contains("of which 4"),
        "{}",
        failure.message
    );
}

async fn un_1_a_manifest_that_is_gone_is_noticed(store: Store) {
    let (books, taken, _) = shelf(&store).await;
    store.coordinator.drop_snapshot(books, "s").await.unwrap();
    release(&store.coordinator, 40).await;
    let key = taken.metadata_key.unwrap();
    let gone = "UPDATE file_sets SET state = 'gone', claimed_ever = 1 WHERE file_set_id = \
                (SELECT file_set_id FROM dropped_snapshot_files WHERE ordinal IS NULL)";
    damage(&store.url, gone).await;
    assert_eq!(code(undrop(&store.coordinator, books, "s").await), 1100, "{key}");
}

async fn un_3_only_what_was_committed_comes_back_and_under_a_free_name(store: Store) {
    let (books, taken, held) = shelf(&store).await;
    store.coordinator.create_snapshot(new_snapshot(books, "pending", LATER_MS)).await.unwrap();
    assert!(store.coordinator.drop_snapshot(books, "pending").await.unwrap());
    assert_eq!(code(undrop(&store.coordinator, books, "pending").await), 2600, "UN-3");
    assert_eq!(code(undrop(&store.coordinator, books, "s").await), 2600, "it is not dropped");
    assert_eq!(code(undrop(&store.coordinator, CollectionId(1), "s").await), 100);

    store.coordinator.drop_snapshot(books, "s").await.unwrap();
    let second = snapshot(&store.coordinator, books, "s").await;
    assert_eq!(code(undrop(&store.coordinator, books, "s").await), 1100, "the name is taken");
    let which = WhichDropped::Id(taken.id);
    let back = store.coordinator.undrop_snapshot(books, which, Some("t"), "ada").await.unwrap();
    assert_eq!((back.id, back.name.as_str()), (taken.id, "t"));
    assert_eq!(content(&store.meta, books, Some(taken.create_ts)).await, held);
    assert_eq!(store.meta.snapshot(books, "s").await.unwrap().unwrap().id, second.id);
    assert_eq!(
        code(store.coordinator.undrop_snapshot(books, WhichDropped::Id(SnapshotId(7)), None, "ada").await),
        2600
    );
    let audit = store.meta.gc_audit(None, None, 10).await.unwrap();
    assert!(audit.iter().any(|line| line.action == "undrop" && line.actor == "ada"), "{audit:?}");
}

async fn it_comes_back_beside_others_and_into_a_collection_that_came_back(store: Store) {
    let (books, taken, held) = shelf(&store).await;
    let default = store.record(books).await.unwrap().partitions[0].id;
    store.insert(books, default).await;
    let later = measured(&store, books, "later").await;
    let of_later = content(&store.meta, books, Some(later.create_ts)).await;
    // With the collection, from the queue.
    store.coordinator.drop_collection(books).await.unwrap();
    for _ in 0..100 {
        if store.coordinator.release_collection(books, 2).await.unwrap() == Progress::Done {
            break;
        }
    }
    release(&store.coordinator, 60).await;
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM snapshots").await, 0);
    assert_eq!(code(undrop(&store.coordinator, books, "s").await), 100, "its collection is dropped");
    store.coordinator.undo_collection(books, None, "ada").await.unwrap();
    for (name, record, held) in [("later", &later, &of_later), ("s", &taken, &held)] {
        undrop(&store.coordinator, books, name).await.unwrap();
        assert_eq!(&content(&store.meta, books, Some(record.create_ts)).await, held, "{name}");
        assert_quiet(&store.url).await;
    }
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'queued'").await, 0);
}

on_every_store! {
    un_1_un_2_it_comes_back_exactly_from_wherever_its_release_is,
    un_1_what_is_being_deleted_does_not_come_back,
    un_1_what_is_forgotten_is_noticed_although_every_file_that_is_left_is_live,
    un_1_a_manifest_that_is_gone_is_noticed,
    un_3_only_what_was_committed_comes_back_and_under_a_free_name,
    it_comes_back_beside_others_and_into_a_collection_that_came_back,
}
