//! Scans for orphans (OR-), the freeze of deletes, and what scrub finds in the metadata.

use crate::store::Store;
use elanus_meta::Room;
use elanus_meta::facts::Finding;
use elanus_meta::scans::{Orphan, OrphanRule, ScanCounts, ScanState};
use elanus_types::{FileSetId, ObjectKey, SegmentId, SnapshotId};
use sqlx::{AnyConnection, AssertSqlSafe, Connection};

const RULE: OrphanRule = OrphanRule { gap_ms: 1_000, age_ms: 1_000 };

fn orphan(name: &str, size: u64, tombstone: Option<FileSetId>) -> Orphan {
    let key = ObjectKey::parse(&format!("0190-cluster/delta_log/1/{name}")).unwrap();
    Orphan { key, size, modified_ms: 1, tombstone }
}

/// A complete scan that sees these.
async fn scan(store: &Store, orphans: &[Orphan]) {
    store.coordinator.request_scan().await.unwrap();
    let scan = store.coordinator.begin_scan(i64::MAX).await.unwrap().unwrap();
    let counts = ScanCounts { pages: 1, listed: 500_000, orphans: orphans.len() as u64, ..ScanCounts::default() };
    store.coordinator.record_scan(scan.id, &counts, orphans).await.unwrap();
    let complete = store.coordinator.complete_scan(scan.id, &counts, "").await.unwrap();
    assert_eq!((complete.state, complete.counts, complete.held), (ScanState::Complete, counts, false));
}

async fn run(store: &Store, sql: &'static str) {
    let mut connection = AnyConnection::connect(&store.url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn or_2_and_5_what_two_scans_saw_unchanged_is_queued_once(store: Store) {
    let tombstone = Some(FileSetId(7));
    let many: Vec<Orphan> = (0..700).map(|n| orphan(&format!("{n:03}"), 1, tombstone)).collect();
    scan(&store, &many).await;
    assert_eq!(store.coordinator.queue_orphans(RULE, 500).await.unwrap(), 0);
    store.clock.advance_ms(1_000);
    let mut again = many.clone();
    again[0].size = 2;
    again.pop();
    scan(&store, &again).await;
    let found = store.meta.orphans(None, 1_000).await.unwrap();
    assert_eq!((found.len(), found[0].scans, found[1].scans), (699, 1, 2), "OR-5; what was not seen is no orphan");
    let queued = [500, 198, 0];
    for expected in queued {
        assert_eq!(store.coordinator.queue_orphans(RULE, 500).await.unwrap(), expected);
    }
    let known = store.meta.known_objects(None, 1_000).await.unwrap();
    assert!(known.iter().all(|object| object.file_set_state == "queued" && object.abandoned));
    assert_eq!(known.len(), 698);
    let claimed = store.coordinator.claim_unneeded(Room::Any(1_000)).await.unwrap();
    assert_eq!((claimed.permits.len(), claimed.file_sets), (698, 698));
    store.coordinator.mark_gone(claimed.claim).await.unwrap();
    // A tombstone's key goes to the file set that is to be deleted.
    scan(&store, &many[5..6]).await;
    store.clock.advance_ms(1_000);
    scan(&store, &many[5..6]).await;
    assert_eq!(store.coordinator.queue_orphans(RULE, 500).await.unwrap(), 1);
    assert_eq!(store.coordinator.claim_unneeded(Room::Any(1_000)).await.unwrap().file_sets, 1);
}

async fn or_2_what_became_known_since_is_not_queued(store: Store) {
    let books = store.collection("books").await;
    let (file_set, _) = store.insert(books.id, books.partitions[0].id).await;
    let key = store.meta.known_objects(None, 10).await.unwrap()[0].key.clone();
    let wrong = Orphan { key, size: 1, modified_ms: 1, tombstone: Some(file_set) };
    scan(&store, std::slice::from_ref(&wrong)).await;
    store.clock.advance_ms(1_000);
    scan(&store, std::slice::from_ref(&wrong)).await;
    assert_eq!(store.coordinator.queue_orphans(RULE, 500).await.unwrap(), 0);
}

async fn while_deletes_are_frozen_nothing_is_claimed(store: Store) {
    let lost = [orphan("lost", 1, Some(FileSetId(7)))];
    scan(&store, &lost).await;
    store.clock.advance_ms(1_000);
    scan(&store, &lost).await;
    assert_eq!(store.coordinator.queue_orphans(RULE, 500).await.unwrap(), 1);
    let claim = async || store.coordinator.claim_unneeded(Room::Any(10)).await.unwrap().file_sets;
    store.coordinator.freeze_deletes("scan", "an object is gone").await.unwrap();
    store.coordinator.freeze_deletes("other", "doubt").await.unwrap();
    store.coordinator.freeze_deletes("scan", "two objects are gone").await.unwrap();
    let freezes = store.meta.delete_freezes().await.unwrap();
    assert_eq!(freezes.iter().map(|freeze| freeze.why.as_str()).collect::<Vec<_>>(), ["doubt", "two objects are gone"]);
    assert_eq!(claim().await, 0);
    assert!(store.coordinator.thaw_deletes("scan").await.unwrap());
    assert!(!store.coordinator.thaw_deletes("scan").await.unwrap());
    assert_eq!(claim().await, 0);
    store.coordinator.thaw_deletes("other").await.unwrap();
    assert_eq!(claim().await, 1);
}

async fn i_7_references_that_are_counted_too_low_are_found_and_counted_again(store: Store) {
    let books = store.collection("books").await;
    let (file_set, _) = store.insert(books.id, books.partitions[0].id).await;
    store.insert(books.id, books.partitions[0].id).await;
    let facts = store.meta.file_set_facts(FileSetId(0), 1).await.unwrap();
    assert_eq!((facts.rows, facts.next), (1, Some(file_set)));
    let facts = store.meta.file_set_facts(FileSetId(0), 100).await.unwrap();
    assert_eq!((facts.findings.len(), facts.next), (0, None), "{:?}", facts.findings);
    let members = store.meta.membership_facts((SegmentId(0), FileSetId(0)), 100).await.unwrap();
    assert_eq!((members.rows, members.findings.len()), (2, 0));

    run(&store, "UPDATE file_sets SET refs = refs + 1").await;
    let facts = store.meta.file_set_facts(FileSetId(0), 100).await.unwrap();
    assert_eq!(facts.findings[0], Finding::Refs { file_set, counted: 2, found: 1 });
    assert_eq!(facts.findings[0].counted_too_low(), None);
    assert!(!store.coordinator.recount_upward(file_set).await.unwrap(), "too high only keeps");

    // One membership more, as another collection would have it.
    run(&store, "UPDATE file_sets SET refs = 1").await;
    run(
        &store,
        "INSERT INTO segments (segment_id, collection_id, partition_id, shard, level, state, rows_num, bytes, created_ts) \
         SELECT segment_id + 1, collection_id, partition_id, shard, level, 'flushed', 0, 0, created_ts FROM segments; \
         INSERT INTO memberships (segment_id, file_set_id, collection_id, partition_id, shard, kind, base_ts, rows_num, \
         bytes, added_ts, removed_ts) SELECT segment_id + 1, file_set_id, collection_id, partition_id, shard + 1, kind, \
         base_ts, rows_num, bytes, added_ts, removed_ts FROM memberships",
    )
    .await;
    let facts = store.meta.file_set_facts(FileSetId(0), 100).await.unwrap();
    assert_eq!(facts.findings[0], Finding::Refs { file_set, counted: 1, found: 2 });
    assert!(store.coordinator.recount_upward(file_set).await.unwrap());
    let facts = store.meta.file_set_facts(FileSetId(0), 100).await.unwrap();
    assert_eq!(facts.findings.len(), 1);
    let members = store.meta.membership_facts((SegmentId(0), FileSetId(0)), 100).await.unwrap();
    assert!(members.findings.iter().all(|finding| finding.rule() == "I8"), "{members:?}");
    assert_eq!(members.findings.len(), 2, "shards that their segment is not of");
    assert!(store.meta.committed_snapshots(SnapshotId(0), 10).await.unwrap().is_empty());
}

on_every_store!(
    or_2_and_5_what_two_scans_saw_unchanged_is_queued_once,
    or_2_what_became_known_since_is_not_queued,
    while_deletes_are_frozen_nothing_is_claimed,
    i_7_references_that_are_counted_too_low_are_found_and_counted_again,
);
