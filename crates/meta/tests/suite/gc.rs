//! Release by interval, the deletion queue and its brakes, the end of rows.

use crate::races::{Deed, assert_sound, at_once, settled};
use crate::restoring::{
    assert_quiet, clone_of, code, content, damage, new_snapshot, number, round, run, snapshot, submit_new,
};
use crate::store::{LATER_MS, Store, node};
use elanus_lifecycle::Interval;
use elanus_meta::model::{Created, JobState};
use elanus_meta::{Coordinator, Progress, Result, Retention, Room};
use elanus_types::{CollectionId, Timestamp};
use sqlx::{AnyConnection, Connection, Row};

const TOLERANCE_MS: i64 = 24 * 3_600_000;
const KEEP: Retention = Retention { tombstones_ms: 1_000, history_ms: 1_000, audit_ms: 1_000 };

/// Releases everything that waits, in small chunks; how many references.
async fn release(coordinator: &Coordinator) -> Result<u64> {
    let mut released = 0;
    for _ in 0..200 {
        let waiting = coordinator.meta().to_be_released(10).await?;
        let mut moved = false;
        for id in &waiting.collections {
            if let Progress::More(n) = coordinator.release_collection(*id, 2).await? {
                (released, moved) = (released + n, true);
            }
        }
        for id in &waiting.partitions {
            match coordinator.release_partition(*id, 2).await? {
                Progress::More(n) => (released, moved) = (released + n, true),
                Progress::Done => moved = true,
                Progress::Kept(_) => {}
            }
        }
        for id in &waiting.snapshots {
            match coordinator.release_snapshot(*id, 2).await? {
                Progress::More(n) => (released, moved) = (released + n, true),
                Progress::Done => moved = true,
                Progress::Kept(_) => {}
            }
        }
        if !moved {
            return Ok(released);
        }
    }
    panic!("the release has no end");
}

/// Deletes everything that may be deleted now; how many file sets.
async fn delete(coordinator: &Coordinator) -> u64 {
    let mut gone = 0;
    loop {
        let claimed = coordinator.claim_unneeded(Room::Any(10)).await.unwrap();
        if claimed.file_sets == 0 {
            return gone;
        }
        gone += coordinator.mark_gone(claimed.claim).await.unwrap();
    }
}

/// Every ended membership is a reference exactly when the pure rule says so (IV-1).
async fn assert_released_by_the_rule(url: &str) {
    let mut connection = AnyConnection::connect(url).await.unwrap();
    let rows = sqlx::query(
        "SELECT m.collection_id, m.added_ts, m.removed_ts, CASE WHEN m.release_id IS NULL THEN 1 ELSE 0 END AS held \
         FROM memberships m JOIN collections c ON c.collection_id = m.collection_id WHERE c.state = 'live'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let snapshots = sqlx::query("SELECT collection_id, create_ts FROM snapshots WHERE state <> 'deleting'")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    for row in &rows {
        let collection: i64 = row.get("collection_id");
        let of: Vec<Timestamp> = snapshots
            .iter()
            .filter(|one| one.get::<i64, _>("collection_id") == collection)
            .map(|one| Timestamp(one.get("create_ts")))
            .collect();
        let interval =
            Interval { added_ts: Timestamp(row.get("added_ts")), removed_ts: Timestamp(row.get("removed_ts")) };
        assert_eq!(row.get::<i64, _>("held") == 1, interval.is_referenced(&of), "{interval:?} {of:?}");
    }
}

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

async fn iv_1_iv_3_random_histories_release_exactly_what_the_rule_says(store: Store) {
    let mut chance = Chance(7);
    for history in 0..6 {
        let id = store.collection(&format!("books{history}")).await.id;
        let (mut partitions, mut snapshots) = (vec![], vec![]);
        for n in 0..30 {
            store.clock.advance_ms(1);
            match chance.below(6) {
                0 | 1 => {
                    let name = format!("p{n}");
                    let partition = store.coordinator.create_partition(id, &name).await.unwrap().id;
                    store.insert(id, partition).await;
                    partitions.push(name);
                }
                2 if !partitions.is_empty() => {
                    let at = chance.below(partitions.len() as u64) as usize;
                    store.coordinator.drop_partition(id, &partitions.remove(at)).await.unwrap();
                }
                3 => {
                    let name = format!("s{n}");
                    snapshot(&store.coordinator, id, &name).await;
                    snapshots.push(name);
                }
                4 if !snapshots.is_empty() => {
                    let at = chance.below(snapshots.len() as u64) as usize;
                    store.coordinator.drop_snapshot(id, &snapshots.remove(at)).await.unwrap();
                }
                _ => {
                    release(&store.coordinator).await.unwrap();
                    assert_released_by_the_rule(&store.url).await;
                }
            }
        }
        release(&store.coordinator).await.unwrap();
        assert_released_by_the_rule(&store.url).await;
        assert_quiet(&store.url).await;
    }
}

/// A collection with a snapshot `s`, a file that only the snapshot sees, and one that holds.
async fn shelf(store: &Store, name: &str) -> CollectionId {
    let books = store.collection(name).await;
    let old = store.coordinator.create_partition(books.id, "old").await.unwrap().id;
    store.insert(books.id, old).await;
    store.insert(books.id, books.partitions[0].id).await;
    snapshot(&store.coordinator, books.id, "s").await;
    store.coordinator.drop_partition(books.id, "old").await.unwrap();
    books.id
}

async fn g_1_g_2_what_is_needed_stays_and_everything_else_goes_down_to_the_last_row(store: Store) {
    let (coordinator, meta) = (&store.coordinator, &store.meta);
    let books = shelf(&store, "books").await;
    let before = content(meta, books, None).await;
    let twin = run(coordinator, submit_new(coordinator, clone_of(books, "twin")).await.id).await.target;
    let of_twin = content(meta, twin, None).await;
    store.clock.advance_ms(TOLERANCE_MS * 2);
    assert_eq!((release(coordinator).await.unwrap(), delete(coordinator).await), (0, 0), "G-1: a snapshot and a clone");

    coordinator.drop_collection(books).await.unwrap();
    assert!(release(coordinator).await.unwrap() > 0);
    assert!(meta.to_be_released(10).await.unwrap() == elanus_meta::Waiting::default());
    assert_eq!(delete(coordinator).await, 0, "G-1: the tolerance is not over");
    store.clock.advance_ms(TOLERANCE_MS);
    assert_eq!(delete(coordinator).await, 2, "a manifest and a metadata object; the clone holds the rest");
    assert_eq!(content(meta, twin, None).await, of_twin, "G-1");
    assert_ne!(of_twin, before, "the clone has what was dropped after the snapshot");

    coordinator.drop_collection(twin).await.unwrap();
    release(coordinator).await.unwrap();
    store.clock.advance_ms(TOLERANCE_MS);
    assert_eq!(delete(coordinator).await, 2, "G-2");
    let left = "SELECT COUNT(*) FROM file_sets WHERE state <> 'gone'";
    assert_eq!(number(&store.url, left).await, 0, "G-2");
    assert!(meta.gc_audit(None, None, 100).await.unwrap().iter().filter(|line| line.action == "gone").count() == 4);

    store.clock.advance_ms(24 * 3_600_000);
    coordinator.remove_finished_jobs(i64::MAX, 10).await.unwrap();
    while coordinator.forget(KEEP, 1).await.unwrap().total() > 0 {}
    for table in ["file_sets", "objects", "memberships", "segments", "snapshots", "collections", "history", "gc_audit"]
    {
        let sql = Box::leak(format!("SELECT COUNT(*) FROM {table}").into_boxed_str());
        assert_eq!(number(&store.url, sql).await, 0, "{table}");
    }
}

async fn g_2_the_reference_of_a_file_ends_with_its_last_snapshot_and_not_before(store: Store) {
    let coordinator = &store.coordinator;
    let books = shelf(&store, "books").await;
    snapshot(coordinator, books, "t").await;
    let queued = "SELECT COUNT(*) FROM file_sets WHERE state = 'queued' AND kind = 'insert'";
    assert_eq!(number(&store.url, queued).await, 0);
    coordinator.drop_snapshot(books, "t").await.unwrap();
    release(coordinator).await.unwrap();
    assert_eq!(number(&store.url, queued).await, 0, "the other snapshot sees it");
    coordinator.drop_snapshot(books, "s").await.unwrap();
    assert_eq!(number(&store.url, queued).await, 0, "a drop changes one row");
    release(coordinator).await.unwrap();
    assert_eq!(number(&store.url, queued).await, 1);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM snapshots").await, 0, "its row has ended");
    let history = "SELECT COUNT(*) FROM history WHERE event = 'objects_gone'";
    assert_eq!(number(&store.url, history).await, 2);
    assert_quiet(&store.url).await;
}

async fn a_pinned_snapshot_keeps_a_dropped_collection_and_its_job_goes_on(store: Store) {
    let coordinator = &store.coordinator;
    let books = shelf(&store, "books").await;
    let job = submit_new(coordinator, clone_of(books, "twin")).await.id;
    coordinator.drop_collection(books).await.unwrap();
    assert_eq!(release(coordinator).await.unwrap(), 0, "the job's pin");
    assert_eq!(run(coordinator, job).await.state, JobState::Completed);
    assert!(release(coordinator).await.unwrap() > 0);
    assert_quiet(&store.url).await;
    assert_eq!(run(coordinator, job).await.snapshot_name, "s", "a finished job outlives its snapshot's row");
}

async fn brakes_keep_what_is_due_and_say_so(store: Store) {
    let (coordinator, meta) = (&store.coordinator, &store.meta);
    let books = shelf(&store, "books").await;
    coordinator.drop_snapshot(books, "s").await.unwrap();
    release(coordinator).await.unwrap();
    store.clock.advance_ms(TOLERANCE_MS);
    let now_ms = store.meta.clock().now_ms();
    let kept = async |by: &str| {
        assert!(!meta.is_anything_due().await.unwrap(), "{by}");
        assert_eq!(coordinator.claim_unneeded(Room::Any(10)).await.unwrap().file_sets, 0, "{by}");
        let status = meta.gc_status().await.unwrap();
        assert_eq!(status.due.objects, 0, "{by}");
        assert!(status.kept.iter().any(|one| one.by == by && one.amount.objects > 0), "{by}: {status:?}");
    };
    assert!(meta.is_anything_due().await.unwrap());
    let status = meta.gc_status().await.unwrap();
    assert_eq!((status.due.objects, status.waiting.objects), (3, 0), "{status:?}");

    let pause = coordinator.pause_gc(None, now_ms + 10, "ada").await.unwrap();
    kept("paused").await;
    assert_eq!(coordinator.resume_gc(Some(pause.id + 1), None, "ada").await.unwrap(), 0);
    assert_eq!(coordinator.resume_gc(Some(pause.id), None, "ada").await.unwrap(), 1);
    coordinator.pause_gc(Some(books), now_ms + 10, "ada").await.unwrap();
    kept("paused").await;
    store.clock.advance_ms(10);
    assert!(meta.is_anything_due().await.unwrap(), "a pause expires");
    assert_eq!(code(coordinator.pause_gc(None, now_ms, "ada").await), 1100);

    let hold = coordinator.hold_gc(books, None, "a court wants it", "ada").await.unwrap();
    kept("held").await;
    assert_eq!(code(coordinator.hold_gc(CollectionId(4711), None, "why", "ada").await), 100);
    assert!(coordinator.lift_hold(hold.id, "ada").await.unwrap());
    assert!(!coordinator.lift_hold(hold.id, "ada").await.unwrap());

    coordinator.freeze_gc("a test", "ada").await.unwrap();
    kept("frozen").await;
    assert!(coordinator.thaw_gc("ada").await.unwrap());

    let read_ts = Timestamp::from_ms(crate::store::START_MS);
    let until_ms = now_ms + 60_000;
    meta.renew_readers(&node("q1"), &[(books, read_ts)], until_ms).await.unwrap();
    let status = meta.gc_status().await.unwrap();
    assert_eq!((status.due.objects, status.kept.len()), (2, 1), "manifests are no reader's: {status:?}");
    meta.renew_readers(&node("q1"), &[(books, Timestamp::NEVER)], until_ms).await.unwrap();
    assert_eq!(meta.gc_status().await.unwrap().due.objects, 3, "it reads on, later");
    meta.renew_readers(&node("q1"), &[(books, read_ts)], until_ms).await.unwrap();
    store.clock.advance_ms(60_000);
    assert_eq!(delete(coordinator).await, 3, "a reader that is silent is not waited for");
}

async fn a_held_snapshot_is_not_dropped_and_keeps_its_collection(store: Store) {
    let coordinator = &store.coordinator;
    let books = shelf(&store, "books").await;
    let s = store.meta.snapshot(books, "s").await.unwrap().unwrap();
    let hold = coordinator.hold_gc(books, Some(s.id), "a court wants it", "ada").await.unwrap();
    assert_eq!(code(coordinator.drop_snapshot(books, "s").await), 2601);
    coordinator.trash_collection(books, LATER_MS * 2).await.unwrap();
    assert_eq!(code(coordinator.purge_from_trash(books).await), 2601);
    store.clock.advance_ms(LATER_MS * 2);
    assert_eq!(release(coordinator).await.unwrap(), 0);
    coordinator.lift_hold(hold.id, "ada").await.unwrap();
    assert!(release(coordinator).await.unwrap() > 0);
}

async fn br_2_a_breaker_stops_a_collection_until_an_operator_applies_a_plan(store: Store) {
    let (coordinator, meta) = (&store.coordinator, &store.meta);
    let books = shelf(&store, "books").await;
    let pens = shelf(&store, "pens").await;
    for id in [books, pens] {
        coordinator.drop_snapshot(id, "s").await.unwrap();
    }
    release(coordinator).await.unwrap();
    // As if a compaction had released a thousand objects more than a small collection has.
    damage(
        &store.url,
        "INSERT INTO objects (object_key, file_set_id, ordinal, size_bytes, checksum) \
         WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 1001) \
         SELECT '0190-cluster/insert_log/x' || i, (SELECT MIN(file_set_id) FROM file_sets WHERE state = 'queued' \
         AND kind = 'insert'), i, 1, '00' FROM n",
    )
    .await;
    damage(&store.url, "UPDATE file_sets SET covered = 0 WHERE state = 'queued'").await;
    store.clock.advance_ms(TOLERANCE_MS);
    let claimed = coordinator.claim_unneeded(Room::Any(100)).await.unwrap();
    assert_eq!(claimed.permits.len(), 3, "the other collection's");
    coordinator.mark_gone(claimed.claim).await.unwrap();
    let status = meta.gc_status().await.unwrap();
    assert_eq!(status.breakers.len(), 1, "{status:?}");
    assert_eq!((status.breakers[0].collection, status.breakers[0].amount.objects), (books, 1_004));
    assert_eq!(delete(coordinator).await, 0, "it stays open");

    let plan = coordinator.plan_gc("ada").await.unwrap();
    assert_eq!((plan.file_sets, plan.objects), (3, 1_004));
    let items = meta.plan_items(plan.id, None, 2_000).await.unwrap();
    assert!(items.len() == 1_004 && items.iter().all(|item| !item.by_itself));
    assert_eq!(code(coordinator.begin_apply(plan.id + 1, "ada").await), 1100);
    coordinator.begin_apply(plan.id, "ada").await.unwrap();
    // What is queued after the plan is not in it.
    coordinator.drop_collection(pens).await.unwrap();
    release(coordinator).await.unwrap();
    let mut applied = 0;
    loop {
        let claimed = coordinator.claim_unneeded(Room::Plan(plan.id, 1)).await.unwrap();
        if claimed.file_sets == 0 {
            break;
        }
        applied += coordinator.mark_gone(claimed.claim).await.unwrap();
    }
    coordinator.end_apply(plan.id).await.unwrap();
    assert_eq!(applied, 3);
    assert_eq!(meta.gc_status().await.unwrap().breakers, []);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE state = 'queued'").await, 1, "of pens");
}

async fn a_purged_collection_comes_back_from_the_queue_as_it_was_or_not_at_all(store: Store) {
    let (coordinator, meta) = (&store.coordinator, &store.meta);
    let books = shelf(&store, "books").await;
    let before = content(meta, books, None).await;
    assert_eq!(code(coordinator.undo_collection(books, None, "ada").await), 100, "it is live");
    for n in 0..2 {
        coordinator.drop_collection(books).await.unwrap();
        for _ in 0..n {
            coordinator.release_collection(books, 1).await.unwrap();
        }
        if n == 1 {
            release(coordinator).await.unwrap();
        }
        assert_eq!(coordinator.undo_collection(books, None, "ada").await.unwrap().name, "books");
        assert_eq!(content(meta, books, None).await, before);
        assert_quiet(&store.url).await;
        assert_released_by_the_rule(&store.url).await;
    }
    let default = store.record(books).await.unwrap().partitions[0].id;
    store.insert(books, default).await;
    coordinator.drop_collection(books).await.unwrap();
    store.collection("books").await;
    assert_eq!(code(coordinator.undo_collection(books, None, "ada").await), 1100, "the name is taken");
    assert_eq!(coordinator.undo_collection(books, Some("old_books"), "ada").await.unwrap().name, "old_books");
    coordinator.drop_collection(books).await.unwrap();
    release(coordinator).await.unwrap();
    store.clock.advance_ms(TOLERANCE_MS);
    coordinator.claim_unneeded(Room::Any(1)).await.unwrap();
    let claimed = coordinator.claim_unneeded(Room::Any(10)).await.unwrap();
    assert_eq!(code(coordinator.undo_collection(books, Some("old_books"), "ada").await), 1100, "FS-4");
    coordinator.mark_gone(claimed.claim).await.unwrap();
    delete(coordinator).await;
    store.clock.advance_ms(KEEP.tombstones_ms + 1);
    while coordinator.forget(KEEP, 100).await.unwrap().total() > 0 {}
    assert_eq!(code(coordinator.undo_collection(books, Some("old_books"), "ada").await), 100, "its row has ended");
}

async fn i_7_a_recount_finds_a_reference_too_many_or_too_few(store: Store) {
    let meta = &store.meta;
    shelf(&store, "books").await;
    let all = async || {
        let (mut after, mut wrong) = (elanus_types::FileSetId(0), vec![]);
        loop {
            let page = meta.recount(after, 2).await.unwrap();
            wrong.extend(page.wrong.iter().map(|(_, refs, found)| (*refs, *found)));
            let Some(last) = page.last else { return wrong };
            after = last;
        }
    };
    assert_eq!(all().await, []);
    damage(&store.url, "UPDATE file_sets SET refs = 2 WHERE file_set_id = (SELECT MIN(file_set_id) FROM memberships)")
        .await;
    assert_eq!(all().await, [(2, 1)]);
    damage(&store.url, "DELETE FROM snapshot_file_sets WHERE ordinal IS NULL").await;
    assert_eq!(all().await, [(2, 1), (1, 0)]);
    // RL-3: and nothing is released from metadata that contradict themselves.
    damage(
        &store.url,
        "UPDATE file_sets SET refs = 0, state = 'queued', not_before_ms = 0, reason = 'released' \
         WHERE file_set_id = (SELECT MIN(file_set_id) FROM memberships)",
    )
    .await;
    let books = store.meta.collections("default").await.unwrap()[0].id;
    store.coordinator.drop_snapshot(books, "s").await.unwrap();
    store.coordinator.drop_collection(books).await.unwrap();
    assert!(matches!(release(&store.coordinator).await, Err(elanus_meta::MetaError::Corrupt(_))));
}

async fn an_object_tells_who_keeps_it(store: Store) {
    let (coordinator, meta) = (&store.coordinator, &store.meta);
    let books = shelf(&store, "books").await;
    let objects = meta.known_objects(None, 100).await.unwrap();
    let why = async |n: usize| meta.gc_why(&objects[n].key).await.unwrap().unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for n in 0..objects.len() {
        let told = why(n).await;
        assert_eq!((told.state.as_str(), told.refs), ("live", 1));
        assert!(told.reasons.iter().any(|line| line.contains("snapshot") && line.contains('s')), "{told:?}");
        kinds.insert(told.kind);
    }
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    coordinator.drop_snapshot(books, "s").await.unwrap();
    release(coordinator).await.unwrap();
    for n in 0..objects.len() {
        let told = why(n).await;
        let text = told.reasons.join("\n");
        let expected = if told.state == "live" { "in segment" } else { "released, to be deleted from" };
        assert!(text.contains(expected), "{told:?}");
    }
    let unknown = elanus_types::ObjectKey::parse("0190-cluster/x").unwrap();
    assert_eq!(meta.gc_why(&unknown).await.unwrap(), None);
}

async fn drops_snapshots_clones_and_releases_at_once_leave_every_reference_right(store: Store) {
    for n in 0..6 {
        let books = shelf(&store, &format!("books{n}")).await;
        snapshot(&store.coordinator, books, "t").await;
        let default = store.record(books).await.unwrap().partitions[0].id;
        let twin = format!("twin{n}");
        let mut deeds: Vec<Deed> = vec![];
        for name in ["s", "t"] {
            let coordinator = store.coordinator.clone();
            deeds.push(Box::pin(async move {
                settled(coordinator.drop_snapshot(books, name).await);
            }));
        }
        for _ in 0..3 {
            let coordinator = store.coordinator.clone();
            deeds.push(Box::pin(async move {
                for _ in 0..4 {
                    settled(release(&coordinator).await);
                }
            }));
        }
        let coordinator = store.coordinator.clone();
        deeds.push(Box::pin(async move {
            // The clone wins, or is told that the snapshot is gone.
            if let Some(Created::New(job)) = settled(coordinator.submit_restore(clone_of(books, &twin)).await) {
                for _ in 0..8 {
                    settled(round(&coordinator, job.id, "n1").await);
                }
            }
        }));
        let coordinator = store.coordinator.clone();
        deeds.push(Box::pin(async move {
            settled(coordinator.create_snapshot(new_snapshot(books, "u", LATER_MS)).await);
            settled(coordinator.create_partition(books, "more").await);
            settled(coordinator.drop_partition(books, "more").await);
        }));
        let (coordinator, meta) = (store.coordinator.clone(), store.meta.clone());
        deeds.push(Box::pin(async move {
            let owner = node("w1");
            let places = [crate::store::rows_of(default)];
            if let Some(planned) = settled(meta.begin_write(books, &owner, LATER_MS, &places).await) {
                let files = crate::store::written(&places, planned, 10);
                settled(meta.commit_write(books, &owner, 1, &files).await);
            }
            if n % 2 == 0 {
                settled(coordinator.drop_collection(books).await);
            }
        }));
        at_once(deeds).await;
        assert_sound(&store.url).await;
        for open in store.meta.open_jobs().await.unwrap() {
            run(&store.coordinator, open.id).await;
        }
        release(&store.coordinator).await.unwrap();
        assert_sound(&store.url).await;
        assert_released_by_the_rule(&store.url).await;
        let mut after = elanus_types::FileSetId(0);
        while let Some(last) = {
            let page = store.meta.recount(after, 100).await.unwrap();
            assert_eq!(page.wrong, []);
            page.last
        } {
            after = last;
        }
    }
    // G-1: every clone that was completed has its files.
    store.clock.advance_ms(TOLERANCE_MS);
    delete(&store.coordinator).await;
    let lost = "SELECT COUNT(*) FROM memberships m JOIN file_sets f ON f.file_set_id = m.file_set_id \
                WHERE m.removed_ts = 9223372036854775807 AND m.release_id IS NULL AND f.state <> 'live'";
    assert_eq!(number(&store.url, lost).await, 0, "G-1");
}

async fn o_1_an_object_that_cannot_be_deleted_keeps_no_other_waiting_and_is_shown(store: Store) {
    let (coordinator, meta) = (&store.coordinator, &store.meta);
    let mut stuck = None;
    for name in ["books", "pens"] {
        let id = shelf(&store, name).await;
        coordinator.drop_collection(id).await.unwrap();
        release(coordinator).await.unwrap();
        store.clock.advance_ms(TOLERANCE_MS);
        let claimed = coordinator.claim_unneeded(Room::Any(10)).await.unwrap();
        if let Some(stuck) = &stuck {
            let failed = std::slice::from_ref(stuck);
            assert_eq!(claimed.file_sets, 5, "it is tried again");
            assert_eq!(coordinator.mark_gone_but(claimed.claim, failed, "access denied").await.unwrap(), 4, "O-1");
            break;
        }
        let stuck = stuck.insert(claimed.permits[0].key().clone());
        let mut claim = claimed.claim;
        for (round, gone) in [(1, 3), (2, 0), (3, 0), (4, 0)] {
            let failed = std::slice::from_ref(&*stuck);
            assert_eq!(coordinator.mark_gone_but(claim, failed, "access denied").await.unwrap(), gone, "{round}");
            let status = meta.gc_status().await.unwrap();
            assert_eq!((status.failing, status.failures[0].fails), (1, round));
            assert!(status.failures[0].key == stuck.as_str() && status.failures[0].why == "access denied");
            if round == 3 {
                assert!(!meta.is_anything_due().await.unwrap(), "it is tried seldom from now on");
                assert_eq!(coordinator.claim_unneeded(Room::Any(10)).await.unwrap().file_sets, 0);
                store.clock.advance_ms(30_000);
            }
            if round < 4 {
                let again = coordinator.claim_unneeded(Room::Any(10)).await.unwrap();
                assert_eq!((again.file_sets, again.permits[0].key()), (1, &*stuck), "{round}");
                claim = again.claim;
            }
        }
        let why = meta.gc_why(stuck).await.unwrap().unwrap();
        assert!(why.reasons.iter().any(|line| line == "could not be deleted 4 times: access denied"), "{why:?}");
    }
    assert_eq!(meta.gc_status().await.unwrap().failing, 1);
    store.clock.advance_ms(30_000);
    assert_eq!(delete(coordinator).await, 1);
    assert_eq!(meta.gc_status().await.unwrap().failing, 0);
}

async fn a_time_of_which_facts_are_forgotten_is_refused_and_a_snapshot_is_not(store: Store) {
    let (coordinator, meta) = (&store.coordinator, &store.meta);
    let books = store.collection("books").await;
    store.insert(books.id, books.partitions[0].id).await;
    let kept = snapshot(coordinator, books.id, "s").await.create_ts;
    let part = coordinator.create_partition(books.id, "part").await.unwrap().id;
    let (_, ts) = store.insert(books.id, part).await;
    coordinator.drop_partition(books.id, "part").await.unwrap();
    release(coordinator).await.unwrap();
    let after = meta.last_ts(books.id).await.unwrap().unwrap();
    let (of_kept, of_after) =
        (meta.view(books.id, Some(kept)).await.unwrap(), meta.view(books.id, None).await.unwrap());
    assert_eq!(meta.view(books.id, Some(ts)).await.unwrap().files.len(), 2, "its file waits in the queue");
    let check = async |when: &str| {
        let (code, text) = crate::store::refusal(meta.view(books.id, Some(ts)).await);
        assert!(code == 1100 && text.contains("read or restore a snapshot"), "{when}: {text}");
        assert_eq!(meta.view(books.id, Some(kept)).await.unwrap(), of_kept, "{when}");
        assert_eq!(meta.view(books.id, Some(after)).await.unwrap(), of_after, "{when}");
    };
    store.clock.advance_ms(TOLERANCE_MS);
    let claimed = coordinator.claim_unneeded(Room::Any(10)).await.unwrap();
    assert_eq!(claimed.file_sets, 1);
    check("being deleted").await;
    coordinator.mark_gone(claimed.claim).await.unwrap();
    check("deleted").await;
    store.clock.advance_ms(TOLERANCE_MS);
    while coordinator.forget(KEEP, 1).await.unwrap().total() > 0 {}
    assert!(meta.forgotten_ts(books.id).await.unwrap() > ts);
    check("forgotten").await;
}

on_every_store! {
    o_1_an_object_that_cannot_be_deleted_keeps_no_other_waiting_and_is_shown,
    a_time_of_which_facts_are_forgotten_is_refused_and_a_snapshot_is_not,
    iv_1_iv_3_random_histories_release_exactly_what_the_rule_says,
    g_1_g_2_what_is_needed_stays_and_everything_else_goes_down_to_the_last_row,
    g_2_the_reference_of_a_file_ends_with_its_last_snapshot_and_not_before,
    a_pinned_snapshot_keeps_a_dropped_collection_and_its_job_goes_on,
    brakes_keep_what_is_due_and_say_so,
    a_held_snapshot_is_not_dropped_and_keeps_its_collection,
    br_2_a_breaker_stops_a_collection_until_an_operator_applies_a_plan,
    a_purged_collection_comes_back_from_the_queue_as_it_was_or_not_at_all,
    i_7_a_recount_finds_a_reference_too_many_or_too_few,
    an_object_tells_who_keeps_it,
    drops_snapshots_clones_and_releases_at_once_leave_every_reference_right,
}
