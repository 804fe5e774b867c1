//! Rollback in place.

use crate::restoring::{self, assert_quiet, code, files_of, filled, job, new_restore, number, round, snapshot, submit};
use crate::store::{LATER_MS, START_MS, Store, deletes_of, node, refusal, rows_of, written};
use elanus_meta::model::{CollectionView, FileRecord, SnapshotRecord, Totals};
use elanus_meta::{Begun, Meta, MetaError, NewRollback, RollbackRecord};
use elanus_types::schema::CollectionDefinition;
use elanus_types::{CollectionId, FieldId, FileSetId, IndexId, PartitionId, SegmentId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const HOLD_MS: i64 = 10_000;

fn new_rollback(meta: &Meta, collection: CollectionId, snapshot_name: &str) -> NewRollback {
    NewRollback {
        collection,
        snapshot_name: snapshot_name.to_owned(),
        owner: node("writer"),
        lease_until_ms: LATER_MS,
        held_until_ms: meta.clock().now_ms() + HOLD_MS,
    }
}

async fn begin(store: &Store, collection: CollectionId, name: &str) -> (SnapshotRecord, SnapshotRecord) {
    match store.coordinator.begin_rollback(new_rollback(&store.meta, collection, name)).await.unwrap() {
        Begun::New { snapshot, safety } => (snapshot, safety),
        other => panic!("{other:?}"),
    }
}

/// Makes a safety snapshot complete.
async fn complete(store: &Store, safety: &SnapshotRecord) {
    let coordinator = &store.coordinator;
    let plan = coordinator.begin_snapshot_files(safety.id, &node("writer"), LATER_MS, 1).await.unwrap();
    let files = files_of(plan);
    coordinator.commit_snapshot(safety.id, &node("writer"), &files, Totals::default()).await.unwrap();
}

/// As a coordinator does it; `None` when something was committed meanwhile.
async fn try_roll_back(store: &Store, collection: CollectionId, name: &str) -> Option<RollbackRecord> {
    let (snapshot, safety) = begin(store, collection, name).await;
    complete(store, &safety).await;
    store.coordinator.commit_rollback(collection, snapshot.id, safety.id).await.unwrap()
}

pub(crate) async fn roll_back(store: &Store, collection: CollectionId, name: &str) -> RollbackRecord {
    try_roll_back(store, collection, name).await.expect("nothing was committed meanwhile")
}

/// What a collection holds at a time, or now: names in place of ids, in no order, for what comes back has new ids.
async fn content(meta: &Meta, id: CollectionId, at: Option<Timestamp>) -> (CollectionDefinition, Vec<String>) {
    let view = meta.view(id, at).await.unwrap();
    let mut definition = meta.definition_at(id, view.ts).await.unwrap();
    let name = |id: PartitionId| definition.partitions.iter().find(|one| one.id == id).map(|one| one.name.clone());
    let line = |file: &FileRecord| {
        assert_eq!(file.partition == PartitionId::ALL, name(file.partition).is_none(), "{file:?}");
        let (partition, shard) = (name(file.partition), file.shard);
        format!("{partition:?} {shard:?} {:?} {} {} {:?}", file.kind, file.base_ts, file.rows, file.objects)
    };
    let mut files: Vec<String> = view.files.iter().map(line).collect();
    files.sort();
    definition.partitions.iter_mut().for_each(|one| one.id = PartitionId(0));
    definition.partitions.sort_by(|a, b| a.name.cmp(&b.name));
    definition.indexes.iter_mut().for_each(|one| one.id = IndexId(0));
    (definition, files)
}

/// A reader that carries its view on through changes, as query nodes do.
struct Follower {
    ts: Timestamp,
    files: BTreeMap<(SegmentId, FileSetId), FileRecord>,
}

impl Follower {
    fn new() -> Self {
        Self { ts: Timestamp::ZERO, files: BTreeMap::new() }
    }

    async fn check(&mut self, meta: &Meta, id: CollectionId) {
        let changes = meta.changes(id, self.ts).await.unwrap().unwrap();
        for member in &changes.removed {
            assert!(self.files.remove(member).is_some(), "{member:?} was shown");
        }
        for file in changes.added {
            assert!(self.files.insert((file.segment, file.file_set), file).is_none());
        }
        self.ts = changes.ts;
        let CollectionView { ts, files, .. } = meta.view(id, None).await.unwrap();
        assert_eq!((self.ts, self.files.values().cloned().collect::<Vec<_>>()), (ts, files), "changes and view");
    }
}

async fn rb_2_a_rollback_brings_back_exactly_what_the_snapshot_holds(store: Store) {
    let (id, record) = filled(&store).await;
    let mut follower = Follower::new();
    follower.check(&store.meta, id).await;
    let then = content(&store.meta, id, Some(record.create_ts)).await;
    let before = content(&store.meta, id, None).await;
    assert_ne!(then, before);

    let done = roll_back(&store, id, "s").await;
    assert_eq!(content(&store.meta, id, None).await, then);
    follower.check(&store.meta, id).await;
    assert_quiet(&store.url).await;
    let names: Vec<String> = store.record(id).await.unwrap().partitions.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["_default", "old"], "by id: one that came back is newer");

    // RB-1, and every snapshot stays what it was.
    let safety = store.meta.snapshot(id, &done.safety_name).await.unwrap().unwrap();
    assert_eq!(safety.id, done.safety);
    assert_eq!(content(&store.meta, id, Some(safety.create_ts)).await, before);
    assert_eq!(content(&store.meta, id, Some(record.create_ts)).await, then);

    roll_back(&store, id, &done.safety_name).await;
    assert_eq!(content(&store.meta, id, None).await, before, "there and back");
    follower.check(&store.meta, id).await;
    assert_quiet(&store.url).await;
    let growing = "SELECT COUNT(*) FROM segments WHERE state = 'growing'";
    assert_eq!(number(&store.url, growing).await, 0, "later writes go to fresh segments");
    let wrong = "SELECT COUNT(*) FROM segments s WHERE (state = 'dropped') = EXISTS (SELECT 1 FROM memberships m \
                 WHERE m.segment_id = s.segment_id AND m.removed_ts = 9223372036854775807)";
    assert_eq!(number(&store.url, wrong).await, 0, "dropped segments are those without files");
}

async fn a_repeat_answers_what_was_done_until_something_changes(store: Store) {
    let (id, _) = filled(&store).await;
    let (snapshot, safety) = begin(&store, id, "s").await;
    complete(&store, &safety).await;
    let commit = || store.coordinator.commit_rollback(id, snapshot.id, safety.id);
    let done = commit().await.unwrap().unwrap();
    let view = store.meta.view(id, None).await.unwrap();
    assert_eq!(commit().await.unwrap(), Some(done.clone()));
    let again = store.coordinator.begin_rollback(new_rollback(&store.meta, id, "s")).await.unwrap();
    assert!(matches!(again, Begun::Done(found) if found == done));
    assert_eq!(store.meta.view(id, None).await.unwrap(), view);
    assert_eq!(store.meta.rollback_of(safety.id).await.unwrap(), Some(done.clone()));

    store.insert(id, view.partitions[0]).await;
    assert_eq!(commit().await.unwrap(), Some(done.clone()), "the same request, late");
    let newer = roll_back(&store, id, "s").await;
    assert_ne!(newer.safety, done.safety);
    let files = |view: CollectionView| view.files.iter().map(|file| file.file_set).collect::<Vec<_>>();
    assert_eq!(files(store.meta.view(id, None).await.unwrap()), files(view));
}

async fn rb_1_what_is_committed_after_the_safety_snapshot_is_not_rolled_back(store: Store) {
    let (id, record) = filled(&store).await;
    let default = store.record(id).await.unwrap().partitions[0].id;
    let early = store.begin(id, &[rows_of(default)]).await;
    let (snapshot, safety) = begin(&store, id, "s").await;

    // Held: clients try again.
    assert_eq!(refusal(store.commit(id, &early).await).0, 8);
    assert_eq!(refusal(store.meta.begin_write(id, &node("w1"), LATER_MS, &[rows_of(default)]).await).0, 8);
    let other = store.coordinator.begin_rollback(new_rollback(&store.meta, id, "s")).await.unwrap();
    assert!(matches!(other, Begun::Held));

    // Not held any more: the write is acknowledged, the rollback is not done.
    store.clock.advance_ms(HOLD_MS);
    let ts = store.commit(id, &early).await.unwrap();
    complete(&store, &safety).await;
    assert_eq!(store.coordinator.commit_rollback(id, snapshot.id, safety.id).await.unwrap(), None);
    assert!(store.members(id, None).await.contains(&early[0].planned.file_set));

    let done = roll_back(&store, id, "s").await;
    let kept = store.meta.snapshot(id, &done.safety_name).await.unwrap().unwrap();
    assert!(kept.create_ts > ts && store.members(id, Some(kept.create_ts)).await.contains(&early[0].planned.file_set));
    assert_eq!(store.members(id, None).await, store.members(id, Some(record.create_ts)).await);
    store.insert(id, default).await;
}

async fn a_definition_that_changes_meanwhile_is_not_lost(store: Store) {
    let (id, _) = filled(&store).await;
    let changes: [&str; 3] = ["partition", "index", "drop"];
    for change in changes {
        let (snapshot, safety) = begin(&store, id, "s").await;
        complete(&store, &safety).await;
        match change {
            "partition" => drop(store.coordinator.create_partition(id, "meanwhile").await.unwrap()),
            "index" => {
                drop(store.coordinator.create_index(id, FieldId(101), "meanwhile", BTreeMap::new()).await.unwrap());
            }
            _ => store.coordinator.drop_partition(id, "meanwhile").await.unwrap(),
        }
        let before = content(&store.meta, id, None).await;
        assert_eq!(store.coordinator.commit_rollback(id, snapshot.id, safety.id).await.unwrap(), None, "{change}");
        assert_eq!(content(&store.meta, id, None).await, before);
        assert_eq!(store.coordinator.abandon_rollback(id, safety.id).await.unwrap(), None);
        assert_eq!(store.meta.snapshot(id, &safety.name).await.unwrap(), None, "nobody needs it");
    }
    let done = roll_back(&store, id, "s").await;
    assert_eq!(store.coordinator.abandon_rollback(id, done.safety).await.unwrap(), Some(done.clone()));
    assert!(store.meta.snapshot(id, &done.safety_name).await.unwrap().is_some(), "RB-1: kept when it happened");
    let (_, pending) = begin(&store, id, &done.safety_name).await;
    for _ in 0..2 {
        assert_eq!(store.coordinator.abandon_rollback(id, pending.id).await.unwrap(), None);
    }
    assert_eq!(store.meta.snapshot(id, &pending.name).await.unwrap(), None);
}

async fn a_drop_of_the_snapshot_meanwhile_ends_the_rollback(store: Store) {
    let (id, _) = filled(&store).await;
    let (snapshot, safety) = begin(&store, id, "s").await;
    let not_complete = store.coordinator.commit_rollback(id, snapshot.id, safety.id).await;
    assert_eq!(refusal(not_complete).0, 2600, "RB-1: the safety snapshot has no manifests");
    complete(&store, &safety).await;
    let before = content(&store.meta, id, None).await;
    store.coordinator.drop_snapshot(id, "s").await.unwrap();
    let (number, text) = refusal(store.coordinator.commit_rollback(id, snapshot.id, safety.id).await);
    assert!(number == 2600 && text.contains("snapshot not found"), "{text}");
    assert_eq!(content(&store.meta, id, None).await, before);
    assert_eq!(code(store.coordinator.begin_rollback(new_rollback(&store.meta, id, "s")).await), 2600);
    store.coordinator.drop_collection(id).await.unwrap();
    assert_eq!(code(store.coordinator.begin_rollback(new_rollback(&store.meta, id, "s")).await), 100);
    assert_eq!(code(store.coordinator.commit_rollback(id, snapshot.id, safety.id).await), 100);
}

async fn a_restore_that_runs_from_the_collection_is_not_disturbed(store: Store) {
    let (id, record) = filled(&store).await;
    let then = content(&store.meta, id, Some(record.create_ts)).await;
    for rounds in 0..4 {
        let target = format!("target{rounds}");
        let submitted = submit(&store.coordinator, id, &target).await;
        for _ in 0..rounds {
            round(&store.coordinator, submitted.id, "n1").await.unwrap();
        }
        let default = store.record(id).await.unwrap().partitions[0].id;
        store.insert(id, default).await;
        roll_back(&store, id, "s").await;
        while !round(&store.coordinator, submitted.id, "n1").await.unwrap() {}
        let ended = job(&store.meta, submitted.id).await;
        assert_eq!(ended.state.label(), "completed", "{ended:?}");
        let copied = restoring::content(&store.meta, ended.target, None).await;
        assert_eq!(copied, restoring::content(&store.meta, id, Some(record.create_ts)).await);
        assert_eq!(content(&store.meta, id, None).await, then);
        assert_quiet(&store.url).await;
    }
    assert_eq!(code(store.coordinator.submit_restore(new_restore(id, "target0")).await), 1100);
}

async fn a_collection_that_loses_its_index_is_released(store: Store) {
    let books = store.collection("books").await;
    let (id, coordinator) = (books.id, &store.coordinator);
    snapshot(coordinator, id, "bare").await;
    coordinator.create_index(id, FieldId(101), "by_vector", BTreeMap::new()).await.unwrap();
    snapshot(coordinator, id, "indexed").await;
    coordinator.set_loaded(id, &[], true).await.unwrap();
    coordinator.create_partition(id, "p").await.unwrap();
    snapshot(coordinator, id, "with_p").await;
    coordinator.drop_partition(id, "p").await.unwrap();

    roll_back(&store, id, "with_p").await;
    let back = store.record(id).await.unwrap();
    assert!(back.loaded && back.partitions.len() == 2 && back.partitions.iter().all(|one| one.loaded));
    roll_back(&store, id, "indexed").await;
    assert!(store.record(id).await.unwrap().loaded);
    roll_back(&store, id, "bare").await;
    let back = store.record(id).await.unwrap();
    assert!(!back.loaded && !back.partitions[0].loaded && back.definition.indexes.is_empty());
}

/// Small, and the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

async fn rb_2_whatever_happened_before_snapshots_and_readers_are_right(store: Store) {
    for seed in 0..6 {
        let mut dice = Dice(seed);
        let name = format!("c{seed}");
        let id = store.collection(&name).await.id;
        let mut follower = Follower::new();
        let mut snapshots = vec![];
        for step in 0..40 {
            store.clock.advance_ms(i64::try_from(dice.roll(3)).unwrap());
            let partitions = store.record(id).await.unwrap().partitions;
            match dice.roll(10) {
                0..=3 => {
                    let at = partitions[dice.roll(partitions.len())].id;
                    let places = [rows_of(at), deletes_of(PartitionId::ALL), deletes_of(at)];
                    let files = store.begin(id, &places[..=dice.roll(3)]).await;
                    store.commit(id, &files).await.unwrap();
                }
                4 => drop(store.coordinator.create_partition(id, &format!("p{}", dice.roll(3))).await.unwrap()),
                5 if partitions.len() > 1 => {
                    store.coordinator.drop_partition(id, &partitions[1].name).await.unwrap();
                }
                6 => drop(store.coordinator.seal_segments(id).await.unwrap()),
                7 if dice.roll(2) == 0 => store.coordinator.drop_index(id, "i").await.unwrap(),
                7 => drop(store.coordinator.create_index(id, FieldId(101), "i", BTreeMap::new()).await.unwrap()),
                8 => {
                    let made = snapshot(&store.coordinator, id, &format!("s{step}")).await;
                    snapshots.push((made.clone(), content(&store.meta, id, Some(made.create_ts)).await));
                }
                _ if !snapshots.is_empty() => {
                    let before = content(&store.meta, id, None).await;
                    let (to, held) = &snapshots[dice.roll(snapshots.len())];
                    if let Some(done) = roll_back_unless_done(&store, id, &to.name).await {
                        let safety = store.meta.snapshot(id, &done.safety_name).await.unwrap().unwrap();
                        assert_eq!(content(&store.meta, id, Some(safety.create_ts)).await, before);
                        assert_eq!(&content(&store.meta, id, None).await, held);
                        snapshots.push((safety, before));
                    }
                }
                _ => {}
            }
            if dice.roll(2) == 0 {
                follower.check(&store.meta, id).await;
            }
        }
        for (made, held) in &snapshots {
            assert_eq!(&content(&store.meta, id, Some(made.create_ts)).await, held, "{}", made.name);
        }
        assert_quiet(&store.url).await;
    }
}

async fn roll_back_unless_done(store: &Store, id: CollectionId, name: &str) -> Option<RollbackRecord> {
    match store.coordinator.begin_rollback(new_rollback(&store.meta, id, name)).await.unwrap() {
        Begun::New { snapshot, safety } => {
            complete(store, &safety).await;
            store.coordinator.commit_rollback(id, snapshot.id, safety.id).await.unwrap()
        }
        Begun::Done(_) => None,
        Begun::Held => panic!("nobody holds it"),
    }
}

async fn rb_1_rb_2_of_concurrent_writes_each_is_kept_or_in_a_safety_snapshot(store: Store) {
    let books = store.collection("books").await;
    let (id, default) = (books.id, books.partitions[0].id);
    let base = snapshot(&store.coordinator, id, "s").await;
    assert_eq!(base.create_ts.ms(), START_MS);
    let acknowledged: Arc<Mutex<Vec<(FileSetId, Timestamp)>>> = Arc::default();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (meta, acknowledged) = (store.meta.clone(), acknowledged.clone());
        writers.spawn(async move {
            let owner = node(&format!("w{writer}"));
            let mut done = 0;
            while done < 15 {
                let Ok(planned) = meta.begin_write(id, &owner, LATER_MS, &[rows_of(default)]).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let files = written(&[rows_of(default)], planned, 1);
                match meta.commit_write(id, &owner, 1, &files).await {
                    Ok(ts) => {
                        acknowledged.lock().unwrap().push((files[0].planned.file_set, ts));
                        done += 1;
                    }
                    Err(MetaError::Refused(failure)) => assert_eq!(failure.code.number(), 8, "{failure}"),
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    let mut rollbacks = vec![];
    while !writers.is_empty() {
        match store.coordinator.begin_rollback(new_rollback(&store.meta, id, "s")).await.unwrap() {
            Begun::New { snapshot, safety } => {
                complete(&store, &safety).await;
                let done = store.coordinator.commit_rollback(id, snapshot.id, safety.id).await.unwrap();
                rollbacks.push((done.expect("held"), safety));
            }
            Begun::Done(_) => {}
            Begun::Held => panic!("nobody else rolls back"),
        }
        while let Some(ended) = writers.try_join_next() {
            ended.unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert!(rollbacks.len() > 1, "{rollbacks:?}");
    let acknowledged = acknowledged.lock().unwrap().clone();
    for (file_set, ts) in &acknowledged {
        let undone = rollbacks.iter().find(|(done, _)| done.ts > *ts);
        assert_eq!(store.members(id, None).await.contains(file_set), undone.is_none());
        if let Some((_, safety)) = undone {
            assert!(safety.create_ts > *ts && store.members(id, Some(safety.create_ts)).await.contains(file_set));
        }
    }
    assert_quiet(&store.url).await;
}

on_every_store!(
    rb_2_a_rollback_brings_back_exactly_what_the_snapshot_holds,
    a_repeat_answers_what_was_done_until_something_changes,
    rb_1_what_is_committed_after_the_safety_snapshot_is_not_rolled_back,
    a_definition_that_changes_meanwhile_is_not_lost,
    a_drop_of_the_snapshot_meanwhile_ends_the_rollback,
    a_restore_that_runs_from_the_collection_is_not_disturbed,
    a_collection_that_loses_its_index_is_released,
    rb_2_whatever_happened_before_snapshots_and_readers_are_right,
    rb_1_rb_2_of_concurrent_writes_each_is_kept_or_in_a_safety_snapshot,
);
