//! A coordinator and a worker over real gRPC in one process, on SQLite and an object store in memory, which both outlive
//! the process.

pub(crate) mod effects;

use arrow::array::{ArrayRef, FixedSizeListArray, Int64Array, RecordBatch};
use arrow::datatypes::Float32Type;
use async_trait::async_trait;
use effects::{Commits, Effects, Writes};
use elanus_datacoord::{Bucket, DataCoord, DataCoordConfig, DeleteGuard, Former, OwnWorker};
use elanus_datanode::{DataNode, DataNodeConfig};
use elanus_events::LocalBus;
use elanus_meta::Meta;
use elanus_meta::model::{CollectionKey, CollectionRecord, FileKind};
use elanus_objects::{CountedStore, MemoryStore, ObjectStore, Requests};
use elanus_proto::convert::{failure_from_grpc, schema_to_proto};
use elanus_proto::datacoord as pb;
use elanus_proto::datacoord::data_coord_client::DataCoordClient;
use elanus_proto::datanode::data_node_client::DataNodeClient;
use elanus_proto::datanode::{DeleteBatch, Int64Keys, RowBatch, WriteRequest, delete_batch};
use elanus_proto::transport::{Channel, datacoord_client, datacoord_server, datanode_client, datanode_server};
use elanus_proto::{admin, datanode};
use elanus_runtime::background::Background;
use elanus_runtime::late::LateChannel;
use elanus_segment::{PkColumn, decode_deletes, decode_rows, to_ipc, ts_offsets};
use elanus_types::schema::CollectionSchema;
use elanus_types::{Clock as _, Failure, FieldId, ManualClock, NodeId, ObjectKey, RestoreMode, Timestamp};
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Passes over all background tasks after which the world must be quiet.
const PASSES_MAX: usize = 200;

/// What outlives a process.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) clock: Arc<ManualClock>,
    /// Of the processes that start from now on.
    pub(crate) config: DataCoordConfig,
    pub(crate) node_config: DataNodeConfig,
    starts: u32,
}

/// One process: coordinator and worker.
pub(crate) struct Process {
    calls: Calls,
    pub(crate) background: Background,
    datanode: DataNode,
    late: LateChannel,
}

/// What the world asks of a coordinator and of a worker.
pub(crate) struct Calls {
    pub(crate) meta: Meta,
    pub(crate) coord: DataCoordClient<Channel>,
    pub(crate) worker: DataNodeClient<Channel>,
}

impl Deref for Process {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.calls
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Calls {
        &mut self.calls
    }
}

/// The root path was taken from this cluster.
pub(crate) const FORMER: &str = "5e1f0e6c-0000-4000-8000-000000000001";

/// Owns the root path, until it does not.
#[derive(Debug, Default)]
pub(crate) struct Owner(pub(crate) AtomicBool);

#[async_trait]
impl DeleteGuard for Owner {
    async fn confirm_for_delete(&self) -> Result<(), String> {
        if self.0.load(Ordering::SeqCst) { Ok(()) } else { Err("another cluster owns the root path".to_owned()) }
    }

    async fn mark(&self) -> Result<(), String> {
        self.confirm_for_delete().await
    }

    async fn reconciled(&self) -> Result<Option<String>, String> {
        Ok(None)
    }

    async fn purgeable(&self, cluster_id: &str) -> Result<Former, String> {
        match cluster_id {
            FORMER => Ok(Former { cluster_id: FORMER.to_owned(), taken_ms: 1, reason: "burnt".to_owned() }),
            _ => Err("never the owner".to_owned()),
        }
    }
}

pub(crate) type Answer<T> = Result<T, Failure>;

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::at_ms(1_790_000_000_000));
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: Arc::new(MemoryStore::new(clock.clone())),
            requests: Arc::default(),
            clock,
            node_config: DataNodeConfig::default(),
            config: DataCoordConfig { copy_task_files_max: 2, ..DataCoordConfig::default() },
            starts: 0,
        }
    }

    pub(crate) fn meta_url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("meta.db").display())
    }

    /// Requests that the object store got so far, of every kind.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.total()
    }

    /// Starts the one process of the world, as a standalone program does.
    pub(crate) async fn start(&mut self, effects: Arc<Effects>) -> Answer<Process> {
        self.start_with(effects, Bucket::from).await
    }

    /// As [`World::start`], with a guard of the bucket.
    pub(crate) async fn start_with(
        &mut self,
        effects: Arc<Effects>,
        bucket: impl FnOnce(Arc<dyn ObjectStore>) -> Bucket,
    ) -> Answer<Process> {
        self.starts += 1;
        let node = NodeId(format!("node-{}", self.starts));
        let meta = Meta::open(&self.meta_url(), "5e1f0e6c-test", self.clock.clone()).await?;
        let hook = Commits { effects: effects.clone(), fail_after: AtomicBool::new(false) };
        let meta = meta.with_commit_hook(Arc::new(hook));
        let objects: Arc<dyn ObjectStore> = Arc::new(Writes { inner: self.store.clone(), effects });
        let objects: Arc<dyn ObjectStore> = Arc::new(CountedStore::new(objects, self.requests.clone()));
        let coordinator = meta.take_over(&node).await?;
        coordinator.expire_other_owners(std::slice::from_ref(&node)).await?;

        let background = Background::new(self.clock.clone());
        let late = LateChannel::new();
        let to_coord = datacoord_client(late.channel());
        let datanode = DataNode::new(meta.clone(), objects.clone(), to_coord, node.clone(), self.node_config);
        datanode.register(&background, "");
        let worker = datanode_client(Channel::in_process(datanode_server(datanode.clone())));
        let coord = DataCoord::start(
            coordinator,
            bucket(objects),
            Arc::new(LocalBus::new()),
            Arc::new(OwnWorker::new(node.clone(), worker.clone())),
            node,
            self.config,
            &background,
        );
        let channel = Channel::in_process(datacoord_server(coord));
        late.set(channel.clone());
        let calls = Calls { meta, coord: datacoord_client(channel), worker };
        Ok(Process { calls, background, datanode, late })
    }
}

impl Process {
    /// The end of a process that does not know it: nothing is drained.
    pub(crate) async fn end(self) {
        self.late.clear();
        self.background.shutdown().await;
        self.datanode.shutdown().await;
        self.calls.meta.close().await;
    }

    /// Until no background task finds work and no job is open. The clock moves: what was put off becomes due.
    pub(crate) async fn until_settled(&self, clock: &ManualClock) {
        for _ in 0..PASSES_MAX {
            self.background.run_until_quiet(PASSES_MAX).await.unwrap();
            let open = self.meta.open_jobs().await.unwrap();
            if open.is_empty() {
                return;
            }
            // A worker copies on its own.
            tokio::time::sleep(Duration::from_millis(2)).await;
            clock.advance_ms(500);
        }
        panic!("jobs do not end: {:?}", self.meta.open_jobs().await);
    }
}

impl Process {
    /// Lets compactions go on until none is open, for so many passes; whether that is so. The clock moves.
    pub(crate) async fn until_compacted(&self, clock: &ManualClock, passes_max: usize) -> bool {
        for _ in 0..passes_max {
            let _ = self.background.run_until_quiet(PASSES_MAX).await;
            let all = self.meta.compactions(None, 1_000).await.unwrap();
            if all.iter().all(|one| one.ended_ms.is_some()) {
                let _ = self.background.run_until_quiet(PASSES_MAX).await;
                return true;
            }
            // A worker compacts on its own.
            tokio::time::sleep(Duration::from_millis(2)).await;
            clock.advance_ms(500);
        }
        false
    }
}

impl Process {
    /// Lets index builds go on until every file of rows has its index; whether that is so. The clock moves.
    pub(crate) async fn until_indexed(&self, clock: &ManualClock, name: &str, passes_max: usize) -> bool {
        for _ in 0..passes_max {
            // Not long: a process that died is never quiet.
            let _ = self.background.run_until_quiet(20).await;
            let (files, indexes) = self.indexed(name).await;
            if files == indexes {
                return true;
            }
            // A worker builds on its own.
            tokio::time::sleep(Duration::from_millis(2)).await;
            clock.advance_ms(500);
        }
        false
    }
}

impl Calls {
    pub(crate) async fn create_collection(&mut self, name: &str) -> Answer<()> {
        let request = pb::CreateCollectionRequest {
            collection_name: name.to_owned(),
            schema: Some(schema_to_proto(name, &schema())),
            shards_num: 2,
            ..pb::CreateCollectionRequest::default()
        };
        self.coord.create_collection(request).await.map(drop).map_err(failure_from_grpc)
    }

    /// Upserts rows with these keys; one commit.
    pub(crate) async fn upsert(&mut self, name: &str, keys: &[i64]) -> Answer<()> {
        self.upsert_into(name, 0, keys).await
    }

    /// As [`Process::upsert`], into the `partition`-th partition.
    pub(crate) async fn upsert_into(&mut self, name: &str, partition: usize, keys: &[i64]) -> Answer<()> {
        let collection = self.coord.describe_collection(by_name(name)).await.map_err(failure_from_grpc)?.into_inner();
        let column: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let vectors = keys.iter().map(|key| Some([Some(*key as f32), Some(1.0)]));
        let vectors: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2));
        let batch = RecordBatch::try_from_iter([("pk", column), ("v", vectors)]).unwrap();
        let request = WriteRequest {
            collection_id: collection.id,
            rows: vec![RowBatch { partition_id: collection.partitions[partition].id, arrow_ipc: to_ipc(&batch) }],
            deletes: vec![DeleteBatch {
                partition_id: -1,
                keys: Some(delete_batch::Keys::Int64Keys(Int64Keys { values: keys.to_vec() })),
            }],
        };
        let written: Result<_, tonic::Status> = self.worker.write(request).await;
        written.map(|_: tonic::Response<datanode::WriteResponse>| ()).map_err(failure_from_grpc)
    }

    pub(crate) async fn snapshot(&mut self, name: &str, snapshot: &str) -> Answer<pb::Snapshot> {
        let request = pb::CreateSnapshotRequest {
            collection: Some(by_name(name)),
            name: snapshot.to_owned(),
            ..pb::CreateSnapshotRequest::default()
        };
        self.coord.create_snapshot(request).await.map(tonic::Response::into_inner).map_err(failure_from_grpc)
    }

    pub(crate) async fn restore(
        &mut self,
        name: &str,
        snapshot: &str,
        target: &str,
        mode: RestoreMode,
    ) -> Answer<pb::RestoreJob> {
        let request = pb::RestoreSnapshotRequest {
            source: Some(pb::SnapshotRef { collection: Some(by_name(name)), snapshot_name: snapshot.to_owned() }),
            target_collection_name: target.to_owned(),
            mode: mode.label().to_owned(),
            ..pb::RestoreSnapshotRequest::default()
        };
        self.coord.restore_snapshot(request).await.map(tonic::Response::into_inner).map_err(failure_from_grpc)
    }

    pub(crate) async fn drop_snapshot(&mut self, name: &str, snapshot: &str) -> Answer<()> {
        let of = pb::SnapshotRef { collection: Some(by_name(name)), snapshot_name: snapshot.to_owned() };
        self.coord.drop_snapshot(of).await.map(drop).map_err(failure_from_grpc)
    }

    pub(crate) async fn detach(&mut self, name: &str) -> Answer<pb::RestoreJob> {
        self.coord.detach_collection(by_name(name)).await.map(tonic::Response::into_inner).map_err(failure_from_grpc)
    }

    pub(crate) async fn compact(&mut self, name: &str) -> Answer<pb::CompactionJob> {
        self.coord.compact_collection(by_name(name)).await.map(tonic::Response::into_inner).map_err(failure_from_grpc)
    }

    /// Defines an index of the vectors, and ends the segments that grow.
    pub(crate) async fn index(&mut self, name: &str) -> Answer<()> {
        let collection = self.coord.describe_collection(by_name(name)).await.map_err(failure_from_grpc)?.into_inner();
        let params = [("index_type", "HNSW"), ("metric_type", "L2")];
        let request = pb::CreateIndexRequest {
            collection_id: collection.id,
            field_id: VECTORS.0,
            index_name: "v".to_owned(),
            params: params.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        };
        self.coord.create_index(request).await.map_err(failure_from_grpc)?;
        self.coord.flush(by_name(name)).await.map(drop).map_err(failure_from_grpc)
    }

    /// Files of rows of a collection, and indexes that are of one of them.
    pub(crate) async fn indexed(&self, name: &str) -> (usize, usize) {
        let collection = self.collection(name).await.expect("the collection is there");
        let view = self.meta.view(collection.id, None).await.unwrap();
        let of_kind = |kind| view.files.iter().filter(move |file| file.kind == kind);
        let names: BTreeSet<_> = of_kind(FileKind::Insert).map(|file| (file.segment, file.base_ts)).collect();
        let indexes = of_kind(FileKind::Index).map(|file| (file.segment, file.base_ts));
        let indexes: BTreeSet<_> = indexes.inspect(|of| assert!(names.contains(of), "IX-2: {of:?}")).collect();
        (names.len(), indexes.len())
    }

    /// The last job of this target.
    pub(crate) async fn job(&mut self, target: &str) -> Option<pb::RestoreJob> {
        self.jobs_of(target).await.pop()
    }

    pub(crate) async fn jobs_of(&mut self, target: &str) -> Vec<pb::RestoreJob> {
        let request =
            pb::ListRestoreJobsRequest { collection_name: target.to_owned(), ..pb::ListRestoreJobsRequest::default() };
        self.coord.list_restore_jobs(request).await.unwrap().into_inner().jobs
    }

    /// Keys of the objects that a collection has now.
    pub(crate) async fn keys(&self, name: &str) -> BTreeSet<ObjectKey> {
        let collection = self.collection(name).await.expect("the collection is there");
        let view = self.meta.view(collection.id, None).await.unwrap();
        view.files.into_iter().flat_map(|file| file.objects).map(|object| object.key).collect()
    }

    pub(crate) async fn collection(&self, name: &str) -> Option<CollectionRecord> {
        let key = CollectionKey::Name { database: "default".to_owned(), name: name.to_owned() };
        self.meta.collection(&key).await.unwrap()
    }

    /// Upserts that a collection shows: number of rows and of deleted keys.
    pub(crate) async fn rows(&self, name: &str) -> (u64, u64) {
        let collection = self.collection(name).await.expect("the collection is there");
        let sums = self.meta.statistics(collection.id, &[]).await.unwrap();
        (sums.rows, sums.delete_records)
    }

    /// Keys that a reader sees at a time, or now, each with the timestamps of its rows: from the files alone.
    pub(crate) async fn visible(
        &self,
        store: &dyn ObjectStore,
        name: &str,
        at: Option<Timestamp>,
    ) -> BTreeSet<(i64, i64)> {
        let collection = self.collection(name).await.expect("the collection is there");
        let view = self.meta.view(collection.id, at).await.unwrap();
        let (mut rows, mut deletes) = (Vec::new(), Vec::new());
        for file in &view.files {
            let bytes = store.get(&file.objects[0].key).await.unwrap();
            let (keys, offsets) = match file.kind {
                FileKind::Insert => {
                    let batch = decode_rows(&view.schema, bytes).unwrap();
                    (PkColumn::from_batch(&batch, "pk").unwrap(), ts_offsets(&batch).unwrap().values().to_vec())
                }
                FileKind::Index | FileKind::Manifest => continue,
                FileKind::Delete => {
                    let log = decode_deletes(view.schema.primary_key().data_type, bytes).unwrap();
                    (log.keys, log.ts_offsets)
                }
            };
            let PkColumn::Int(keys) = keys else { panic!("int64 keys") };
            let of = keys.into_iter().zip(offsets).map(|(key, offset)| (key, file.base_ts.0 + offset));
            match file.kind {
                FileKind::Insert => rows.extend(of),
                _ => deletes.extend(of),
            }
        }
        rows.retain(|(key, ts)| !deletes.iter().any(|(deleted, when)| deleted == key && when > ts));
        rows.into_iter().collect()
    }

    /// That the bucket is what the metadata says, to the last byte.
    pub(crate) async fn scrub(&mut self) -> admin::ScrubReport {
        let report =
            self.coord.scrub(admin::ScrubRequest { checksums: true, ..Default::default() }).await.unwrap().into_inner();
        assert!(report.missing.is_empty() && report.damaged.is_empty() && report.unknown.is_empty(), "{report:?}");
        assert!(report.orphans.is_empty(), "{report:?}");
        assert!(report.findings.is_empty(), "{report:?}");
        report
    }
}

pub(crate) fn by_name(name: &str) -> pb::CollectionRef {
    pb::CollectionRef { collection_name: name.to_owned(), ..pb::CollectionRef::default() }
}

/// The field of vectors.
const VECTORS: FieldId = FieldId(FieldId::FIRST_USER.0 + 1);

fn schema() -> CollectionSchema {
    use elanus_types::schema::{DataType, FieldSchema};
    let mut vectors = FieldSchema::new(VECTORS, "v", DataType::FloatVector);
    vectors.type_params.insert("dim".to_owned(), "2".to_owned());
    CollectionSchema {
        description: String::new(),
        fields: vec![
            FieldSchema {
                id: FieldId::FIRST_USER,
                name: "pk".to_owned(),
                description: String::new(),
                data_type: DataType::Int64,
                is_primary_key: true,
                auto_id: false,
                is_dynamic: false,
                nullable: false,
                element_type: None,
                default_value: None,
                type_params: Default::default(),
            },
            vectors,
        ],
        enable_dynamic_field: false,
        ..CollectionSchema::default()
    }
}

/// Moves the clock past every lease.
pub(crate) fn let_leases_end(world: &World) {
    let before = world.clock.now_ms();
    world.clock.advance_ms(10 * 60_000);
    assert!(world.clock.now_ms() > before);
}
