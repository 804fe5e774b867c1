//! A collection worth restoring, and what the background tasks of a coordinator do, one round at a time.

use crate::store::{LATER_MS, Store, deletes_of, node, rows_of, written};
use elanus_meta::model::{
    Assignment, CleanUp, CollectionKey, Created, FilePlace, JobRecord, ManifestRecord, NewRestore, NewSnapshot,
    RestoreOptions, SnapshotFiles, SnapshotRecord, StoredObject, TaskBounds, TaskMessage, Totals,
};
use elanus_meta::{CommitHook, Coordinator, Meta, MetaError, Result, Room, SnapshotFilesPlan};
use elanus_types::schema::{CollectionDefinition, IndexInfo, PartitionInfo};
use elanus_types::{
    Checksum, CollectionId, FieldId, FileSetId, IndexId, JobId, PartitionId, RestoreMode, Shard, Timestamp,
};
use sqlx::{AnyConnection, Connection, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// How long a worker may be silent.
pub(crate) const LEASE_MS: i64 = 60_000;
/// Small, so that a small collection makes several tasks.
pub(crate) const BOUNDS: TaskBounds = TaskBounds { bytes_max: 3_000, files_max: 3 };

/// A collection with a snapshot `s`, and much that happened to it before and after.
pub(crate) async fn filled(store: &Store) -> (CollectionId, SnapshotRecord) {
    let coordinator = &store.coordinator;
    let books = store.collection("books").await;
    let (id, default) = (books.id, books.partitions[0].id);
    let old = coordinator.create_partition(id, "old").await.unwrap().id;
    let gone = coordinator.create_partition(id, "gone").await.unwrap().id;
    let params = BTreeMap::from([("index_type".to_owned(), "FLAT".to_owned())]);
    coordinator.create_index(id, FieldId(101), "by_vector", params).await.unwrap();
    let second = |place: FilePlace| FilePlace { shard: Shard(1), ..place };
    let places = [
        rows_of(default),
        second(rows_of(default)),
        rows_of(old),
        deletes_of(PartitionId::ALL),
        second(deletes_of(old)),
        rows_of(gone),
    ];
    write(store, id, &places).await;
    coordinator.seal_segments(id).await.unwrap();
    coordinator.drop_partition(id, "gone").await.unwrap();
    write(store, id, &places[..5]).await;
    let snapshot = snapshot(coordinator, id, "s").await;
    write(store, id, &places[..5]).await;
    coordinator.drop_partition(id, "old").await.unwrap();
    coordinator.drop_index(id, "by_vector").await.unwrap();
    coordinator.create_partition(id, "new").await.unwrap();
    (id, snapshot)
}

async fn write(store: &Store, collection: CollectionId, places: &[FilePlace]) -> Timestamp {
    store.clock.advance_ms(5);
    let planned = store.meta.begin_write(collection, &node("w1"), LATER_MS, places).await.unwrap();
    store.commit(collection, &written(places, planned, 10)).await.unwrap()
}

pub(crate) fn new_snapshot(collection: CollectionId, name: &str, lease_until_ms: i64) -> NewSnapshot {
    NewSnapshot {
        collection,
        name: name.to_owned(),
        description: "nightly".to_owned(),
        owner: node("writer"),
        lease_until_ms,
        compaction_protected_until_ms: 0,
        idempotency_key: None,
    }
}

/// A committed snapshot.
pub(crate) async fn snapshot(coordinator: &Coordinator, collection: CollectionId, name: &str) -> SnapshotRecord {
    let created = coordinator.create_snapshot(new_snapshot(collection, name, LATER_MS)).await.unwrap();
    let Created::New(created) = created else { panic!("{created:?}") };
    let plan = coordinator.begin_snapshot_files(created.id, &node("writer"), LATER_MS, 1).await.unwrap();
    coordinator.commit_snapshot(created.id, &node("writer"), &files_of(plan), Totals::default()).await.unwrap()
}

/// What a writer makes of a plan, of its own alone.
pub(crate) fn files_of(plan: SnapshotFilesPlan) -> SnapshotFiles {
    let manifest = |(file_set, object)| ManifestRecord {
        file_set,
        object,
        entries_added: 3,
        entries_removed: 1,
        files: 4,
        rows: 5,
        bytes: 6,
    };
    let manifests = plan.manifests.into_iter().map(|planned| manifest(stored(planned))).collect();
    SnapshotFiles { base: None, manifests, metadata: stored(plan.metadata) }
}

pub(crate) fn stored((file_set, key): (FileSetId, elanus_types::ObjectKey)) -> (FileSetId, StoredObject) {
    (file_set, StoredObject { key, size: 7, checksum: Checksum(7) })
}

pub(crate) fn new_restore(source: CollectionId, target: &str) -> NewRestore {
    NewRestore {
        source,
        snapshot_name: "s".to_owned(),
        target_database: "default".to_owned(),
        target_name: target.to_owned(),
        options: RestoreOptions::whole(RestoreMode::Copy),
        deadline_ms: LATER_MS,
    }
}

/// As [`new_restore`], sharing the files.
pub(crate) fn clone_of(source: CollectionId, target: &str) -> NewRestore {
    NewRestore { options: RestoreOptions::whole(RestoreMode::Clone), ..new_restore(source, target) }
}

/// A new job that copies, not yet planned.
pub(crate) async fn submit(coordinator: &Coordinator, source: CollectionId, target: &str) -> JobRecord {
    submit_new(coordinator, new_restore(source, target)).await
}

/// A new job, nothing of which is done yet.
pub(crate) async fn submit_new(coordinator: &Coordinator, new: NewRestore) -> JobRecord {
    match coordinator.submit_restore(new).await.unwrap() {
        Created::New(job) => job,
        Created::Joined(job) => panic!("joined {job:?}"),
    }
}

pub(crate) async fn job(meta: &Meta, id: JobId) -> JobRecord {
    meta.job(id).await.unwrap().unwrap()
}

/// Gives every task that may be tried to a worker.
pub(crate) async fn claim_all(coordinator: &Coordinator, worker: &str) -> Result<Vec<Assignment>> {
    let meta = coordinator.meta();
    let lease_until_ms = meta.clock().now_ms() + LEASE_MS;
    let mut claimed = vec![];
    for task in meta.pending_tasks(100).await? {
        claimed.extend(coordinator.claim_task(task.id, task.generation, &node(worker), lease_until_ms).await?);
    }
    Ok(claimed)
}

/// What the workers of the claimed tasks say: half done, then done.
pub(crate) async fn finish_all(coordinator: &Coordinator) -> Result<()> {
    let meta = coordinator.meta();
    let lease_until_ms = meta.clock().now_ms() + LEASE_MS;
    for task in meta.in_progress_tasks().await? {
        let (worker, generation) = (task.worker.unwrap(), task.generation);
        let Some(assignment) = coordinator.assignment(task.id).await? else { continue };
        let half = TaskMessage::Heartbeat {
            files_done: assignment.files.len() as u64 / 2,
            bytes_done: assignment.files.iter().map(|file| file.source.size).sum::<u64>() / 2,
            lease_until_ms,
        };
        for message in [half, TaskMessage::Finished] {
            coordinator.report_task(task.id, generation, &worker, message).await?;
        }
    }
    Ok(())
}

/// Deletes what may be deleted, in small bites; how many file sets.
pub(crate) async fn sweep(coordinator: &Coordinator) -> Result<usize> {
    let mut swept = 0;
    loop {
        let claimed = coordinator.claim_unneeded(Room::Any(4)).await?;
        if claimed.file_sets == 0 {
            return Ok(swept);
        }
        assert!(claimed.permits.len() as u64 >= claimed.file_sets);
        swept += coordinator.mark_gone(claimed.claim).await? as usize;
    }
}

/// One round of every background task; true when the job is over.
pub(crate) async fn round(coordinator: &Coordinator, id: JobId, worker: &str) -> Result<bool> {
    coordinator.expire_tasks().await?;
    let Some(job) = coordinator.meta().job(id).await? else { return Ok(true) };
    match job.state.label() {
        "pending" if job.options.mode == RestoreMode::Clone => coordinator.clone_job(id).await?,
        "pending" => coordinator.plan_job(id, BOUNDS).await?,
        "copying" => {
            claim_all(coordinator, worker).await?;
            finish_all(coordinator).await?;
            coordinator.publish_job(id).await?;
        }
        "publishing" => coordinator.publish_job(id).await?,
        "failing" => {
            coordinator.clean_up_job(id).await?;
            sweep(coordinator).await?;
            if coordinator.clean_up_job(id).await? == CleanUp::Done {
                return Ok(true);
            }
        }
        _ => return Ok(true),
    }
    Ok(false)
}

/// Rounds until the job is over; its last state.
pub(crate) async fn run(coordinator: &Coordinator, id: JobId) -> JobRecord {
    for _ in 0..20 {
        if round(coordinator, id, "n1").await.unwrap() {
            return job(coordinator.meta(), id).await;
        }
    }
    panic!("not over: {:?}", job(coordinator.meta(), id).await);
}

/// A collection without what a restore gives anew: ids of the collection, of partitions, indexes, segments and files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Content {
    definition: CollectionDefinition,
    /// Partition, shard, kind, base timestamp, rows, sizes and checksums of each file, sorted.
    files: Vec<String>,
}

impl Content {
    /// The part that has rows of these partitions, in a collection that has those.
    pub(crate) fn only(&self, rows_of: &[&str], has: &[&str], with_indexes: bool) -> Self {
        let mut definition = self.definition.clone();
        definition.partitions.retain(|partition| has.contains(&partition.name.as_str()));
        definition.indexes.retain(|_| with_indexes);
        let in_part = |file: &&String| {
            let partition = file.split(' ').next().unwrap_or_default();
            partition == "every" || rows_of.contains(&partition)
        };
        Self { definition, files: self.files.iter().filter(in_part).cloned().collect() }
    }
}

/// What a collection holds at a time, or now.
pub(crate) async fn content(meta: &Meta, id: CollectionId, at: Option<Timestamp>) -> Content {
    let view = meta.view(id, at).await.unwrap();
    let definition = meta.definition_at(id, view.ts).await.unwrap();
    let names: BTreeMap<PartitionId, String> =
        definition.partitions.iter().map(|partition| (partition.id, partition.name.clone())).collect();
    let mut files: Vec<String> = view
        .files
        .iter()
        .map(|file| {
            let objects: Vec<_> = file.objects.iter().map(|object| (object.size, object.checksum)).collect();
            let partition = names.get(&file.partition).map_or("every", String::as_str);
            format!("{partition} {} {:?} {} {} {objects:?}", file.shard.0, file.kind, file.base_ts, file.rows)
        })
        .collect();
    files.sort();
    let partitions =
        definition.partitions.iter().map(|one| PartitionInfo { id: PartitionId(0), name: one.name.clone() }).collect();
    let indexes = definition.indexes.iter().map(|one| IndexInfo { id: IndexId(0), ..one.clone() }).collect();
    Content { definition: CollectionDefinition { partitions, indexes, ..definition }, files }
}

/// A live collection by name.
pub(crate) async fn by_name(meta: &Meta, name: &str) -> Option<CollectionId> {
    let key = CollectionKey::Name { database: "default".to_owned(), name: name.to_owned() };
    meta.collection(&key).await.unwrap().map(|record| record.id)
}

/// A number that a statement gives, read beside the store.
pub(crate) async fn number(url: &str, sql: &'static str) -> i64 {
    let mut connection = beside(url).await;
    let number = sqlx::query(sql).fetch_one(&mut connection).await.unwrap().get(0);
    connection.close().await.unwrap();
    number
}

/// Changes rows behind the store's back.
pub(crate) async fn damage(url: &str, sql: &'static str) {
    let mut connection = beside(url).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A connection of its own; the drivers are there since the store was opened.
async fn beside(url: &str) -> AnyConnection {
    AnyConnection::connect(url).await.unwrap()
}

/// What must hold when no restore is under way, however it came to that.
pub(crate) async fn assert_quiet(url: &str) {
    for (what, sql) in [
        ("pins", "SELECT COUNT(*) FROM pins WHERE job_id IS NOT NULL"),
        ("hidden collections", "SELECT COUNT(*) FROM collections WHERE state = 'restoring'"),
        (
            "facts of no collection",
            "SELECT COUNT(*) FROM (SELECT collection_id FROM segments UNION SELECT collection_id FROM partitions \
             UNION SELECT collection_id FROM indexes UNION SELECT collection_id FROM collection_versions) parts \
             WHERE collection_id NOT IN (SELECT collection_id FROM collections)",
        ),
        (
            "file sets of jobs that are neither live nor gone",
            "SELECT COUNT(*) FROM file_sets WHERE job_id IS NOT NULL AND state NOT IN ('live', 'gone')",
        ),
        (
            "live file sets that are referenced otherwise than they say",
            "SELECT COUNT(*) FROM file_sets f WHERE state = 'live' AND refs <> \
             (SELECT COUNT(*) FROM memberships m WHERE m.file_set_id = f.file_set_id AND m.release_id IS NULL) + \
             (SELECT COUNT(*) FROM snapshot_file_sets s WHERE s.file_set_id = f.file_set_id)",
        ),
        (
            "live objects of unknown size",
            "SELECT COUNT(*) FROM objects o JOIN file_sets f ON f.file_set_id = o.file_set_id \
             WHERE f.state = 'live' AND (o.size_bytes IS NULL OR o.checksum IS NULL)",
        ),
    ] {
        assert_eq!(number(url, sql).await, 0, "{what}");
    }
}

/// Nothing of a restore to `target` is left.
pub(crate) async fn assert_nothing_left(store: &Store, target: &str) {
    assert_quiet(&store.url).await;
    assert_eq!(by_name(&store.meta, target).await, None);
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM copy_items").await, 0, "plans");
    assert_eq!(
        number(&store.url, "SELECT COUNT(*) FROM file_sets WHERE job_id IS NOT NULL AND state <> 'gone'").await,
        0,
        "files"
    );
    assert_eq!(number(&store.url, "SELECT COUNT(*) FROM collections").await, 1, "collections");
}

/// Code and start of a refusal's text.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T>) -> i32 {
    match result {
        Err(MetaError::Refused(failure)) => failure.code.number(),
        other => panic!("expected a refusal: {other:?}"),
    }
}

/// A process that dies once, around its `n`-th commit.
#[derive(Debug)]
pub(crate) struct DiesAt {
    commits_left: AtomicI64,
    applied: bool,
}

impl DiesAt {
    pub(crate) fn commit(n: i64, applied: bool) -> Arc<Self> {
        Arc::new(Self { commits_left: AtomicI64::new(n), applied })
    }
}

impl CommitHook for DiesAt {
    fn before(&self) -> Result<()> {
        match self.commits_left.fetch_sub(1, Ordering::SeqCst) {
            0 if !self.applied => Err(MetaError::Unavailable(sqlx::Error::PoolClosed)),
            _ => Ok(()),
        }
    }

    fn after(&self) -> Result<()> {
        match self.commits_left.load(Ordering::SeqCst) {
            -1 if self.applied => Err(MetaError::CommitUnknown(sqlx::Error::PoolClosed)),
            _ => Ok(()),
        }
    }
}
