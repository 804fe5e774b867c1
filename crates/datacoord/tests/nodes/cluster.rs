//! Coordinators and workers over one metadata store and one object store in memory.

use crate::server::{Database, Server};
use crate::world::effects::{Commits, Effects, Writes};
use crate::world::{Calls, by_name};
use async_trait::async_trait;
use bytes::Bytes;
use elanus_datacoord::{DataCoord, DataCoordConfig, RemoteWorkers, Workers};
use elanus_datanode::{DataNode, DataNodeConfig};
use elanus_events::LocalBus;
use elanus_lifecycle::DeletePermit;
use elanus_meta::model::{KnownObject, TaskRecord, WorkerRecord};
use elanus_meta::{Meta, MetaError};
use elanus_objects::{Expected, MemoryStore, ObjectInfo, ObjectStore, Result as StoreResult, StaleUpload};
use elanus_proto::admin::ScrubRequest;
use elanus_proto::datacoord as pb;
use elanus_proto::datanode::{AssignTaskRequest, CopyFile, data_node_client::DataNodeClient};
use elanus_proto::transport::{Channel, datacoord_client, datacoord_server, datanode_client, datanode_server};
use elanus_runtime::background::Background;
use elanus_runtime::grpc::{self, GrpcConfig};
use elanus_runtime::late::LateChannel;
use elanus_types::{Checksum, Failure, ManualClock, NodeId, ObjectKey, RestoreMode};
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::ServiceExt as _;

const CLUSTER: &str = "5e1f0e6c-nodes";
/// Looks at the world after which what is waited for must be so.
const LOOKS_MAX: usize = 2_000;

/// What outlives processes.
pub(crate) struct Cluster {
    url: String,
    /// Where the metadata is on SQLite.
    _folder: Option<tempfile::TempDir>,
    /// Where it is on PostgreSQL.
    _database: Option<Database>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) config: DataCoordConfig,
    /// By how much the clock moves between two looks. Workers that are busy for many looks lose their leases.
    pub(crate) tick_ms: i64,
    /// Of the workers that start from now on.
    pub(crate) copies_at_once_max: usize,
    /// Keys that were created, with how often a write to them was asked for.
    pub(crate) written: Arc<Mutex<BTreeMap<ObjectKey, u32>>>,
}

/// A place where calls wait while it is closed.
#[derive(Clone, Debug)]
pub(crate) struct Door(watch::Sender<bool>);

impl Door {
    pub(crate) fn open() -> Self {
        Self(watch::Sender::new(true))
    }

    pub(crate) fn set_open(&self, open: bool) {
        self.0.send_replace(open);
    }

    async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// A process on the network.
struct Served {
    address: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn start(routes: Routes) -> Self {
        let listener = grpc::bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let config = GrpcConfig { drain_max: Duration::from_millis(1), ..GrpcConfig::default() };
        let serving = grpc::serve(listener, routes, config, stop.clone());
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// A coordinator that is a process.
pub(crate) struct Coord {
    pub(crate) calls: Calls,
    pub(crate) background: Background,
    pub(crate) datacoord: DataCoord,
    /// What it tells workers waits here.
    pub(crate) to_workers: Door,
    served: Served,
}

/// A worker that is a process.
pub(crate) struct Worker {
    meta: Meta,
    pub(crate) background: Background,
    datanode: DataNode,
    to_coord: LateChannel,
    /// Its copies wait here.
    pub(crate) copies: Door,
    served: Served,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("meta.db").display());
        Self::at(url, Some(folder), None)
    }

    pub(crate) async fn on_postgres() -> Self {
        let database = tokio::task::spawn_blocking(|| Server::shared().database()).await.unwrap();
        Self::at(database.url(), None, Some(database))
    }

    fn at(url: String, folder: Option<tempfile::TempDir>, database: Option<Database>) -> Self {
        let clock = Arc::new(ManualClock::at_ms(1_790_000_000_000));
        Self {
            url,
            _folder: folder,
            _database: database,
            store: Arc::new(MemoryStore::new(clock.clone())),
            clock,
            tick_ms: 100,
            copies_at_once_max: 64,
            config: DataCoordConfig { copy_task_files_max: 2, ..DataCoordConfig::default() },
            written: Arc::default(),
        }
    }

    async fn meta(&self, effects: Arc<Effects>) -> Meta {
        let meta = Meta::open(&self.url, CLUSTER, self.clock.clone()).await.unwrap();
        meta.with_commit_hook(Arc::new(Commits { effects, fail_after: AtomicBool::new(false) }))
    }

    fn objects(&self, effects: Arc<Effects>, copies: Door) -> Arc<dyn ObjectStore> {
        let seen = Seen { inner: self.store.clone(), copies, written: self.written.clone() };
        Arc::new(Writes { inner: Arc::new(seen), effects })
    }

    /// Starts a coordinator, which takes over. It believes to be the only one.
    pub(crate) async fn coord(&self, name: &str, effects: Arc<Effects>) -> Result<Coord, MetaError> {
        let meta = self.meta(effects.clone()).await;
        let objects = self.objects(effects, Door::open());
        let node = NodeId(name.to_owned());
        let coordinator = meta.take_over(&node).await?;
        let background = Background::new(self.clock.clone());
        let to_workers = Door::open();
        let workers = Arc::new(Delayed { inner: RemoteWorkers::default(), door: to_workers.clone() });
        let bus = Arc::new(LocalBus::new());
        let datacoord = DataCoord::start(coordinator, objects, bus, workers, node, self.config, &background);
        let served = Served::start(Routes::new(datacoord_server(datacoord.clone()))).await;
        let coord = datacoord_client(Channel::to(&served.address).unwrap());
        // Who writes needs a worker; the calls get it with the first one.
        let calls = Calls { meta, coord, worker: datanode_client(LateChannel::new().channel()) };
        Ok(Coord { calls, background, datacoord, to_workers, served })
    }

    /// Starts a worker of this coordinator.
    pub(crate) async fn worker(&self, name: &str, slots: usize, coord: &Coord, effects: Arc<Effects>) -> Worker {
        let copies = Door::open();
        let meta = self.meta(effects.clone()).await;
        let objects = self.objects(effects, copies.clone());
        let node = NodeId(name.to_owned());
        let to_coord = LateChannel::new();
        to_coord.set(Channel::to(&coord.served.address).unwrap());
        let copies_at_once_max = self.copies_at_once_max;
        let config = DataNodeConfig { copy_slots: slots, copies_at_once_max, ..DataNodeConfig::default() };
        let datanode = DataNode::new(meta.clone(), objects, datacoord_client(to_coord.channel()), node, config);
        let served = Served::start(Routes::new(datanode_server(datanode.clone()))).await;
        let background = Background::new(self.clock.clone());
        datanode.register(&background, &served.address);
        background.activate_and_wait("service.heartbeat").await;
        Worker { meta, background, datanode, to_coord, copies, served }
    }

    /// Rounds of all these processes, while the clock moves, until it is so.
    pub(crate) async fn until(
        &self,
        coords: &[&Coord],
        workers: &[&Worker],
        what: &str,
        mut so: impl AsyncFnMut() -> bool,
    ) {
        for _ in 0..LOOKS_MAX {
            for worker in workers {
                worker.background.activate_and_wait("service.heartbeat").await;
            }
            for coord in coords {
                // A coordinator that is fenced finds no quiet, one that waits for a worker neither.
                let _ = coord.background.run_until_quiet(20).await;
            }
            if so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.clock.advance_ms(self.tick_ms);
        }
        panic!("never: {what}");
    }

    /// Rounds until no job is open.
    pub(crate) async fn until_settled(&self, coord: &Coord, workers: &[&Worker]) {
        let meta = &coord.calls.meta;
        self.until(&[coord], workers, "no job is open", async || meta.open_jobs().await.unwrap().is_empty()).await;
    }
}

impl Coord {
    /// Three writes over `worker` and a snapshot of them; a restore is 8 copy tasks of a file set each or more.
    pub(crate) async fn filled(&mut self, worker: &Worker) {
        self.calls.worker = datanode_client(Channel::to(&worker.served.address).unwrap());
        self.calls.create_collection("source").await.unwrap();
        for keys in [[1, 2, 3, 4], [3, 4, 5, 6], [7, 8, 9, 10]] {
            self.calls.upsert("source", &keys).await.unwrap();
        }
        self.calls.snapshot("source", "s").await.unwrap();
    }

    /// A copy of it is under way.
    pub(crate) async fn copying(&mut self, target: &str) -> pb::RestoreJob {
        self.calls.restore("source", "s", target, RestoreMode::Copy).await.unwrap()
    }

    /// The order for a task, to copy one file that was copied before.
    pub(crate) async fn order(&self, task: &TaskRecord) -> AssignTaskRequest {
        let objects = self.calls.meta.known_objects(None, 10_000).await.unwrap();
        let same = |a: &KnownObject, b: &KnownObject| a.key < b.key && a.size == b.size && a.checksum == b.checksum;
        let twins = objects.iter().flat_map(|a| objects.iter().map(move |b| (a, b))).find(|(a, b)| same(a, b));
        let (source, target) = twins.expect("a file and its copy");
        let file = CopyFile {
            source_key: source.key.to_string(),
            target_key: target.key.to_string(),
            size: i64::try_from(source.size.unwrap()).unwrap(),
            checksum: source.checksum.unwrap().to_string(),
        };
        AssignTaskRequest {
            task_id: task.id.0,
            generation: task.generation.0,
            lease_ms: 60_000,
            files: vec![file],
            node_id: task.worker.clone().unwrap().0,
            ..AssignTaskRequest::default()
        }
    }

    /// Which worker has how many tasks.
    pub(crate) async fn at_work(&self) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for task in self.calls.meta.in_progress_tasks().await.unwrap() {
            *count.entry(task.worker.unwrap().0).or_default() += 1;
        }
        count
    }

    /// The job is completed, and its target holds what the snapshot holds.
    pub(crate) async fn assert_restored(&mut self, target: &str) {
        let job = self.calls.job(target).await.unwrap();
        assert_eq!((job.state.as_str(), job.progress), ("completed", 100), "{job:?}");
        assert_eq!(self.calls.rows(target).await, (12, 12), "R-4");
    }

    pub(crate) async fn collection_exists(&mut self, name: &str) -> bool {
        self.calls.coord.describe_collection(by_name(name)).await.is_ok()
    }

    /// Objects in the bucket that only a claim that was lost needed: its worker was within a call to the store when the
    /// claim's file sets were cleaned up. Nothing else is there that the metadata does not want, and nothing is missing.
    pub(crate) async fn of_lost_claims(&mut self) -> usize {
        let report = self
            .calls
            .coord
            .scrub(ScrubRequest { checksums: true, ..ScrubRequest::default() })
            .await
            .unwrap()
            .into_inner();
        assert!(report.missing.is_empty() && report.damaged.is_empty(), "{report:?}");
        assert!(report.unknown.is_empty(), "{report:?}");
        report.orphans.len()
    }

    /// The end of a process that does not know it.
    pub(crate) async fn end(self) {
        self.to_workers.set_open(true);
        self.served.end().await;
        self.background.shutdown().await;
        self.calls.meta.close().await;
    }
}

impl Worker {
    /// From now on it reports to this coordinator.
    pub(crate) fn follow(&self, coord: &Coord) {
        self.to_coord.set(Channel::to(&coord.served.address).unwrap());
    }

    /// Gives it an order, as a coordinator does that has stalled, and waits until nothing of it runs. It has one slot.
    pub(crate) async fn ordered(&self, order: AssignTaskRequest) {
        let mut node = datanode_client(Channel::to(&self.served.address).unwrap());
        let next = AssignTaskRequest { task_id: order.task_id + 1_000_000, files: vec![], ..order.clone() };
        assert!(node.assign_task(order).await.unwrap().into_inner().accepted);
        for _ in 0..LOOKS_MAX {
            if node.assign_task(next.clone()).await.unwrap().into_inner().accepted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the order never ends");
    }

    /// Ends as it should: what it has is given back.
    pub(crate) async fn drain(self) {
        self.datanode.shutdown().await;
        self.gone().await;
    }

    /// Ends as if it were killed: nobody is told anything.
    pub(crate) async fn kill(self) {
        self.to_coord.clear();
        self.copies.set_open(true);
        self.background.shutdown().await;
        self.served.stop.cancel();
        // What is left of it in this process.
        self.datanode.shutdown().await;
        self.served.task.await.unwrap();
        self.meta.close().await;
    }

    async fn gone(self) {
        self.background.shutdown().await;
        self.served.end().await;
        self.meta.close().await;
    }
}

/// Workers that are told late.
#[derive(Debug)]
struct Delayed {
    inner: RemoteWorkers,
    door: Door,
}

impl Workers for Delayed {
    fn reach(&self, worker: &WorkerRecord) -> Result<DataNodeClient<Channel>, Failure> {
        self.inner.reach(worker)?;
        let (door, there) = (self.door.clone(), Channel::to(&worker.address).unwrap());
        let call = move |request: http::Request<tonic::body::Body>| {
            let (door, there) = (door.clone(), there.clone());
            async move {
                door.pass().await;
                let answer = there.oneshot(request).await;
                Ok(answer.unwrap_or_else(|error| tonic::Status::unavailable(error.to_string()).into_http()))
            }
        };
        Ok(datanode_client(Channel::in_process(tower::service_fn(call))))
    }
}

/// Copies wait at a door, and every write is written down.
#[derive(Debug)]
struct Seen {
    inner: Arc<MemoryStore>,
    copies: Door,
    written: Arc<Mutex<BTreeMap<ObjectKey, u32>>>,
}

impl Seen {
    fn note(&self, key: &ObjectKey) {
        *self.written.lock().unwrap().entry(key.clone()).or_default() += 1;
    }
}

#[async_trait]
impl ObjectStore for Seen {
    async fn put(&self, key: &ObjectKey, bytes: Bytes) -> StoreResult<ObjectInfo> {
        self.note(key);
        self.inner.put(key, bytes).await
    }

    async fn copy(&self, from: &ObjectKey, to: &ObjectKey, expected: Expected) -> StoreResult<ObjectInfo> {
        self.copies.pass().await;
        self.note(to);
        self.inner.copy(from, to, expected).await
    }

    async fn get(&self, key: &ObjectKey) -> StoreResult<Bytes> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> StoreResult<Bytes> {
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> StoreResult<ObjectInfo> {
        self.inner.head(key).await
    }

    async fn checksum(&self, key: &ObjectKey) -> StoreResult<Checksum> {
        self.inner.checksum(key).await
    }

    fn list(&self, folder: Option<&ObjectKey>) -> BoxStream<'static, StoreResult<ObjectInfo>> {
        self.inner.list(folder)
    }

    async fn list_page(
        &self,
        folder: &ObjectKey,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> StoreResult<Vec<ObjectInfo>> {
        self.inner.list_page(folder, after, limit).await
    }

    async fn delete(&self, permits: Vec<DeletePermit>) -> StoreResult<()> {
        self.inner.delete(permits).await
    }

    async fn stale_uploads(&self, folder: Option<&ObjectKey>, before_ms: i64) -> StoreResult<Vec<StaleUpload>> {
        self.inner.stale_uploads(folder, before_ms).await
    }

    async fn abort_upload(&self, upload: StaleUpload) -> StoreResult<()> {
        self.inner.abort_upload(upload).await
    }
}
