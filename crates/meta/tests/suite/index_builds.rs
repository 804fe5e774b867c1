//! Index builds: from a plan to an index that lives and ends with its file of rows.

use crate::restoring::{assert_quiet, clone_of, content, new_restore, number, run, snapshot, submit_new};
use crate::rollback::roll_back;
use crate::store::{LATER_MS, Store, node, rows_of, written};
use elanus_meta::model::{
    Answer, CompactedFile, FileKind, FileRecord, IndexedFile, NewCompaction, NewIndexBuild, NewRestore, RestoreOptions,
    TaskMessage, TaskOwner,
};
use elanus_types::key::indexed_field;
use elanus_types::schema::IndexInfo;
use elanus_types::{Checksum, CollectionId, FieldId, Generation, PartitionId, Shard, TaskId, Timestamp};
use std::collections::BTreeMap;

const FIELD: FieldId = FieldId(101);
const QUEUED: &str = "SELECT COUNT(*) FROM file_sets WHERE kind = 'index' AND state = 'queued'";
const LIVE: &str = "SELECT COUNT(*) FROM file_sets WHERE kind = 'index' AND state = 'live'";

/// A collection with an index definition and two sealed files of rows.
async fn two(store: &Store) -> (CollectionId, PartitionId, IndexInfo) {
    let books = store.collection("books").await;
    let (id, partition) = (books.id, books.partitions[0].id);
    let index = define(store, id).await;
    for _ in 0..2 {
        write(store, id, partition).await;
    }
    store.coordinator.seal_segments(id).await.unwrap();
    (id, partition, index)
}

async fn define(store: &Store, id: CollectionId) -> IndexInfo {
    let params = [("index_type", "HNSW"), ("metric_type", "L2")];
    let params: BTreeMap<_, _> = params.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    store.coordinator.create_index(id, FIELD, "by_vector", params).await.unwrap()
}

async fn write(store: &Store, id: CollectionId, partition: PartitionId) {
    store.clock.advance_ms(5);
    let places = [rows_of(partition)];
    let planned = store.meta.begin_write(id, &node("w1"), LATER_MS, &places).await.unwrap();
    store.commit(id, &written(&places, planned, 10)).await.unwrap();
}

async fn files(store: &Store, id: CollectionId, kind: FileKind, at: Option<Timestamp>) -> Vec<FileRecord> {
    let mut files = store.meta.view(id, at).await.unwrap().files;
    files.retain(|file| file.kind == kind);
    files
}

/// What is missing, as the coordinator's policy finds it.
async fn missing(store: &Store, id: CollectionId) -> Vec<NewIndexBuild> {
    let view = store.meta.index_view(id, 1).await.unwrap();
    let mut builds = Vec::new();
    for index in &view.indexes {
        for file in view.files.iter().filter(|file| file.sealed) {
            if !view.built.contains(&(file.segment, file.base_ts, index.field_id)) {
                let (segment, file_set, rows) = (file.segment, file.file_set, file.rows);
                builds.push(NewIndexBuild { index: index.id, field: index.field_id, segment, file_set, rows });
            }
        }
    }
    builds
}

/// Claims what waits first, as `n1`; `None` when it is void.
async fn claim(store: &Store) -> Option<(TaskId, Generation)> {
    let task = store.meta.pending_tasks(10).await.unwrap().remove(0);
    assert!(matches!(task.owner, TaskOwner::Index(_)), "{task:?}");
    let claimed = store.coordinator.claim_task(task.id, task.generation, &node("n1"), LATER_MS).await.unwrap();
    claimed.map(|claimed| (claimed.task, claimed.generation))
}

async fn say(store: &Store, (task, generation): (TaskId, Generation), message: TaskMessage) -> Answer {
    store.coordinator.report_task(task, generation, &node("n1"), message).await.unwrap()
}

fn indexed() -> TaskMessage {
    TaskMessage::Indexed(IndexedFile { size: 77, checksum: Checksum(5) })
}

/// Builds everything that is missing; how many.
async fn build(store: &Store, id: CollectionId) -> u64 {
    let missing = missing(store, id).await;
    let planned = store.coordinator.plan_index_builds(id, &missing).await.unwrap();
    for _ in 0..planned {
        let claimed = claim(store).await.expect("file and definition hold");
        assert_eq!(say(store, claimed, indexed()).await, Answer::Accepted);
    }
    planned
}

/// IX-1: every index has its file of rows beside it.
async fn assert_named(store: &Store, id: CollectionId, count: usize) {
    let (indexes, rows) =
        (files(store, id, FileKind::Index, None).await, files(store, id, FileKind::Insert, None).await);
    assert_eq!(indexes.len(), count, "{indexes:?}");
    for index in &indexes {
        assert_eq!(indexed_field(&index.objects[0].key), Some(FIELD));
        let of = |file: &&FileRecord| (file.segment, file.base_ts) == (index.segment, index.base_ts);
        let file = rows.iter().find(of).unwrap_or_else(|| panic!("{index:?} is of no file"));
        assert_eq!((index.rows, index.partition, index.shard), (file.rows, file.partition, file.shard));
    }
    assert_quiet(&store.url).await;
}

async fn state(store: &Store) -> i64 {
    number(&store.url, "SELECT COUNT(*) FROM index_builds WHERE state = 'failed' AND reason = 'aborted'").await
}

async fn ix_1_an_index_is_a_member_beside_its_file_and_counts_no_rows(store: Store) {
    let (id, partition, index) = two(&store).await;
    let before = store.meta.statistics(id, &[]).await.unwrap().rows;
    let missing = missing(&store, id).await;
    assert_eq!(store.coordinator.plan_index_builds(id, &missing).await.unwrap(), 2);
    assert_eq!(store.coordinator.plan_index_builds(id, &missing).await.unwrap(), 0, "they are under way");
    let claimed = claim(&store).await.unwrap();
    let work = store.meta.index_work(claimed.0, claimed.1, &node("n1")).await.unwrap().unwrap();
    assert_eq!((work.collection, &work.index, work.input.file_set), (id, &index, missing[0].file_set));
    assert_eq!(indexed_field(&work.target), Some(FIELD));
    for (generation, worker) in [(Generation(9), "n1"), (claimed.1, "n2")] {
        assert!(store.meta.index_work(claimed.0, generation, &node(worker)).await.unwrap().is_none());
    }
    let beat = TaskMessage::Heartbeat { files_done: 0, bytes_done: 0, lease_until_ms: LATER_MS + 1 };
    assert_eq!(say(&store, claimed, beat).await, Answer::Accepted);
    for wrong in [TaskMessage::Finished, TaskMessage::Compacted(None)] {
        assert!(store.coordinator.report_task(claimed.0, claimed.1, &node("n1"), wrong).await.is_err());
    }
    let ts = store.meta.last_ts(id).await.unwrap().unwrap();
    assert_eq!(say(&store, claimed, indexed()).await, Answer::Accepted);
    assert_eq!(say(&store, claimed, indexed()).await, Answer::Accepted, "a repeat");
    let changes = store.meta.changes(id, ts).await.unwrap().unwrap();
    assert_eq!((changes.added.len(), changes.removed.len(), changes.redefined), (1, 0, false));
    assert_eq!((&changes.added[0].objects[0].key, changes.added[0].objects[0].size), (&work.target, 77));
    assert_named(&store, id, 1).await;
    assert_eq!(store.meta.statistics(id, &[]).await.unwrap().rows, before);
    assert_eq!(store.meta.segments(id).await.unwrap().iter().map(|one| one.rows).sum::<u64>(), before);
    write(&store, id, partition).await;
    assert!(store.meta.index_view(id, 1).await.unwrap().files.iter().any(|file| !file.sealed));
    assert!(store.meta.index_view(id, 11).await.unwrap().files.is_empty(), "they have ten rows");
}

async fn snapshots_restores_and_rollbacks_keep_indexes(store: Store) {
    let (id, partition, _) = two(&store).await;
    assert_eq!(build(&store, id).await, 2);
    snapshot(&store.coordinator, id, "s").await;
    let expected = content(&store.meta, id, None).await;
    for (new, extra) in [(clone_of(id, "clone"), 0), (new_restore(id, "copy"), 2)] {
        let before = number(&store.url, LIVE).await;
        let target = run(&store.coordinator, submit_new(&store.coordinator, new).await.id).await.target;
        assert_eq!(content(&store.meta, target, None).await, expected, "R-4");
        assert_named(&store, target, 2).await;
        assert_eq!(missing(&store, target).await, [], "nothing is to be built");
        assert_eq!(number(&store.url, LIVE).await - before, extra);
    }
    let options = RestoreOptions { with_indexes: false, ..clone_of(id, "bare").options };
    let bare = NewRestore { options, ..clone_of(id, "bare") };
    let bare = run(&store.coordinator, submit_new(&store.coordinator, bare).await.id).await.target;
    assert_named(&store, bare, 0).await;

    // What was there then comes back, what came since goes.
    write(&store, id, partition).await;
    store.coordinator.seal_segments(id).await.unwrap();
    assert_eq!(build(&store, id).await, 1);
    roll_back(&store, id, "s").await;
    assert_named(&store, id, 2).await;
    assert_eq!(content(&store.meta, id, None).await, expected);
}

async fn ix_1_2_a_rollback_brings_an_index_back_only_with_its_file(store: Store) {
    let (id, _, _) = two(&store).await;
    build(&store, id).await;
    snapshot(&store.coordinator, id, "s").await;
    // The files stay where they are, so their indexes could not say of which they are.
    store.coordinator.drop_index(id, "by_vector").await.unwrap();
    assert_named(&store, id, 0).await;
    roll_back(&store, id, "s").await;
    assert_named(&store, id, 0).await;
    assert_eq!(build(&store, id).await, 2, "they are built again");
    assert_named(&store, id, 2).await;
}

async fn ix_2_a_compaction_ends_the_indexes_of_its_inputs(store: Store) {
    let (id, partition, _) = two(&store).await;
    build(&store, id).await;
    let inputs: Vec<_> =
        files(&store, id, FileKind::Insert, None).await.iter().map(|file| (file.segment, file.file_set)).collect();
    let task = NewCompaction { partition, shard: Shard(0), inputs, rows: 20, bytes: 2_000 };
    assert_eq!(store.coordinator.plan_compactions(id, &[task]).await.unwrap(), 1);
    assert!(store.meta.index_view(id, 1).await.unwrap().files.iter().all(|file| file.busy));
    let task = store.meta.pending_tasks(10).await.unwrap().remove(0);
    let claimed = store.coordinator.claim_task(task.id, task.generation, &node("n1"), LATER_MS).await.unwrap().unwrap();
    let left = TaskMessage::Compacted(Some(CompactedFile { rows: 20, size: 900, checksum: Checksum(1) }));
    assert_eq!(say(&store, (claimed.task, claimed.generation), left).await, Answer::Accepted);
    assert_named(&store, id, 0).await;
    assert_eq!((number(&store.url, QUEUED).await, number(&store.url, LIVE).await), (2, 0), "G-2");
    assert_eq!(build(&store, id).await, 1);
    assert_named(&store, id, 1).await;
}

async fn ix_3_a_dropped_definition_ends_its_indexes_and_snapshots_keep_them(store: Store) {
    let (id, _, _) = two(&store).await;
    build(&store, id).await;
    let taken = snapshot(&store.coordinator, id, "s").await.create_ts;
    store.coordinator.drop_index(id, "by_vector").await.unwrap();
    assert_named(&store, id, 0).await;
    assert_eq!(files(&store, id, FileKind::Index, Some(taken)).await.len(), 2, "S-1");
    assert_eq!(number(&store.url, QUEUED).await, 0);
    define(&store, id).await;
    assert_eq!(build(&store, id).await, 2);
    store.coordinator.drop_index(id, "by_vector").await.unwrap();
    assert_eq!(number(&store.url, QUEUED).await, 2, "no snapshot has them");
    assert_quiet(&store.url).await;
}

async fn ix_4_a_build_whose_ground_moved_is_void(store: Store) {
    let (id, _, _) = two(&store).await;
    let missing = missing(&store, id).await;
    store.coordinator.plan_index_builds(id, &missing).await.unwrap();
    let claimed = claim(&store).await.unwrap();
    // The definition goes, and another one of the same words comes.
    store.coordinator.drop_index(id, "by_vector").await.unwrap();
    define(&store, id).await;
    assert_eq!(store.meta.index_work(claimed.0, claimed.1, &node("n1")).await.unwrap().map(|work| work.target), None);
    assert_eq!(say(&store, claimed, indexed()).await, Answer::Accepted, "its worker need not know");
    assert_eq!((state(&store).await, number(&store.url, QUEUED).await), (1, 1));
    assert_eq!(claim(&store).await, None, "the other one is found void before it is given");
    assert_eq!(state(&store).await, 2);
    assert_eq!(build(&store, id).await, 2);
    store.coordinator.drop_collection(id).await.unwrap();
    assert_eq!(store.coordinator.plan_index_builds(id, &missing).await.unwrap(), 0);
}

async fn a_worker_that_falls_silent_leaves_nothing_behind(store: Store) {
    let (id, _, _) = two(&store).await;
    let missing = missing(&store, id).await;
    store.coordinator.plan_index_builds(id, &missing[..1]).await.unwrap();
    let claimed = claim(&store).await.unwrap();
    store.clock.advance_ms(2 * 3_600_000);
    assert_eq!(store.coordinator.expire_tasks().await.unwrap().len(), 1);
    assert_eq!(number(&store.url, QUEUED).await, 1);
    assert_eq!(say(&store, claimed, indexed()).await, Answer::Fenced);
    store.clock.advance_ms(2_000);
    let task = store.meta.pending_tasks(10).await.unwrap().remove(0);
    let until = LATER_MS + 3 * 3_600_000;
    let again = store.coordinator.claim_task(task.id, task.generation, &node("n1"), until).await.unwrap().unwrap();
    let again = (again.task, again.generation);
    let why = TaskMessage::FailedPermanent { reason: "damaged".to_owned(), files: Vec::new() };
    assert_eq!(say(&store, again, why).await, Answer::Accepted);
    let view = store.meta.index_view(id, 1).await.unwrap();
    assert_eq!((view.building.len(), view.failed.len()), (0, 1), "it is let be for a time");
    assert_eq!(store.coordinator.forget_index_builds(i64::MAX, 10).await.unwrap(), 1);
    assert_quiet(&store.url).await;
}

on_every_store!(
    ix_1_an_index_is_a_member_beside_its_file_and_counts_no_rows,
    snapshots_restores_and_rollbacks_keep_indexes,
    ix_1_2_a_rollback_brings_an_index_back_only_with_its_file,
    ix_2_a_compaction_ends_the_indexes_of_its_inputs,
    ix_3_a_dropped_definition_ends_its_indexes_and_snapshots_keep_them,
    ix_4_a_build_whose_ground_moved_is_void,
    a_worker_that_falls_silent_leaves_nothing_behind,
);
